package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// world is a bucket with something of every kind in it.
type world struct {
	t    *testing.T
	s    *Store
	root objstore.InodeID
}

// newWorld makes what lines say, in order: "dir/", "file", "link -> target",
// "fifo|", "new = old" for a hard link, and "s3 key" for an S3 PUT.
func newWorld(t *testing.T, s *Store, bucket string, lines ...string) *world {
	t.Helper()
	w := &world{t, s, makeBucket(t, s, bucket)}
	for _, line := range lines {
		w.make(line)
	}
	return w
}

func (w *world) make(line string) {
	w.t.Helper()
	var err error
	if key, s3 := strings.CutPrefix(line, "s3 "); s3 {
		_, err = putKey(w.s, w.root, key)
	} else if name, target, is := strings.Cut(line, " -> "); is {
		dir, base := w.at(name)
		_, err = w.s.Symlink(bg, mountC, dir, base, target)
	} else if name, old, is := strings.Cut(line, " = "); is {
		dir, base := w.at(name)
		_, err = w.s.Link(bg, mountC, w.stat(old).Inode, dir, base)
	} else if name, is := strings.CutSuffix(line, "/"); is {
		dir, base := w.at(name)
		_, err = w.s.Mkdir(bg, mountC, dir, base, 0755)
	} else if name, is := strings.CutSuffix(line, "|"); is {
		dir, base := w.at(name)
		_, err = w.s.Mknod(bg, mountC, dir, base, objstore.TypeFIFO, 0644, 0)
	} else {
		dir, base := w.at(line)
		_, err = w.s.Mknod(bg, mountC, dir, base, objstore.TypeRegular, 0644, 0)
	}
	if err != nil {
		w.t.Fatalf("%s: %v", line, err)
	}
}

// at returns the directory and the last component of a path.
func (w *world) at(path string) (objstore.InodeID, string) {
	w.t.Helper()
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return w.root, path
	}
	return w.stat(path[:i]).Inode, path[i+1:]
}

