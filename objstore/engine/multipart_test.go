package engine

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
)

type uploadTest struct {
	t  *testing.T
	k  *stack
	id objstore.UploadID
}

func newUpload(t *testing.T, k *stack, key string) *uploadTest {
	t.Helper()
	up, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	return &uploadTest{t, k, up.ID}
}

func (u *uploadTest) part(key string, number int, p []byte) objstore.CompletePart {
	u.t.Helper()
	info, _, err := u.k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{
		Bucket: "bucket", Key: key, Upload: u.id, Number: number, Body: bytes.NewReader(p), Size: int64(len(p)),
	})
	if err != nil {
		u.t.Fatalf("part %d: %v", number, err)
	}
	if sum := md5.Sum(p); string(info.ETag) != hex.EncodeToString(sum[:]) || info.Size != int64(len(p)) {
		u.t.Errorf("part %d: %+v", number, info)
	}
	return objstore.CompletePart{Number: number, ETag: info.ETag}
}

func (u *uploadTest) complete(key string, parts ...objstore.CompletePart) (objstore.ObjectInfo, error) {
	return u.k.s.CompleteUpload(bg, s3C, objstore.CompleteRequest{Bucket: "bucket", Key: key, Upload: u.id, Parts: parts, Size: -1})
}

// clean checks that nothing but what objects need is left.
func (u *uploadTest) clean(objects int) {
	u.t.Helper()
	if err := u.k.s.reapGarbage(bg); err != nil {
		u.t.Fatal(err)
	}
	if err := checkStore(u.k.s); err != nil {
		u.t.Error(err)
	}
	countRecords(u.t, u.k.s, map[byte]int{'g': 0, 'p': 0, 'u': 0, 'i': 2 + objects})
	if len(u.k.s.busy.m) != 0 {
		u.t.Error("something is still busy")
	}
}

