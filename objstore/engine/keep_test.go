package engine

import (
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// Of what is held when its last name goes nothing is missing until it is released, and
// nothing is left then.
func TestWhoIsAskedCanKeepWhatIsRemoved(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "kept", "f")
	f := w.open("f")
	w.write(f, "content")
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	a, err := s.Lookup(bg, w.root, "f")
	if err != nil {
		t.Fatal(err)
	}
	var release func()
	stop := s.AskBeforeRemoval(func(c objstore.Caller, got *objstore.Attr, hold func() func()) {
		if got.Inode != a.Inode || got.Size != a.Size || got.Nlink != 0 || c.Origin != mountC.Origin {
			t.Errorf("asked about %+v by %+v", *got, c)
		}
		release = hold()
	})
	if err := s.Unlink(bg, mountC, w.root, "f"); err != nil {
		t.Fatal(err)
	}
	stop()
	again, err := s.Open(bg, mountC, a.Inode, objstore.OpenFlags{Read: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.read(again); got != "content" {
		t.Errorf("reads %q", got)
	}
	if err := again.Close(bg); err != nil {
		t.Error(err)
	}
	if a, err := s.GetAttr(bg, a.Inode); err != nil || a.Nlink != 0 {
		t.Errorf("%d links, %v", a.Nlink, err)
	}
	release()
	if _, err := s.GetAttr(bg, a.Inode); !objstore.IsKind(err, objstore.KindStale) {
		t.Errorf("released: %v", err)
	}
}
