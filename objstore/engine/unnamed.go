package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// Files without a name: open(2) with O_TMPFILE. Such a file is what an unlinked one is,
// an orphan that goes with its last close or with the process, but for one thing:
// Link can give it a name, its first. To S3 that is when the object comes into being.

// CreateUnnamed makes and opens a regular file that has no name, in a directory, from
// which it takes what a file made there would. Errors: the kinds of Create.
func (s *Store) CreateUnnamed(ctx context.Context, c objstore.Caller, parent objstore.InodeID, mode uint32, flags objstore.OpenFlags) (objstore.Attr, *File, error) {
	const op = "create"
	ino, err := s.newInode(ctx)
	if err != nil {
		return objstore.Attr{}, nil, err
	}
	n, err := s.nodes.acquire(ctx, s, ino) // the reaper leaves alone what is open
	if err != nil {
		return objstore.Attr{}, nil, err
	}
	defer s.releaseNode(context.WithoutCancel(ctx), n)
	var rec *record.Inode
	err = s.askingKey(ctx, parent, func(asked *askedKey) error {
		return s.update(ctx, c, op, "", func(x *tx) error {
			rec = &record.Inode{Type: objstore.TypeRegular, Mode: mode & 07777}
			rec.Content.ID = newContentID()
			if err := x.makeUnnamed(op, parent, ino, rec); err != nil {
				return err
			}
			return x.checkKeyAsked(rec, asked)
		})
	})
	if err != nil {
		return objstore.Attr{}, nil, err
	}
	n.linkable.Store(true)
	f, err := s.Open(ctx, c, ino, flags)
	if err != nil {
		return objstore.Attr{}, nil, err
	}
	return attrOf(ino, rec), f, nil
}

// makeUnnamed is makeEntry without the entry.
func (x *tx) makeUnnamed(op string, parent, ino objstore.InodeID, n *record.Inode) error {
	dir, err := x.directory(op, parent)
	if err != nil {
		return err
	}
	if parent == objstore.RootInode {
		return objstore.E(objstore.KindNotPermitted, op, "", "only buckets, which are directories, can stand here")
	}
	x.adopt(dir, parent, n)
	n.Nlink = 0
	n.Atime, n.Mtime, n.Ctime, n.Btime = x.now, x.now, x.now, x.now
	x.setInode(ino, n)
	x.orphan(ino)
	return nil
}

// nameUnnamed gives a file its first name, as makeEntry does, but for the entry itself.
func (x *tx) nameUnnamed(dir *record.Inode, parent objstore.InodeID, name string, ino objstore.InodeID, n *record.Inode) error {
	n.Parent = parent
	x.txn.Delete(record.OrphanKey(ino))
	return x.begin(dir, parent, name, ino, n)
}

// gotName follows the transaction that gave the node its first name, with lock l.
func (n *node) gotName(ctx context.Context, l objstore.Lock) {
	n.linkable.Store(false)
	n.unlinked.Store(false)
	// The name may have gone again: whoever removed it may have said so too early.
	if rec, err := n.s.readInode(ctx, n.ino); err == nil && rec.Nlink == 0 {
		n.unlinked.Store(true)
	}
	n.mu.RLock()
	if n.writers > 0 && n.session.Load() == nil { // what they write is the version that was made
		n.beginSession(n.stored.content.ID, l)
	}
	n.mu.RUnlock()
	// One that was closed while it counted as unlinked was not flushed.
	_ = n.commit(ctx) // its Files are told
}
