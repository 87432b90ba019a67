package fs

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine"
)

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
