package engine

import (
	"context"
	"log/slog"
	"time"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/meta"
)

// Options are what a Store is made of. Meta, Data, KMS and StoreID must be set.
type Options struct {
	Meta    meta.Store
	Data    data.Store
	KMS     kms.Service
	StoreID [16]byte
	// StatFS gives the figures of the disk; nil: a large disk.
	StatFS func() (objstore.StatFS, error)
	// ReadOnly refuses every change.
	ReadOnly bool
	// Now is the clock for times that are stored; nil: time.Now.
	Now func() time.Time
	// Logger takes what an operator should see; nil: none.
	Logger *slog.Logger
	// WriteBufferBytes bounds the plaintext that waits in memory, over all open
	// files. 0: 64 MiB.
	WriteBufferBytes int64
	// FlushInterval bounds how long a change stays undurable when nobody asks
	// for more. 0: 2 s.
	FlushInterval time.Duration
	// GraceSeconds before an unreferenced segment is removed. 0: 60.
	Grace time.Duration
}

// Store is an open store. All methods may be called concurrently.
type Store struct {
	o Options
}

// Initialise writes the root record of a new store into an empty metadata
// store and makes it durable. Open must follow.
func Initialise(ctx context.Context, o Options) error { return todo("initialise") }

// Open opens a store that Initialise made, checks its root record, and starts
// its background work: periodic flush, clean-up of what a crash left, garbage
// collection.
func Open(ctx context.Context, o Options) (*Store, error) { return nil, todo("open") }

// Close commits every open file, makes everything durable, stops the
// background work and returns the first error. It does not close Meta, Data or
// KMS. It is idempotent.
func (s *Store) Close() error { return todo("close") }

// Sync commits every open file's buffer and makes all of history durable.
func (s *Store) Sync(ctx context.Context) error { return todo("sync") }

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
func (s *Store) Usage(ctx context.Context) (Usage, error) { return Usage{}, todo("usage") }

// StatFS returns the figures of the disk.
func (s *Store) StatFS(ctx context.Context) (objstore.StatFS, error) {
	return objstore.StatFS{}, todo("statfs")
}

// Watch calls fn with every Change that commits from now on, from one
// goroutine, in commit order, holding no lock. Changes of one inode or entry
// may be merged. stop returns when fn will not be called again.
//
// WaitWatchers returns when every change committed before the call was handed
// to all watchers and they returned, or ctx ended.
func (s *Store) Watch(fn func([]objstore.Change)) (stop func()) { return func() {} }

// WaitWatchers: see Watch.
func (s *Store) WaitWatchers(ctx context.Context) error { return nil }

// Setting returns a small named secret that is sealed in the store (S3
// credentials, TLS keys), or KindNotFound.
func (s *Store) Setting(ctx context.Context, name string) ([]byte, error) {
	return nil, todo("setting")
}

// SetSetting seals and stores a small secret (at most 64 KiB) and makes it durable.
func (s *Store) SetSetting(ctx context.Context, name string, value []byte) error {
	return todo("set setting")
}

func todo(op string) error {
	return objstore.E(objstore.KindNotSupported, op, "", "not built yet")
}
