package localdata

import (
	"context"
	"errors"
	"fmt"

	"github.com/cofferfs/coffer/objstore/data"
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
	given := s.held.times()
	err := s.flush()
	if errors.Is(err, errSyncFull) && s.giveUpRoom(given) {
		err = s.flush()
	}
	return err
}

// flush is flushAll with the room that there is.
func (s *Store) flush() error {
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

// errSyncFull is data.ErrNoSpace of a sync: see rewrite.
var errSyncFull = fmt.Errorf("%w: for what a sync is to make durable", data.ErrNoSpace)

func (s *Store) syncSegment(c cut) error {
	if c.seg.doubtful {
		if err := s.rewrite(c.seg); err != nil {
			return err
		}
	}
	if c.seal {
		s.trim(c.seg, c.end)
	}
	s.stats.syncs.Add(1)
	err := c.seg.h.file.Sync()
	if isNoSpace(err) {
		c.seg.doubtful = true
		s.opt.Logger.Warn("disk is full: what a sync may have lost is written again once there is room", "dir", s.opt.Dir, "segment", c.seg.id, "error", err)
		return fmt.Errorf("%w: %w", errSyncFull, err)
	}
	if err != nil {
		s.fail(fmt.Sprintf("sync segment %v", c.seg.id), err)
		return s.failure()
	}
	c.seg.doubtful = false
	s.mu.Lock()
	defer s.mu.Unlock()
	c.seg.coverLocked(c.end)
	return nil
}

// syncNames makes the names of new segments durable. Without room it can be repeated: no
// file system drops a name that it could not write and goes on.
func (s *Store) syncNames(cuts []cut) error {
	fresh := false
	for _, c := range cuts {
		fresh = fresh || !c.seg.named
	}
	if !fresh {
		return nil
	}
	err := s.fs.SyncDir()
	if isNoSpace(err) {
		return fmt.Errorf("%w: %w", errSyncFull, err)
	}
	if err != nil {
		s.fail("sync directory", err)
		return s.failure()
	}
	for _, c := range cuts {
		c.seg.named = true
	}
	return nil
}
