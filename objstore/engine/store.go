package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/engine/keyring"
	"github.com/cofferfs/coffer/objstore/engine/watch"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Options are what a Store is made of. Meta, Data, KMS and StoreID must be set.
type Options struct {
	Meta    meta.Store
	Data    data.Store
	KMS     kms.Service
	StoreID [16]byte
	// Region stands in the ARNs of keys. "": us-east-1.
	Region string
	// StatFS gives the figures of the disk; nil: a large disk.
	StatFS func() (objstore.StatFS, error)
	// ReadOnly refuses every change.
	ReadOnly bool
	// Now is the clock for times that are stored; nil: the system's, see stamp.
	Now func() time.Time
	// Logger takes what an operator should see; nil: none.
	Logger *slog.Logger
	// WriteBufferBytes bounds the plaintext that waits in memory, over all open
	// files; each file under way may exceed it by one buffer. 0: 64 MiB.
	WriteBufferBytes int64
	// FlushInterval bounds how long a change stays undurable when nobody asks
	// for more. 0: 2 s. Negative: never, for tests.
	FlushInterval time.Duration
	// Grace is how long an unreferenced segment stays. 0: 60 s.
	Grace time.Duration
	// CollectInterval is the time between looks for segments to remove or to
	// compact. 0: 15 s. Negative: never, for tests.
	CollectInterval time.Duration
	// LifecycleInterval is the time between looks for lifecycle rules that are due,
	// which they are once a day. 0: 10 min. Negative: never, for tests.
	LifecycleInterval time.Duration

	stamp func() objstore.Time // Now for what is stored
}

func (o *Options) defaults() {
	if o.Now == nil {
		o.Now, o.stamp = time.Now, stamp
	}
	if o.stamp == nil {
		now := o.Now
		o.stamp = func() objstore.Time { return objstore.TimeOf(now()) }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.WriteBufferBytes == 0 {
		o.WriteBufferBytes = 64 << 20
	}
	if o.FlushInterval == 0 {
		o.FlushInterval = 2 * time.Second
	}
	if o.Grace == 0 {
		o.Grace = time.Minute
	}
	if o.CollectInterval == 0 {
		o.CollectInterval = 15 * time.Second
	}
	if o.LifecycleInterval == 0 {
		o.LifecycleInterval = 10 * time.Minute
	}
}

func (o *Options) validate() error {
	if o.Meta == nil || o.Data == nil || o.KMS == nil || o.StoreID == ([16]byte{}) {
		return errors.New("engine: Meta, Data, KMS and StoreID must be set")
	}
	return nil
}

// encryptParallel bounds the buffers that are encrypted at once; each lends one
// stream buffer of 4 MiB.
const encryptParallel = 4

// Store is an open store. All methods may be called concurrently.
type Store struct {
	o       Options
	log     *slog.Logger
	extents *extent.Store
	nodes   *nodeTable
	cache   *cache
	fresh   *freshDirectories
	deks    *keyring.DataKeys
	lent    keyring.Lent
	watch   *watch.Hub
	losses  observers[func(objstore.InodeID)]
	keepers observers[Keeper]
	etagKey []byte

	finishing finishing

	renames   renames
	renameMu  sync.Mutex // see doc.go
	relieveMu sync.Mutex // one writer at a time frees memory

	lifecycleMu sync.Mutex // one run of lifecycle rules at a time; no lock is taken before it

	inodeMu   sync.Mutex       // guards the fields below
	nextInode objstore.InodeID // next to give out
	endInode  objstore.InodeID // reserved up to here

	versionMu   sync.Mutex // guards the fields below
	lastVersion uint64     // number of the last version that was made
	versionCeil uint64     // committed: no number after a restart is below it

	busy *busySet // contents that are being made under a garbage mark

	buffered    atomic.Int64 // bytes of plaintext in buffers
	windowed    atomic.Int64 // spans in mapWindows
	corruptions atomic.Uint64
	failed      atomic.Pointer[error] // see fail
	closed      atomic.Bool
	updating    atomic.Int64  // transactions under way: others may see what they did
	commits     atomic.Uint64 // transactions, to know whether a barrier is due
	synced      atomic.Uint64 // commits that were durable at the last barrier

	ingestStep int // the constants of these names; tests make them small
	shareStep  int

	lifecyclePage int // the constant

	encrypting chan struct{} // a place for each buffer that is being encrypted
	reap       chan struct{} // wakes the reaper

	orphansLeft atomic.Bool // some wait for the reaper
	stop        context.CancelFunc
	background  sync.WaitGroup
	closeOnce   sync.Once
	closeErr    error
}

// Initialise writes the root record of a new store into an empty metadata
// store and makes it durable. Open must follow. A store that has a root record
// is left as it is, when it is this one, so that a creation that was cut short
// can be repeated.
func Initialise(ctx context.Context, o Options) error {
	o.defaults()
	if err := o.validate(); err != nil {
		return err
	}
	now := o.stamp()
	root := record.Root{StoreID: o.StoreID, NextInode: objstore.RootInode + 1, ETagKey: make([]byte, 32), Created: now}
	rand.Read(root.ETagKey)
	dir := record.Inode{
		Type: objstore.TypeDirectory, Mode: 0o755, Nlink: 2, Explicit: true,
		Atime: now, Mtime: now, Ctime: now, Btime: now, Parent: objstore.RootInode,
	}
	err := o.Meta.Update(ctx, func(t meta.Txn) error {
		v, err := t.Get(record.RootKey())
		if err == nil {
			have, err := record.ParseRoot(v)
			if err == nil && have.StoreID != o.StoreID {
				err = fmt.Errorf("%w: the metadata belong to another store", record.ErrCorrupt)
			}
			return err
		}
		if !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		t.Set(record.RootKey(), root.Append(nil))
		t.Set(record.InodeKey(objstore.RootInode), dir.Append(nil))
		return nil
	})
	if err != nil {
		return fmt.Errorf("initialise the store: %w", err)
	}
	return o.Meta.Sync(ctx)
}

// Open opens a store that Initialise made, checks its root record before
// anything else, and starts its background work: periodic flush, clean-up of
// what a crash left, garbage collection.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.defaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Store{
		o: o, log: o.Logger,
		extents:    extent.New(o.Data),
		nodes:      newNodeTable(),
		cache:      newCache(),
		fresh:      newFreshDirectories(),
		deks:       keyring.NewDataKeys(o.Now),
		watch:      watch.New(),
		busy:       newBusySet(),
		ingestStep: ingestStep, shareStep: shareStep, lifecyclePage: lifecyclePage,
		encrypting: make(chan struct{}, encryptParallel),
		reap:       make(chan struct{}, 1),
	}
	err := s.view(ctx, "open", "the store", func(r reader) error {
		root, err := r.root()
		if err != nil {
			return err
		}
		if root.StoreID != o.StoreID {
			return fmt.Errorf("%w: the metadata belong to another store", record.ErrCorrupt)
		}
		s.etagKey = root.ETagKey
		s.nextInode, s.endInode = root.NextInode, root.NextInode
		s.lastVersion, s.versionCeil = root.VersionCeil, root.VersionCeil
		return nil
	})
	if err != nil {
		return nil, err
	}
	bg, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.background.Go(s.watch.Run)
	if !o.ReadOnly {
		s.background.Go(func() { s.runFlusher(bg) })
		s.background.Go(func() { s.runReaper(bg) })
		s.background.Go(func() { s.runCollector(bg) })
		s.background.Go(func() { s.runLifecycle(bg) })
	}
	return s, nil
}

