package durable

import (
	"context"
	"sync"
)

// Barrier lets all who want something durable at the same time wait for one run of
// what makes it so. Use NewBarrier.
type Barrier struct {
	run  func() error
	lead chan struct{} // holds one token while run runs

	mu   sync.Mutex
	next *round // that has not begun, for whoever waits for it; nil: nobody does
}

// round is one run, shared by all who joined it before it began.
type round struct {
	done chan struct{} // closed when err is set
	err  error
}

// NewBarrier returns a Barrier around run, which is called by one goroutine at a time.
func NewBarrier(run func() error) *Barrier {
	return &Barrier{run: run, lead: make(chan struct{}, 1)}
}

// Wait returns what a run returned that began after Wait was called, or the error of
// ctx. A run that has begun goes on to its end, for all who joined it.
func (b *Barrier) Wait(ctx context.Context) error {
	b.mu.Lock()
	if b.next == nil {
		b.next = &round{done: make(chan struct{})}
	}
	r := b.next
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		// Whoever comes next leads the round, if it has not begun.
		return ctx.Err()
	case b.lead <- struct{}{}:
	}
	defer func() { <-b.lead }()
	select {
	case <-r.done: // somebody else led it meanwhile
		return r.err
	default:
	}
	b.mu.Lock()
	b.next = nil
	b.mu.Unlock()
	r.err = b.run()
	close(r.done)
	return r.err
}
