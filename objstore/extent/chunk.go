package extent

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// placed is a chunk reference with its place in the content.
type placed struct {
	at  int64
	ref *record.ChunkRef
}

func (p placed) end() int64 { return p.at + int64(p.ref.Span) }

func (e *Edit) scanRefs(r meta.Range, max int) ([]placed, error) { return scanRefs(e.t, r, max) }

func scanRefs(rd meta.Reader, r meta.Range, max int) ([]placed, error) {
	var list []placed
	for p, err := range rd.Scan(r) {
		if err != nil {
			return nil, err
		}
		_, at, err := record.ParseChunkRefKey(p.Key)
		if err != nil {
			return nil, err
		}
		ref, err := record.ParseChunkRef(p.Value)
		if err != nil {
			return nil, err
		}
		list = append(list, placed{at, ref})
		if len(list) == max {
			break
		}
	}
	return list, nil
}

// refBefore returns the last reference that begins at or before off, and
// refAfter the first that begins behind it.
func refBefore(r meta.Reader, id objstore.ContentID, off int64) (placed, bool, error) {
	// Chunks that writing makes begin at a multiple of their size: a look-up is
	// several times cheaper than a search.
	grid := off &^ (record.MaxChunk - 1)
	v, err := r.Get(record.ChunkRefKey(id, grid))
	if err == nil {
		ref, err := record.ParseChunkRef(v)
		if err != nil {
			return placed{}, false, err
		}
		if p := (placed{grid, ref}); p.end() > off {
			return p, true, nil
		}
	} else if !errors.Is(err, meta.ErrNotFound) {
		return placed{}, false, err
	}
	list, err := scanRefs(r, meta.Range{Start: record.ChunkRefKey(id, 0), End: record.ChunkRefKey(id, off+1), Reverse: true}, 1)
	if err != nil || len(list) == 0 {
		return placed{}, false, err
	}
	return list[0], true, nil
}

func refAfter(r meta.Reader, id objstore.ContentID, off int64) (placed, bool, error) {
	list, err := scanRefs(r, meta.Range{Start: record.ChunkRefKey(id, off+1), End: meta.PrefixEnd(record.ChunkRefPrefix(id))}, 1)
	if err != nil || len(list) == 0 {
		return placed{}, false, err
	}
	return list[0], true, nil
}

// refs returns the references that overlap n bytes at off, in order.
func (e *Edit) refs(c Content, off, n int64) ([]placed, error) {
	return refsIn(e.t, c.Refs, off, n, 0)
}

// refsIn returns the references that overlap n bytes at off: all when max is 0,
// otherwise max at least, when there are so many.
func refsIn(r meta.Reader, id objstore.ContentID, off, n int64, max int) ([]placed, error) {
	var list []placed
	before, ok, err := refBefore(r, id, off)
	if err != nil {
		return nil, err
	}
	if ok && before.end() > off {
		list = append(list, before)
	}
	behind, err := scanRefs(r, meta.Range{Start: record.ChunkRefKey(id, off+1), End: record.ChunkRefKey(id, off+n)}, max)
	return append(list, behind...), err
}

// Bounds returns the range of the chunk that covers off, or that writing at off
// would make: a piece of plaintext must not cross it.
func Bounds(r meta.Reader, c Content, off int64) (start, end int64, err error) {
	before, ok, err := refBefore(r, c.Refs, off)
	if err != nil {
		return 0, 0, err
	}
	start = off &^ (record.MaxChunk - 1)
	end = start + record.MaxChunk
	if ok {
		if before.end() > off {
			return before.at, before.end(), nil
		}
		start = max(start, before.end())
	}
	after, ok, err := refAfter(r, c.Refs, off)
	if err != nil {
		return 0, 0, err
	}
	if ok {
		end = min(end, after.at)
	}
	return start, end, nil
}

// chunkFor returns the reference that covers off, making a chunk when there is none.
func (e *Edit) chunkFor(c Content, off int64) (int64, *record.ChunkRef, error) {
	before, ok, err := refBefore(e.t, c.Refs, off)
	if err != nil {
		return 0, nil, err
	}
	if ok && before.end() > off {
		return before.at, before.ref, nil
	}
	start, end, err := Bounds(e.t, c, off)
	if err != nil {
		return 0, nil, err
	}
	ref := &record.ChunkRef{Chunk: newID(), Span: uint32(end - start)}
	key := newKeys(c.OEK.Two())
	ref.Sealed, ref.Outer = sealChunk(c, ref.Chunk, key)
	e.keys[ref.Chunk] = key
	e.t.Set(record.ChunkKey(ref.Chunk), (&record.Chunk{Owned: true}).Append(nil))
	e.t.Set(record.ChunkRefKey(c.Refs, start), ref.Append(nil))
	return start, ref, nil
}

// chunkKey returns the key of a chunk, which stays the edit's.
func (e *Edit) chunkKey(c Content, ref *record.ChunkRef) (*Keys, error) {
	if k := e.keys[ref.Chunk]; k != nil {
		return k, nil
	}
	k, err := openChunk(c, ref)
	if err != nil {
		return nil, err
	}
	e.keys[ref.Chunk] = k
	return k, nil
}

