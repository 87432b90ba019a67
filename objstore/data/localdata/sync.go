package localdata

import (
	"context"
	"fmt"
)

// Sync implements data.Store.
func (s *Store) Sync(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	return s.sync(ctx)
}

func (s *Store) sync(ctx context.Context) error {
	s.stats.syncCalls.Add(1)
	if err := s.failure(); err != nil {
		return err
	}
	if s.synced.Load() == s.appended.Load() {
		return nil
	}
	return s.barrier.Wait(ctx)
}

// cut is what one barrier covers in one segment.
type cut struct {
	seg  *segment
	end  int64
	seal bool
}

// flushAll makes everything durable that was appended before it. It runs once
// at a time: by barrier, or by Close.
func (s *Store) flushAll() error {
	s.mu.Lock()
	target := s.appended.Load()
	if s.resendStuckLocked() {
		s.stats.retries.Add(1)
	}
	b := s.closeFillingLocked()
	upTo := s.taken
	cuts := make([]cut, 0, len(s.unsealed))
	for _, g := range s.unsealed {
		if g.rotated || g.end > g.syncEnd {
			cuts = append(cuts, cut{seg: g, end: g.end, seal: g.rotated})
		}
	}
	s.mu.Unlock()

	if b != nil {
		s.write(b) // here, since a hop to a writer costs more than a small write
	}
	s.mu.Lock()
	err := s.settleLocked(upTo)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for _, c := range cuts {
		if err := s.syncSegment(c); err != nil {
			return err
		}
	}
	if err := s.syncNames(cuts); err != nil {
		return err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range cuts {
		c.seg.syncEnd = c.end
		if c.seal {
			c.seg.h.size = c.end
			s.cache.adopt(c.seg.h)
			delete(s.unsealed, c.seg.id)
		}
	}
	s.synced.Store(target)
	return nil
}

func (s *Store) syncSegment(c cut) error {
	f := c.seg.h.file
	if c.seal {
		s.trim(c.seg, c.end)
	}
	s.stats.syncs.Add(1)
	if err := f.Sync(); err != nil {
		// Not even "disk full" can be told from lost bytes here.
		s.fail(fmt.Sprintf("sync segment %v", c.seg.id), err)
		return s.failure()
	}
	return nil
}

// syncNames makes the names of new segments durable.
func (s *Store) syncNames(cuts []cut) error {
	fresh := false
	for _, c := range cuts {
		fresh = fresh || !c.seg.named
	}
	if !fresh {
		return nil
	}
	if err := s.fs.SyncDir(); err != nil {
		s.fail("sync directory", err)
		return s.failure()
	}
	for _, c := range cuts {
		c.seg.named = true
	}
	return nil
}
