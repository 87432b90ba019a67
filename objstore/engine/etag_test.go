package engine

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/extent"
)

func setETags(t tester, s *Store, bucket string, form objstore.ETagForm) {
	t.Helper()
	if err := s.SetBucketETags(bg, s3C, bucket, form); err != nil {
		t.Fatal(err)
	}
	if b, err := s.HeadBucket(bg, s3C, bucket); err != nil || b.ETags != form {
		t.Fatalf("bucket is %+v, %v, want %v", b, err, form)
	}
}

func md5Hex(p []byte) objstore.ETag {
	sum := md5.Sum(p)
	return objstore.ETag(hex.EncodeToString(sum[:]))
}

var opaqueForm = regexp.MustCompile(`^[0-9a-f]{32}-[0-9]+$`)

// mustBeOpaque checks that nobody can take a tag for the MD5 of p, or for that
// of the MD5s of so many parts.
func mustBeOpaque(t tester, what string, tag objstore.ETag, p []byte, parts int) {
	t.Helper()
	if !opaqueForm.MatchString(string(tag)) || strings.HasPrefix(string(tag), string(md5Hex(p))) || parts > 0 && strings.HasSuffix(string(tag), fmt.Sprint("-", parts)) {
		t.Errorf("%s has the ETag %s", what, tag)
	}
}

// tagOf is what a listing and a request for the object say of its ETag.
func tagOf(t tester, s *Store, key string, customer ...objstore.Encryption) objstore.ETag {
	t.Helper()
	req := objstore.GetRequest{Bucket: "bucket", Key: key}
	if len(customer) > 0 {
		req.CustomerKey = customer[0]
	}
	info, err := s.HeadObject(bg, s3C, req)
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.ListObjects(bg, s3C, objstore.ListRequest{Bucket: "bucket", Prefix: key, MaxKeys: 1})
	if err != nil || len(list.Entries) != 1 || list.Entries[0].ETag != info.ETag {
		t.Errorf("%s: HeadObject says %s, the listing %+v, %v", key, info.ETag, list.Entries, err)
	}
	return info.ETag
}

