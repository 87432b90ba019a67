package engine

import (
	"bytes"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// fileOf opens a file for writing.
func fileOf(t *testing.T, k *stack, dir objstore.InodeID, name string) *File {
	t.Helper()
	a, err := k.s.Lookup(bg, dir, name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := k.s.Open(bg, mountC, a.Inode, objstore.OpenFlags{Read: true, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close(bg) })
	return f
}

// After a crash nobody has the buffer: what was logged is read, in a store that
// takes no changes too, mapped by the first commit or by the collector, and gone
// with the file.
func TestLoggedWritesOutliveACrash(t *testing.T) {
	k, root := newStack(t, nil)
	f, want := newLogged(t, k, root, 300_000)
	defer f.Close(bg)
	for i := range 20 {
		want = changeLogged(t, f, want, uint64(i+2), i*9000, 500)
	}
	mustWrite(t, f, bytesOf(77, 100), 40) // not synced
	after := func(t *testing.T, readOnly bool) *stack {
		t.Helper()
		c := k.crash(nil, 0)
		c.t, c.options.ReadOnly = t, readOnly
		if err := c.open(false); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.close)
		if n := c.logs(t); n != 20 {
			t.Fatalf("%d logged writes", n)
		}
		return c
	}
	open := func(t *testing.T, c *stack) *File {
		t.Helper()
		a, err := c.s.Lookup(bg, root, "f")
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.s.Open(bg, mountC, a.Inode, objstore.OpenFlags{Read: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close(bg) })
		return f
	}
	check := func(t *testing.T, c *stack, logs int) {
		t.Helper()
		same(t, "object", mustGet(t, c.s, "f"), want)
		if n := c.logs(t); n != logs {
			t.Errorf("%d logged writes, want %d", n, logs)
		}
		if err := checkStore(c.s); err != nil {
			t.Error(err)
		}
	}
	t.Run("read-only", func(t *testing.T) {
		c := after(t, true)
		check(t, c, 20)
		f := open(t, c)
		same(t, "file", readAll(t, f), want)
		if at, err := f.SeekData(bg, 9000); err != nil || at != 9000 {
			t.Errorf("data at %d, %v", at, err)
		}
		check(t, c, 20)
	})
	t.Run("read", func(t *testing.T) {
		c := after(t, false)
		check(t, c, 20)
		f := open(t, c)
		same(t, "file", readAll(t, f), want)
		if err := f.Flush(bg); err != nil {
			t.Fatal(err)
		}
		check(t, c, 0)
		same(t, "file", readAll(t, f), want)
	})
	t.Run("sync", func(t *testing.T) {
		c := after(t, false)
		open(t, c)
		if err := c.s.Sync(bg); err != nil {
			t.Fatal(err)
		}
		check(t, c, 0)
	})
	t.Run("collector", func(t *testing.T) {
		c := after(t, false)
		if err := c.s.settle(bg); err != nil {
			t.Fatal(err)
		}
		check(t, c, 0)
	})
	t.Run("copy", func(t *testing.T) {
		c := after(t, false)
		if _, err := c.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "f", DstBucket: "bucket", DstKey: "g"}); err != nil {
			t.Fatal(err)
		}
		same(t, "copy", mustGet(t, c.s, "g"), want)
		check(t, c, 0)
	})
	t.Run("truncate", func(t *testing.T) {
		c := after(t, false)
		if err := open(t, c).Truncate(bg, 40_000); err != nil {
			t.Fatal(err)
		}
		same(t, "object", mustGet(t, c.s, "f"), want[:40_000])
	})
	t.Run("overwrite", func(t *testing.T) {
		c := after(t, false)
		put(t, c.s, "f", []byte("new"))
		same(t, "object", mustGet(t, c.s, "f"), []byte("new"))
		if n := c.logs(t); n != 0 {
			t.Errorf("%d logged writes of what is gone", n)
		}
	})
	t.Run("version", func(t *testing.T) {
		c := after(t, false)
		c.versioning(objstore.VersioningEnabled)
		a, err := c.s.Lookup(bg, root, "f")
		if err != nil {
			t.Fatal(err)
		}
		w, err := c.s.Open(bg, mountC, a.Inode, objstore.OpenFlags{Write: true})
		if err != nil {
			t.Fatal(err)
		}
		now := changeLogged(t, w, bytes.Clone(want), 5, 100, 100)
		if err := w.Close(bg); err != nil {
			t.Fatal(err)
		}
		same(t, "object", mustGet(t, c.s, "f"), now)
		old, _, err := get(c.s, objstore.GetRequest{Key: "f", Version: "null"})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "null version", old, want)
		if err := checkStore(c.s); err != nil {
			t.Error(err)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		c := after(t, false)
		put(t, c.s, "other", bytesOf(5, 100_000))
		g := fileOf(t, c, root, "other")
		want := changeLogged(t, g, bytesOf(5, 100_000), 6, 10, 10)
		other := c.crash(nil, 0)
		other.t = t
		if err := other.open(false); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(other.close)
		err := other.s.o.Meta.Update(bg, func(x meta.Txn) error {
			a, err := other.s.Lookup(bg, root, "f")
			if err != nil {
				return err
			}
			rec, err := other.s.readInode(bg, a.Inode)
			if err == nil {
				x.Set(record.LoggedKey(rec.Content.ID, 1), []byte{9})
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := other.s.settle(bg); err != nil {
			t.Errorf("one damaged record ends the collector: %v", err)
		}
		if n := other.logs(t); n != 20 {
			t.Errorf("%d logged writes, want those of the damaged file alone", n)
		}
		same(t, "other", mustGet(t, other.s, "other"), want)
		if _, _, err := get(other.s, objstore.GetRequest{Key: "f"}); err == nil {
			t.Error("a damaged record is read")
		}
	})
	t.Run("lost", func(t *testing.T) {
		c := after(t, false)
		err := c.s.o.Meta.Update(bg, func(x meta.Txn) error {
			a, err := c.s.Lookup(bg, root, "f")
			if err != nil {
				return err
			}
			rec, err := c.s.readInode(bg, a.Inode)
			if err == nil {
				x.Delete(record.LoggedKey(rec.Content.ID, 7))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := get(c.s, objstore.GetRequest{Key: "f"}); !objstore.IsKind(err, objstore.KindCorrupt) {
			t.Errorf("get: %v", err)
		}
		a, err := c.s.Lookup(bg, root, "f")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.s.Open(bg, mountC, a.Inode, objstore.OpenFlags{Read: true}); !objstore.IsKind(err, objstore.KindCorrupt) {
			t.Errorf("open: %v", err)
		}
	})
}
