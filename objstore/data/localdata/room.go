package localdata

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cofferfs/coffer/objstore/data"
)

// room is what grant has to know of the active segment.
type room struct {
	end     int64 // of its runs
	syncEnd int64 // everything before this is durable
	staged  int64 // bytes, in any segment, that will still take room on the disk
	spare   bool  // Options.SpareBytes may be used
}

// stagedLocked is room.staged. The caller holds turn, too.
func (s *Store) stagedLocked() int64 {
	n := int64(0)
	for _, b := range s.live {
		if b.start+int64(b.n) > b.seg.allocated {
			n += roundUp(int64(b.n))
		}
	}
	return n
}

// grant makes sure that there is room for a run of n bytes at the end of g.
// The caller holds turn.
//
// Room is set aside in the file only for groups that are larger than a stage.
// It lets their writes go side by side and finds the disk full before bytes
// are accepted. Small groups are a fifth faster without it, since an
// fdatasync then has no mapping to convert; for them the free space is looked
// at, and should the disk be full all the same, their bytes wait in memory.
func (s *Store) grant(g *segment, at room, n int64) error {
	need := roundUp(at.end) + roundUp(n) // a barrier can still pad the end
	f, ok := g.h.file.(Preallocator)
	alloc := ok && !g.noAlloc && need-at.syncEnd > stageBytes
	base, step := g.granted, int64(minGrant)
	if alloc {
		base, step = max(g.allocated, at.syncEnd), min(max(at.end, minGrant), maxGrant)
	}
	if !at.spare { // what is moved stands elsewhere, too
		if err := s.keepRoom(s.opt.ReserveBytes+s.opt.SpareBytes, at.staged); err != nil {
			return err
		}
	}
	if need <= base {
		return nil
	}
	exact := need - base
	step = max(step, exact)
	if most := s.opt.SegmentBytes - base; step > most {
		step = max(exact, most)
	}
	if !alloc {
		f = nil
	}
	if at.spare {
		step = exact // what is left over would be anybody's
	}
	err := s.grantStep(g, f, base, step, at)
	if errors.Is(err, data.ErrNoSpace) && step > exact {
		step = exact
		err = s.grantStep(g, f, base, step, at)
	}
	if err != nil {
		return err
	}
	g.granted = max(g.granted, base+step)
	return nil
}

// grantStep makes sure that step bytes at base have room, and sets it aside
// in f if that is not nil.
func (s *Store) grantStep(g *segment, f Preallocator, base, step int64, at room) error {
	free, err := s.opt.FreeSpace()
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	kept := s.opt.ReserveBytes
	if !at.spare {
		kept += s.opt.SpareBytes
	}
	missing := uint64(base + step - max(g.allocated, roundDown(at.end)) + at.staged)
	if free < kept || free-kept < missing {
		return fmt.Errorf("%w: %d bytes are free, %d are kept in reserve", data.ErrNoSpace, free, kept)
	}
	if f == nil {
		return nil
	}
	err = f.Preallocate(base, step)
	if isNoSpace(err) {
		// A part may have been set aside all the same. Somebody else, the
		// metadata for one, may need it more. Nothing is written beyond end,
		// padded, while turn is held.
		s.trim(g, max(g.allocated, roundUp(at.end)))
		return fmt.Errorf("%w: %w", data.ErrNoSpace, err)
	}
	if err != nil {
		g.noAlloc = true
		if !errors.Is(err, syscall.EOPNOTSUPP) {
			s.opt.Logger.Warn("cannot set room aside", "dir", s.opt.Dir, "segment", g.id, "error", err)
		}
		return nil
	}
	g.allocated = base + step
	return nil
}

// trim gives back the room of g beyond end, which was never written. A failure
// costs that room and nothing else.
func (s *Store) trim(g *segment, end int64) {
	size, err := g.h.file.Size()
	if err == nil && size > end {
		err = g.h.file.Truncate(end)
	}
	if err != nil {
		s.opt.Logger.Warn("surplus room kept", "dir", s.opt.Dir, "segment", g.id, "error", err)
	}
}
