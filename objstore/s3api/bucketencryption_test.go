package s3api

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

func encryptionXML(algorithm, key, rest string) string {
	if key != "" {
		key = "<KMSMasterKeyID>" + key + "</KMSMasterKeyID>"
	}
	return `<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>` +
		algorithm + `</SSEAlgorithm>` + key + `</ApplyServerSideEncryptionByDefault>` + rest + `</Rule></ServerSideEncryptionConfiguration>`
}

const withBucketKey = "<BucketKeyEnabled>true</BucketKeyEnabled>"

func TestBucketEncryptionIsTheDefault(t *testing.T) {
	d := openKeyDoor(t)
	d.bucket("bucket")
	set := func(doc string) {
		t.Helper()
		d.do("PUT", "/bucket?encryption", doc).ok(t, doc, 200)
	}
	told := func(algorithm, key, bucketKey string) {
		t.Helper()
		a := d.do("GET", "/bucket?encryption", "")
		if a.status != 200 || element(a.body, "SSEAlgorithm") != algorithm || element(a.body, "KMSMasterKeyID") != key || element(a.body, "BucketKeyEnabled") != bucketKey {
			t.Error(a)
		}
	}
	told("AES256", "", "false")
	d.put("bucket", "before", "before")
	set(encryptionXML("aws:kms", "one", withBucketKey))
	told("aws:kms", "one", "true")
	sealed(t, "what was there", d.do("GET", "/bucket/before", ""), "AES256", "", "")
	sealed(t, "put", d.do("PUT", "/bucket/k", "x"), "aws:kms", "one", "true")
	sealed(t, "get", d.do("GET", "/bucket/k", ""), "aws:kms", "one", "true")
	sealed(t, "copy", d.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "/bucket/before"), "aws:kms", "one", "true")
	sealed(t, "upload", d.do("POST", "/bucket/up?uploads", ""), "aws:kms", "one", "true")
	sealed(t, "AES256 asked for", d.do("PUT", "/bucket/k", "x", under("AES256", "")...), "AES256", "", "")
	sealed(t, "managed key asked for", d.do("PUT", "/bucket/k", "x", under("aws:kms", "")...), "aws:kms", "aws-s3", "true")
	sealed(t, "no bucket key asked for", d.do("PUT", "/bucket/k", "x", under("aws:kms", "two", bucketKeyHeader, "false")...), "aws:kms", "two", "")
	set(encryptionXML("aws:kms:dsse", "alias/first", ""))
	told("aws:kms:dsse", "alias/first", "false")
	sealed(t, "DSSE", d.do("PUT", "/bucket/k", "x"), "aws:kms:dsse", "one", "")
	set(encryptionXML("aws:kms", "", ""))
	told("aws:kms", "", "false")
	sealed(t, "managed key", d.do("PUT", "/bucket/k", "x"), "aws:kms", "aws-s3", "")
	set(encryptionXML("AES256", "", withBucketKey))
	told("AES256", "", "true")
	sealed(t, "AES256 with a bucket key", d.do("PUT", "/bucket/k", "x"), "AES256", "", "")
	// AWS looks for the key when it is used.
	set(encryptionXML("aws:kms", "nobody", ""))
	d.do("PUT", "/bucket/k", "x").want(t, "no such key", 400, "KMS.NotFoundException", "Invalid keyId 'nobody'")
	d.do("DELETE", "/bucket?encryption", "").ok(t, "delete", 204)
	d.do("DELETE", "/bucket?encryption", "").ok(t, "delete again", 204)
	told("AES256", "", "false")
	sealed(t, "after all", d.do("PUT", "/bucket/k", "x"), "AES256", "", "")
}

