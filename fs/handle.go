package fs

import (
	"sync"
	"sync/atomic"
)

// table holds what the kernel has open, by handle number. Numbers begin at 1
// and are never reused.
type table[T any] struct {
	last   atomic.Uint64
	shards [32]shard[T]
}

type shard[T any] struct {
	mu sync.RWMutex
	m  map[uint64]*T
	_  [32]byte // keeps two shards out of one cache line
}

func (t *table[T]) shard(fh uint64) *shard[T] { return &t.shards[fh%uint64(len(t.shards))] }

func (t *table[T]) add(v *T) uint64 {
	fh := t.last.Add(1)
	s := t.shard(fh)
	s.mu.Lock()
	if s.m == nil {
		s.m = make(map[uint64]*T)
	}
	s.m[fh] = v
	s.mu.Unlock()
	return fh
}

// get returns nil for a number that is not open.
func (t *table[T]) get(fh uint64) *T {
	s := t.shard(fh)
	s.mu.RLock()
	v := s.m[fh]
	s.mu.RUnlock()
	return v
}

// remove returns what it removed, nil for a number that is not open.
func (t *table[T]) remove(fh uint64) *T {
	s := t.shard(fh)
	s.mu.Lock()
	v := s.m[fh]
	delete(s.m, fh)
	s.mu.Unlock()
	return v
}

// all is an iter.Seq of everything in the table. The body of the loop runs with a
// lock of the table held.
func (t *table[T]) all(yield func(*T) bool) {
	for i := range t.shards {
		if !t.shards[i].all(yield) {
			return
		}
	}
}

func (s *shard[T]) all(yield func(*T) bool) (more bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, v := range s.m {
		if !yield(v) {
			return false
		}
	}
	return true
}

// contains reports whether ok is true of anything in the table. It looks at all of it.
func (t *table[T]) contains(ok func(*T) bool) bool {
	for v := range t.all {
		if ok(v) {
			return true
		}
	}
	return false
}

// drain removes and returns everything.
func (t *table[T]) drain() []*T {
	var all []*T
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, v := range s.m {
			all = append(all, v)
		}
		clear(s.m)
		s.mu.Unlock()
	}
	return all
}
