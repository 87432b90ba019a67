package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// busySet holds the contents that requests are making. Those with a garbage mark the
// reaper leaves alone until the request has ended.
type busySet struct {
	mu sync.Mutex // guards the field below
	m  map[objstore.ContentID]bool
}

func newBusySet() *busySet { return &busySet{m: make(map[objstore.ContentID]bool)} }

func (b *busySet) add(id objstore.ContentID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m[id] = true
}

func (b *busySet) remove(id objstore.ContentID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.m, id)
}

func (b *busySet) has(id objstore.ContentID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.m[id]
}

func (s *Store) wakeReaper() {
	select {
	case s.reap <- struct{}{}:
	default:
	}
}

// runReaper removes what nothing names any more: after a crash the inodes that
// were open without a name and what requests had begun, then whatever the
// transactions leave to it.
func (s *Store) runReaper(ctx context.Context) {
	s.orphansLeft.Store(true) // those of the last run
	s.wakeReaper()
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.reap:
		case <-retry:
		}
		retry = nil
		select {
		case <-ctx.Done():
			return
		case <-time.After(reapDelay):
		}
		if err := s.reapAll(ctx); err != nil && ctx.Err() == nil && !objstore.IsKind(err, objstore.KindShutdown) {
			s.log.Warn("space could not be freed yet", "err", err)
			retry = time.After(reapRetry)
		}
	}
}

// reapDelay is how long the reaper waits after it was woken: whoever removes one file
// removes more as a rule, and many cost less to free together.
const reapDelay = 100 * time.Millisecond

// reapRetry is how long the reaper waits after a failure, of a full disk say,
// when nothing else wakes it.
const reapRetry = 15 * time.Second

// reapAll removes what is left of orphans and garbage, and returns the first error.
func (s *Store) reapAll(ctx context.Context) error {
	var first error
	if s.orphansLeft.Swap(false) {
		if first = s.reapOrphans(ctx); first != nil {
			s.orphansLeft.Store(true)
		}
	}
	if err := s.reapGarbage(ctx); first == nil {
		first = err
	}
	return first
}

// keysOf returns up to max keys with a prefix, behind after.
func (s *Store) keysOf(ctx context.Context, prefix, after []byte, max int) (keys [][]byte, err error) {
	err = s.view(ctx, "scan", "", func(r reader) error {
		keys = keys[:0]
		rng := meta.Prefix(prefix)
		if after != nil {
			rng.Start = append(append([]byte(nil), after...), 0)
		}
		for p, err := range r.Scan(rng) {
			if err != nil {
				return err
			}
			keys = append(keys, append([]byte(nil), p.Key...))
			if len(keys) == max {
				break
			}
		}
		return nil
	})
	return keys, err
}

// reapBatch bounds the records that one look of the reaper takes.
const reapBatch = 256

// reapOrphans removes all inodes without a name that nobody has open. One that
// cannot be removed does not hold up the others; the first error is returned.
func (s *Store) reapOrphans(ctx context.Context) error {
	var after []byte
	var first error
	for ctx.Err() == nil {
		keys, err := s.keysOf(ctx, record.OrphanPrefix(), after, reapBatch)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			return first
		}
		after = keys[len(keys)-1]
		for _, k := range keys {
			ino, err := record.ParseOrphanKey(k)
			if err == nil {
				err = s.reapOrphan(ctx, ino)
			}
			if err != nil && first == nil {
				first = err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// reapOrphan removes an inode without a name that nobody has open.
func (s *Store) reapOrphan(ctx context.Context, ino objstore.InodeID) error {
	return s.update(ctx, objstore.Caller{}, "remove", "", func(x *tx) error {
		if _, err := x.Get(record.OrphanKey(ino)); errors.Is(err, meta.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		if !x.markDying(ino) {
			x.orphans = append(x.orphans, ino) // its last close comes here again
			return nil
		}
		n, err := x.inode(ino)
		if err != nil && !objstore.IsKind(err, objstore.KindStale) {
			return err
		}
		if err == nil {
			x.removeInode(ino, n)
		}
		x.txn.Delete(record.OrphanKey(ino))
		return nil
	})
}

// reapGarbage frees contents until there are none left. One that cannot be
// freed does not hold up the others; the first error is returned.
func (s *Store) reapGarbage(ctx context.Context) error {
	var after []byte
	var first error
	for ctx.Err() == nil {
		keys, err := s.keysOf(ctx, record.GarbagePrefix(), after, reapBatch)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			return first
		}
		after = keys[len(keys)-1]
		var ids []objstore.ContentID
		for _, k := range keys {
			id, err := record.ParseGarbageKey(k)
			if err != nil {
				return err
			}
			if !s.busy.has(id) {
				ids = append(ids, id)
			}
		}
		if err := s.reapContents(ctx, ids); err != nil && first == nil {
			first = err
		}
	}
	return ctx.Err()
}

// reapTogether is how many contents are freed in one transaction, which others
// wait for.
const reapTogether = 32

// reapContents frees contents that are marked, and returns the first error.
func (s *Store) reapContents(ctx context.Context, ids []objstore.ContentID) (first error) {
	for len(ids) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.reapSome(ctx, ids[:min(len(ids), reapTogether)])
		if err != nil || n == 0 { // the next one fails, or is a large one
			n, err = 1, s.reapContent(ctx, ids[0])
		}
		if err != nil && first == nil {
			first = err
		}
		ids = ids[n:]
	}
	return first
}

// reapSome frees the first n contents in one transaction. With an error it has
// done nothing.
func (s *Store) reapSome(ctx context.Context, ids []objstore.ContentID) (n int, err error) {
	err = s.update(ctx, objstore.Caller{}, "free", "", func(x *tx) error {
		e := s.extents.Edit(x.txn)
		for n = 0; n < len(ids) && !e.Full(); n++ {
			done, err := x.reapStep(e, ids[n])
			if err != nil {
				return err
			}
			if !done {
				break
			}
		}
		return e.Finish()
	})
	return n, err
}

// reapContent frees a content that is marked, step by step.
func (s *Store) reapContent(ctx context.Context, id objstore.ContentID) error {
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := s.update(ctx, objstore.Caller{}, "free", "", func(x *tx) (err error) {
			e := s.extents.Edit(x.txn)
			if done, err = x.reapStep(e, id); err != nil {
				return err
			}
			return e.Finish()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// reapStep frees a part of a content that is still marked, and reports whether
// nothing is left to do. A request that was making it when the marks were listed
// can have ended well since, and taken its mark back: then the content is alive.
func (x *tx) reapStep(e *extent.Edit, id objstore.ContentID) (done bool, err error) {
	if _, err := x.Get(record.GarbageKey(id)); errors.Is(err, meta.ErrNotFound) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	if done, err = e.FreeStep(extent.Content{Refs: id, Bound: id}); err != nil || !done {
		return false, err
	}
	x.txn.Delete(record.GarbageKey(id))
	return true, nil
}
