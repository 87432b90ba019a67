package mount

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// aliveLimit is how long the store may take, after a panic, to make everything
// durable. It takes milliseconds; a disk that is slow for this long is as good as
// stuck.
const aliveLimit = 2 * time.Minute

// panicWatch looks whether the store still works after a request panicked. The
// request was answered with an error, but a lock that it held can be held for ever:
// what then waits behind it is every file's flush, without a word. A daemon that
// ends is better than that: what was acknowledged is on the disk, programs are told
// of what was not, and the next mount works.
type panicWatch struct {
	sync  func(context.Context) error
	limit time.Duration
	end   func() // does not return, but in tests
	log   *slog.Logger

	running atomic.Bool
}

func (s *store) watchPanics() *panicWatch {
	return &panicWatch{
		sync: func(ctx context.Context) error { return s.engine.Sync(ctx) }, limit: aliveLimit,
		end: func() { os.Exit(1) }, log: s.log,
	}
}

// panicked is called after a panic was logged and its request answered. It returns at
// once.
func (w *panicWatch) panicked() {
	if !w.running.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer w.running.Store(false)
		w.look()
	}()
}

func (w *panicWatch) look() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// An error is for those whose data it was: what matters is that it returns.
		_ = w.sync(context.Background())
	}()
	select {
	case <-done:
		w.log.Warn("the store goes on after a panic; please report it")
	case <-time.After(w.limit):
		w.log.Error("a panic left the store stuck: the daemon ends, so that it can be started again; please report it", "waited", w.limit)
		w.end()
	}
}
