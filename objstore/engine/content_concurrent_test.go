package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// rounds is how often a concurrent test goes round.
func rounds(n int) int {
	if long {
		return n * 20
	}
	return n
}

// TestReadersSeeWholeWritesInTheirOrder: one goroutine numbers the blocks of a
// file, round after round, first to last; whoever reads, at either door, sees
// whole blocks whose numbers never ascend.
func TestReadersSeeWholeWritesInTheirOrder(t *testing.T) {
	for name, buffer := range map[string]int64{"small buffers": 20_000, "large buffers": 0} {
		t.Run(name, func(t *testing.T) {
			k, root := newStack(t, func(k *stack) { k.options.WriteBufferBytes, k.segment = buffer, 1<<20 })
			const blocks, size = 24, 4096
			f := fileAt(t, k.s, root, "f")
			mustWrite(t, f, make([]byte, blocks*size), 0)
			if err := f.Flush(bg); err != nil {
				t.Fatal(err)
			}
			check := func(who string, p []byte) error {
				if len(p) != blocks*size {
					return fmt.Errorf("%s: %d bytes", who, len(p))
				}
				last := ^uint64(0)
				for i := range blocks {
					b := p[i*size : (i+1)*size]
					no := binary.BigEndian.Uint64(b)
					for j := 8; j < size; j += 8 {
						if binary.BigEndian.Uint64(b[j:]) != no {
							return fmt.Errorf("%s: block %d is torn", who, i)
						}
					}
					if no > last {
						return fmt.Errorf("%s: block %d has number %d behind %d", who, i, no, last)
					}
					last = no
				}
				return nil
			}
			var stop atomic.Bool
			var wg sync.WaitGroup
			run := func(fn func() error) {
				wg.Go(func() {
					for !stop.Load() {
						if err := fn(); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			run(func() error { // the other door
				p, _, err := get(k.s, objstore.GetRequest{Key: "f"})
				if err != nil {
					return err
				}
				return check("GET", p)
			})
			run(func() error { // copies and reads the copy
				_, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "f", DstBucket: "bucket", DstKey: "copy"})
				if objstore.IsKind(err, objstore.KindConflict) {
					return nil // the source keeps changing, and it says so
				}
				if err != nil {
					return err
				}
				p, _, err := get(k.s, objstore.GetRequest{Key: "copy"})
				if err != nil {
					return err
				}
				return check("copy", p)
			})
			run(func() error {
				p := make([]byte, size)
				i := rand.IntN(blocks)
				if n, err := f.ReadAt(bg, p, int64(i*size)); err != nil || n != size {
					return fmt.Errorf("read %d bytes, %w", n, err)
				}
				for j := 8; j < size; j += 8 {
					if !bytes.Equal(p[:8], p[j:j+8]) {
						return fmt.Errorf("block %d is torn in the mount", i)
					}
				}
				return nil
			})
			run(func() error {
				a, err := k.s.GetAttr(bg, f.Inode())
				if err == nil && a.Size != blocks*size {
					err = fmt.Errorf("size is %d", a.Size)
				}
				return err
			})
			run(func() error { return k.s.Sync(bg) })
			g := newCollector()
			run(func() error { return k.s.collect(bg, g) })
			p := make([]byte, size)
			for no := 1; no <= rounds(30); no++ {
				for j := 0; j < size; j += 8 {
					binary.BigEndian.PutUint64(p[j:], uint64(no))
				}
				for i := range blocks {
					mustWrite(t, f, p, int64(i*size))
				}
			}
			stop.Store(true)
			wg.Wait()
			if err := f.Close(bg); err != nil {
				t.Fatal(err)
			}
			if err := k.s.reapGarbage(bg); err != nil {
				t.Fatal(err)
			}
			if err := checkStore(k.s); err != nil {
				t.Error(err)
			}
			if n := k.s.buffered.Load(); n != 0 {
				t.Errorf("%d bytes are accounted for", n)
			}
		})
	}
}

// TestEverythingAtOnceEnds looks for deadlocks and races: all operations on few
// names, with hardly any memory for writes.
func TestEverythingAtOnceEnds(t *testing.T) {
	k, root := newStack(t, func(k *stack) {
		k.options.WriteBufferBytes, k.segment = 30_000, 1<<20
		k.options.FlushInterval, k.options.CollectInterval = time.Millisecond, time.Millisecond
	})
	defer k.s.Watch(func([]objstore.Change) {})()
	var wg sync.WaitGroup
	for id := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(id)))
			for range rounds(120) {
				if err := anything(k.s, root, rnd); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := k.s.Sync(bg); err != nil {
		t.Error(err)
	}
	// The background work holds nodes, too: a file without a name that it held last is
	// removed an instant after its node is gone.
	k.s.stop()
	k.s.watch.Close()
	k.s.background.Wait()
	if err := k.s.reapGarbage(bg); err != nil {
		t.Error(err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
	if err := k.s.Close(); err != nil {
		t.Error(err)
	}
	if n := k.s.buffered.Load(); n != 0 {
		t.Errorf("%d bytes are accounted for", n)
	}
	if n := k.s.nodes.count(); n != 0 {
		t.Errorf("%d nodes are open", n)
	}
}

func anything(s *Store, root objstore.InodeID, rnd *rand.Rand) error {
	names := []string{"a", "b", "c"}
	name, other := names[rnd.IntN(3)], names[rnd.IntN(3)]
	allow := func(err error, kinds ...objstore.Kind) error {
		for _, k := range append(kinds, objstore.KindNotFound, objstore.KindStale) {
			if objstore.IsKind(err, k) {
				return nil
			}
		}
		return err
	}
	switch rnd.IntN(10) {
	case 0:
		return allow(s.Unlink(bg, mountC, root, name))
	case 1:
		_, err := s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: name, Body: &failReader{n: int64(rnd.IntN(100_000))}, Size: -1})
		return err
	case 2:
		_, err := s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: name, DstBucket: "bucket", DstKey: other})
		return allow(err, objstore.KindConflict)
	case 3:
		_, _, err := get(s, objstore.GetRequest{Key: name})
		return allow(err)
	case 4:
		return allow(s.Rename(bg, mountC, root, name, root, other, 0))
	}
	_, f, err := s.Create(bg, mountC, root, name, 0o644, objstore.OpenFlags{Read: true, Write: true, Truncate: rnd.IntN(10) == 0}, false)
	if err != nil {
		return allow(err)
	}
	for range rnd.IntN(6) {
		off := int64(rnd.IntN(100_000))
		switch rnd.IntN(8) {
		case 0:
			err = f.Truncate(bg, off)
		case 1:
			_, err = f.ReadAt(bg, make([]byte, 5000), off)
		case 2:
			err = f.Sync(bg)
		case 3:
			m := objstore.Time(off)
			_, err = s.SetAttr(bg, mountC, f.Inode(), objstore.SetAttr{Mtime: &m})
		case 4:
			err = f.Allocate(bg, objstore.AllocatePunchHole|objstore.AllocateKeepSize, off, 10_000)
		default:
			_, err = f.WriteAt(bg, make([]byte, rnd.IntN(20_000)), off)
		}
		if err = allow(err); err != nil {
			_ = f.Close(bg)
			return err
		}
	}
	return f.Close(bg)
}

