package engine

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/record"
)

// The checksum of an object under a customer's key is the same whether Complete is
// given the key or not, and nobody has it who lacks the key.
func TestCompleteWithoutTheKeyKeepsTheChecksum(t *testing.T) {
	k, _ := newStack(t, nil)
	key, other := secret.Random(), secret.Random()
	under := func(k *secret.Key) objstore.Encryption {
		return objstore.Encryption{Mode: objstore.SSEC, CustomerKey: k}
	}
	upload := func(name string, typ checksum.Type, complete objstore.Encryption) objstore.ObjectInfo {
		t.Helper()
		up, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: name, Encryption: under(key), Algorithm: checksum.CRC32C, Type: typ})
		if err != nil {
			t.Fatal(err)
		}
		var parts []objstore.CompletePart
		for i, body := range []string{strings.Repeat("a", objstore.MinPartSize), "b"} {
			info, _, err := k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{Bucket: "bucket", Key: name, Upload: up.ID, Number: i + 1,
				Body: strings.NewReader(body), Size: int64(len(body)), Encryption: under(key)})
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, objstore.CompletePart{Number: i + 1, ETag: info.ETag})
		}
		k.reopen() // the key for checksums is not kept in memory
		info, err := k.s.CompleteUpload(bg, s3C, objstore.CompleteRequest{Bucket: "bucket", Key: name, Upload: up.ID, Parts: parts, Size: -1, CustomerKey: complete})
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	head := func(name string, e objstore.Encryption) (sum string, parts int) {
		t.Helper()
		err := k.s.GetObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: name, CustomerKey: e}, func(o *Object) error {
			list, err := o.Parts()
			sum, parts = fmt.Sprint(*o.Info.Checksum), len(list)
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return sum, parts
	}
	for _, typ := range []checksum.Type{checksum.FullObject, checksum.Composite} {
		with, without := "with "+string(typ), "without "+string(typ)
		first := upload(with, typ, under(key))
		second := upload(without, typ, objstore.Encryption{})
		want, parts := head(with, under(key))
		if got, n := head(without, under(key)); got != want || n != parts || (n == 2) != (typ == checksum.Composite) {
			t.Errorf("%q: %s of %d parts is not %s of %d", typ, got, n, want, parts)
		}
		if second.Checksum == nil || fmt.Sprint(*first.Checksum) != want || fmt.Sprint(*second.Checksum) != want {
			t.Errorf("%q: told %v and %v, not %s", typ, first.Checksum, second.Checksum, want)
		}
		info, err := k.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: without, NoKey: true})
		if err != nil || info.Checksum != nil {
			t.Errorf("%q: without the key: %v, %v", typ, info.Checksum, err)
		}
		// Under another key, in place, and under the store's own.
		for i, to := range []objstore.Encryption{under(other), {Mode: objstore.SSES3}} {
			name := without
			if i > 0 {
				name = "copy " + string(typ)
			}
			from := []objstore.Encryption{under(key), under(other)}[i]
			if _, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: without, SrcCustomerKey: from, DstBucket: "bucket", DstKey: name, Encryption: to}); err != nil {
				t.Fatal(err)
			}
			if to.Mode == objstore.SSES3 {
				to = objstore.Encryption{}
			}
			if got, _ := head(name, to); typ != checksum.Composite && got != want {
				t.Errorf("%q: copied: %s is not %s", typ, got, want)
			}
		}
	}
}

// What opens the key for checksums without the customer's goes with the upload.
func TestKeyForChecksumsEndsWithTheUpload(t *testing.T) {
	k, _ := newStack(t, nil)
	key := secret.Random()
	up, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: "k", Algorithm: checksum.CRC32C, Type: checksum.FullObject,
		Encryption: objstore.Encryption{Mode: objstore.SSEC, CustomerKey: key}})
	if err != nil {
		t.Fatal(err)
	}
	u, err := k.s.openUpload(bg, "test", "bucket", "k", up.ID)
	if err != nil || len(u.rec.ChecksumKey) == 0 || bytes.Equal(u.rec.ChecksumKey, u.rec.Content.ChecksumKey) {
		t.Fatalf("%+v, %v", u, err)
	}
	oek, err := k.s.openOEK(bg, &u.rec.Content, key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := checksumKey(&u.rec.Content, oek)
	if err != nil {
		t.Fatal(err)
	}
	b, err := k.s.completeKey(bg, u, nil)
	if err != nil || !a.Equal(b) || a.Equal(oek.Inner) {
		t.Errorf("two keys: %v", err)
	}
	// Neither opens in the place of the other, nor of another upload.
	moved := *u
	moved.rec = &record.Upload{Content: u.rec.Content, ChecksumKey: u.rec.Content.ChecksumKey}
	if _, err := k.s.completeKey(bg, &moved, nil); err == nil {
		t.Error("sealed under the object key, it opens without")
	}
	moved.rec = &record.Upload{Content: u.rec.Content, ChecksumKey: u.rec.ChecksumKey}
	moved.rec.Content.ID = newContentID()
	if _, err := k.s.completeKey(bg, &moved, nil); err == nil {
		t.Error("it opens for another upload")
	}
	plain, err := k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: "plain"})
	if err != nil {
		t.Fatal(err)
	}
	if u, err = k.s.openUpload(bg, "test", "bucket", "plain", plain.ID); err != nil || len(u.rec.ChecksumKey)+len(u.rec.Content.ChecksumKey) > 0 {
		t.Errorf("%+v, %v", u, err)
	}
}
