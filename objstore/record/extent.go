package record

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// ChunkRef is a content's use of a chunk: Span bytes of the content, from the
// offset in the key on, are those of the chunk from Off on. References of one
// content do not overlap; what none covers is a hole.
type ChunkRef struct {
	Chunk  ChunkID
	Off    uint32 // bytes into the chunk
	Span   uint32 // bytes, 1 to MaxChunk
	Sealed []byte // chunk key under the content's object key
	Outer  []byte // that of the second layer, if there is one (DSSE-KMS)
	// Borrowed: the content does not own the chunk, there is a K record.
	Borrowed bool
}

// MaxChunk is the largest span of a chunk, in bytes. It is on disk.
const MaxChunk = 64 << 20

// Append encodes r behind dst.
func (r *ChunkRef) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.bytes(1, r.Chunk[:])
	e.uint(2, uint64(r.Span))
	e.bytes(3, r.Sealed)
	e.uint(4, uint64(r.Off))
	e.bool(5, r.Borrowed)
	e.bytes(6, r.Outer)
	return e.b
}

// ParseChunkRef parses a chunk reference.
func ParseChunkRef(b []byte) (*ChunkRef, error) {
	r := &ChunkRef{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			r.Chunk = d.id()
		case 2:
			r.Span = d.uint32()
		case 3:
			r.Sealed = d.copy()
		case 4:
			r.Off = d.uint32()
		case 5:
			r.Borrowed = d.bool()
		case 6:
			r.Outer = d.copy()
		default:
			d.unknown()
		}
	}
	if d.err == nil && (r.Span == 0 || uint64(r.Off)+uint64(r.Span) > MaxChunk || len(r.Sealed) == 0) {
		d.fail("chunk span")
	}
	if d.err != nil {
		return nil, fmt.Errorf("chunk reference: %w", d.err)
	}
	return r, nil
}

// Chunk is the account of a chunk. Shared says that there are, or were, other
// contents that use it, in K records: its map must not change any more.
type Chunk struct {
	Owned  bool // the content that made it still uses it
	Shared bool
}

// Append encodes c behind dst.
func (c *Chunk) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.bool(1, c.Owned)
	e.bool(2, c.Shared)
	return e.b
}

// ParseChunk parses a chunk.
func ParseChunk(b []byte) (*Chunk, error) {
	c := &Chunk{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			c.Owned = d.bool()
		case 2:
			c.Shared = d.bool()
		default:
			d.unknown()
		}
	}
	if d.err != nil {
		return nil, fmt.Errorf("chunk: %w", d.err)
	}
	return c, nil
}

// MapEntry says that Length bytes of a chunk stand Off bytes into an extent's
// plaintext:
//
//	0   1  version (1)
//	1   4  length, big endian
//	5   4  offset in the extent, big endian
//	9  16  extent
type MapEntry struct {
	Length uint32
	Off    uint32
	Extent ExtentID
}

const mapEntrySize = 25

// Append encodes m behind dst.
func (m MapEntry) Append(dst []byte) []byte {
	dst = append(dst, version1)
	dst = binary.BigEndian.AppendUint32(dst, m.Length)
	dst = binary.BigEndian.AppendUint32(dst, m.Off)
	return append(dst, m.Extent[:]...)
}

// ParseMapEntry parses a map entry.
func ParseMapEntry(b []byte) (m MapEntry, err error) {
	switch {
	case len(b) == 0:
		return m, fmt.Errorf("%w: empty map entry", ErrCorrupt)
	case b[0] != version1:
		return m, fmt.Errorf("%w: map entry version %d", ErrVersion, b[0])
	case len(b) != mapEntrySize:
		return m, fmt.Errorf("%w: map entry of %d bytes", ErrCorrupt, len(b))
	}
	m.Length = binary.BigEndian.Uint32(b[1:])
	m.Off = binary.BigEndian.Uint32(b[5:])
	copy(m.Extent[:], b[9:])
	if m.Length == 0 || m.Length > MaxChunk || uint64(m.Off)+uint64(m.Length) > MaxExtent {
		return m, fmt.Errorf("%w: map entry", ErrCorrupt)
	}
	return m, nil
}

