package engine

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
	"golang.org/x/sync/errgroup"
)

// node is an open inode: what was written to it and is not yet committed, and
// what is needed to read and write it. All Files of an inode share it.
//
// Locks, in this order: commitMu, layoutMu, mu.
type node struct {
	s    *Store
	ino  objstore.InodeID
	refs int // guarded by nodeTable.mu

	// commitMu is held by the one commit or truncation that is under way.
	commitMu sync.Mutex
	chunk    chunkRange // that a small synced write went to last; guarded by commitMu
	// layoutMu is held for writing while the content is replaced or cut, and for
	// reading while its maps are read.
	layoutMu sync.RWMutex

	windows mapWindows // its lock is a leaf

	// session is what the write session under way has made (aside.go); nil: none is.
	session atomic.Pointer[writeSession]
	// unlinked: it has no name any more, or none yet. It is set when a transaction has ended, by
	// who may hold mu.
	unlinked atomic.Bool
	// linkable: it was made without a name and has not got one (unnamed.go).
	linkable atomic.Bool

	mu       sync.RWMutex // guards the fields below
	loaded   bool
	bucket   objstore.InodeID
	content  record.Content
	oek      *extent.Keys // nil while the content has no key
	customer *secret.Key  // a customer's key, a copy of the node's own, under which oek is sealed; nil: it is under a data key
	inline   []byte       // plaintext of an inline content, as of the last commit that was begun; nil: not in memory
	stored   stored       // as of the last commit
	size     int64        // with what is not yet committed
	mtime    objstore.Time
	guessed  bool          // mtime is a guess, until the writer who keeps it hands it over (File.WriteCached)
	kept     objstore.Time // what that writer had before, while guessed
	atime    objstore.Time // 0: unchanged
	ctime    objstore.Time // of the last change that is not in the record
	told     bool          // by the cache that keeps it: the record's can be later
	origin   uint32        // of whoever wrote what waits; 0: nobody, or several
	mixed    bool          // several
	attrs    bool          // size or times differ from the record
	unlogged bool          // there are bytes that no commit and no logged write has (logged.go)
	under    *buffer       // logged writes of a committed content that are in no buffer; nil: none. Never changed
	adrift   bool          // under, or the key, is still to be loaded
	buf      *buffer       // takes writes; nil: none
	sealed   []*pending    // older, in order
	flushing []*pending    // what the commit under way holds
	applying bool          // a commit is under way whose size and times are not in the record yet
	writers  int           // Files that are open for writing
	flushed  bool          // nothing was written since a File was flushed
	soon     bool          // a background commit is on its way
	failures uint64        // commits that lost data
	failure  error         // the last of them
	answered uint64        // failures when a cache was last told that its write failed (File.Lost)
}

// stored is what a node goes back to when a commit fails.
type stored struct {
	content record.Content
	size    int64
	mtime   objstore.Time
}

func newNode(s *Store, ino objstore.InodeID) *node {
	return &node{s: s, ino: ino, windows: mapWindows{s: s}}
}

// load reads what the node needs from the inode's record, for a caller who has
// its key. KindStale: there is none. KindKeyRequired and the like: the caller
// has not, whoever has the file open.
func (n *node) load(ctx context.Context, c objstore.Caller) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.loaded {
		return n.mayOpen(ctx, c)
	}
	rec, err := n.s.readInode(ctx, n.ino)
	if err != nil {
		return err
	}
	if rec.Type != objstore.TypeRegular {
		return objstore.E(objstore.KindInvalidArgument, "open", "", "not a regular file")
	}
	switch rec.Content.Mode {
	case objstore.SSENone:
	case objstore.SSEC:
		if n.oek, n.customer, err = n.s.openLent(ctx, c, &rec.Content); err != nil {
			return err
		}
	default:
		if n.oek, err = n.s.openOEK(ctx, &rec.Content, nil); err != nil {
			return err
		}
	}
	n.bucket, n.content, n.size, n.mtime = rec.Bucket, rec.Content, rec.Size, rec.Mtime
	n.stored = stored{rec.Content, rec.Size, rec.Mtime}
	if err := n.takeUnder(ctx); err != nil {
		return err
	}
	if rec.Nlink == 0 { // it may have lost its name since
		n.unlinked.Store(true)
	}
	n.loaded = true
	return nil
}

// mayOpen asks again for the key of a node that is loaded: it may have been
// lent to another mount, or be locked by now. mu is held.
func (n *node) mayOpen(ctx context.Context, c objstore.Caller) error {
	switch n.content.Mode {
	case objstore.SSEC:
		if !n.s.lent.Has(c.Origin, n.customer) {
			return objstore.E(objstore.KindKeyRequired, "open", "", "the file is encrypted with a customer's key, which the mount has not been lent")
		}
	case objstore.SSEKMS, objstore.SSEDSSE:
		_, err := n.s.dek(ctx, n.content.DEK)
		if err == nil && n.content.Mode == objstore.SSEDSSE {
			_, err = n.s.dek(ctx, n.content.OuterDEK)
		}
		return err
	}
	return nil
}

