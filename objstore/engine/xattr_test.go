package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

func TestXattrNamesAndValuesAreBounded(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "bounds", "f", "d/")
	f, d := w.stat("f").Inode, w.stat("d").Inode
	const c, r = objstore.XattrCreate, objstore.XattrReplace
	cases := []struct {
		ino   objstore.InodeID
		name  string
		value string
		flags objstore.XattrFlags
		want  objstore.Kind
	}{
		{f, "user.a", "1", 0, ok},
		{f, "user.a", "2", c, objstore.KindExists},
		{f, "user.a", "3", r, ok},
		{f, "user.b", "", r, objstore.KindNoAttribute},
		{f, "user.b", "", c, ok},
		{f, "user.b", "", c | r, objstore.KindInvalidArgument},
		{f, "user.b", "", 8, objstore.KindInvalidArgument},
		{d, "user.a", "\x00\xff", 0, ok},
		{f, "trusted.x", "x", 0, ok},
		{f, "security.selinux", "x", 0, ok},
		{f, "system.posix_acl_access", "x", 0, objstore.KindNotSupported},
		{f, "system.other", "x", 0, objstore.KindNotSupported},
		{f, "other.x", "x", 0, objstore.KindNotSupported},
		{f, "user", "x", 0, objstore.KindInvalidArgument},
		{f, "user.", "x", 0, objstore.KindInvalidArgument},
		{f, "user.a\x00b", "x", 0, objstore.KindInvalidArgument},
		{f, "user." + strings.Repeat("n", 250), "x", 0, ok},
		{f, "user." + strings.Repeat("n", 251), "x", 0, objstore.KindAttributeRange},
		{f, "user.big", strings.Repeat("v", 64<<10+1), 0, objstore.KindTooLarge},
		{f, "user.big", strings.Repeat("v", 64<<10), 0, objstore.KindNoSpace}, // with its name
		{d, "user.big", strings.Repeat("v", 64<<10-8-6-2), 0, ok},
		{d, "user.b", "", 0, objstore.KindNoSpace},
		{f, "user.coffer.etag", "x", 0, objstore.KindNotPermitted},
		{f, "user.coffer.other", "x", 0, objstore.KindNotPermitted},
		{f, "user.s3.other", "x", 0, objstore.KindNotSupported},
		{f, "user.s3.tag.k", "x", 0, ok},
		{f, "user.s3.tag.k", "y", c, objstore.KindExists},
		{f, "user.s3.tag.a+b-c=d.e_f:g/h@i Ä9", "x y", 0, ok},
		{f, "user.s3.tag.k,", "x", 0, objstore.KindInvalidArgument},
		{f, "user.s3.tag.", "x", 0, objstore.KindInvalidArgument},
		{f, "user.s3.tag.aws:x", "x", 0, objstore.KindInvalidArgument},
		{f, "user.s3.tag.v", "a,b", 0, objstore.KindInvalidArgument},
		{f, "user.s3.tag.v", "\xff", 0, objstore.KindInvalidArgument},
		{f, "user.s3.tag." + strings.Repeat("k", 128), strings.Repeat("v", 256), 0, ok},
		{f, "user.s3.tag." + strings.Repeat("k", 129), "x", 0, objstore.KindInvalidArgument},
		{f, "user.s3.tag.v", strings.Repeat("v", 257), 0, objstore.KindInvalidArgument},
		{d, "user.s3.tag.k", "x", 0, objstore.KindNotSupported},
		{f, "user.s3.meta.k", "a value", 0, ok},
		{f, "user.s3.meta.k", "x", c, objstore.KindExists},
		{f, "user.s3.meta.k2", "x", r, objstore.KindNoAttribute},
		{f, "user.s3.meta.", "x", 0, objstore.KindInvalidArgument},
		{f, "user.s3.meta.K", "x", 0, objstore.KindInvalidArgument},
		{f, "user.s3.meta.a b", "x", 0, objstore.KindInvalidArgument},
		{f, "user.s3.meta.n", "a\nb", 0, objstore.KindInvalidArgument},
		{f, "user.s3.meta.n", " a", 0, objstore.KindInvalidArgument},
		{f, "user.s3.meta.n", "\xff", 0, objstore.KindInvalidArgument},
		{f, "user.s3.meta.n", "ä", 0, ok},
		{f, "user.s3.meta.big", strings.Repeat("v", 2048-3-8-3), 0, ok},
		{f, "user.s3.meta.z", "", 0, objstore.KindNoSpace},
		{d, "user.s3.meta.k", "x", 0, objstore.KindNotSupported},
		{1 << 60, "user.a", "x", 0, objstore.KindStale},
	}
	for _, c := range cases {
		had, _ := s.GetXattr(bg, c.ino, c.name)
		err := s.SetXattr(bg, mountC, c.ino, c.name, []byte(c.value), c.flags)
		if kindOf(err) != c.want {
			t.Errorf("%.30q = %.10q flags %d: %v, want %v", c.name, c.value, c.flags, err, c.want)
		}
		if c.want != ok {
			c.value = string(had)
		}
		if got, err := s.GetXattr(bg, c.ino, c.name); err == nil && string(got) != c.value {
			t.Errorf("%.30q is %.10q, want %.10q", c.name, got, c.value)
		}
	}
	if err := checkTree(bg, s); err != nil {
		t.Fatal(err)
	}
}

