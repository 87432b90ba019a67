package engine

import (
	"context"
	"sync"

	"github.com/cofferfs/coffer/objstore"
)

// watchers hands changes to whoever watches, from one goroutine. Changes of one
// inode and of one entry merge while they wait, so the set is bounded by what
// can be told apart, and a commit never waits for a watcher.
type watchers struct {
	mu      sync.Mutex // guards the fields below
	fns     map[int]watcher
	next    int
	pending map[changeKey]int // place in queue
	queue   []objstore.Change
	seq     uint64        // batches that were begun
	done    uint64        // batches that were delivered
	idle    chan struct{} // closed and replaced when a batch was delivered
	wake    chan struct{}
	closed  bool
}

// watcher is who watches.
type watcher struct {
	wants func(*objstore.Change) bool // nil: all changes
	fn    func([]objstore.Change)
}

type changeKey struct {
	origin uint32
	parent objstore.InodeID
	name   string
	inode  objstore.InodeID
}

func newWatchers() *watchers {
	return &watchers{
		fns: make(map[int]watcher), pending: make(map[changeKey]int),
		idle: make(chan struct{}), wake: make(chan struct{}, 1),
	}
}

// Watch calls fn with every Change that commits from now on, from one
// goroutine, holding no lock. Changes of one inode or entry may be merged. stop
// returns when fn will not be called again; fn must not call it.
func (s *Store) Watch(fn func([]objstore.Change)) (stop func()) { return s.WatchFor(nil, fn) }

// WatchFor is Watch for the changes that wants likes; fn gets others too, where
// they come with one of these or somebody else wants them. wants is called with
// every change while it is committed: it is quick and calls nobody. A change that
// nobody wants costs next to nothing, and most are of that kind: a mount does
// not want to be told what it did itself.
func (s *Store) WatchFor(wants func(*objstore.Change) bool, fn func([]objstore.Change)) (stop func()) {
	w := s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	id := w.next
	w.next++
	w.fns[id] = watcher{wants, fn}
	return func() {
		w.mu.Lock()
		delete(w.fns, id)
		w.mu.Unlock()
		// The batch under way may still call fn.
		_ = s.WaitWatchers(context.Background())
	}
}

// WaitWatchers returns when every change committed before the call was handed
// to all watchers and they returned, or with ctx's error.
func (s *Store) WaitWatchers(ctx context.Context) error {
	w := s.watch
	w.mu.Lock()
	goal := w.seq
	if len(w.queue) > 0 {
		goal++
	}
	for w.done < goal && !w.closed {
		idle := w.idle
		w.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
		w.mu.Lock()
	}
	w.mu.Unlock()
	return nil
}

// WatchersBehind reports whether WaitWatchers would wait.
func (s *Store) WatchersBehind() bool {
	w := s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	return (len(w.queue) > 0 || w.done < w.seq) && !w.closed
}

// publish queues changes. It never blocks.
func (w *watchers) publish(changes []objstore.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || !w.wanted(changes) {
		return
	}
	for _, c := range changes {
		key := changeKey{c.Origin, c.Parent, c.Name, c.Inode}
		if i, ok := w.pending[key]; ok {
			w.queue[i].Data = w.queue[i].Data || c.Data
			w.queue[i].Removed = c.Removed
			continue
		}
		w.pending[key] = len(w.queue)
		w.queue = append(w.queue, c)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// wanted reports whether anybody wants any of the changes; mu is held.
func (w *watchers) wanted(changes []objstore.Change) bool {
	for _, f := range w.fns {
		if f.wants == nil {
			return true
		}
		for i := range changes {
			if f.wants(&changes[i]) {
				return true
			}
		}
	}
	return false
}

// run delivers until close.
func (w *watchers) run() {
	for range w.wake {
		w.mu.Lock()
		batch := w.queue
		w.queue = nil
		clear(w.pending)
		w.seq++
		fns := make([]func([]objstore.Change), 0, len(w.fns))
		for _, f := range w.fns {
			fns = append(fns, f.fn)
		}
		w.mu.Unlock()
		if len(batch) > 0 {
			for _, fn := range fns {
				fn(batch)
			}
		}
		w.mu.Lock()
		w.done = w.seq
		close(w.idle)
		w.idle = make(chan struct{})
		w.mu.Unlock()
	}
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.closed = true
	close(w.wake)
	close(w.idle)
	w.idle = make(chan struct{})
}