func TestUploadIsWhatItsPartsAre(t *testing.T) {
	k, root := newStack(t, nil)
	u := newUpload(t, k, "o")
	more := 65 << 20 // than a chunk
	if raceDetector && !long {
		more = 7 << 20
	}
	a, b, c := bytesOf(1, 5<<20+1), bytesOf(2, more), bytesOf(3, 10)
	u.part("o", 7, bytesOf(9, 6<<20)) // replaced below
	last := u.part("o", 9, c)         // out of order
	middle := u.part("o", 7, b)
	first := u.part("o", 2, a)
	u.part("o", 8, bytesOf(8, 100)) // not listed
	for name, bad := range map[string]struct {
		kind  objstore.Kind
		parts []objstore.CompletePart
	}{
		"order":     {objstore.KindInvalidPartOrder, []objstore.CompletePart{middle, first}},
		"twice":     {objstore.KindInvalidPartOrder, []objstore.CompletePart{first, first}},
		"absent":    {objstore.KindInvalidPart, []objstore.CompletePart{first, {Number: 3, ETag: first.ETag}}},
		"etag":      {objstore.KindInvalidPart, []objstore.CompletePart{first, {Number: 7, ETag: first.ETag}}},
		"too small": {objstore.KindPartTooSmall, []objstore.CompletePart{{Number: 8, ETag: "x"}, last}},
		"none":      {objstore.KindInvalidArgument, nil},
	} {
		if name == "too small" {
			sum := md5.Sum(bytesOf(8, 100))
			bad.parts[0].ETag = objstore.ETag(hex.EncodeToString(sum[:]))
		}
		if _, err := u.complete("o", bad.parts...); !objstore.IsKind(err, bad.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	info, err := u.complete("o", first, middle, last)
	if err != nil {
		t.Fatal(err)
	}
	again, err := u.complete("o", first, middle, last)
	if err != nil || again.ETag != info.ETag || again.Inode != info.Inode {
		t.Errorf("repeated Complete: %+v, %v", again, err)
	}
	if _, _, err := k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{
		Bucket: "bucket", Key: "o", Upload: u.id, Number: 1, Body: bytes.NewReader(c), Size: -1,
	}); !objstore.IsKind(err, objstore.KindNoSuchUpload) {
		t.Errorf("part after the end: %v", err)
	}
	want := append(append(append([]byte(nil), a...), b...), c...)
	same(t, "object", mustGet(t, k.s, "o"), want)
	for number, p := range map[int][]byte{1: a, 2: b, 3: c} {
		got, _, err := get(k.s, objstore.GetRequest{Key: "o", PartNumber: number})
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprint("part ", number), got, p)
	}
	if _, _, err := get(k.s, objstore.GetRequest{Key: "o", PartNumber: 4}); !objstore.IsKind(err, objstore.KindInvalidPart) {
		t.Errorf("part 4: %v", err)
	}
	u.clean(1)
	// Written in the mount, across the parts' seams: it is one file then.
	f := fileAt(t, k.s, root, "o")
	seam := bytesOf(4, 100_000)
	for _, off := range []int{len(a) - 50_000, len(a) + len(b) - 99_990} {
		mustWrite(t, f, seam, int64(off))
		want = append(want[:off:off], append(append([]byte(nil), seam...), want[min(off+len(seam), len(want)):]...)...)
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	p, now, err := get(k.s, objstore.GetRequest{Key: "o"})
	if err != nil || now.ETag == info.ETag || now.Parts != 0 {
		t.Errorf("%+v, %v", now, err)
	}
	same(t, "object written in the mount", p, want)
	if _, err := u.complete("o", first, middle, last); !objstore.IsKind(err, objstore.KindNoSuchUpload) {
		t.Errorf("Complete of what was changed since: %v", err)
	}
	u.clean(1)
}

func TestUploadFromCopiesSharesEveryLayout(t *testing.T) {
	k, root := newStack(t, nil)
	big := fileAt(t, k.s, root, "big")
	model := newSparse()
	write := func(p []byte, off int64) { mustWrite(t, big, p, off); model.put(p, off) }
	write(bytesOf(1, 300_000), 64<<20-150_000)
	write(bytesOf(2, 5), 10)
	write(bytesOf(3, 70_000), 200<<20)
	if err := big.Close(bg); err != nil {
		t.Fatal(err)
	}
	small, empty := bytesOf(4, 1000), []byte(nil)
	put(t, k.s, "small", small)
	put(t, k.s, "empty", empty)
	u := newUpload(t, k, "o")
	var parts []objstore.CompletePart
	want := newSparse()
	cp := func(src string, first, last int64) {
		t.Helper()
		req := objstore.CopyPartRequest{SrcBucket: "bucket", SrcKey: src, Bucket: "bucket", Key: "o", Upload: u.id, Number: len(parts) + 1}
		if last >= 0 {
			req.SrcRange = &objstore.Range{First: first, Last: last}
		}
		info, _, err := k.s.CopyPart(bg, s3C, req)
		if err != nil {
			t.Fatalf("copy %s %d-%d: %v", src, first, last, err)
		}
		parts = append(parts, objstore.CompletePart{Number: len(parts) + 1, ETag: info.ETag})
	}
	for _, r := range [][2]int64{{64<<20 - 100_000, 128<<20 + 7}, {0, 200<<20 + 69_999}, {64<<20 - 3, 64<<20 + 6<<20}, {70 << 20, 76 << 20}} {
		cp("big", r[0], r[1])
		at := want.size
		for off := r[0]; off <= r[1]; off += 1 << 20 {
			if p := model.read(off, int(min(1<<20, r[1]+1-off))); !bytes.Equal(p, make([]byte, len(p))) {
				want.put(p, at+off-r[0])
			}
		}
		want.size = at + r[1] - r[0] + 1
	}
	cp("small", 100, 899)
	want.put(small[100:900], want.size)
	for _, bad := range []struct {
		key  string
		r    objstore.Range
		kind objstore.Kind
	}{
		{"small", objstore.Range{First: 0, Last: 1000}, objstore.KindInvalidRange},
		{"empty", objstore.Range{First: 0, Last: 0}, objstore.KindInvalidRange},
		{"none", objstore.Range{First: 0, Last: 0}, objstore.KindNotFound},
	} {
		_, _, err := k.s.CopyPart(bg, s3C, objstore.CopyPartRequest{SrcBucket: "bucket", SrcKey: bad.key, SrcRange: &bad.r, Bucket: "bucket", Key: "o", Upload: u.id, Number: 99})
		if !objstore.IsKind(err, bad.kind) {
			t.Errorf("%s: %v", bad.key, err)
		}
	}
	// The sources may change and go: the parts stay what they were.
	for _, name := range []string{"big", "small"} {
		f := fileAt(t, k.s, root, name)
		mustWrite(t, f, bytesOf(5, 400_000), 64<<20-200_000)
		if err := f.Close(bg); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.s.Unlink(bg, mountC, root, "big"); err != nil {
		t.Fatal(err)
	}
	// An empty part can only be the last one.
	number := len(parts)
	cp("empty", 0, -1)
	if _, err := u.complete("o", parts...); !objstore.IsKind(err, objstore.KindPartTooSmall) {
		t.Errorf("a small part in the middle: %v", err)
	}
	info, err := u.complete("o", parts[:number]...)
	if err != nil {
		t.Fatal(err)
	}
	err = want.diff(info.Size, func(off int64, n int) ([]byte, error) {
		p, _, err := get(k.s, objstore.GetRequest{Key: "o", Range: &objstore.Range{First: off, Last: min(off+int64(n), info.Size) - 1}})
		return p, err
	})
	if err != nil {
		t.Error(err)
	}
	u.clean(3)
}

func TestUploadOfNothing(t *testing.T) {
	k, _ := newStack(t, nil)
	u := newUpload(t, k, "o")
	info, err := u.complete("o", u.part("o", 1, nil))
	if err != nil || info.Size != 0 || len(mustGet(t, k.s, "o")) != 0 {
		t.Errorf("%+v, %v", info, err)
	}
	u.clean(1)
}

// TestAbortedUploadLeavesNothing: parts under way included.
func TestAbortedUploadLeavesNothing(t *testing.T) {
	k, _ := newStack(t, nil)
	u := newUpload(t, k, "o")
	u.part("o", 1, bytesOf(1, 6<<20))
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, _, err := k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{Bucket: "bucket", Key: "o", Upload: u.id, Number: 2, Body: r, Size: -1})
		done <- err
	}()
	if _, err := w.Write(bytesOf(2, 9<<20)); err != nil {
		t.Fatal(err)
	}
	if err := k.s.AbortUpload(bg, s3C, "bucket", "o", u.id); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := <-done; !objstore.IsKind(err, objstore.KindNoSuchUpload) {
		t.Errorf("the part under way: %v", err)
	}
	if err := k.s.AbortUpload(bg, s3C, "bucket", "o", u.id); !objstore.IsKind(err, objstore.KindNoSuchUpload) {
		t.Errorf("second abort: %v", err)
	}
	u.clean(0)
	countRecords(t, k.s, map[byte]int{'e': 0, 'm': 0, 'c': 0, 'k': 0})
}

