package s3api

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestRenameObject(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	etag := aws.ToString(d.put("bucket", "a b/\u00e9+", "body").ETag)
	if _, err := d.s3.RenameObject(ctx, &s3.RenameObjectInput{Bucket: aws.String("bucket"), Key: aws.String("c/d"), RenameSource: aws.String("a%20b/%C3%A9+"), SourceIfMatch: &etag, DestinationIfNoneMatch: aws.String("*"), ClientToken: aws.String("token-1")}); err != nil {
		t.Fatal(err)
	}
	if d.get("bucket", "c/d") != "body" {
		t.Error("another body")
	}
	rename := func(to, from string, headers ...string) reply {
		t.Helper()
		return d.do("PUT", to+"?renameObject", "", append(headers, "x-amz-rename-source", from)...)
	}
	if a := d.do("HEAD", "/bucket/a%20b/%C3%A9+", ""); a.status != 404 {
		t.Error(a)
	}
	a := rename("/bucket/e", "/c/d")
	if a.status != 200 || a.body != "" {
		t.Error(a)
	}
	d.put("bucket", "tree/1/2", "x")
	d.put("bucket", "tree/3", "y")
	rename("/bucket/forest/old/", "/tree/").ok(t, "prefix", 200)
	if d.get("bucket", "forest/old/1/2") != "x" || d.get("bucket", "forest/old/3") != "y" {
		t.Error("the prefix was not renamed")
	}
	d.put("bucket", "e2", "z")

	const failed = "At least one of the pre-conditions you specified did not hold"
	rename("/bucket/e2", "e", "If-None-Match", "*").want(t, "taken", 412, "PreconditionFailed", failed, "Condition", "If-None-Match")
	rename("/bucket/e2", "e", "If-Match", `"x"`).want(t, "target's tag", 412, "PreconditionFailed", failed, "Condition", "If-Match")
	rename("/bucket/e3", "e", "If-Match", `"x"`).want(t, "no target", 404, "NoSuchKey", "The specified key does not exist.", "Key", "e3")
	rename("/bucket/e2", "e", "x-amz-rename-source-if-match", `"x"`).want(t, "source's tag", 412, "PreconditionFailed", failed, "Condition", "x-amz-rename-source-If-Match")
	rename("/bucket/e2", "e", "x-amz-rename-source-if-none-match", etag).want(t, "source's tag", 412, "PreconditionFailed", failed, "Condition", "x-amz-rename-source-If-None-Match")
	rename("/bucket/e2", "e", "x-amz-rename-source-if-unmodified-since", "Wed, 21 Oct 2015 07:28:00 GMT").want(t, "source's time", 412, "PreconditionFailed", failed, "Condition", "x-amz-rename-source-If-Unmodified-Since")
	rename("/bucket/e2", "nothing").want(t, "no source", 404, "NoSuchKey", "The specified key does not exist.", "Key", "nothing")
	rename("/none/e2", "e").want(t, "no bucket", 404, "NoSuchBucket", "The specified bucket does not exist", "BucketName", "none")
	rename("/bucket/e2/", "e").want(t, "prefix and key", 400, "InvalidRequest", "")
	d.put("bucket", "full/k", "")
	rename("/bucket/full/", "forest/").want(t, "full prefix", 409, "OperationAborted", "There are objects below the destination prefix.")
	rename("/bucket/forest/old/x/", "forest/").want(t, "into itself", 400, "InvalidRequest", "")
	rename("/bucket/e2", "").want(t, "no source", 400, "InvalidRequest", "Missing required header for this request: x-amz-rename-source")
	d.do("PUT", "/bucket/e2?renameObject", "").want(t, "no source", 400, "InvalidRequest", "Missing required header for this request: x-amz-rename-source")
	rename("/bucket/e2", "%zz").want(t, "bad source", 400, "InvalidArgument", "Invalid rename source object key", "ArgumentName", "x-amz-rename-source", "ArgumentValue", "%zz")
	rename("/bucket/e2", "%00").want(t, "bad source", 400, "InvalidArgument", "Invalid rename source object key", "ArgumentName", "x-amz-rename-source", "ArgumentValue", "%00")
	rename("/bucket/e2", strings.Repeat("k", 1025)).want(t, "long source", 400, "KeyTooLongError", "")
	rename("/bucket/e2", "e", "x-amz-client-token", strings.Repeat("t", 65)).want(t, "long token", 400, "InvalidArgument", "")
	rename("/bucket/e2", "e", "x-amz-client-token", "token-1").want(t, "token of another request", 400, "IdempotencyParameterMismatch", "Parameters on this idempotent request are inconsistent with parameters used in previous request(s).")
	if d.get("bucket", "e") != "body" || d.get("bucket", "e2") != "z" || d.get("bucket", "forest/old/3") != "y" {
		t.Error("a refused rename changed something")
	}
	for range 2 {
		rename("/bucket/e2", "e", "x-amz-client-token", "token-2").ok(t, "repeated", 200)
	}
	if d.get("bucket", "e2") != "body" {
		t.Error("the target was not replaced")
	}
	// Through a presigned URL.
	link := d.link("PUT", "/bucket/linked?renameObject", 60, "x-amz-rename-source", "e2")
	d.follow("PUT", link, "", "x-amz-rename-source", "e2").ok(t, "presigned", 200)
}

func FuzzRenameSource(f *testing.F) {
	for _, s := range []string{"a/b", "/a", "//a", "a%20b", "%", "%00", "%ff", "/", "", "a+b", strings.Repeat("%41", 1025)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := parseRenameSource(s)
		if err == nil && (key == "" || len(key) > 1024 || strings.Contains(key, "\x00")) {
			t.Fatalf("%q is the key %q", s, key)
		}
	})
}