func TestOpaqueETagsAreNoMD5s(t *testing.T) {
	k, _ := newStack(t, nil)
	before := put(t, k.s, "before", []byte("x")).ETag
	setETags(t, k.s, "bucket", objstore.ETagsOpaque)
	tags := map[objstore.ETag]bool{}
	for _, size := range []int{0, 1, 1000, 100_000, 5 << 20} {
		p := bytesOf(1, size)
		for range 2 { // no two are alike
			info, err := k.s.PutObject(bg, s3C, objstore.PutRequest{
				Bucket: "bucket", Key: fmt.Sprint("k", size), Body: bytes.NewReader(p), Size: -1,
				Algorithms: []checksum.Algorithm{checksum.CRC64NVME}, Store: checksum.CRC64NVME,
				Verify: func(sums checksum.Sums) error {
					if _, ok := sums[checksum.MD5]; ok || len(sums) != 1 {
						t.Errorf("%d bytes: computed %v", size, sums)
					}
					return nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			mustBeOpaque(t, fmt.Sprint(size, " bytes"), info.ETag, p, 0)
			if tags[info.ETag] {
				t.Errorf("%d bytes: %s again", size, info.ETag)
			}
			tags[info.ETag] = true
			if got := tagOf(t, k.s, info.Key); got != info.ETag {
				t.Errorf("%d bytes: %s, then %s", size, info.ETag, got)
			}
			if want := checksum.Format(checksum.Of(checksum.CRC64NVME, p)); info.Checksum == nil || info.Checksum.Value != want {
				t.Errorf("%d bytes: checksum %+v, want %s", size, info.Checksum, want)
			}
		}
		same(t, "object", mustGet(t, k.s, fmt.Sprint("k", size)), p)
	}
	if tagOf(t, k.s, "before") != before {
		t.Error("an object that was there has another ETag")
	}
	// As everywhere, a condition holds for the object that it was taken from.
	tag := tagOf(t, k.s, "k1")
	again := objstore.PutRequest{Bucket: "bucket", Key: "k1", Size: -1, Precondition: objstore.Precondition{IfMatch: []string{string(tag)}}}
	for _, want := range []error{nil, objstore.E(objstore.KindPreconditionFailed, "", "", "")} {
		again.Body = strings.NewReader("x")
		if _, err := k.s.PutObject(bg, s3C, again); want == nil && err != nil || want != nil && !objstore.IsKind(err, objstore.KindPreconditionFailed) {
			t.Errorf("If-Match: %v, want %v", err, want)
		}
	}
	setETags(t, k.s, "bucket", objstore.ETagsMD5)
	tag = tagOf(t, k.s, "k1")
	if got := put(t, k.s, "after", []byte("x")).ETag; got != md5Hex([]byte("x")) {
		t.Errorf("chosen back, the ETag is %s", got)
	}
	if tagOf(t, k.s, "k1") != tag {
		t.Error("chosen back, an opaque ETag is another one")
	}
}

// TestContentMD5IsVerifiedWithOpaqueETags: the MD5 that a client sends is
// computed for it, and is not the ETag all the same.
func TestContentMD5IsVerifiedWithOpaqueETags(t *testing.T) {
	k, _ := newStack(t, nil)
	setETags(t, k.s, "bucket", objstore.ETagsOpaque)
	p := bytesOf(1, 100_000)
	right := md5.Sum(p)
	refused := errors.New("refused")
	verify := func(sent []byte) func(checksum.Sums) error {
		return func(sums checksum.Sums) error {
			if !sums.Matches(checksum.MD5, sent) {
				return refused
			}
			return nil
		}
	}
	u := newUpload(t, k, "o")
	for _, c := range []struct {
		sent []byte
		want error
	}{{make([]byte, 16), refused}, {right[:], nil}} {
		algs := []checksum.Algorithm{checksum.MD5}
		info, err := k.s.PutObject(bg, s3C, objstore.PutRequest{
			Bucket: "bucket", Key: "k", Body: bytes.NewReader(p), Size: -1, Algorithms: algs, Verify: verify(c.sent),
		})
		part, _, perr := k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{
			Bucket: "bucket", Key: "o", Upload: u.id, Number: 1, Body: bytes.NewReader(p), Size: -1, Algorithms: algs, Verify: verify(c.sent),
		})
		if err != c.want || perr != c.want {
			t.Fatalf("sent %x: %v, %v, want %v", c.sent, err, perr, c.want)
		}
		if c.want == nil {
			mustBeOpaque(t, "object", info.ETag, p, 0)
			mustBeOpaque(t, "part", part.ETag, p, 0)
			continue
		}
		if _, err := k.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: "k"}); !objstore.IsKind(err, objstore.KindNotFound) {
			t.Errorf("the refused object: %v", err)
		}
		if res, err := k.s.ListParts(bg, s3C, objstore.ListPartsRequest{Bucket: "bucket", Key: "o", Upload: u.id, Max: 10}); err != nil || len(res.Parts) != 0 {
			t.Errorf("the refused part: %+v, %v", res.Parts, err)
		}
	}
}