func (w *world) find(path string) (objstore.Attr, error) {
	a := objstore.Attr{Inode: w.root}
	var err error
	if path == "" {
		return w.s.GetAttr(bg, w.root)
	}
	for _, name := range strings.Split(path, "/") {
		if a, err = w.s.Lookup(bg, a.Inode, name); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (w *world) stat(path string) objstore.Attr {
	w.t.Helper()
	a, err := w.find(path)
	if err != nil {
		w.t.Fatalf("stat %q: %v", path, err)
	}
	return a
}

func (w *world) rename(from, to string, flags objstore.RenameFlags) error {
	w.t.Helper()
	d1, n1 := w.at(from)
	d2, n2 := w.at(to)
	return w.s.Rename(bg, mountC, d1, n1, d2, n2, flags)
}

func (w *world) keys(bucket string) []string {
	w.t.Helper()
	res, err := w.s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: bucket, MaxKeys: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	var list []string
	for _, e := range res.Entries {
		list = append(list, e.Key)
	}
	return list
}

func TestRenameDoesWhatPOSIXSays(t *testing.T) {
	const no, ex = objstore.RenameNoReplace, objstore.RenameExchange
	make := []string{
		"f", "g", "h = f", "sub/", "sub/x", "empty/", "empty2/", "full/", "full/y", "deep/", "deep/er/", "link -> nowhere", "fifo|",
		"s3 hidden/./k", "s3 marked/", "s3 both", "s3 both/k",
	}
	cases := []struct {
		from, to string
		flags    objstore.RenameFlags
		want     objstore.Kind
	}{
		{"f", "new", 0, ok},
		{"f", "g", 0, ok},
		{"f", "h", 0, ok},
		{"f", "f", 0, ok},
		{"f", "h", no, objstore.KindExists},
		{"f", "h", ex, ok},
		{"f", "g", no, objstore.KindExists},
		{"f", "new", no, ok},
		{"f", "g", ex, ok},
		{"f", "new", ex, objstore.KindNotFound},
		{"nothing", "new", 0, objstore.KindNotFound},
		{"nothing", "g", ex, objstore.KindNotFound},
		{"f", "empty", 0, objstore.KindIsDirectory},
		{"f", "both", 0, objstore.KindIsDirectory},
		{"empty", "f", 0, objstore.KindNotDirectory},
		{"empty", "link", 0, objstore.KindNotDirectory},
		{"empty", "empty2", 0, ok},
		{"full", "empty", 0, ok},
		{"empty", "full", 0, objstore.KindNotEmpty},
		{"empty", "hidden", 0, objstore.KindNotEmpty},
		{"empty", "marked", 0, ok},
		{"sub", "sub/below", 0, objstore.KindInvalidArgument},
		{"deep", "deep/er/below", 0, objstore.KindInvalidArgument},
		{"deep/er", "deep", 0, objstore.KindNotEmpty},
		{"deep/er", "deep", ex, objstore.KindInvalidArgument},
		{"deep", "deep/er", ex, objstore.KindInvalidArgument},
		{"deep/er", "er", 0, ok},
		{"deep/er", "full", ex, ok},
		{"full", "f", ex, ok},
		{"link", "deep/er/link", 0, ok},
		{"fifo", "f", 0, ok},
		{"both", "elsewhere", 0, ok},
		{"both", "f", ex, objstore.KindExists},
		{"f", "both", ex, objstore.KindExists},
		{"both", "full", ex, ok},
		{"f", "g", no | ex, objstore.KindInvalidArgument},
		{"f", "g", 8, objstore.KindInvalidArgument},
	}
	s, _ := treeStore(t)
	for i, c := range cases {
		t.Run(fmt.Sprintf("%s to %s flags %d", c.from, c.to, c.flags), func(t *testing.T) {
			w := newWorld(t, s, fmt.Sprintf("posix-%d", i), make...)
			before, _ := w.find(c.from)
			target, _ := w.find(c.to)
			if got := kindOf(w.rename(c.from, c.to, c.flags)); got != c.want {
				t.Fatalf("got %v, want %v", got, c.want)
			}
			if err := checkTree(bg, s); err != nil {
				t.Fatal(err)
			}
			switch a, err := w.find(c.from); {
			case c.want == ok && c.flags == ex:
				if a.Inode != target.Inode || w.stat(c.to).Inode != before.Inode {
					t.Fatal("not exchanged")
				}
			case c.want == ok && before.Inode != target.Inode:
				// The directory "both" hid an object, which now shows.
				if gone := objstore.IsKind(err, objstore.KindNotFound); gone == (c.from == "both") {
					t.Fatalf("the old name: %+v, %v", a, err)
				}
				if w.stat(c.to).Inode != before.Inode {
					t.Fatal("not moved")
				}
			default:
				if after, _ := w.find(c.to); a.Inode != before.Inode || after.Inode != target.Inode {
					t.Fatal("a name changed")
				}
			}
		})
	}
}

func TestRenameMovesKeysAndKeepsETags(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "moves", "s3 a/b/c", "s3 a/b/d", "s3 a/b", "s3 z")
	etag := func(key string) (e objstore.ETag) {
		t.Helper()
		err := s.view(bg, "find", key, func(r reader) error {
			_, n, err := r.findKey(w.root, key)
			if err == nil {
				e = etagOf(s, n)
			}
			return err
		})
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		return e
	}
	c, b := etag("a/b/c"), etag("a/b")
	if err := w.rename("a/b", "new", 0); err != nil {
		t.Fatal(err)
	}
	if etag("new/c") != c || etag("a/b") != b {
		t.Fatal("another object")
	}
	// What the mount touched is explicit.
	if got, want := w.keys("moves"), []string{"a/", "a/b", "new/", "new/c", "new/d", "z"}; !slices.Equal(got, want) {
		t.Fatalf("keys %q, want %q", got, want)
	}
	if a := w.stat("a/b"); a.Type != objstore.TypeRegular {
		t.Fatal("the hidden object does not show")
	}
	if err := w.rename("z", "a/b", 0); err != nil {
		t.Fatal(err)
	}
	if got, want := w.keys("moves"), []string{"a/", "a/b", "new/", "new/c", "new/d"}; !slices.Equal(got, want) {
		t.Fatalf("keys %q, want %q", got, want)
	}
}

func TestRenameKeepsToItsBucket(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "bucket-a", "f", "d/", "d/f")
	v := newWorld(t, s, "bucket-b", "g", "d/")
	root := objstore.RootInode
	cases := []struct {
		name     string
		from     objstore.InodeID
		old      string
		to       objstore.InodeID
		new      string
		want     objstore.Kind
		link     bool
		linkKind objstore.Kind
	}{
		{"file to another bucket", w.root, "f", v.root, "f", objstore.KindCrossBucket, true, objstore.KindCrossBucket},
		{"file below another bucket", w.root, "f", v.stat("d").Inode, "f", objstore.KindCrossBucket, true, objstore.KindCrossBucket},
		{"directory to another bucket", w.root, "d", v.root, "e", objstore.KindCrossBucket, false, 0},
		{"bucket to another name", root, "bucket-a", root, "bucket-c", objstore.KindNotPermitted, false, 0},
		{"bucket over another", root, "bucket-a", root, "bucket-b", objstore.KindNotPermitted, false, 0},
		{"bucket into a bucket", root, "bucket-a", v.root, "x", objstore.KindCrossBucket, false, 0},
		{"directory to the root", w.root, "d", root, "bucket-d", objstore.KindCrossBucket, false, 0},
		{"file to the root", w.root, "f", root, "bucket-f", objstore.KindCrossBucket, true, objstore.KindNotPermitted},
	}
	for _, c := range cases {
		if got := kindOf(s.Rename(bg, mountC, c.from, c.old, c.to, c.new, 0)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if c.link {
			if _, err := s.Link(bg, mountC, w.stat("f").Inode, c.to, "new"); kindOf(err) != c.linkKind {
				t.Errorf("link %s: %v, want %v", c.name, err, c.linkKind)
			}
		}
	}
	if err := checkTree(bg, s); err != nil {
		t.Fatal(err)
	}
}

func TestRenameTellsWatchersOfBothNames(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "told", "d/", "e/", "d/f", "e/g", "s3 both", "s3 both/k")
	d, e := w.stat("d").Inode, w.stat("e").Inode
	f, g, both := w.stat("d/f").Inode, w.stat("e/g").Inode, w.stat("both").Inode
	expect := func(what string, got []objstore.Change, want ...objstore.Change) {
		t.Helper()
		for _, c := range want {
			c.Origin = mountC.Origin
			if !slices.Contains(got, c) {
				t.Errorf("%s: no %+v in %+v", what, c, got)
			}
		}
	}
	got := changesOf(t, s, func() {
		if err := w.rename("d/f", "e/g", 0); err != nil {
			t.Fatal(err)
		}
	})
	expect("replace", got, objstore.Change{Parent: d, Name: "f", Inode: f, Removed: true},
		objstore.Change{Parent: e, Name: "g", Inode: f}, objstore.Change{Inode: g})
	got = changesOf(t, s, func() {
		if err := w.rename("both", "e/both", 0); err != nil {
			t.Fatal(err)
		}
	})
	// The old name stays: it shows the object now.
	expect("directory with a twin", got, objstore.Change{Parent: w.root, Name: "both", Inode: both},
		objstore.Change{Parent: e, Name: "both", Inode: both})
	got = changesOf(t, s, func() {
		if err := w.rename("both", "e/g", objstore.RenameExchange); err != nil {
			t.Fatal(err)
		}
	})
	expect("exchange", got, objstore.Change{Parent: w.root, Name: "both", Inode: f},
		objstore.Change{Parent: e, Name: "g", Inode: w.stat("e/g").Inode})
}
