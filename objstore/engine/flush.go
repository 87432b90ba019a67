package engine

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"sync"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// maxSealed bounds the full buffers (4 MiB each) of one file that wait for its
// next commit: from a quarter of it on a commit is under way, at all of it the
// writer waits.
const maxSealed = 8

// maxRanges bounds the ranges in them: a commit sets a record for each, and up
// to four more for what it overwrites, which have to fit into meta.MaxTxnBytes.
const maxRanges = 2 * maxBufferEx

// pending is a sealed buffer that is being encrypted.
type pending struct {
	s     *Store
	buf   *buffer
	size  int64
	batch *extent.Batch
	done  chan struct{} // closed when the fields below are set
	maps  []extent.Mapping
	err   error
}

// seal closes the buffer to writes and begins to encrypt it; mu is held. What
// the content held inline goes with the first buffer that becomes extents.
func (n *node) seal(log bool) error {
	ctx := context.Background()
	if err := n.ensureKey(ctx); err != nil { // it tells how many layers to encrypt in
		return err
	}
	if n.content.Layout == record.LayoutInline {
		plain, err := n.loadInlineLocked(ctx)
		if err != nil {
			return err
		}
		was := len(n.buf.arena)
		// The buffer may be full: what does not fit goes into one of its own.
		if len(plain) > n.buf.room() {
			under := newBuffer()
			under.put(plain, 0)
			n.s.buffered.Add(int64(len(plain)))
			n.push(under)
		} else {
			n.buf.putUnder(plain, 0)
			n.s.buffered.Add(int64(len(n.buf.arena) - was))
		}
		n.content.Layout = record.LayoutChunks
		n.inline = nil
	}
	if n.content.Layout == record.LayoutEmpty {
		n.content.Layout = record.LayoutChunks
	}
	b := n.buf
	n.buf = nil
	if log && len(b.arena) <= extent.MaxLogged && len(n.sealed) == 0 {
		n.pushLogged(b)
	} else {
		n.push(b)
	}
	return nil
}

// pushLogged is push for few bytes that must be durable at once: they go into
// the metadata (extent.Batch.Log). They are encrypted here and now.
func (n *node) pushLogged(b *buffer) {
	p := &pending{s: n.s, buf: b, size: int64(len(b.arena)), batch: n.s.extents.NewBatchOf(n.oek.Two()), done: make(chan struct{})}
	n.sealed = append(n.sealed, p)
	p.maps, p.err = n.s.encryptRanges(context.Background(), p.batch, b, true, n.chunkBounds)
	close(p.done)
}

// chunkBounds is extent.Bounds, remembered from one call to the next: small
// synced writes go to the same chunk. commitMu is held.
func (n *node) chunkBounds(off int64) (start, end int64, err error) {
	if n.chunk.start <= off && off < n.chunk.end {
		return n.chunk.start, n.chunk.end, nil
	}
	err = n.s.view(context.Background(), "write", "", func(r reader) error {
		start, end, err = extent.Bounds(r, extent.Of(n.content.ID, nil), off)
		return err
	})
	if err == nil {
		n.chunk = chunkRange{start, end}
	}
	return start, end, err
}

// chunkRange is what a chunk of a content covers, or would cover.
type chunkRange struct{ start, end int64 }

// push adds a buffer to the sealed ones and encrypts it in the background.
func (n *node) push(b *buffer) {
	p := &pending{s: n.s, buf: b, size: int64(len(b.arena)), batch: n.s.extents.NewBatchOf(n.oek.Two()), done: make(chan struct{})}
	n.sealed = append(n.sealed, p)
	c := extent.Of(n.content.ID, nil)
	n.s.encrypting <- struct{}{}
	go func() {
		defer func() { <-n.s.encrypting; close(p.done) }()
		p.err = n.s.view(context.Background(), "write", "", func(r reader) (err error) {
			p.maps, err = n.s.encryptRanges(context.Background(), p.batch, b, false, func(off int64) (int64, int64, error) {
				return extent.Bounds(r, c, off)
			})
			return err
		})
	}()
}

// abandon gives a pending buffer up.
func (p *pending) abandon() {
	<-p.done
	p.release()
}

func (p *pending) release() {
	p.batch.Release()
	p.s.buffered.Add(-p.size)
	p.buf.free()
}

// encryptRanges makes extents of a buffer: its ranges in the order of the file,
// split where chunks end (extent.Bounds). With log they are left to the
// transaction.
func (s *Store) encryptRanges(ctx context.Context, batch *extent.Batch, b *buffer, log bool, bounds func(off int64) (start, end int64, err error)) ([]extent.Mapping, error) {
	var maps []extent.Mapping
	var run []dirty // of one chunk, not yet encrypted
	runLen, most := 0, batch.MaxPlain()
	flush := func() error {
		if len(run) == 0 {
			return nil
		}
		err := s.encryptRun(ctx, batch, b, run, runLen, &maps, log)
		run, runLen = run[:0], 0
		return err
	}
	start, end := int64(0), int64(0)
	for _, d := range b.ents {
		for d.len > 0 {
			if d.off >= end || d.off < start {
				err := flush()
				if err == nil {
					start, end, err = bounds(d.off)
				}
				if err != nil {
					return nil, err
				}
			}
			m := int32(min(int64(d.len), end-d.off, int64(most-runLen)))
			run = append(run, dirty{d.off, m, d.pos})
			runLen += int(m)
			d = dirty{d.off + int64(m), d.len - m, d.pos + m}
			if runLen == most {
				if err := flush(); err != nil {
					return nil, err
				}
			}
		}
	}
	err := flush()
	return maps, err
}

