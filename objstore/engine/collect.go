package engine

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// collector remembers what earlier looks at the segments found.
type collector struct {
	unused map[record.SegmentID]candidate
	// dense are segments that little points to and that compaction would not
	// shrink, since what is dead shares its packages with what is live; with
	// their live bytes when that was found.
	dense map[record.SegmentID]int64
	// active is the size that the segment had which takes appends.
	active map[record.SegmentID]uint64
}

func newCollector() *collector {
	return &collector{
		unused: make(map[record.SegmentID]candidate), dense: make(map[record.SegmentID]int64), active: make(map[record.SegmentID]uint64),
	}
}

// candidate is a segment that nothing points to.
type candidate struct {
	sealed uint64    // appends that began before this mark may be in it
	mark   uint64    // who is older may still read from it; 0: it may still come into use
	since  time.Time // when mark was taken
}

// compactBelow is the share of a segment's bytes, in percent, below which what
// is live in it is moved elsewhere.
const compactBelow = 50

// sealBytes is how much of a segment must be dead for it to be sealed before it is full.
const sealBytes = 32 << 20

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

// collect takes one look at all segments. That logged extents cannot be settled,
// for want of room as a rule, does not keep it from giving room back.
func (s *Store) collect(ctx context.Context, c *collector) error {
	err := s.settle(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if cerr := s.collectSegments(ctx, c); err == nil {
		err = cerr
	}
	return err
}

// collectSegments removes the segments that nothing points to, and compacts those
// that little points to. One that fails does not hold up the others; the first error
// is returned.
func (s *Store) collectSegments(ctx context.Context, c *collector) (first error) {
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
			if err := s.sealDead(ctx, c, info); err != nil && first == nil {
				first = err
			}
			continue
		}
		seen[record.SegmentID(info.ID)] = true
		acct, err := s.collectSegment(ctx, c, info)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && first == nil {
			first = err
		}
		if err == nil && acct.Refs > 0 && acct.Live*100 < int64(info.Size)*compactBelow {
			sparse = append(sparse, sparseSegment{info, acct.Live})
		}
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
	if err := s.compactSparse(ctx, c, sparse); first == nil {
		first = err
	}
	return first
}

// sealDead seals a segment that takes appends when it is worth as much as another that
// is to be compacted, and would not be full soon: what a broken upload left, or a file
// that was removed, would stay in a store in which little happens until more came.
func (s *Store) sealDead(ctx context.Context, c *collector, info data.SegmentInfo) error {
	id := record.SegmentID(info.ID)
	was, known := c.active[id]
	clear(c.active) // there is one, beside those that are full and wait for a barrier
	c.active[id] = info.Size
	sealer, ok := s.o.Data.(data.Sealer)
	if !ok || !known || info.Size < sealBytes || s.extents.Held(id, s.extents.Mark()) {
		return nil
	}
	acct, err := s.segment(ctx, id)
	if err != nil {
		return err
	}
	dead := int64(info.Size) - acct.Live
	if acct.Live*100 >= int64(info.Size)*compactBelow || dead < sealBytes || int64(info.Size-was)*8 > dead {
		return nil
	}
	return s.wrap("collect", "", sealer.Seal(ctx, info.ID))
}

// collectSegment looks at one sealed segment, removes it when nothing has pointed to
// it for long enough, and returns its account.
func (s *Store) collectSegment(ctx context.Context, c *collector, info data.SegmentInfo) (record.Segment, error) {
	id := record.SegmentID(info.ID)
	found, ok := c.unused[id]
	if !ok {
		found.sealed = s.extents.Mark()
	}
	// Asked before the account is read: what a sealed segment held is in it
	// when it is not held any more, and it is never held again.
	held := s.extents.Held(id, found.sealed)
	acct, err := s.segment(ctx, id)
	if err != nil {
		return acct, err
	}
	switch {
	case acct.Refs > 0:
		delete(c.unused, id)
		return acct, nil
	case held:
		c.unused[id] = candidate{sealed: found.sealed}
		return acct, nil
	case found.mark == 0:
		c.unused[id] = candidate{found.sealed, s.extents.Mark(), s.o.Now()}
		return acct, nil
	case s.o.Now().Sub(found.since) < s.o.Grace, s.extents.InUse(id, found.mark):
		return acct, nil
	}
	if err := s.o.Data.Remove(ctx, info.ID); err != nil {
		return acct, s.wrap("collect", "", err)
	}
	delete(c.unused, id)
	return acct, nil
}

// sparseSegment is a segment that little points to.
type sparseSegment struct {
	info data.SegmentInfo
	live int64
}

// compactSparse compacts those of the segments that become smaller by it. One
// that cannot be read does not hold up the others; the first error is returned.
//
// What has least to be copied comes first: on a full disk there may be room for one
// of them only, until that is removed.
func (s *Store) compactSparse(ctx context.Context, c *collector, list []sparseSegment) (first error) {
	slices.SortFunc(list, func(a, b sparseSegment) int { return cmp.Compare(a.live, b.live) })
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