func TestUploadWithOpaqueETags(t *testing.T) {
	for _, sizes := range [][]int{{100}, {5 << 20, 100}, {5 << 20, 5 << 20, 0}} {
		t.Run(fmt.Sprint(len(sizes)), func(t *testing.T) {
			k, root := newStack(t, nil)
			setETags(t, k.s, "bucket", objstore.ETagsOpaque)
			u := newUpload(t, k, "o")
			// It stays what it was begun as.
			setETags(t, k.s, "bucket", objstore.ETagsMD5)
			k.reopen()
			var all []byte
			var parts, md5s []objstore.CompletePart
			for i, size := range sizes {
				p := bytesOf(uint64(i), size)
				all = append(all, p...)
				info, _, err := k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{
					Bucket: "bucket", Key: "o", Upload: u.id, Number: i + 1, Body: bytes.NewReader(p), Size: -1,
					Verify: func(sums checksum.Sums) error {
						if _, ok := sums[checksum.MD5]; ok || len(sums) != 1 {
							t.Errorf("part %d: computed %v", i+1, sums)
						}
						return nil
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				mustBeOpaque(t, fmt.Sprint("part ", i+1), info.ETag, p, 0)
				parts = append(parts, objstore.CompletePart{Number: i + 1, ETag: info.ETag})
				md5s = append(md5s, objstore.CompletePart{Number: i + 1, ETag: md5Hex(p)})
			}
			list, err := k.s.ListParts(bg, s3C, objstore.ListPartsRequest{Bucket: "bucket", Key: "o", Upload: u.id, Max: 10})
			if err != nil || len(list.Parts) != len(parts) {
				t.Fatalf("%+v, %v", list, err)
			}
			for i, p := range list.Parts {
				if p.ETag != parts[i].ETag {
					t.Errorf("part %d: uploaded as %s, listed as %s", i+1, parts[i].ETag, p.ETag)
				}
			}
			bare := append([]objstore.CompletePart(nil), parts...)
			bare[0].ETag = bare[0].ETag[:32]
			for what, bad := range map[string][]objstore.CompletePart{"MD5s": md5s, "sums without a suffix": bare} {
				if _, err := u.complete("o", bad...); !objstore.IsKind(err, objstore.KindInvalidPart) {
					t.Errorf("Complete with %s: %v", what, err)
				}
			}
			info, err := u.complete("o", parts...)
			if err != nil {
				t.Fatal(err)
			}
			mustBeOpaque(t, "object", info.ETag, all, len(parts))
			if info.Parts != len(parts) || info.Checksum == nil || info.Checksum.Value != checksum.Format(checksum.Of(checksum.CRC64NVME, all)) {
				t.Errorf("%+v, checksum %+v", info, info.Checksum)
			}
			if again, err := u.complete("o", parts...); err != nil || again.ETag != info.ETag || again.Inode != info.Inode {
				t.Errorf("repeated Complete: %+v, %v", again, err)
			}
			same(t, "object", mustGet(t, k.s, "o"), all)
			if p, _, err := get(k.s, objstore.GetRequest{Key: "o", PartNumber: 1}); err != nil || len(p) != sizes[0] {
				t.Errorf("part 1: %d bytes, %v", len(p), err)
			}
			k.reopen()
			if got := tagOf(t, k.s, "o"); got != info.ETag {
				t.Errorf("%s, reopened %s", info.ETag, got)
			}
			u.clean(1)
			// Written in the mount it is no longer what the upload became.
			f := fileAt(t, k.s, root, "o")
			mustWrite(t, f, []byte("x"), 0)
			if err := f.Close(bg); err != nil {
				t.Fatal(err)
			}
			if got := tagOf(t, k.s, "o"); got == info.ETag {
				t.Error("a changed file keeps its ETag")
			}
			if _, err := u.complete("o", parts...); !objstore.IsKind(err, objstore.KindNoSuchUpload) {
				t.Errorf("Complete of what was changed since: %v", err)
			}
		})
	}
}

func TestUploadKeepsTheETagsItBeganWith(t *testing.T) {
	k, _ := newStack(t, nil)
	u := newUpload(t, k, "o")
	setETags(t, k.s, "bucket", objstore.ETagsOpaque)
	p := bytesOf(1, 100)
	info, err := u.complete("o", u.part("o", 1, p)) // which checks the part's MD5
	if err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum(p)
	if want := md5Hex(sum[:]) + "-1"; info.ETag != want {
		t.Errorf("ETag %s, want %s", info.ETag, want)
	}
}

// TestCopiesIntoABucketOfOpaqueETags: whatever the source has.
func TestCopiesIntoABucketOfOpaqueETags(t *testing.T) {
	k, root := newStack(t, nil)
	makeBucket(t, k.s, "opaque")
	setETags(t, k.s, "opaque", objstore.ETagsOpaque)
	whole, big := bytesOf(1, 1000), bytesOf(2, 5<<20+7)
	put(t, k.s, "whole", whole)
	u := newUpload(t, k, "parts")
	if _, err := u.complete("parts", u.part("parts", 1, big[:5<<20]), u.part("parts", 2, big[5<<20:])); err != nil {
		t.Fatal(err)
	}
	f := fileAt(t, k.s, root, "file")
	mustWrite(t, f, whole, 0)
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	up, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "opaque", Key: "joined"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key   string
		p     []byte
		parts int
	}{{"whole", whole, 0}, {"parts", big, 2}, {"file", whole, 0}} {
		src := tagOf(t, k.s, c.key)
		info, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: c.key, DstBucket: "opaque", DstKey: c.key})
		if err != nil {
			t.Fatal(err)
		}
		mustBeOpaque(t, "copy of "+c.key, info.ETag, c.p, c.parts)
		if info.Parts != c.parts || info.ETag == src || info.ETag[:32] == src[:32] {
			t.Errorf("copy of %s: %+v, ETag of the source %s", c.key, info, src)
		}
		part, _, err := k.s.CopyPart(bg, s3C, objstore.CopyPartRequest{
			SrcBucket: "bucket", SrcKey: c.key, Bucket: "opaque", Key: "joined", Upload: up.ID, Number: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		mustBeOpaque(t, "part of "+c.key, part.ETag, c.p, 0)
		if part.ETag[:32] == src[:32] {
			t.Errorf("part of %s has the source's ETag", c.key)
		}
		// And on, and back.
		for _, dst := range []string{"opaque", "bucket"} {
			on, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "opaque", SrcKey: c.key, DstBucket: dst, DstKey: "copy"})
			if err != nil {
				t.Fatal(err)
			}
			mustBeOpaque(t, "copy into "+dst, on.ETag, c.p, c.parts)
			if on.ETag == info.ETag {
				t.Errorf("copy into %s has its source's ETag", dst)
			}
		}
		same(t, "copy", mustGet(t, k.s, "copy"), c.p)
	}
	done, err := k.s.ListParts(bg, s3C, objstore.ListPartsRequest{Bucket: "opaque", Key: "joined", Upload: up.ID, Max: 10})
	if err != nil || len(done.Parts) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	info, err := k.s.CompleteUpload(bg, s3C, objstore.CompleteRequest{
		Bucket: "opaque", Key: "joined", Upload: up.ID, Size: -1, Parts: []objstore.CompletePart{{Number: 1, ETag: done.Parts[0].ETag}},
	})
	if err != nil {
		t.Fatal(err)
	}
	mustBeOpaque(t, "object made of a copy", info.ETag, whole, 1)
}

