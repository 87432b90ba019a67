// Package localdata keeps segments as files in one local directory.
//
// # Promises
//
// Those of package data. Appends are staged in a few aligned buffers of 1 MiB
// and leave them as large O_DIRECT writes, several at a time; Sync writes what
// is left, pads it to data.Block, and makes it durable with one fdatasync for
// all who wait (and one fsync of the directory after a segment was made).
// Blocks are written in place once: a barrier ends in a padded block and the
// next run begins in a fresh one. (What a sync without room may have lost is
// written there again, before a sync has covered it: see rewrite.go.)
//
// Open writes nothing, and does not look at the segments: a large store has
// ten thousands of them. What an earlier process left is sealed, whatever state
// it is in; a new active segment is made by the first Append.
//
// # Format, version 1
//
// A segment is a file whose name is its id in 32 lower-case hexadecimal
// digits. A file RESERVE keeps room (Options.KeepRoom): what is in it means nothing.
// Everything else in the directory is left alone and named in the log when the
// segments are first listed. All integers are big endian.
//
//	offset  size  what
//	     0     8  "cofferSG"
//	     8     4  format version, 1
//	    12     4  block size, 4096
//	    16    16  segment id, which is that of the name
//	    32  4060  zeros
//	  4092     4  CRC-32C of the 4092 bytes before it
//	  4096        runs and padding, as package data describes
//
// The header finds files that were renamed, swapped or damaged by accident.
// Nothing in a segment is authenticated here: that is up to the caller. The
// file's length is no part of the format. It can be less than a location needs
// (data.ErrCorrupt), and more than was ever appended, since room is set aside
// ahead of large groups; that surplus reads as zeros and is given back when the
// segment is sealed, but not after a crash.
//
// # Bounds
//
// Staging buffers: 12 MiB, made by the first Append. Large reads: 8 MiB.
// Small reads: 128 KiB each. Open files: Options.OpenFiles for reading and up to
// maxUnsealed for writing.
package localdata

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/durable"
)

const (
	stageBytes  = 1 << 20 // of one staging buffer, and so of one write
	stageCount  = 12
	writeDepth  = 2 // background writes at a time; more gained nothing
	maxUnsealed = 8 // segments that are full but not yet covered by a barrier

	// Room is set aside in steps that grow with the segment, so that little is
	// left over in a small one after a crash.
	minGrant = 1 << 20
	maxGrant = 32 << 20

	defaultSegmentBytes = 256 << 20
	defaultOpenFiles    = 128
)

