package engine

import (
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
