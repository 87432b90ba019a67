package engine

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/cofferfs/coffer/objstore/record"
)

// Bounds of one buffer.
const (
	smallArena  = 64 << 10         // bytes, what a buffer begins with
	bigArena    = record.MaxExtent // bytes, what it grows to: one extent
	maxBufferEx = 4096             // ranges
)

// buffer gathers writes to one file until they become extents: the bytes in the
// order in which they came, and an index of which are current. It is guarded by
// its node's mu until it is sealed, and does not change after that.
type buffer struct {
	arena []byte
	ents  []dirty // ascending by off, not overlapping
	// fresh are the ranges that were put and not yet logged, in the order in which
	// they came: the end of the arena. untracked: it is not known which those are.
	fresh     []dirty
	untracked bool
	logged    bool // it has bytes of logged writes
}

// dirty is a range of the file that the arena holds.
type dirty struct {
	off int64
	len int32
	pos int32 // in the arena
}

func (d dirty) end() int64 { return d.off + int64(d.len) }

var (
	smallArenas = sync.Pool{New: func() any { b := make([]byte, 0, smallArena); return &b }}
	bigArenas   = sync.Pool{New: func() any { b := make([]byte, 0, bigArena); return &b }}

	// loggedArenas is how many bytes the arenas of logged buffers have, used or not.
	loggedArenas atomic.Int64
)

func newBuffer() *buffer {
	return &buffer{arena: *smallArenas.Get().(*[]byte)}
}

// free gives the arena back. The buffer must not be used after it.
func (b *buffer) free() {
	a := b.arena[:0]
	if b.logged {
		loggedArenas.Add(-int64(cap(a)))
	}
	b.arena, b.ents, b.fresh, b.logged = nil, nil, nil, false
	switch cap(a) {
	case smallArena:
		smallArenas.Put(&a)
	case bigArena:
		bigArenas.Put(&a)
	}
}

// setLogged notes that the buffer has bytes of a logged write.
func (b *buffer) setLogged() {
	if !b.logged {
		b.logged = true
		loggedArenas.Add(int64(cap(b.arena)))
	}
}

// room is how many bytes fit in at once.
func (b *buffer) room() int {
	if len(b.ents) >= maxBufferEx {
		return 0
	}
	return bigArena - len(b.arena)
}

// live is how many bytes of the arena are current.
func (b *buffer) live() int64 {
	n := int64(0)
	for _, d := range b.ents {
		n += int64(d.len)
	}
	return n
}

// put stores p, which fits in room, as the newest content of the file at off.
func (b *buffer) put(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	if len(b.arena)+len(p) > cap(b.arena) {
		big := append(*bigArenas.Get().(*[]byte), b.arena...)
		old := b.arena[:0]
		if b.logged {
			loggedArenas.Add(int64(cap(big) - cap(old)))
		}
		if cap(old) == smallArena {
			smallArenas.Put(&old)
		}
		b.arena = big
	}
	pos := int32(len(b.arena))
	b.arena = append(b.arena, p...)
	d := dirty{off, int32(len(p)), pos}
	b.track(d)
	if n := len(b.ents); n > 0 {
		last := &b.ents[n-1]
		if last.end() == off && last.pos+last.len == pos {
			last.len += d.len
			return
		}
		if last.end() > off {
			b.insert(d)
			return
		}
	}
	b.ents = append(b.ents, d)
}

// track notes a range that was put.
func (b *buffer) track(d dirty) {
	if n := len(b.fresh); n > 0 {
		if last := &b.fresh[n-1]; last.end() == d.off {
			last.len += d.len
			return
		}
	}
	if len(b.fresh) == maxLogRanges {
		b.untracked = true
		return
	}
	b.fresh = append(b.fresh, d)
}

// insert puts d among the ranges and cuts what it covers.
func (b *buffer) insert(d dirty) {
	lo := sort.Search(len(b.ents), func(i int) bool { return b.ents[i].end() > d.off })
	hi := lo
	keep := make([]dirty, 0, 3)
	for hi < len(b.ents) && b.ents[hi].off < d.end() {
		o := b.ents[hi]
		if o.off < d.off {
			keep = append(keep, dirty{o.off, int32(d.off - o.off), o.pos})
		}
		hi++
	}
	keep = append(keep, d)
	if hi > lo {
		if o := b.ents[hi-1]; o.end() > d.end() {
			cut := int32(d.end() - o.off)
			keep = append(keep, dirty{d.end(), o.len - cut, o.pos + cut})
		}
	}
	b.ents = slices.Replace(b.ents, lo, hi, keep...)
}

// putUnder stores p at off where the buffer holds nothing newer.
func (b *buffer) putUnder(p []byte, off int64) {
	end := off + int64(len(p))
	pos := off
	var gaps [][2]int64
	for _, d := range b.ents {
		if d.end() <= pos {
			continue
		}
		if d.off >= end {
			break
		}
		if d.off > pos {
			gaps = append(gaps, [2]int64{pos, d.off})
		}
		pos = d.end()
	}
	if pos < end {
		gaps = append(gaps, [2]int64{pos, end})
	}
	for _, g := range gaps {
		b.put(p[g[0]-off:g[1]-off], g[0])
	}
}

// overlaps reports whether the buffer holds any of n bytes at off.
func (b *buffer) overlaps(off, n int64) bool {
	i := sort.Search(len(b.ents), func(i int) bool { return b.ents[i].end() > off })
	return i < len(b.ents) && b.ents[i].off < off+n
}

// overlay copies what the buffer holds of p's range at off over p.
func (b *buffer) overlay(p []byte, off int64) {
	end := off + int64(len(p))
	for _, d := range b.ents {
		if d.end() <= off {
			continue
		}
		if d.off >= end {
			return
		}
		lo, hi := max(off, d.off), min(end, d.end())
		copy(p[lo-off:hi-off], b.arena[int64(d.pos)+lo-d.off:])
	}
}

// compact drops the bytes that are not current.
func (b *buffer) compact() {
	fresh := newBuffer()
	for _, d := range b.ents {
		fresh.put(b.bytes(d), d.off)
	}
	fresh.untracked = true // what was logged, and what was not, are one
	old := *b
	*b = *fresh
	old.free()
}

func (b *buffer) bytes(d dirty) []byte { return b.arena[d.pos : d.pos+d.len] }
