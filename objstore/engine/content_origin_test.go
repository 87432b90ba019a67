package engine

import (
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// The mount that wrote has the pages in its kernel already: it is told that the
// change is its own. What two mounts wrote is foreign to both.
func TestCommitCarriesTheOriginOfItsWriters(t *testing.T) {
	s, _ := treeStore(t)
	root := makeBucket(t, s, "origin")
	ino, err := putKey(s, root, "k")
	if err != nil {
		t.Fatal(err)
	}
	open := func(origin uint32) *File {
		f, err := s.Open(bg, objstore.Caller{Origin: origin}, ino, objstore.OpenFlags{Write: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close(bg) })
		return f
	}
	one, two := open(1), open(2)
	for _, c := range []struct {
		by   []*File
		want uint32
	}{{[]*File{one}, 1}, {[]*File{two}, 2}, {[]*File{one, two}, 0}, {[]*File{one, two, one}, 0}, {[]*File{one, one}, 1}} {
		list := changesOf(t, s, func() {
			for _, f := range c.by {
				if _, err := f.WriteAt(bg, []byte("x"), 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := one.Flush(bg); err != nil {
				t.Fatal(err)
			}
		})
		if len(list) != 1 || !list[0].Data || list[0].Origin != c.want {
			t.Errorf("changes %+v, want one of origin %d", list, c.want)
		}
	}
}