// scratch lends memory for ranges that do not lie together in an arena.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, record.MaxExtent); return &b }}

// encryptRun makes one extent of ranges, size bytes together, and appends
// their mappings.
func (s *Store) encryptRun(ctx context.Context, batch *extent.Batch, b *buffer, run []dirty, size int, maps *[]extent.Mapping, log bool) error {
	// Writes that came in another order than the file's still lie together as a
	// rule: then the extent has the order in which they came.
	lo, hi := run[0].pos, run[0].pos+run[0].len
	for _, d := range run[1:] {
		lo, hi = min(lo, d.pos), max(hi, d.pos+d.len)
	}
	together := int(hi-lo) == size
	var plain []byte
	if together {
		plain = b.arena[lo:hi]
	} else {
		buf := scratch.Get().(*[]byte)
		defer scratch.Put(buf)
		plain = (*buf)[:0]
		for _, d := range run {
			plain = append(plain, b.bytes(d)...)
		}
	}
	var piece *extent.Piece
	var err error
	if log {
		piece, err = batch.Log(plain)
	} else {
		piece, err = batch.Encrypt(ctx, plain)
	}
	if err != nil {
		return err
	}
	off := uint32(0)
	for i, d := range run {
		if together {
			off = uint32(d.pos - lo)
		}
		last := len(*maps) - 1
		if i > 0 && (*maps)[last].Off+int64((*maps)[last].Len) == d.off && (*maps)[last].PieceOff+(*maps)[last].Len == off {
			(*maps)[last].Len += uint32(d.len)
		} else {
			*maps = append(*maps, extent.Mapping{Off: d.off, Len: uint32(d.len), Piece: piece, PieceOff: off})
		}
		off += uint32(d.len)
	}
	return nil
}

// fail notes that a commit lost what was written; mu is held. The node goes
// back to what is committed.
func (n *node) fail(ctx context.Context, err error) {
	n.failures++
	n.failure = err
	n.dropBuffers()
	n.attrs, n.unlogged, n.guessed, n.atime = false, false, false, 0
	n.chunk = chunkRange{}
	n.goBack(ctx)
	n.s.losses.each(func(fn func(objstore.InodeID)) { fn(n.ino) })
}

// goBack takes the node back to what is committed; mu is held. What a commit that
// failed wrote may be there all the same: what counts is what can be read.
func (n *node) goBack(ctx context.Context) {
	n.inline = nil // not cleared: a reader may be copying from it
	if rec, err := n.s.readInode(ctx, n.ino); err == nil {
		n.stored = stored{rec.Content, rec.Size, rec.Mtime}
	}
	switch {
	case n.stored.content.Mode == 0:
		n.oek.Wipe()
		n.oek = nil
	case n.stored.content.ID != n.content.ID:
		// The content was set aside after all. A reader may be using the old key.
		n.oek = nil
	}
	n.content, n.size, n.mtime = n.stored.content, n.stored.size, n.stored.mtime
	n.adrift = n.takeUnder(ctx) != nil
}

// readInode returns an inode's record as committed, from the cache if it is there.
func (s *Store) readInode(ctx context.Context, ino objstore.InodeID) (rec *record.Inode, err error) {
	if rec, known := s.cache.inode(ino); rec != nil {
		return rec, nil
	} else if known {
		return nil, objstore.E(objstore.KindStale, "inode", fmt.Sprint(ino), "")
	}
	err = s.view(ctx, "stat", "", func(r reader) error {
		rec, err = r.inode(ino)
		return err
	})
	return rec, err
}

// name tells a node in messages, and is asked for by each commit, for those it may have.
func (n *node) name() string { return "inode " + strconv.FormatUint(uint64(n.ino), 10) }

// absent turns the absence of a record that must be there into corruption.
func absent(err error, what string) error {
	if errors.Is(err, meta.ErrNotFound) {
		return fmt.Errorf("%w: %s is missing", record.ErrCorrupt, what)
	}
	return err
}

// relieve keeps the memory of uncommitted writes within bounds: a writer who
// comes when it is used up commits, its own file first, then the largest.
func (s *Store) relieve(ctx context.Context, n *node) error {
	if s.buffered.Load() < s.o.WriteBufferBytes {
		return nil
	}
	if err := n.commit(ctx); err != nil {
		return err
	}
	if s.buffered.Load() < s.o.WriteBufferBytes {
		return nil
	}
	s.relieveMu.Lock()
	defer s.relieveMu.Unlock()
	list := s.nodes.all()
	defer func() {
		for _, o := range list {
			s.releaseNode(context.WithoutCancel(ctx), o)
		}
	}()
	sort.Slice(list, func(i, j int) bool { return list[i].waiting() > list[j].waiting() })
	for _, o := range list {
		if s.buffered.Load() < s.o.WriteBufferBytes/2 {
			break
		}
		_ = o.commit(ctx) // its own Files are told
	}
	return nil
}

func (n *node) waiting() int64 {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.uncommitted()
}
