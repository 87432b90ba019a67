package localdata

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/cofferfs/coffer/objstore/data"
)

// Of Options.KeepRoom.
const (
	heldName = "RESERVE" // on disk
	// heldBytes is room for all stages, and for what a file system needs besides.
	heldBytes = stageCount*stageBytes + 1<<20
)

// held is room on the disk for what is staged, kept in a file that is removed when
// a write finds the disk full: other programs can take the last block between an
// Append, which has looked for room, and the write of its bytes.
//
// Room set aside in the segment itself would serve as well, and would make the
// barriers of small groups a fifth slower (see Store.grant).
type held struct {
	mu      sync.Mutex // guards the fields below
	there   bool
	refused bool   // room cannot be set aside here
	given   uint64 // how often it was given up
}

// KeptFree is how much of the free room on the disk, in bytes, Append leaves alone.
func (s *Store) KeptFree() uint64 {
	n := s.opt.ReserveBytes + s.opt.SpareBytes
	s.held.mu.Lock()
	defer s.held.mu.Unlock()
	if s.opt.KeepRoom && !s.held.there && !s.held.refused {
		n += heldBytes
	}
	return n
}

// times is how often the room was given up.
func (h *held) times() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.given
}

// keepRoom makes sure that the room is held, before bytes are accepted that could
// need it. kept is what has to stay free, staged as in room.
func (s *Store) keepRoom(kept uint64, staged int64) error {
	h := &s.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if !s.opt.KeepRoom || h.there || h.refused {
		return nil
	}
	// That of an earlier process may have been copied, without its blocks.
	if err := s.fs.Remove(heldName); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("data: %w", err)
	}
	free, err := s.opt.FreeSpace()
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if kept += uint64(heldBytes + staged); free < kept {
		return fmt.Errorf("%w: %d bytes are free, %d are to be kept", data.ErrNoSpace, free, kept)
	}
	f, err := s.fs.Create(heldName)
	if err == nil {
		err = syscall.EOPNOTSUPP
		if p, ok := f.(Preallocator); ok {
			err = p.Preallocate(0, heldBytes)
		}
		f.Close()
	}
	if err == nil {
		h.there = true
		return nil
	}
	if rerr := s.fs.Remove(heldName); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		s.opt.Logger.Warn("room is kept in vain", "dir", s.opt.Dir, "error", rerr)
	}
	if isNoSpace(err) {
		return fmt.Errorf("%w: %w", data.ErrNoSpace, err)
	}
	h.refused = true
	if !errors.Is(err, syscall.EOPNOTSUPP) {
		s.opt.Logger.Warn("cannot keep room for what is staged", "dir", s.opt.Dir, "error", err)
	}
	return nil
}

// giveUpRoom removes the room that is held, for a write that found the disk full
// and began when it had been given up was times. It reports whether there may be
// room now.
func (s *Store) giveUpRoom(was uint64) bool {
	h := &s.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.given != was {
		return true
	}
	if !h.there {
		return false
	}
	if err := s.fs.Remove(heldName); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.opt.Logger.Warn("cannot give up the room for what is staged", "dir", s.opt.Dir, "error", err)
		return false
	}
	h.there = false
	h.given++
	s.opt.Logger.Warn("disk is full: gave up the room for what is staged", "dir", s.opt.Dir)
	return true
}