// Close commits every open file, makes everything durable, stops the
// background work and returns the first error. It does not close Meta, Data or
// KMS. It is idempotent. Files that are still open fail from then on.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		if !s.o.ReadOnly {
			s.closeErr = s.Sync(context.Background())
		}
		s.closed.Store(true)
		s.stop()
		s.watch.Close()
		s.background.Wait()
		s.deks.Drop()
		s.lent.Drop()
	})
	return s.closeErr
}

// ID is the store's: what is sealed for one store is bound to it.
func (s *Store) ID() [16]byte { return s.o.StoreID }

func (s *Store) now() objstore.Time { return s.o.stamp() }

// inodeBlock is how many inode numbers are reserved at once. A crash loses what
// is left of the block.
const inodeBlock = 4096

// newInode returns an inode number that was never used. It must not be called
// within a transaction.
func (s *Store) newInode(ctx context.Context) (objstore.InodeID, error) {
	s.inodeMu.Lock()
	defer s.inodeMu.Unlock()
	if s.endInode == s.nextInode {
		err := s.update(ctx, objstore.Caller{}, "reserve inodes", "", func(x *tx) error {
			root, err := x.root()
			if err != nil {
				return err
			}
			s.nextInode = root.NextInode
			root.NextInode += inodeBlock
			x.txn.Set(record.RootKey(), root.Append(nil))
			return nil
		})
		if err != nil {
			s.nextInode = s.endInode
			return 0, err
		}
		s.endInode = s.nextInode + inodeBlock
	}
	s.nextInode++
	return s.nextInode - 1, nil
}

// newContentID returns 128 random bits.
func newContentID() (id objstore.ContentID) {
	rand.Read(id[:])
	return id
}

// Usage are figures about the store for status and metrics.
type Usage struct {
	OpenFiles     int
	BufferedBytes int64
	Segments      int
	SegmentBytes  int64
	LiveBytes     int64
	ReadOnly      bool
	// Corruptions counts reads that failed authentication since Open.
	Corruptions uint64
}

// Usage returns figures about the store.
func (s *Store) Usage(ctx context.Context) (Usage, error) {
	u := Usage{
		OpenFiles: s.nodes.count(), BufferedBytes: s.buffered.Load(),
		ReadOnly: s.o.ReadOnly, Corruptions: s.corruptions.Load(),
	}
	for info, err := range s.o.Data.Segments(ctx) {
		if err != nil {
			return u, s.wrap("usage", "", err)
		}
		u.Segments++
		u.SegmentBytes += int64(info.Size)
	}
	err := s.view(ctx, "usage", "", func(r reader) error {
		for p, err := range r.Scan(meta.Prefix(record.SegmentPrefix())) {
			if err != nil {
				return err
			}
			seg, err := record.ParseSegment(p.Value)
			if err != nil {
				return err
			}
			u.LiveBytes += seg.Live
		}
		return nil
	})
	return u, err
}

// StatFS returns the figures of the disk.
func (s *Store) StatFS(ctx context.Context) (objstore.StatFS, error) {
	if s.o.StatFS == nil {
		return objstore.StatFS{Total: 1 << 50, Free: 1 << 50, Available: 1 << 50, Inodes: 1 << 40, NameMax: objstore.MaxComponentLen}, nil
	}
	st, err := s.o.StatFS()
	if err != nil {
		return st, s.wrap("statfs", "", err)
	}
	st.NameMax = objstore.MaxComponentLen
	return st, nil
}