// AWS takes a copy in place that asks for nothing where it may change how the
// object is encrypted.
func TestCopyInPlaceMayChangeTheEncryption(t *testing.T) {
	d := openKeyDoor(t)
	d.bucket("bucket")
	inPlace := func() reply { return d.do("PUT", "/bucket/k", "", "x-amz-copy-source", "/bucket/k") }
	d.put("bucket", "k", "test")
	inPlace().want(t, "nothing changes", 400, "InvalidRequest", "")
	d.do("PUT", "/bucket/k", "test", under("aws:kms", "one")...).ok(t, "put", 200)
	a := inPlace()
	sealed(t, "of SSE-KMS", a, "AES256", "", "")
	if !strings.Contains(a.body, "098f6bcd4621d373cade4e832627b4f6") {
		t.Error(a)
	}
	inPlace().want(t, "nothing changes any more", 400, "InvalidRequest", "")
	d.do("PUT", "/bucket/k", "test", customer("a")...).ok(t, "put", 200)
	inPlace().want(t, "of SSE-C", 400, "InvalidRequest", "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")
	d.put("bucket", "k", "test")
	d.do("PUT", "/bucket?encryption", encryptionXML("AES256", "", "")).ok(t, "default", 200)
	sealed(t, "with a default that was set", inPlace(), "AES256", "", "")
	d.do("DELETE", "/bucket?encryption", "").ok(t, "delete", 204)
	inPlace().want(t, "with none again", 400, "InvalidRequest", "")
}

func TestBucketEncryptionThatIsRefused(t *testing.T) {
	d := openKeyDoor(t)
	d.bucket("bucket")
	const malformed = "The XML you provided was not well-formed or did not validate against our published schema"
	d.do("GET", "/nobucket?encryption", "").want(t, "get", 404, "NoSuchBucket", "The specified bucket does not exist", "BucketName", "nobucket")
	d.do("PUT", "/nobucket?encryption", "<ServerSideEncryptionConfiguration/>").want(t, "put", 404, "NoSuchBucket", "The specified bucket does not exist", "BucketName", "nobucket")
	d.do("DELETE", "/nobucket?encryption", "").want(t, "delete", 404, "NoSuchBucket", "The specified bucket does not exist", "BucketName", "nobucket")
	one := encryptionXML("AES256", "", "")
	rule := one[strings.Index(one, "<Rule>"):strings.Index(one, "</Server")]
	for what, doc := range map[string]string{
		"no rules":       "<ServerSideEncryptionConfiguration/>",
		"two rules":      strings.Replace(one, rule, rule+rule, 1),
		"empty rule":     strings.Replace(one, rule, "<Rule/>", 1),
		"no XML":         "<Server",
		"another root":   "<Encryption/>",
		"algorithm":      encryptionXML("AES128", "", ""),
		"bucket key":     encryptionXML("aws:kms", "", "<BucketKeyEnabled>perhaps</BucketKeyEnabled>"),
		"unknown":        encryptionXML("aws:kms", "", "<More/>"),
		"blocked":        encryptionXML("AES256", "", "<BlockedEncryptionTypes><EncryptionType>SSE-KMS</EncryptionType></BlockedEncryptionTypes>"),
		"blocked or not": encryptionXML("AES256", "", "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType><EncryptionType>NONE</EncryptionType></BlockedEncryptionTypes>"),
	} {
		d.do("PUT", "/bucket?encryption", doc).want(t, what, 400, "MalformedXML", malformed)
	}
	d.do("PUT", "/bucket?encryption", encryptionXML("AES256", "randomkeyid", "")).want(t, "key of AES256", 400, "InvalidArgument",
		"a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse", "ArgumentName", "ApplyServerSideEncryptionByDefault")
	d.do("PUT", "/bucket?encryption", encryptionXML("aws:kms", strings.Repeat("k", 3000), "")).want(t, "long key", 400, "InvalidArgument", "")
	if a := d.do("GET", "/bucket?encryption", ""); element(a.body, "SSEAlgorithm") != "AES256" || element(a.body, "BucketKeyEnabled") != "false" {
		t.Error("a refused document was kept:", a)
	}
}