// Options are what Open needs to know. The zero value of every field but Dir
// works.
type Options struct {
	// Dir is the directory of the segments. It must exist, unless Create is
	// set: then it is made, mode 0700, durably.
	Dir    string
	Create bool
	// FS stands in for the directory; Dir is then only a name for messages.
	FS FS
	// SegmentBytes is the size, in bytes, at which a segment is full. A run
	// is never split, so a segment with a single run can be larger. 0: 256 MiB.
	SegmentBytes int64
	// ReserveBytes is how much room Append leaves on the file system. It is
	// looked at before every MiB of small groups, and every 32 MiB of large
	// ones. Writes under way can be counted twice, so that an Append is refused
	// a few MiB early.
	ReserveBytes uint64
	// SpareBytes is how much room Append leaves beyond that, for AppendSpare alone:
	// on a full disk bytes must have somewhere to go before the segments that they
	// came from can be removed.
	SpareBytes uint64
	// KeepRoom keeps 13 MiB in a file beside the segments, for bytes that were
	// appended and not yet written when other programs fill the disk. Where room
	// cannot be set aside, such bytes wait in memory, as they do without KeepRoom.
	KeepRoom bool
	// FreeSpace says how much room there is, in bytes. nil: asks FS.
	FreeSpace func() (uint64, error)
	// OpenFiles is how many segments are kept open for reading. 0: 128.
	OpenFiles int
	// ReadOnly refuses Append and Remove. Nothing is written.
	ReadOnly bool
	// Now is the clock for SegmentInfo.Modified of segments not yet sealed.
	Now func() time.Time
	// Logger takes what an operator should know. nil: nothing is logged.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	if o.SegmentBytes < 0 || o.OpenFiles < 0 {
		return o, errors.New("data: SegmentBytes and OpenFiles cannot be negative")
	}
	if o.OpenFiles == 0 {
		o.OpenFiles = defaultOpenFiles
	}
	if o.FS == nil {
		if o.Dir == "" {
			return o, errors.New("data: no directory given")
		}
		o.FS = OS(o.Dir)
		if o.Create && !o.ReadOnly {
			if err := durable.MkdirAll(o.Dir, 0o700); err != nil {
				return o, fmt.Errorf("data: %w", err)
			}
		}
		if err := checkDir(o.Dir); err != nil {
			return o, fmt.Errorf("data: %w", err)
		}
	}
	if o.FreeSpace == nil {
		o.FreeSpace = o.FS.FreeSpace
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Store implements data.Store.
//
// Locks are taken in the order of the fields: life, barrier, turn, held.mu, mu,
// then the cache's.
type Store struct {
	opt     Options
	fs      FS
	cache   *handleCache
	bounces *bouncePool
	stats   counters

	nameForeign sync.Once

	// life is held for reading by every call and for writing by Close.
	life     sync.RWMutex
	closed   bool
	closeErr error

	barrier *durable.Barrier // runs flushAll
	// turn is held, as a semaphore of one, by whoever gives out places in the
	// active segment. It guards the creation of segments.
	turn chan struct{}

	held held

	// appended and synced count bytes given out and bytes made durable. They
	// are changed under mu; equal means that there is nothing to sync.
	appended, synced atomic.Uint64
	// failed is the error of a store that can no longer write. It is set once.
	failed atomic.Pointer[error]

	// mu guards the fields below. change is signalled when a buffer was
	// written, became free or got stuck, and when the store failed.
	mu       sync.Mutex
	change   *sync.Cond
	active   *segment                    // takes appends; nil: the next makes one
	unsealed map[data.SegmentID]*segment // active, and full ones not yet synced
	filling  *stage                      // takes the next byte; nil: none yet
	live     []*stage                    // hold bytes that no file holds yet, oldest first
	free     []*stage                    // at rest
	made     int                         // stages that exist, at most stageCount
	taken    uint64                      // numbers stages as they are put to use
	work     chan *stage                 // to the writers; nil before the first Append
	writers  sync.WaitGroup
}

var (
	_ data.Store  = (*Store)(nil)
	_ data.Filler = (*Store)(nil)
	_ data.Sparer = (*Store)(nil)
	_ data.Sealer = (*Store)(nil)
)

// Open returns the store in a directory. It writes nothing there. The caller
// makes sure that no other process has it open for writing.
func Open(ctx context.Context, opt Options) (*Store, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &Store{
		opt:      opt,
		fs:       opt.FS,
		cache:    newHandleCache(opt.FS, opt.OpenFiles),
		bounces:  newBouncePool(),
		turn:     make(chan struct{}, 1),
		unsealed: make(map[data.SegmentID]*segment),
	}
	s.barrier = durable.NewBarrier(s.flushAll)
	s.change = sync.NewCond(&s.mu)
	return s, nil
}

// enter begins a call; the caller ends it with s.life.RUnlock.
func (s *Store) enter() error {
	s.life.RLock()
	if s.closed {
		s.life.RUnlock()
		return data.ErrClosed
	}
	return nil
}

// Segments implements data.Store.
func (s *Store) Segments(ctx context.Context) iter.Seq2[data.SegmentInfo, error] {
	return func(yield func(data.SegmentInfo, error) bool) {
		infos, err := s.segments(ctx)
		if err != nil {
			yield(data.SegmentInfo{}, err)
			return
		}
		// No lock is held here, so that the caller can use the store.
		for _, info := range infos {
			if err := ctx.Err(); err != nil {
				yield(data.SegmentInfo{}, err)
				return
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (s *Store) segments(ctx context.Context) ([]data.SegmentInfo, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Taken first: a segment that is sealed meanwhile is then called unsealed,
	// which is the harmless way round.
	s.mu.Lock()
	unsealed := make(map[data.SegmentID]data.SegmentInfo, len(s.unsealed))
	for id, g := range s.unsealed {
		unsealed[id] = data.SegmentInfo{ID: id, Start: headerBytes, Size: uint64(max(g.end, headerBytes)), Modified: time.Unix(0, g.modified)}
	}
	s.mu.Unlock()

	entries, err := s.fs.List()
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	infos := make([]data.SegmentInfo, 0, len(entries))
	var foreign []string
	for _, e := range entries {
		id, ok := parseName(e.Name)
		if e.Name == heldName {
			continue
		}
		if !ok || !e.Regular {
			foreign = append(foreign, e.Name)
			continue
		}
		info, ok := unsealed[id]
		if !ok {
			info = data.SegmentInfo{ID: id, Start: headerBytes, Size: uint64(e.Size), Sealed: true, Modified: e.Modified}
		}
		infos = append(infos, info)
	}
	s.nameForeign.Do(func() {
		for _, name := range foreign {
			s.opt.Logger.Warn("not a segment, left alone", "dir", s.opt.Dir, "name", name)
		}
	})
	return infos, nil
}

// Remove implements data.Store.
func (s *Store) Remove(ctx context.Context, id data.SegmentID) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.opt.ReadOnly {
		return data.ErrReadOnly
	}
	s.mu.Lock()
	_, unsealed := s.unsealed[id]
	s.mu.Unlock()
	if unsealed {
		return fmt.Errorf("%w: %v", data.ErrNotSealed, id)
	}
	err := s.fs.Remove(id.String())
	s.cache.forget(id)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("data: remove segment %v: %w", id, err)
	}
	return nil
}

// Close implements data.Store.
func (s *Store) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return s.closeErr
	}
	s.closed = true
	s.mu.Lock()
	if s.active != nil {
		s.active.rotated = true // so that the barrier seals it
		s.active = nil
	}
	s.mu.Unlock()
	s.closeErr = s.flushAll()
	if s.work != nil {
		close(s.work)
		s.writers.Wait()
	}
	for id, g := range s.unsealed {
		g.h.release()
		delete(s.unsealed, id)
	}
	s.cache.close()
	s.live, s.free, s.filling = nil, nil, nil
	return s.closeErr
}

// fail turns the store read-only, for ever.
func (s *Store) fail(doing string, cause error) {
	err := fmt.Errorf("%w: %s: %w", data.ErrFailed, doing, cause)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed.CompareAndSwap(nil, &err) {
		s.opt.Logger.Error("data store can no longer write", "dir", s.opt.Dir, "doing", doing, "error", cause)
	}
	s.change.Broadcast()
}

// failure returns data.ErrFailed with its cause once the store has failed.
func (s *Store) failure() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	return nil
}

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
