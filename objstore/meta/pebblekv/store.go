package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore/durable"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/meta/sealedfs"
)

var (
	// ErrNotExist is returned by Open without Create when the directory holds
	// nothing of a store. Where the superblock says that there is one, that
	// is corruption.
	ErrNotExist = errors.New("pebblekv: no store")
	// ErrExist is returned by Open with Create when the directory holds
	// anything of a store.
	ErrExist = errors.New("pebblekv: store exists")
	// ErrFormat is returned for a store of a format this program does not know.
	ErrFormat = errors.New("pebblekv: unknown format")
)

// Options configure Open. Dir, StoreKeys and CurrentKey are required.
type Options struct {
	// Dir is the store's directory, used for nothing else. Create makes it.
	Dir string
	// FS is the file system below; nil is the operating system's.
	FS vfs.FS
	// StoreKeys are the store keys by id, CurrentKey the id of the one under
	// which files are written. They stay the caller's: Open copies them.
	StoreKeys  map[uint32]*secret.Key
	CurrentKey uint32
	// Create makes a new store; without it only an existing one is opened. A
	// creation that did not return can leave files behind: whoever knows from
	// the superblock that the store was never used removes them and tries again.
	Create bool
	// ReadOnly opens without changing anything on disk. It holds what the log
	// has to be replayed for in memory.
	ReadOnly bool
	// CacheBytes bounds the block cache; 0 means 64 MiB.
	CacheBytes int64
	// MemTableBytes is the size of a memtable; 0 means 16 MiB. Up to
	// maxMemTables of them, and as much log, can exist.
	MemTableBytes int64
	// OpenFiles is how many tables are kept open, 64 at least; 0 means 512.
	OpenFiles int
	// BeforeDurable makes durable what the metadata points to; see
	// sealedfs.Options. It must not call the store. With an error that matches
	// meta.ErrNoSpace the metadata wait for room, too.
	BeforeDurable func() error
	// FreeSpace returns the bytes that can still be written on the file system
	// of Dir; nil asks FS. An error counts as room enough.
	FreeSpace func() (uint64, error)
	// Logger takes events; nil means slog.Default.
	Logger *slog.Logger

	// Tests make these small.
	holdBytes     int // sealedfs.Options.HoldBytes
	aheadBytes    int // sealedfs.Options.AheadBytes
	manifestBytes int64
}

const (
	defaultCacheBytes    = 64 << 20
	defaultMemTableBytes = 16 << 20
	defaultOpenFiles     = 512
	minMemTableBytes     = 256 << 10
	maxMemTableBytes     = 256 << 20 // its log stays far below sealedfs.MaxLog
)

