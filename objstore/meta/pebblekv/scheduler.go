package pebblekv

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// scheduler grants compactions as Pebble's own does, as many as the DB allows
// at a time, but none before begin: Pebble's Open waits for compactions that
// its replay set off, which would make opening take as long as they do.
type scheduler struct {
	db pebble.DBForCompaction // set by Register, before any other call

	mu       sync.Mutex // guards the fields below; not held while db's locks are taken
	begun    bool
	ended    bool
	running  int         // grants in use
	calling  int         // grant calls in progress
	failures int         // compactions that failed in a row
	paused   *time.Timer // ends the pause after one failed; nil outside
	idle     *sync.Cond  // calling became 0
}

var (
	_ pebble.CompactionScheduler   = (*scheduler)(nil)
	_ pebble.CompactionGrantHandle = (*scheduler)(nil)
)

func newScheduler() *scheduler {
	s := &scheduler{}
	s.idle = sync.NewCond(&s.mu)
	return s
}

// begin lets compactions run.
func (s *scheduler) begin() {
	s.mu.Lock()
	s.begun = true
	s.mu.Unlock()
	s.grant()
}

// Register implements pebble.CompactionScheduler.
func (s *scheduler) Register(_ int, db pebble.DBForCompaction) { s.db = db }

// Unregister implements pebble.CompactionScheduler.
func (s *scheduler) Unregister() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.paused != nil {
		s.paused.Stop()
	}
	for s.calling > 0 {
		s.idle.Wait()
	}
}

// TrySchedule implements pebble.CompactionScheduler.
func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.takeLocked() {
		return false, nil
	}
	return true, s
}

// takeLocked takes a grant if there is one. mu is held.
func (s *scheduler) takeLocked() bool {
	if !s.begun || s.ended || s.paused != nil || s.running >= s.db.GetAllowedWithoutPermission() {
		return false
	}
	s.running++
	return true
}

const (
	firstPause = 100 * time.Millisecond
	maxPause   = time.Minute
)

// failed pauses compactions: Pebble picks one that met a damaged table again
// at once, and for ever. Locks of Pebble's are held.
func (s *scheduler) failed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.paused != nil {
		return
	}
	s.paused = time.AfterFunc(min(firstPause<<min(s.failures, 16), maxPause), s.resume)
	s.failures++
}

func (s *scheduler) resume() {
	s.mu.Lock()
	s.paused = nil
	s.mu.Unlock()
	s.grant()
}

// succeeded is told of each compaction that did not fail.
func (s *scheduler) succeeded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = 0
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler.
// Pebble tries on its own after the flushes that call it.
func (s *scheduler) UpdateGetAllowedWithoutPermission() {}

// grant offers what is free to compactions that wait.
func (s *scheduler) grant() {
	for {
		s.mu.Lock()
		if !s.takeLocked() {
			s.mu.Unlock()
			return
		}
		s.calling++
		s.mu.Unlock()
		waiting, _ := s.db.GetWaitingCompaction()
		accepted := waiting && s.db.Schedule(s)
		s.mu.Lock()
		if !accepted {
			s.running--
		}
		if s.calling--; s.calling == 0 {
			s.idle.Broadcast()
		}
		s.mu.Unlock()
		if !accepted {
			return
		}
	}
}

// Done implements pebble.CompactionGrantHandle.
func (s *scheduler) Done() {
	s.mu.Lock()
	s.running--
	s.mu.Unlock()
	s.grant()
}

// Started, MeasureCPU and CumulativeStats implement pebble.CompactionGrantHandle.
func (s *scheduler) Started()                                            {}
func (s *scheduler) MeasureCPU(pebble.CompactionGoroutineKind)           {}
func (s *scheduler) CumulativeStats(_ pebble.CompactionGrantHandleStats) {}
