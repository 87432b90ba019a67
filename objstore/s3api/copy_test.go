package s3api

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestCopyTakesOrReplacesMetadata(t *testing.T) {
	d := openDoor(t)
	d.bucket("source")
	d.bucket("target")
	ctx := context.Background()
	if _, err := d.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("source"), Key: aws.String("a/\u00e9 +%.txt"), Body: strings.NewReader("payload"),
		ContentType: aws.String("text/plain"), Metadata: map[string]string{"k": "v"}, StorageClass: types.StorageClassStandardIa, ChecksumAlgorithm: types.ChecksumAlgorithmSha256}); err != nil {
		t.Fatal(err)
	}
	out, err := d.s3.CopyObject(ctx, &s3.CopyObjectInput{Bucket: aws.String("target"), Key: aws.String("copy"), CopySource: aws.String("source/" + encodePath("a/\u00e9 +%.txt"))})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(out.CopyObjectResult.ETag) != `"`+md5Hex("payload")+`"` || out.CopyObjectResult.LastModified == nil ||
		aws.ToString(out.CopyObjectResult.ChecksumSHA256) == "" || out.CopyObjectResult.ChecksumType != types.ChecksumTypeFullObject || out.ServerSideEncryption != "AES256" {
		t.Errorf("%+v", out.CopyObjectResult)
	}
	a := d.do("GET", "/target/copy", "")
	if a.body != "payload" || a.header.Get("Content-Type") != "text/plain" || a.header.Get("x-amz-meta-k") != "v" || a.header.Get("x-amz-storage-class") != "" {
		t.Errorf("%v %v", a, a.header)
	}
	d.do("PUT", "/target/copy2", "", "x-amz-copy-source", "/target/copy", "x-amz-metadata-directive", "REPLACE", "Content-Type", "text/html", "x-amz-meta-new", "1").ok(t, "replace", 200)
	a = d.do("GET", "/target/copy2", "")
	if a.body != "payload" || a.header.Get("Content-Type") != "text/html" || a.header.Get("x-amz-meta-k") != "" || a.header.Get("x-amz-meta-new") != "1" {
		t.Errorf("%v %v", a, a.header)
	}
	d.do("PUT", "/target/x", "", "x-amz-copy-source", "target/copy", "x-amz-metadata-directive", "MERGE").want(t, "directive", 400, "InvalidArgument", "Unknown metadata directive.", "ArgumentName", "x-amz-metadata-directive", "ArgumentValue", "MERGE")
}

