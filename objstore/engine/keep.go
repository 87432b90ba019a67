package engine

import (
	"context"

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

// AskBeforeRemoval has fn asked from now on, and not any more when stop returns.
func (s *Store) AskBeforeRemoval(fn Keeper) (stop func()) {
	return s.keepers.add(fn)
}

// offer asks the keepers about an inode that has lost its last name.
func (x *tx) offer(ino objstore.InodeID, rec *record.Inode) {
	s := x.s
	s.keepers.each(func(fn Keeper) {
		a := attrOf(ino, rec)
		fn(x.c, &a, func() (release func()) { return s.holdNode(ino) })
	})
}

// holdNode holds an inode until release is called; nil when it is too late.
func (s *Store) holdNode(ino objstore.InodeID) (release func()) {
	n := s.nodes.hold(s, ino)
	if n == nil {
		return nil
	}
	return func() { s.releaseNode(context.Background(), n) }
}
