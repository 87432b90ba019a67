package durable

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDiskIsInFragments(t *testing.T) {
	st := unix.Statfs_t{Blocks: 30, Bfree: 20, Bavail: 10, Files: 5, Bsize: 1 << 20, Frsize: 4096}
	if d := diskOf(&st); d != (Disk{Size: 30 * 4096, Free: 20 * 4096, Available: 10 * 4096, Files: 5}) {
		t.Errorf("%+v", d)
	}
	st.Frsize = 0 // of an old kernel
	if d := diskOf(&st); d.Size != 30<<20 {
		t.Errorf("%+v", d)
	}
}

func TestDiskOf(t *testing.T) {
	d, err := DiskOf(t.TempDir())
	if err != nil || d.Size == 0 || d.Available > d.Free || d.Free > d.Size {
		t.Errorf("%+v %v", d, err)
	}
	if _, err := DiskOf(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
