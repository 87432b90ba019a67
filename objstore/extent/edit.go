package extent

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Edit collects what one transaction changes in maps, and keeps the accounts of
// extents and segments. It is made inside the transaction's function, used by
// that goroutine alone, and ended by Finish.
type Edit struct {
	s       *Store
	t       meta.Txn
	extents map[record.ExtentID]*account
	keys    map[record.ChunkID]*Keys // chunk keys that were opened or made
	grown   int64
	// released counts the map entries that went with their chunks.
	released int
}

// Grown is how many bytes more the maps that were changed cover now. Chunks
// that were let go or moved as a whole are not counted.
func (e *Edit) Grown() int64 { return e.grown }

// account is an extent that the transaction has touched.
type account struct {
	was *record.Extent // nil: new
	now *record.Extent // nil: deleted
	// logged: there is, or was at the transaction's start, a J record.
	logged bool
	moved  bool // by compaction
}

// Edit begins an edit in a transaction.
func (s *Store) Edit(t meta.Txn) *Edit {
	return &Edit{s: s, t: t, extents: make(map[record.ExtentID]*account), keys: make(map[record.ChunkID]*Keys)}
}

// Mapping says that Len bytes of a content at Off are those of Piece at
// PieceOff. A nil Piece makes a hole.
type Mapping struct {
	Off      int64
	Len      uint32
	Piece    *Piece
	PieceOff uint32
}

// span is a mapping within one chunk.
type span struct {
	start, end uint32 // within the chunk
	piece      *Piece
	pieceOff   uint32
}

// Map points ranges of a content at pieces. maps ascend by Off, do not overlap,
// and none with a piece crosses a boundary that Bounds reports.
func (e *Edit) Map(c Content, maps []Mapping) error {
	for len(maps) > 0 {
		at, ref, err := e.chunkFor(c, maps[0].Off)
		if err != nil {
			return err
		}
		end := at + int64(ref.Span)
		n := 0
		var spans []span
		for n < len(maps) && maps[n].Off < end {
			m := maps[n]
			if m.Off+int64(m.Len) > end {
				return fmt.Errorf("extent: mapping at %d crosses the chunk's end at %d", m.Off, end)
			}
			start := uint32(m.Off-at) + ref.Off
			spans = append(spans, span{start, start + m.Len, m.Piece, m.PieceOff})
			n++
		}
		if err := e.mapChunk(c, at, ref, spans); err != nil {
			return err
		}
		maps = maps[n:]
	}
	return nil
}

// Cut makes n bytes of a content at off a hole. Whole chunks are not looked
// into: they are handed to the content trash, which FreeStep takes apart later;
// used tells whether there were any.
func (e *Edit) Cut(c Content, off, n int64, trash objstore.ContentID) (used bool, err error) {
	refs, err := e.refs(c, off, n)
	if err != nil {
		return false, err
	}
	for _, r := range refs {
		lo, hi := max(off, r.at), min(off+n, r.end())
		if lo == r.at && hi == r.end() {
			e.moveRef(c.Refs, r, trash, r.at)
			used = true
			continue
		}
		start := uint32(lo-r.at) + r.ref.Off
		if err := e.mapChunk(c, r.at, r.ref, []span{{start: start, end: start + uint32(hi-lo)}}); err != nil {
			return used, err
		}
	}
	return used, nil
}

// mapChunk replaces ranges of one chunk's map.
func (e *Edit) mapChunk(c Content, at int64, ref *record.ChunkRef, spans []span) error {
	key, err := e.own(c, at, ref)
	if err != nil {
		return err
	}
	chunk := ref.Chunk
	old, err := e.entries(chunk, spans[0].start, spans[len(spans)-1].end)
	if err != nil {
		return err
	}
	next := 0
	for _, o := range old {
		for next < len(spans) && spans[next].end <= o.start {
			next++
		}
		if err := e.cut(chunk, o, spans[next:]); err != nil {
			return err
		}
	}
	for _, sp := range spans {
		if sp.piece == nil {
			continue
		}
		x, err := e.pieceExtent(sp.piece, chunk, key)
		if err != nil {
			return err
		}
		x.Live += sp.end - sp.start
		e.grown += int64(sp.end - sp.start)
		m := record.MapEntry{Length: sp.end - sp.start, Off: sp.pieceOff, Extent: sp.piece.id}
		e.t.Set(record.MapKey(chunk, sp.start), m.Append(nil))
	}
	return nil
}

// entry is a map entry with its place in the chunk.
type entry struct {
	start, end uint32
	m          record.MapEntry
}

