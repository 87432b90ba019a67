package s3api

import (
	"strings"
	"testing"
)

// What AWS S3 answers where a parameter or header belongs to another request, as
// users of other servers have reported its answers.

func TestUnknownOverrideIsRefused(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "data")
	d.do("GET", "/bucket/k?response-dummy=x", "").want(t, "GET", 400, "InvalidArgument",
		"response-dummy is not in the set of overridable response headers. Please refer to the S3 API documentation for a complete list of overridable response headers.",
		"ArgumentName", "response-dummy", "ArgumentValue", "x")
	d.do("HEAD", "/bucket/k?response-dummy=x", "").ok(t, "HEAD", 400)
	for _, o := range overrides {
		if a := d.do("GET", "/bucket/k?"+o[0]+"=x", ""); a.status != 200 || a.header.Get(o[1]) != "x" {
			t.Errorf("%s: %v %v", o[0], a, a.header)
		}
	}
}

func TestStartAfterBelongsToTheSecondListing(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("GET", "/bucket?start-after=a", "").want(t, "first", 400, "InvalidArgument", "startAfter only supported in REST.GET.BUCKET with list-type=2", "ArgumentName", "start-after")
	d.do("GET", "/bucket?list-type=2&start-after=a", "").ok(t, "second", 200)
}

func TestKeysHaveNoListOfVersions(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "data")
	d.do("GET", "/bucket/k?versions", "").want(t, "key", 400, "InvalidRequest", "There is no such thing as the ?versions sub-resource for a key")
	d.do("GET", "/bucket?versions", "").ok(t, "bucket", 200)
}

func TestCopySourceIsForCopiesAlone(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "data")
	id, part := d.begin("/bucket/parts", "x-amz-copy-source", "bucket/k") // AWS does not mind that one
	const only = "You can only specify a copy source header for copy requests."
	for target, methods := range map[string]string{"/bucket": "GET DELETE", "/bucket/k": "GET DELETE", "/bucket/parts?uploadId=" + id: "GET POST DELETE"} {
		for method := range strings.SplitSeq(methods, " ") {
			d.do(method, target, "", "x-amz-copy-source", "bucket/k").want(t, method+" "+target, 400, "InvalidArgument", only,
				"ArgumentName", "x-amz-copy-source", "ArgumentValue", "bucket/k")
		}
	}
	d.do("HEAD", "/bucket/k", "", "x-amz-copy-source", "bucket/k").ok(t, "HEAD", 400)
	for _, target := range []string{"/bucket/copy", part(1)} {
		d.do("PUT", target, "a body", "x-amz-copy-source", "bucket/k").want(t, target, 400, "InvalidRequest",
			"The request included a body. Requests of this type must not include a non-empty body.")
		for source, what := range map[string]string{"": "bucket name", "/": "bucket name", "Upper/k": "bucket name", "bucket": "object key", "bucket/": "object key",
			"bucket/%zz": "encoding", "bucket/k?versionId=%zz": "encoding"} {
			d.do("PUT", target, "", "x-amz-copy-source", source).want(t, target+" from "+source, 400, "InvalidArgument", "Invalid copy source "+what,
				"ArgumentName", "x-amz-copy-source", "ArgumentValue", "x-amz-copy-source")
		}
		d.do("PUT", target, "", "x-amz-copy-source", "bucket/k").ok(t, target, 200)
	}
}