func (o *Options) setDefaults() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.OpenFiles == 0 {
		o.OpenFiles = defaultOpenFiles
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = defaultMemTableBytes
	}
	if o.manifestBytes == 0 {
		o.manifestBytes = 4 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

func (o *Options) validate() error {
	switch {
	case o.Dir == "":
		return errors.New("pebblekv: Options.Dir is required")
	case o.Create && o.ReadOnly:
		return errors.New("pebblekv: Options.Create excludes ReadOnly")
	case o.CacheBytes < 0:
		return fmt.Errorf("pebblekv: Options.CacheBytes is %d", o.CacheBytes)
	case o.MemTableBytes < minMemTableBytes || o.MemTableBytes > maxMemTableBytes:
		return fmt.Errorf("pebblekv: Options.MemTableBytes is %d", o.MemTableBytes)
	}
	return nil
}

// Store implements meta.Store.
type Store struct {
	o         Options
	keys      map[uint32]*secret.Key // of sealedfs
	fs        *sealedfs.FS
	db        *pebble.DB
	lock      *pebble.Lock
	log       *logger
	space     *space
	stall     *stall
	scheduler *scheduler

	corruptions atomic.Uint64

	writer    chan struct{}    // holds one token while an Update runs
	barrier   *durable.Barrier // runs flush
	committed atomic.Uint64    // Updates committed
	synced    atomic.Uint64    // of these, durable

	mu       sync.Mutex // guards the fields below
	active   int        // calls in progress
	closed   bool
	idle     chan struct{} // closed when closed and active is 0
	closing  sync.Once
	closeErr error
}

var _ meta.Store = (*Store)(nil)

// Open opens or creates a store. Another process that has it open makes it
// fail. ctx bounds the wait for the replay of the log. When Open fails over a
// disk that takes no writes, a goroutine of Pebble's stays behind, asleep.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Store{
		o:         o,
		keys:      make(map[uint32]*secret.Key, len(o.StoreKeys)),
		log:       &logger{log: o.Logger},
		writer:    make(chan struct{}, 1),
		idle:      make(chan struct{}),
		stall:     newStall(),
		scheduler: newScheduler(),
	}
	// Copies, which their finaliser wipes where Open fails: what it left behind can go on
	// reading for a while.
	for id, k := range o.StoreKeys {
		if k != nil {
			s.keys[id] = k.Clone()
		}
	}
	s.barrier = durable.NewBarrier(s.flush)
	s.space = newSpace(o.FS, o.Dir, o.FreeSpace, o.Logger)
	var err error
	s.fs, err = sealedfs.New(sealedfs.Options{
		Base:          o.FS,
		Dir:           o.Dir,
		Keys:          s.keys,
		CurrentKey:    o.CurrentKey,
		BeforeDurable: o.BeforeDurable,
		NoSpace:       s.space.giveUpReserve,
		HoldBytes:     o.holdBytes,
		AheadBytes:    o.aheadBytes,
		ReadOnly:      o.ReadOnly,
		Logger:        o.Logger,
	})
	if err != nil {
		return nil, err
	}
	s.log.fs = s.fs
	if err := s.prepareDir(); err != nil {
		return nil, err
	}
	s.lock, err = pebble.LockDirectory(o.Dir, s.fs)
	if err != nil {
		return nil, fmt.Errorf("pebblekv: lock %q: %w", o.Dir, err)
	}
	if err := s.open(ctx); err != nil {
		return nil, s.openError(err)
	}
	if !o.ReadOnly {
		s.space.makeReserve()
	}
	return s, nil
}

func (s *Store) prepareDir() error {
	if s.o.Create {
		if err := s.o.FS.MkdirAll(s.o.Dir, 0o700); err != nil {
			return err
		}
	}
	_, err := s.o.FS.Stat(s.o.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w in %q", ErrNotExist, s.o.Dir)
	}
	return err
}

// open runs with the directory locked, and unlocks it when it fails.
func (s *Store) open(ctx context.Context) error {
	err := s.check()
	if err != nil {
		return errors.Join(err, s.lock.Close())
	}
	type result struct {
		db  *pebble.DB
		err error
	}
	opened := make(chan result, 1)
	go func() {
		db, err := pebble.Open(s.o.Dir, s.pebbleOptions())
		opened <- result{db, err}
	}()
	// Pebble flushes what it replayed, and repeats that for ever when it
	// cannot. Then it is left behind, asleep in sealedfs, with the lock.
	abandon := func() {
		if r := <-opened; r.db != nil {
			s.fs.Release()
			_ = r.db.Close()
			_ = s.fs.Shutdown()
		}
		_ = s.lock.Close()
	}
	var r result
	select {
	case r = <-opened:
	case <-s.fs.Stuck():
		go abandon()
		return fmt.Errorf("pebblekv: cannot write to %q: %w", s.o.Dir, errors.Join(s.fs.Err(), s.fs.TableErr()))
	case <-ctx.Done():
		go abandon()
		return ctx.Err()
	}
	if r.err != nil {
		return errors.Join(r.err, s.lock.Close())
	}
	if err := s.fs.Err(); err != nil {
		s.fs.Release()
		return errors.Join(err, r.db.Close(), s.fs.Shutdown(), s.lock.Close())
	}
	s.db = r.db
	if !s.o.ReadOnly {
		s.fs.Defer()
		s.scheduler.begin()
	}
	return nil
}

