package engine

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
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

// lateKV holds an Update back that has committed, as a goroutine that is not
// scheduled does.
type lateKV struct {
	meta.Store
	hold  atomic.Pointer[chan struct{}]
	held  chan struct{}
	syncs atomic.Int64
}

func (k *lateKV) Update(ctx context.Context, fn func(meta.Txn) error) error {
	hold := k.hold.Swap(nil)
	err := k.Store.Update(ctx, fn)
	if hold != nil {
		k.held <- struct{}{}
		<-*hold
	}
	return err
}

func (k *lateKV) Sync(ctx context.Context) error {
	k.syncs.Add(1)
	return k.Store.Sync(ctx)
}

// What can be seen is made durable, though who did it does not know it yet.
func TestWhatIsSeenBeforeItIsCountedIsMadeDurable(t *testing.T) {
	late := &lateKV{held: make(chan struct{})}
	k, _ := newStack(t, func(k *stack) {
		k.wrapKV = func(s meta.Store) meta.Store { late.Store = s; return late }
	})
	if err := k.s.durable(bg); err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	late.hold.Store(&hold)
	done := make(chan error)
	go func() {
		_, _, _, err := k.s.createBucket(bg, s3C, "test", objstore.CreateBucketRequest{Name: "seen", Mode: 0o755})
		done <- err
	}()
	<-late.held
	before := late.syncs.Load()
	if err := k.s.durable(bg); err != nil {
		t.Error(err)
	}
	if late.syncs.Load() == before {
		t.Error("a transaction that can be seen was not made durable")
	}
	close(hold)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if k.s.synced.Load() >= k.s.commits.Load() {
		t.Error("the transaction counts as durable for who made it before it is counted")
	}
}

// A Complete that is repeated names the parts that the object was made of. One that
// names others is no repetition: the upload that it means is gone.
func TestCompleteIsRepeatedWithTheSamePartsAlone(t *testing.T) {
	k, _ := newStack(t, nil)
	u := newUpload(t, k, "k")
	body := bytesOf(1, 5<<20)
	one, two, three := u.part("k", 1, body), u.part("k", 2, body), u.part("k", 3, body)
	made, err := u.complete("k", one, three)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := u.complete("k", one, three); err != nil || again.ETag != made.ETag {
		t.Error(again, err)
	}
	quoted := three
	quoted.ETag = `"` + quoted.ETag + `"`
	if _, err := u.complete("k", one, quoted); err != nil {
		t.Error("quoted:", err)
	}
	other := three
	other.ETag = "0123456789abcdef0123456789abcdef"
	for what, parts := range map[string][]objstore.CompletePart{
		"other numbers": {one, two}, "fewer": {one}, "more": {one, two, three}, "other ETag": {one, other}, "other order": {three, one},
	} {
		if _, err := u.complete("k", parts...); !objstore.IsKind(err, objstore.KindNoSuchUpload) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
