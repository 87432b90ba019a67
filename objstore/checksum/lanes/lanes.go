// Package lanes computes MD5. Each step of MD5 waits for the one before, so that one
// stream leaves most of a processor idle: here up to eight streams are computed at
// once, one in each lane of a vector register, in the time that one takes.
//
// Streams leave a little of their bytes to be computed later (see Digest.Lend), and
// whoever has to wait for their own computes those of the others with them: no goroutine
// belongs to the package. Where the processor has no vectors that serve, everything is
// left to crypto/md5.
package lanes

import (
	"bytes"
	"crypto/md5"
	"encoding"
	"encoding/binary"
	"hash"
)

const (
	// width is the number of lanes.
	width = 8
	// minPiece is the least for which a stream takes a lane, in bytes.
	minPiece = 16 << 10
	// step is how much of each lane is computed, in bytes, before the lanes are
	// given out anew.
	step = 32 << 10
)

// states are A, B, C and D of RFC 1321 of each lane.
type states [4][width]uint32

// Digest is the MD5 of one stream. It is used by one goroutine at a time.
type Digest struct {
	stream
	odd  int // bytes that h has of a block
	open bool
}

// New returns a Digest of an empty stream.
func New() *Digest { return &Digest{stream: stream{h: md5.New()}} }

// Write adds p. It never fails.
func (d *Digest) Write(p []byte) (int, error) {
	total := len(p)
	d.Flush()
	if blocks != nil && len(p) >= minPiece {
		if d.odd > 0 {
			n := md5.BlockSize - d.odd
			d.plain(p[:n])
			p = p[n:]
		}
		n := len(p) &^ (md5.BlockSize - 1)
		d.add(piece{p: p[:n]})
		d.Flush()
		p = p[n:]
	}
	d.plain(p)
	return total, nil
}

// Lend adds p, of which nothing may be changed before done is called, by whichever
// goroutine: of streams side by side each keeps up to two pieces back until it costs
// less to compute them with others. Close must follow.
func (d *Digest) Lend(p []byte, done func()) {
	if !d.open {
		d.open = true
		all.enter()
	}
	if blocks == nil || len(p) < minPiece || d.odd > 0 || len(p)%md5.BlockSize > 0 {
		d.Write(p)
		done()
		return
	}
	d.add(piece{p, done})
	all.compute(&d.stream, all.lag())
}

// Flush returns when all that was lent has been given back.
func (d *Digest) Flush() {
	if d.loaded {
		all.compute(&d.stream, 0)
		d.put()
		d.loaded = false
	}
}

func (d *Digest) add(p piece) {
	if !d.loaded {
		d.get()
		d.loaded = true
	}
	all.add(&d.stream, p)
}

// Close is Flush, and says that nothing more comes.
func (d *Digest) Close() {
	d.Flush()
	if d.open {
		d.open = false
		all.leave()
	}
}

// Sum appends the sum of what was written to b.
func (d *Digest) Sum(b []byte) []byte {
	d.Flush()
	return d.h.Sum(b)
}

func (d *Digest) plain(p []byte) {
	d.h.Write(p) // never fails
	d.odd = (d.odd + len(p)) % md5.BlockSize
}

// The form in which crypto/md5 gives out its state: magic, A to D, the block that
// is not full, the number of bytes.
const (
	magic     = "md5\x01"
	savedSize = len(magic) + md5.Size + md5.BlockSize + 8
)

// stream is what is left to be computed of a Digest.
type stream struct {
	loaded bool // h is the group's, and behind

	// Guarded by the group's mu.
	queue   []piece
	running bool // somebody computes the first of queue
	waits   bool // its goroutine waits until queue has no more than
	limit   int  // pieces
	wake    chan struct{}

	// Owned by whoever computes.
	first piece
	state [4]uint32
	added uint64 // bytes that are in state and not in h
	h     hash.Hash
	saved [savedSize]byte // room for h's state
}

// piece is a number of whole blocks.
type piece struct {
	p    []byte
	done func() // nil: nobody wants to know
}

// get takes the state of h, which has no block that is not full.
func (s *stream) get() {
	saved, err := s.h.(encoding.BinaryAppender).AppendBinary(s.saved[:0])
	if err != nil || len(saved) != savedSize {
		panic("lanes: crypto/md5 has no state")
	}
	s.state = stateOf(saved)
}

// put is the other way round.
func (s *stream) put() {
	for i, v := range s.state {
		binary.BigEndian.PutUint32(s.saved[len(magic)+4*i:], v)
	}
	size := s.saved[savedSize-8:]
	binary.BigEndian.PutUint64(size, binary.BigEndian.Uint64(size)+s.added)
	s.added = 0
	if err := s.h.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.saved[:]); err != nil {
		panic("lanes: crypto/md5 refuses its own state: " + err.Error())
	}
}

func stateOf(saved []byte) (s [4]uint32) {
	for i := range s {
		s[i] = binary.BigEndian.Uint32(saved[len(magic)+4*i:])
	}
	return s
}

// initial is the state of RFC 1321 section 3.3.
var initial = [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}

func init() {
	// The form is crypto/md5's own affair.
	a, ok := md5.New().(encoding.BinaryAppender)
	if !ok {
		blocks = nil
		return
	}
	saved, err := a.AppendBinary(nil)
	if err != nil || len(saved) != savedSize || !bytes.HasPrefix(saved, []byte(magic)) || stateOf(saved) != initial {
		blocks = nil
	}
}
