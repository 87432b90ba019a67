package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/meta"
)

// TestFailedCommitIsToldOnceToEachFile: what could not be committed is lost, all
// who have the file open hear of it once by a flush and once by a sync, and what was
// there before stays.
func TestFailedCommitIsToldOnceToEachFile(t *testing.T) {
	for _, effect := range []datatest.Effect{datatest.Nothing, datatest.All, datatest.Part} {
		for _, size := range []int{100, 100_000, 9 << 20} {
			for _, before := range []int{0, 200, 50_000} {
				for _, at := range []string{"append", "meta"} {
					for _, how := range []string{"flush", "background", "read"} {
						if at == "append" && size == 100 && before != 50_000 || at == "meta" && effect != datatest.Nothing || size > 1<<20 && how != "flush" {
							continue
						}
						if raceDetector && !long && size > 1<<20 && before > 0 {
							continue
						}
						name := fmt.Sprintf("%d over %d, %s %d, %s", size, before, at, effect, how)
						t.Run(name, func(t *testing.T) { failCommit(t, effect, size, before, at, how) })
					}
				}
			}
		}
	}
}

func failCommit(t *testing.T, effect datatest.Effect, size, before int, at, how string) {
	var broken atomic.Bool
	g := &gateKV{}
	k, root := newStack(t, func(k *stack) {
		k.wrap = func(d data.Store) data.Store {
			return datatest.NewFaults(d, func(c datatest.Call) (f datatest.Fault) {
				if c.Op == "append" && broken.Load() {
					f.Err, f.Effect = data.ErrNoSpace, effect
				}
				return f
			})
		}
		k.wrapKV = func(s meta.Store) meta.Store { g.Store = s; return g }
	})
	f1, f2 := fileAt(t, k.s, root, "f"), fileAt(t, k.s, root, "f")
	old := bytesOf(1, before)
	if before > 0 {
		mustWrite(t, f1, old, 0)
	}
	if err := f1.Sync(bg); err != nil {
		t.Fatal(err)
	}
	// What is in memory of it must not be needed.
	f1.n.mu.Lock()
	f1.n.inline = nil
	f1.n.mu.Unlock()
	if at == "append" {
		broken.Store(true)
	} else {
		g.failWith(meta.ErrNoSpace)
	}
	lost := bytesOf(2, size)
	_, err := f1.WriteAt(bg, lost, int64(before/2))
	if err == nil {
		switch how {
		case "background":
			err = k.s.Sync(bg)
		case "read":
			_, err = f2.ReadAt(bg, make([]byte, 10), int64(before/2))
		default:
			err = f1.Flush(bg)
		}
	}
	if !objstore.IsKind(err, objstore.KindNoSpace) {
		t.Fatalf("the commit failed with %v", err)
	}
	broken.Store(false)
	g.failWith(nil)
	told := 0
	for _, f := range []*File{f1, f2} {
		for range 2 {
			if err := f.Flush(bg); err != nil {
				if !objstore.IsKind(err, objstore.KindNoSpace) {
					t.Errorf("told of %v", err)
				}
				told++
			}
		}
	}
	if want := map[string]int{"flush": 1, "background": 2, "read": 2}[how]; told != want && !(size > 1<<20 && told == 2) {
		t.Errorf("told %d times, want %d", told, want)
	}
	// Whoever closes a File that it inherited hears of it in the place of who syncs.
	for i, f := range []*File{f1, f2} {
		if err := f.Sync(bg); !objstore.IsKind(err, objstore.KindNoSpace) {
			t.Errorf("a sync of file %d, which flushes were told of: %v", i, err)
		}
		if err := f.Sync(bg); err != nil {
			t.Errorf("a second sync of file %d: %v", i, err)
		}
	}
	a, err := k.s.GetAttr(bg, f1.Inode())
	if err != nil || a.Size != int64(before) {
		t.Errorf("size is %d, %v", a.Size, err)
	}
	same(t, "file", readAll(t, f2), old)
	if n := k.s.buffered.Load(); n != 0 {
		t.Errorf("%d bytes are accounted for", n)
	}
	// There is room again.
	mustWrite(t, f2, lost, int64(before))
	want := append(old[:before:before], lost...)
	same(t, "file with more", readAll(t, f1), want)
	for _, f := range []*File{f1, f2} {
		if err := f.Close(bg); err != nil {
			t.Error(err)
		}
	}
	k.reopen()
	same(t, "object", mustGet(t, k.s, "f"), want)
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// TestFailedCommitAndFailedReadKeepWhatWasThere: when the record cannot be read
// after a failed commit either, the node still knows what is committed.
func TestFailedCommitAndFailedReadKeepWhatWasThere(t *testing.T) {
	k, root, g := gatedStack(t)
	f := fileAt(t, k.s, root, "f")
	defer f.Close(bg)
	old := bytesOf(1, 1000)
	mustWrite(t, f, old, 0)
	if err := f.Flush(bg); err != nil {
		t.Fatal(err)
	}
	g.failWith(meta.ErrNoSpace)
	mustWrite(t, f, bytesOf(2, 50_000), 10_000)
	g.failViews(errors.New("the disk does not answer"))
	k.s.cache.mu.Lock()
	clear(k.s.cache.m)
	k.s.cache.mu.Unlock()
	if err := f.Flush(bg); err == nil {
		t.Fatal("no failure")
	}
	g.failViews(nil)
	g.failWith(nil)
	same(t, "file", readAll(t, f), old)
}

// TestSetAsideThatFailsButIsThere: a file goes on with the content that it has by
// now, whose key was given up with the commit.
func TestSetAsideThatFailsButIsThere(t *testing.T) {
	for _, size := range []int{1000, 100_000} {
		kv := &faultKV{}
		k, root := newStack(t, func(k *stack) {
			k.wrapKV = func(s meta.Store) meta.Store { kv.Store = s; return kv }
		})
		k.versioning(objstore.VersioningEnabled)
		old := bytesOf(1, size)
		info := put(t, k.s, "f", old)
		f := fileAt(t, k.s, root, "f")
		failed := 0
		for pass := range int64(3) {
			mustWrite(t, f, bytesOf(uint64(pass)+2, 100), 50)
			kv.set(pass, 1, true)
			if err := f.Flush(bg); err != nil {
				failed++
			}
			kv.set(0, 0, false)
			same(t, "file", readAll(t, f), mustGet(t, k.s, "f"))
		}
		if failed == 0 {
			t.Error("no commit failed")
		}
		if err := f.Close(bg); err != nil {
			t.Error(err)
		}
		p, _, err := get(k.s, objstore.GetRequest{Key: "f", Version: info.Version})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "version", p, old)
		if err := checkStore(k.s); err != nil {
			t.Error(err)
		}
	}
}

