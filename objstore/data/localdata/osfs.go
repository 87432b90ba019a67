package localdata

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/durable"
	"golang.org/x/sys/unix"
)

// OS returns the directory at path as an FS. Files are opened with O_DIRECT
// where the file system has it: segments are written once, in large aligned
// pieces, which is several times faster without the page cache, and what is
// read is cached by the kernel in the clear, above the mount, so a second copy
// in ciphertext would only use memory. Small reads are the exception, see
// File's CachedReader.
func OS(path string) FS {
	return &osFS{dir: path}
}

// checkDir makes sure that path is a directory that can be read.
func checkDir(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

type osFS struct {
	dir      string
	buffered atomic.Bool // O_DIRECT was refused once
}

func (d *osFS) Create(name string) (File, error) {
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (d *osFS) OpenRead(name string) (File, error) {
	// To open a pipe that stands in the place of a segment would wait for ever.
	st, err := os.Lstat(filepath.Join(d.dir, name))
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is no regular file", data.ErrCorrupt)
	}
	return d.open(name, os.O_RDONLY)
}

func (d *osFS) open(name string, flags int) (File, error) {
	path := filepath.Join(d.dir, name)
	flags |= unix.O_NOFOLLOW
	if !d.buffered.Load() {
		f, err := os.OpenFile(path, flags|unix.O_DIRECT, 0o600)
		if err == nil {
			return d.file(f, true), nil
		}
		if !errors.Is(err, unix.EINVAL) {
			return nil, err
		}
		d.buffered.Store(true)
		// Some file systems refuse the flag only after they made the file,
		// and nothing can have been written to it.
		if flags&os.O_CREATE != 0 {
			os.Remove(path)
		}
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	return d.file(f, false), nil
}

func (d *osFS) file(f *os.File, direct bool) *osFile {
	o := &osFile{File: f, fs: d}
	o.direct.Store(direct)
	return o
}

func (d *osFS) List() ([]Entry, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	out := make([]Entry, 0, len(entries))
	for _, e := range entries {
		st, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Entry{Name: e.Name(), Size: st.Size(), Modified: st.ModTime(), Regular: st.Mode().IsRegular()})
	}
	return out, nil
}

func (d *osFS) Remove(name string) error { return os.Remove(filepath.Join(d.dir, name)) }

func (d *osFS) SyncDir() error { return durable.SyncDir(d.dir) }

func (d *osFS) FreeSpace() (uint64, error) {
	disk, err := durable.DiskOf(d.dir)
	return disk.Available, err
}

type osFile struct {
	*os.File
	fs     *osFS
	direct atomic.Bool

	// cached is the file opened without O_DIRECT, by the first ReadCachedAt.
	cached struct {
		once sync.Once
		f    *os.File
	}
}

// ReadCachedAt implements CachedReader.
func (f *osFile) ReadCachedAt(p []byte, off int64) (int, error) {
	if !f.direct.Load() {
		return f.File.ReadAt(p, off)
	}
	f.cached.once.Do(func() {
		c, err := os.OpenFile(f.Name(), os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return
		}
		// A whole package is asked for at once; more would be read in vain. Who
		// reads in order asks for more by itself.
		_ = unix.Fadvise(int(c.Fd()), 0, 0, unix.FADV_RANDOM)
		f.cached.f = c
	})
	if f.cached.f == nil { // removed, or no descriptor was left
		return 0, errors.ErrUnsupported
	}
	return f.cached.f.ReadAt(p, off)
}

func (f *osFile) Close() error {
	if f.cached.f != nil {
		f.cached.f.Close()
	}
	return f.File.Close()
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	direct := f.direct.Load()
	n, err := f.File.ReadAt(p, off)
	if direct && errors.Is(err, unix.EINVAL) && f.giveUpDirect() {
		return f.File.ReadAt(p, off)
	}
	return n, err
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	direct := f.direct.Load()
	n, err := f.File.WriteAt(p, off)
	if direct && errors.Is(err, unix.EINVAL) && f.giveUpDirect() {
		n, err = f.File.WriteAt(p, off)
	}
	if err == nil && !f.direct.Load() {
		// Start the transfer now, so that Sync has little left to wait for. A
		// failure shows up in Sync.
		unix.SyncFileRange(int(f.Fd()), off, int64(n), unix.SYNC_FILE_RANGE_WRITE)
	}
	return n, err
}

// giveUpDirect turns O_DIRECT off for a file system that takes the flag when a
// file is opened and refuses the transfer, or wants a larger alignment. The
// transfer is worth another try then, whoever of several turned it off.
func (f *osFile) giveUpDirect() bool {
	if !f.direct.Load() {
		return true
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return false
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, flags&^unix.O_DIRECT); err != nil {
		return false
	}
	f.fs.buffered.Store(true)
	f.direct.Store(false)
	return true
}

// Sync is fdatasync: it covers the size and the mapping of blocks, and leaves
// out the times.
func (f *osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == unix.EINTR {
			continue // the call did not begin
		}
		return os.NewSyscallError("fdatasync", err)
	}
}

func (f *osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f *osFile) Preallocate(off, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, off, n)
		if err == unix.EINTR {
			continue
		}
		if err == unix.ENOSYS {
			err = unix.EOPNOTSUPP
		}
		return os.NewSyscallError("fallocate", err)
	}
}
