package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Logged writes. A sync that finds little new in the buffer of an open file, as
// those of databases do, puts that into a record beside the inode's
// (record.LoggedWrite) and leaves the buffer as it is: the content's map is neither
// read nor changed, and no extent is made of a few bytes. The next commit, when the
// file is closed, renamed or read there, or its buffer is full or some seconds old,
// makes extents of the whole buffer, maps them and removes the records, in one
// transaction.
//
// Whoever reads the content as committed lays its logged writes over what the map
// says (get.go). Whoever shares its chunks has them mapped before that (mapLogged).
// A crash leaves them: the inode's next node holds them in under until its first
// commit, and the collector looks for those that nobody opens.

// maxLoggedArenas bounds the buffers of files with logged writes, in bytes that they
// reserve: beyond it a sync commits, which gives the file's buffer back.
const maxLoggedArenas = 128 << 20

// maxLogRanges bounds the ranges of one logged write.
const maxLogRanges = 256

// logWrite is a logged write on its way.
type logWrite struct {
	ranges []dirty
	bytes  []byte  // theirs, a copy
	lent   *[]byte // where they are
	mixed  bool    // several wrote them
	ch     change
}

// commitLogged does what commitFor does, for a sync, by a logged write. It returns
// false where that is not possible: the sync commits then. commitMu is held.
func (n *node) commitLogged(ctx context.Context) bool {
	n.mu.Lock()
	w := n.takeLogged()
	if w == nil {
		n.mu.Unlock()
		return false
	}
	if len(w.ranges) == 0 && !w.ch.attrs {
		n.mu.Unlock()
		return true
	}
	n.applying = true
	n.mu.Unlock()
	done, err := n.applyLogged(context.WithoutCancel(ctx), w)
	w.release()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.applying = false
	if err != nil || !done {
		// The commit finds everything as if this had not been tried.
		n.attrs, n.unlogged = n.attrs || w.ch.attrs, n.unlogged || len(w.ranges) > 0
		if n.atime == 0 {
			n.atime = w.ch.atime
		}
		if n.mixed = n.mixed || w.mixed; !n.mixed && w.ch.origin != 0 {
			n.writtenBy(w.ch.origin)
		}
		if n.buf != nil {
			n.buf.untracked = true
		}
		return false
	}
	if len(w.ranges) > 0 {
		n.content.Logged++
	}
	n.content.Gen = w.ch.content.Gen
	n.stored = stored{n.content, w.ch.size, w.ch.mtime}
	return true
}

// takeLogged decides whether what is new can be logged, and takes it; nil: it
// cannot. mu is held.
func (n *node) takeLogged() *logWrite {
	c, was := &n.content, &n.stored.content
	switch {
	case n.buf == nil, n.buf.untracked, len(n.sealed) > 0, n.under != nil, n.unlinked.Load(), n.oek == nil:
		return nil
	case loggedArenas.Load() > maxLoggedArenas:
		return nil
	case c.Layout != record.LayoutChunks, was.Layout != record.LayoutChunks, c.ID != was.ID, was.Logged >= record.MaxLoggedWrites:
		return nil
	case c.Mode != objstore.SSES3 && c.Mode != objstore.SSEKMS:
		// What is under a customer's key could not be mapped without it, and what
		// has two layers would have to have them here too.
		return nil
	}
	w := &logWrite{ranges: n.buf.fresh}
	if len(w.ranges) > 0 {
		fresh := n.buf.arena[w.ranges[0].pos:]
		if len(fresh) > extent.MaxLogged {
			return nil
		}
		n.buf.setLogged()
		w.lent = smallArenas.Get().(*[]byte)
		w.bytes = append((*w.lent)[:0], fresh...)
	}
	w.ch = change{origin: n.origin, size: n.size, mtime: n.mtime, atime: n.atime, ctime: n.ctime, told: n.told, attrs: n.attrs, content: n.content, oek: n.oek}
	w.mixed = n.mixed
	n.buf.fresh = nil
	n.attrs, n.atime, n.unlogged = false, 0, false
	n.origin, n.mixed = 0, false
	return w
}