// AWS's answers, recorded 2026-02-21 by the LocalStack project (Apache-2.0).
func TestRecordedCopies(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket/k", "data", "x-amz-meta-key", "value", "Content-Type", "application/json").ok(t, "put", 200)
	const itself = "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
	self := []string{"x-amz-copy-source", "bucket/k"}
	with := func(more ...string) []string { return append(append([]string(nil), self...), more...) }
	d.do("PUT", "/bucket/k", "", self...).want(t, "itself", 400, "InvalidRequest", itself)
	d.do("PUT", "/bucket/k", "", with("x-amz-acl", "bucket-owner-full-control")...).want(t, "itself with acl", 400, "InvalidRequest", itself)
	d.do("PUT", "/bucket/k", "", with("x-amz-storage-class", "STANDARD")...).ok(t, "class", 200)
	d.do("PUT", "/bucket/k", "", with("x-amz-server-side-encryption", "AES256")...).ok(t, "encryption", 200)
	d.do("PUT", "/bucket/k", "", with("x-amz-website-redirect-location", "/test/direct")...).ok(t, "redirect", 200)
	a := d.do("HEAD", "/bucket/k", "")
	if a.header.Get("x-amz-website-redirect-location") != "/test/direct" || a.header.Get("x-amz-meta-key") != "value" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%v", a.header)
	}
	d.do("PUT", "/bucket/k", "", with("x-amz-metadata-directive", "REPLACE", "x-amz-meta-key2", "value2")...).ok(t, "replace", 200)
	a = d.do("GET", "/bucket/k", "")
	if a.header.Get("x-amz-meta-key") != "" || a.header.Get("x-amz-meta-key2") != "value2" || a.header.Get("Content-Type") != "binary/octet-stream" || a.body != "data" {
		t.Errorf("%v", a.header)
	}

	d.do("PUT", "/bucket/c", "", "x-amz-copy-source", "wrongformat").want(t, "format", 400, "InvalidArgument", "Invalid copy source object key",
		"ArgumentName", "x-amz-copy-source", "ArgumentValue", "x-amz-copy-source")
	d.do("PUT", "/bucket/c", "", "x-amz-copy-source", "bucket/random-src-key").want(t, "no key", 404, "NoSuchKey", "The specified key does not exist.", "Key", "random-src-key")
	d.do("PUT", "/bucket/c", "", "x-amz-copy-source", "nowhere/key").want(t, "no bucket", 404, "NoSuchBucket", "The specified bucket does not exist", "BucketName", "nowhere")
	d.do("PUT", "/nowhere/c", "", "x-amz-copy-source", "bucket/k").want(t, "no target", 404, "NoSuchBucket", "The specified bucket does not exist", "BucketName", "nowhere")

	const held = "At least one of the pre-conditions you specified did not hold"
	etag := `"` + md5Hex("data") + `"`
	past, future := "Fri, 01 Jan 2016 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
	const p = "x-amz-copy-source-"
	for _, c := range []struct {
		headers   []string
		condition string
	}{
		{[]string{p + "if-match", `"x"`}, p + "If-Match"},
		{[]string{p + "if-unmodified-since", past}, p + "If-Unmodified-Since"},
		{[]string{p + "if-none-match", etag}, p + "If-None-Match"},
		{[]string{p + "if-none-match", strings.Trim(etag, `"`)}, p + "If-None-Match"},
		{[]string{p + "if-modified-since", d.do("HEAD", "/bucket/k", "").header.Get("Last-Modified")}, p + "If-Modified-Since"},
		{[]string{p + "if-none-match", `"x"`, p + "if-unmodified-since", past}, p + "If-Unmodified-Since"},
		{[]string{p + "if-modified-since", future}, ""},
		{[]string{p + "if-match", etag, p + "if-unmodified-since", past}, ""},
		{[]string{p + "if-none-match", `"x"`, p + "if-modified-since", past}, ""},
	} {
		for _, target := range []string{"/bucket/c", "part"} {
			headers := append([]string{"x-amz-copy-source", "bucket/k"}, c.headers...)
			what := fmt.Sprint(target, c.headers)
			if target == "part" {
				up := d.do("POST", "/bucket/mp?uploads", "")
				target = "/bucket/mp?partNumber=1&uploadId=" + element(up.body, "UploadId")
			}
			a := d.do("PUT", target, "", headers...)
			if c.condition == "" {
				a.ok(t, what, 200)
				continue
			}
			a.want(t, what, 412, "PreconditionFailed", held, "Condition", c.condition)
		}
	}

	// Conditions on the target.
	src := func(more ...string) []string { return append([]string{"x-amz-copy-source", "bucket/k"}, more...) }
	d.do("PUT", "/bucket/dst", "", src("If-None-Match", "*")...).ok(t, "new", 200)
	d.do("PUT", "/bucket/dst", "", src("If-None-Match", "*")...).want(t, "exists", 412, "PreconditionFailed", held, "Condition", "If-None-Match")
	d.do("PUT", "/bucket/dst", "", src("If-Match", `"x"`)...).want(t, "other", 412, "PreconditionFailed", held, "Condition", "If-Match")
	d.do("PUT", "/bucket/dst", "", src("If-Match", etag)...).ok(t, "same", 200)
	d.do("PUT", "/bucket/non-existent-key", "", src("If-Match", etag)...).want(t, "none", 404, "NoSuchKey", "The specified key does not exist.", "Key", "non-existent-key")
	d.do("PUT", "/bucket/dst", "", src("If-Match", "*")...).want(t, "star", 501, "NotImplemented", "", "Header", "If-Match", "additionalMessage", "We don't accept the provided value of If-Match header for this API")
	d.do("PUT", "/bucket/k", "", src("If-None-Match", "*", "x-amz-metadata-directive", "REPLACE")...).want(t, "in place", 412, "PreconditionFailed", held, "Condition", "If-None-Match")
	d.do("PUT", "/bucket/k", "", src("If-Match", etag, "x-amz-metadata-directive", "REPLACE")...).ok(t, "in place", 200)
}

// AWS's answers, recorded 2026-02-21 by the LocalStack project (Apache-2.0).
func TestRecordedPartCopyRanges(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "src", "0123456789")
	id := element(d.do("POST", "/bucket/dst?uploads", "").body, "UploadId")
	target := func(n int) string { return fmt.Sprintf("/bucket/dst?partNumber=%d&uploadId=%s", n, id) }
	for i, r := range []string{"bytes=0-8", "bytes=1-1", "bytes=0-0"} {
		a := d.do("PUT", target(i+1), "", "x-amz-copy-source", "bucket/src", "x-amz-copy-source-range", r)
		if a.status != 200 || !strings.Contains(a.body, "<CopyPartResult") || element(a.body, "ETag") == "" || element(a.body, "LastModified") == "" || strings.Contains(a.body, "Checksum") {
			t.Errorf("%s: %v", r, a)
		}
	}
	list := d.do("GET", "/bucket/dst?uploadId="+id, "").body
	if n := strings.Count(list, "<Part>"); n != 3 || !strings.Contains(list, "<Size>9</Size>") {
		t.Errorf("%s", list)
	}
	const form = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy"
	for _, r := range []string{"0-8", "bytes=1-0", "bytes=-1-", "bytes=0--1", "bytes=0-1,3-4,7-9", "bytes=-", "bytes=-0", "bytes=1-", "bytes=-2", "bytes=-15"} {
		d.do("PUT", target(4), "", "x-amz-copy-source", "bucket/src", "x-amz-copy-source-range", r).want(t, r, 400, "InvalidArgument", form, "ArgumentName", "x-amz-copy-source-range", "ArgumentValue", r)
	}
	d.do("PUT", target(4), "", "x-amz-copy-source", "bucket/src", "x-amz-copy-source-range", "bytes=0-100").want(t, "beyond", 400, "InvalidArgument",
		"Range specified is not valid for source object of size: 10", "ArgumentName", "x-amz-copy-source-range", "ArgumentValue", "bytes=0-100")
	d.do("PUT", target(4), "", "x-amz-copy-source", "bucket/src", "x-amz-copy-source-range", "bytes=100-200").want(t, "behind", 400, "InvalidRequest",
		"The specified copy range is invalid for the source object size")
}
