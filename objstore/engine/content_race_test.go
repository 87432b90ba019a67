package engine

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/extent/extenttest"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// gateKV holds up Updates while it is shut.
type gateKV struct {
	meta.Store
	mu      sync.Mutex
	gate    chan struct{} // nil: open
	waiting chan struct{} // gets a token for each Update that waits
	fail    error         // of Updates
	views   error         // of Views
}

func (g *gateKV) View(ctx context.Context, fn func(meta.Reader) error) error {
	g.mu.Lock()
	fail := g.views
	g.mu.Unlock()
	if fail != nil {
		return fail
	}
	return g.Store.View(ctx, fn)
}

func (g *gateKV) Update(ctx context.Context, fn func(meta.Txn) error) error {
	g.mu.Lock()
	gate, fail := g.gate, g.fail
	g.mu.Unlock()
	if fail != nil {
		return fail
	}
	if gate != nil {
		g.waiting <- struct{}{}
		<-gate
	}
	return g.Store.Update(ctx, fn)
}

func (g *gateKV) failWith(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail = err
}

func (g *gateKV) failViews(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.views = err
}

// shut makes the Updates that begin from now on wait until open is called.
func (g *gateKV) shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	gate := make(chan struct{})
	g.gate = gate
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.gate = nil
		close(gate)
	}
}

func gatedStack(t *testing.T) (*stack, objstore.InodeID, *gateKV) {
	g := &gateKV{waiting: make(chan struct{}, 100)}
	k, root := newStack(t, func(k *stack) {
		k.wrapKV = func(s meta.Store) meta.Store { g.Store = s; return g }
	})
	return k, root, g
}

// TestStatDuringCommitShowsWhatWasWritten looks while a commit is under way,
// whose size is not in the record yet.
func TestStatDuringCommitShowsWhatWasWritten(t *testing.T) {
	for name, size := range map[string]int{"inline": 100, "chunks": 100_000} {
		t.Run(name, func(t *testing.T) {
			k, root, g := gatedStack(t)
			f := fileAt(t, k.s, root, "f")
			mustWrite(t, f, bytesOf(1, size), 0)
			open := g.shut()
			done := make(chan error)
			go func() { done <- f.Flush(bg) }()
			<-g.waiting
			a, err := k.s.GetAttr(bg, f.Inode())
			if err != nil || a.Size != int64(size) {
				t.Errorf("size is %d, %v", a.Size, err)
			}
			open()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			f.Close(bg)
		})
	}
}