// release gives back what a logged write borrowed.
func (w *logWrite) release() {
	if w.lent != nil {
		clear(w.bytes)
		smallArenas.Put(w.lent)
	}
	w.bytes, w.lent = nil, nil
}

// applyLogged commits a logged write; false: the content has to be set aside first,
// or is not what it was.
func (n *node) applyLogged(ctx context.Context, w *logWrite) (done bool, err error) {
	ch := &w.ch
	rec := record.LoggedWrite{Inode: n.ino}
	if len(w.ranges) > 0 {
		data, err := extent.SealInline(extent.Of(ch.content.ID, ch.oek), w.bytes)
		if err != nil {
			return false, err
		}
		rec.Data = *data
		for _, d := range w.ranges {
			rec.Ranges = append(rec.Ranges, record.LoggedRange{Off: d.off, Len: uint32(d.len)})
		}
	}
	err = n.s.update(ctx, objstore.Caller{Origin: ch.origin}, "write", n.name(), func(x *tx) error {
		done = false
		i, err := x.inode(n.ino)
		if objstore.IsKind(err, objstore.KindStale) {
			return nil
		}
		if err != nil {
			return err
		}
		if i.Held || i.Nlink == 0 || i.Content.ID != ch.content.ID || i.Content.Logged != ch.content.Logged {
			return nil
		}
		if len(rec.Ranges) > 0 {
			must, err := x.mustSetAside(n, i)
			if must || err != nil {
				return err
			}
			i.Content.Logged = 0 // they stay
			x.touchContent(i, &ch.content)
			i.Content.Logged = ch.content.Logged + 1
			x.set(record.LoggedKey(i.Content.ID, i.Content.Logged), rec.Append)
		} else if x.sealedOff(n.ino, i) {
			return nil // the commit knows what to do
		}
		i.Size, i.Mtime, i.Ctime = ch.size, ch.mtime, laterCtime(i.Ctime, ch.ctime, ch.told)
		if ch.atime != 0 {
			i.Atime = ch.atime
		}
		x.setInode(n.ino, i)
		x.change(objstore.Change{Inode: n.ino, Data: len(rec.Ranges) > 0})
		ch.content.Gen = i.Content.Gen
		done = true
		return nil
	})
	return done, err
}

// loggedWrites returns what lies over a content's map, nil where nothing does. The
// caller frees it.
func (r reader) loggedWrites(c *record.Content, oek *extent.Keys) (*buffer, error) {
	if c.Logged == 0 {
		return nil, nil
	}
	b := newBuffer()
	var plain []byte
	defer func() { clear(plain[:cap(plain)]) }()
	for i := uint32(1); i <= c.Logged; i++ {
		v, err := r.Get(record.LoggedKey(c.ID, i))
		if err != nil {
			b.free()
			return nil, absent(err, "logged write")
		}
		w, err := record.ParseLoggedWrite(v)
		if err == nil {
			plain, err = extent.OpenInline(plain[:0], extent.Of(c.ID, oek), &w.Data)
		}
		if err != nil {
			b.free()
			return nil, err
		}
		rest := plain
		for _, at := range w.Ranges {
			b.put(rest[:at.Len], at.Off)
			rest = rest[at.Len:]
		}
	}
	return b, nil
}

// dropLogged removes a content's logged writes, of which there are none then.
func (x *tx) dropLogged(c *record.Content) {
	for i := uint32(1); i <= c.Logged; i++ {
		x.txn.Delete(record.LoggedKey(c.ID, i))
	}
	c.Logged = 0
}

// takeUnder loads what lies over the stored content's map and is in no buffer, and
// before it the content's key where that is lost; mu is held.
func (n *node) takeUnder(ctx context.Context) error {
	if n.oek == nil && n.stored.content.Mode != objstore.SSENone {
		oek, err := n.s.openOEK(ctx, &n.stored.content, n.customer)
		if err != nil {
			return err
		}
		n.oek = oek
	}
	if n.under != nil || n.stored.content.Logged == 0 {
		return nil
	}
	return n.s.view(ctx, "read", n.name(), func(r reader) (err error) {
		n.under, err = r.loggedWrites(&n.stored.content, n.oek)
		return err
	})
}

