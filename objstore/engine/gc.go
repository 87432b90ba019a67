package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// busySet holds the contents that are being made under a garbage mark (see
// making), which the reaper leaves alone.
type busySet struct {
	mu sync.Mutex
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

// reapDelay is how long the reaper waits after it was woken: who removes one file
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
			return nil // its last close comes here again
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

// collector remembers what earlier looks at the segments found.
type collector struct {
	unused map[record.SegmentID]candidate
	// dense are segments that little points to and that compaction would not
	// shrink, since what is dead shares its packages with what is live; with
	// their live bytes when that was found.
	dense map[record.SegmentID]int64
}

func newCollector() *collector {
	return &collector{unused: make(map[record.SegmentID]candidate), dense: make(map[record.SegmentID]int64)}
}

// candidate is a segment that nothing points to.
type candidate struct {
	since time.Time
	mark  uint64 // pins that are older may still read from it
}

// compactBelow is the share of a segment's bytes, in percent, below which what
// is live in it is moved elsewhere.
const compactBelow = 50

// runCollector removes segments that nothing points to, and compacts those that
// little points to.
func (s *Store) runCollector(ctx context.Context) {
	if s.o.CollectInterval < 0 {
		return
	}
	t := time.NewTicker(s.o.CollectInterval)
	defer t.Stop()
	c := newCollector()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := s.collect(ctx, c); err != nil && ctx.Err() == nil && !objstore.IsKind(err, objstore.KindShutdown) {
			s.log.Warn("segments could not be collected", "err", err)
		}
	}
}

// collect takes one look at all segments.
func (s *Store) collect(ctx context.Context, c *collector) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	// What the metadata say must be durable before anything is removed by it.
	if err := s.durable(ctx); err != nil {
		return err
	}
	seen := make(map[record.SegmentID]bool)
	var sparse []sparseSegment
	for info, err := range s.o.Data.Segments(ctx) {
		if err != nil {
			return s.wrap("collect", "", err)
		}
		if !info.Sealed {
			continue
		}
		id := record.SegmentID(info.ID)
		seen[id] = true
		// Asked before the account is read: what a sealed segment held is in it
		// when it is not held any more, and it is never held again.
		held := s.extents.Held(id)
		acct, err := s.segment(ctx, id)
		if err != nil {
			return err
		}
		if acct.Refs > 0 {
			delete(c.unused, id)
			if acct.Live*100 < int64(info.Size)*compactBelow {
				sparse = append(sparse, sparseSegment{info, acct.Live})
			}
			continue
		}
		if held {
			delete(c.unused, id)
			continue
		}
		found, ok := c.unused[id]
		if !ok {
			c.unused[id] = candidate{s.o.Now(), s.extents.PinMark()}
			continue
		}
		if s.o.Now().Sub(found.since) < s.o.Grace || s.extents.PinnedBefore(found.mark) {
			continue
		}
		if err := s.o.Data.Remove(ctx, info.ID); err != nil {
			return s.wrap("collect", "", err)
		}
		delete(c.unused, id)
	}
	for id := range c.unused {
		if !seen[id] {
			delete(c.unused, id)
		}
	}
	for id := range c.dense {
		if !seen[id] {
			delete(c.dense, id)
		}
	}
	return s.compactSparse(ctx, c, sparse)
}

// sparseSegment is a segment that little points to.
type sparseSegment struct {
	info data.SegmentInfo
	live int64
}

// compactSparse compacts those of the segments that become smaller by it. One
// that cannot be read does not hold up the others; the first error is returned.
func (s *Store) compactSparse(ctx context.Context, c *collector, list []sparseSegment) (first error) {
	for _, sp := range list {
		id := record.SegmentID(sp.info.ID)
		if was, ok := c.dense[id]; ok && sp.live > was/2 {
			continue
		}
		live, err := s.liveBytes(ctx, sp.info)
		switch {
		case err != nil:
		case live*100 >= int64(sp.info.Size)*compactBelow:
			c.dense[id] = sp.live
			continue
		default:
			err = s.compact(ctx, sp.info)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}

// liveBytes is how many bytes of a segment compaction would copy.
func (s *Store) liveBytes(ctx context.Context, info data.SegmentInfo) (total int64, err error) {
	err = s.extents.Walk(ctx, info, func(f extent.Frame) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return s.view(ctx, "compact", "", func(r reader) error {
			n, err := s.extents.Live(r, f)
			total += n
			return err
		})
	})
	return total, s.wrap("compact", "", err)
}

// segment returns the account of a segment, zero when nothing points to it.
func (s *Store) segment(ctx context.Context, id record.SegmentID) (acct record.Segment, err error) {
	err = s.view(ctx, "collect", "", func(r reader) error {
		v, err := r.Get(record.SegmentKey(id))
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		p, err := record.ParseSegment(v)
		if err == nil {
			acct = *p
		}
		return err
	})
	return acct, err
}

// compact moves what is live in a segment to the active one. The segment is a
// candidate for removal afterwards. No key is needed.
func (s *Store) compact(ctx context.Context, info data.SegmentInfo) error {
	return s.extents.Walk(ctx, info, func(f extent.Frame) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch := s.extents.NewBatch()
		defer batch.Release()
		var moved *extent.Moved
		err := s.view(ctx, "compact", "", func(r reader) (err error) {
			moved, err = batch.Move(ctx, r, f)
			return err
		})
		if err != nil || moved == nil {
			return err
		}
		err = s.update(ctx, objstore.Caller{}, "compact", "", func(x *tx) error {
			e := s.extents.Edit(x.txn)
			if err := e.Relocate(moved); err != nil {
				return err
			}
			return e.Finish()
		})
		s.extents.Moved()
		return err
	})
}
