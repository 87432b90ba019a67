package engine

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// dekRecords returns the data keys of a store by id.
func dekRecords(t tester, s *Store) map[record.DEKID]*record.DEK {
	t.Helper()
	list := make(map[record.DEKID]*record.DEK)
	err := s.view(bg, "test", "", func(r reader) error {
		for p, err := range r.Scan(meta.Prefix(record.DEKPrefix())) {
			if err != nil {
				return err
			}
			rec, err := record.ParseDEK(p.Value)
			if err != nil {
				return err
			}
			var id record.DEKID
			for _, b := range p.Key[1:] {
				id = id<<8 | record.DEKID(b)
			}
			list[id] = rec
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// contentOf returns the content of an object.
func contentOf(t tester, s *Store, bucket, key string) record.Content {
	t.Helper()
	var c record.Content
	err := s.view(bg, "test", key, func(r reader) error {
		root, err := r.bucketRoot(bucket)
		if err != nil {
			return err
		}
		_, n, err := r.findKey(root, key)
		if err == nil {
			c = n.Content
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func putUnder(t tester, s *Store, bucket, key string, e objstore.Encryption) {
	t.Helper()
	_, err := s.PutObject(bg, s3C, objstore.PutRequest{Bucket: bucket, Key: key, Body: strings.NewReader("x"), Size: 1, Encryption: e})
	if err != nil {
		t.Errorf("put: %v", err)
	}
}

// One data key for each external key, bucket, purpose and client's context, also
// when many ask at once and when the store is opened again.
func TestDataKeysAreSharedByWhatTheyAreFor(t *testing.T) {
	k, _ := newStack(t, nil)
	for _, id := range []kms.KeyID{"one", "two"} {
		if err := k.keys.Create(bg, id); err != nil {
			t.Fatal(err)
		}
	}
	makeBucket(t, k.s, "second")
	uses := []struct {
		bucket string
		e      objstore.Encryption
	}{
		{"bucket", objstore.Encryption{Mode: objstore.SSEKMS, KMSKeyID: "one"}},
		{"bucket", objstore.Encryption{Mode: objstore.SSEKMS, KMSKeyID: "two"}},
		{"second", objstore.Encryption{Mode: objstore.SSEKMS, KMSKeyID: "one"}},
		{"bucket", objstore.Encryption{Mode: objstore.SSEKMS, KMSKeyID: "one", Context: map[string]string{"a": "b"}}},
		{"bucket", objstore.Encryption{Mode: objstore.SSEKMS, KMSKeyID: "one", Context: map[string]string{"ab": ""}}},
		{"bucket", objstore.Encryption{Mode: objstore.SSEDSSE, KMSKeyID: "one"}},
	}
	round := func(name string) map[record.DEKID]string {
		var g sync.WaitGroup
		for i, u := range uses {
			for j := range 4 {
				g.Go(func() { putUnder(t, k.s, u.bucket, fmt.Sprintf("%s-%d-%d", name, i, j), u.e) })
			}
		}
		g.Wait()
		ids := make(map[record.DEKID]string)
		for i, u := range uses {
			for j := range 4 {
				c := contentOf(t, k.s, u.bucket, fmt.Sprintf("%s-%d-%d", name, i, j))
				for layer, id := range []record.DEKID{c.DEK, c.OuterDEK} {
					use := fmt.Sprintf("use %d, layer %d", i, layer)
					if id == 0 && layer == 1 && u.e.Mode != objstore.SSEDSSE {
						continue
					}
					if was, ok := ids[id]; ok && was != use {
						t.Errorf("%s and %s share a data key", was, use)
					}
					ids[id] = use
				}
			}
		}
		return ids
	}
	ids := round("first")
	if len(ids) != len(uses)+1 {
		t.Errorf("%d data keys for %d uses, one of two layers", len(ids), len(uses))
	}
	k.s.deks.Drop()
	for id := range round("again") {
		if ids[id] == "" {
			t.Error("another data key for the same use")
		}
	}
	// Their contexts say what they are for.
	recs := dekRecords(t, k.s)
	c := contentOf(t, k.s, "bucket", "first-3-0")
	rec := recs[c.DEK]
	if rec.KeyID != "one" || rec.Context["a"] != "b" || rec.Context["aws:s3:arn"] != "arn:aws:s3:::bucket" || rec.Context["coffer:purpose"] != purposeKMS {
		t.Errorf("%+v", rec)
	}
	d := contentOf(t, k.s, "bucket", "first-5-0")
	if recs[d.DEK].Context["coffer:purpose"] == recs[d.OuterDEK].Context["coffer:purpose"] || bytes.Equal(d.SealedOEK, d.SealedOuter) {
		t.Error("the layers have one key")
	}
	// The context is used when the key is opened.
	rec.Context["a"] = "c"
	if err := k.s.update(bg, objstore.Caller{}, "test", "", func(x *tx) error {
		x.txn.Set(record.DEKKey(c.DEK), rec.Append(nil))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	k.s.ForgetKeys("one")
	if _, err := k.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: "first-3-0"}); err == nil {
		t.Error("a data key opens with another context")
	}
}

// A copy under other keys shares the source's chunks, also in place; only between
// one layer and two are there new extents.
func TestCopiesBetweenKeysMoveNoData(t *testing.T) {
	k, _ := newStack(t, nil)
	if err := k.keys.Create(bg, "one"); err != nil {
		t.Fatal(err)
	}
	body := bytesOf(1, 9<<20)
	put(t, k.s, "source", body)
	extents := func() (n int) {
		err := k.s.view(bg, "test", "", func(r reader) error {
			n = 0
			for _, err := range r.Scan(meta.Prefix([]byte{'e'})) {
				if err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := extents()
	copyTo := func(src, dst string, e objstore.Encryption) {
		t.Helper()
		_, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: src, DstBucket: "bucket", DstKey: dst, Encryption: e})
		if err != nil {
			t.Fatal(err)
		}
	}
	under := objstore.Encryption{Mode: objstore.SSEKMS, KMSKeyID: "one"}
	copyTo("source", "kms", under)
	copyTo("kms", "kms", objstore.Encryption{Mode: objstore.SSEKMS})
	copyTo("kms", "s3", objstore.Encryption{})
	if n := extents(); n != before {
		t.Errorf("%d extents, were %d", n, before)
	}
	copyTo("s3", "dsse", objstore.Encryption{Mode: objstore.SSEDSSE, KMSKeyID: "one"})
	twice := extents()
	if twice < 2*before {
		t.Errorf("%d extents after encrypting anew, were %d", twice, before)
	}
	copyTo("dsse", "dsse2", objstore.Encryption{Mode: objstore.SSEDSSE})
	copyTo("dsse2", "dsse2", objstore.Encryption{Mode: objstore.SSEDSSE, KMSKeyID: "one"})
	if n := extents(); n != twice {
		t.Errorf("%d extents, were %d", n, twice)
	}
	for _, key := range []string{"source", "kms", "s3", "dsse", "dsse2"} {
		if got := mustGet(t, k.s, key); !bytes.Equal(got, body) {
			t.Errorf("%s: %d bytes", key, len(got))
		}
	}
}

// Holes stay holes where data are encrypted anew.
func TestHolesOfACopyThatIsEncryptedAnew(t *testing.T) {
	if raceDetector && !long {
		t.Skip("one goroutine, and 400 MiB to read")
	}
	k, root := newStack(t, nil)
	_, f, err := k.s.Create(bg, mountC, root, "sparse", 0o644, objstore.OpenFlags{Read: true, Write: true}, true)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, bytesOf(1, 100_000), 70<<20)
	mustWrite(t, f, bytesOf(2, 10), 200<<20)
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	want := mustGet(t, k.s, "sparse")
	_, err = k.s.CopyObject(bg, s3C, objstore.CopyRequest{
		SrcBucket: "bucket", SrcKey: "sparse", DstBucket: "bucket", DstKey: "copy", Encryption: objstore.Encryption{Mode: objstore.SSEDSSE},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := mustGet(t, k.s, "copy"); !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
	attr, err := k.s.Lookup(bg, root, "copy")
	if err != nil || attr.Size != int64(len(want)) || attr.Blocks*512 > 16<<20 {
		t.Errorf("%+v, %v", attr, err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}
