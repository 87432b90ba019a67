package pebblekv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore/meta"
)

var testKeys = map[uint32]*secret.Key{1: secret.Random()}

func testOptions(fs vfs.FS, dir string) Options {
	if mem, ok := fs.(*vfs.MemFS); ok {
		fs = memFS{mem}
	}
	return Options{
		Dir: dir, FS: fs, StoreKeys: testKeys, CurrentKey: 1,
		CacheBytes: 1 << 20, MemTableBytes: minMemTableBytes, holdBytes: 32 << 10, aheadBytes: 1 << 10,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

func mustOpen(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func create(o Options) Options { o.Create = true; return o }

func set(t testing.TB, s *Store, key, value string) {
	t.Helper()
	err := s.Update(context.Background(), func(tx meta.Txn) error {
		tx.Set([]byte(key), []byte(value))
		return nil
	})
	if err != nil {
		t.Fatalf("set %q: %v", key, err)
	}
}

func get(t testing.TB, s *Store, key string) string {
	t.Helper()
	var value string
	err := s.View(context.Background(), func(r meta.Reader) error {
		v, err := r.Get([]byte(key))
		value = string(v)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		return "<none>"
	}
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return value
}

func TestStoreKeepsWhatWasCommittedOverCloseAndOpen(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"memory": vfs.NewMem(), "disk": nil} {
		t.Run(name, func(t *testing.T) {
			dir := "/db"
			if fs == nil {
				dir = t.TempDir()
			}
			o := testOptions(fs, dir)
			s := mustOpen(t, create(o))
			for round := range 4 {
				for i := range 500 {
					set(t, s, fmt.Sprintf("key-%d-%d", round, i), fmt.Sprintf("value-%d", i))
				}
				if err := s.Close(); err != nil {
					t.Fatalf("close: %v", err)
				}
				s = mustOpen(t, o)
				for r := range round + 1 {
					for i := range 500 {
						if got, want := get(t, s, fmt.Sprintf("key-%d-%d", r, i)), fmt.Sprintf("value-%d", i); got != want {
							t.Fatalf("round %d: got %q, want %q", round, got, want)
						}
					}
				}
			}
			if err := s.Close(); err != nil {
				t.Fatalf("close: %v", err)
			}
		})
	}
}

func otherKeys(id uint32) map[uint32]*secret.Key {
	return map[uint32]*secret.Key{id: secret.Random()}
}

// fixedKeys are keys that two processes of a test share.
func fixedKeys(t testing.TB) map[uint32]*secret.Key {
	t.Helper()
	k, err := secret.New(make([]byte, secret.Size))
	if err != nil {
		t.Fatal(err)
	}
	return map[uint32]*secret.Key{1: k}
}
