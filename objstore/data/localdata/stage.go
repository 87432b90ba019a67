package localdata

import (
	"fmt"

	"github.com/cofferfs/coffer/objstore/data"
)

// stage is a buffer of bytes on their way to one place of one segment. It is
// filled, then complete, then written by one goroutine, and put to use again
// when no reader looks at it.
type stage struct {
	mem []byte // aligned, stageBytes long

	// Guarded by Store.mu.
	seg      *segment
	start    int64  // offset in the segment, a multiple of data.Block
	n        int    // bytes given out, with padding; fixed once complete
	number   uint64 // order of use
	copying  int    // appenders that have not filled their part yet
	readers  int    // reads that copy from it
	complete bool   // no more bytes are given out
	stuck    bool   // its write found the disk full
	written  bool   // the file holds it
}

// takeStageLocked returns a stage for what follows at the end of g and makes
// it the one that is filled. It waits for one to become free.
func (s *Store) takeStageLocked(g *segment) (*stage, error) {
	for {
		if err := s.failure(); err != nil {
			return nil, err
		}
		if len(s.free) > 0 || s.made < stageCount {
			break
		}
		if s.allStuckLocked() {
			return nil, fmt.Errorf("%w: what was appended before cannot be written", data.ErrNoSpace)
		}
		s.change.Wait()
	}
	var b *stage
	if n := len(s.free); n > 0 {
		b = s.free[n-1]
		s.free = s.free[:n-1]
	} else {
		b = &stage{mem: alignedBytes(stageBytes)}
		s.made++
	}
	s.taken++
	*b = stage{mem: b.mem, seg: g, start: g.end, number: s.taken}
	s.live = append(s.live, b)
	s.filling = b
	return b, nil
}

func (s *Store) allStuckLocked() bool {
	for _, b := range s.live {
		if !b.stuck {
			return false
		}
	}
	return len(s.live) > 0
}

// closeFillingLocked pads and ends the stage that is being filled, so that the
// next byte goes to a fresh block. It returns the stage if the caller is to write
// it, which is the case when nobody copies into it any more.
func (s *Store) closeFillingLocked() *stage {
	b := s.filling
	if b == nil {
		return nil
	}
	s.filling = nil
	b.complete = true
	padded := int(roundUp(int64(b.n)))
	clear(b.mem[b.n:padded])
	b.n = padded
	b.seg.end = b.start + int64(padded)
	if b.copying > 0 {
		return nil // the last to copy sends it on
	}
	return b
}

// copied tells that an appender has filled its part of b.
func (s *Store) copied(b *stage) {
	s.mu.Lock()
	b.copying--
	ready := b.complete && b.copying == 0
	s.mu.Unlock()
	if ready {
		s.work <- b // never blocks: there are no more stages than it holds
	}
}

func (s *Store) startWritersLocked() {
	if s.work != nil {
		return
	}
	s.work = make(chan *stage, stageCount)
	for range writeDepth {
		s.writers.Go(func() {
			for b := range s.work {
				s.write(b)
			}
		})
	}
}

// write writes a complete stage to its segment.
func (s *Store) write(b *stage) {
	if s.failure() != nil {
		return // its bytes stay readable in memory
	}
	given := s.held.times()
	_, err := b.seg.h.file.WriteAt(b.mem[:b.n], b.start)
	if isNoSpace(err) && s.giveUpRoom(given) {
		_, err = b.seg.h.file.WriteAt(b.mem[:b.n], b.start)
	}
	if err != nil && !isNoSpace(err) {
		s.fail(fmt.Sprintf("write segment %v at %d", b.seg.id, b.start), err)
		return
	}
	wrote := transferOf(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.change.Broadcast()
	if err != nil {
		b.stuck = true
		s.opt.Logger.Warn("disk is full", "dir", s.opt.Dir, "segment", b.seg.id, "error", err)
		return
	}
	s.stats.writes.Add(1)
	s.stats.writtenBytes.Add(uint64(b.n))
	b.written = true
	b.seg.written = append(b.seg.written, wrote)
	for i, other := range s.live {
		if other == b {
			s.live = append(s.live[:i], s.live[i+1:]...)
			break
		}
	}
	s.recycleLocked(b)
}

// recycleLocked puts a written stage at rest unless somebody reads from it.
func (s *Store) recycleLocked(b *stage) {
	if b.written && b.readers == 0 {
		s.free = append(s.free, b)
		s.change.Broadcast()
	}
}

// retryStuck writes again what found the disk full. It returns
// data.ErrNoSpace when it still is.
func (s *Store) retryStuck() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.resendStuckLocked() {
		return nil
	}
	return s.settleLocked(s.taken)
}

// resendStuckLocked sends stuck stages to the writers once more.
func (s *Store) resendStuckLocked() bool {
	any := false
	for _, b := range s.live {
		if b.stuck {
			b.stuck = false
			s.work <- b // never blocks, as above
			any = true
		}
	}
	return any
}

// settleLocked waits until the complete stages up to a number are written.
func (s *Store) settleLocked(upTo uint64) error {
	for {
		if err := s.failure(); err != nil {
			return err
		}
		waiting, stuck := false, false
		for _, b := range s.live {
			if b.number > upTo || !b.complete {
				continue
			}
			if b.stuck {
				stuck = true
			} else {
				waiting = true
			}
		}
		if waiting {
			s.change.Wait()
			continue
		}
		if stuck {
			return data.ErrNoSpace
		}
		return nil
	}
}
