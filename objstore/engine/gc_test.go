package engine

import (
	"fmt"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
)

// TestWhatCouldNotBeFreedIsFreedLater: a full disk at the last close of an
// unlinked file, and while garbage is freed.
func TestWhatCouldNotBeFreedIsFreedLater(t *testing.T) {
	k, root, g := gatedStack(t)
	var files []*File
	for _, name := range []string{"a", "b"} {
		f := fileAt(t, k.s, root, name)
		mustWrite(t, f, bytesOf(1, 100_000), 0)
		if err := f.Flush(bg); err != nil {
			t.Fatal(err)
		}
		if err := k.s.Unlink(bg, mountC, root, name); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	g.failWith(meta.ErrNoSpace)
	for _, f := range files {
		if err := f.Close(bg); err != nil {
			t.Error(err)
		}
	}
	if err := k.s.reapAll(bg); err != nil && !objstore.IsKind(err, objstore.KindNoSpace) {
		t.Error(err)
	}
	g.failWith(nil)
	k.s.orphansLeft.Store(true) // the reaper itself may have been between the two
	if err := k.s.reapAll(bg); err != nil {
		t.Fatal(err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
	countRecords(t, k.s, map[byte]int{'o': 0, 'g': 0, 'e': 0, 'i': 2})
}

// TestCorruptGarbageHoldsNothingUp: what cannot be freed stays, the rest goes.
func TestCorruptGarbageHoldsNothingUp(t *testing.T) {
	k, root := newStack(t, nil)
	for _, name := range []string{"a", "b", "c"} {
		put(t, k.s, name, bytesOf(1, 100_000))
	}
	// The chunk record of one of them is destroyed.
	err := k.kv.Update(bg, func(t meta.Txn) error {
		for p, err := range t.Scan(meta.Prefix([]byte{'k'})) {
			if err == nil {
				t.Set(append([]byte(nil), p.Key...), []byte{0xff})
			}
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := k.s.Unlink(bg, mountC, root, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.s.reapAll(bg); err == nil {
		t.Error("nothing was said of the corrupt record")
	}
	countRecords(t, k.s, map[byte]int{'g': 1, 'e': 1})
}

// TestUnlinkBesideTheLastCloseLeavesNothing: whichever of the two comes first.
func TestUnlinkBesideTheLastCloseLeavesNothing(t *testing.T) {
	k, root := newStack(t, nil)
	for range rounds(100) {
		f := fileAt(t, k.s, root, "f")
		mustWrite(t, f, bytesOf(1, 20_000), 0)
		done := make(chan error)
		go func() { done <- f.Close(bg) }()
		if err := k.s.Unlink(bg, mountC, root, "f"); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if err := k.s.reapGarbage(bg); err != nil {
		t.Fatal(err)
	}
	countRecords(t, k.s, map[byte]int{'o': 0, 'g': 0, 'e': 0, 'i': 2})
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// TestWhatIsRemovedTogetherIsFreedTogether: small contents share a transaction, and
// one with more entries than fit into it is freed all the same.
func TestWhatIsRemovedTogetherIsFreedTogether(t *testing.T) {
	k, _ := newStack(t, nil)
	const n = 2*reapTogether + 1
	var ids []objstore.ContentID
	for i := range n {
		info := put(t, k.s, fmt.Sprint("o", i), bytesOf(uint64(i), 20_000))
		rec, err := k.s.readInode(bg, info.Inode)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, rec.Content.ID)
	}
	for i := range n {
		if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: fmt.Sprint("o", i)}); err != nil {
			t.Fatal(err)
		}
	}
	was := k.s.commits.Load()
	if err := k.s.reapContents(bg, ids); err != nil {
		t.Fatal(err)
	}
	if took := k.s.commits.Load() - was; took > n/4 { // the reaper may be at them too
		t.Errorf("%d contents were freed in %d transactions", n, took)
	}
	if err := k.s.reapGarbage(bg); err != nil {
		t.Fatal(err)
	}
	countRecords(t, k.s, map[byte]int{'g': 0, 'e': 0, 'k': 0, 'm': 0, 'c': 0, 's': 0})
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}
