package engine

import (
	"bytes"
	"context"
	"errors"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// Writing to a file of a versioned bucket, through the mount. The first change of a
// session, which lasts until the last file open for writing is closed, sets the
// content aside as a version: another inode takes it, and the file goes on with a
// content that shares its chunks. What the session writes after that changes the
// version that it made, unless somebody locked it meanwhile. A file that is made
// open begins its session then. A file that is opened for writing ends the session
// if what was written before has been flushed: the kernel flushes when a file is
// closed, and tells that it is only some time later.
//
// Whoever has a file open that S3 has replaced writes to what is a noncurrent
// version by now: that goes to another inode too, and what is written is seen by
// who has it open, as with any file whose name was replaced.

// errSetAside ends a transaction that would change a content that has to be set
// aside, which takes preparations.
var errSetAside = errors.New("engine: the content is to be set aside first")

// aside is what a file goes on with when its content is set aside.
type aside struct {
	s       *Store
	ino     objstore.InodeID // for the old content
	content record.Content
	oek     *extent.Keys  // nil: the content is empty and has no key yet
	share   *share        // of the old content's bytes; nil: none are needed
	lock    objstore.Lock // that the file has with the new content, once that is set
}

// writeSession is what a write session has made: the content, and what locked its
// version from the beginning, as the bucket's default does. With another lock the
// version is somebody else's decision, and the session's no more. The record
// decides, in the transaction: a lock can come before whoever made the content knows
// that it was committed.
type writeSession struct {
	content objstore.ContentID
	lock    objstore.Lock
}

// newAside prepares to set the node's content aside. layout says where the bytes
// are that the new one needs, and that the old one has: LayoutEmpty for none. With
// key it gets an object key. commitMu and layoutMu are held, for writing.
func (n *node) newAside(ctx context.Context, layout record.Layout, key bool) (*aside, error) {
	a := &aside{s: n.s, content: record.Content{ID: newContentID()}}
	var err error
	if a.ino, err = n.s.newInode(ctx); err != nil {
		return nil, err
	}
	if !key {
		return a, nil
	}
	if a.content, a.oek, err = n.s.contentLike(ctx, n.bucket, &n.content, objstore.Encryption{CustomerKey: n.customer}); err != nil {
		return nil, err
	}
	a.content.Layout = layout
	if layout == record.LayoutEmpty {
		return a, nil
	}
	a.content.Appends = n.content.Appends
	a.share = &share{
		s: n.s, dst: extent.Of(a.content.ID, a.oek), src: extent.Of(n.content.ID, n.oek),
		// All of the last chunk, behind the end of the file too: what waits to be
		// written was split where the old content's chunks end.
		size: n.stored.size + record.MaxChunk, layout: layout,
	}
	n.s.busy.add(a.content.ID)
	if err := a.share.steps(ctx); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// close ends it, done or not. A key that is still there is wiped.
func (a *aside) close() {
	if a.share != nil {
		a.share.close()
	}
	a.oek.Wipe()
}

// take hands the key over, of an aside that was committed.
func (a *aside) take() *extent.Keys {
	k := a.oek
	a.oek = nil
	if a.share != nil {
		a.share.done()
	}
	return k
}

// mustSetAside reports whether a node's content is to be set aside before it is
// changed; rec is its record.
func (x *tx) mustSetAside(n *node, rec *record.Inode) (bool, error) {
	switch {
	case rec.Held:
		return true, nil
	case rec.Nlink == 0:
		return false, nil
	}
	b, err := x.settings(rec.Bucket)
	if err != nil || b.Versioning == objstore.VersioningOff {
		return false, err
	}
	if s := n.session.Load(); s != nil && *s == (writeSession{rec.Content.ID, rec.Lock}) {
		return false, nil
	}
	return b.Versioning == objstore.VersioningEnabled || !rec.IsNull(), nil
}

// setAside gives an inode that is about to be changed the content of an aside. With
// keep the old one becomes a version, or stays what it is as one; without it is
// freed.
func (x *tx) setAside(ino objstore.InodeID, rec *record.Inode, a *aside, keep bool) error {
	if a.share != nil {
		if err := a.share.finish(x); err != nil {
			return err
		}
	}
	if keep {
		if err := x.setOldAside(ino, rec, a); err != nil {
			return err
		}
	} else {
		x.freeContent(&rec.Content)
	}
	gen := rec.Content.Gen
	rec.Content = a.content
	rec.Content.Gen = gen
	a.lock = rec.Lock
	return nil
}

// setOldAside makes a's inode the version that rec is until now.
func (x *tx) setOldAside(ino objstore.InodeID, rec *record.Inode, a *aside) error {
	old := *rec
	old.Nlink = 0
	if rec.Held {
		k, err := x.keptAs([]history{{id: rec.Parent}}, rec.Name, rec.Seq)
		if err != nil {
			return err
		}
		if k == nil {
			return objstore.E(objstore.KindCorrupt, "write", rec.Name, "a version's record is missing")
		}
		x.setInode(a.ino, &old)
		k.v.Inode = a.ino
		x.setVersion(rec.Parent, rec.Name, rec.Seq, k.v)
		rec.Held, rec.Seq, rec.Null, rec.Name, rec.Lock = false, 0, false, "", objstore.Lock{}
		x.orphan(ino)
		return x.copyXattrs(ino, a.ino, rec)
	}
	dir, name, ok, err := x.nameOf(ino, rec)
	if err != nil {
		return err
	}
	if !ok {
		if rec.Lock.Holds(x.now, false) {
			return objstore.E(objstore.KindLocked, "write", "", "")
		}
		x.s.log.Warn("a changed file leaves no version: its name was not found", "inode", uint64(ino))
		x.freeContent(&rec.Content)
		return nil
	}
	b, err := x.settings(rec.Bucket)
	if err != nil {
		return err
	}
	d, err := x.named("write", name, dir)
	if err != nil {
		return err
	}
	in, err := x.histories(b, dir, d)
	if err != nil {
		return err
	}
	if err := x.tellNullsApart(in, name, rec); err != nil {
		return err
	}
	if b.Versioning == objstore.VersioningSuspended {
		if err := x.dropNull(in, name); err != nil {
			return err
		}
	}
	x.keep(in[0].id, name, a.ino, &old)
	rec.Lock = objstore.Lock{}
	if err := x.become(b, dir, name, rec); err != nil {
		return err
	}
	return x.copyXattrs(ino, a.ino, rec)
}

// copyXattrs gives a version the attributes, tags among them, of what it was.
func (x *tx) copyXattrs(from, to objstore.InodeID, n *record.Inode) error {
	if !n.HasXattrs {
		return nil
	}
	v, err := x.Get(record.XattrKey(from))
	if err != nil {
		return absent(err, "attributes")
	}
	x.txn.Set(record.XattrKey(to), bytes.Clone(v))
	return nil
}

// applyAside is apply for a change that is to set the content aside. exclusive says
// that layoutMu is held for writing.
func (n *node) applyAside(ctx context.Context, ch *change, exclusive bool) error {
	if !exclusive {
		n.layoutMu.Lock()
		defer n.layoutMu.Unlock()
	}
	layout := record.LayoutEmpty // small data are in the change, all of them
	if n.stored.content.Layout == record.LayoutChunks {
		layout = record.LayoutChunks
	}
	a, err := n.newAside(ctx, layout, true)
	if err != nil {
		return err
	}
	defer a.close()
	a.content.Layout = ch.content.Layout
	ch.content, ch.oek, ch.aside = a.content, a.oek, a
	if ch.inline != nil {
		n.mu.RLock()
		err = ch.sealInline(extent.Of(a.content.ID, a.oek), n.inline)
		n.mu.RUnlock()
		if err != nil {
			return err
		}
	}
	if err := n.apply(ctx, ch); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.content.Layout // a buffer may have been sealed meanwhile
	n.oek.Wipe()
	n.oek = a.take()
	n.content = ch.content
	n.content.Layout = now
	n.beginSession(ch.content.ID, a.lock)
	return nil
}

// beginSession notes what the session under way has made.
func (n *node) beginSession(id objstore.ContentID, l objstore.Lock) {
	n.session.Store(&writeSession{id, l})
}

// endSession is called when the last file open for writing was closed: the next
// change sets the content aside.
func (n *node) endSession() {
	n.s.finishing.leave(n, n.s.now())
}

// cutSession is endSession within the transaction that locks the version: nobody
// finishes it any more.
func (s *Store) cutSession(ino objstore.InodeID) {
	s.finishing.cut(ino, s.nodes.get(ino))
}