// TestChoiceOfETagsIsDurable when it returns, and stays with its bucket.
func TestChoiceOfETagsIsDurable(t *testing.T) {
	k, _ := newStack(t, nil)
	makeBucket(t, k.s, "other")
	setETags(t, k.s, "bucket", objstore.ETagsOpaque)
	after := k.crash(rand.New(rand.NewPCG(1, 2)), 0)
	if err := after.open(false); err != nil {
		t.Fatal(err)
	}
	defer after.close()
	k.reopen()
	for what, s := range map[string]*Store{"crashed": after.s, "reopened": k.s} {
		list, _, err := s.ListBuckets(bg, s3C, "", "", 10)
		if err != nil || len(list) == 0 || list[0].Name != "bucket" || list[0].ETags != objstore.ETagsOpaque {
			t.Errorf("%s: %+v, %v", what, list, err)
		}
		for _, b := range list[1:] {
			if b.ETags != objstore.ETagsMD5 {
				t.Errorf("%s: the other bucket is %v", what, b.ETags)
			}
		}
		mustBeOpaque(t, what, put(t, s, "k", []byte("x")).ETag, []byte("x"), 0)
	}
	if _, err := k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if err := k.s.DeleteBucket(bg, s3C, "bucket"); err != nil {
		t.Fatal(err)
	}
	if err := k.s.SetBucketETags(bg, s3C, "bucket", objstore.ETagsMD5); !objstore.IsKind(err, objstore.KindNoSuchBucket) {
		t.Errorf("a bucket that is gone: %v", err)
	}
	makeBucket(t, k.s, "bucket")
	if got := put(t, k.s, "k", []byte("x")).ETag; got != md5Hex([]byte("x")) {
		t.Errorf("a new bucket of the old name has the ETag %s", got)
	}
	if err := k.s.SetBucketETags(bg, s3C, "bucket", 2); !objstore.IsKind(err, objstore.KindInvalidArgument) {
		t.Errorf("form 2: %v", err)
	}
}