// MaxExtent is the largest plaintext of an extent, in bytes. It is on disk.
const MaxExtent = 4 << 20

// maxPackages is the number of DARE packages, of 64 KiB plaintext each, in the
// largest extent.
const maxPackages = MaxExtent >> 16

// Run is a piece of an extent's DARE stream: Packages packages from number
// First stand at Offset of a segment.
type Run struct {
	Segment  SegmentID
	Offset   uint64 // bytes
	First    uint32
	Packages uint32
}

// Extent is the record of one encrypted run of plaintext.
type Extent struct {
	PlainLen uint32
	Suite    byte
	Base     [12]byte // base nonce of the stream
	Runs     []Run    // ascending by First; what was dead when the extent was compacted is missing
	Owner    ChunkID  // zero: the first owner let go
	Sealed   []byte   // extent key under the owner's chunk key
	Live     uint32   // bytes of plaintext that the owner's map points to
	Shared   bool     // there are, or were, E records
	Logged   bool     // the stream is in a J record, and there are no runs yet
	// Outer and OuterBase are Sealed and Base of the second layer: its stream is
	// what is stored, and holds that of the first.
	Outer     []byte
	OuterBase [12]byte
}

// Append encodes x behind dst.
func (x *Extent) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.uint(1, uint64(x.PlainLen))
	e.uint(2, uint64(x.Suite))
	e.bytes(3, x.Base[:])
	runs := make([]byte, 0, len(x.Runs)*32)
	for _, r := range x.Runs {
		runs = append(runs, r.Segment[:]...)
		runs = binary.BigEndian.AppendUint64(runs, r.Offset)
		runs = binary.BigEndian.AppendUint32(runs, r.First)
		runs = binary.BigEndian.AppendUint32(runs, r.Packages)
	}
	e.bytes(4, runs)
	if x.Owner != (ChunkID{}) {
		e.bytes(5, x.Owner[:])
	}
	e.bytes(6, x.Sealed)
	e.uint(7, uint64(x.Live))
	e.bool(8, x.Shared)
	e.bool(9, x.Logged)
	e.bytes(10, x.Outer)
	if x.OuterBase != ([12]byte{}) {
		e.bytes(11, x.OuterBase[:])
	}
	return e.b
}

// ParseExtent parses an extent.
func ParseExtent(b []byte) (*Extent, error) {
	x := &Extent{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			x.PlainLen = d.uint32()
		case 2:
			x.Suite = d.uint8()
		case 3:
			d.base(&x.Base)
		case 4:
			x.Runs = parseRuns(&d)
		case 5:
			x.Owner = d.id()
		case 6:
			x.Sealed = d.copy()
		case 7:
			x.Live = d.uint32()
		case 8:
			x.Shared = d.bool()
		case 9:
			x.Logged = d.bool()
		case 10:
			x.Outer = d.copy()
		case 11:
			d.base(&x.OuterBase)
		default:
			d.unknown()
		}
	}
	if d.err == nil && x.Logged == (len(x.Runs) > 0) {
		d.fail("extent is neither in a segment nor logged, or both")
	}
	if d.err == nil && (x.PlainLen == 0 || x.PlainLen > MaxExtent) {
		d.fail("extent length")
	}
	if d.err != nil {
		return nil, fmt.Errorf("extent: %w", d.err)
	}
	return x, nil
}

// base reads a base nonce.
func (d *decoder) base(nonce *[12]byte) {
	if len(d.val) != len(nonce) {
		d.fail("base nonce")
		return
	}
	copy(nonce[:], d.val)
}

func parseRuns(d *decoder) []Run {
	if len(d.val) == 0 || len(d.val)%32 != 0 || len(d.val) > 32*maxPackages {
		d.fail("runs")
		return nil
	}
	runs := make([]Run, len(d.val)/32)
	next := uint32(0)
	for i := range runs {
		b := d.val[i*32:]
		r := &runs[i]
		copy(r.Segment[:], b)
		r.Offset = binary.BigEndian.Uint64(b[16:])
		r.First = binary.BigEndian.Uint32(b[24:])
		r.Packages = binary.BigEndian.Uint32(b[28:])
		if r.First < next || r.Packages == 0 || uint64(r.First)+uint64(r.Packages) > maxPackages {
			d.fail("run")
			return nil
		}
		next = r.First + r.Packages
	}
	return runs
}

