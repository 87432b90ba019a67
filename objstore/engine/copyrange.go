package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

const (
	// minCopyRange is the smallest range that is shared, in bytes. To read and write
	// less costs no more than the references that it would take.
	minCopyRange = 1 << 20
	// maxCopyRange bounds what one transaction shares, in bytes.
	maxCopyRange = 1 << 30
	// One span for each of so many bytes, and some more, may be shared. The first
	// write to a chunk that is shared takes all its entries over in one transaction;
	// what was written in smaller pieces is better copied, which also mends that.
	copyRangeSpan  = 64 << 10
	copyRangeSpans = 16
)

// errCopyBytes is the answer where bytes can be copied but not shared.
var errCopyBytes = objstore.E(objstore.KindNotSupported, "copy range", "", "the bytes have to be copied")

// CopyRange makes length bytes at off, the end of the file, those of src at srcOff,
// without moving data: both files have them until one writes there. What was
// written to src before the call is copied, what is written during it may be. It
// returns how many bytes it took, which can be fewer; 0 at the end of src.
//
// KindNotSupported: this range has to be copied byte by byte. It is short, or in
// many pieces; it would not be added to the end of the file; src is the same file,
// has another number of layers of encryption or was changed meanwhile.
func (f *File) CopyRange(ctx context.Context, off int64, src *File, srcOff, length int64) (int64, error) {
	switch {
	case off < 0 || srcOff < 0 || length < 0:
		return 0, objstore.E(objstore.KindInvalidArgument, "copy range", "", "")
	case f.n == src.n || !f.n.endsAt(off):
		return 0, errCopyBytes
	}
	if err := f.n.s.writable("copy range", ""); err != nil {
		return 0, err
	}
	r, err := src.n.offer(ctx, srcOff, length)
	if err != nil || r == nil {
		return 0, err
	}
	defer r.from.OEK.Wipe()
	if off > objstore.MaxFileSize-r.length {
		return 0, objstore.E(objstore.KindTooLarge, "copy range", "", "file would be over 64 TiB")
	}
	// A file that was just made has no key yet.
	f.n.mu.Lock()
	err = f.n.ensureKey(ctx)
	f.n.mu.Unlock()
	if err != nil {
		return 0, err
	}
	err = f.n.reshape(ctx, f.caller, "copy range", false, func(x *tx, rec *record.Inode, k extent.Content) (*reshaped, error) {
		to := &reshaped{content: rec.Content}
		if rec.Content.Mode == objstore.SSENone {
			to.content = f.n.content
			to.content.ID = rec.Content.ID
		}
		to.content.Layout = record.LayoutChunks
		to.size, to.allocated = off+r.length, rec.Allocated+r.allocated
		return to, x.takeRange(rec, k, off, r)
	})
	if err != nil {
		return 0, err
	}
	return r.length, nil
}

// endsAt reports whether bytes at off would be added to the end of a content that
// can have chunks.
func (n *node) endsAt(off int64) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.size == off && takesChunks(&n.content, off)
}

// takesChunks reports whether chunks can be put behind the size bytes of a content.
func takesChunks(c *record.Content, size int64) bool {
	return c.Layout == record.LayoutChunks || c.Layout == record.LayoutEmpty && size == 0
}

// offeredRange is a part of a file's content, as of a commit.
type offeredRange struct {
	ino       objstore.InodeID
	content   record.Content
	from      extent.Content // with a copy of the object key, to be wiped
	off       int64
	length    int64
	allocated int64 // bytes of it that are not in holes
}

// offer commits the file and returns what CopyRange can share of it; nil at its end.
func (n *node) offer(ctx context.Context, off, length int64) (*offeredRange, error) {
	n.mu.RLock()
	left := n.size - off
	n.mu.RUnlock()
	if left <= 0 || length == 0 {
		return nil, nil
	}
	if length = min(length, left, maxCopyRange); length < minCopyRange {
		return nil, errCopyBytes
	}
	if err := n.commit(ctx); err != nil {
		return nil, err
	}
	n.mu.RLock()
	id, whole := n.content.ID, n.oek != nil && n.under == nil
	r := &offeredRange{ino: n.ino, off: off}
	if whole {
		r.from = extent.Of(id, n.oek.Clone())
	}
	n.mu.RUnlock()
	if !whole {
		return nil, errCopyBytes
	}
	err := n.s.view(ctx, "copy range", n.name(), func(x reader) error {
		rec, err := x.inode(n.ino)
		if err != nil {
			return err
		}
		r.content, r.length = rec.Content, min(length, rec.Size-off)
		if rec.Content.ID != id || rec.Content.Layout != record.LayoutChunks || rec.Content.Logged > 0 || r.length < minCopyRange {
			return errCopyBytes
		}
		return r.measure(x, n.s.extents)
	})
	if err != nil {
		r.from.OEK.Wipe()
		return nil, err
	}
	return r, nil
}

// measure counts what the range has allocated. errCopyBytes: it is in too many pieces.
func (r *offeredRange) measure(x reader, extents *extent.Store) error {
	spans, err := extents.Spans(x, r.from, r.off, r.length, copyRangeSpans+int(r.length/copyRangeSpan))
	if err != nil {
		return err
	}
	rest := r.length
	for i := range spans {
		if rest -= spans[i].Len; !spans[i].Hole() {
			r.allocated += spans[i].Len
		}
	}
	if rest > 0 {
		return errCopyBytes
	}
	return nil
}

// takeRange shares a range at the end, off, of the content k of an inode.
func (x *tx) takeRange(rec *record.Inode, k extent.Content, off int64, r *offeredRange) error {
	src, err := x.inode(r.ino)
	if err != nil {
		return err
	}
	same := src.Content.ID == r.content.ID && src.Content.Gen == r.content.Gen && src.Content.Logged == 0
	if !same || rec.Size != off || !takesChunks(&rec.Content, off) || k.OEK == nil || k.OEK.Two() != r.from.OEK.Two() {
		return errCopyBytes
	}
	e := x.s.extents.Edit(x.txn)
	if err := e.TrimTail(k, off); err != nil {
		return err
	}
	// What was cut off can have left chunks with nothing in them.
	trash := newContentID()
	used, err := e.Cut(k, off, objstore.MaxFileSize, trash)
	if err != nil {
		return err
	}
	if used {
		x.txn.Set(record.GarbageKey(trash), []byte{1})
		x.reap = true
	}
	// Spans found no more pieces than that, and a chunk has one at least.
	taken, err := e.Share(k, off, r.from, r.off, r.length, copyRangeSpans+maxCopyRange/copyRangeSpan)
	if err == nil && taken != r.length {
		err = errCopyBytes
	}
	if err != nil {
		return err
	}
	return e.Finish()
}