// An MD5 that is not shown is computed with the body where the body is large, and
// where it is small by whoever makes a copy that shows it.
func TestMD5sOfSmallObjectsAreLeftToCopies(t *testing.T) {
	k, _ := newStack(t, nil)
	under := objstore.Encryption{Mode: objstore.SSEC, CustomerKey: secret.Random()}
	for _, size := range []int{0, 1, extent.MaxInline, extent.MaxInline + 1} {
		for _, told := range []bool{true, false} { // its size is told before it comes
			p := bytesOf(1, size)
			req := objstore.PutRequest{
				Bucket: "bucket", Key: "src", Body: bytes.NewReader(p), Size: -1, Encryption: under,
				Algorithms: []checksum.Algorithm{checksum.CRC64NVME}, Store: checksum.CRC64NVME,
				Verify: func(sums checksum.Sums) error {
					if _, ok := sums[checksum.MD5]; ok == (told && size <= extent.MaxInline) {
						t.Errorf("%d bytes, told %v: an MD5: %v", size, told, ok)
					}
					return nil
				},
			}
			if told {
				req.Size = int64(size)
			}
			info, err := k.s.PutObject(bg, s3C, req)
			if err != nil {
				t.Fatal(err)
			}
			if info.ETag == md5Hex(p) {
				t.Errorf("%d bytes: the MD5 shows", size)
			}
			if got := tagOf(t, k.s, "src", under); got != info.ETag {
				t.Errorf("%d bytes: %s, then %s", size, info.ETag, got)
			}
			// By way of another key, and at once.
			from, other := "src", objstore.Encryption{Mode: objstore.SSEC, CustomerKey: secret.Random()}
			for _, e := range []objstore.Encryption{other, {}} {
				info, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{
					SrcBucket: "bucket", SrcKey: from, SrcCustomerKey: under, DstBucket: "bucket", DstKey: "copy", Encryption: e,
				})
				if err != nil {
					t.Fatal(err)
				}
				if (info.ETag == md5Hex(p)) != (e.CustomerKey == nil) {
					t.Errorf("%d bytes, told %v, to %v: ETag %s", size, told, info.SSE.Mode, info.ETag)
				}
			}
			for _, key := range []string{"a", "b"} {
				if _, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{
					SrcBucket: "bucket", SrcKey: from, SrcCustomerKey: under, DstBucket: "bucket", DstKey: key, Encryption: other,
				}); err != nil {
					t.Fatal(err)
				}
				from, under, other = key, other, objstore.Encryption{}
			}
			if got := tagOf(t, k.s, "b"); got != md5Hex(p) {
				t.Errorf("%d bytes, told %v: %s after two copies", size, told, got)
			}
			under = objstore.Encryption{Mode: objstore.SSEC, CustomerKey: secret.Random()}
		}
	}
}
