package s3api

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
)

// keyDoor is a door over a store, with the keys of its key service.
type keyDoor struct {
	*door
	keys  kms.Admin
	store *engine.Store
}

// openKeyDoor opens a door whose key service has the keys "one", of the alias
// first, and "two".
func openKeyDoor(t testing.TB, change ...func(*Options)) *keyDoor {
	t.Helper()
	s := storetest.Open(t, storetest.Options{})
	d := keyDoorOf(openDoorOf(t, s, change...), s)
	d.must(d.keys.Create(context.Background(), "one", "first"))
	d.must(d.keys.Create(context.Background(), "two"))
	return d
}

func keyDoorOf(d *door, s *storetest.Store) *keyDoor {
	return &keyDoor{d, s.Options.KMS.(kms.Admin), s.Store}
}

func (d *keyDoor) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// change does something to a key, as the daemon does it.
func (d *keyDoor) change(fn func(context.Context, kms.KeyID) error, id kms.KeyID) {
	d.t.Helper()
	d.must(fn(context.Background(), id))
	d.store.ForgetKeys(id)
}

func keyARN(name string) string { return "arn:aws:kms:us-east-1:000000000000:key/" + name }

// under are the headers of a write under a key.
func under(mode, key string, more ...string) []string {
	h := []string{"x-amz-server-side-encryption", mode}
	if key != "" {
		h = append(h, "x-amz-server-side-encryption-aws-kms-key-id", key)
	}
	return append(h, more...)
}

// sealed checks what a response says of encryption by the key service.
func sealed(t *testing.T, what string, a reply, mode, key, bucketKey string) {
	t.Helper()
	const p = "x-amz-server-side-encryption"
	h := a.header
	if key != "" {
		key = keyARN(key)
	}
	if a.status > 206 || h.Get(p) != mode || h.Get(p+"-aws-kms-key-id") != key || h.Get(p+"-bucket-key-enabled") != bucketKey {
		t.Errorf("%s: %v %v", what, a, h)
	}
}

const bucketKeyHeader = "x-amz-server-side-encryption-bucket-key-enabled"

func TestObjectsUnderKeysOfTheKeyService(t *testing.T) {
	d := openKeyDoor(t)
	d.bucket("bucket")
	for _, mode := range []string{"aws:kms", "aws:kms:dsse"} {
		for _, size := range []int{0, 1, 9000, 100_000, 5<<20 + 3, 9<<20 + 1} {
			body := strings.Repeat("0123456789abcdef\n", size/17+1)[:size]
			what := fmt.Sprintf("%s, %d bytes", mode, size)
			key := "/bucket/" + strings.ReplaceAll(mode, ":", "-") + fmt.Sprint(size)
			sum := fmt.Sprintf("\"%x\"", md5.Sum([]byte(body)))
			put := d.do("PUT", key, body, under(mode, "one")...)
			sealed(t, what, put, mode, "one", "")
			etag := put.header.Get("ETag")
			if len(etag) != 34 || etag == sum {
				t.Errorf("%s: ETag %s", what, etag)
			}
			get := d.do("GET", key, "", "x-amz-checksum-mode", "ENABLED")
			sealed(t, what+" GET", get, mode, "one", "")
			if get.body != body || get.header.Get("ETag") != etag || get.header.Get("x-amz-checksum-crc64nvme") == "" {
				t.Errorf("%s: %d bytes, %v", what, len(get.body), get.header)
			}
			sealed(t, what+" HEAD", d.do("HEAD", key, ""), mode, "one", "")
			if size > 1 {
				if a := d.do("GET", key, "", "Range", fmt.Sprintf("bytes=%d-%d", size/3, size-2)); a.status != 206 || a.body != body[size/3:size-1] {
					t.Errorf("%s: range: %d bytes", what, len(a.body))
				}
			}
			// Back under SSE-S3 the ETag is the MD5 again.
			a := d.do("PUT", key+"-s3", "", "x-amz-copy-source", key)
			sealed(t, what+" to SSE-S3", a, "AES256", "", "")
			if got := element(a.body, "ETag"); strings.ReplaceAll(got, "&quot;", `"`) != sum || d.get("bucket", key[8:]+"-s3") != body {
				t.Errorf("%s to SSE-S3: %s, want %s", what, got, sum)
			}
			a = d.do("PUT", key, "", append(under("aws:kms:dsse", "alias/first"), "x-amz-copy-source", key)...)
			sealed(t, what+" to DSSE-KMS, in place", a, "aws:kms:dsse", "one", "")
			if d.get("bucket", key[8:]) != body {
				t.Error(what, "to DSSE-KMS, in place: bytes")
			}
			a = d.do("PUT", key, "", append(under("aws:kms", keyARN("two")), "x-amz-copy-source", key)...)
			sealed(t, what+" to another key, in place", a, "aws:kms", "two", "")
			if d.get("bucket", key[8:]) != body {
				t.Error(what, "to another key, in place: bytes")
			}
		}
	}
}