// findUnder loads it where that failed before.
func (n *node) findUnder(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.adrift {
		return nil
	}
	err := n.takeUnder(ctx)
	n.adrift = err != nil
	return err
}

// mapUnder maps the logged writes that are in no buffer; commitMu is held. When it
// fails nothing is lost.
func (n *node) mapUnder(ctx context.Context) error {
	if err := n.findUnder(ctx); err != nil {
		return err
	}
	n.mu.RLock()
	under, c := n.under, extent.Of(n.content.ID, n.oek)
	n.mu.RUnlock()
	if under == nil || n.s.o.ReadOnly {
		return nil
	}
	batch := n.s.extents.NewBatchOf(c.OEK.Two())
	defer batch.Release()
	var maps []extent.Mapping
	err := n.s.view(ctx, "write", n.name(), func(r reader) (err error) {
		maps, err = n.s.encryptRanges(ctx, batch, under, false, func(off int64) (int64, int64, error) {
			return extent.Bounds(r, c, off)
		})
		return err
	})
	if err != nil {
		return err
	}
	err = n.s.update(ctx, objstore.Caller{}, "write", n.name(), func(x *tx) error {
		rec, err := x.inode(n.ino)
		if objstore.IsKind(err, objstore.KindStale) {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.Content.ID != c.Refs || rec.Content.Logged == 0 {
			return nil
		}
		e := x.s.extents.Edit(x.txn)
		if err := e.Map(c, maps); err != nil {
			return err
		}
		rec.Allocated = max(rec.Allocated+e.Grown(), 0)
		x.dropLogged(&rec.Content)
		x.setInode(n.ino, rec)
		return e.Finish()
	})
	n.windows.changed()
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.under = nil // not freed: a reader may be copying from it
	n.content.Logged, n.stored.content.Logged = 0, 0
	return nil
}

// mapOld maps the logged writes of a content that is to be set aside: they are its
// own, although the buffers have them too. commitMu is held.
func (n *node) mapOld(ctx context.Context) error {
	n.mu.Lock()
	err := n.takeUnder(ctx)
	n.mu.Unlock()
	if err != nil {
		return err
	}
	return n.mapUnder(ctx)
}

// mapLogged has an inode's logged writes mapped, and calls then before there can be
// others.
func (s *Store) mapLogged(ctx context.Context, ino objstore.InodeID, then func() error) error {
	n, err := s.nodes.acquire(ctx, s, ino)
	if err != nil {
		return err
	}
	defer s.releaseNode(context.WithoutCancel(ctx), n)
	if err := n.load(ctx, objstore.Caller{}); err != nil {
		return err
	}
	n.commitMu.Lock()
	defer n.commitMu.Unlock()
	if err := n.commitLocked(ctx, false, false); err != nil {
		return err
	}
	return then()
}

// mapLeftLogged maps the logged writes of files that nobody has open: those that a
// crash has left.
func (s *Store) mapLeftLogged(ctx context.Context) error {
	for from := record.LoggedPrefix(); from != nil; {
		ino, next, err := s.nextLogged(ctx, from)
		if err != nil {
			return err
		}
		from = next
		if ino == 0 || s.nodes.get(ino) != nil {
			continue
		}
		if err := s.mapLogged(ctx, ino, func() error { return nil }); err != nil && !objstore.IsKind(err, objstore.KindStale) {
			// Its key may be locked. It is read as it is.
			s.log.Debug("logged writes could not be mapped yet", "inode", uint64(ino), "err", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// nextLogged returns the inode of the first logged write from a key on, 0 when that
// is damaged, and where those of other contents begin; nil: there are none.
func (s *Store) nextLogged(ctx context.Context, from []byte) (ino objstore.InodeID, next []byte, err error) {
	err = s.view(ctx, "settle", "", func(r reader) error {
		rng := meta.Prefix(record.LoggedPrefix())
		rng.Start = from
		for p, err := range r.Scan(rng) {
			if err != nil {
				return err
			}
			w, err := record.ParseLoggedWrite(p.Value)
			if err != nil {
				s.corrupt("settle", "a logged write", err) // who reads it is told
			} else {
				ino = w.Inode
			}
			next, err = record.AfterLogged(p.Key)
			return err
		}
		return nil
	})
	return ino, next, err
}