// dispose wipes the node after its last release.
func (n *node) dispose() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.oek.Wipe()
	n.customer.Wipe()
	n.customer = nil
	clear(n.inline)
	n.inline = nil
	n.dropBuffers()
	n.windows.changed()
}

// dropBuffers gives up what is not committed and not being committed.
func (n *node) dropBuffers() {
	if n.buf != nil {
		n.s.buffered.Add(-int64(len(n.buf.arena)))
		n.buf.free()
		n.buf = nil
	}
	for _, p := range n.sealed {
		p.abandon()
	}
	n.sealed = nil
}

// dirty reports whether anything waits for a commit.
func (n *node) dirty() bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.attrs || n.applying || n.buf != nil || len(n.sealed) > 0 || n.under != nil && !n.s.o.ReadOnly
}

// live puts what is not yet committed onto the inode's record.
func (n *node) live(rec *record.Inode) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if !n.loaded {
		return
	}
	// The record may have been read before a commit that has ended since.
	rec.Size = n.size
	rec.Allocated = max(rec.Allocated, min(n.size, rec.Allocated+n.uncommitted()))
	if !n.attrs && !n.applying {
		return
	}
	rec.Mtime = n.mtime
	rec.Ctime = laterCtime(rec.Ctime, n.ctime, n.told)
	if n.atime != 0 {
		rec.Atime = n.atime
	}
}

// laterCtime is the ctime of a record when a change that waited is put into it.
// Other changes of the inode may have come first, but whoever keeps its ctime knows of
// them.
func laterCtime(was, ctime objstore.Time, told bool) objstore.Time {
	if told {
		return ctime
	}
	return max(was, ctime)
}

// uncommitted is how many bytes wait; mu is held.
func (n *node) uncommitted() int64 {
	total := int64(0)
	if n.buf != nil {
		total += int64(len(n.buf.arena))
	}
	for _, p := range n.sealed {
		total += p.size
	}
	for _, p := range n.flushing {
		total += p.size
	}
	return total
}

// overlaps reports whether any of size bytes at off wait for a commit; mu is held.
func (n *node) overlaps(off, size int64) bool {
	if n.buf != nil && n.buf.overlaps(off, size) {
		return true
	}
	for _, list := range [2][]*pending{n.sealed, n.flushing} {
		for _, p := range list {
			if p.buf.overlaps(off, size) {
				return true
			}
		}
	}
	return false
}

// writtenBy notes who wrote; mu is held.
func (n *node) writtenBy(origin uint32) {
	switch {
	case n.mixed:
	case n.origin == 0:
		n.origin = origin
	case n.origin != origin:
		n.origin, n.mixed = 0, true
	}
}

// write puts p into the buffer at off, or at the end of the file for append.
// cached says that it comes from a cache that keeps the file's times. With an error
// the first bytes may have been written, as by a short write(2).
func (n *node) write(ctx context.Context, origin uint32, p []byte, off int64, atEnd, cached bool) (at int64, err error) {
	if err := n.s.writable("write", ""); err != nil {
		return 0, err
	}
	if err := n.s.relieve(ctx, n); err != nil {
		return 0, err
	}
	n.mu.Lock()
	n.writtenBy(origin)
	if atEnd {
		off = n.size
	}
	if off < 0 || off > objstore.MaxFileSize-int64(len(p)) {
		n.mu.Unlock()
		return 0, objstore.E(objstore.KindTooLarge, "write", "", "file would be over 64 TiB")
	}
	at = off
	for len(p) > 0 {
		if n.buf == nil {
			n.buf = newBuffer()
		}
		room := n.buf.room()
		if room == 0 {
			if err = n.makeRoom(); err != nil {
				break
			}
			continue
		}
		m := min(len(p), room)
		n.buf.put(p[:m], off)
		n.s.buffered.Add(int64(m))
		p, off = p[m:], off+int64(m)
	}
	if err != nil && off == at {
		n.mu.Unlock()
		return 0, err
	}
	n.size = max(n.size, off)
	now := n.s.now()
	if cached && !n.guessed {
		n.guessed, n.kept = true, n.mtime
	}
	n.guessed = cached
	n.mtime, n.ctime, n.told = now, now, false
	n.attrs, n.unlogged = true, n.unlogged || off > at
	n.flushed = false
	waiting, ranges := len(n.sealed), 0
	for _, p := range n.sealed {
		ranges += len(p.buf.ents)
	}
	n.mu.Unlock()
	switch {
	case err != nil:
		return at, err
	case waiting >= maxSealed, ranges >= maxRanges:
		return at, n.commit(ctx)
	case waiting >= maxSealed/4:
		n.s.commitSoon(n)
	}
	return at, nil
}