func TestKeyIDsBucketKeysAndContexts(t *testing.T) {
	d := openKeyDoor(t)
	d.bucket("bucket")
	for _, id := range []string{"one", "alias/first", keyARN("one"), "arn:aws:kms:us-east-1:000000000000:alias/first"} {
		sealed(t, id, d.do("PUT", "/bucket/k", "x", under("aws:kms", id)...), "aws:kms", "one", "")
	}
	sealed(t, "managed key", d.do("PUT", "/bucket/k", "x", under("aws:kms", "")...), "aws:kms", "aws-s3", "")
	sealed(t, "managed key by alias", d.do("PUT", "/bucket/k", "x", under("aws:kms", "alias/aws/s3")...), "aws:kms", "aws-s3", "")
	sealed(t, "bucket key", d.do("PUT", "/bucket/k", "x", under("aws:kms", "one", bucketKeyHeader, "true")...), "aws:kms", "one", "true")
	sealed(t, "bucket key GET", d.do("GET", "/bucket/k", ""), "aws:kms", "one", "true")
	sealed(t, "no bucket key", d.do("PUT", "/bucket/k", "x", under("aws:kms", "one", bucketKeyHeader, "false")...), "aws:kms", "one", "")
	sealed(t, "bucket key of DSSE", d.do("PUT", "/bucket/k", "x", under("aws:kms:dsse", "one", bucketKeyHeader, "true")...), "aws:kms:dsse", "one", "")
	sealed(t, "bucket key of SSE-S3", d.do("PUT", "/bucket/k", "x", under("AES256", "", bucketKeyHeader, "true")...), "AES256", "", "")

	text := base64.StdEncoding.EncodeToString([]byte(`{"team":"red","aws:s3:arn":"mine"}`))
	const header = "x-amz-server-side-encryption-context"
	a := d.do("PUT", "/bucket/c", "context", under("aws:kms", "one", header, text)...)
	sealed(t, "context", a, "aws:kms", "one", "")
	if a.header.Get(header) != text {
		t.Errorf("the context is not told: %v", a.header)
	}
	if a = d.do("GET", "/bucket/c", ""); a.body != "context" || a.header.Get(header) != "" {
		t.Error(a, a.header)
	}
	for _, bad := range []string{"no base64!", base64.StdEncoding.EncodeToString([]byte("[]")), base64.StdEncoding.EncodeToString([]byte(`{"a":1}`)), strings.Repeat("A", 9<<10)} {
		d.do("PUT", "/bucket/c", "x", under("aws:kms", "one", header, bad)...).want(t, "context "+bad[:4], 400, "InvalidArgument", "")
	}
	reserved := base64.StdEncoding.EncodeToString([]byte(`{"coffer:bucket":"1"}`))
	d.do("PUT", "/bucket/c", "x", under("aws:kms", "one", header, reserved)...).want(t, "reserved", 400, "InvalidArgument", "")

	// Uploads carry it all.
	a = d.do("POST", "/bucket/m?uploads", "", under("aws:kms", "two", bucketKeyHeader, "true", header, text)...)
	sealed(t, "create upload", a, "aws:kms", "two", "true")
	id := element(a.body, "UploadId")
	p := d.do("PUT", "/bucket/m?partNumber=1&uploadId="+id, "part")
	sealed(t, "part", p, "aws:kms", "two", "true")
	a = d.do("POST", "/bucket/m?uploadId="+id, completeXML(partXML(1, p.header.Get("ETag"))))
	sealed(t, "complete", a, "aws:kms", "two", "true")
	if strings.Contains(a.body, "Checksum") {
		t.Error("AWS tells no checksum here:", a.body)
	}
	a = d.do("GET", "/bucket/m", "", "x-amz-checksum-mode", "ENABLED")
	sealed(t, "get", a, "aws:kms", "two", "true")
	if a.body != "part" || a.header.Get("x-amz-checksum-crc64nvme") == "" || a.header.Get("x-amz-checksum-type") != "FULL_OBJECT" || !strings.HasSuffix(a.header.Get("ETag"), `-1"`) {
		t.Error(a, a.header)
	}
}

