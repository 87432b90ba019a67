package engine

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// segmentBytes is what all segments take.
func (k *stack) segmentBytes() (n uint64) {
	k.t.Helper()
	for info, err := range k.local.Segments(bg) {
		if err != nil {
			k.t.Fatal(err)
		}
		n += info.Size
	}
	return n
}

// What a client sent that went away is given back, also where nothing more comes that
// would fill the segment in which it lies.
func TestBrokenUploadLeavesNothingBehind(t *testing.T) {
	k, _ := newStack(t, nil)
	kept := bytesOf(1, 300_000)
	put(t, k.s, "kept", kept)
	before := k.segmentBytes()
	gone := errors.New("the client went away")
	body := io.MultiReader(bytes.NewReader(bytesOf(2, sealBytes+sealBytes/2)), failing{gone})
	if _, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "k", Body: body, Size: 2 * sealBytes}); !errors.Is(err, gone) {
		t.Fatal(err)
	}
	if n := k.segmentBytes(); n < before+sealBytes {
		t.Fatalf("%d bytes of it were stored", n-before)
	}
	c := newCollector()
	for range 6 {
		if err := k.s.reapGarbage(bg); err != nil {
			t.Fatal(err)
		}
		if err := k.s.collect(bg, c); err != nil {
			t.Fatal(err)
		}
	}
	if n := k.segmentBytes(); n > before+1<<20 {
		t.Errorf("%d bytes are left of %d", n-before, sealBytes+sealBytes/2)
	}
	is := func() {
		t.Helper()
		if got, _, err := get(k.s, objstore.GetRequest{Key: "kept"}); err != nil || !bytes.Equal(got, kept) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	is()
	k.reopen()
	is()
}

// A segment that much is appended to is left to be full soon, and one of what is under
// way, or alive, is left alone.
func TestActiveSegmentInUseIsNotSealed(t *testing.T) {
	k, _ := newStack(t, nil)
	c := newCollector()
	look := func() {
		t.Helper()
		if err := errors.Join(k.s.reapGarbage(bg), k.s.collect(bg, c)); err != nil {
			t.Fatal(err)
		}
		for info, err := range k.local.Segments(bg) {
			if err != nil || info.Sealed {
				t.Errorf("%+v, %v", info, err)
			}
		}
	}
	// Alive.
	put(t, k.s, "alive", bytesOf(1, sealBytes+1<<20))
	look()
	look()
	// Under way: the body waits for a collector that looks twice.
	more := &waiting{look: func() { look(); look() }, left: bytesOf(2, 3*sealBytes)}
	if _, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "k", Body: more, Size: 3 * sealBytes}); err != nil {
		t.Fatal(err)
	}
	// Dead, and growing.
	for _, key := range []string{"k", "alive"} {
		if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		look()
		put(t, k.s, "more", bytesOf(uint64(i), sealBytes))
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// waiting is a body that calls look in its midst.
type waiting struct {
	look func()
	left []byte
}

func (w *waiting) Read(p []byte) (int, error) {
	if len(w.left) == 0 {
		return 0, io.EOF
	}
	if w.look != nil && len(w.left) < 2*sealBytes {
		w.look()
		w.look = nil
	}
	n := copy(p, w.left[:min(len(w.left), 1<<20)])
	w.left = w.left[n:]
	return n, nil
}
