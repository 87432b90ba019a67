package engine

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Requests that are too long for one transaction.

func TestReaperLeavesLongRequestsAlone(t *testing.T) {
	k, _ := newStack(t, nil)
	k.s.ingestStep = 1
	want := bytesOf(1, 22<<20)
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "o", Body: r, Size: int64(len(want))})
		done <- err
	}()
	for p := want; len(p) > 0; p = p[2<<20:] {
		if _, err := w.Write(p[:2<<20]); err != nil {
			t.Fatal(err)
		}
		if err := k.s.reapGarbage(bg); err != nil {
			t.Fatal(err)
		}
		if err := checkContents(k.s); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := k.s.reapGarbage(bg); err != nil {
		t.Fatal(err)
	}
	same(t, "object", mustGet(t, k.s, "o"), want)
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
	countRecords(t, k.s, map[byte]int{'g': 0})
}

func TestLongRequestThatFailsIsFreed(t *testing.T) {
	k, _ := newStack(t, nil)
	k.s.ingestStep = 1
	for range 2 {
		body := io.MultiReader(bytes.NewReader(bytesOf(1, 22<<20)), &failReader{err: io.ErrUnexpectedEOF})
		_, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "o", Body: body, Size: 30 << 20})
		if err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
	}
	if err := k.s.reapGarbage(bg); err != nil {
		t.Fatal(err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
	countRecords(t, k.s, map[byte]int{'g': 0, 'e': 0, 'c': 0, 's': 0})
}

// TestLongCopyOfWhatChanges begins anew and ends with one state of the source.
func TestLongCopyOfWhatChanges(t *testing.T) {
	k, root := newStack(t, nil)
	k.s.shareStep = 1
	f := fileAt(t, k.s, root, "f")
	offs := []int64{0, 70 << 20, 140 << 20, 300 << 20}
	numbered := func(i uint64) []byte { return bytes.Repeat(binary.BigEndian.AppendUint64(nil, i), 1250) }
	for _, off := range offs {
		mustWrite(t, f, numbered(9), off)
	}
	if err := f.Flush(bg); err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan bool), make(chan error)
	go func() {
		for i := uint64(10); ; i++ {
			select {
			case <-stop:
				done <- f.Close(bg)
				return
			default:
			}
			for _, off := range offs {
				if _, err := f.WriteAt(bg, numbered(i), off); err != nil {
					done <- err
					return
				}
			}
			if i%4 == 0 {
				if err := f.Flush(bg); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	copies := 0
	for range rounds(40) {
		_, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "f", DstBucket: "bucket", DstKey: "copy"})
		if objstore.IsKind(err, objstore.KindConflict) {
			continue
		}
		if err != nil {
			t.Error(err)
			break
		}
		copies++
		// Written first to last, so that the number of a range is that of the one
		// before it, or one less.
		var first, last uint64
		for _, off := range offs {
			r := objstore.Range{First: off, Last: off + 9999}
			p, _, err := get(k.s, objstore.GetRequest{Key: "copy", Range: &r})
			if err != nil {
				t.Fatal(err)
			}
			no := binary.BigEndian.Uint64(p)
			same(t, "range of the copy", p, numbered(no))
			if off == 0 {
				first, last = no, no
			}
			if no > last || no+1 < first {
				t.Errorf("the range at %d has number %d, the one before it %d, the first %d", off, no, last, first)
			}
			last = no
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "f", DstBucket: "bucket", DstKey: "copy"}); err != nil {
		t.Fatal(err)
	}
	for _, off := range offs {
		r := objstore.Range{First: off, Last: off + 9999}
		a, _, err := get(k.s, objstore.GetRequest{Key: "f", Range: &r})
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := get(k.s, objstore.GetRequest{Key: "copy", Range: &r})
		if err != nil {
			t.Fatal(err)
		}
		same(t, "copy", b, a)
	}
	t.Logf("%d copies while the source changed", copies)
	if err := k.s.reapGarbage(bg); err != nil {
		t.Fatal(err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
	countRecords(t, k.s, map[byte]int{'g': 0})
}

// TestChunkOfVeryManyEntriesIsFreed, in transactions that stay small.
func TestChunkOfVeryManyEntriesIsFreed(t *testing.T) {
	k, root := newStack(t, nil)
	const n = 6_000
	f := fileAt(t, k.s, root, "f")
	for i := range int64(n) {
		mustWrite(t, f, []byte{byte(i)}, 100_000+i*3)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	countRecords(t, k.s, map[byte]int{'m': n})
	if err := k.s.Unlink(bg, mountC, root, "f"); err != nil {
		t.Fatal(err)
	}
	k.close() // the reaper may be at work
	if err := k.open(false); err != nil {
		t.Fatal(err)
	}
	for steps := 0; ; steps++ {
		var id objstore.ContentID
		err := k.s.view(bg, "", "", func(r reader) error {
			for p, err := range r.Scan(meta.Prefix(record.GarbagePrefix())) {
				if err != nil {
					return err
				}
				id, err = record.ParseGarbageKey(p.Key)
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if id.IsZero() {
			break
		}
		if err := checkContents(k.s); err != nil {
			t.Fatalf("after %d steps: %v", steps, err)
		}
		err = k.s.update(bg, objstore.Caller{}, "free", "", func(x *tx) error {
			e := k.s.extents.Edit(x.txn)
			done, err := e.FreeStep(extent.Content{Refs: id, Bound: id})
			if done {
				x.txn.Delete(record.GarbageKey(id))
			}
			if err != nil {
				return err
			}
			return e.Finish()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	countRecords(t, k.s, map[byte]int{'m': 0, 'e': 0, 'k': 0, 'c': 0, 's': 0})
}
