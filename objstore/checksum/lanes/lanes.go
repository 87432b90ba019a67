// Package lanes computes MD5. Each step of MD5 waits for the one before, so that one
// stream leaves most of a processor idle: here up to eight streams are computed at
// once, one in each lane of a vector register, in the time that one takes.
//
// Whoever waits for his sum computes those of the others with his own: no goroutine
// belongs to the package, and nothing is handed over but the state of a stream.
// Where the processor has no vectors that serve, everything is left to crypto/md5.
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
	h    hash.Hash // of all but what is in job
	odd  int       // bytes that h has of a block
	job  job
	open bool
}

// New returns a Digest of an empty stream.
func New() *Digest { return &Digest{h: md5.New()} }

// Write adds p. It never fails.
func (d *Digest) Write(p []byte) (int, error) {
	d.write(nil, p)
	return len(p), nil
}

// WriteBefore adds p and may wait for other streams, with which it costs less, until
// next is closed: when there is more of this stream to be written, or no more at all.
// Whoever has called it has to call Close.
func (d *Digest) WriteBefore(next <-chan struct{}, p []byte) {
	if !d.open {
		d.open = true
		all.enter()
	}
	d.write(next, p)
}

// Close says that other streams need not wait for this one any more.
func (d *Digest) Close() {
	if d.open {
		d.open = false
		all.leave()
	}
}

// Sum appends the sum of what was written to b.
func (d *Digest) Sum(b []byte) []byte { return d.h.Sum(b) }

// write adds p. With next it waits as WriteBefore does.
func (d *Digest) write(next <-chan struct{}, p []byte) {
	if blocks == nil || len(p) < minPiece {
		d.plain(p)
		return
	}
	if d.odd > 0 {
		n := md5.BlockSize - d.odd
		d.plain(p[:n])
		p = p[n:]
	}
	n := len(p) &^ (md5.BlockSize - 1)
	d.job.begin(d.h, p[:n])
	all.compute(&d.job, next)
	d.job.store()
	d.plain(p[n:])
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

// job is a number of whole blocks to be added to a state. While it is in a group,
// the fields from p on are guarded by that group's mu, or belong to who computes it.
type job struct {
	h     hash.Hash
	saved [savedSize]byte // room for h's state

	p       []byte // what is to be added, whole blocks
	state   [4]uint32
	added   uint64 // bytes that are in state and not in h
	running bool   // somebody computes it
	urgent  bool   // its stream waits for nothing else
	wake    chan struct{}
}

// begin takes the state of h, which has no block that is not full.
func (j *job) begin(h hash.Hash, p []byte) {
	j.h, j.p, j.urgent = h, p, false
	if j.wake == nil {
		j.wake = make(chan struct{}, 1)
	}
	j.load()
}

func (j *job) load() {
	saved, err := j.h.(encoding.BinaryAppender).AppendBinary(j.saved[:0])
	if err != nil || len(saved) != savedSize {
		panic("lanes: crypto/md5 has no state")
	}
	j.state = stateOf(saved)
}

// store is the other way round.
func (j *job) store() {
	for i, v := range j.state {
		binary.BigEndian.PutUint32(j.saved[len(magic)+4*i:], v)
	}
	size := j.saved[savedSize-8:]
	binary.BigEndian.PutUint64(size, binary.BigEndian.Uint64(size)+j.added)
	j.added = 0
	if err := j.h.(encoding.BinaryUnmarshaler).UnmarshalBinary(j.saved[:]); err != nil {
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
