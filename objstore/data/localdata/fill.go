package localdata

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cofferfs/coffer/objstore/data"
)

// AppendFrom implements data.Filler.
//
// Turn is free while the run is made: several runs are made side by side, each in
// memory of its own.
func (s *Store) AppendFrom(ctx context.Context, n int, fill func(io.Writer) error) (data.Location, error) {
	return s.append(ctx, n, false, func(g *segment) (int64, error) {
		off, pieces, err := s.reserve(g, n, nil)
		<-s.turn
		if err != nil {
			return 0, err
		}
		f := filler{s: s, pieces: pieces}
		defer f.end()
		if err := fill(&f); err != nil {
			return 0, fmt.Errorf("data: make a run: %w", err)
		}
		if len(f.pieces) > 0 {
			return 0, fmt.Errorf("data: make a run of %d bytes: %w", n, io.ErrUnexpectedEOF)
		}
		return off, nil
	})
}

// reserve gives out n bytes at the end of g as soon as there are stages enough, and
// appends them to pieces. The caller holds turn.
//
// All of a run or nothing of it: the first bytes of one whose rest found the disk
// full would stand in the segment for good, and whoever walks it would take what comes
// next for that rest. It also waits before it takes the first stage because who
// holds one and waits for another could wait for itself.
func (s *Store) reserve(g *segment, n int, pieces []piece) (off int64, _ []piece, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.roomLocked() < n {
		if err := s.failure(); err != nil {
			return 0, nil, err
		}
		for _, b := range s.live {
			if b.stuck {
				return 0, nil, fmt.Errorf("%w: what was appended before cannot be written", data.ErrNoSpace)
			}
		}
		s.change.Wait()
	}
	off = g.end
	for n > 0 {
		p, err := s.pieceLocked(g, n)
		if err != nil { // the store has failed: nothing is written any more
			for _, p := range pieces {
				clear(p.mem)
				p.stage.copying--
			}
			return 0, nil, err
		}
		pieces = append(pieces, p)
		n -= len(p.mem)
	}
	return off, pieces, nil
}

// roomLocked is how many bytes can be given out without waiting for a stage.
func (s *Store) roomLocked() int {
	n := (len(s.free) + stageCount - s.made) * stageBytes
	if s.filling != nil {
		n += len(s.filling.mem) - s.filling.n
	}
	return n
}

// filler is the writer of AppendFrom.
type filler struct {
	s      *Store
	pieces []piece // that are not full yet; of the first, what is left of it
}

var errOverfilled = errors.New("data: more bytes than the run has")

func (f *filler) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(f.pieces) == 0 {
			return n, errOverfilled
		}
		first := &f.pieces[0]
		k := copy(first.mem, p[n:])
		n += k
		if first.mem = first.mem[k:]; len(first.mem) == 0 {
			f.s.copied(first.stage)
			f.pieces = f.pieces[1:]
		}
	}
	return n, nil
}

// end gives back what was not filled: another run may wait in the same stage.
func (f *filler) end() {
	for _, p := range f.pieces {
		clear(p.mem)
		f.s.copied(p.stage)
	}
	f.pieces = nil
}
