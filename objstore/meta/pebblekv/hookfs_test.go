package pebblekv

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// hookFS calls before ahead of every operation that changes the file system
// below; an error from it takes the place of the operation.
type hookFS struct {
	vfs.FS
	before func(op, name string) error // set before use; later by set
	later  atomic.Pointer[func(op, name string) error]
	ops    atomic.Int64
	// forget has a sync that fails lose what was written to the file since the last one,
	// as the kernel does.
	forget bool
}

// set replaces before while the file system is in use.
func (h *hookFS) set(before func(op, name string) error) { h.later.Store(&before) }

func (h *hookFS) call(op, name string) error {
	h.ops.Add(1)
	if later := h.later.Load(); later != nil {
		return (*later)(op, path.Base(name))
	}
	if h.before == nil {
		return nil
	}
	return h.before(op, path.Base(name))
}

func (h *hookFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := h.call("create", name); err != nil {
		return nil, err
	}
	f, err := memFS{h.FS}.Create(name, c)
	if err != nil {
		return nil, err
	}
	return &hookFile{File: f, h: h, name: name}, nil
}

func (h *hookFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := h.FS.Open(name, o...)
	if err != nil {
		return nil, err
	}
	return &hookFile{File: f, h: h, name: name}, nil
}

func (h *hookFS) OpenDir(name string) (vfs.File, error) {
	f, err := h.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &hookFile{File: f, h: h, name: name}, nil
}

func (h *hookFS) Remove(name string) error {
	if err := h.call("remove", name); err != nil {
		return err
	}
	return h.FS.Remove(name)
}

func (h *hookFS) Rename(a, b string) error {
	if err := h.call("rename", b); err != nil {
		return err
	}
	return h.FS.Rename(a, b)
}

type hookFile struct {
	vfs.File
	h    *hookFS
	name string

	// Of a log or manifest on a file system that forgets.
	now     []byte // content
	synced  []byte // content at the last sync
	changed int    // offset from which on they can differ
}

func (f *hookFile) Write(p []byte) (int, error) {
	if err := f.h.call("write", f.name); err != nil {
		// Half of it went through.
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *hookFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.h.call("write", f.name)
	if err != nil {
		p = p[:len(p)/2]
	}
	n, werr := f.File.WriteAt(p, off)
	f.wrote(p[:n], int(off))
	return n, errors.Join(err, werr)
}

// forgets tells whether a failed sync takes what was not synced.
func (f *hookFile) forgets() bool {
	return f.h.forget && (path.Ext(f.name) == ".log" || strings.HasPrefix(path.Base(f.name), "MANIFEST-"))
}

// wrote keeps in mind what was written.
func (f *hookFile) wrote(p []byte, off int) {
	if !f.forgets() {
		return
	}
	if grown := off + len(p) - len(f.now); grown > 0 {
		f.now = append(f.now, make([]byte, grown)...)
	}
	copy(f.now[off:], p)
	f.changed = min(f.changed, off)
}

func (f *hookFile) Sync() error {
	changed := f.now[f.changed:]
	if err := f.h.call("sync", f.name); err != nil {
		clear(changed)
		copy(changed, f.synced[f.changed:])
		_, werr := f.File.WriteAt(changed, int64(f.changed))
		return errors.Join(err, werr)
	}
	f.synced = append(f.synced[:f.changed], changed...)
	f.changed = len(f.now)
	return f.File.Sync()
}

func (f *hookFile) SyncData() error { return f.Sync() }

// snapshot reads all files of dir.
func snapshot(t testing.TB, fs vfs.FS, dir string) map[string][]byte {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		f, err := fs.Open(fs.PathJoin(dir, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[name], err = io.ReadAll(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return files
}

// restore makes a file system that holds files in dir.
func restore(t testing.TB, files map[string][]byte, dir string) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		putFile(t, fs, fs.PathJoin(dir, name), b)
	}
	return fs
}

func putFile(t testing.TB, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Write may change what it is given.
	if _, err := f.Write(bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
}