// TestXattrsCanBeListed: the kernel takes lists of up to 64 KiB (XATTR_LIST_MAX), and
// what lists and copies all attributes of a file fails where there are more.
func TestXattrsCanBeListed(t *testing.T) {
	s, _ := treeStore(t)
	f := newWorld(t, s, "names", "f").stat("f").Inode
	const token = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~" // what names of headers have
	fill := func(name func(i int) string) (n int) {
		for {
			err := s.SetXattr(bg, mountC, f, name(n), nil, 0)
			if objstore.IsKind(err, objstore.KindNoSpace) {
				return n
			}
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	plain := func(i int) string { return fmt.Sprintf("user.%0250d", i) }
	want := fill(plain)
	want += fill(func(i int) string { return fmt.Sprintf("user.s3.tag.%0128d", i) })
	want += fill(func(i int) string { // the shortest first
		if i < len(token) {
			return "user.s3.meta." + token[i:i+1]
		}
		i -= len(token)
		return "user.s3.meta." + token[i/len(token):][:1] + token[i%len(token):][:1]
	})
	names, err := s.ListXattr(bg, f)
	if err != nil || len(names) != want {
		t.Fatalf("%d names, %v; want %d", len(names), err, want)
	}
	size := 0
	for _, n := range names {
		size += len(n) + 1
	}
	if size > 64<<10 {
		t.Errorf("%d names take %d bytes", len(names), size)
	}
	if err := s.SetXattr(bg, mountC, f, plain(0), []byte("v"), objstore.XattrReplace); err != nil {
		t.Errorf("what is there cannot be changed: %v", err)
	}
}

func TestXattrsOfFileAreListedAndRemoved(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "listed", "f", "s3 implicit/k")
	f := w.stat("f").Inode
	all := []string{"security.x", "user.a", "user.s3.meta.k", "user.z"}
	for i := range all {
		if err := s.SetXattr(bg, mountC, f, all[(i*3)%4], []byte("v"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.ListXattr(bg, f); err != nil || !slices.Equal(got, all) {
		t.Fatalf("%q %v", got, err)
	}
	if v, err := s.GetXattr(bg, f, "user.coffer.encryption"); err != nil || string(v) != "SSE-S3" {
		t.Fatalf("%q %v", v, err)
	}
	if v, err := s.GetXattr(bg, f, "user.coffer.etag"); err != nil || len(v) == 0 {
		t.Fatalf("%q %v", v, err)
	}
	for _, name := range []string{"user.coffer.other", "user.coffer.key-id", "user.none", "user.s3.meta.none", "user.s3.tag.k"} {
		if v, err := s.GetXattr(bg, f, name); kindOf(err) != objstore.KindNoAttribute {
			t.Errorf("get %s: %q %v", name, v, err)
		}
	}
	if err := s.RemoveXattr(bg, mountC, f, "user.coffer.etag"); kindOf(err) != objstore.KindNotPermitted {
		t.Errorf("remove: %v", err)
	}
	for _, name := range all {
		if err := s.RemoveXattr(bg, mountC, f, name); err != nil {
			t.Fatal(err)
		}
		if err := s.RemoveXattr(bg, mountC, f, name); kindOf(err) != objstore.KindNoAttribute {
			t.Errorf("remove %s again: %v", name, err)
		}
		if err := checkTree(bg, s); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.ListXattr(bg, f); err != nil || len(got) != 0 {
		t.Fatalf("%q %v", got, err)
	}
	// An attribute makes a directory explicit.
	if err := s.SetXattr(bg, mountC, w.stat("implicit").Inode, "user.x", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	w.delete("implicit/k")
	w.check("listed", "f", "implicit/")
	if err := s.Rmdir(bg, mountC, w.root, "implicit"); err != nil {
		t.Fatal(err)
	}
	w.check("listed", "f")
}

func TestXattrsGoWithTheLastName(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "gone", "f", "g = f")
	if err := s.SetXattr(bg, mountC, w.stat("f").Inode, "user.a", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "g"} {
		if v, err := s.GetXattr(bg, w.stat(name).Inode, "user.a"); err != nil || string(v) != "1" {
			t.Fatal(fmt.Sprint(v), err)
		}
		if err := s.Unlink(bg, mountC, w.root, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := checkTree(bg, s); err != nil {
		t.Fatal(err)
	}
}
