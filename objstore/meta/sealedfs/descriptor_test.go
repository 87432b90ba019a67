package sealedfs

import (
	"bytes"
	"errors"
	"io"
	"path"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/objstore/meta"
)

// openFS has no descriptor left for what failing picks.
type openFS struct {
	vfs.FS
	failing func(name string) bool // nil: all can be opened
}

func (fs *openFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if fs.failing != nil && fs.failing(path.Base(name)) {
		return nil, syscall.EMFILE
	}
	return fs.FS.Create(name, c)
}

func (fs *openFS) OpenDir(name string) (vfs.File, error) {
	if fs.failing != nil && fs.failing(path.Base(name)) {
		return nil, syscall.ENFILE
	}
	return fs.FS.OpenDir(name)
}

// A process whose descriptors are all taken for a while has lost nothing: the
// metadata wait, and go on when there are some again. The reserve helps nobody.
func TestMetadataWaitForADescriptor(t *testing.T) {
	for what, failing := range map[string]func(string) bool{
		"log":       func(name string) bool { return name == "000008.log" },
		"directory": func(name string) bool { return name == path.Base(testDir) },
		"manifest":  func(name string) bool { return name == "MANIFEST-000009" },
		"marker":    func(name string) bool { return name == "marker.manifest.000002.MANIFEST-000009" },
	} {
		t.Run(what, func(t *testing.T) {
			base := &openFS{FS: vfs.NewMem()}
			fs := newFS(t, base)
			fs.o.NoSpace = func() bool {
				t.Error("gave up the reserve")
				return false
			}
			log := create(t, fs, "000005.log")
			put(t, log, pattern(100))
			old := create(t, fs, "MANIFEST-000001")
			put(t, old, pattern(50))
			fs.Defer()
			base.failing = failing
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
			later := create(t, fs, "000008.log")
			put(t, later, pattern(200))
			next := create(t, fs, "MANIFEST-000009")
			put(t, next, pattern(50))
			create(t, fs, "marker.manifest.000002.MANIFEST-000009").Close()
			if err := fs.Retry(); !errors.Is(err, meta.ErrNoSpace) || fs.Err() != nil {
				t.Fatalf("without a descriptor: %v, %v", err, fs.Err())
			}
			base.failing = nil
			if err := fs.Retry(); err != nil || fs.Waits() {
				t.Fatal(err)
			}
			for name, n := range map[string]int{"000005.log": 100, "000008.log": 200, "MANIFEST-000009": 50} {
				f, err := fs.Open(testDir + "/" + name)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, pattern(n)) {
					t.Errorf("%s: %d bytes of %d, %v", name, len(got), n, err)
				}
				f.Close()
			}
			if err := errors.Join(old.Close(), later.Close(), next.Close(), fs.Shutdown()); err != nil {
				t.Fatal(err)
			}
			if err := newFS(t, base).Check(); err != nil {
				t.Error(err)
			}
		})
	}
}