// TestSyncAfterCommitThatFailsButIsThere: what a file is seen to hold is durable
// after a sync, however it came there.
func TestSyncAfterCommitThatFailsButIsThere(t *testing.T) {
	kv := &faultKV{}
	k, root := newStack(t, func(k *stack) {
		k.wrapKV = func(s meta.Store) meta.Store { kv.Store = s; return kv }
	})
	f := fileAt(t, k.s, root, "f")
	defer f.Close(bg)
	mustWrite(t, f, bytesOf(1, 1000), 0)
	mustSync(t, f)
	want := bytesOf(2, 1000)
	mustWrite(t, f, want, 0)
	kv.set(0, 1, true)
	if err := f.Flush(bg); err == nil {
		t.Fatal("no failure")
	}
	kv.set(0, 0, false)
	same(t, "file", readAll(t, f), want)
	if err := f.Sync(bg); !errors.Is(err, errFault) { // whoever flushed may be somebody else
		t.Fatalf("sync after a commit that failed: %v", err)
	}
	mustSync(t, f)
	c := k.crash(nil, 0)
	if err := c.open(false); err != nil {
		t.Fatal(err)
	}
	defer c.close()
	same(t, "object", mustGet(t, c.s, "f"), want)
}

// TestFailedRequestLeavesNothing: bodies that fail in every way.
func TestFailedRequestLeavesNothing(t *testing.T) {
	stop := errors.New("the door's own error")
	const big = 300 << 20 // more than a step of 64 extents
	for name, c := range map[string]struct {
		have, want int64
		fail       error // after have bytes
		verify     error
	}{
		"short, inline": {have: 10, want: 11},
		"long, inline":  {have: 11, want: 10},
		"short":         {have: 100_000, want: 100_001},
		"long":          {have: 100_001, want: 100_000},
		"error":         {have: 100_000, want: 200_000, fail: stop},
		"verify":        {have: 100_000, want: 100_000, verify: stop},
		"verify small":  {have: 100, want: 100, verify: stop},
		"after steps":   {have: big, want: big + 1},
		"error later":   {have: big, want: -1, fail: stop},
	} {
		t.Run(name, func(t *testing.T) {
			if c.have == big && !long && name != "after steps" {
				t.Skip("long")
			}
			k, _ := newStack(t, func(k *stack) {
				k.wrap = func(d data.Store) data.Store { return &sink{Store: d} }
			})
			old := put(t, k.s, "o", bytesOf(1, 50_000))
			body := func() *failReader { return &failReader{n: c.have, err: c.fail} }
			check := func(err error) {
				t.Helper()
				switch {
				case c.fail != nil || c.verify != nil:
					if !errors.Is(err, stop) {
						t.Errorf("error is %v", err)
					}
				case !objstore.IsKind(err, objstore.KindMalformed):
					t.Errorf("error is %v", err)
				}
			}
			var verify func(checksum.Sums) error
			if c.verify != nil {
				verify = func(checksum.Sums) error { return c.verify }
			}
			_, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "o", Body: body(), Size: c.want, Verify: verify})
			check(err)
			if c.have == big && !long {
				nothingLeft(t, k, old)
				return
			}
			up, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: "p"})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{
				Bucket: "bucket", Key: "p", Upload: up.ID, Number: 1, Body: body(), Size: c.want, Verify: verify,
			})
			check(err)
			if err := k.s.AbortUpload(bg, s3C, "bucket", "p", up.ID); err != nil {
				t.Error(err)
			}
			nothingLeft(t, k, old)
		})
	}
}

