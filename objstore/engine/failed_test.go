package engine

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
)

// TestFailedSegmentsEndAllChanges: where the segments have failed for good and the
// metadata have not, no name changes either, since it could never be durable.
func TestFailedSegmentsEndAllChanges(t *testing.T) {
	var broken atomic.Bool
	k, root := newStack(t, func(k *stack) {
		k.wrap = func(d data.Store) data.Store {
			return datatest.NewFaults(d, func(c datatest.Call) (f datatest.Fault) {
				if broken.Load() && (c.Op == "append" || c.Op == "sync") {
					f.Err = data.ErrFailed
				}
				return f
			})
		}
	})
	f := fileAt(t, k.s, root, "f")
	mustWrite(t, f, bytesOf(1, 100_000), 0)
	if err := f.Sync(bg); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	if _, err := f.WriteAt(bg, bytesOf(2, 100_000), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(bg); !objstore.IsKind(err, objstore.KindReadOnly) {
		t.Fatalf("a sync of what could not be written: %v", err)
	}
	if _, err := k.s.Mkdir(bg, mountC, root, "d", 0o755); !objstore.IsKind(err, objstore.KindReadOnly) {
		t.Errorf("a directory: %v", err)
	}
	if err := k.s.Unlink(bg, mountC, root, "f"); !objstore.IsKind(err, objstore.KindReadOnly) {
		t.Errorf("a removal: %v", err)
	}
	// The FUSE door does so to show the kernel what is there of a file.
	if g, err := k.s.Open(bg, mountC, f.Inode(), objstore.OpenFlags{Read: true, Write: true}); err != nil {
		t.Errorf("an open: %v", err)
	} else {
		defer g.Close(bg)
	}
	got := make([]byte, 100_000)
	if _, err := f.ReadAt(bg, got, 0); err != nil || !bytes.Equal(got, bytesOf(1, len(got))) {
		t.Errorf("a read: %v; or not what was synced", err)
	}
	if err := k.s.Failure(); !errors.Is(err, data.ErrFailed) {
		t.Errorf("the store has failed with %v", err)
	}
}