func TestLockedKeysLockTheirObjectsAtOnce(t *testing.T) {
	d := openKeyDoor(t)
	d.bucket("bucket")
	for _, mode := range []string{"aws:kms", "aws:kms:dsse"} {
		d.do("PUT", "/bucket/"+mode, "locked", under(mode, "one")...).ok(t, "put", 200)
	}
	up := d.do("POST", "/bucket/up?uploads", "", under("aws:kms", "one")...)
	id := element(up.body, "UploadId")
	d.bucket("default")
	d.put("bucket", "plain", "plain")
	plainID := element(d.do("POST", "/bucket/plainup?uploads", "").body, "UploadId")
	refused := func(what, code, message string) {
		t.Helper()
		for _, mode := range []string{"aws:kms", "aws:kms:dsse"} {
			d.do("GET", "/bucket/"+mode, "").want(t, what+" GET", 400, code, message)
			d.do("PUT", "/bucket/x", "", "x-amz-copy-source", "/bucket/"+mode).want(t, what+" copy", 400, code, message)
			d.do("PUT", "/bucket/x", "x", under(mode, "one")...).want(t, what+" PUT", 400, code, message)
			d.do("POST", "/bucket/x?uploads", "", under(mode, "one")...).want(t, what+" create upload", 400, code, message)
			d.do("GET", "/bucket/"+mode, "", "Range", "bytes=1-2").want(t, what+" GET of a range", 400, code, message)
			d.do("PUT", "/bucket/x", "", under(mode, "one", "x-amz-copy-source", "/bucket/plain")...).want(t, what+" copy to it", 400, code, message)
			d.do("PUT", "/bucket/"+mode, "", "x-amz-copy-source", "/bucket/"+mode, "x-amz-server-side-encryption", "AES256").want(t, what+" copy in place", 400, code, message)
			d.do("PUT", "/bucket/plainup?partNumber=1&uploadId="+plainID, "", "x-amz-copy-source", "/bucket/"+mode).want(t, what+" copied part from it", 400, code, message)
			(&rows{keyDoor: d}).form(under(mode, "one")).want(t, what+" form", 400, code, message)
			d.do("PUT", "/default?encryption", encryptionXML(mode, "one", "")).ok(t, what+" as a default", 200)
			d.do("PUT", "/default/x", "x").want(t, what+" PUT by default", 400, code, message)
			d.do("PUT", "/default/x", "", "x-amz-copy-source", "/bucket/plain").want(t, what+" copy by default", 400, code, message)
			d.do("POST", "/default/x?uploads", "").want(t, what+" create upload by default", 400, code, message)
		}
		d.do("PUT", "/bucket/up?partNumber=1&uploadId="+id, "x").want(t, what+" part", 400, code, message)
		d.do("PUT", "/bucket/up?partNumber=1&uploadId="+id, "", "x-amz-copy-source", "/bucket/plain").want(t, what+" copied part", 400, code, message)
		if a := d.do("HEAD", "/bucket/aws:kms", ""); a.status != 200 || a.header.Get("Content-Length") != "6" {
			t.Error(what, "HEAD:", a)
		}
		if a := d.do("GET", "/bucket?list-type=2", ""); strings.Count(a.body, "<Key>") != 3 {
			t.Error(what, "list:", a)
		}
		if a := d.do("GET", "/bucket?uploads", ""); !strings.Contains(a.body, id) {
			t.Error(what, "list uploads:", a)
		}
	}
	d.change(d.keys.Disable, "one")
	refused("disabled", "KMS.DisabledException", keyARN("one")+" is disabled.")
	d.change(d.keys.Enable, "one")
	d.do("GET", "/bucket/aws:kms", "").ok(t, "enabled again", 200)
	soon := time.Now().Add(time.Hour)
	d.change(func(ctx context.Context, id kms.KeyID) error { return d.keys.ScheduleDeletion(ctx, id, soon) }, "one")
	refused("pending deletion", "KMS.KMSInvalidStateException", keyARN("one")+" is pending deletion.")
	if _, err := d.keys.EraseDue(context.Background(), soon); err != nil {
		t.Fatal(err)
	}
	d.store.ForgetKeys("one")
	d.do("GET", "/bucket/aws:kms", "").want(t, "erased", 400, "KMS.NotFoundException", "Key '"+keyARN("one")+"' does not exist")
	// Another key of the name does not open what the first closed, and works.
	d.must(d.keys.Create(context.Background(), "one"))
	d.do("GET", "/bucket/aws:kms", "").want(t, "made anew", 400, "KMS.NotFoundException", "")
	d.do("PUT", "/bucket/new", "new", under("aws:kms", "one")...).ok(t, "put under the new key", 200)
	if d.get("bucket", "new") != "new" {
		t.Error("under the new key")
	}
	d.do("DELETE", "/bucket/aws:kms", "").ok(t, "what is lost can be deleted", 204)
}