func TestTimesSetDuringCommitStay(t *testing.T) {
	k, root, g := gatedStack(t)
	f := fileAt(t, k.s, root, "f")
	mustWrite(t, f, bytesOf(1, 100), 0)
	open := g.shut()
	done := make(chan error)
	go func() { done <- f.Flush(bg) }()
	<-g.waiting
	want := objstore.Time(12345)
	set := make(chan error)
	go func() {
		_, err := k.s.SetAttr(bg, mountC, f.Inode(), objstore.SetAttr{Mtime: &want})
		set <- err
	}()
	var setErr error
	select {
	case setErr = <-set: // kept for the next commit
		open()
	case <-g.waiting: // a commit of its own, behind the other
		open()
		setErr = <-set
	}
	if err := <-done; err != nil || setErr != nil {
		t.Fatal(err, setErr)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	k.reopen()
	a, err := k.s.GetAttr(bg, f.Inode())
	if err != nil || a.Mtime != want {
		t.Errorf("mtime is %d, %v", a.Mtime, err)
	}
}

// TestTimesOfUncommittedFileAreThoseOfItsChanges: ctime is when something was
// changed, whatever mtime was set to.
func TestTimesOfUncommittedFileAreThoseOfItsChanges(t *testing.T) {
	now := time.Unix(1000, 0)
	k, root := newStack(t, func(k *stack) { k.options.Now = func() time.Time { return now } })
	f := fileAt(t, k.s, root, "f")
	mustWrite(t, f, []byte("written"), 0)
	for _, set := range []time.Time{time.Unix(5, 0), time.Unix(1<<33, 0)} {
		now = now.Add(time.Second)
		mtime := objstore.TimeOf(set)
		a, err := k.s.SetAttr(bg, mountC, f.Inode(), objstore.SetAttr{Mtime: &mtime})
		if err != nil || a.Mtime != mtime || a.Ctime != objstore.TimeOf(now) {
			t.Errorf("set to %v at %v: %+v, %v", set, now, a, err)
		}
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	a, err := k.s.GetAttr(bg, f.Inode())
	if err != nil || a.Mtime != objstore.TimeOf(time.Unix(1<<33, 0)) || a.Ctime != objstore.TimeOf(now) {
		t.Errorf("committed at %v: %+v, %v", now, a, err)
	}
}

// TestSyncWaitsForCommitUnderWay: what was written before Sync is durable after
// it, even when a background commit holds it in between.
func TestSyncWaitsForCommitUnderWay(t *testing.T) {
	k, root, g := gatedStack(t)
	f := fileAt(t, k.s, root, "f")
	defer f.Close(bg)
	mustWrite(t, f, bytesOf(1, 100), 0)
	open := g.shut()
	done := make(chan error)
	go func() { done <- f.Flush(bg) }()
	<-g.waiting
	if !k.s.nodes.get(f.Inode()).dirty() { // what Sync goes by
		t.Error("Sync would not wait")
	}
	open()
	<-done
}

// TestUnlinkedFileKeepsWhatWasWritten: a temporary file without a name is still
// a file.
func TestUnlinkedFileKeepsWhatWasWritten(t *testing.T) {
	k, root := newStack(t, func(k *stack) { k.options.WriteBufferBytes = 100_000 })
	f := fileAt(t, k.s, root, "f")
	g, err := k.s.Open(bg, mountC, f.Inode(), objstore.OpenFlags{Read: true})
	if err != nil {
		t.Fatal(err)
	}
	want := bytesOf(1, 300_000)
	mustWrite(t, f, want[:1000], 0)
	if err := k.s.Unlink(bg, mountC, root, "f"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, want[1000:200_000], 1000)
	same(t, "unlinked", readAll(t, f), want[:200_000])
	if err := k.s.Sync(bg); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, want[200_000:], 200_000)
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	same(t, "unlinked, by another File", readAll(t, g), want)
	if err := g.Close(bg); err != nil {
		t.Fatal(err)
	}
	if err := k.s.reapGarbage(bg); err != nil {
		t.Fatal(err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
	if n := k.s.buffered.Load(); n != 0 {
		t.Errorf("%d bytes are still accounted for", n)
	}
	countRecords(t, k.s, map[byte]int{'o': 0, 'e': 0, 'g': 0})
}

func countRecords(t tester, s *Store, want map[byte]int) {
	t.Helper()
	err := s.o.Meta.View(bg, func(r meta.Reader) error {
		for family, n := range want {
			got := 0
			if err := extenttest.Each(r, family, func(_, _ []byte) error { got++; return nil }); err != nil {
				return err
			}
			if got != n {
				t.Errorf("%d records of family %c, want %d", got, family, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestReaperLeavesWhatTookItsMarkBack: a long PUT ends well after the reaper has
// listed its mark.
func TestReaperLeavesWhatTookItsMarkBack(t *testing.T) {
	k, _ := newStack(t, nil)
	want := bytesOf(1, 100_000)
	info := put(t, k.s, "o", want)
	var id objstore.ContentID
	err := k.s.view(bg, "", "", func(r reader) error {
		n, err := r.inode(info.Inode)
		id = n.Content.ID
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.s.reapContent(bg, id); err != nil { // as reapGarbage would, which saw the mark
		t.Fatal(err)
	}
	same(t, "object", mustGet(t, k.s, "o"), want)
}

// TestExtendedSmallFileIsReadWithoutMemoryForItsSize: a few bytes, then a hole
// of terabytes.
func TestExtendedSmallFileIsReadWithoutMemoryForItsSize(t *testing.T) {
	k, root := newStack(t, nil)
	f := fileAt(t, k.s, root, "f")
	mustWrite(t, f, []byte("some bytes"), 0)
	if err := f.Truncate(bg, 8<<40); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	want := append([]byte("some bytes"), make([]byte, 3<<20-10)...)
	p, _, err := get(k.s, objstore.GetRequest{Key: "f", Range: &objstore.Range{First: 0, Last: 3<<20 - 1}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "range", p, want)
	p, _, err = get(k.s, objstore.GetRequest{Key: "f", Range: &objstore.Range{First: 4, Last: 6}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "inner range", p, want[4:7])
	err = k.s.GetObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: "f"}, func(o *Object) error {
		_, err := o.WriteTo(&limitWriter{n: 5 << 20})
		return err
	})
	if err != io.ErrShortWrite {
		t.Errorf("the whole object: %v", err)
	}
	// A part of 4 GiB of it, most of it a hole.
	up, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: "copy"})
	if err != nil {
		t.Fatal(err)
	}
	var parts []objstore.CompletePart
	for i, r := range []objstore.Range{{First: 4, Last: 4<<30 + 3}, {First: 1 << 40, Last: 1<<40 + 9}, {First: 0, Last: 9}} {
		part, _, err := k.s.CopyPart(bg, s3C, objstore.CopyPartRequest{
			SrcBucket: "bucket", SrcKey: "f", SrcRange: &r, Bucket: "bucket", Key: "copy", Upload: up.ID, Number: i + 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, objstore.CompletePart{Number: i + 1, ETag: part.ETag})
	}
	_, err = k.s.CompleteUpload(bg, s3C, objstore.CompleteRequest{Bucket: "bucket", Key: "copy", Upload: up.ID, Parts: parts[:2], Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	p, _, err = get(k.s, objstore.GetRequest{Key: "copy", Range: &objstore.Range{First: 0, Last: 99}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "copy", p, want[4:104])
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

type limitWriter struct{ n int }

func (w *limitWriter) Write(p []byte) (int, error) {
	if w.n -= len(p); w.n < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

// TestCompactionEnds: segments whose packages are all partly live stay as they
// are, whatever their account says.
func TestCompactionEnds(t *testing.T) {
	k, root := newStack(t, func(k *stack) { k.segment = 1 << 20 })
	f := fileAt(t, k.s, root, "f")
	want := bytesOf(1, 4<<20)
	mustWrite(t, f, want, 0)
	if err := f.Sync(bg); err != nil {
		t.Fatal(err)
	}
	// All but a few bytes of each package are overwritten.
	fresh := bytesOf(2, len(want))
	for off := 0; off < len(want); off += 64 << 10 {
		mustWrite(t, f, fresh[off+100:off+64<<10], int64(off+100))
		copy(want[off+100:off+64<<10], fresh[off+100:])
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	if err := k.s.Sync(bg); err != nil {
		t.Fatal(err)
	}
	fillSegment(t, k)
	c := newCollector()
	var was uint64
	for i := range 6 {
		if err := k.s.collect(bg, c); err != nil {
			t.Fatal(err)
		}
		now := k.disk.Ops()
		if i > 3 && now != was {
			t.Errorf("look %d still changes segments", i)
		}
		was = now
	}
	same(t, "file", mustGet(t, k.s, "f"), want)
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// fillSegment makes sure that all segments with data so far are sealed.
func fillSegment(t tester, k *stack) {
	t.Helper()
	batch := k.s.extents.NewBatch()
	defer batch.Release()
	for range 2 * (max(k.segment, 1<<20)/(1<<20) + 1) {
		if _, err := batch.Encrypt(bg, bytesOf(9, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.local.Sync(bg); err != nil {
		t.Fatal(err)
	}
}

// TestGetReadsManySmallExtents reads a file written in small pieces, in more
// batches than one.
func TestGetReadsManySmallExtents(t *testing.T) {
	k, root := newStack(t, nil)
	f := fileAt(t, k.s, root, "f")
	want := make([]byte, 200<<10)
	for i := range 50 {
		off := i * 4096
		if i%7 == 3 {
			continue // a hole
		}
		p := bytesOf(uint64(i), 4000)
		copy(want[off:], p)
		mustWrite(t, f, p, int64(off))
		if i%3 == 0 {
			if err := f.Flush(bg); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Truncate(bg, int64(len(want))); err != nil {
		t.Fatal(err)
	}
	same(t, "file", readAll(t, f), want)
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	same(t, "object", mustGet(t, k.s, "f"), want)
	var n *record.Inode
	err := k.s.view(bg, "", "", func(r reader) (err error) {
		if n, err = r.inode(f.Inode()); err != nil {
			return err
		}
		oek, err := k.s.openOEK(bg, &n.Content, nil)
		if err != nil {
			return err
		}
		whole, err := k.s.extents.Spans(r, extent.Of(n.Content.ID, oek), 0, n.Size, 0)
		if err != nil {
			return err
		}
		for max := 1; max <= len(whole)+1; max++ {
			at := int64(0)
			for i := 0; at < n.Size; {
				spans, err := k.s.extents.Spans(r, extent.Of(n.Content.ID, oek), at, n.Size-at, max)
				if err != nil {
					return err
				}
				if len(spans) == 0 || len(spans) > max {
					t.Fatalf("%d spans, at most %d were asked for", len(spans), max)
				}
				for _, sp := range spans {
					if sp.Off != at || i < len(whole) && (sp.Off != whole[i].Off || sp.Len != whole[i].Len || sp.Hole() != whole[i].Hole()) {
						t.Fatalf("at most %d: span %d is %+v", max, i, sp)
					}
					at += sp.Len
					i++
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFailedPutStopsReadingItsBody: a body is not read to its end for nothing.
func TestFailedPutStopsReadingItsBody(t *testing.T) {
	k, _ := newStack(t, func(k *stack) {
		k.wrap = func(d data.Store) data.Store {
			return datatest.NewFaults(d, func(c datatest.Call) (f datatest.Fault) {
				if c.Op == "append" {
					f.Err = data.ErrNoSpace
				}
				return f
			})
		}
	})
	body := &countReader{Reader: io.LimitReader(zeros{}, 1<<30)}
	_, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "o", Body: body, Size: 1 << 30})
	if !objstore.IsKind(err, objstore.KindNoSpace) {
		t.Errorf("put: %v", err)
	}
	if body.n > 64<<20 {
		t.Errorf("%d bytes were read", body.n)
	}
	if len(k.s.busy.m) != 0 {
		t.Error("something is still busy")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type countReader struct {
	io.Reader
	n int64
}

func (r *countReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	return n, err
}
