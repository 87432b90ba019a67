package engine

import (
	"context"
	"testing"

	"github.com/cofferfs/coffer/objstore/meta"
)

func TestWritesToUnlinkedFileAreRead(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "unlinked", "f")
	f := w.open("f")
	defer f.Close(bg)
	if err := s.Unlink(bg, mountC, w.root, "f"); err != nil {
		t.Fatal(err)
	}
	w.write(f, "temporary")
	if got := w.read(f); got != "temporary" {
		t.Fatalf("reads %q", got)
	}
}

// aroundKV does something after the first Update from its setting on, before who
// asked for that hears of it, and something else before the second.
type aroundKV struct {
	meta.Store
	after, before func()
}

func (k *aroundKV) Update(ctx context.Context, fn func(meta.Txn) error) error {
	if k.after == nil && k.before != nil {
		k.before()
		k.before = nil
	}
	err := k.Store.Update(ctx, fn)
	if after := k.after; after != nil {
		k.after = nil
		after()
	}
	return err
}

// A file loses its name, is closed before the transaction counts, and is opened again
// by somebody who fails to load it, for want of its key, just when it is to be removed.
func TestUnlinkedFileGoesWithWhoOpenedItInVain(t *testing.T) {
	kv := new(aroundKV)
	k, root := newStack(t, func(k *stack) {
		k.wrapKV = func(s meta.Store) meta.Store { kv.Store = s; return kv }
	})
	f := fileAt(t, k.s, root, "f")
	ino := f.Inode()
	var n *node
	kv.after = func() {
		if err := f.Close(bg); err != nil {
			t.Error(err)
		}
		kv.before = func() {
			var err error
			if n, err = k.s.nodes.acquire(bg, k.s, ino); err != nil {
				t.Error(err)
			}
		}
	}
	if err := k.s.Unlink(bg, mountC, root, "f"); err != nil {
		t.Fatal(err)
	}
	if n == nil {
		t.Fatal("nobody tried to remove the file")
	}
	k.s.releaseNode(bg, n)
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}
