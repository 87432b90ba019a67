package fs

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data/localdata"
	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/meta/pebblekv"
)

// newStore makes a store on disk, of the parts that the daemon uses.
func newStore(t testing.TB) *engine.Store {
	t.Helper()
	return newStoreIn(t, t.TempDir())
}

func newStoreIn(t testing.TB, dir string) *engine.Store {
	t.Helper()
	ctx := context.Background()
	quiet := slog.New(slog.DiscardHandler)
	segments, err := localdata.Open(ctx, localdata.Options{Dir: filepath.Join(dir, "data"), Create: true, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	storeKey := secret.Random()
	kv, err := pebblekv.Open(ctx, pebblekv.Options{
		Dir: filepath.Join(dir, "meta"), Create: true, Logger: quiet,
		StoreKeys: map[uint32]*secret.Key{1: storeKey}, CurrentKey: 1,
		BeforeDurable: func() error { return segments.Sync(context.Background()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := kms.NewKeystore(kms.KeyFileUnlock(secret.Random()), func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Create(t.Context(), "sse-s3"); err != nil {
		t.Fatal(err)
	}
	o := engine.Options{Meta: kv, Data: segments, KMS: keys}
	rand.Read(o.StoreID[:])
	if err := engine.Initialise(ctx, o); err != nil {
		t.Fatal(err)
	}
	s, err := engine.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []func() error{s.Close, kv.Close, segments.Close, keys.Close} {
			if err := c(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

var s3 = objstore.S3Caller("test")

// put stores an object as the S3 door does, and waits as it does.
func (m *mounted) put(t testing.TB, key, content string) {
	t.Helper()
	_, err := m.store.PutObject(t.Context(), s3, objstore.PutRequest{
		Bucket: testBucket, Key: key, Body: strings.NewReader(content), Size: int64(len(content)),
	})
	if err != nil {
		t.Errorf("put %q: %v", key, err)
	}
	if err := m.store.WaitWatchers(t.Context()); err != nil {
		t.Error(err)
	}
}

// del deletes an object as the S3 door does.
func (m *mounted) del(t testing.TB, key string) {
	t.Helper()
	if _, err := m.store.DeleteObject(t.Context(), s3, objstore.DeleteRequest{Bucket: testBucket, Key: key}); err != nil {
		t.Errorf("delete %q: %v", key, err)
	}
	if err := m.store.WaitWatchers(t.Context()); err != nil {
		t.Error(err)
	}
}

// get returns an object as the S3 door shows it.
func (m *mounted) get(t testing.TB, key string) []byte {
	t.Helper()
	var b bytes.Buffer
	err := m.store.GetObject(t.Context(), s3, objstore.GetRequest{Bucket: testBucket, Key: key}, func(o *engine.Object) error {
		_, err := o.WriteTo(&b)
		return err
	})
	if err != nil {
		t.Errorf("get %q: %v", key, err)
	}
	return b.Bytes()
}
