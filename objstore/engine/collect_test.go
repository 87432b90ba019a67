package engine

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// unused returns how many sealed segments nothing points to.
func (k *stack) unused() (n int) {
	k.t.Helper()
	for info, err := range k.local.Segments(bg) {
		if err != nil {
			k.t.Fatal(err)
		}
		acct, err := k.s.segment(bg, record.SegmentID(info.ID))
		if err != nil {
			k.t.Fatal(err)
		}
		if info.Sealed && acct.Refs == 0 {
			n++
		}
	}
	return n
}

// putAndDelete leaves segments that nothing points to.
func (k *stack) putAndDelete() {
	k.t.Helper()
	for i := range 20 {
		put(k.t, k.s, fmt.Sprint("gone", i), bytesOf(uint64(i), 300_000))
	}
	for i := range 20 {
		if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: fmt.Sprint("gone", i)}); err != nil {
			k.t.Fatal(err)
		}
	}
	if err := k.s.reapGarbage(bg); err != nil {
		k.t.Fatal(err)
	}
	if err := k.s.Sync(bg); err != nil {
		k.t.Fatal(err)
	}
	if k.unused() < 4 {
		k.t.Fatalf("%d segments are unused", k.unused())
	}
}

// TestCollectorWorksBesideAppendsWithoutAPause: one append begins before the other
// ends, for as long as the store is in use.
func TestCollectorWorksBesideAppendsWithoutAPause(t *testing.T) {
	var gate atomic.Pointer[chan struct{}]
	begun := make(chan struct{}, 1)
	k, _ := newStack(t, func(k *stack) {
		k.segment = 1 << 20
		k.wrap = func(d data.Store) data.Store {
			return datatest.NewFaults(d, func(c datatest.Call) (f datatest.Fault) {
				if g := gate.Load(); g != nil && c.Op == "append" {
					f.Wait = *g
					begun <- struct{}{}
				}
				return f
			})
		}
	})
	k.putAndDelete()
	c := newCollector()
	var last chan struct{}
	ended := make(chan error, 10)
	for i := range 6 {
		g := make(chan struct{})
		gate.Store(&g)
		go func() {
			batch := k.s.extents.NewBatch()
			defer batch.Release()
			_, err := batch.Encrypt(bg, bytesOf(uint64(i), 1000))
			ended <- err
		}()
		<-begun
		if last != nil {
			close(last)
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
		last = g
		if err := k.s.collect(bg, c); err != nil {
			t.Fatal(err)
		}
	}
	if n := k.unused(); n > 0 {
		t.Errorf("%d segments are left that nothing points to", n)
	}
	close(last)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// TestCollectorFreesAFullDisk: what takes room, and fails for want of it, holds up
// nothing that gives room back.
func TestCollectorFreesAFullDisk(t *testing.T) {
	var full atomic.Bool
	k, root := newStack(t, func(k *stack) {
		k.segment = 1 << 20
		k.wrap = func(d data.Store) data.Store {
			return datatest.NewFaults(d, func(c datatest.Call) (f datatest.Fault) {
				if full.Load() && c.Op == "append" {
					f.Err = data.ErrNoSpace
				}
				return f
			})
		}
	})
	f := fileAt(t, k.s, root, "f")
	want := bytesOf(1, 20_000)
	mustWrite(t, f, want, 0)
	mustSync(t, f)
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	if k.streams(t) == 0 {
		t.Fatal("nothing is to be settled")
	}
	k.putAndDelete()
	full.Store(true)
	c := newCollector()
	for range 3 {
		if err := k.s.collect(bg, c); !objstore.IsKind(err, objstore.KindNoSpace) {
			t.Errorf("the collector says %v", err)
		}
	}
	if n := k.unused(); n > 0 {
		t.Errorf("%d segments are left that nothing points to", n)
	}
	full.Store(false)
	if err := k.s.collect(bg, c); err != nil {
		t.Error(err)
	}
	if n := k.streams(t); n != 0 {
		t.Errorf("%d extents were not settled", n)
	}
	same(t, "file", mustGet(t, k.s, "f"), want)
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// slowClient takes the first bytes and no more until it is told to.
type slowClient struct {
	bytes.Buffer
	begun, goOn chan struct{}
}

func (c *slowClient) Write(p []byte) (int, error) {
	if c.Len() == 0 {
		close(c.begun)
		<-c.goOn
	}
	return c.Buffer.Write(p)
}

// TestSlowClientKeepsWhatItReadsAndNothingElse: an object that is sent for hours
// keeps its own segments, whatever becomes of its name, and no others.
func TestSlowClientKeepsWhatItReadsAndNothingElse(t *testing.T) {
	k, _ := newStack(t, func(k *stack) { k.segment = 1 << 20 })
	want := bytesOf(7, 24<<20) // more than is read ahead
	put(t, k.s, "slow", want)
	client := &slowClient{begun: make(chan struct{}), goOn: make(chan struct{})}
	ended := make(chan error, 1)
	go func() {
		ended <- k.s.GetObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: "slow"}, func(o *Object) error {
			_, err := o.WriteTo(client)
			return err
		})
	}()
	<-client.begun
	if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: "slow"}); err != nil {
		t.Fatal(err)
	}
	k.putAndDelete()
	before := k.unused()
	c := newCollector()
	collect := func() {
		t.Helper()
		for range 3 {
			if err := k.s.collect(bg, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	collect()
	if n := k.unused(); n < 5 || n > before-4 {
		t.Errorf("%d segments were unused, %d still are, want those of one object", before, n)
	}
	close(client.goOn)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	same(t, "what the client has", client.Bytes(), want)
	collect()
	if n := k.unused(); n > 0 {
		t.Errorf("%d segments are left that nothing points to", n)
	}
}

// TestCollectorGoesOnWithoutWhatFails: a segment that cannot be removed, and one whose
// account is damaged, are left, and no other.
func TestCollectorGoesOnWithoutWhatFails(t *testing.T) {
	stays := errors.New("this one stays")
	var once atomic.Bool
	k, _ := newStack(t, func(k *stack) {
		k.segment = 1 << 20
		k.wrap = func(d data.Store) data.Store {
			return datatest.NewFaults(d, func(c datatest.Call) (f datatest.Fault) {
				if c.Op == "remove" && once.CompareAndSwap(false, true) {
					f.Err = stays
				}
				return f
			})
		}
	})
	k.putAndDelete()
	for info, err := range k.local.Segments(bg) {
		if err != nil {
			t.Fatal(err)
		}
		if info.Sealed {
			err := k.kv.Update(bg, func(x meta.Txn) error {
				x.Set(record.SegmentKey(record.SegmentID(info.ID)), []byte{0xff})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	c := newCollector()
	var told error
	for range 2 {
		told = k.s.collect(bg, c)
	}
	if told == nil {
		t.Error("the collector said nothing")
	}
	left := 0
	for info, err := range k.local.Segments(bg) {
		if err != nil {
			t.Fatal(err)
		}
		if info.Sealed {
			left++
		}
	}
	if left != 2 {
		t.Errorf("%d sealed segments are left, want the two that failed", left)
	}
}