// cut takes the spans out of an entry: what is left of it stays.
func (e *Edit) cut(chunk record.ChunkID, o entry, spans []span) error {
	cursor, left, first := o.start, uint32(0), true
	keepAtStart := false
	keep := func(from, to uint32) {
		if from >= to {
			return
		}
		left += to - from
		if from == o.start {
			keepAtStart = true
		}
		m := record.MapEntry{Length: to - from, Off: o.m.Off + from - o.start, Extent: o.m.Extent}
		e.t.Set(record.MapKey(chunk, from), m.Append(nil))
	}
	for _, sp := range spans {
		if sp.start >= o.end {
			break
		}
		first = false
		keep(cursor, sp.start)
		cursor = max(cursor, sp.end)
	}
	if first {
		return nil // untouched
	}
	keep(cursor, o.end)
	if !keepAtStart {
		e.t.Delete(record.MapKey(chunk, o.start))
	}
	e.grown -= int64(o.m.Length - left)
	return e.dead(o.m.Extent, chunk, o.m.Length-left)
}

// entries returns the entries of a chunk's map that overlap [lo, hi), in order.
func (e *Edit) entries(chunk record.ChunkID, lo, hi uint32) ([]entry, error) {
	return scanEntries(e.t, chunk, lo, hi, 0)
}

// scanEntries returns the first max entries (0: all) that overlap [lo, hi).
func scanEntries(r meta.Reader, chunk record.ChunkID, lo, hi uint32, max int) ([]entry, error) {
	if lo > 0 && max == 0 {
		return scanEntriesBack(r, chunk, lo, hi)
	}
	var list []entry
	if lo > 0 {
		for p, err := range r.Scan(meta.Range{Start: record.MapKey(chunk, 0), End: record.MapKey(chunk, lo), Reverse: true}) {
			o, err := parseEntry(p, err)
			if err != nil {
				return nil, err
			}
			if o.end > lo {
				list = append(list, o)
			}
			break
		}
	}
	for p, err := range r.Scan(meta.Range{Start: record.MapKey(chunk, lo), End: record.MapKey(chunk, hi)}) {
		o, err := parseEntry(p, err)
		if err != nil {
			return nil, err
		}
		if n := len(list); n > 0 && o.start < list[n-1].end {
			return nil, errOverlap
		}
		list = append(list, o)
		if len(list) == max {
			break
		}
	}
	return list, nil
}

// scanEntriesBack is scanEntries without a bound. From the end on one scan finds
// the entry that begins before lo as well: opening a scan is what costs.
func scanEntriesBack(r meta.Reader, chunk record.ChunkID, lo, hi uint32) ([]entry, error) {
	var list []entry
	for p, err := range r.Scan(meta.Range{Start: record.MapKey(chunk, 0), End: record.MapKey(chunk, hi), Reverse: true}) {
		o, err := parseEntry(p, err)
		if err != nil {
			return nil, err
		}
		if n := len(list); n > 0 && o.end > list[n-1].start {
			return nil, errOverlap
		}
		if o.end > lo {
			list = append(list, o)
		}
		if o.start <= lo {
			break
		}
	}
	slices.Reverse(list)
	return list, nil
}

var errOverlap = fmt.Errorf("%w: map entries overlap", record.ErrCorrupt)

func parseEntry(p meta.Pair, err error) (entry, error) {
	if err != nil {
		return entry{}, err
	}
	off, err := record.ParseMapKey(p.Key)
	if err != nil {
		return entry{}, err
	}
	m, err := record.ParseMapEntry(p.Value)
	if err == nil && uint64(off)+uint64(m.Length) > record.MaxChunk {
		err = fmt.Errorf("%w: map entry leaves its chunk", record.ErrCorrupt)
	}
	return entry{off, off + m.Length, m}, err
}

// pieceExtent returns the extent record of a piece, making it with the chunk as
// its owner.
func (e *Edit) pieceExtent(p *Piece, chunk record.ChunkID, key *Keys) (*record.Extent, error) {
	if a := e.extents[p.id]; a != nil {
		if a.now == nil || a.now.Owner != chunk {
			return nil, errors.New("extent: a piece was mapped into two chunks")
		}
		return a.now, nil
	}
	if p.key.Two() != key.Two() {
		return nil, errLayers
	}
	x := &record.Extent{
		PlainLen: p.size, Suite: byte(p.key.suite()), Base: p.base, OuterBase: p.outerBase,
		Runs: []record.Run{p.run()}, Owner: chunk,
	}
	x.Sealed, x.Outer = sealExtent(chunk, key, p.id, x, p.key)
	e.extents[p.id] = &account{now: x, logged: p.stream != nil}
	if p.stream != nil {
		x.Runs, x.Logged = nil, true
		e.t.Set(record.StreamKey(p.id), p.stream)
	}
	return x, nil
}