func TestBlockedCustomerKeys(t *testing.T) {
	d := openKeyDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket/old", "old", customer("a")...).ok(t, "before", 200)
	id := element(d.do("POST", "/bucket/up?uploads", "", customer("a")...).body, "UploadId")
	const block = "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>"
	d.do("PUT", "/bucket?encryption", encryptionXML("AES256", "", block)).ok(t, "block", 200)
	if a := d.do("GET", "/bucket?encryption", ""); !strings.Contains(a.body, block) {
		t.Error(a)
	}
	blocked := func(what string, a reply) {
		t.Helper()
		a.want(t, what, 403, "AccessDenied", ssecBlocked)
	}
	blocked("put", d.do("PUT", "/bucket/k", "x", customer("a")...))
	blocked("put with a bad key", d.do("PUT", "/bucket/k", "x", customer("a")[:4]...))
	blocked("copy", d.do("PUT", "/bucket/k", "", join(customer("b"), sourceOf("a"), []string{"x-amz-copy-source", "/bucket/old"})...))
	blocked("create upload", d.do("POST", "/bucket/k?uploads", "", customer("a")...))
	blocked("part", d.do("PUT", "/bucket/up?partNumber=1&uploadId="+id, "x", customer("a")...))
	if a := d.do("GET", "/bucket/old", "", customer("a")...); a.body != "old" {
		t.Error("what was there:", a)
	}
	d.do("PUT", "/bucket/k", "", join(sourceOf("a"), []string{"x-amz-copy-source", "/bucket/old"})...).ok(t, "copy out of it", 200)
	d.do("PUT", "/bucket/plain", "x").ok(t, "without a key", 200)
	if _, err := d.store.PutObject(context.Background(), objstore.Caller{}, objstore.PutRequest{
		Bucket: "bucket", Key: "k", Body: strings.NewReader("x"), Size: 1, Encryption: objstore.Encryption{Mode: objstore.SSEC},
	}); err == nil {
		t.Error("SSE-C without a key")
	}
	// A rule may say nothing but this.
	d.do("PUT", "/bucket?encryption", "<ServerSideEncryptionConfiguration><Rule><BlockedEncryptionTypes><EncryptionType>NONE</EncryptionType></BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>").ok(t, "unblock", 200)
	d.do("PUT", "/bucket/k", "x", customer("a")...).ok(t, "unblocked", 200)
}

// Files written through the mount follow the bucket's default.
func TestFilesAreEncryptedAsTheirBucketSays(t *testing.T) {
	d := openKeyDoor(t)
	ctx := context.Background()
	c := objstore.Caller{Origin: 1}
	for i, mode := range []string{"aws:kms", "aws:kms:dsse", "AES256"} {
		bucket := fmt.Sprintf("bucket%d", i)
		d.bucket(bucket)
		key := "one"
		if mode == "AES256" {
			key = ""
		}
		d.do("PUT", "/"+bucket+"?encryption", encryptionXML(mode, key, "")).ok(t, mode, 200)
		b, err := d.store.HeadBucket(ctx, c, bucket)
		d.must(err)
		for _, size := range []int{10, 16<<10 + 1, 4128768 + 1, 9 << 20} {
			name := fmt.Sprint("f", size)
			want := []byte(strings.Repeat("file of the mount\n", size/18+1)[:size])
			attr, f, err := d.store.Create(ctx, c, b.Root, name, 0o644, objstore.OpenFlags{Read: true, Write: true}, true)
			d.must(err)
			for off := 0; off < size; off += 1 << 20 {
				_, err = f.WriteAt(ctx, want[off:min(off+1<<20, size)], int64(off))
				d.must(err)
			}
			d.must(f.Sync(ctx))
			// A small write in the middle, made durable with the metadata.
			at := size / 2
			_, err = f.WriteAt(ctx, []byte("MIDDLE"), int64(at))
			d.must(err)
			want = append(want[:at:at], append([]byte("MIDDLE"), want[min(at+6, size):]...)...)
			d.must(f.Sync(ctx))
			d.must(f.Close(ctx))
			what := fmt.Sprintf("%s, %d bytes", mode, size)
			a := d.do("GET", "/"+bucket+"/"+name, "")
			sealed(t, what, a, mode, key, "")
			if a.body != string(want) || !strings.HasSuffix(a.header.Get("ETag"), `-1"`) {
				t.Errorf("%s: %d bytes, want %d, ETag %s", what, len(a.body), len(want), a.header.Get("ETag"))
			}
			f, err = d.store.Open(ctx, c, attr.Inode, objstore.OpenFlags{Read: true})
			d.must(err)
			got := make([]byte, size+20)
			n, err := f.ReadAt(ctx, got, 0)
			if err != nil || string(got[:n]) != string(want) {
				t.Errorf("%s through the mount: %d bytes, %v", what, n, err)
			}
			d.must(f.Close(ctx))
		}
		if key == "" {
			continue
		}
		d.change(d.keys.Disable, "one")
		if _, _, err := d.store.Create(ctx, c, b.Root, "locked", 0o644, objstore.OpenFlags{Write: true}, true); !objstore.IsKind(err, objstore.KindKeyDisabled) {
			t.Errorf("%s: a file was made under a disabled key: %v", mode, err)
		}
		d.change(d.keys.Enable, "one")
	}
}
