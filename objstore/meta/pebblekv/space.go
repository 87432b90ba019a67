package pebblekv

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"
	"time"

	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/objstore/meta"
)

// LowWater is the free space in bytes below which Updates must delete something to
// be admitted: room for the log, a flush and a compaction.
const LowWater = 64 << 20

const (
	// criticalWater is the free space below which the reserve is given up, and
	// below which, when it is, nothing is admitted.
	criticalWater = 16 << 20
	// reserveSize is the size of the reserve file.
	reserveSize = 32 << 20
	reserveName = "RESERVE"

	// A probe holds for probeAge or until probeBytes were admitted.
	probeAge   = 10 * time.Millisecond
	probeBytes = 1 << 20
)

// space admits Updates by the free space of the disk.
type space struct {
	fs   vfs.FS
	path string // of the reserve
	dir  string
	free func() (uint64, error)
	log  *slog.Logger

	mu       sync.Mutex // guards the fields below
	reserve  bool       // the file is there
	room     bool       // what the last probe said
	probed   time.Time
	admitted int // bytes since
}

func newSpace(fs vfs.FS, dir string, free func() (uint64, error), log *slog.Logger) *space {
	s := &space{fs: fs, dir: dir, path: fs.PathJoin(dir, reserveName), free: free, log: log}
	if free == nil {
		s.free = func() (uint64, error) {
			u, err := fs.GetDiskUsage(dir)
			return u.AvailBytes, err
		}
	}
	return s
}

func (s *space) probe() uint64 {
	free, err := s.free()
	if err != nil {
		return math.MaxUint64
	}
	return free
}

// admit refuses an Update for which there is no room.
func (s *space) admit(size int, deletes bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admitted += size
	if s.room && s.admitted < probeBytes && time.Since(s.probed) < probeAge {
		return nil
	}
	free := s.probe()
	s.room = free >= LowWater
	s.probed, s.admitted = time.Now(), size
	if s.room {
		if !s.reserve && free >= LowWater+2*reserveSize {
			s.makeReserveLocked()
		}
		return nil
	}
	if deletes {
		if free < criticalWater && s.giveUpReserveLocked() {
			free = s.probe()
		}
		if free >= criticalWater {
			return nil
		}
	}
	return fmt.Errorf("%w: %d bytes are free", meta.ErrNoSpace, free)
}

// makeReserve makes the reserve file if there is room for it.
func (s *space) makeReserve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.fs.Stat(s.path); err == nil {
		s.reserve = true
		return
	}
	if s.probe() >= LowWater+2*reserveSize {
		s.makeReserveLocked()
	}
}

func (s *space) makeReserveLocked() {
	f, err := s.fs.Create(s.path, vfs.WriteCategoryUnspecified)
	if err == nil {
		err = errors.Join(f.Preallocate(0, reserveSize), f.Close())
	}
	if err != nil {
		s.log.Warn("no reserve of disk space for metadata", "err", err)
		_ = s.fs.Remove(s.path)
	}
	// Without one the free space alone decides; do not try at every Update.
	s.reserve = true
}

// giveUpReserve removes the reserve; it returns false when there is none.
func (s *space) giveUpReserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.giveUpReserveLocked()
}

func (s *space) giveUpReserveLocked() bool {
	err := s.fs.Remove(s.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Warn("reserve of disk space for metadata", "err", err)
	}
	s.reserve = false
	if err == nil {
		s.log.Warn("disk nearly full: gave up the reserve for metadata")
	}
	return err == nil
}
