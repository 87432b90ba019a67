package iam

import (
	"context"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
)

var (
	bg  = context.Background()
	s3C = objstore.S3Caller("test")
)

func newService(t testing.TB) (*Service, *storetest.Store) {
	t.Helper()
	store := storetest.Open(t, storetest.Options{})
	return openService(t, store), store
}

func openService(t testing.TB, store *storetest.Store) *Service {
	t.Helper()
	s, err := Open(bg, store.Store, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reopened closes a store and opens it again.
func reopened(t testing.TB, s *Service, store *storetest.Store) *Service {
	t.Helper()
	store.Reopen(t)
	again := openService(t, store)
	again.now = s.now
	return again
}

func makeBucket(t testing.TB, s *Service, name string) {
	t.Helper()
	if _, err := s.store.CreateBucket(bg, s3C, objstore.CreateBucketRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
}