// check verifies an existing store, or that there is none.
func (s *Store) check() error {
	if !s.o.Create {
		if err := s.fs.Check(); err != nil {
			if errors.Is(err, sealedfs.ErrNotExist) {
				return fmt.Errorf("%w in %q", ErrNotExist, s.o.Dir)
			}
			return err
		}
		return checkFormat(s.o.FS, s.o.Dir)
	}
	empty, err := s.fs.Empty()
	if err == nil && !empty {
		err = fmt.Errorf("%w in %q", ErrExist, s.o.Dir)
	}
	return err
}

// enter admits a call; leave ends it.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return meta.ErrClosed
	}
	s.active++
	return nil
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.closed && s.active == 0 {
		close(s.idle)
	}
}

// Sync implements meta.Store.
func (s *Store) Sync(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.sync(ctx)
}

func (s *Store) sync(ctx context.Context) error {
	if s.o.ReadOnly {
		return nil
	}
	want := s.committed.Load()
	if s.synced.Load() >= want {
		return s.readOnly()
	}
	return s.barrier.Wait(ctx)
}

// flush makes all Updates durable that have committed: see barrier. On a full disk it
// writes nothing new to the log, which would grow with each try.
func (s *Store) flush() error {
	if err := s.retry(); err != nil {
		return err
	}
	covered := s.committed.Load()
	if err := s.db.LogData(nil, pebble.Sync); err != nil {
		return s.mapError(err)
	}
	// sealedfs tells Pebble of no failure: ask before believing it.
	if err := s.retry(); err != nil {
		return err
	}
	s.synced.Store(covered)
	return nil
}

// retry writes what waits for room on the disk, if anything does.
func (s *Store) retry() error { return s.mapError(s.fs.Retry()) }

// readOnly returns why the store takes no writes any more, or nil.
func (s *Store) readOnly() error {
	if err := s.fs.Err(); err != nil {
		return fmt.Errorf("%w: %w", meta.ErrReadOnly, err)
	}
	return nil
}

// Close implements meta.Store.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		if s.active == 0 {
			close(s.idle)
		}
		s.mu.Unlock()
		<-s.idle
		s.closeErr = s.close()
	})
	return s.closeErr
}

func (s *Store) close() error {
	err := s.sync(context.Background())
	s.fs.Release()
	closeErr := s.db.Close()
	if shutdownErr := s.fs.Shutdown(); closeErr == nil {
		closeErr = shutdownErr
	}
	for _, k := range s.keys {
		k.Wipe()
	}
	if lockErr := s.lock.Close(); closeErr == nil {
		closeErr = lockErr
	}
	if err == nil {
		err = s.readOnly()
	}
	if err == nil {
		err = s.mapError(closeErr)
	}
	return err
}

// Stats are figures for metrics and status.
type Stats struct {
	Corruptions      uint64 // errors marked ErrCorrupt, to callers and in the background
	BackgroundErrors uint64 // flushes and compactions that failed
	ReadOnly         error  // why the store turned read-only, or nil
	Waits            bool   // for room on a full disk
	DiskBytes        uint64 // of live tables, blobs and logs
	CacheHits        int64
	CacheMisses      int64
}

// Stats returns the present figures. On a closed store it returns zeroes.
func (s *Store) Stats() Stats {
	if s.enter() != nil {
		return Stats{}
	}
	defer s.leave()
	m := s.db.Metrics()
	return Stats{
		Corruptions:      s.corruptions.Load(),
		BackgroundErrors: s.log.background.Load(),
		ReadOnly:         s.fs.Err(),
		Waits:            s.fs.Waits(),
		DiskBytes:        m.DiskSpaceUsage(),
		CacheHits:        m.BlockCache.Hits,
		CacheMisses:      m.BlockCache.Misses,
	}
}
