package engine

import (
	"bytes"
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// busyKV has something happen before each snapshot in which nothing is logged.
type busyKV struct {
	meta.Store
	left  atomic.Int64 // how often
	do    func()
	doing atomic.Bool
}

func (b *busyKV) View(ctx context.Context, fn func(meta.Reader) error) error {
	if b.left.Load() > 0 && b.doing.CompareAndSwap(false, true) {
		logged := false
		if err := b.Store.View(ctx, func(r meta.Reader) error {
			for range r.Scan(meta.Prefix(record.LoggedPrefix())) {
				logged = true
			}
			return nil
		}); err != nil {
			return err
		}
		if !logged {
			b.left.Add(-1)
			b.do()
		}
		b.doing.Store(false)
	}
	return b.Store.View(ctx, fn)
}

// A file that is synced all the time can be copied from and appended to: the sync
// waits until the source was looked at.
func TestSourceThatIsSyncedAllTheTime(t *testing.T) {
	for name, do := range map[string]func(s *Store, size int64) error{
		"copy": func(s *Store, size int64) error {
			_, err := s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "f", DstBucket: "bucket", DstKey: "g"})
			return err
		},
		"copy part": func(s *Store, size int64) error {
			up, err := s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: "g"})
			if err != nil {
				return err
			}
			part, _, err := s.CopyPart(bg, s3C, objstore.CopyPartRequest{SrcBucket: "bucket", SrcKey: "f", Bucket: "bucket", Key: "g", Upload: up.ID, Number: 1})
			if err != nil {
				return err
			}
			_, err = s.CompleteUpload(bg, s3C, objstore.CompleteRequest{
				Bucket: "bucket", Key: "g", Upload: up.ID, Size: -1, Parts: []objstore.CompletePart{{Number: 1, ETag: part.ETag}},
			})
			return err
		},
		"append": func(s *Store, size int64) error {
			_, err := s.AppendObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "f", Body: bytes.NewReader([]byte("more")), Size: 4, Offset: size})
			if err != nil {
				return err
			}
			_, err = s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "f", DstBucket: "bucket", DstKey: "g"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := &busyKV{}
			k, root := newStack(t, func(k *stack) {
				k.wrapKV = func(s meta.Store) meta.Store { b.Store = s; return b }
			})
			f, want := newLogged(t, k, root, 100_000)
			defer f.Close(bg)
			seed, states := uint64(2), [][]byte{bytes.Clone(want)}
			b.do = func() {
				if !f.n.commitMu.TryLock() {
					return // a sync would wait
				}
				f.n.commitMu.Unlock()
				seed++
				want = changeLogged(t, f, want, seed, 5, 100)
				states = append(states, bytes.Clone(want))
			}
			b.left.Store(3)
			err := do(k.s, int64(len(want)))
			for objstore.IsKind(err, objstore.KindConflict) {
				err = do(k.s, int64(len(want)))
			}
			if err != nil {
				t.Fatal(err)
			}
			b.left.Store(0)
			if len(states) == 1 {
				t.Fatal("nothing happened meanwhile")
			}
			got := bytes.TrimSuffix(mustGet(t, k.s, "g"), []byte("more"))
			if !slices.ContainsFunc(states, func(p []byte) bool { return bytes.Equal(p, got) }) {
				t.Error("the copy is no state of the source")
			}
			if err := checkStore(k.s); err != nil {
				t.Error(err)
			}
		})
	}
}
