package engine

import (
	"sync"
	"testing"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data/localdata"
	"github.com/cofferfs/coffer/objstore/meta"
)

// treeStore opens a store whose metadata are in memory, for tests of names.
func treeStore(t testing.TB) (*Store, *memMeta) {
	t.Helper()
	m := newMemMeta()
	return openOver(t, m), m
}

// openOver makes and opens a store over empty metadata, without a periodic flush.
func openOver(t testing.TB, m meta.Store) *Store {
	t.Helper()
	d, err := localdata.Open(bg, localdata.Options{Dir: t.TempDir(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	keys, err := kms.NewKeystore(kms.KeyFileUnlock(secret.Random()), func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Create(bg, EKSSES3); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	o := Options{Meta: m, Data: d, KMS: keys, StoreID: [16]byte{1}, FlushInterval: -1}
	if err := Initialise(bg, o); err != nil {
		t.Fatal(err)
	}
	s, err := Open(bg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// changesOf returns what the watchers were told of fn.
func changesOf(t testing.TB, s *Store, fn func()) []objstore.Change {
	t.Helper()
	var mu sync.Mutex
	var list []objstore.Change
	stop := s.Watch(func(c []objstore.Change) {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, c...)
	})
	fn()
	if err := s.WaitWatchers(bg); err != nil {
		t.Fatal(err)
	}
	stop()
	mu.Lock()
	defer mu.Unlock()
	return list
}
