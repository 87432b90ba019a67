package extent

import (
	"context"
	"errors"
	"fmt"
	"sync"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Span is Len bytes of a content from Off on: a hole, or a part of an extent
// with all that is needed to read it. It is valid while the reader's Pin is held.
type Span struct {
	Off int64
	Len int64

	id  record.ExtentID
	x   *record.Extent // nil: a hole
	off uint32         // into the extent
	key *Keys
	// stream is that of a logged extent.
	stream []byte
}

// Slice is the part of the span between two offsets of the content, as far as
// the span reaches; off lies within it.
func (sp *Span) Slice(off, end int64) Span {
	part := *sp
	part.off += uint32(off - sp.Off)
	part.Off = off
	part.Len = min(sp.Off+sp.Len, end) - off
	return part
}

// Logged reports whether the span carries its extent's stream with it.
func (sp *Span) Logged() bool { return sp.stream != nil }

// Hole reports whether the span reads as zeroes.
func (sp *Span) Hole() bool { return sp.x == nil }

// Spans returns what covers n bytes of a content at off, in order and without
// gaps. At most max spans are returned (0: no bound); the last one then ends
// short of off+n.
func (s *Store) Spans(r meta.Reader, c Content, off, n int64, max int) ([]Span, error) {
	refs, err := refsIn(r, c.Refs, off, n, max)
	if err != nil {
		return nil, err
	}
	var list []Span
	pos, end := off, off+n
	hole := func(to int64) {
		if to > pos {
			list = append(list, Span{Off: pos, Len: to - pos})
			pos = to
		}
	}
	for _, p := range refs {
		if max > 0 && len(list) >= max {
			return list[:max], nil
		}
		lo, hi := maxOf(pos, p.at), min(end, p.end())
		hole(lo)
		entries, err := scanEntries(r, p.ref.Chunk, uint32(lo-p.at)+p.ref.Off, uint32(hi-p.at)+p.ref.Off, max)
		if err != nil {
			return nil, err
		}
		enough := max > 0 && len(entries) >= max // there may be more in the chunk
		base := p.at - int64(p.ref.Off)
		first := len(list)
		for _, o := range entries {
			start, stop := maxOf(lo, base+int64(o.start)), min(hi, base+int64(o.end))
			hole(start)
			list = append(list, Span{Off: start, Len: stop - start, id: o.m.Extent, off: o.m.Off + uint32(start-base) - o.start})
			pos = stop
		}
		if !enough {
			hole(hi)
		}
		if err := s.fill(r, c, p.ref, list[first:]); err != nil {
			return nil, err
		}
		if enough {
			return list[:max], nil
		}
	}
	if max == 0 || len(refs) < max { // otherwise there may be more chunks
		hole(end)
	}
	if max > 0 && len(list) > max {
		list = list[:max]
	}
	return list, nil
}

func maxOf(a, b int64) int64 { return max(a, b) }

// fill reads the extents of one chunk's spans and opens their keys.
func (s *Store) fill(r meta.Reader, c Content, ref *record.ChunkRef, spans []Span) error {
	var keys [][]byte
	var index []int
	for i := range spans {
		if spans[i].id != (record.ExtentID{}) {
			keys = append(keys, record.ExtentKey(spans[i].id))
			index = append(index, i)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	vals, err := r.GetMany(keys)
	if err != nil {
		return err
	}
	var chunkKey *Keys
	defer func() { chunkKey.Wipe() }()
	for i, v := range vals {
		sp := &spans[index[i]]
		if v == nil {
			return fmt.Errorf("%w: extent is missing", record.ErrCorrupt)
		}
		if sp.x, err = record.ParseExtent(v); err != nil {
			return err
		}
		if int64(sp.off)+sp.Len > int64(sp.x.PlainLen) {
			return fmt.Errorf("%w: map entry leaves its extent", record.ErrCorrupt)
		}
		if sp.x.Logged {
			if sp.stream, err = stream(r, sp.id, sp.x); err != nil {
				return err
			}
		}
		if sp.key = s.keys.get(sp.id); sp.key != nil {
			continue
		}
		if chunkKey == nil {
			if chunkKey, err = openChunk(c, ref); err != nil {
				return err
			}
		}
		if sp.key, err = openExtent(r, ref.Chunk, chunkKey, sp.id, sp.x); err != nil {
			return err
		}
		s.keys.put(sp.id, sp.key)
	}
	return nil
}

// openExtent opens an extent's key for a chunk.
func openExtent(r meta.Reader, chunk record.ChunkID, chunkKey *Keys, id record.ExtentID, x *record.Extent) (*Keys, error) {
	sealed, outer := x.Sealed, x.Outer
	if x.Owner != chunk {
		v, err := r.Get(record.ExtentRefKey(id, chunk))
		if err != nil {
			return nil, missing(err, "extent reference")
		}
		ref, err := record.ParseExtentRef(v)
		if err != nil {
			return nil, err
		}
		sealed, outer = ref.Sealed, ref.Outer
	}
	return unsealExtent(chunk, chunkKey, id, x, sealed, outer)
}

// plains lends buffers for whole packages of which only a part is wanted.
var plains = sync.Pool{New: func() any { b := make([]byte, 0, record.MaxExtent); return &b }}

// Read fills p, which has sp.Len bytes, with the span's plaintext. On an error
// p holds nothing of it.
func (s *Store) Read(ctx context.Context, sp *Span, p []byte) error {
	return s.ReadPart(ctx, sp, 0, p)
}

// ReadPart fills p with the span's plaintext from off on; off+len(p) is at most
// sp.Len.
func (s *Store) ReadPart(ctx context.Context, sp *Span, off int64, p []byte) error {
	if off < 0 || off+int64(len(p)) > sp.Len {
		return errors.New("extent: read outside of a span")
	}
	if sp.x == nil {
		clear(p)
		return nil
	}
	if len(p) == 0 {
		return nil
	}
	x := sp.x
	plainLen := coffercrypto.PlainSize(x.PlainLen)
	at := coffercrypto.PlainSize(int64(sp.off) + off)
	first, start, size, err := coffercrypto.PackageRange(plainLen, at, coffercrypto.PlainSize(len(p)))
	if err != nil {
		return fmt.Errorf("read extent: %w", err)
	}
	var stream []byte
	if sp.stream != nil && !sp.key.Two() {
		stream = sp.stream[start : start+size]
	} else {
		buf := streams.Get().(*[]byte)
		defer streams.Put(buf)
		if stream, err = s.innerStream(ctx, sp, (*buf)[:cap(*buf)], start, size); err != nil {
			return err
		}
	}
	skip := int(at) - first*packagePlain
	whole := coffercrypto.PlainSize(len(p))
	if skip == 0 && (whole%packagePlain == 0 || at+whole == plainLen) {
		_, err := coffercrypto.DecryptPackages(p[:0], sp.key.Inner, x.Base, plainLen, first, stream)
		return err
	}
	out := plains.Get().(*[]byte)
	defer plains.Put(out)
	plain, err := coffercrypto.DecryptPackages((*out)[:0], sp.key.Inner, x.Base, plainLen, first, stream)
	if err != nil {
		return err
	}
	copy(p, plain[skip:])
	clear(plain)
	return nil
}

// PiecesRoom is how much memory ReadPieces needs for n bytes.
func PiecesRoom(n int) int { return (n/packagePlain+2)*packageStored + 3*data.Block }

// Step returns how many bytes of the span to read at off, max at most, so that no
// package is read twice when the next step begins behind them. max is at least
// the length of a package.
func (sp *Span) Step(off int64, max int) int {
	end := int64(sp.off) + off + int64(max)
	return int(min(int64(max)-end%packagePlain, sp.Len-off))
}

// ReadPieces appends n bytes of the span's plaintext from off on to list, in
// order, in pieces that are parts of buf: it reads and decrypts in place. buf has
// PiecesRoom(n) bytes, of which it changes any. On an error buf holds nothing of
// the plaintext.
func (s *Store) ReadPieces(ctx context.Context, sp *Span, off int64, n int, buf []byte, list [][]byte) ([][]byte, error) {
	if off < 0 || n < 0 || off+int64(n) > sp.Len || len(buf) < PiecesRoom(n) {
		return nil, errors.New("extent: read outside of a span, or without room")
	}
	if n == 0 {
		return list, nil
	}
	if sp.x == nil {
		clear(buf[:n])
		return append(list, buf[:n]), nil
	}
	x := sp.x
	plainLen := coffercrypto.PlainSize(x.PlainLen)
	at := coffercrypto.PlainSize(int64(sp.off) + off)
	first, start, size, err := coffercrypto.PackageRange(plainLen, at, coffercrypto.PlainSize(n))
	if err != nil {
		return nil, fmt.Errorf("read extent: %w", err)
	}
	stream, err := s.innerStream(ctx, sp, buf, start, size)
	if err != nil {
		return nil, err
	}
	had := len(list)
	if list, err = coffercrypto.OpenPackages(list, sp.key.Inner, x.Base, plainLen, first, stream); err != nil {
		return nil, err
	}
	// Of the first and the last package only a part may be wanted.
	over := -n
	for _, p := range list[had:] {
		over += len(p)
	}
	skip := int(at) - first*packagePlain
	list[had] = list[had][skip:]
	last := len(list) - 1
	list[last] = list[last][:len(list[last])-(over-skip)]
	return list, nil
}

// innerStream returns size bytes, whole packages, of the stream whose plaintext
// is the extent's, from start on. They are in buf as a rule, and the caller's to
// change.
func (s *Store) innerStream(ctx context.Context, sp *Span, buf []byte, start, size coffercrypto.CipherSize) ([]byte, error) {
	if !sp.key.Two() {
		return s.storedStream(ctx, sp, buf, start, size)
	}
	x := sp.x
	whole := coffercrypto.PlainSize(stored(x))
	first, outerStart, outerSize, err := coffercrypto.PackageRange(whole, coffercrypto.PlainSize(start), coffercrypto.PlainSize(size))
	if err != nil {
		return nil, fmt.Errorf("read extent: %w", err)
	}
	tmp := streams.Get().(*[]byte)
	defer streams.Put(tmp)
	outer, err := s.storedStream(ctx, sp, (*tmp)[:cap(*tmp)], outerStart, outerSize)
	if err != nil {
		return nil, err
	}
	inner, err := coffercrypto.DecryptPackages(buf[:0], sp.key.Outer, x.OuterBase, whole, first, outer)
	if err != nil {
		return nil, err
	}
	skip := start - coffercrypto.CipherSize(first)*packagePlain
	return inner[skip : skip+size], nil
}

// storedStream returns size bytes, whole packages, of an extent's stream as it is
// stored, from start on, in buf.
func (s *Store) storedStream(ctx context.Context, sp *Span, buf []byte, start, size coffercrypto.CipherSize) ([]byte, error) {
	if sp.stream != nil {
		return buf[:copy(buf[:size], sp.stream[start:start+size])], nil
	}
	return s.packagesIn(ctx, buf, sp.x, uint32(start/packageStored), int(size))
}

// packagesIn reads n bytes of whole packages of an extent's stream, from package
// number first on, into buf, and returns where in it they are.
func (s *Store) packagesIn(ctx context.Context, buf []byte, x *record.Extent, first uint32, n int) ([]byte, error) {
	if s.blocks != nil && len(x.Runs) == 1 && first >= x.Runs[0].First {
		r := x.Runs[0]
		loc := data.Location{Segment: data.SegmentID(r.Segment), Offset: r.Offset, Length: uint32(runBytes(x, r))}
		stored, err := s.blocks.ReadBlocks(ctx, loc, buf, n, int64(first-r.First)*packageStored)
		if err != nil {
			return nil, fmt.Errorf("read extent: %w", err)
		}
		return stored, nil
	}
	return buf[:n], s.readPackages(ctx, x, first, buf[:n])
}

// readPackages fills p with whole packages of an extent's stream from package
// number first on.
func (s *Store) readPackages(ctx context.Context, x *record.Extent, first uint32, p []byte) error {
	for _, r := range x.Runs {
		if len(p) == 0 {
			return nil
		}
		if first < r.First || first >= r.First+r.Packages {
			continue
		}
		off := uint64(first-r.First) * packageStored
		size := runBytes(x, r)
		n := min(uint64(len(p)), size-off)
		loc := data.Location{Segment: data.SegmentID(r.Segment), Offset: r.Offset, Length: uint32(size)}
		if err := s.data.ReadAt(ctx, loc, p[:n], int64(off)); err != nil {
			return fmt.Errorf("read extent: %w", err)
		}
		p = p[n:]
		first = r.First + r.Packages
	}
	if len(p) > 0 {
		return fmt.Errorf("%w: packages of an extent are missing", record.ErrCorrupt)
	}
	return nil
}

// runBytes is the length of a run in its segment: whole packages, but for the
// stream's last one.
func runBytes(x *record.Extent, r record.Run) uint64 {
	n := uint64(r.Packages) * packageStored
	if plain := stored(x); r.First+r.Packages == packages(plain) {
		if tail := uint64(plain) % packagePlain; tail != 0 {
			n -= packagePlain - tail
		}
	}
	return n
}
