package engine

import (
	"context"
	"sync"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// Keeper is asked about an inode, of which a are the attributes, that is about to go with
// its last name, by whoever c is. For one that has users whom the store does not know
// it calls hold: the inode stays, as an open file does, until release is called, once.
// hold returns nil when it is too late.
//
// A Keeper is called within the transaction: it is quick, takes no lock of the
// store but by hold, and can be asked several times about one inode, which may keep
// its name in the end.
type Keeper func(c objstore.Caller, a *objstore.Attr, hold func() (release func()))

// keepers are all that are asked.
type keepers struct {
	mu   sync.RWMutex // guards the fields below; held while they are asked
	fns  map[int]Keeper
	next int
}

// AskBeforeRemoval has fn asked from now on, and not any more when stop returns.
func (s *Store) AskBeforeRemoval(fn Keeper) (stop func()) {
	k := &s.keepers
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fns == nil {
		k.fns = make(map[int]Keeper)
	}
	id := k.next
	k.next++
	k.fns[id] = fn
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.fns, id)
	}
}

// offer asks the keepers about an inode that has lost its last name.
func (x *tx) offer(ino objstore.InodeID, rec *record.Inode) {
	k := &x.s.keepers
	k.mu.RLock()
	defer k.mu.RUnlock()
	if len(k.fns) == 0 {
		return
	}
	s := x.s
	hold := func() (release func()) {
		n := s.nodes.hold(s, ino)
		if n == nil {
			return nil
		}
		return func() { s.releaseNode(context.Background(), n) }
	}
	a := attrOf(ino, rec)
	for _, fn := range k.fns {
		fn(x.c, &a, hold)
	}
}