// TestGetReadsWhatItPinned: whatever happens to the name, and to the segments,
// while an object is read.
func TestGetReadsWhatItPinned(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, k *stack, root objstore.InodeID){
		"overwritten by S3": func(t *testing.T, k *stack, _ objstore.InodeID) { put(t, k.s, "o", bytesOf(2, 3<<20)) },
		"deleted": func(t *testing.T, k *stack, _ objstore.InodeID) {
			if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: "o"}); err != nil {
				t.Fatal(err)
			}
		},
		"overwritten in the mount": func(t *testing.T, k *stack, root objstore.InodeID) {
			f := fileAt(t, k.s, root, "o")
			mustWrite(t, f, bytesOf(3, 3<<20), 0)
			if err := f.Close(bg); err != nil {
				t.Fatal(err)
			}
		},
		"truncated": func(t *testing.T, k *stack, root objstore.InodeID) {
			f := fileAt(t, k.s, root, "o")
			if err := f.Truncate(bg, 0); err != nil {
				t.Fatal(err)
			}
			f.Close(bg)
		},
		"unlinked": func(t *testing.T, k *stack, root objstore.InodeID) {
			if err := k.s.Unlink(bg, mountC, root, "o"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, size := range []int{100, 3 << 20} {
			t.Run(fmt.Sprintf("%s, %d", name, size), func(t *testing.T) {
				k, root := newStack(t, func(k *stack) { k.segment = 1 << 20 })
				want := bytesOf(1, size)
				was := put(t, k.s, "o", want)
				fillSegment(t, k)
				err := k.s.GetObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: "o"}, func(o *Object) error {
					change(t, k, root)
					removeUnused(t, k)
					var b bytes.Buffer
					if _, err := o.WriteTo(&b); err != nil {
						return err
					}
					same(t, "object", b.Bytes(), want)
					if o.Info.ETag != was.ETag || o.Info.Size != int64(size) {
						t.Errorf("info is %+v", o.Info)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				before := segments(t, k)
				removeUnused(t, k)
				if after := segments(t, k); size > 100 && after >= before {
					t.Errorf("%d segments, %d before: nothing was given back", after, before)
				}
				if err := checkStore(k.s); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// removeUnused frees all that can be.
func removeUnused(t testing.TB, k *stack) {
	t.Helper()
	if err := k.s.reapGarbage(bg); err != nil {
		t.Fatal(err)
	}
	g := newCollector()
	for range 4 {
		if err := k.s.collect(bg, g); err != nil {
			t.Fatal(err)
		}
	}
}

func segments(t testing.TB, k *stack) (n int) {
	t.Helper()
	for _, err := range k.local.Segments(bg) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// TestSegmentsWaitForCommitsPinsAndGrace: who still needs a segment keeps it.
func TestSegmentsWaitForCommitsPinsAndGrace(t *testing.T) {
	now := time.Unix(1000, 0)
	k, _ := newStack(t, func(k *stack) {
		k.segment = 1 << 20
		k.options.Grace = time.Minute
		k.options.Now = func() time.Time { return now }
	})
	batch := k.s.extents.NewBatch()
	for range 3 { // appended, not committed
		if _, err := batch.Encrypt(bg, bytesOf(1, 900_000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.local.Sync(bg); err != nil {
		t.Fatal(err)
	}
	g := newCollector()
	look := func(what string, want int) {
		t.Helper()
		for range 2 {
			if err := k.s.collect(bg, g); err != nil {
				t.Fatal(err)
			}
		}
		if got := segments(t, k); got != want {
			t.Fatalf("%s: %d segments, want %d", what, got, want)
		}
	}
	all := segments(t, k)
	look("held", all)
	now = now.Add(time.Hour)
	look("held for long", all)
	pin := k.s.extents.Pin()
	batch.Release()
	look("just released", all)
	now = now.Add(59 * time.Second)
	look("within the grace", all)
	now = now.Add(2 * time.Second)
	look("pinned", all)
	later := k.s.extents.Pin()
	pin.Release()
	look("pinned by one who cannot see it", 1)
	later.Release()
}

// TestCloseLeavesNoGoroutine also closes twice, with files open.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	k, root := newStack(t, func(k *stack) {
		k.options.FlushInterval, k.options.CollectInterval = time.Millisecond, time.Millisecond
	})
	f := fileAt(t, k.s, root, "f")
	mustWrite(t, f, bytesOf(1, 10<<20), 0)
	put(t, k.s, "o", bytesOf(2, 10<<20))
	// A reader who gives up.
	err := k.s.GetObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: "o"}, func(o *Object) error {
		_, err := o.WriteTo(&limitWriter{n: 1 << 20})
		return err
	})
	if err != io.ErrShortWrite {
		t.Error(err)
	}
	k.close()
	buf := make([]byte, 1<<20)
	// Goroutines that have done their work end on their own time.
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if !strings.Contains(string(buf[:runtime.Stack(buf, true)]), "engine.(*Store)") {
			return
		}
	}
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "engine.(*Store)") {
			t.Errorf("a goroutine is left:\n%s", g)
		}
	}
}
