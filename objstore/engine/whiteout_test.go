package engine

import (
	"slices"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

func TestRenameLeavesAWhiteout(t *testing.T) {
	const white = objstore.RenameWhiteout
	s, _ := treeStore(t)
	w := newWorld(t, s, "white", "f", "g", "dir/", "dir/x", "sub/", "h = f", "s3 both", "s3 both/k")
	gone := func(path string) {
		t.Helper()
		if a := w.stat(path); a.Type != objstore.TypeCharDev || a.Rdev != 0 || a.Nlink != 1 {
			t.Errorf("%s: %+v", path, a)
		}
	}
	for _, c := range []struct {
		from, to string
		flags    objstore.RenameFlags
		want     objstore.Kind
	}{
		{"nothing", "new", white, objstore.KindNotFound},
		{"f", "g", white | objstore.RenameExchange, objstore.KindInvalidArgument},
		{"f", "g", white | objstore.RenameNoReplace, objstore.KindExists},
		{"both", "new", white, objstore.KindExists}, // the object would need the name
		{"f", "sub/new", white | objstore.RenameNoReplace, ok},
		{"g", "sub/new", white, ok},
		{"dir", "sub/dir", white, ok},
		{"f", "sub/f", white, ok}, // a whiteout itself
	} {
		before, _ := w.find(c.from)
		if got := kindOf(w.rename(c.from, c.to, c.flags)); got != c.want {
			t.Errorf("%s to %s: %v, not %v", c.from, c.to, got, c.want)
		}
		if c.want == ok {
			gone(c.from)
			if a := w.stat(c.to); a.Inode != before.Inode {
				t.Errorf("%s did not move to %s", c.from, c.to)
			}
		}
		if err := checkTree(bg, s); err != nil {
			t.Fatalf("%s to %s: %v", c.from, c.to, err)
		}
	}
	if got := kindOf(w.rename("h", "h", white)); got != ok || w.stat("h").Type != objstore.TypeRegular {
		t.Errorf("onto itself: %v", got)
	}
	if got, want := w.keys("white"), []string{"both", "both/k", "h", "sub/", "sub/dir/", "sub/dir/x", "sub/new"}; !slices.Equal(got, want) {
		t.Errorf("S3 lists %q, not %q", got, want)
	}
}

func TestWhiteoutIsToldToWatchers(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "told", "f", "dir/")
	for _, name := range []string{"f", "dir"} {
		list := changesOf(t, s, func() {
			if err := w.rename(name, "new "+name, objstore.RenameWhiteout); err != nil {
				t.Fatal(err)
			}
		})
		want := objstore.Change{Parent: w.root, Name: name, Inode: w.stat(name).Inode, Origin: mountC.Origin}
		if !slices.Contains(list, want) {
			t.Errorf("no %+v in %+v", want, list)
		}
	}
}

// In a versioned bucket the name of a file that leaves a whiteout has no object any more.
func TestWhiteoutOfAVersionedFile(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	b.file(b.root, "f", "one")
	b.file(b.root, "f", "two")
	if err := b.s.Rename(bg, mountC, b.root, "f", b.root, "g", objstore.RenameWhiteout); err != nil {
		t.Fatal(err)
	}
	b.listed("f* marker", "f one", "g* two")
}
