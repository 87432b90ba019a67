package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

func TestNamesThatTheMountCannotHaveAreRefused(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "names", "d/", "f")
	cases := []struct {
		name string
		want objstore.Kind
	}{
		{"", objstore.KindInvalidName},
		{".", objstore.KindInvalidName},
		{"..", objstore.KindInvalidName},
		{"a/b", objstore.KindInvalidName},
		{"a\x00", objstore.KindInvalidName},
		{strings.Repeat("x", 255), ok},
		{strings.Repeat("x", 256), objstore.KindNameTooLong},
	}
	for _, c := range cases {
		_, mkdir := s.Mkdir(bg, mountC, w.root, c.name, 0755)
		_, mknod := s.Mknod(bg, mountC, w.stat("d").Inode, c.name, objstore.TypeRegular, 0644, 0)
		if kindOf(mkdir) != c.want || kindOf(mknod) != c.want {
			t.Errorf("%.20q: mkdir %v, mknod %v", c.name, mkdir, mknod)
		}
		if c.want == ok {
			continue
		}
		_, symlink := s.Symlink(bg, mountC, w.root, c.name, "x")
		_, link := s.Link(bg, mountC, w.stat("f").Inode, w.root, c.name)
		_, lookup := s.Lookup(bg, w.root, c.name)
		for op, err := range map[string]error{
			"symlink": symlink, "link": link, "lookup": lookup,
			"unlink": s.Unlink(bg, mountC, w.root, c.name), "rmdir": s.Rmdir(bg, mountC, w.root, c.name),
			"rename from": s.Rename(bg, mountC, w.root, c.name, w.root, "z", 0),
			"rename to":   s.Rename(bg, mountC, w.root, "f", w.root, c.name, 0),
		} {
			if kindOf(err) != c.want {
				t.Errorf("%s %.20q: %v", op, c.name, err)
			}
		}
	}
	if err := checkTree(bg, s); err != nil {
		t.Fatal(err)
	}
}

func TestLinksCountNames(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "links", "f", "d/", "d/g = f", "link -> f", "l2 = link")
	if n := w.stat("f").Nlink; n != 2 {
		t.Fatalf("%d links", n)
	}
	if n := w.stat("l2").Nlink; n != 2 {
		t.Fatalf("%d links of a symbolic link", n)
	}
	if _, err := s.Link(bg, mountC, w.stat("d").Inode, w.root, "d2"); kindOf(err) != objstore.KindNotPermitted {
		t.Fatalf("link of a directory: %v", err)
	}
	if _, err := s.Link(bg, mountC, w.stat("f").Inode, w.root, "d"); kindOf(err) != objstore.KindExists {
		t.Fatalf("link over a name: %v", err)
	}
	ino := w.stat("f").Inode
	for _, name := range []string{"f", "d/g"} {
		dir, base := w.at(name)
		if err := s.Unlink(bg, mountC, dir, base); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.GetAttr(bg, ino); kindOf(err) != objstore.KindStale {
		t.Fatalf("getattr of what is gone: %v", err)
	}
	if _, err := s.Link(bg, mountC, ino, w.root, "again"); kindOf(err) != objstore.KindStale {
		t.Fatalf("link of what is gone: %v", err)
	}
}

func TestRemovedDirectoryIsEmptyAndTakesNothing(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "removed", "d/", "f", "s3 pruned/k")
	d, pruned := w.stat("d").Inode, w.stat("pruned").Inode
	if err := s.Rmdir(bg, mountC, w.root, "d"); err != nil {
		t.Fatal(err)
	}
	w.delete("pruned/k")
	for _, dir := range []objstore.InodeID{d, pruned} {
		ents, _, end, err := s.ReadDir(bg, dir, "", 10, true)
		if err != nil || len(ents) != 0 || !end {
			t.Errorf("readdir: %v %v %v", ents, end, err)
		}
		_, mkdir := s.Mkdir(bg, mountC, dir, "x", 0755)
		_, lookup := s.Lookup(bg, dir, "x")
		rename := s.Rename(bg, mountC, w.root, "f", dir, "x", 0)
		for _, err := range []error{mkdir, lookup, rename} {
			if kindOf(err) != objstore.KindNotFound {
				t.Errorf("got %v", err)
			}
		}
	}
}

func TestSetgidDirectoryHandsDownItsGroup(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "setgid", "d/")
	mode, gid := uint32(02775), uint32(77)
	if _, err := s.SetAttr(bg, mountC, w.stat("d").Inode, objstore.SetAttr{Mode: &mode, GID: &gid}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"d/f", "d/sub/", "d/sub/g", "s3 d/new/k"} {
		w.make(line)
	}
	for path, want := range map[string]uint32{"d/f": 0644, "d/sub": 02755, "d/sub/g": 0644, "d/new": 02755, "d/new/k": 0644} {
		if a := w.stat(path); a.GID != gid || a.Mode != want {
			t.Errorf("%s: gid %d mode %#o", path, a.GID, a.Mode)
		}
	}
}

