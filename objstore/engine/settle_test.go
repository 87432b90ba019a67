package engine

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

func (k *stack) streams(t *testing.T) int {
	t.Helper()
	keys, err := k.s.keysOf(bg, record.StreamPrefix(), nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return len(keys)
}

// A few bytes that must be durable at once cost one barrier, that of the
// metadata; later they go where all data are, and nothing is left behind.
func TestSmallSyncedWritesGoThroughTheLog(t *testing.T) {
	k, root := newStack(t, nil)
	// What has two layers is never in a logged write.
	if err := k.s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: objstore.SSEDSSE}); err != nil {
		t.Fatal(err)
	}
	_, f, err := k.s.Create(bg, mountC, root, "log", 0o644, objstore.OpenFlags{Write: true}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close(bg)
	want := make([]byte, 1<<20)
	rand.Read(want)
	write := func(off, n int) {
		t.Helper()
		if _, err := f.WriteAt(bg, want[off:off+n], int64(off)); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(bg); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		got := make([]byte, len(want))
		if n, err := f.ReadAt(bg, got, 0); err != nil || n != len(want) || !bytes.Equal(got, want) {
			t.Fatalf("reads %d bytes, %v; right %v", n, err, bytes.Equal(got, want))
		}
	}
	write(0, len(want))
	if n := k.streams(t); n != 0 {
		t.Fatalf("%d bytes at once made %d logged extents", len(want), n)
	}
	ops := k.disk.Ops()
	for i := range 40 {
		write(i*20000, 1+i*100)
	}
	if k.disk.Ops() != ops {
		t.Error("small synced writes wrote to a segment")
	}
	if n := k.streams(t); n != 40 {
		t.Fatalf("%d logged extents, want 40", n)
	}
	check()
	write(0, extent.MaxLogged)
	write(100000, extent.MaxLogged+1)
	check()
	if err := k.s.settle(bg); err != nil {
		t.Fatal(err)
	}
	if n := k.streams(t); n != 0 {
		t.Fatalf("%d logged extents after settling", n)
	}
	check()
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
	write(5, 100)
	if err := k.s.Unlink(bg, mountC, root, "log"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	if err := k.s.reapGarbage(bg); err != nil {
		t.Fatal(err)
	}
	if n := k.streams(t); n != 0 {
		t.Fatalf("%d logged extents of a file that is gone", n)
	}
}