// TestCompletesAtOnceAllSucceed: a client that does not wait for an answer sends the
// request again, and must not be told that there is no such upload.
func TestCompletesAtOnceAllSucceed(t *testing.T) {
	k, _ := newStack(t, nil)
	for i := range 20 {
		u := newUpload(t, k, "o")
		part := u.part("o", 1, bytesOf(uint64(i), 1000))
		var wg sync.WaitGroup
		etags := make([]objstore.ETag, 8)
		for j := range etags {
			wg.Go(func() {
				info, err := u.complete("o", part)
				if err != nil {
					t.Errorf("upload %d: %v", i, err)
				}
				etags[j] = info.ETag
			})
		}
		wg.Wait()
		if slices.ContainsFunc(etags, func(e objstore.ETag) bool { return e != etags[0] }) {
			t.Errorf("upload %d: %q", i, etags)
		}
	}
}

// TestBucketGoesWithItsUploads: uploads do not keep a bucket that is empty otherwise,
// one under way included, and leave nothing in it. What is not empty keeps them.
func TestBucketGoesWithItsUploads(t *testing.T) {
	for name, remove := range map[string]func(*Store) error{
		"DeleteBucket": func(s *Store) error { return s.DeleteBucket(bg, s3C, "bucket") },
		"rmdir":        func(s *Store) error { return s.Rmdir(bg, mountC, objstore.RootInode, "bucket") },
	} {
		t.Run(name, func(t *testing.T) {
			k, _ := newStack(t, nil)
			var u *uploadTest
			var key string
			for i := range 2*uploadsAtOnce + 3 {
				key = fmt.Sprint("o", i/2)
				u = newUpload(t, k, key)
				u.part(key, 1, bytesOf(uint64(i), 100))
				u.part(key, 7, bytesOf(uint64(i), 100_000))
			}
			put(t, k.s, "keeps", []byte("x"))
			if err := remove(k.s); !objstore.IsKind(err, objstore.KindBucketNotEmpty) && !objstore.IsKind(err, objstore.KindNotEmpty) {
				t.Fatalf("a bucket with an object: %v", err)
			}
			if res, err := k.s.ListUploads(bg, s3C, objstore.ListUploadsRequest{Bucket: "bucket", Max: 1000}); err != nil || len(res.Uploads) != 2*uploadsAtOnce+3 {
				t.Fatalf("it kept %d uploads, %v", len(res.Uploads), err)
			}
			if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: "keeps"}); err != nil {
				t.Fatal(err)
			}
			r, w := io.Pipe()
			done := make(chan error)
			go func() {
				_, _, err := k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{Bucket: "bucket", Key: key, Upload: u.id, Number: 2, Body: r, Size: -1})
				done <- err
			}()
			if _, err := w.Write(bytesOf(2, 9<<20)); err != nil {
				t.Fatal(err)
			}
			if err := remove(k.s); err != nil {
				t.Fatal(err)
			}
			w.Close()
			if err := <-done; !objstore.IsKind(err, objstore.KindNoSuchBucket) && !objstore.IsKind(err, objstore.KindNoSuchUpload) {
				t.Errorf("the part under way: %v", err)
			}
			if _, err := k.s.CreateBucket(bg, s3C, objstore.CreateBucketRequest{Name: "bucket"}); err != nil {
				t.Fatal(err)
			}
			u.clean(0)
			countRecords(t, k.s, map[byte]int{'e': 0, 'm': 0, 'c': 0, 'k': 0})
		})
	}
}