func (e *Edit) chunk(id record.ChunkID) (*record.Chunk, error) {
	v, err := e.t.Get(record.ChunkKey(id))
	if err != nil {
		return nil, missing(err, "chunk")
	}
	return record.ParseChunk(v)
}

// own makes the map of a referenced chunk the content's alone, so that it may
// change, and returns the chunk's key. A shared chunk is replaced, and ref with
// it, by a new one whose map points to the same extents.
func (e *Edit) own(c Content, at int64, ref *record.ChunkRef) (*Keys, error) {
	k, err := e.chunk(ref.Chunk)
	if err != nil {
		return nil, err
	}
	key, err := e.chunkKey(c, ref)
	if err != nil || !k.Shared {
		return key, err
	}
	was := *ref
	fresh := newKeys(c.OEK.Two())
	ref.Chunk, ref.Borrowed = newID(), false
	ref.Sealed, ref.Outer = sealChunk(c, ref.Chunk, fresh)
	e.keys[ref.Chunk] = fresh
	list, err := e.entries(was.Chunk, was.Off, was.Off+was.Span)
	if err != nil {
		return nil, err
	}
	live := make(map[record.ExtentID]uint32)
	for _, o := range list {
		start, end := max(o.start, was.Off), min(o.end, was.Off+was.Span)
		m := record.MapEntry{Length: end - start, Off: o.m.Off + start - o.start, Extent: o.m.Extent}
		e.t.Set(record.MapKey(ref.Chunk, start), m.Append(nil))
		live[m.Extent] += m.Length
	}
	for id, n := range live {
		if err := e.shareExtent(id, was.Chunk, key, ref.Chunk, fresh, n); err != nil {
			return nil, err
		}
	}
	e.t.Set(record.ChunkKey(ref.Chunk), (&record.Chunk{Owned: true}).Append(nil))
	if err := e.dropRef(c, at, &was); err != nil {
		return nil, err
	}
	e.t.Set(record.ChunkRefKey(c.Refs, at), ref.Append(nil))
	return fresh, nil
}

// shareExtent gives chunk to, whose map points to n bytes of an extent of chunk
// from, a reference of its own.
func (e *Edit) shareExtent(id record.ExtentID, from record.ChunkID, fromKey *Keys, to record.ChunkID, toKey *Keys, n uint32) error {
	a, err := e.load(id)
	if err != nil {
		return err
	}
	x := a.now
	key, err := openExtent(e.t, from, fromKey, id, x)
	if err != nil {
		return fmt.Errorf("share extent: %w", err)
	}
	defer key.Wipe()
	r := record.ExtentRef{Live: n}
	r.Sealed, r.Outer = sealExtent(to, toKey, id, x, key)
	e.t.Set(record.ExtentRefKey(id, to), r.Append(nil))
	x.Shared = true
	return nil
}

// dropRef removes a content's reference to a chunk, and the chunk when it was
// the last one.
func (e *Edit) dropRef(c Content, at int64, ref *record.ChunkRef) error {
	e.t.Delete(record.ChunkRefKey(c.Refs, at))
	k, err := e.chunk(ref.Chunk)
	if err != nil {
		return err
	}
	if ref.Borrowed {
		e.t.Delete(record.ChunkOfKey(ref.Chunk, c.Refs, at))
	} else {
		k.Owned = false
	}
	if k.Owned {
		return nil
	}
	if k.Shared {
		for _, err := range e.t.Scan(meta.Prefix(record.ChunkOfPrefix(ref.Chunk))) {
			if err == nil && !ref.Borrowed {
				e.t.Set(record.ChunkKey(ref.Chunk), k.Append(nil))
			}
			return err // somebody else needs it
		}
	}
	list, err := e.entries(ref.Chunk, 0, record.MaxChunk)
	if err != nil {
		return err
	}
	return e.dropChunk(ref.Chunk, list)
}

// dropChunk removes a chunk that nobody refers to any more; list are all its entries.
func (e *Edit) dropChunk(chunk record.ChunkID, list []entry) error {
	e.t.Delete(record.ChunkKey(chunk))
	return e.release(chunk, list)
}

// release removes entries from a chunk's map.
func (e *Edit) release(chunk record.ChunkID, list []entry) error {
	e.released += len(list)
	for _, o := range list {
		e.t.Delete(record.MapKey(chunk, o.start))
		if err := e.dead(o.m.Extent, chunk, o.m.Length); err != nil {
			return err
		}
	}
	return nil
}

// freeStep bounds the map entries that FreeStep lets go at once.
const freeStep = 4096

// Full reports whether the transaction has let go of so many entries that what
// comes next belongs into another one.
func (e *Edit) Full() bool { return e.released >= freeStep }

