package sealedfs

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// writebackFS notes up to where writeback of files was begun, and fails it.
type writebackFS struct {
	vfs.FS
	mu    sync.Mutex
	begun []int64
	err   error
}

func (fs *writebackFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return &writebackFile{f, fs}, err
}

type writebackFile struct {
	vfs.File
	fs *writebackFS
}

func (f *writebackFile) SyncTo(n int64) (bool, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.fs.begun = append(f.fs.begun, n)
	return false, f.fs.err
}

// The disk has work while a log grows, and the sync at its end little.
func TestWritebackOfALogBeginsBeforeItsSync(t *testing.T) {
	base := &writebackFS{FS: vfs.NewMem()}
	fs := newFS(t, base)
	hold := fs.o.HoldBytes
	f, err := fs.Create(testDir+"/000005.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	base.begun = nil
	for range 2*hold/100 + 1 {
		if _, err := f.Write(pattern(100)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(base.begun); n != 2 || !slices.IsSorted(base.begun) || base.begun[0] < int64(hold) || base.begun[1] < int64(2*hold) {
		t.Errorf("writeback of %d held bytes, twice, was begun up to %v", hold, base.begun)
	}
	// Writeback that failed is told once: nobody else will hear of it.
	base.err = syscall.EIO
	if _, err := f.Write(pattern(hold)); err != nil {
		t.Fatal(err)
	}
	if err := fs.Err(); !errors.Is(err, syscall.EIO) {
		t.Errorf("after writeback failed: %v", err)
	}
}
