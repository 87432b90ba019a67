package extent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// blockSize is what segments are padded to: a frame stands right behind its
// predecessor or at the next multiple of it.
const blockSize = 4096

// Frame is a header that was found in a segment. What it says is not authentic.
type Frame struct {
	segment record.SegmentID
	offset  uint64 // of the first package
	id      record.ExtentID
	first   uint32
	count   uint32
}

// Walk calls fn for each frame of a sealed segment, in order. Bytes that are no
// frame are skipped: padding, and what a crash left.
func (s *Store) Walk(ctx context.Context, info data.SegmentInfo, fn func(Frame) error) error {
	head := make([]byte, frameSize)
	for pos := info.Start; pos+frameSize <= info.Size; {
		loc := data.Location{Segment: info.ID, Offset: pos, Length: frameSize}
		if err := s.data.ReadAt(ctx, loc, head, 0); err != nil {
			return fmt.Errorf("walk segment: %w", err)
		}
		f, size, ok := parseFrame(head)
		if !ok || pos+frameSize+uint64(size) > info.Size {
			pos = (pos/blockSize + 1) * blockSize
			continue
		}
		f.segment = record.SegmentID(info.ID)
		f.offset = pos + frameSize
		if err := fn(f); err != nil {
			return err
		}
		pos += frameSize + uint64(size)
	}
	return nil
}

// parseFrame parses a frame's header; size is that of what follows.
func parseFrame(b []byte) (f Frame, size uint32, ok bool) {
	if binary.BigEndian.Uint32(b) != frameMagic || binary.BigEndian.Uint32(b[32:]) != crc32.Checksum(b[:32], castagnoli) {
		return f, 0, false
	}
	size = binary.BigEndian.Uint32(b[4:])
	f.first = binary.BigEndian.Uint32(b[8:])
	f.count = binary.BigEndian.Uint32(b[12:])
	copy(f.id[:], b[16:])
	const most = record.MaxExtent / packagePlain
	ok = f.count > 0 && f.first < most && f.count <= most && size <= most*packageStored
	return f, size, ok
}

// Live returns how many bytes of a frame a move would copy.
func (s *Store) Live(r meta.Reader, f Frame) (int64, error) {
	x, at, live, err := f.look(r)
	if err != nil || x == nil {
		return 0, err
	}
	run, total := x.Runs[at], int64(0)
	for p := run.First; p < run.First+run.Packages; p++ {
		if live&(1<<p) != 0 {
			total += int64(runBytes(x, record.Run{First: p, Packages: 1}))
		}
	}
	return total, nil
}

// look finds a frame's extent, which of its runs the frame holds, and which of
// its packages are live. x is nil when nothing points to the frame.
func (f Frame) look(r meta.Reader) (x *record.Extent, at int, live uint64, err error) {
	v, err := r.Get(record.ExtentKey(f.id))
	if errors.Is(err, meta.ErrNotFound) {
		return nil, 0, 0, nil
	}
	if err != nil {
		return nil, 0, 0, err
	}
	if x, err = record.ParseExtent(v); err != nil {
		return nil, 0, 0, err
	}
	for i, run := range x.Runs {
		if run.Segment == f.segment && run.Offset == f.offset && run.First == f.first {
			live, err = livePackages(r, f.id, x)
			return x, i, live, err
		}
	}
	return nil, 0, 0, nil // moved before, or not from here
}

// Moved is an extent's run that was copied elsewhere.
type Moved struct {
	id   record.ExtentID
	from record.Run
	to   []record.Run // what of it is live
}

// Move copies the packages of a frame that maps still point to, verbatim, to
// the active segment. It returns nil when nothing points to the frame.
func (b *Batch) Move(ctx context.Context, r meta.Reader, f Frame) (*Moved, error) {
	x, at, live, err := f.look(r)
	if err != nil || x == nil {
		return nil, err
	}
	m := &Moved{id: f.id, from: x.Runs[at]}
	end := m.from.First + m.from.Packages
	for first := m.from.First; first < end; first++ {
		count := uint32(0)
		for first+count < end && live&(1<<(first+count)) != 0 {
			count++
		}
		if count == 0 {
			continue
		}
		run, err := b.copyRun(ctx, f.id, x, first, count)
		if err != nil {
			return nil, err
		}
		m.to = append(m.to, run)
		first += count
	}
	return m, nil
}

// copyRun appends count packages of an extent, from number first on, behind a
// header of their own.
func (b *Batch) copyRun(ctx context.Context, id record.ExtentID, x *record.Extent, first, count uint32) (record.Run, error) {
	run := record.Run{First: first, Packages: count}
	frame := make([]byte, frameSize+runBytes(x, run))
	if err := b.s.readPackages(ctx, x, first, frame[frameSize:]); err != nil {
		return run, err
	}
	putFrame(frame, len(frame)-frameSize, id, first, count)
	loc, err := b.append(func() (data.Location, error) { return b.s.appendSpare(ctx, frame) })
	if err != nil {
		return run, err
	}
	b.mu.Lock()
	b.moved = append(b.moved, record.SegmentID(loc.Segment))
	b.mu.Unlock()
	run.Segment, run.Offset = record.SegmentID(loc.Segment), loc.Offset+frameSize
	return run, nil
}

// livePackages returns a bit for each package of an extent that a map points to.
// An extent has at most 64.
func livePackages(r meta.Reader, id record.ExtentID, x *record.Extent) (uint64, error) {
	if n := packages(stored(x)); n == 1 || x.Live == x.PlainLen {
		return 1<<n - 1, nil // without a look at the maps, which can be long
	}
	var live uint64
	mark := func(chunk record.ChunkID) error {
		list, err := scanEntries(r, chunk, 0, record.MaxChunk, 0)
		if err != nil {
			return err
		}
		for _, o := range list {
			if o.m.Extent != id {
				continue
			}
			first, last, err := packagesOf(x, o.m.Off, o.m.Length)
			if err != nil {
				return err
			}
			for p := first; p <= last; p++ {
				live |= 1 << p
			}
		}
		return nil
	}
	if x.Owner != (record.ChunkID{}) {
		if err := mark(x.Owner); err != nil {
			return 0, err
		}
	}
	if !x.Shared {
		return live, nil
	}
	for p, err := range r.Scan(meta.Prefix(record.ExtentRefPrefix(id))) {
		if err != nil {
			return 0, err
		}
		chunk, err := record.ParseExtentRefKey(p.Key)
		if err != nil {
			return 0, err
		}
		if err := mark(chunk); err != nil {
			return 0, err
		}
	}
	return live, nil
}

// Relocate points an extent at where its packages were copied to. Packages that
// were dead then are dead now: extents never change and no map comes to point
// to what none pointed to.
func (e *Edit) Relocate(m *Moved) error {
	v, err := e.t.Get(record.ExtentKey(m.id))
	if errors.Is(err, meta.ErrNotFound) {
		return nil // freed in between
	}
	if err != nil {
		return err
	}
	if _, err := record.ParseExtent(v); err != nil {
		return err
	}
	a, err := e.load(m.id)
	if err != nil {
		return err
	}
	for i, run := range a.now.Runs {
		if run != m.from {
			continue
		}
		runs := append([]record.Run(nil), a.now.Runs[:i]...)
		runs = append(runs, m.to...)
		a.now.Runs = append(runs, a.now.Runs[i+1:]...)
		a.moved = true
		if len(a.now.Runs) == 0 {
			return fmt.Errorf("%w: an extent that is referenced has no live package", record.ErrCorrupt)
		}
		return nil
	}
	return nil
}
