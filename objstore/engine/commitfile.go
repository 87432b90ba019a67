package engine

import (
	"context"
	"errors"
	"sync"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// commit makes everything that was written before it part of history. It is
// not durable then. When it fails, what it held is lost, and every File of the
// inode is told once.
func (n *node) commit(ctx context.Context) error { return n.commitFor(ctx, false) }

// commitFor is commit; sync says that it is about to be made durable.
func (n *node) commitFor(ctx context.Context, sync bool) error {
	n.commitMu.Lock()
	defer n.commitMu.Unlock()
	if sync && n.commitLogged(ctx) {
		return nil
	}
	return n.commitLocked(ctx, sync, false)
}

// commitLocked is commitFor for callers who hold commitMu. exclusive says that they
// hold layoutMu for writing, too.
func (n *node) commitLocked(ctx context.Context, sync, exclusive bool) error {
	// From here on the buffers belong to this commit: it ends, whoever waits.
	ctx = context.WithoutCancel(ctx)
	if err := n.mapUnder(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	if n.buf == nil && len(n.sealed) == 0 && !n.attrs {
		n.mu.Unlock()
		return nil
	}
	n.applying = true
	ch, err := n.takeChange(ctx, sync)
	n.mu.Unlock()
	if err == nil {
		if err = n.apply(ctx, ch); errors.Is(err, errSetAside) {
			if err = n.mapOld(ctx); err == nil {
				err = n.applyAside(ctx, ch, exclusive)
			}
		}
		ch.release()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.flushing {
		p.release()
	}
	n.flushing = nil
	n.applying = false
	if err != nil {
		n.fail(ctx, err)
		return err
	}
	n.stored = stored{ch.content, ch.size, ch.stored}
	if n.mtime == ch.mtime {
		n.mtime = ch.stored
	}
	return nil
}

// change is what one commit does to an inode.
type change struct {
	origin  uint32
	size    int64
	mtime   objstore.Time
	stored  objstore.Time // the mtime that the file then has
	atime   objstore.Time
	ctime   objstore.Time
	told    bool           // see node
	content record.Content // Layout, keys
	attrs   bool           // size or times changed
	data    bool           // there are bytes to be stored
	changed bool           // some of them are new: not logged yet
	inline  []byte         // new inline data, encoded; nil: none
	lent    *[]byte        // where that is
	pend    []*pending
	oek     *extent.Keys // of content
	aside   *aside       // not nil: content takes the place of one that is set aside
}

// inlineRecords lends memory for the records of small contents.
var inlineRecords = sync.Pool{New: func() any { b := make([]byte, 0, 12<<10); return &b }}

// sealInline makes the change's inline data of a small content, in the place of what
// it had.
func (ch *change) sealInline(c extent.Content, plain []byte) (err error) {
	if ch.lent == nil {
		ch.lent = inlineRecords.Get().(*[]byte)
	}
	ch.inline, err = extent.AppendInline((*ch.lent)[:0], c, plain)
	*ch.lent = ch.inline[:0]
	if err != nil {
		ch.release()
	}
	return err
}

// release gives back what the change borrowed.
func (ch *change) release() {
	if ch.lent != nil {
		inlineRecords.Put(ch.lent)
		ch.inline, ch.lent = nil, nil
	}
}

// takeChange decides what the next commit does; mu is held. It makes the object
// key when there is none.
func (n *node) takeChange(ctx context.Context, sync bool) (*change, error) {
	ch := &change{origin: n.origin, size: n.size, mtime: n.mtime, atime: n.atime, ctime: n.ctime, told: n.told, attrs: n.attrs}
	n.attrs, n.atime = false, 0
	n.origin, n.mixed = 0, false
	if n.buf == nil && len(n.sealed) == 0 {
		ch.content = n.content
		return ch, nil
	}
	ch.data, ch.changed = true, n.unlogged
	n.unlogged = false
	n.content.Logged = 0 // they are in the buffers too
	if err := n.ensureKey(ctx); err != nil {
		return nil, err
	}
	ch.oek = n.oek
	if n.content.Layout != record.LayoutChunks && n.size <= extent.MaxInline {
		if err := n.takeInline(ctx, ch); err != nil {
			return nil, err
		}
		ch.content = n.content
		return ch, nil
	}
	if n.buf != nil {
		if err := n.seal(sync); err != nil {
			return nil, err
		}
	}
	n.flushing, n.sealed = n.sealed, nil
	ch.pend = n.flushing
	ch.content = n.content
	return ch, nil
}

// ensureKey makes the object key of a content that has none; mu is held.
func (n *node) ensureKey(ctx context.Context) error {
	if n.oek != nil {
		return nil
	}
	if n.content.Mode != 0 { // it was lost in a commit that failed
		oek, err := n.s.openOEK(ctx, &n.content, n.customer)
		if err == nil {
			n.oek = oek
		}
		return err
	}
	oek, err := n.s.newOEK(ctx, n.bucket, objstore.Encryption{}, &n.content)
	if err == nil {
		n.oek = oek
	}
	return err
}

// takeInline makes the new inline data of a small content; mu is held.
func (n *node) takeInline(ctx context.Context, ch *change) error {
	old, err := n.loadInlineLocked(ctx)
	if err != nil {
		return err
	}
	plain := make([]byte, n.size)
	copy(plain, old)
	n.buf.overlay(plain, 0)
	if err := ch.sealInline(extent.Of(n.content.ID, n.oek), plain); err != nil {
		return err
	}
	n.content.Layout = record.LayoutInline
	n.inline = plain
	n.s.buffered.Add(-int64(len(n.buf.arena)))
	n.buf.free()
	n.buf = nil
	return nil
}

// apply commits a change. errSetAside: what the inode has must be set aside as a version
// first.
func (n *node) apply(ctx context.Context, ch *change) error {
	if err := ch.awaitPending(); err != nil {
		return n.s.wrap("write", n.name(), err)
	}
	gone := false
	err := n.s.update(ctx, objstore.Caller{Origin: ch.origin}, "write", n.name(), func(x *tx) error {
		rec, err := x.inode(n.ino)
		if objstore.IsKind(err, objstore.KindStale) {
			gone = true
			return nil
		}
		if err != nil {
			return err
		}
		return x.applyTo(n, rec, ch)
	})
	n.windows.changed()
	if gone {
		return nil // nobody can see it any more
	}
	return err
}

// awaitPending waits for the data of the change to be encrypted and appended: for all of
// it, since the buffers are given back next. It returns the first error.
func (ch *change) awaitPending() (err error) {
	for _, p := range ch.pend {
		<-p.done
		if err == nil {
			err = p.err
		}
	}
	return err
}

// applyTo puts a change into the inode's record rec and writes both.
func (x *tx) applyTo(n *node, rec *record.Inode, ch *change) error {
	if rec.Held && !ch.data {
		return nil // the times of a version stay
	}
	if ch.changed {
		must, err := x.mustSetAside(n, rec)
		if err != nil {
			return err
		}
		if must && ch.aside == nil {
			return errSetAside
		}
		if ch.aside != nil {
			if err := x.setAside(n.ino, rec, ch.aside, must); err != nil {
				return err
			}
		}
	}
	rec.Size = ch.size
	ch.stored = ch.mtime
	if ch.attrs && !rec.Held {
		if !ch.changed && x.sealedOff(n.ino, rec) {
			ch.stored = rec.Mtime // S3 has locked the version since it was written
		}
		rec.Mtime = ch.stored
		rec.Ctime = laterCtime(rec.Ctime, ch.ctime, ch.told)
		if ch.atime != 0 {
			rec.Atime = ch.atime
		}
	}
	switch {
	case ch.changed:
		x.touchContent(rec, &ch.content)
	case ch.data:
		x.dropLogged(&rec.Content)
	}
	if err := x.putData(rec, ch, extent.Of(ch.content.ID, ch.oek)); err != nil {
		return err
	}
	x.setInode(n.ino, rec)
	if ch.attrs || ch.changed {
		x.change(objstore.Change{Inode: n.ino, Data: ch.changed})
	}
	return nil
}

// touchContent gives an inode the keys and layout of a changed content, and a
// new ETag: what S3 said of the old bytes is no longer true.
func (x *tx) touchContent(rec *record.Inode, c *record.Content) {
	was := rec.Content
	x.dropLogged(&was)
	if was.PartCount > 0 {
		x.txn.Delete(record.PartsKey(was.ID))
	}
	rec.Content = record.Content{
		ID: c.ID, Gen: was.Gen + 1, Layout: c.Layout,
		Mode: c.Mode, DEK: c.DEK, SealedOEK: c.SealedOEK, KMSKeyID: c.KMSKeyID, BucketKey: c.BucketKey,
		OuterDEK: c.OuterDEK, SealedOuter: c.SealedOuter,
	}
}

// putData writes a change's bytes: inline data or maps.
func (x *tx) putData(rec *record.Inode, ch *change, c extent.Content) error {
	if ch.inline != nil {
		x.txn.Set(record.InlineKey(c.Refs), ch.inline)
		rec.Allocated = ch.size
		return nil
	}
	if len(ch.pend) == 0 {
		return nil
	}
	x.txn.Delete(record.InlineKey(c.Refs))
	e := x.s.extents.Edit(x.txn)
	for _, p := range ch.pend {
		if err := e.Map(c, p.maps); err != nil {
			return err
		}
	}
	rec.Allocated = max(rec.Allocated+e.Grown(), 0)
	return e.Finish()
}
