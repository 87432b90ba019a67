package localdata

import (
	"context"

	"github.com/cofferfs/coffer/objstore/data"
)

// Seal implements data.Sealer.
func (s *Store) Seal(ctx context.Context, id data.SegmentID) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if s.opt.ReadOnly {
		return data.ErrReadOnly
	}
	if err := s.failure(); err != nil {
		return err
	}
	rotated, err := s.giveUpActive(ctx, id)
	if err != nil || !rotated {
		return err
	}
	return s.barrier.Wait(ctx) // also where all bytes are durable: it seals
}

// giveUpActive has the next append make a segment, if the active one is id.
func (s *Store) giveUpActive(ctx context.Context, id data.SegmentID) (bool, error) {
	select {
	case s.turn <- struct{}{}: // nobody is being given a place
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-s.turn }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == nil || s.active.id != id {
		return false, nil
	}
	if b := s.closeFillingLocked(); b != nil {
		s.work <- b // never blocks: there are no more stages than it holds
	}
	s.active.rotated = true
	s.active = nil
	return true, nil
}