// makeRoom replaces a full buffer; mu is held. Where most of its bytes were
// overwritten it is compacted, otherwise it is sealed.
func (n *node) makeRoom() error {
	if live := n.buf.live(); live < bigArena/2 && len(n.buf.ents) < maxBufferEx {
		was := len(n.buf.arena)
		n.buf.compact()
		n.s.buffered.Add(int64(len(n.buf.arena) - was))
		return nil
	}
	return n.seal(false)
}

// read fills p from off and returns how many bytes there were.
func (n *node) read(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, objstore.E(objstore.KindInvalidArgument, "read", "", "negative offset")
	}
	for {
		n.layoutMu.RLock()
		n.mu.RLock()
		if off >= n.size || len(p) == 0 {
			n.mu.RUnlock()
			n.layoutMu.RUnlock()
			return 0, nil
		}
		if n.adrift {
			n.mu.RUnlock()
			n.layoutMu.RUnlock()
			if err := n.findUnder(ctx); err != nil {
				return 0, err
			}
			continue
		}
		p = p[:min(int64(len(p)), n.size-off)]
		overlaps := n.overlaps(off, int64(len(p)))
		if !overlaps && (n.content.Layout != record.LayoutInline || n.inline != nil) {
			break
		}
		n.mu.RUnlock()
		n.layoutMu.RUnlock()
		var err error
		if overlaps {
			err = n.commit(ctx)
		} else {
			err = n.loadInline(ctx) // by then it may not be inline any more
		}
		if err != nil {
			return 0, err
		}
	}
	defer n.layoutMu.RUnlock()
	c := n.content
	if c.Layout == record.LayoutInline {
		copyOut(p, n.inline, off)
		n.mu.RUnlock()
		return len(p), nil
	}
	k, under := extent.Of(c.ID, n.oek), n.under
	n.mu.RUnlock()
	if c.Layout == record.LayoutEmpty {
		clear(p)
		return len(p), nil
	}
	pin := n.s.extents.Pin()
	defer pin.Release()
	spans, err := n.spans(ctx, k, off, int64(len(p)))
	if err == nil {
		err = n.s.wrap("read", n.name(), n.s.readSpans(ctx, spans, p, off))
	}
	if err != nil {
		clear(p)
		return 0, err
	}
	if under != nil {
		under.overlay(p, off)
	}
	return len(p), nil
}

// copyOut fills p with src from off on, and with zeroes behind its end.
func copyOut(p, src []byte, off int64) {
	m := 0
	if off < int64(len(src)) {
		m = copy(p, src[off:])
	}
	clear(p[m:])
}

// readSpans reads spans, which cover p from off on, several at a time.
func (s *Store) readSpans(ctx context.Context, spans []extent.Span, p []byte, off int64) error {
	if len(spans) == 1 {
		return s.extents.Read(ctx, &spans[0], p)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readParallel)
	for i := range spans {
		sp := &spans[i]
		part := p[sp.Off-off : sp.Off-off+sp.Len]
		if sp.Hole() {
			clear(part)
			continue
		}
		g.Go(func() error { return s.extents.Read(ctx, sp, part) })
	}
	return g.Wait()
}

// readParallel bounds the extents that one read has under way.
const readParallel = 4

// loadInline brings the plaintext of an inline content into memory.
func (n *node) loadInline(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, err := n.loadInlineLocked(ctx)
	return err
}

func (n *node) loadInlineLocked(ctx context.Context) ([]byte, error) {
	if n.inline != nil || n.content.Layout != record.LayoutInline {
		return n.inline, nil
	}
	plain, err := n.s.readInline(ctx, n.name(), extent.Of(n.content.ID, n.oek))
	if err != nil {
		return nil, err
	}
	n.inline = plain
	return plain, nil
}

// readInline reads and decrypts the data of a small content.
func (s *Store) readInline(ctx context.Context, what string, c extent.Content) (plain []byte, err error) {
	err = s.view(ctx, "read", what, func(r reader) error {
		plain, err = r.inlineData(c)
		return err
	})
	return plain, err
}

// inlineRecord returns the record with the data of a small content.
func (r reader) inlineRecord(c extent.Content) (*record.Inline, error) {
	v, err := r.Get(record.InlineKey(c.Refs))
	if err != nil {
		return nil, absent(err, "inline data")
	}
	return record.ParseInline(v)
}

// inlineData reads and decrypts the data of a small content.
func (r reader) inlineData(c extent.Content) ([]byte, error) {
	in, err := r.inlineRecord(c)
	if err != nil {
		return nil, err
	}
	return extent.OpenInline(make([]byte, 0, in.PlainLen), c, in)
}

var _ meta.Reader = reader{}
