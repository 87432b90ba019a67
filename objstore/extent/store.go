package extent

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/record"
)

// On disk.
const (
	frameSize  = 36
	frameMagic = 0x63665831 // "cfX1"

	packagePlain  = 64 << 10
	packageStored = packagePlain + 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Store writes and reads extents. All methods may be called concurrently.
type Store struct {
	data   data.Store
	blocks data.BlockReader // data, if it is one; nil otherwise
	filler data.Filler      // as blocks
	spare  data.Sparer      // as blocks
	keys   *keyCache

	mu        sync.Mutex // guards the fields below
	holds     map[record.SegmentID]int
	appending map[uint64]struct{} // appends under way: where they go is not known yet
	pins      map[uint64]struct{}
	reading   map[record.SegmentID]int // how many Reads there are of each
	lastNo    uint64                   // of pins, appends and marks, in their order

	moves atomic.Uint64
}

// Moves counts the transactions that moved extents to another segment. Spans
// that were looked up since it last changed can still be read by whoever holds a
// Pin that they took before they asked: what they point to is removed later than a
// pin that is older than the move is released.
func (s *Store) Moves() uint64 { return s.moves.Load() }

// Moved is called after each transaction that relocated an extent has committed,
// before the segment that it stood in becomes a candidate for removal.
func (s *Store) Moved() { s.moves.Add(1) }

// New returns a Store over the data store.
func New(d data.Store) *Store {
	blocks, _ := d.(data.BlockReader)
	filler, _ := d.(data.Filler)
	spare, _ := d.(data.Sparer)
	return &Store{data: d, blocks: blocks, filler: filler, spare: spare, keys: newKeyCache(),
		holds: make(map[record.SegmentID]int), appending: make(map[uint64]struct{}), pins: make(map[uint64]struct{}), reading: make(map[record.SegmentID]int)}
}

// ForgetKeys drops the extent keys that are kept unsealed: for when a key above
// them was locked or returned. Reads under way go on.
func (s *Store) ForgetKeys() { s.keys.forget() }

// Content names a content and lends the key that opens it.
type Content struct {
	// Refs is the id under which the content's chunk references are kept.
	Refs objstore.ContentID
	// Bound is the id that its keys are bound to. It differs from Refs for the
	// parts of an upload only, whose keys are those of the future content.
	Bound objstore.ContentID
	OEK   *Keys
}

// Of is the Content of a finished content.
func Of(id objstore.ContentID, oek *Keys) Content {
	return Content{Refs: id, Bound: id, OEK: oek}
}

// Piece is a run of plaintext that has been encrypted and appended, to be
// pointed to by Edit.Map. It may be mapped into one chunk only.
type Piece struct {
	id   record.ExtentID
	key  *Keys
	size uint32
	loc  data.Location
	// base is the base nonce of the only stream, or of the inner one.
	base, outerBase coffercrypto.Nonce
	// stream is set for a piece that goes into the metadata.
	stream []byte
}

// Batch holds what was encrypted for one transaction.
type Batch struct {
	s      *Store
	two    bool       // encrypts in two layers
	mu     sync.Mutex // guards the fields below
	pieces []*Piece
	moved  []record.SegmentID // segments that compaction appended to, one for each append
}

// NewBatch begins a batch for contents with one layer of encryption.
func (s *Store) NewBatch() *Batch { return &Batch{s: s} }

// NewBatchOf begins a batch for contents with one or two layers of encryption.
func (s *Store) NewBatchOf(two bool) *Batch { return &Batch{s: s, two: two} }

// MaxPlain is the largest plaintext that Encrypt takes, in bytes.
func (b *Batch) MaxPlain() int { return MaxPlain(b.two) }

// streams lends buffers for one encrypted extent with its frame, or with the
// blocks that it stands in.
var streams = sync.Pool{New: func() any {
	b := make([]byte, 0, 3*data.Block+int(coffercrypto.EncryptedSize(record.MaxExtent)))
	return &b
}}

// Encrypt encrypts plain (1 to MaxPlain bytes) under a fresh key and
// appends it to a segment. It is not durable before data.Sync. It may be called
// concurrently.
func (b *Batch) Encrypt(ctx context.Context, plain []byte) (*Piece, error) {
	p := &Piece{id: newID(), key: newKeys(b.two), size: uint32(len(plain))}
	loc, err := b.append(func() (data.Location, error) { return b.s.write(ctx, p, plain) })
	if err != nil {
		return nil, err
	}
	p.loc = loc
	b.mu.Lock()
	b.pieces = append(b.pieces, p)
	b.mu.Unlock()
	return p, nil
}

// write encrypts a piece and appends it with its frame: straight to where it is
// written from where the data store can, which saves a copy of large ones.
func (s *Store) write(ctx context.Context, p *Piece, plain []byte) (loc data.Location, err error) {
	if s.filler == nil || len(plain) < packagePlain {
		buf := streams.Get().(*[]byte)
		defer streams.Put(buf)
		out, err := p.encrypt((*buf)[:frameSize], plain)
		if err != nil {
			return loc, err
		}
		*buf = out[:0]
		putFrame(out, len(out)-frameSize, p.id, 0, p.packages())
		return s.data.Append(ctx, out)
	}
	n := frameSize + streamSize(p.key.suite(), p.size)
	return s.filler.AppendFrom(ctx, n, func(w io.Writer) error {
		var frame [frameSize]byte
		putFrame(frame[:], n-frameSize, p.id, 0, p.packages())
		if _, err := w.Write(frame[:]); err != nil {
			return err
		}
		return p.encryptTo(w, plain)
	})
}

// Log encrypts plain (1 to MaxLogged bytes) as Encrypt does, but leaves its stream
// to the transaction that maps it: what is few bytes and must be durable at once
// costs one barrier then, that of the metadata. Settle moves it to a segment later.
func (b *Batch) Log(plain []byte) (*Piece, error) {
	p := &Piece{id: newID(), key: newKeys(b.two), size: uint32(len(plain))}
	out, err := p.encrypt(make([]byte, 0, streamSize(p.key.suite(), p.size)), plain)
	if err != nil {
		return nil, err
	}
	p.stream = out
	b.mu.Lock()
	b.pieces = append(b.pieces, p)
	b.mu.Unlock()
	return p, nil
}

// append calls write, which appends a frame, and holds its segment. There is no
// gap: until the segment is known it may be any that is not sealed yet (see Held).
func (b *Batch) append(write func() (data.Location, error)) (data.Location, error) {
	b.s.mu.Lock()
	no := b.s.number()
	b.s.appending[no] = struct{}{}
	b.s.mu.Unlock()
	loc, err := write()
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	delete(b.s.appending, no)
	if err != nil {
		return loc, err
	}
	b.s.holds[record.SegmentID(loc.Segment)]++
	return loc, nil
}

// Release ends the batch: its pieces are committed, or given up.
func (b *Batch) Release() {
	b.mu.Lock()
	pieces, moved := b.pieces, b.moved
	b.pieces, b.moved = nil, nil
	b.mu.Unlock()
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	for _, p := range pieces {
		if p.stream == nil {
			b.s.unhold(record.SegmentID(p.loc.Segment))
		}
		p.key.Wipe()
	}
	for _, id := range moved {
		b.s.unhold(id)
	}
}

func (s *Store) unhold(id record.SegmentID) {
	if s.holds[id]--; s.holds[id] <= 0 {
		delete(s.holds, id)
	}
}

// number counts; mu is held.
func (s *Store) number() uint64 {
	s.lastNo++
	return s.lastNo
}

// Pin keeps every segment that the maps of a later snapshot point to from being
// removed, until it is released.
type Pin struct {
	s  *Store
	no uint64
}

// Pin takes a pin. It must be taken before the snapshot.
func (s *Store) Pin() Pin {
	s.mu.Lock()
	defer s.mu.Unlock()
	no := s.number()
	s.pins[no] = struct{}{}
	return Pin{s, no}
}

// Release gives the pin up.
func (p Pin) Release() {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	delete(p.s.pins, p.no)
}

// Read keeps the segments of some spans from being removed.
type Read struct {
	s        *Store
	segments []record.SegmentID
}

// Narrow gives the pin up and keeps what the spans are read from instead, which
// were looked up in a snapshot that is younger than the pin. They are valid until
// the Read is released.
func (p Pin) Narrow(spans []Span) Read {
	r := Read{s: p.s}
	for i := range spans {
		if spans[i].x == nil || spans[i].Logged() {
			continue
		}
		for _, run := range spans[i].x.Runs {
			r.segments = append(r.segments, run.Segment)
		}
	}
	slices.SortFunc(r.segments, func(a, b record.SegmentID) int { return bytes.Compare(a[:], b[:]) })
	r.segments = slices.Compact(r.segments)
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	for _, id := range r.segments {
		p.s.reading[id]++
	}
	delete(p.s.pins, p.no)
	return r
}

// Release gives the segments up.
func (r Read) Release() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for _, id := range r.segments {
		if r.s.reading[id]--; r.s.reading[id] == 0 {
			delete(r.s.reading, id)
		}
	}
}

