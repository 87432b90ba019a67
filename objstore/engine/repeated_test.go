package engine

import (
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// TestRepeatedRequestsAreDurable: what a request finds done already, and answers
// with success, may have been done a moment ago by one that still waits for it to
// be durable.
func TestRepeatedRequestsAreDurable(t *testing.T) {
	k, _ := newStack(t, nil)
	s := k.s
	u := newUpload(t, k, "k")
	part := u.part("k", 1, []byte("part"))
	if _, err := u.complete("k", part); err != nil {
		t.Fatal(err)
	}
	for what, repeat := range map[string]func() error{
		"complete": func() error {
			_, err := u.complete("k", part)
			return err
		},
		"delete configuration": func() error {
			err := s.DeleteBucketConfig(bg, s3C, "bucket", objstore.ConfigCORS)
			if objstore.IsKind(err, objstore.KindNoSuchConfig) {
				return nil
			}
			return err
		},
		"create bucket": func() error {
			_, err := s.CreateBucket(bg, s3C, objstore.CreateBucketRequest{Name: "bucket"})
			if objstore.IsKind(err, objstore.KindBucketExists) {
				return nil
			}
			return err
		},
	} {
		// Somebody's transaction has committed and is not durable.
		if _, _, _, err := s.createBucket(bg, s3C, "test", objstore.CreateBucketRequest{Name: "made-" + strings.Fields(what)[0], Mode: 0755}); err != nil {
			t.Fatal(what, err)
		}
		if s.synced.Load() >= s.commits.Load() {
			t.Fatal("nothing is to be made durable")
		}
		if err := repeat(); err != nil {
			t.Error(what, err)
		}
		if s.synced.Load() < s.commits.Load() {
			t.Errorf("%s: answered before it was durable", what)
		}
	}
}
