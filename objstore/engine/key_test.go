package engine

import (
	"slices"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

func (w *world) delete(key string) bool {
	w.t.Helper()
	existed, err := deleteKey(w.s, w.root, key)
	if err != nil {
		w.t.Fatalf("delete %q: %v", key, err)
	}
	return existed
}

func (w *world) check(bucket string, want ...string) {
	w.t.Helper()
	if got := w.keys(bucket); !slices.Equal(got, want) {
		w.t.Fatalf("keys %q, want %q", got, want)
	}
	if err := checkTree(bg, w.s); err != nil {
		w.t.Fatal(err)
	}
}

func TestDeletePrunesImplicitDirectoriesOnly(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "prune", "s3 a/b/c/d", "s3 a/x", "made/", "s3 made/sub/k", "s3 p/q/r")
	w.delete("a/b/c/d")
	w.check("prune", "a/x", "made/", "made/sub/k", "p/q/r")
	if _, err := w.find("a/b"); !objstore.IsKind(err, objstore.KindNotFound) {
		t.Fatalf("a/b: %v", err)
	}
	w.delete("a/x")
	w.delete("made/sub/k")
	w.check("prune", "made/", "p/q/r")
	w.make("p/q/f") // the mount made p/q explicit
	w.delete("p/q/r")
	w.delete("p/q/f")
	w.check("prune", "made/", "p/q/")
	if !w.delete("p/q/") || w.delete("p/q/") || w.delete("p/") {
		t.Fatal("p/q/ existed once, p/ never")
	}
	w.check("prune", "made/")
}

func TestDirectoryObjectIsTheDirectory(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "dirobject", "made/", "s3 put/", "s3 implicit/k")
	find := func(key string) (n *record.Inode, err error) {
		err = s.view(bg, "find", key, func(r reader) error {
			_, n, err = r.findKey(w.root, key)
			return err
		})
		return n, err
	}
	w.check("dirobject", "implicit/k", "made/", "put/")
	if a := w.stat("put"); a.Type != objstore.TypeDirectory {
		t.Fatalf("put: %+v", a)
	}
	n, err := find("made/")
	if err != nil || n.Type != objstore.TypeRegular || n.Size != 0 || !n.Content.ID.IsZero() || etagOf(s, n) != "d41d8cd98f00b204e9800998ecf8427e" {
		t.Fatalf("made/: %+v, %v", n, err)
	}
	if n, err = find("put/"); err != nil || n.Content.ID.IsZero() {
		t.Fatalf("put/: %+v, %v", n, err)
	}
	for _, key := range []string{"implicit/", "made", "put", "implicit", "nothing/", "/", "made/x", "implicit/k/", "implicit/k/x"} {
		if _, err := find(key); !objstore.IsKind(err, objstore.KindNotFound) {
			t.Errorf("%q: %v", key, err)
		}
	}
	// The marker goes with the directory, the directory with its last key.
	if err := s.Rmdir(bg, mountC, w.root, "put"); err != nil {
		t.Fatal(err)
	}
	w.delete("made/")
	w.check("dirobject", "implicit/k")
}

func TestObjectAndDirectoryOfOneNameLiveTogether(t *testing.T) {
	s, _ := treeStore(t)
	for _, order := range [][]string{{"a", "a/b"}, {"a/b", "a"}} {
		bucket := "twins-" + map[bool]string{true: "1", false: "2"}[order[0] == "a"]
		w := newWorld(t, s, bucket, "s3 "+order[0], "s3 "+order[1])
		w.check(bucket, "a", "a/b")
		if a := w.stat("a"); a.Type != objstore.TypeDirectory {
			t.Fatal("the mount does not show the directory")
		}
		if err := s.Unlink(bg, mountC, w.root, "a"); !objstore.IsKind(err, objstore.KindIsDirectory) {
			t.Fatalf("unlink: %v", err)
		}
		w.delete("a/b")
		w.check(bucket, "a")
		if a := w.stat("a"); a.Type != objstore.TypeRegular {
			t.Fatal("the mount does not show the object")
		}
		w.make("s3 a/b")
		w.delete("a")
		w.check(bucket, "a/b")
	}
}