// Mark returns a mark, which is not 0: pins taken and appends begun before it are
// those that InUse and Held ask about.
func (s *Store) Mark() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.number()
}

// InUse reports whether a segment to which nothing has pointed since the mark was
// taken may still be read from: by whoever holds a pin that is older, or a Read of it.
func (s *Store) InUse(id record.SegmentID, mark uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reading[id] > 0 || before(s.pins, mark)
}

// Held reports whether a segment that was sealed when the mark was taken holds, or
// may hold, appends that are not committed yet. Those that begin later go
// elsewhere, so that a store that is never idle has segments to remove too.
func (s *Store) Held(id record.SegmentID, mark uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holds[id] > 0 || before(s.appending, mark)
}

// before reports whether any of the numbers is older than the mark.
func before(nos map[uint64]struct{}, mark uint64) bool {
	for no := range nos {
		if no < mark {
			return true
		}
	}
	return false
}

// packages is the number of DARE packages of size bytes of plaintext.
func packages(size uint32) uint32 { return (size + packagePlain - 1) / packagePlain }

// appendSpare appends what is moved from another segment.
func (s *Store) appendSpare(ctx context.Context, p []byte) (data.Location, error) {
	if s.spare == nil {
		return s.data.Append(ctx, p)
	}
	return s.spare.AppendSpare(ctx, p)
}

// putFrame fills the header of a frame whose packages stand behind it.
func putFrame(frame []byte, n int, id record.ExtentID, first, count uint32) {
	binary.BigEndian.PutUint32(frame, frameMagic)
	binary.BigEndian.PutUint32(frame[4:], uint32(n))
	binary.BigEndian.PutUint32(frame[8:], first)
	binary.BigEndian.PutUint32(frame[12:], count)
	copy(frame[16:], id[:])
	binary.BigEndian.PutUint32(frame[32:], crc32.Checksum(frame[:32], castagnoli))
}

// run is where a piece's packages stand.
func (p *Piece) run() record.Run {
	return record.Run{
		Segment:  record.SegmentID(p.loc.Segment),
		Offset:   p.loc.Offset + frameSize,
		Packages: p.packages(),
	}
}

// packages is the number of DARE packages of the piece's stream.
func (p *Piece) packages() uint32 { return packages(storedPlain(p.key.suite(), p.size)) }
