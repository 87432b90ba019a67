package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cofferfs/coffer/objstore/meta"
)

const (
	// maxMemTables bounds all memtables, as multiples of the full size of one,
	// and with them memory and the log that an opening has to replay. It is a
	// bound on bytes: Pebble starts with small ones and flushes them only when
	// they add up to half a full one, so many can rightly wait.
	maxMemTables = 3
	// maxSublevels is the depth of level 0 at which writers are slowed down.
	maxSublevels = 20
	// slowDown is the longest an Update waits for a compaction: compactions may
	// be failing for good, and reads work without them.
	slowDown = 100 * time.Millisecond
)

// stall makes writers wait while Pebble catches up.
type stall struct {
	mu     sync.Mutex    // guards the fields below
	stale  bool          // Pebble's figures changed since they were last read
	signal chan struct{} // closed and replaced when they change
}

func newStall() *stall { return &stall{stale: true, signal: make(chan struct{})} }

// changed is called from Pebble's events, with locks of Pebble's held.
func (s *stall) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = true
	close(s.signal)
	s.signal = make(chan struct{})
}

// take tells whether the figures have to be read, and what to wait for if
// they are bad.
func (s *stall) take() (stale bool, signal <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stale, s.stale = s.stale, false
	return stale, s.signal
}

// again has the next Update read the figures, which were bad.
func (s *stall) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = true
}

// wait returns when Pebble has room for another memtable. One Update at a time
// calls it.
func (s *stall) wait(ctx context.Context, store *Store) error {
	var timeout <-chan time.Time
	for {
		stale, signal := s.take()
		if !stale {
			return nil
		}
		m := store.db.Metrics()
		full := m.MemTable.Size >= maxMemTables*uint64(store.o.MemTableBytes)
		if !full && m.Levels[0].Sublevels <= maxSublevels {
			return nil
		}
		s.again()
		var frozen, stuck <-chan struct{}
		switch {
		case !full && timeout == nil:
			timeout = time.After(slowDown)
		case full:
			timeout = nil
			frozen = store.fs.Frozen() // Pebble has no event for that
			// Stuck stays closed after things got better.
			if store.fs.TableErr() != nil {
				stuck = store.fs.Stuck()
			}
		}
		select {
		case <-signal:
		case <-timeout:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-frozen:
			return store.readOnly()
		case <-stuck:
			return store.cannotFlush()
		}
	}
}

// cannotFlush is the answer to an Update while memtables are full and tables
// keep failing: a full disk can get better, anything else is for good.
func (s *Store) cannotFlush() error {
	err := s.fs.TableErr()
	if full := s.mapError(err); errors.Is(full, meta.ErrNoSpace) && s.fs.Err() == nil {
		return full
	}
	if err != nil {
		s.fs.Freeze(fmt.Errorf("metadata cannot be flushed: %w", err))
	}
	return s.readOnly()
}