// load returns the account of an extent that exists.
func (e *Edit) load(id record.ExtentID) (*account, error) {
	if a := e.extents[id]; a != nil {
		if a.now == nil {
			return nil, fmt.Errorf("%w: extent is referenced and gone", record.ErrCorrupt)
		}
		return a, nil
	}
	v, err := e.t.Get(record.ExtentKey(id))
	if err != nil {
		return nil, missing(err, "extent")
	}
	was, err := record.ParseExtent(v)
	if err != nil {
		return nil, err
	}
	now := *was
	a := &account{was: was, now: &now, logged: was.Logged}
	e.extents[id] = a
	return a, nil
}

// dead says that a chunk's map points to n bytes less of an extent.
func (e *Edit) dead(id record.ExtentID, chunk record.ChunkID, n uint32) error {
	if n == 0 {
		return nil
	}
	a, err := e.load(id)
	if err != nil {
		return err
	}
	x := a.now
	if x.Owner == chunk {
		if n > x.Live {
			return fmt.Errorf("%w: extent has %d live bytes, %d go", record.ErrCorrupt, x.Live, n)
		}
		if x.Live -= n; x.Live == 0 {
			x.Owner, x.Sealed, x.Outer = record.ChunkID{}, nil, nil
		}
	} else if err := e.deadRef(id, chunk, n); err != nil {
		return err
	}
	if x.Owner != (record.ChunkID{}) {
		return nil
	}
	if x.Shared {
		for _, err := range e.t.Scan(meta.Prefix(record.ExtentRefPrefix(id))) {
			return err // somebody else needs it
		}
	}
	a.now = nil
	e.s.keys.drop(id)
	return nil
}

func (e *Edit) deadRef(id record.ExtentID, chunk record.ChunkID, n uint32) error {
	key := record.ExtentRefKey(id, chunk)
	v, err := e.t.Get(key)
	if err != nil {
		return missing(err, "extent reference")
	}
	r, err := record.ParseExtentRef(v)
	if err != nil {
		return err
	}
	if n > r.Live {
		return fmt.Errorf("%w: reference has %d live bytes, %d go", record.ErrCorrupt, r.Live, n)
	}
	if r.Live -= n; r.Live == 0 {
		e.t.Delete(key)
		return nil
	}
	e.t.Set(key, r.Append(nil))
	return nil
}

// Finish writes the accounts.
func (e *Edit) Finish() error {
	for _, k := range e.keys {
		k.Wipe()
	}
	deltas := make(map[record.SegmentID]*record.Segment)
	count := func(x *record.Extent, sign int64) {
		if x == nil {
			return
		}
		for i, live := range contributions(x) {
			d := deltas[x.Runs[i].Segment]
			if d == nil {
				d = &record.Segment{}
				deltas[x.Runs[i].Segment] = d
			}
			d.Live += sign * live
			d.Refs += sign
		}
	}
	for id, a := range e.extents {
		count(a.was, -1)
		count(a.now, +1)
		if a.logged && (a.now == nil || !a.now.Logged) {
			e.t.Delete(record.StreamKey(id))
		}
		switch {
		case a.now == nil && a.was == nil: // made and overwritten at once
		case a.now == nil:
			e.t.Delete(record.ExtentKey(id))
		default:
			v := a.now.Append(nil)
			if a.was == nil || !bytes.Equal(v, a.was.Append(nil)) {
				if a.moved {
					// On a full disk the metadata take what deletes something.
					e.t.Delete(record.ExtentKey(id))
				}
				e.t.Set(record.ExtentKey(id), v)
			}
		}
	}
	return e.applySegments(deltas)
}

func (e *Edit) applySegments(deltas map[record.SegmentID]*record.Segment) error {
	for id, d := range deltas {
		if d.Live == 0 && d.Refs == 0 {
			continue
		}
		var s record.Segment
		v, err := e.t.Get(record.SegmentKey(id))
		switch {
		case err == nil:
			p, err := record.ParseSegment(v)
			if err != nil {
				return err
			}
			s = *p
		case !errors.Is(err, meta.ErrNotFound):
			return err
		}
		s.Live += d.Live
		s.Refs += d.Refs
		if s.Refs <= 0 {
			e.t.Delete(record.SegmentKey(id))
			continue
		}
		e.t.Set(record.SegmentKey(id), s.Append(nil))
	}
	return nil
}

// contributions is what an extent adds to the live bytes of the segments that
// its runs stand in. It is a function of the record alone, so that the sums
// stay exact.
func contributions(x *record.Extent) []int64 {
	live := int64(x.Live)
	if x.Shared {
		live = int64(x.PlainLen)
	}
	total := int64(0)
	for _, r := range x.Runs {
		total += int64(r.Packages)
	}
	list := make([]int64, len(x.Runs))
	for i, r := range x.Runs {
		list[i] = live * int64(r.Packages) / total
	}
	return list
}

// missing turns the absence of a record that must be there into corruption.
func missing(err error, what string) error {
	if errors.Is(err, meta.ErrNotFound) {
		return fmt.Errorf("%w: %s is missing", record.ErrCorrupt, what)
	}
	return err
}
