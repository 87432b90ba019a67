package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
)

// Watch calls fn with every Change that commits from now on, from one
// goroutine, holding no lock. Changes of one inode or entry may be merged. stop
// returns when fn will not be called again; fn must not call it.
func (s *Store) Watch(fn func([]objstore.Change)) (stop func()) { return s.watch.Watch(nil, fn) }

// WatchFor is Watch for the changes that wants likes; fn gets others too, where
// they come with one of these or somebody else wants them. wants is called with
// every change while it is committed: it is quick and calls nobody.
func (s *Store) WatchFor(wants func(*objstore.Change) bool, fn func([]objstore.Change)) (stop func()) {
	return s.watch.Watch(wants, fn)
}

// WaitWatchers returns when every change committed before the call was handed
// to all watchers and they returned, or with ctx's error.
func (s *Store) WaitWatchers(ctx context.Context) error { return s.watch.Wait(ctx) }

// WatchersBehind reports whether WaitWatchers would wait.
func (s *Store) WatchersBehind() bool { return s.watch.Behind() }