// nothingLeft checks that there is one object, o, and nothing else.
func nothingLeft(t *testing.T, k *stack, o objstore.ObjectInfo) {
	t.Helper()
	if len(k.s.busy.m) != 0 {
		t.Error("something is still busy")
	}
	if err := k.s.reapGarbage(bg); err != nil {
		t.Fatal(err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
	countRecords(t, k.s, map[byte]int{'e': 1, 'g': 0, 'p': 0, 'u': 0, 'i': 3})
	info, err := k.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: "o"})
	if err != nil || info.ETag != o.ETag {
		t.Errorf("the object is %+v, %v", info, err)
	}
}

type failReader struct {
	n   int64
	err error
}

func (r *failReader) Read(p []byte) (int, error) {
	if r.n == 0 {
		if r.err != nil {
			return 0, r.err
		}
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), r.n))
	clear(p[:n])
	r.n -= int64(n)
	return n, nil
}

// sink keeps large appends to their first bytes, so that long bodies cost no
// memory in tests that do not read them.
type sink struct{ data.Store }

func (s *sink) Append(ctx context.Context, p []byte) (data.Location, error) {
	if len(p) < 1<<20 {
		return s.Store.Append(ctx, p)
	}
	l, err := s.Store.Append(ctx, p[:64])
	l.Length = uint32(len(p))
	return l, err
}

// TestOperationsAfterCloseAreRefused: no panic, whatever is still held.
func TestOperationsAfterCloseAreRefused(t *testing.T) {
	k, root := newStack(t, nil)
	want := bytesOf(1, 100_000)
	f := fileAt(t, k.s, root, "f")
	mustWrite(t, f, want, 0)
	up, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: "p"})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := k.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// What was written is committed; it can still be read.
	same(t, "file", readAll(t, f), want)
	same(t, "object", mustGet(t, k.s, "f"), want)
	for name, op := range map[string]func() error{
		"write":    func() error { _, err := f.WriteAt(bg, want, 0); return err },
		"append":   func() error { _, err := f.Append(bg, want); return err },
		"truncate": func() error { return f.Truncate(bg, 1) },
		"put": func() error {
			_, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "o", Body: &failReader{n: 100_000}, Size: 100_000})
			return err
		},
		"delete": func() error {
			_, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: "f"})
			return err
		},
		"copy": func() error {
			_, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "f", DstBucket: "bucket", DstKey: "g"})
			return err
		},
		"part": func() error {
			_, _, err := k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{Bucket: "bucket", Key: "p", Upload: up.ID, Number: 1, Body: &failReader{n: 100}, Size: 100})
			return err
		},
		"abort":   func() error { return k.s.AbortUpload(bg, s3C, "bucket", "p", up.ID) },
		"setting": func() error { return k.s.SetSetting(bg, "a", []byte("b")) },
		"unlink":  func() error { return k.s.Unlink(bg, mountC, root, "f") },
		"create": func() error {
			_, _, err := k.s.Create(bg, mountC, root, "new", 0o644, objstore.OpenFlags{Write: true}, false)
			return err
		},
	} {
		if err := op(); !objstore.IsKind(err, objstore.KindShutdown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := f.Close(bg); err != nil {
		t.Errorf("close: %v", err)
	}
}
