package engine

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// unnamed makes a file without a name, and opens it.
func unnamed(t tester, s *Store, dir objstore.InodeID) *File {
	t.Helper()
	a, f, err := s.CreateUnnamed(bg, mountC, dir, 0o640, objstore.OpenFlags{Read: true, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	if a.Nlink != 0 || a.Mode != 0o640 || a.Inode != f.Inode() {
		t.Fatalf("made %+v", a)
	}
	return f
}

func writeAll(t tester, f *File, body []byte) {
	t.Helper()
	if _, err := f.WriteAt(bg, body, 0); err != nil {
		t.Fatal(err)
	}
}

func closeFile(t tester, f *File) {
	t.Helper()
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
}

func TestFileWithoutANameGoesWithItsLastClose(t *testing.T) {
	k, root := newStack(t, nil)
	for _, size := range []int{0, 100, 300_000} {
		f := unnamed(t, k.s, root)
		body := bytesOf(1, size)
		writeAll(t, f, body)
		if err := f.Sync(bg); err != nil {
			t.Fatal(err)
		}
		if err := k.s.reapOrphans(bg); err != nil { // as after a start
			t.Fatal(err)
		}
		got := make([]byte, size+1)
		if n, err := f.ReadAt(bg, got, 0); err != nil || !bytes.Equal(got[:n], body) {
			t.Errorf("reads %d bytes, %v", n, err)
		}
		closeFile(t, f)
		if _, err := k.s.GetAttr(bg, f.Inode()); kindOf(err) != objstore.KindStale {
			t.Errorf("after its last close: %v", err)
		}
	}
	if err := k.s.reapAll(bg); err != nil {
		t.Fatal(err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
	countRecords(t, k.s, map[byte]int{'o': 0, 'g': 0, 'e': 0})
}

func TestLinkGivesAFileItsFirstName(t *testing.T) {
	k, root := newStack(t, nil)
	for _, size := range []int{0, 100, 300_000} {
		name := fmt.Sprint("f", size)
		f := unnamed(t, k.s, root)
		body := bytesOf(1, size)
		writeAll(t, f, body)
		put(t, k.s, "taken", nil)
		if _, err := k.s.Link(bg, mountC, f.Inode(), root, "taken"); kindOf(err) != objstore.KindExists {
			t.Errorf("link to a name that is taken: %v", err)
		}
		a, err := k.s.Link(bg, mountC, f.Inode(), root, name)
		if err != nil || a.Nlink != 1 || a.Size != int64(size) {
			t.Fatalf("linked %+v, %v", a, err)
		}
		want(t, k.s, name, body)
		if a, err = k.s.Link(bg, mountC, f.Inode(), root, name+"again"); err != nil || a.Nlink != 2 {
			t.Errorf("a second name: %+v, %v", a, err)
		}
		body = append(body, "end"...)
		writeAll(t, f, body)
		closeFile(t, f)
		want(t, k.s, name, body)
		for _, name := range []string{name, name + "again"} {
			if err := k.s.Unlink(bg, mountC, root, name); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := k.s.GetAttr(bg, f.Inode()); kindOf(err) != objstore.KindStale {
			t.Errorf("after its last unlink: %v", err)
		}
	}
	f := unnamed(t, k.s, root)
	if _, err := k.s.Link(bg, mountC, f.Inode(), root, "f"); err != nil {
		t.Fatal(err)
	}
	if err := k.s.Unlink(bg, mountC, root, "f"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.s.Link(bg, mountC, f.Inode(), root, "g"); kindOf(err) != objstore.KindNotFound {
		t.Errorf("link of a file that had a name: %v", err)
	}
	closeFile(t, f)
	if _, err := k.s.GetAttr(bg, f.Inode()); kindOf(err) != objstore.KindStale {
		t.Errorf("after its last close: %v", err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// want compares what S3 gets.
func want(t tester, s *Store, key string, body []byte) {
	t.Helper()
	b := versionedBucket{t: t.(*testing.T), s: s, name: "bucket"}
	if got, err := b.get(key, ""); err != nil || got != string(body) {
		t.Errorf("%q: %d bytes, %v, not %d", key, len(got), err, len(body))
	}
}

func TestFileWithoutANameStandsWhereFilesCan(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "places", "f", "gone/")
	gone := w.stat("gone").Inode
	if err := s.Rmdir(bg, mountC, w.root, "gone"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir  objstore.InodeID
		want objstore.Kind
	}{
		{objstore.RootInode, objstore.KindNotPermitted},
		{w.stat("f").Inode, objstore.KindNotDirectory},
		{gone, objstore.KindNotFound},
	} {
		if _, _, err := s.CreateUnnamed(bg, mountC, c.dir, 0o644, objstore.OpenFlags{Write: true}); kindOf(err) != c.want {
			t.Errorf("in %d: %v, not %v", c.dir, err, c.want)
		}
	}
	other := makeBucket(t, s, "other")
	f := unnamed(t, s, w.root)
	defer f.Close(bg)
	if _, err := s.Link(bg, mountC, f.Inode(), other, "f"); kindOf(err) != objstore.KindCrossBucket {
		t.Errorf("link in another bucket: %v", err)
	}
}

// The content with which a file gets its first name is one version, with all that is
// written to it as long as it is open.
func TestFirstNameMakesOneVersion(t *testing.T) {
	b := newVersioned(t, objstore.VersioningEnabled)
	b.put("f", "by S3")
	b.del("f", "")
	f := unnamed(t, b.s, b.root)
	writeAll(t, f, []byte("one"))
	if _, err := b.s.Link(bg, mountC, f.Inode(), b.root, "f"); err != nil {
		t.Fatal(err)
	}
	b.listed("f* one", "f marker", "f by S3")
	writeAll(t, f, []byte("two"))
	closeFile(t, f)
	b.listed("f* two", "f marker", "f by S3")
	f = b.open(b.root, "f")
	writeAll(t, f, []byte("three"))
	closeFile(t, f)
	b.listed("f* three", "f two", "f marker", "f by S3")
}

func TestFirstNameIsLockedAsTheBucketSays(t *testing.T) {
	b := newLocked(t, objstore.DefaultRetention{Mode: objstore.LockGovernance, Days: 1})
	f := unnamed(t, b.s, b.root)
	writeAll(t, f, []byte("one"))
	a, err := b.s.Link(bg, mountC, f.Inode(), b.root, "f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.s.Link(bg, mountC, a.Inode, b.root, "g"); kindOf(err) != objstore.KindNotPermitted {
		t.Errorf("a second name: %v", err)
	}
	writeAll(t, f, []byte("two")) // the session that made it goes on
	closeFile(t, f)
	v := b.pages(objstore.ListVersionsRequest{Bucket: b.name, MaxKeys: 10})
	if len(v) != 1 {
		t.Fatalf("%d versions", len(v))
	}
	b.want("f", v[0].Version, "two")
	b.refused("f", v[0].Version, false)
}

// A file is written and closed after it got its name, but before that counts.
func TestFileClosedWhileItGetsItsNameIsWhole(t *testing.T) {
	kv := new(aroundKV)
	k, root := newStack(t, func(k *stack) {
		k.wrapKV = func(s meta.Store) meta.Store { kv.Store = s; return kv }
	})
	f := unnamed(t, k.s, root)
	kv.after = func() {
		writeAll(t, f, []byte("late"))
		closeFile(t, f)
	}
	if _, err := k.s.Link(bg, mountC, f.Inode(), root, "f"); err != nil {
		t.Fatal(err)
	}
	want(t, k.s, "f", []byte("late"))
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// The first name goes before it counts.
func TestFileThatLosesItsFirstNameAtOnceGoesWithItsLastClose(t *testing.T) {
	kv := new(aroundKV)
	k, root := newStack(t, func(k *stack) {
		k.wrapKV = func(s meta.Store) meta.Store { kv.Store = s; return kv }
	})
	f := unnamed(t, k.s, root)
	kv.after = func() {
		if err := k.s.Unlink(bg, mountC, root, "f"); err != nil {
			t.Error(err)
		}
	}
	if _, err := k.s.Link(bg, mountC, f.Inode(), root, "f"); err != nil {
		t.Fatal(err)
	}
	closeFile(t, f)
	if _, err := k.s.GetAttr(bg, f.Inode()); kindOf(err) != objstore.KindStale {
		t.Errorf("after its last close: %v", err)
	}
}

// After a crash a file without a name is gone, and one that got a name is whole.
func TestCrashWhileFilesGetTheirFirstNames(t *testing.T) {
	c := newCrashCase(t, objstore.VersioningOff)
	k := c.k
	root := makeBucket(t, k.s, "named")
	bodies := [][]byte{bytesOf(1, 50), bytesOf(2, 200_000)}
	for i, body := range bodies {
		c.steps = append(c.steps, func() error {
			_, f, err := k.s.CreateUnnamed(bg, mountC, root, 0o644, objstore.OpenFlags{Write: true})
			if err != nil {
				return err
			}
			_, err = f.WriteAt(bg, body, 0)
			if err == nil {
				err = f.Sync(bg)
			}
			if err == nil {
				_, err = k.s.Link(bg, mountC, f.Inode(), root, fmt.Sprint(i))
			}
			return errors.Join(err, k.s.Sync(bg), f.Close(bg))
		})
	}
	c.check = func(k *stack, done, begun int) error {
		for i, body := range bodies {
			b := versionedBucket{t: t, s: k.s, name: "named"}
			switch got, err := b.get(fmt.Sprint(i), ""); {
			case objstore.IsKind(err, objstore.KindNotFound) && i >= done:
			case err != nil:
				return err
			case got != string(body):
				return fmt.Errorf("file %d has %d bytes", i, len(got))
			}
		}
		return k.s.view(bg, "test", "", func(r reader) error {
			for range r.Scan(meta.Prefix(record.OrphanPrefix())) {
				return errors.New("a file without a name is left")
			}
			return nil
		})
	}
	c.at(everyChange(3))
}
