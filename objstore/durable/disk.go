package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

// Disk is the room of a file system, in bytes but for Files.
type Disk struct {
	Size      uint64
	Free      uint64 // with what only root can write to
	Available uint64 // to an unprivileged process
	Files     uint64 // that it can have
}

// DiskOf returns the room of the file system that holds path.
func DiskOf(path string) (Disk, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return Disk{}, &os.PathError{Op: "statfs", Path: path, Err: err}
		}
		return diskOf(&st), nil
	}
}

// diskOf reads the kernel's figures. They are in units of f_frsize; f_bsize, which
// is the same on most disks and larger on some of a network, is what is best
// transferred at once.
func diskOf(st *unix.Statfs_t) Disk {
	unit := uint64(st.Frsize)
	if unit == 0 {
		unit = uint64(st.Bsize)
	}
	return Disk{Size: st.Blocks * unit, Free: st.Bfree * unit, Available: st.Bavail * unit, Files: st.Files}
}