func TestPutTakesOverWhatHasTheName(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "takes", "f", "h = f", "link -> f", "fifo|", "d/")
	mode, uid, gid := uint32(06711), uint32(7), uint32(8)
	if _, err := s.SetAttr(bg, mountC, w.stat("f").Inode, objstore.SetAttr{Mode: &mode, UID: &uid, GID: &gid}); err != nil {
		t.Fatal(err)
	}
	old := w.stat("f").Inode
	for _, name := range []string{"f", "link", "fifo", "d/new", "e/new"} {
		w.make("s3 " + name)
	}
	// Owner and mode are inherited, the right to run as the owner is not.
	if a := w.stat("f"); a.Inode == old || a.Mode != 0711 || a.UID != 7 || a.GID != 8 || a.Nlink != 1 {
		t.Fatalf("f: %+v", a)
	}
	if a := w.stat("h"); a.Inode != old || a.Nlink != 1 || a.Mode != mode {
		t.Fatalf("h: %+v", a)
	}
	if a := w.stat("link"); a.Type != objstore.TypeRegular || a.Mode != 0644 {
		t.Fatalf("link: %+v", a)
	}
	if a := w.stat("d/new"); a.UID != mountC.UID || a.GID != mountC.GID || a.Mode != 0644 {
		t.Fatalf("d/new: %+v", a)
	}
	if a, top := w.stat("e"), w.stat(""); a.UID != top.UID || a.Mode != 0755 {
		t.Fatalf("e: %+v", a)
	}
	w.check("takes", "d/", "d/new", "e/new", "f", "fifo", "h", "link")
}

func TestDeleteLeavesWhatIsNoObject(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "leaves", "link -> f", "fifo|", "d/", "s3 k")
	for _, key := range []string{"link", "fifo", "d", "link/", "k/", "k/x", "/", "nothing"} {
		if w.delete(key) {
			t.Errorf("%q existed", key)
		}
	}
	if a := w.stat("link"); a.Type != objstore.TypeSymlink {
		t.Fatal("the link is gone")
	}
	w.check("leaves", "d/", "k")
}

func TestS3TellsWatchersWhatTheMountSees(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "s3-told", "d/", "f")
	d, old := w.stat("d").Inode, w.stat("f").Inode
	has := func(what string, got []objstore.Change, want objstore.Change) {
		t.Helper()
		if !slices.Contains(got, want) {
			t.Errorf("%s: no %+v in %+v", what, want, got)
		}
	}
	got := changesOf(t, s, func() { w.make("s3 d/e/k") })
	e := w.stat("d/e").Inode
	has("new directory", got, objstore.Change{Parent: d, Name: "e", Inode: e})
	has("new key", got, objstore.Change{Parent: e, Name: "k", Inode: w.stat("d/e/k").Inode})
	k := w.stat("d/e/k").Inode
	got = changesOf(t, s, func() { w.delete("d/e/k") })
	has("key gone", got, objstore.Change{Parent: e, Name: "k", Inode: k, Removed: true})
	has("directory pruned", got, objstore.Change{Parent: d, Name: "e", Inode: e, Removed: true})
	got = changesOf(t, s, func() { w.make("s3 f") })
	has("replaced", got, objstore.Change{Parent: w.root, Name: "f", Inode: w.stat("f").Inode})
	has("old inode", got, objstore.Change{Inode: old})
	f := w.stat("f").Inode
	got = changesOf(t, s, func() { w.make("s3 f/x") })
	has("object hidden", got, objstore.Change{Parent: w.root, Name: "f", Inode: w.stat("f").Inode})
	dir := w.stat("f").Inode
	got = changesOf(t, s, func() { w.delete("f/x") })
	has("object shows again", got, objstore.Change{Parent: w.root, Name: "f", Inode: dir})
	if w.stat("f").Inode != f {
		t.Fatal("another object")
	}
}