// No data are moved: what is told of the object stays.
func TestUpdateObjectEncryption(t *testing.T) {
	d := openKeyDoor(t)
	d.bucket("bucket")
	doc := func(arn, bucketKey string) string {
		return `<ObjectEncryption xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><SSE-KMS><BucketKeyEnabled>` + bucketKey + `</BucketKeyEnabled><KMSKeyArn>` + arn + `</KMSKeyArn></SSE-KMS></ObjectEncryption>`
	}
	for _, size := range []int{5, 5 << 20} {
		body := strings.Repeat("x", size)
		put := d.do("PUT", "/bucket/k", body, "x-amz-meta-a", "b")
		before := d.do("HEAD", "/bucket/k", "", "x-amz-checksum-mode", "ENABLED")
		d.do("PUT", "/bucket/k?encryption", doc(keyARN("one"), "true")).ok(t, "update", 200)
		after := d.do("HEAD", "/bucket/k", "", "x-amz-checksum-mode", "ENABLED")
		sealed(t, "after", after, "aws:kms", "one", "true")
		for _, name := range []string{"ETag", "Last-Modified", "x-amz-checksum-crc64nvme", "x-amz-meta-a", "Content-Length"} {
			if after.header.Get(name) == "" || after.header.Get(name) != before.header.Get(name) {
				t.Errorf("%s: %q, was %q", name, after.header.Get(name), before.header.Get(name))
			}
		}
		if after.header.Get("ETag") != put.header.Get("ETag") || d.get("bucket", "k") != body {
			t.Error("bytes")
		}
		d.do("PUT", "/bucket/k?encryption", doc(keyARN("two"), "false")).ok(t, "another key", 200)
		sealed(t, "another key", d.do("GET", "/bucket/k", ""), "aws:kms", "two", "")
		d.change(d.keys.Disable, "one")
		if d.get("bucket", "k") != body {
			t.Error("the old key still counts")
		}
		d.change(d.keys.Enable, "one")
	}
	d.do("PUT", "/bucket/c", "x", customer("a")...).ok(t, "put", 200)
	d.do("PUT", "/bucket/dsse", "x", under("aws:kms:dsse", "one")...).ok(t, "put", 200)
	for _, key := range []string{"c", "dsse"} {
		d.do("PUT", "/bucket/"+key+"?encryption", doc(keyARN("one"), "false")).want(t, key, 400, "InvalidRequest", "The UpdateObjectEncryption operation doesn't support source objects with the encryption type DSSE-KMS or SSE-C. Only source objects encrypted with SSE-S3 or SSE-KMS are supported.")
	}
	for what, c := range map[string][3]string{
		"not there": {"", "", ""},
		"no ARN":    {doc("", "true"), "InvalidRequest", "require an AWS KMS key Amazon Resource Name"},
		"a name":    {doc("one", "true"), "InvalidRequest", "require a valid AWS KMS key Amazon Resource Name"},
		"no key":    {doc(keyARN("nobody"), "true"), "KMS.NotFoundException", "does not exist"},
		"no bool":   {doc(keyARN("one"), "maybe"), "InvalidRequest", "The BucketKeyEnabled value isn't valid."},
		"DSSE":      {"<ObjectEncryption><DSSE-KMS/></ObjectEncryption>", "InvalidRequest", "to DSSE-KMS or SSE-C"},
		"SSE-S3":    {"<ObjectEncryption><SSE-S3/></ObjectEncryption>", "InvalidRequest", "Valid values are SSEKMS"},
		"nothing":   {"<ObjectEncryption/>", "InvalidRequest", "Valid values are SSEKMS"},
		"no XML":    {"<", "MalformedXML", "not well-formed"},
	} {
		if what == "not there" {
			d.do("PUT", "/bucket/absent?encryption", doc(keyARN("one"), "true")).want(t, what, 404, "NoSuchKey", "")
			continue
		}
		a := d.do("PUT", "/bucket/k?encryption", c[0])
		a.want(t, what, 400, c[1], "")
		if !strings.Contains(a.fields["Message"], c[2]) {
			t.Errorf("%s: %s", what, a.body)
		}
	}
}