// FreeStep lets a part of a content go that nothing names any more: its next
// chunk, or some of the entries of one that has many. It reports whether that
// was all of the content. It needs no key.
func (e *Edit) FreeStep(c Content) (done bool, err error) {
	refs, err := e.scanRefs(meta.Prefix(record.ChunkRefPrefix(c.Refs)), 2)
	if err != nil || len(refs) == 0 {
		return err == nil, err
	}
	at, ref := refs[0].at, refs[0].ref
	last, err := e.lastUser(c, at, ref)
	if err != nil {
		return false, err
	}
	if !last {
		return len(refs) == 1, e.dropRef(c, at, ref)
	}
	list, err := scanEntries(e.t, ref.Chunk, 0, record.MaxChunk, freeStep+1)
	if err != nil {
		return false, err
	}
	if len(list) > freeStep {
		return false, e.release(ref.Chunk, list[:freeStep])
	}
	e.t.Delete(record.ChunkRefKey(c.Refs, at))
	if ref.Borrowed {
		e.t.Delete(record.ChunkOfKey(ref.Chunk, c.Refs, at))
	}
	return len(refs) == 1, e.dropChunk(ref.Chunk, list)
}

// lastUser reports whether nobody uses a chunk but this reference.
func (e *Edit) lastUser(c Content, at int64, ref *record.ChunkRef) (bool, error) {
	k, err := e.chunk(ref.Chunk)
	if err != nil {
		return false, err
	}
	if k.Owned && ref.Borrowed {
		return false, nil
	}
	if !k.Shared {
		return true, nil
	}
	own := record.ChunkOfKey(ref.Chunk, c.Refs, at)
	for p, err := range e.t.Scan(meta.Prefix(record.ChunkOfPrefix(ref.Chunk))) {
		if err != nil || !bytes.Equal(p.Key, own) {
			return false, err
		}
	}
	return true, nil
}

// Share makes n bytes of dst at dstOff those of src at srcOff, by sharing
// chunks: keys are sealed anew, data is neither read nor moved. dst has nothing
// there, and as many layers of encryption. At most limit references are made; Share returns how many bytes it
// came, so that a long copy can go on in another transaction.
func (e *Edit) Share(dst Content, dstOff int64, src Content, srcOff, n int64, limit int) (int64, error) {
	if dst.OEK.Two() != src.OEK.Two() {
		return 0, errLayers
	}
	if n == 0 {
		return 0, nil // a reference to the chunk that is there would have no length
	}
	list, err := refsIn(e.t, src.Refs, srcOff, n, limit+1)
	if err != nil {
		return 0, err
	}
	for i, r := range list {
		if i == limit {
			return max(r.at, srcOff) - srcOff, nil
		}
		key, err := e.chunkKey(src, r.ref)
		if err != nil {
			return 0, err
		}
		k, err := e.chunk(r.ref.Chunk)
		if err != nil {
			return 0, err
		}
		if !k.Shared {
			k.Shared = true
			e.t.Set(record.ChunkKey(r.ref.Chunk), k.Append(nil))
		}
		lo, hi := max(srcOff, r.at), min(srcOff+n, r.end())
		ref := &record.ChunkRef{Chunk: r.ref.Chunk, Off: r.ref.Off + uint32(lo-r.at), Span: uint32(hi - lo), Borrowed: true}
		ref.Sealed, ref.Outer = sealChunk(dst, r.ref.Chunk, key)
		at := dstOff + lo - srcOff
		e.t.Set(record.ChunkRefKey(dst.Refs, at), ref.Append(nil))
		e.t.Set(record.ChunkOfKey(ref.Chunk, dst.Refs, at), []byte{1})
	}
	return n, nil
}

// Move hands all chunks of a part to the content that it is a part of, at off.
// Keys are bound to that content already and stay as they are.
func (e *Edit) Move(dst, part Content, off int64) error {
	list, err := e.scanRefs(meta.Prefix(record.ChunkRefPrefix(part.Refs)), -1)
	if err != nil {
		return err
	}
	for _, r := range list {
		e.moveRef(part.Refs, r, dst.Refs, off+r.at)
	}
	return nil
}

// moveRef moves a reference to another content, or elsewhere in it.
func (e *Edit) moveRef(from objstore.ContentID, r placed, to objstore.ContentID, at int64) {
	e.t.Delete(record.ChunkRefKey(from, r.at))
	e.t.Set(record.ChunkRefKey(to, at), r.ref.Append(nil))
	if r.ref.Borrowed {
		e.t.Delete(record.ChunkOfKey(r.ref.Chunk, from, r.at))
		e.t.Set(record.ChunkOfKey(r.ref.Chunk, to, at), []byte{1})
	}
}

// TrimTail clips the span of the last chunk to the content's size, so that
// another part can begin right behind it.
func (e *Edit) TrimTail(c Content, size int64) error {
	before, ok, err := refBefore(e.t, c.Refs, max(size-1, 0))
	if err != nil || !ok || before.end() <= size || before.at >= size {
		return err
	}
	before.ref.Span = uint32(size - before.at)
	e.t.Set(record.ChunkRefKey(c.Refs, before.at), before.ref.Append(nil))
	return nil
}
