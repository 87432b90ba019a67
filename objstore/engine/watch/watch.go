// Package watch tells whoever watches a store what was committed. One goroutine
// delivers. Changes of one inode and of one entry merge while they wait, so the
// queue is bounded by what can be told apart, and a commit never waits for a
// watcher. A change that nobody wants costs next to nothing, and most are of that
// kind: a mount does not want to be told what it did itself.
//
// It knows changes alone, not the store that they are of.
package watch

import (
	"context"
	"sync"

	"github.com/cofferfs/coffer/objstore"
)

// Hub hands changes to all watchers.
type Hub struct {
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

// New makes a Hub. Run delivers.
func New() *Hub {
	return &Hub{
		fns: make(map[int]watcher), pending: make(map[changeKey]int),
		idle: make(chan struct{}), wake: make(chan struct{}, 1),
	}
}

// Watch calls fn with every change published from now on that wants likes, and
// with others where they come with one of these or somebody else wants them; a
// nil wants likes all. wants is called within Publish: it is quick and calls
// nobody. fn is called from the goroutine of Run, with no lock held. stop returns
// when fn will not be called again; fn must not call it.
func (h *Hub) Watch(wants func(*objstore.Change) bool, fn func([]objstore.Change)) (stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := h.next
	h.next++
	h.fns[id] = watcher{wants, fn}
	return func() {
		h.mu.Lock()
		delete(h.fns, id)
		h.mu.Unlock()
		// The batch under way may still call fn.
		_ = h.Wait(context.Background())
	}
}

// Wait returns when every change published before the call was handed to all
// watchers and they returned, or with ctx's error.
func (h *Hub) Wait(ctx context.Context) error {
	h.mu.Lock()
	goal := h.seq
	if len(h.queue) > 0 {
		goal++
	}
	for h.done < goal && !h.closed {
		idle := h.idle
		h.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
		h.mu.Lock()
	}
	h.mu.Unlock()
	return nil
}

// Behind reports whether Wait would wait.
func (h *Hub) Behind() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return (len(h.queue) > 0 || h.done < h.seq) && !h.closed
}

// Publish queues changes. It never blocks.
func (h *Hub) Publish(changes []objstore.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || !h.wanted(changes) {
		return
	}
	for _, c := range changes {
		key := changeKey{c.Origin, c.Parent, c.Name, c.Inode}
		if i, ok := h.pending[key]; ok {
			h.queue[i].Data = h.queue[i].Data || c.Data
			h.queue[i].Removed = c.Removed
			continue
		}
		h.pending[key] = len(h.queue)
		h.queue = append(h.queue, c)
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// wanted reports whether anybody wants any of the changes; mu is held.
func (h *Hub) wanted(changes []objstore.Change) bool {
	for _, f := range h.fns {
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

// Run delivers until Close.
func (h *Hub) Run() {
	for range h.wake {
		h.mu.Lock()
		batch := h.queue
		h.queue = nil
		clear(h.pending)
		h.seq++
		fns := make([]func([]objstore.Change), 0, len(h.fns))
		for _, f := range h.fns {
			fns = append(fns, f.fn)
		}
		h.mu.Unlock()
		if len(batch) > 0 {
			for _, fn := range fns {
				fn(batch)
			}
		}
		h.mu.Lock()
		h.done = h.seq
		close(h.idle)
		h.idle = make(chan struct{})
		h.mu.Unlock()
	}
}

// Close ends Run once it has delivered what is queued. Wait does not wait any
// longer, and what is published from then on is dropped. It is idempotent.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	close(h.wake)
	close(h.idle)
	h.idle = make(chan struct{})
}