// A file that is open in a mount keeps the new key when it is written to.
func TestUpdatedEncryptionOutlivesAnOpenFile(t *testing.T) {
	d := openKeyDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	d.put("bucket", "k", "before")
	b, err := d.store.HeadBucket(ctx, objstore.Caller{}, "bucket")
	d.must(err)
	attr, err := d.store.Lookup(ctx, b.Root, "k")
	d.must(err)
	f, err := d.store.Open(ctx, objstore.Caller{Origin: 1}, attr.Inode, objstore.OpenFlags{Read: true, Write: true})
	d.must(err)
	_, err = f.WriteAt(ctx, []byte("B"), 0)
	d.must(err)
	d.do("PUT", "/bucket/k?encryption", `<ObjectEncryption><SSE-KMS><KMSKeyArn>`+keyARN("two")+`</KMSKeyArn></SSE-KMS></ObjectEncryption>`).ok(t, "update", 200)
	_, err = f.WriteAt(ctx, []byte("AFTER"), 1)
	d.must(err)
	d.must(f.Close(ctx))
	a := d.do("GET", "/bucket/k", "")
	sealed(t, "get", a, "aws:kms", "two", "")
	if a.body != "BAFTER" {
		t.Error(a)
	}
	d.change(d.keys.Disable, "two")
	if _, err := d.store.Open(ctx, objstore.Caller{Origin: 1}, attr.Inode, objstore.OpenFlags{Read: true}); !objstore.IsKind(err, objstore.KindKeyDisabled) {
		t.Error(err)
	}
	if _, err := d.store.Lookup(ctx, b.Root, "k"); err != nil {
		t.Error(err)
	}
}

func TestUpdateObjectEncryptionOfVersions(t *testing.T) {
	d := openKeyDoor(t)
	d.do("PUT", "/bucket", "", "x-amz-bucket-object-lock-enabled", "true").ok(t, "bucket", 200)
	doc := `<ObjectEncryption><SSE-KMS><KMSKeyArn>` + keyARN("one") + `</KMSKeyArn></SSE-KMS></ObjectEncryption>`
	old := d.do("PUT", "/bucket/k", "old").header.Get("x-amz-version-id")
	d.do("PUT", "/bucket/k", "new").ok(t, "put", 200)
	d.do("PUT", "/bucket/k?encryption&versionId="+old, doc).ok(t, "update", 200)
	a := d.do("GET", "/bucket/k?versionId="+old, "")
	sealed(t, "old", a, "aws:kms", "one", "")
	if a.body != "old" || a.header.Get("x-amz-version-id") != old {
		t.Error(a, a.header)
	}
	sealed(t, "new", d.do("GET", "/bucket/k", ""), "AES256", "", "")
	d.do("PUT", "/bucket/k?legal-hold&versionId="+old, "<LegalHold><Status>ON</Status></LegalHold>").ok(t, "hold", 200)
	a = d.do("PUT", "/bucket/k?encryption&versionId="+old, doc)
	a.want(t, "held", 403, "AccessDenied", "")
	if !strings.Contains(a.fields["Message"], "protected by S3 Object Lock") {
		t.Error(a)
	}
}