// TestPartsOfOneNumberAtOnce: the last one counts, the others leave nothing.
func TestPartsOfOneNumberAtOnce(t *testing.T) {
	k, _ := newStack(t, nil)
	u := newUpload(t, k, "o")
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() { u.part("o", 1, bytesOf(uint64(i), 100_000)) })
	}
	wg.Wait()
	res, err := k.s.ListParts(bg, s3C, objstore.ListPartsRequest{Bucket: "bucket", Key: "o", Upload: u.id, Max: 10})
	if err != nil || len(res.Parts) != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	if _, err := u.complete("o", objstore.CompletePart{Number: 1, ETag: res.Parts[0].ETag}); err != nil {
		t.Fatal(err)
	}
	p := mustGet(t, k.s, "o")
	if sum := md5.Sum(p); hex.EncodeToString(sum[:]) != string(res.Parts[0].ETag) {
		t.Error("the object is not the part that was listed")
	}
	u.clean(1)
}

// TestChecksumOfCopyIsThatOfItsBytes, computed or taken over.
func TestChecksumOfCopyIsThatOfItsBytes(t *testing.T) {
	k, root := newStack(t, nil)
	f := fileAt(t, k.s, root, "f")
	p := bytesOf(1, 200_000)
	mustWrite(t, f, p, 0)
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	for _, src := range []string{"f", "copy"} {
		info, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: src, DstBucket: "bucket", DstKey: "copy", Store: checksum.SHA256})
		if err != nil {
			t.Fatal(err)
		}
		h, err := checksum.New(checksum.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		h.Write(p)
		if info.Checksum == nil || info.Checksum.Value != checksum.Format(h.Sum(checksum.SHA256)) {
			t.Errorf("checksum of the copy of %q is %+v", src, info.Checksum)
		}
		same(t, "copy", mustGet(t, k.s, "copy"), p)
	}
}

// TestCopyAndSourceGoTheirOwnWays, whichever is written first.
func TestCopyAndSourceGoTheirOwnWays(t *testing.T) {
	for _, size := range []int{0, 100, 100_000, 66 << 20} {
		for _, first := range []string{"f", "copy"} {
			if size > 1<<20 && !long && (first == "f" || raceDetector) {
				continue // more bytes, and no other threads
			}
			t.Run(fmt.Sprint(size, " ", first), func(t *testing.T) {
				k, root := newStack(t, nil)
				p := bytesOf(1, size)
				put(t, k.s, "f", p)
				for _, dst := range []string{"copy", "f"} { // the second one onto itself
					if _, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "f", DstBucket: "bucket", DstKey: dst}); err != nil {
						t.Fatal(err)
					}
				}
				want := map[string][]byte{"f": p, "copy": p}
				other := map[string]string{"f": "copy", "copy": "f"}[first]
				for i, name := range []string{first, other, first} {
					f := fileAt(t, k.s, root, name)
					q := bytesOf(uint64(i+2), 5000)
					off := size / 2
					mustWrite(t, f, q, int64(off))
					if err := f.Close(bg); err != nil {
						t.Fatal(err)
					}
					was := want[name]
					now := make([]byte, max(len(was), off+len(q)))
					copy(now, was)
					copy(now[off:], q)
					want[name] = now
					for name, w := range want {
						same(t, name, mustGet(t, k.s, name), w)
					}
				}
				if err := k.s.reapGarbage(bg); err != nil {
					t.Fatal(err)
				}
				if err := checkStore(k.s); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
