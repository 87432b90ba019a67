// Package storetest makes stores for the tests of what stands on the engine.
package storetest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore/data/localdata"
	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/meta/pebblekv"
)

// Options say how a Store differs from the daemon's. The zero value works.
type Options struct {
	// FreeSpace is the room on the disk, in bytes; nil: the disk's own.
	FreeSpace func() (uint64, error)
	// Engine changes what the engine is opened with; nil: nothing.
	Engine func(*engine.Options)
}

// Store is a new store in a directory of the test, of the parts that the daemon
// has. The test's end closes it.
type Store struct {
	*engine.Store
	Options engine.Options // of Store
	Dir     string
}

// Open makes a store and opens it.
func Open(t testing.TB, o Options) *Store {
	t.Helper()
	ctx := context.Background()
	s := &Store{Dir: t.TempDir()}
	quiet := slog.New(slog.DiscardHandler)
	segments, err := localdata.Open(ctx, localdata.Options{Dir: filepath.Join(s.Dir, "data"), Create: true, FreeSpace: o.FreeSpace, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, segments.Close)
	kv, err := pebblekv.Open(ctx, pebblekv.Options{
		Dir: filepath.Join(s.Dir, "meta"), Create: true, Logger: quiet,
		StoreKeys: map[uint32]*secret.Key{1: secret.Random()}, CurrentKey: 1,
		BeforeDurable: func() error { return segments.Sync(ctx) },
	})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, kv.Close)
	keys, err := kms.NewKeystore(kms.KeyFileUnlock(secret.Random()), func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	closing(t, keys.Close)
	for _, id := range []kms.KeyID{engine.EKStore, engine.EKSSES3} {
		if err := keys.Create(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	s.Options = engine.Options{Meta: kv, Data: segments, KMS: keys}
	rand.Read(s.Options.StoreID[:])
	if o.Engine != nil {
		o.Engine(&s.Options)
	}
	if err := engine.Initialise(ctx, s.Options); err != nil {
		t.Fatal(err)
	}
	s.open(t)
	return s
}

// Appended is how many bytes have been appended to segments.
func (s *Store) Appended() uint64 {
	return s.Options.Data.(*localdata.Store).Stats().AppendedBytes
}

// Reopen closes the engine and opens it again, with Options as they are by then.
// The parts below it stay open.
func (s *Store) Reopen(t testing.TB) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.open(t)
}

func (s *Store) open(t testing.TB) {
	t.Helper()
	opened, err := engine.Open(context.Background(), s.Options)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, opened.Close)
	s.Store = opened
}

func closing(t testing.TB, end func() error) {
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
