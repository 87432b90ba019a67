package engine

import (
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Names of files that are open.

func (w *world) open(path string) *File {
	w.t.Helper()
	f, err := w.s.Open(bg, mountC, w.stat(path).Inode, objstore.OpenFlags{Read: true, Write: true})
	if err != nil {
		w.t.Fatalf("open %q: %v", path, err)
	}
	return f
}

func (w *world) write(f *File, text string) {
	w.t.Helper()
	if _, err := f.WriteAt(bg, []byte(text), 0); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(f *File) string {
	w.t.Helper()
	p := make([]byte, 100)
	n, err := f.ReadAt(bg, p, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(p[:n])
}

// committed returns what S3 sees of a key.
func (w *world) committed(key string) *record.Inode {
	w.t.Helper()
	var n *record.Inode
	err := w.s.view(bg, "find", key, func(r reader) (err error) {
		_, n, err = r.findKey(w.root, key)
		return err
	})
	if err != nil {
		w.t.Fatalf("%q: %v", key, err)
	}
	return n
}

func TestRenameAndLinkCommitWhatWasWrittenFirst(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "commits", "f", "g", "h", "x")
	files := make(map[string]*File)
	for _, name := range []string{"f", "g", "h", "x"} {
		files[name] = w.open(name)
		w.write(files[name], "written to "+name)
		if n := w.committed(name).Size; n != 0 {
			t.Fatalf("%s: %d bytes are committed", name, n)
		}
		if n := w.stat(name).Size; n != 12 {
			t.Fatalf("%s: the mount sees %d bytes", name, n)
		}
	}
	if err := w.rename("f", "f2", 0); err != nil {
		t.Fatal(err)
	}
	if err := w.rename("g", "h", objstore.RenameExchange); err != nil {
		t.Fatal(err)
	}
	w.make("y = x")
	for _, key := range []string{"f2", "g", "h", "x", "y"} {
		if n := w.committed(key).Size; n != 12 {
			t.Errorf("%s: %d bytes are committed", key, n)
		}
	}
	for _, f := range files {
		if err := f.Close(bg); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenFileStaysOnWhatItOpened(t *testing.T) {
	for what, lose := range map[string]func(w *world) error{
		"unlink":      func(w *world) error { return w.s.Unlink(bg, mountC, w.root, "f") },
		"rename over": func(w *world) error { return w.rename("g", "f", 0) },
		"PUT":         func(w *world) error { _, err := putKey(w.s, w.root, "f"); return err },
		"DELETE":      func(w *world) error { _, err := deleteKey(w.s, w.root, "f"); return err },
	} {
		t.Run(what, func(t *testing.T) {
			s, m := treeStore(t)
			w := newWorld(t, s, "stays-open", "f", "g")
			f := w.open("f")
			w.write(f, "old content")
			if err := f.Flush(bg); err != nil {
				t.Fatal(err)
			}
			if err := s.SetXattr(bg, mountC, f.Inode(), "user.a", []byte("1"), 0); err != nil {
				t.Fatal(err)
			}
			if err := lose(w); err != nil {
				t.Fatal(err)
			}
			if got := w.read(f); got != "old content" {
				t.Errorf("reads %q", got)
			}
			if a, err := s.GetAttr(bg, f.Inode()); err != nil || a.Nlink != 0 || a.Size != 11 {
				t.Errorf("%+v %v", a, err)
			}
			if _, err := s.Link(bg, mountC, f.Inode(), w.root, "again"); kindOf(err) != objstore.KindNotFound {
				t.Errorf("link: %v", err)
			}
			if err := checkTree(bg, s); err != nil {
				t.Error(err)
			}
			if err := f.Close(bg); err != nil {
				t.Error(err)
			}
			if _, err := s.GetAttr(bg, f.Inode()); kindOf(err) != objstore.KindStale {
				t.Errorf("after the last close: %v", err)
			}
			if err := checkTree(bg, s); err != nil {
				t.Error(err)
			}
			err := m.View(bg, func(r meta.Reader) error {
				for p, err := range r.Scan(meta.Prefix(record.OrphanPrefix())) {
					t.Errorf("orphan mark %x %v", p.Key, err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTimesSetOnFileWithUncommittedDataStay(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "times", "f")
	f := w.open("f")
	w.write(f, "text")
	at, mt := objstore.Time(1_000_000_001), objstore.Time(2_000_000_002)
	mode := uint32(0600)
	a, err := s.SetAttr(bg, mountC, f.Inode(), objstore.SetAttr{Atime: &at, Mtime: &mt, Mode: &mode})
	if err != nil || a.Atime != at || a.Mtime != mt || a.Mode != 0600 || a.Size != 4 {
		t.Fatalf("%+v %v", a, err)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	if a := w.stat("f"); a.Atime != at || a.Mtime != mt || a.Mode != 0600 || a.Size != 4 {
		t.Fatalf("after close: %+v", a)
	}
	if n := w.committed("f"); n.Mtime != mt || n.Size != 4 {
		t.Fatalf("committed: %+v", n)
	}
}

func TestSetAttrTruncates(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "truncates", "f", "d/", "link -> f")
	f := w.open("f")
	w.write(f, "some text")
	size, mt := int64(4), objstore.Time(7)
	a, err := s.SetAttr(bg, mountC, f.Inode(), objstore.SetAttr{Size: &size, Mtime: &mt})
	if err != nil || a.Size != 4 || a.Mtime != mt {
		t.Fatalf("%+v %v", a, err)
	}
	if got := w.read(f); got != "some" {
		t.Fatalf("reads %q", got)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	if a := w.stat("f"); a.Size != 4 || a.Mtime != mt {
		t.Fatalf("%+v", a)
	}
	for name, want := range map[string]objstore.Kind{"d": objstore.KindIsDirectory, "link": objstore.KindInvalidArgument} {
		if _, err := s.SetAttr(bg, mountC, w.stat(name).Inode, objstore.SetAttr{Size: &size}); kindOf(err) != want {
			t.Errorf("truncate %s: %v", name, err)
		}
	}
	size = -1
	if _, err := s.SetAttr(bg, mountC, w.stat("f").Inode, objstore.SetAttr{Size: &size}); err == nil {
		t.Error("truncate to -1")
	}
}
