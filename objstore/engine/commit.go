package engine

import (
	"context"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// committed is called once for each transaction that has committed.
func (s *Store) committed(x *tx) {
	s.commits.Add(1)
	if x.versionCeil != 0 {
		s.raiseVersionCeil(x.versionCeil)
	}
	if len(x.changes) > 0 {
		s.watch.Publish(x.changes)
	}
	for _, ino := range x.orphans {
		x.release()
		n := s.nodes.retain(ino)
		if n == nil { // closed in between
			s.removeOrphan(context.Background(), ino)
			continue
		}
		n.unlinked.Store(true)
		s.releaseNode(context.Background(), n)
	}
	if x.reap {
		s.wakeReaper()
	}
}

// durable makes everything durable that has committed, or that the caller can have
// seen, data before the metadata that point to it. Concurrent calls share the
// barriers of the layers below; with nothing committed since the last one it is free.
//
// A transaction can be seen an instant before it is counted. So it is looked first
// whether any is under way: where there is none, all that were seen are counted.
func (s *Store) durable(ctx context.Context) error {
	idle := s.updating.Load() == 0
	goal := s.commits.Load()
	if idle && s.synced.Load() >= goal {
		return nil
	}
	if err := s.o.Data.Sync(ctx); err != nil {
		return s.wrap("sync", "", err)
	}
	if err := s.o.Meta.Sync(ctx); err != nil {
		return s.wrap("sync", "", err)
	}
	for {
		was := s.synced.Load()
		if was >= goal || s.synced.CompareAndSwap(was, goal) {
			return nil
		}
	}
}

// Sync commits every open file's buffer and makes all of history durable. A
// file whose buffer could not be committed is reported, the others are not held up.
func (s *Store) Sync(ctx context.Context) error {
	err := s.commitAll(ctx)
	if derr := s.durable(ctx); derr != nil {
		return derr
	}
	return err
}

// commitAll commits every open file and returns the first error.
func (s *Store) commitAll(ctx context.Context) (first error) {
	for _, n := range s.nodes.all() {
		if n.dirty() {
			if err := n.commit(ctx); err != nil && first == nil {
				first = err
			}
		}
		s.releaseNode(context.WithoutCancel(ctx), n)
	}
	return first
}

// runFlusher makes sure that nothing stays undurable for longer than twice
// FlushInterval.
func (s *Store) runFlusher(ctx context.Context) {
	if s.o.FlushInterval < 0 {
		return
	}
	t := time.NewTicker(s.o.FlushInterval)
	defer t.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := s.Sync(context.WithoutCancel(ctx))
		if err != nil && !failing && !objstore.IsKind(err, objstore.KindShutdown) {
			s.log.Error("periodic flush failed", "err", err)
		}
		failing = err != nil
	}
}
