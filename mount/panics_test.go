package mount

import (
	"context"
	"log/slog"
	"testing"
	"time"
)

func TestDaemonEndsWhereAPanicLeftTheStoreStuck(t *testing.T) {
	forever := make(chan struct{})
	defer close(forever)
	for _, c := range []struct {
		name string
		sync func(context.Context) error
		ends bool
	}{
		{"works", func(context.Context) error { return nil }, false},
		{"fails", func(context.Context) error { return context.Canceled }, false},
		{"stuck", func(context.Context) error { <-forever; return nil }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			ended := false
			w := &panicWatch{sync: c.sync, limit: time.Hour, end: func() { ended = true }, log: slog.New(slog.DiscardHandler)}
			if c.ends {
				w.limit = time.Millisecond
			}
			w.look()
			if ended != c.ends {
				t.Errorf("ended: %v", ended)
			}
		})
	}
}

// While one look goes on, further panics start no other.
func TestPanicsAreLookedAtOnceAtATime(t *testing.T) {
	began, release := make(chan struct{}, 8), make(chan struct{})
	w := &panicWatch{
		sync:  func(context.Context) error { began <- struct{}{}; <-release; return nil },
		limit: time.Hour, end: func() { t.Error("ended") }, log: slog.New(slog.DiscardHandler),
	}
	for range 3 {
		w.panicked()
	}
	<-began
	w.panicked()
	close(release)
	for w.running.Load() {
		time.Sleep(time.Millisecond)
	}
	if len(began) > 0 {
		t.Error("a second look began beside the first")
	}
	w.panicked()
	<-began
}