// ExtentRef is a further chunk's reference to a shared extent.
type ExtentRef struct {
	Sealed []byte // extent key under that chunk's key
	Outer  []byte // that of the second layer, if there is one
	Live   uint32 // bytes of plaintext that its map points to
}

// Append encodes r behind dst.
func (r *ExtentRef) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.bytes(1, r.Sealed)
	e.uint(2, uint64(r.Live))
	e.bytes(3, r.Outer)
	return e.b
}

// ParseExtentRef parses an extent reference.
func ParseExtentRef(b []byte) (*ExtentRef, error) {
	r := &ExtentRef{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			r.Sealed = d.copy()
		case 2:
			r.Live = d.uint32()
		case 3:
			r.Outer = d.copy()
		default:
			d.unknown()
		}
	}
	if d.err != nil {
		return nil, fmt.Errorf("extent reference: %w", d.err)
	}
	return r, nil
}

// Inline is the sealed data of a small content: one DARE stream under a key of
// its own, which is sealed under the object key.
type Inline struct {
	PlainLen uint32
	Suite    byte
	Base     [12]byte
	Extent   ExtentID // new for each change: the key is bound to it
	Sealed   []byte
	Stream   []byte // shares memory with what was parsed
	// Outer and OuterBase are those of the second layer (see Extent).
	Outer     []byte
	OuterBase [12]byte
}

// Append encodes n behind dst.
func (n *Inline) Append(dst []byte) []byte {
	const head = 96 // more than the other fields and all lengths take
	e := newEncoder(slices.Grow(dst, head+len(n.Sealed)+len(n.Outer)+len(n.Stream)))
	e.uint(1, uint64(n.PlainLen))
	e.uint(2, uint64(n.Suite))
	e.bytes(3, n.Base[:])
	e.bytes(4, n.Extent[:])
	e.bytes(5, n.Sealed)
	e.bytes(6, n.Stream)
	e.bytes(7, n.Outer)
	if n.OuterBase != ([12]byte{}) {
		e.bytes(8, n.OuterBase[:])
	}
	return e.b
}

// ParseInline parses the data of a small content. Stream is a part of b.
func ParseInline(b []byte) (*Inline, error) {
	n := &Inline{}
	d := newDecoder(b)
	for d.next() {
		n.field(&d)
	}
	if err := n.check(&d); err != nil {
		return nil, fmt.Errorf("inline data: %w", err)
	}
	return n, nil
}

// field takes one field of an encoded Inline.
func (n *Inline) field(d *decoder) {
	switch d.num {
	case 1:
		n.PlainLen = d.uint32()
	case 2:
		n.Suite = d.uint8()
	case 3:
		d.base(&n.Base)
	case 4:
		n.Extent = d.id()
	case 5:
		n.Sealed = d.copy()
	case 6:
		n.Stream = d.val
	case 7:
		n.Outer = d.copy()
	case 8:
		d.base(&n.OuterBase)
	default:
		d.unknown()
	}
}

// check returns what is wrong with an Inline whose fields were taken.
func (n *Inline) check(d *decoder) error {
	if d.err == nil && (n.PlainLen == 0 || n.PlainLen > MaxExtent || len(n.Sealed) == 0 || len(n.Stream) == 0) {
		d.fail("inline data")
	}
	return d.err
}

// Segment is the account of a data segment.
type Segment struct {
	Live int64 // bytes of plaintext that maps point to; compaction goes by it
	Refs int64 // runs that extents hold in it; at 0 it can be removed
}

// Append encodes s behind dst.
func (s *Segment) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.uint(1, uint64(max(s.Live, 0)))
	e.uint(2, uint64(max(s.Refs, 0)))
	return e.b
}

// ParseSegment parses a segment's account.
func ParseSegment(b []byte) (*Segment, error) {
	s := &Segment{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			s.Live = d.size()
		case 2:
			s.Refs = d.size()
		default:
			d.unknown()
		}
	}
	if d.err != nil {
		return nil, fmt.Errorf("segment: %w", d.err)
	}
	return s, nil
}
