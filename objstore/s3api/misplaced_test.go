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

func TestEncryptionIsChosenWhereAnObjectIsBegun(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "data")
	id, part := d.begin("/bucket/parts", "x-amz-server-side-encryption", "AES256")
	first := d.do("PUT", part(1), "data").header.Get("ETag")
	complete := "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + first + "</ETag></Part></CompleteMultipartUpload>"
	for _, c := range []struct{ method, target, body string }{
		{"GET", "/", ""}, {"GET", "/bucket", ""}, {"GET", "/bucket?list-type=2", ""}, {"GET", "/bucket/k", ""}, {"GET", "/bucket/k?tagging", ""},
		{"PUT", part(1), "data"}, {"GET", "/bucket/parts?uploadId=" + id, ""},
		{"DELETE", "/bucket/parts?uploadId=" + id, ""}, {"DELETE", "/bucket/k", ""},
	} {
		for _, h := range [][2]string{
			{"x-amz-server-side-encryption", "AES256"}, {"x-amz-server-side-encryption-aws-kms-key-id", "one"},
			{"x-amz-server-side-encryption-context", "e30="}, {"x-amz-server-side-encryption-bucket-key-enabled", "true"},
		} {
			d.do(c.method, c.target, c.body, h[0], h[1]).want(t, c.method+" "+c.target, 400, "InvalidArgument",
				h[0]+" header is not supported for this operation.", "ArgumentName", h[0], "ArgumentValue", h[1])
		}
	}
	copied := []string{"x-amz-copy-source", "bucket/k", "x-amz-server-side-encryption", "AES256"}
	d.do("PUT", part(2), "", copied...).want(t, "UploadPartCopy", 400, "InvalidArgument", "x-amz-server-side-encryption header is not supported for this operation.",
		"ArgumentName", "x-amz-server-side-encryption", "ArgumentValue", "AES256")
	d.do("PUT", "/bucket/copy", "", copied...).ok(t, "CopyObject", 200)
	d.do("POST", "/bucket/parts?uploadId="+id, complete, "x-amz-server-side-encryption", "AES256").ok(t, "complete, as minio-go does", 200)
	d.do("GET", "/bucket/k", "").ok(t, "the object", 200)
}

func TestTwoOperationsAreRefused(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "data")
	for _, c := range []struct{ method, target, names, first string }{
		{"GET", "/bucket?versioning&acl", "acl, versioning", "acl"},
		{"GET", "/bucket?versions&uploads&policy", "policy, uploads, versions", "policy"},
		{"PUT", "/bucket?policy&tagging", "policy, tagging", "policy"},
		{"DELETE", "/bucket?policy&cors", "cors, policy", "cors"},
		{"GET", "/none?versioning&acl", "acl, versioning", "acl"},
		{"GET", "/bucket/k?acl&tagging", "acl, tagging", "acl"},
		{"DELETE", "/bucket/k?tagging&uploadId=x", "tagging, uploadId", "tagging"},
	} {
		d.do(c.method, c.target, "").want(t, c.target, 400, "InvalidArgument", "Conflicting query string parameters: "+c.names,
			"ArgumentName", "ResourceType", "ArgumentValue", c.first)
	}
	for _, target := range []string{"/bucket?list-type=2&x-id=ListObjectsV2", "/bucket?versions&list-type=2", "/bucket?session", "/bucket/k?versionId=null&x-id=GetObject", "/bucket?Versioning&acl"} {
		d.do("GET", target, "").ok(t, target, 200)
	}
}

func TestVersionsBelongToObjects(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "data")
	const none = "This operation does not accept a version-id."
	for _, c := range [][3]string{
		{"GET", "/bucket?versionId=x", "x"}, {"GET", "/bucket?list-type=2&versionId=", ""}, {"GET", "/bucket?versioning&versionId=null", "null"}, {"GET", "/none?versions&versionId=x", "x"},
		{"DELETE", "/bucket?versionId=x", "x"}, {"PUT", "/bucket?versioning&versionId=x", "x"},
		{"PUT", "/bucket/k?versionId=null", "null"}, {"PUT", "/bucket/k?partNumber=1&uploadId=x&versionId=y", "y"},
	} {
		d.do(c[0], c[1], "").want(t, c[0]+c[1], 400, "InvalidArgument", none, "ArgumentName", "versionId", "ArgumentValue", c[2])
	}
	d.do("GET", "/bucket?acl&versionId=x", "").want(t, "acl", 400, "InvalidArgument", "Invalid version id specified", "ArgumentName", "versionId", "ArgumentValue", "x")
	d.do("HEAD", "/bucket?versionId=x", "").ok(t, "head", 400)
	if got := d.get("bucket", "k"); got != "data" {
		t.Errorf("a refused request stored %q", got)
	}
}

func TestCountsAreOfThirtyTwoBits(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for target, names := range map[string]string{"/bucket?": "max-keys", "/bucket?versions&": "max-keys", "/bucket?uploads&": "max-uploads"} {
		for value, message := range map[string]string{
			"x": "Provided " + names + " not an integer or within integer range", "2147483648": "Provided " + names + " not an integer or within integer range",
			"%2B5": "Provided " + names + " not an integer or within integer range", "1.5": "Provided " + names + " not an integer or within integer range",
			"-2147483649": "Provided " + names + " not an integer or within integer range",
			"-1":          "Argument " + names + " must be an integer between 0 and 2147483647",
		} {
			d.do("GET", target+names+"="+value, "").want(t, target+value, 400, "InvalidArgument", message, "ArgumentName", names, "ArgumentValue", strings.ReplaceAll(value, "%2B", "+"))
		}
		d.do("GET", target+names+"=2147483647", "").ok(t, target, 200)
	}
}

func TestConfigurationsThatNoBucketHas(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	if a := d.do("GET", "/bucket?abac", ""); a.status != 200 || element(a.body, "Status") != "Disabled" {
		t.Error(a)
	}
	d.do("GET", "/bucket?metadataConfiguration", "").want(t, "metadata", 404, "MetadataConfigurationNotFound", "The metadata configuration was not found", "BucketName", "bucket")
	d.do("GET", "/bucket?metadataTable", "").want(t, "table", 405, "V1APIsNotAllowed", "")
	for _, sub := range []string{"abac", "metadataConfiguration", "metadataTable"} {
		d.do("GET", "/none?"+sub, "").want(t, sub, 404, "NoSuchBucket", "")
	}
}
