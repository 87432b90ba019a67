package pebblekv

import (
	"bytes"
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
	f, err := h.FS.Create(name, c)
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

	synced []byte // content at the last sync, where the file system forgets
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
	if err := f.h.call("write", f.name); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f *hookFile) Sync() error {
	if err := f.h.call("sync", f.name); err != nil {
		if now, ok := f.content(); ok {
			lost := append(bytes.Clone(f.synced), make([]byte, max(len(now)-len(f.synced), 0))...)
			if _, werr := f.File.WriteAt(lost, 0); werr != nil {
				return werr
			}
		}
		return err
	}
	f.synced, _ = f.content()
	return f.File.Sync()
}

// content is that of a file from which a failed sync takes what was not synced.
func (f *hookFile) content() (b []byte, ok bool) {
	if !f.h.forget || path.Ext(f.name) != ".log" && !strings.HasPrefix(path.Base(f.name), "MANIFEST-") {
		return nil, false
	}
	r, err := f.h.FS.Open(f.name)
	if err != nil {
		return nil, false
	}
	defer r.Close()
	b, err = io.ReadAll(r)
	return b, err == nil
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
	fs := vfs.NewMem()
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		f, err := fs.Create(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		// Write may change what it is given.
		if _, err := f.Write(bytes.Clone(b)); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return fs
}