func TestUnlinkAndRmdirTellFilesFromDirectories(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "kinds", "d/", "f", "link -> d", "full/", "full/x", "s3 dots/./k", "s3 double//k", "s3 long/"+longest, "s3 marked/")
	cases := []struct {
		name          string
		unlink, rmdir objstore.Kind
	}{
		{"nothing", objstore.KindNotFound, objstore.KindNotFound},
		{"full", objstore.KindIsDirectory, objstore.KindNotEmpty},
		{"dots", objstore.KindIsDirectory, objstore.KindNotEmpty},
		{"double", objstore.KindIsDirectory, objstore.KindNotEmpty},
		{"long", objstore.KindIsDirectory, objstore.KindNotEmpty},
		{"d", objstore.KindIsDirectory, ok},
		{"marked", objstore.KindIsDirectory, ok},
	}
	for _, c := range cases {
		if got := kindOf(s.Unlink(bg, mountC, w.root, c.name)); got != c.unlink {
			t.Errorf("unlink %s: %v", c.name, got)
		}
		if got := kindOf(s.Rmdir(bg, mountC, w.root, c.name)); got != c.rmdir {
			t.Errorf("rmdir %s: %v", c.name, got)
		}
	}
	for _, name := range []string{"f", "link"} {
		if got := kindOf(s.Rmdir(bg, mountC, w.root, name)); got != objstore.KindNotDirectory {
			t.Errorf("rmdir %s: %v", name, got)
		}
		if err := s.Unlink(bg, mountC, w.root, name); err != nil {
			t.Errorf("unlink %s: %v", name, err)
		}
	}
	if _, err := s.Mkdir(bg, mountC, w.stat("full/x").Inode, "y", 0755); kindOf(err) != objstore.KindNotDirectory {
		t.Errorf("mkdir in a file: %v", err)
	}
	w.check("kinds", "dots/./k", "double//k", "full/", "full/x", "long/"+longest)
}

func TestReadDirReturnsWhatStaysExactlyOnce(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "stays")
	for i := range 60 {
		w.make(fmt.Sprintf("stay%02d", i))
		w.make(fmt.Sprintf("stay%02d-go", i))
	}
	var got []string
	var pos objstore.DirPos
	for i := 0; ; i++ {
		ents, _, end, err := s.ReadDir(bg, w.root, pos, 7, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range ents {
			if !strings.HasSuffix(e.Name, "-go") {
				got = append(got, e.Name)
			}
			pos = e.Pos
		}
		if end {
			break
		}
		// What was returned last, and what comes next, goes; others come.
		for _, name := range []string{ents[len(ents)-1].Name, fmt.Sprintf("stay%02d-go", (i*7)%60), fmt.Sprintf("stay%02d-go", (i*7+9)%60)} {
			if strings.HasSuffix(name, "-go") {
				if err := s.Unlink(bg, mountC, w.root, name); err != nil && kindOf(err) != objstore.KindNotFound {
					t.Fatal(err)
				}
			}
		}
		w.make(fmt.Sprintf("came%d-go", i))
		w.make(fmt.Sprintf("z%d-go", i))
	}
	var want []string
	for i := range 60 {
		want = append(want, fmt.Sprintf("stay%02d", i))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q", got)
	}
}

func TestSetAttrChangesWhatItNames(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "attrs", "f", "s3 implicit/k")
	before := w.stat("f")
	v := func(n uint32) *uint32 { return &n }
	at := func(n objstore.Time) *objstore.Time { return &n }
	a, err := s.SetAttr(bg, mountC, before.Inode, objstore.SetAttr{
		Mode: v(06755), UID: v(5), GID: v(objstore.NoOwner), Atime: at(-1), Mtime: at(1_000_000_007)})
	if err != nil {
		t.Fatal(err)
	}
	if a.Mode != 06755 || a.UID != 5 || a.GID != before.GID || a.Atime != -1 || a.Mtime != 1_000_000_007 || a.Btime != before.Btime || a.Ctime < before.Ctime {
		t.Fatalf("%+v", a)
	}
	if again := w.stat("f"); again != a {
		t.Fatalf("%+v, then %+v", a, again)
	}
	if a, err = s.SetAttr(bg, mountC, before.Inode, objstore.SetAttr{KillPriv: true}); err != nil || a.Mode != 0755 {
		t.Fatalf("%#o %v", a.Mode, err)
	}
	if a, err = s.SetAttr(bg, mountC, before.Inode, objstore.SetAttr{Mode: v(02644)}); err != nil {
		t.Fatal(err)
	}
	if a, err = s.SetAttr(bg, mountC, before.Inode, objstore.SetAttr{KillPriv: true, UID: v(9)}); err != nil || a.Mode != 02644 || a.UID != 9 {
		t.Fatalf("%#o %v", a.Mode, err)
	}
	if _, err := s.SetAttr(bg, mountC, 1<<60, objstore.SetAttr{Mode: v(0)}); kindOf(err) != objstore.KindStale {
		t.Fatalf("%v", err)
	}
	if _, err := s.SetAttr(bg, mountC, w.stat("implicit").Inode, objstore.SetAttr{Mode: v(0700)}); err != nil {
		t.Fatal(err)
	}
	w.delete("implicit/k")
	w.check("attrs", "f", "implicit/")
}
