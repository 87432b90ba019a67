package engine

import (
	"context"
	"errors"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// truncate sets a regular file's size (POSIX ftruncate): what is cut off is
// gone, what is added reads as zeroes.
func (s *Store) truncate(ctx context.Context, c objstore.Caller, ino objstore.InodeID, size int64) error {
	n, err := s.nodes.acquire(ctx, s, ino)
	if err != nil {
		return err
	}
	defer s.releaseNode(context.WithoutCancel(ctx), n)
	if err := n.load(ctx, c); err != nil {
		return err
	}
	return n.truncate(ctx, c, size)
}

func (n *node) truncate(ctx context.Context, c objstore.Caller, size int64) (err error) {
	if err := n.s.writable("truncate", ""); err != nil {
		return err
	}
	if size < 0 || size > objstore.MaxFileSize {
		return objstore.E(objstore.KindTooLarge, "truncate", "", "file would be over 64 TiB")
	}
	empty, oek := record.Content{ID: newContentID()}, (*extent.Keys)(nil)
	if size == 0 {
		if oek, err = n.sealAgain(ctx, &empty); err != nil {
			return err
		}
	}
	used := false
	defer func() {
		if !used || err != nil {
			oek.Wipe()
		}
	}()
	return n.reshape(ctx, c, "truncate", size == 0, func(x *tx, rec *record.Inode, k extent.Content) (*reshaped, error) {
		r := &reshaped{size: size, content: rec.Content}
		used = false
		switch {
		case size == 0 && rec.Size > 0:
			x.freeContent(&rec.Content)
			r.content = empty
			r.content.Gen = rec.Content.Gen
			r.oek = oek
			used = true
			r.allocated = 0
		case size < rec.Size:
			return r, x.cut(rec, r, k, size, rec.Size-size)
		default:
			r.allocated = rec.Allocated
			r.inline = true // stays as it is
		}
		return r, nil
	})
}

// sealAgain gives an empty content, which takes the place of the node's, a key
// that is sealed as the node's is, so that a file stays under its key when it is
// cut to nothing and written anew. nil: under the bucket's default, whose key is
// made with the first write.
func (n *node) sealAgain(ctx context.Context, c *record.Content) (*extent.Keys, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.content.Mode == objstore.SSENone || n.content.Mode == objstore.SSES3 {
		return nil, nil
	}
	like, oek, err := n.s.contentLike(ctx, n.bucket, &n.content, objstore.Encryption{CustomerKey: n.customer})
	if err == nil {
		*c = like
	}
	return oek, err
}

// punch makes n bytes at off a hole, within the size of the file.
func (n *node) punch(ctx context.Context, c objstore.Caller, off, length int64) error {
	return n.reshape(ctx, c, "fallocate", false, func(x *tx, rec *record.Inode, k extent.Content) (*reshaped, error) {
		r := &reshaped{size: rec.Size, content: rec.Content, allocated: rec.Allocated, inline: true}
		length = min(length, rec.Size-off)
		if length <= 0 {
			return r, nil
		}
		r.inline = false
		return r, x.cut(rec, r, k, off, length)
	})
}

// reshaped is what an inode's content becomes.
type reshaped struct {
	size      int64
	allocated int64
	content   record.Content
	oek       *extent.Keys // of the content, if it is another one; nil: it has none yet
	inline    bool         // the inline data in memory, if any, is still right
}

// reshape commits what was written and then changes the content with fn, while
// nobody reads or writes it. all says that nothing of the content is left by it.
func (n *node) reshape(ctx context.Context, c objstore.Caller, op string, all bool, fn func(*tx, *record.Inode, extent.Content) (*reshaped, error)) error {
	n.commitMu.Lock()
	defer n.commitMu.Unlock()
	n.layoutMu.Lock()
	defer n.layoutMu.Unlock()
	for {
		if err := n.commitLocked(ctx, false, true); err != nil {
			return err
		}
		n.mu.Lock()
		if n.buf == nil && len(n.sealed) == 0 && !n.attrs && n.under == nil {
			break // mu stays held: no write can come between
		}
		n.mu.Unlock()
	}
	defer n.mu.Unlock()
	done, a, err := n.reshapeTo(context.WithoutCancel(ctx), c, op, nil, fn)
	if errors.Is(err, errSetAside) {
		layout := n.content.Layout
		if all {
			layout = record.LayoutEmpty
		}
		if a, err = n.newAside(context.WithoutCancel(ctx), layout, !all && n.content.Mode != 0); err == nil {
			defer a.close()
			done, a, err = n.reshapeTo(context.WithoutCancel(ctx), c, op, a, fn)
		}
	}
	n.windows.changed()
	n.chunk = chunkRange{}
	if err != nil {
		n.goBack(context.WithoutCancel(ctx))
		return err
	}
	n.size = done.size
	n.flushed = false
	if a != nil {
		n.beginSession(done.content.ID, a.lock)
	} else if s := n.session.Load(); s != nil && s.content == n.content.ID {
		n.beginSession(done.content.ID, s.lock)
	}
	if n.content.ID != done.content.ID {
		n.oek.Wipe()
		n.oek = done.oek
		if a != nil && done.content.ID == a.content.ID {
			n.oek = a.take()
		}
	}
	n.content = done.content
	n.mtime = n.s.now()
	n.stored = stored{n.content, n.size, n.mtime}
	if !done.inline {
		clear(n.inline)
		n.inline = nil
	}
	return nil
}

// reshapeTo is the transaction of reshape; a is nil, or prepared to set the content
// aside. It returns a where that was done.
func (n *node) reshapeTo(ctx context.Context, c objstore.Caller, op string, a *aside, fn func(*tx, *record.Inode, extent.Content) (*reshaped, error)) (done *reshaped, used *aside, err error) {
	err = n.s.update(ctx, c, op, n.name(), func(x *tx) error {
		k := extent.Of(n.content.ID, n.oek)
		rec, err := x.inode(n.ino)
		if err != nil {
			return err
		}
		must, err := x.mustSetAside(n, rec)
		if err != nil {
			return err
		}
		if must && a == nil {
			return errSetAside
		}
		if a != nil {
			if err := x.setAside(n.ino, rec, a, must); err != nil {
				return err
			}
			k = extent.Of(a.content.ID, a.oek)
		}
		if done, err = fn(x, rec, k); err != nil {
			return err
		}
		rec.Size, rec.Allocated = done.size, done.allocated
		rec.Mtime, rec.Ctime = x.now, x.now
		x.touchContent(rec, &done.content)
		done.content = rec.Content
		x.setInode(n.ino, rec)
		x.change(objstore.Change{Inode: n.ino, Data: true})
		return nil
	})
	return done, a, err
}

// cut makes a hole in a content, in its maps or in its inline data.
func (x *tx) cut(rec *record.Inode, r *reshaped, k extent.Content, off, length int64) error {
	r.allocated = rec.Allocated
	switch rec.Content.Layout {
	case record.LayoutInline:
		plain, err := x.inlineData(k)
		if err != nil {
			return err
		}
		if off < int64(len(plain)) {
			clear(plain[off:min(off+length, int64(len(plain)))])
		}
		plain = plain[:min(int64(len(plain)), r.size)]
		if len(plain) == 0 {
			x.txn.Delete(record.InlineKey(k.Refs))
			r.content.Layout = record.LayoutEmpty
			return nil
		}
		in, err := extent.SealInline(k, plain)
		if err != nil {
			return err
		}
		x.txn.Set(record.InlineKey(k.Refs), in.Append(nil))
		r.allocated = int64(len(plain))
	case record.LayoutChunks:
		e := x.s.extents.Edit(x.txn)
		trash := newContentID()
		used, err := e.Cut(k, off, length, trash)
		if err != nil {
			return err
		}
		if used {
			x.txn.Set(record.GarbageKey(trash), []byte{1})
			x.reap = true
		}
		r.allocated = min(max(rec.Allocated+e.Grown(), 0), r.size)
		return e.Finish()
	}
	return nil
}
