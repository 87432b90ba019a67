package localdata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/cofferfs/coffer/objstore/data"
)

// ReadAt implements data.Store.
func (s *Store) ReadAt(ctx context.Context, l data.Location, p []byte, off int64) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if off < 0 || off > int64(l.Length) || int64(len(p)) > int64(l.Length)-off {
		return fmt.Errorf("data: read of %d bytes at %d leaves location %v", len(p), off, l)
	}
	if len(p) == 0 {
		return nil
	}
	if l.Offset < headerBytes || l.Offset > math.MaxInt64-math.MaxUint32 {
		return fmt.Errorf("%w: no run can stand at %v", data.ErrCorrupt, l)
	}
	s.stats.reads.Add(1)
	s.stats.readBytes.Add(uint64(len(p)))
	at := int64(l.Offset) + off
	if done, err := s.readUnsealed(l.Segment, p, at); done {
		return err
	}
	h, err := s.cache.get(l.Segment, s.bounces)
	if err != nil {
		return err
	}
	defer h.release()
	if at+int64(len(p)) > h.size {
		return fmt.Errorf("%w: segment %v ends at %d, location is %v", data.ErrCorrupt, l.Segment, h.size, l)
	}
	if len(p) <= smallReadBytes {
		if done, err := readCached(h, p, at); done {
			return err
		}
	}
	return s.readFile(h, p, at)
}

// readCached reads through the kernel's page cache, if the file can.
func readCached(h *handle, p []byte, at int64) (done bool, err error) {
	c, ok := h.file.(CachedReader)
	if !ok {
		return false, nil
	}
	n, err := c.ReadCachedAt(p, at)
	if errors.Is(err, errors.ErrUnsupported) {
		return false, nil
	}
	return true, complete(h, n, len(p), at, err)
}

// readUnsealed reads from a segment that this process still writes. Its first
// result is false if the segment is not such a one.
func (s *Store) readUnsealed(id data.SegmentID, p []byte, at int64) (bool, error) {
	s.mu.Lock()
	g, ok := s.unsealed[id]
	if !ok {
		s.mu.Unlock()
		return false, nil
	}
	end := at + int64(len(p))
	if end > g.end {
		s.mu.Unlock()
		return true, fmt.Errorf("%w: segment %v ends at %d, asked for %d bytes at %d", data.ErrCorrupt, id, g.end, len(p), at)
	}
	// What is in no stage now is in the file, and stays there.
	var staged []*stage
	for _, b := range s.live {
		if b.seg == g && b.start < end && at < b.start+int64(b.n) {
			b.readers++
			staged = append(staged, b)
		}
	}
	h := g.h.acquire()
	s.mu.Unlock()
	defer h.release()
	defer s.unpin(staged)

	// Stages are in the order of their offsets, and all are from s.live at one
	// moment: the gaps between them are what the file holds.
	for _, b := range staged {
		if at < b.start {
			if err := s.readFile(h, p[:b.start-at], at); err != nil {
				return true, err
			}
			p, at = p[b.start-at:], b.start
		}
		k := copy(p, b.mem[at-b.start:])
		p, at = p[k:], at+int64(k)
	}
	if len(p) == 0 {
		return true, nil
	}
	return true, s.readFile(h, p, at)
}

func (s *Store) unpin(staged []*stage) {
	if len(staged) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range staged {
		b.readers--
		s.recycleLocked(b)
	}
}

// splitBytes is the length from which a read through a bounce buffer is done
// in two halves side by side, so that one transfers while the other is copied.
const splitBytes = 512 << 10

// readFile fills p from offset at of a file.
func (s *Store) readFile(h *handle, p []byte, at int64) error {
	if len(p) < splitBytes || (roundDown(at) == at && isAligned(p)) {
		return s.readPiece(h, p, at)
	}
	// The second half begins at a block, so that none is read twice.
	half := roundUp(at+int64(len(p)/2)) - at
	second := make(chan error, 1)
	go func() { second <- s.readPiece(h, p[half:], at+half) }()
	err := s.readPiece(h, p[:half], at)
	return errors.Join(err, <-second)
}

// readPiece fills p from offset at of a file, with aligned transfers.
func (s *Store) readPiece(h *handle, p []byte, at int64) error {
	for len(p) > 0 {
		if whole := int(roundDown(int64(len(p)))); whole > 0 && roundDown(at) == at && isAligned(p) {
			if err := readFull(h, p[:whole], at, whole); err != nil {
				return err
			}
			p, at = p[whole:], at+int64(whole)
			continue
		}
		k, err := s.readBounced(h, p, at)
		if err != nil {
			return err
		}
		p, at = p[k:], at+int64(k)
	}
	return nil
}

// readBounced fills the beginning of p through an aligned buffer and returns
// how much of it.
func (s *Store) readBounced(h *handle, p []byte, at int64) (int, error) {
	start := roundDown(at)
	buf := s.bounces.get(roundUp(at+int64(len(p))) - start)
	defer s.bounces.put(buf)
	skip := int(at - start)
	k := min(len(p), len(*buf)-skip)
	want := skip + k
	if err := readFull(h, (*buf)[:roundUp(int64(want))], start, want); err != nil {
		return 0, err
	}
	return copy(p[:k], (*buf)[skip:want]), nil
}

// readFull reads into p, whose first want bytes must come.
func readFull(h *handle, p []byte, at int64, want int) error {
	n, err := h.file.ReadAt(p, at)
	return complete(h, n, want, at, err)
}

// complete judges a read that brought n bytes of want.
func complete(h *handle, n, want int, at int64, err error) error {
	if n >= want {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: segment %v ends at %d", data.ErrCorrupt, h.id, at+int64(n))
	}
	return fmt.Errorf("data: read segment %v at %d: %w", h.id, at, err)
}
