package engine

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// TestFullDiskIsCompacted: where each segment holds something that is alive, what
// was deleted gives no room back before the rest has gone elsewhere.
func TestFullDiskIsCompacted(t *testing.T) {
	const capacity, segment = 40 << 20, 2 << 20
	var free atomic.Uint64
	free.Store(1 << 40)
	k, _ := newStack(t, func(k *stack) {
		k.segment, k.reserve, k.spare = segment, 1<<20, segment/2+segment/8
		k.disk.SetCapacity(capacity)
		k.free = func() (uint64, error) { return free.Load(), nil }
	})
	fill := func(prefix string) (n int) {
		for ; ; n++ {
			key := fmt.Sprint(prefix, n)
			_, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: key, Body: &failReader{n: 150_000}, Size: 150_000})
			if objstore.IsKind(err, objstore.KindNoSpace) {
				return n
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	n := fill("old")
	if n < 150 {
		t.Fatalf("%d objects filled the disk", n)
	}
	free.Store(30 << 20) // the metadata take what deletes something, and nothing else
	for i := range n {
		if i%5 < 3 {
			if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: fmt.Sprint("old", i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := k.s.reapAll(bg); err != nil {
		t.Fatal(err)
	}
	c := newCollector()
	for range 60 {
		if err := k.s.collect(bg, c); err != nil && !objstore.IsKind(err, objstore.KindNoSpace) {
			t.Fatal(err)
		}
	}
	free.Store(1 << 40)
	if again := fill("new"); again < n/2 {
		t.Errorf("after three fifths of %d objects were deleted there was room for %d", n, again)
	}
	for i := range n {
		if i%5 >= 3 && len(mustGet(t, k.s, fmt.Sprint("old", i))) != 150_000 {
			t.Errorf("object %d", i)
		}
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}
