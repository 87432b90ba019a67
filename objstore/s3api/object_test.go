package s3api

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cofferfs/coffer/objstore/checksum"
)

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestObjectComesBackAsItWasPut(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	put, err := d.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("dir/file.html"), Body: strings.NewReader("hello"),
		ContentType: aws.String("text/html"), CacheControl: aws.String("max-age=74"), ContentDisposition: aws.String(`attachment; filename="foo"`),
		ContentEncoding: aws.String("gzip"), ContentLanguage: aws.String("de-DE"), Expires: aws.Time(time.Date(2035, 1, 2, 3, 4, 5, 0, time.UTC)),
		Metadata: map[string]string{"key": "value", "other_key": "two words"}, WebsiteRedirectLocation: aws.String("/else"),
		StorageClass: types.StorageClassStandardIa, ServerSideEncryption: types.ServerSideEncryptionAes256,
	})
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(put.ETag) != `"`+md5Hex("hello")+`"` || put.ServerSideEncryption != "AES256" || put.ChecksumType != types.ChecksumTypeFullObject {
		t.Errorf("%+v", put)
	}
	out, err := d.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("dir/file.html")})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(out.Body)
	if err != nil || string(body) != "hello" {
		t.Fatalf("%q, %v", body, err)
	}
	for _, c := range [][2]string{
		{aws.ToString(out.ContentType), "text/html"}, {aws.ToString(out.CacheControl), "max-age=74"},
		{aws.ToString(out.ContentDisposition), `attachment; filename="foo"`}, {aws.ToString(out.ContentEncoding), "gzip"},
		{aws.ToString(out.ContentLanguage), "de-DE"}, {aws.ToString(out.ExpiresString), "Tue, 02 Jan 2035 03:04:05 GMT"},
		{fmt.Sprint(out.Metadata), "map[key:value other_key:two words]"}, {aws.ToString(out.WebsiteRedirectLocation), "/else"},
		{string(out.StorageClass), "STANDARD_IA"}, {string(out.ServerSideEncryption), "AES256"},
		{aws.ToString(out.ETag), aws.ToString(put.ETag)}, {aws.ToString(out.AcceptRanges), "bytes"}, {fmt.Sprint(aws.ToInt64(out.ContentLength)), "5"},
	} {
		if c[0] != c[1] {
			t.Errorf("%q, want %q", c[0], c[1])
		}
	}
	a := d.do("HEAD", "/bucket/dir/file.html", "")
	if a.status != 200 || a.header.Get("Content-Length") != "5" || a.body != "" || a.header.Get("Etag") != *put.ETag || a.header.Get("x-amz-checksum-type") != "" {
		t.Errorf("head: %+v", a)
	}
	if a.header.Get("Server") == "" || a.header.Get("Date") == "" || a.header.Get("x-amz-id-2") == "" {
		t.Errorf("head: %+v", a.header)
	}
	// The names of metadata come back as S3 has them, whatever case they were sent in.
	d.do("PUT", "/bucket/m", "", "X-Amz-Meta-CamelCase", "V").ok(t, "put", 200)
	if a := d.do("GET", "/bucket/m", ""); a.header.Get("Content-Type") != "binary/octet-stream" || a.header.Get("x-amz-meta-camelcase") != "V" {
		t.Errorf("%+v", a.header)
	}
	d.do("GET", "/bucket/none", "").want(t, "none", 404, "NoSuchKey", "The specified key does not exist.", "Key", "none")
	if a := d.do("HEAD", "/bucket/none", ""); a.status != 404 || a.body != "" || a.header.Get("Content-Type") != "application/xml" {
		t.Errorf("%+v", a)
	}
	d.do("PUT", "/bucket/c", "", "x-amz-storage-class", "OUTPOSTS").want(t, "class", 400, "InvalidStorageClass", "The storage class you specified is not valid", "StorageClassRequested", "OUTPOSTS")
	d.do("PUT", "/bucket/c", "", "x-amz-website-redirect-location", "nowhere").want(t, "redirect", 400, "InvalidRedirectLocation", "")
	d.do("PUT", "/bucket/c", "", "x-amz-acl", "public-read").want(t, "acl", 400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
	d.do("PUT", "/bucket/c", "", "x-amz-meta-k", strings.Repeat("v", 2048)).want(t, "metadata", 400, "MetadataTooLarge", "", "Size", "2049", "MaxSizeAllowed", "2048")
	d.do("GET", "/bucket/c", "").want(t, "refused", 404, "NoSuchKey", "", "Key", "c")
}

func TestKeysArriveUntouched(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	keys := []string{"a//b", "./x", "a/../y", "a/b/../../y", "..z", "a/./b", "/lead", "trail/", "trail//", "a+b", "a b", "100%", "%2F", "q?x=1", "h#x", "\u00e9\U0001F600", "a&b<c>\"'", "semi;colon", "\t", "a\x01b",
		strings.Repeat("k", 1024), strings.Repeat("c", 255) + "/" + strings.Repeat("d", 300)}
	for i, k := range keys {
		d.put("bucket", k, fmt.Sprint(i))
	}
	for i, k := range keys {
		if got := d.get("bucket", k); got != fmt.Sprint(i) {
			t.Errorf("%q: %q", k, got)
		}
	}
	d.do("PUT", "/bucket/enc%2Foded+%2B%25", "raw").ok(t, "encoded slash", 200)
	if got := d.get("bucket", "enc/oded++%"); got != "raw" {
		t.Errorf("%q", got)
	}
	listed := map[string]bool{}
	out, err := d.s3.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: aws.String("bucket"), EncodingType: types.EncodingTypeUrl})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out.Contents {
		listed[*o.Key] = true
	}
	for _, k := range keys {
		if !listed[encodeURL(k)] {
			t.Errorf("%q is not listed", k)
		}
	}
	long := strings.Repeat("k", 1025)
	d.do("PUT", "/bucket/"+long, "x").want(t, "long", 400, "KeyTooLongError", "Your key is too long", "Size", "1025", "MaxSizeAllowed", "1024")
	d.do("PUT", "/bucket/a%00b", "x").want(t, "NUL", 400, "InvalidURI", "Couldn't parse the specified URI.", "URI", "/bucket/a%00b")
	d.do("PUT", "/bucket/%ff", "x").want(t, "not UTF-8", 400, "InvalidURI", "Couldn't parse the specified URI.", "URI", "/bucket/%ff")
	d.do("GET", "/bucket/"+long, "").want(t, "long", 400, "KeyTooLongError", "")
}

func TestVirtualHostStyle(t *testing.T) {
	d := openDoor(t)
	d.bucket("photos")
	d.do("PUT", "/a/b", "x", "Host", "photos.localhost").ok(t, "put", 200)
	if got := d.get("photos", "a/b"); got != "x" {
		t.Error(got)
	}
	if a := d.do("GET", "/?list-type=2", "", "Host", "photos.localhost:9000"); a.status != 200 || !strings.Contains(a.body, "<Key>a/b</Key>") {
		t.Error(a)
	}
	d.do("GET", "/k", "", "Host", "none.localhost").want(t, "none", 404, "NoSuchBucket", "", "BucketName", "none")
}

func TestResponseOverrides(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "something")
	a := d.do("GET", "/bucket/k?response-content-type=image%2Fjpeg&response-cache-control=max-age%3D74&response-content-disposition=attachment%3B%20filename%3D%22foo.jpg%22&response-content-encoding=identity&response-content-language=de-DE&response-expires=Wed%2C%2021%20Oct%202015%2007%3A28%3A00%20GMT", "")
	for name, want := range map[string]string{
		"Content-Type": "image/jpeg", "Cache-Control": "max-age=74", "Content-Disposition": `attachment; filename="foo.jpg"`,
		"Content-Encoding": "identity", "Content-Language": "de-DE", "Expires": "Wed, 21 Oct 2015 07:28:00 GMT",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	d.do("GET", "/bucket/k?response-cache-control=non-ascii-%E2%80%94", "").want(t, "not Latin-1", 400, "InvalidArgument", "Header value cannot be represented using ISO-8859-1.",
		"ArgumentName", "response-cache-control", "ArgumentValue", "non-ascii-\u2014")
	d.do("GET", "/bucket/k?response-content-type=a%0D%0AX-Evil%3A1", "").want(t, "line ends", 400, "InvalidArgument", "")
}

func TestVersionIDs(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	const id = "HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD"
	d.do("GET", "/bucket/k?versionId="+id, "").want(t, "get", 400, "InvalidArgument", "Invalid version id specified", "ArgumentName", "versionId", "ArgumentValue", id)
	d.do("DELETE", "/bucket/k?versionId="+id, "").want(t, "delete", 400, "InvalidArgument", "Invalid version id specified", "ArgumentName", "versionId", "ArgumentValue", id)
	d.do("GET", "/bucket/k?versionId=null", "").ok(t, "null", 200)
	d.do("GET", "/bucket/k?versionId=", "").want(t, "empty", 400, "InvalidArgument", "Version id cannot be the empty string", "ArgumentName", "versionId", "ArgumentValue", "")
	d.do("DELETE", "/bucket/k?versionId=null", "").ok(t, "null", 204)
	d.do("DELETE", "/bucket/k", "").ok(t, "again", 204)
}

// AWS's answers, recorded 2026-02-21 by the LocalStack project (Apache-2.0).
func TestRecordedRanges(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket/k", "0123456789", "x-amz-checksum-crc32", "poTHxg==").ok(t, "put", 200)
	for _, c := range []struct {
		header string
		status int
		body   string
		rng    string
		whole  bool
	}{
		{"bytes=0-8", 206, "012345678", "bytes 0-8/10", false},
		{"bytes=1-1", 206, "1", "bytes 1-1/10", false},
		{"bytes=1-0", 200, "0123456789", "", true},
		{"bytes=1-", 206, "123456789", "bytes 1-9/10", false},
		{"bytes=-1-", 200, "0123456789", "", true},
		{"bytes=-2", 206, "89", "bytes 8-9/10", false},
		{"bytes=-9", 206, "123456789", "bytes 1-9/10", false},
		{"bytes=-15", 206, "0123456789", "bytes 0-9/10", true},
		{"bytes=0-100", 206, "0123456789", "bytes 0-9/10", true},
		{"bytes=0-0", 206, "0", "bytes 0-0/10", false},
		{"bytes=0--1", 200, "0123456789", "", true},
		{"bytes=0-1,3-4,7-9", 200, "0123456789", "", true},
		{"0-8", 200, "0123456789", "", true},
		{"bytes=-", 200, "0123456789", "", true},
	} {
		a := d.do("GET", "/bucket/k", "", "Range", c.header, "x-amz-checksum-mode", "ENABLED")
		sum := ""
		if c.whole {
			sum = "poTHxg=="
		}
		if a.status != c.status || a.body != c.body || a.header.Get("Content-Range") != c.rng || a.header.Get("x-amz-checksum-crc32") != sum {
			t.Errorf("%s: %v %v", c.header, a, a.header)
		}
		h := d.do("HEAD", "/bucket/k", "", "Range", c.header)
		if h.status != c.status || h.header.Get("Content-Length") != fmt.Sprint(len(c.body)) || h.header.Get("Content-Range") != c.rng {
			t.Errorf("head %s: %v %v", c.header, h, h.header)
		}
	}
	for _, r := range []string{"bytes=-0", "bytes=100-200"} {
		d.do("GET", "/bucket/k", "", "Range", r).want(t, r, 416, "InvalidRange", "The requested range is not satisfiable", "ActualObjectSize", "10", "RangeRequested", r)
	}
	d.put("bucket", "empty", "")
	d.do("GET", "/bucket/empty", "", "Range", "bytes=0-").want(t, "empty", 416, "InvalidRange", "", "ActualObjectSize", "0", "RangeRequested", "bytes=0-")
	if a := d.do("GET", "/bucket/empty", ""); a.status != 200 || a.header.Get("Content-Length") != "0" || a.body != "" {
		t.Errorf("empty: %v", a)
	}
	if a := d.do("GET", "/bucket/k?partNumber=1", "", "x-amz-checksum-mode", "ENABLED"); a.status != 206 || a.header.Get("Content-Range") != "bytes 0-9/10" || a.header.Get("x-amz-mp-parts-count") != "" || a.header.Get("x-amz-checksum-crc32") != "poTHxg==" {
		t.Errorf("part of one: %v %v", a, a.header)
	}
	d.do("GET", "/bucket/k?partNumber=2", "").want(t, "part of none", 416, "InvalidPartNumber", "The requested partnumber is not satisfiable", "ActualPartCount", "1", "PartNumberRequested", "2")
	d.do("GET", "/bucket/k?partNumber=1", "", "Range", "bytes=0-1").want(t, "both", 400, "InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
	d.do("GET", "/bucket/k?partNumber=0", "").want(t, "part 0", 400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive", "ArgumentName", "partNumber", "ArgumentValue", "0")
}

// AWS's answers, recorded 2026-02-21 by the LocalStack project (Apache-2.0).
func TestRecordedConditionsOfReads(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket/k", "data", "Cache-Control", "no-cache").ok(t, "put", 200)
	head := d.do("HEAD", "/bucket/k", "")
	etag, modified := head.header.Get("Etag"), head.header.Get("Last-Modified")
	past, future := "Fri, 01 Jan 2016 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
	for _, c := range []struct {
		headers   []string
		status    int
		condition string
	}{
		{[]string{"If-Match", `"x"`}, 412, "If-Match"},
		{[]string{"If-Match", etag}, 200, ""},
		{[]string{"If-Match", strings.Trim(etag, `"`)}, 200, ""},
		{[]string{"If-Match", `"x", ` + etag}, 200, ""},
		{[]string{"If-Unmodified-Since", past}, 412, "If-Unmodified-Since"},
		{[]string{"If-Unmodified-Since", modified}, 200, ""},
		{[]string{"If-None-Match", etag}, 304, ""},
		{[]string{"If-None-Match", strings.Trim(etag, `"`)}, 304, ""},
		{[]string{"If-None-Match", "W/" + etag}, 304, ""},
		{[]string{"If-None-Match", `"x"`}, 200, ""},
		{[]string{"If-Modified-Since", modified}, 304, ""},
		{[]string{"If-Modified-Since", past}, 200, ""},
		{[]string{"If-Modified-Since", future}, 200, ""},
		{[]string{"If-Modified-Since", "no date"}, 200, ""},
		{[]string{"If-Match", etag, "If-Unmodified-Since", past}, 200, ""},
		{[]string{"If-None-Match", `"x"`, "If-Modified-Since", modified}, 200, ""},
		{[]string{"If-None-Match", etag, "If-Unmodified-Since", past}, 412, "If-Unmodified-Since"},
	} {
		a := d.do("GET", "/bucket/k", "", c.headers...)
		if a.status != c.status || a.fields["Condition"] != c.condition {
			t.Errorf("%v: %v", c.headers, a)
		}
		if c.status == 304 && (a.header.Get("Etag") != etag || a.header.Get("Cache-Control") != "no-cache" || a.body != "") {
			t.Errorf("%v: %v %v", c.headers, a, a.header)
		}
		if c.status == 412 {
			a.want(t, fmt.Sprint(c.headers), 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", "Condition", c.condition)
		}
		if h := d.do("HEAD", "/bucket/k", "", c.headers...); h.status != c.status || h.body != "" {
			t.Errorf("head %v: %v", c.headers, h)
		}
	}
}

// AWS's answers, recorded 2026-02-21 by the LocalStack project (Apache-2.0).
func TestRecordedConditionsOfWrites(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const held = "At least one of the pre-conditions you specified did not hold"
	const header = "A header you provided implies functionality that is not implemented"
	d.do("PUT", "/bucket/k", "a", "If-None-Match", "*").ok(t, "new", 200)
	d.do("PUT", "/bucket/k", "b", "If-None-Match", "*").want(t, "exists", 412, "PreconditionFailed", held, "Condition", "If-None-Match")
	d.do("PUT", "/bucket/k", "b", "If-None-Match", `"x"`).want(t, "etag", 501, "NotImplemented", header, "Header", "If-None-Match",
		"additionalMessage", "We don't accept the provided value of If-None-Match header for this API")
	d.do("PUT", "/bucket/k", "b", "If-Match", "*").want(t, "star", 501, "NotImplemented", header, "Header", "If-Match",
		"additionalMessage", "We don't accept the provided value of If-Match header for this API")
	d.do("PUT", "/bucket/k", "b", "If-Match", `"x"`, "If-None-Match", "*").want(t, "both", 501, "NotImplemented", header, "Header", "If-Match,If-None-Match",
		"additionalMessage", "Multiple conditional request headers present in the request")
	d.do("PUT", "/bucket/k", "b", "If-Match", `"x"`).want(t, "other", 412, "PreconditionFailed", held, "Condition", "If-Match")
	d.do("PUT", "/bucket/none", "b", "If-Match", `"x"`).want(t, "none", 404, "NoSuchKey", "The specified key does not exist.", "Key", "none")
	if got := d.get("bucket", "k"); got != "a" {
		t.Errorf("a refused write changed the object: %q", got)
	}
	d.do("PUT", "/bucket/k", "b", "If-Match", `"`+md5Hex("a")+`"`).ok(t, "same", 200)
	d.do("DELETE", "/bucket/k", "", "If-Match", `"x"`).want(t, "delete", 412, "PreconditionFailed", held, "Condition", "If-Match")
	d.do("DELETE", "/bucket/k", "", "x-amz-if-match-size", "1").want(t, "delete", 501, "NotImplemented", header, "Header", "x-amz-if-match-size")
	d.do("DELETE", "/bucket/k", "", "If-Match", `"`+md5Hex("b")+`"`).ok(t, "delete", 204)
}

func TestChecksumsAreVerifiedStoredAndReturned(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	data := strings.Repeat("test data..", 5000)
	for _, alg := range checksum.Algorithms() {
		key := aws.String("sdk-" + string(alg))
		want := checksum.Format(checksum.Of(alg, []byte(data)))
		in := s3.PutObjectInput{Bucket: aws.String("bucket"), Key: key, Body: strings.NewReader(data), ChecksumAlgorithm: types.ChecksumAlgorithm(alg)}
		// The SDK computes it and sends it in the trailer of an unsigned stream, or
		// wants to be told.
		switch alg {
		case checksum.MD5:
			in.ChecksumMD5, in.ChecksumAlgorithm = &want, ""
		case checksum.XXHASH64:
			in.ChecksumXXHASH64, in.ChecksumAlgorithm = &want, ""
		case checksum.XXHASH3:
			in.ChecksumXXHASH3, in.ChecksumAlgorithm = &want, ""
		case checksum.XXHASH128:
			in.ChecksumXXHASH128, in.ChecksumAlgorithm = &want, ""
		}
		put, err := d.s3.PutObject(ctx, &in)
		if err != nil {
			t.Errorf("%s: %v", alg, err)
			continue
		}
		a := d.do("HEAD", "/bucket/"+*key, "", "x-amz-checksum-mode", "ENABLED")
		if a.header.Get(alg.Header()) != want || a.header.Get("x-amz-checksum-type") != "FULL_OBJECT" {
			t.Errorf("%s: %v", alg, a.header)
		}
		if put.ChecksumType != types.ChecksumTypeFullObject || aws.ToString(put.ETag) != `"`+md5Hex(data)+`"` {
			t.Errorf("%s: %+v", alg, put)
		}
		out, err := d.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(out.Body); err != nil || string(b) != data {
			t.Errorf("%s: %v", alg, err)
		}
		out.Body.Close()

		// In a header, right and wrong.
		sum := checksum.Format(checksum.Of(alg, []byte("abc")))
		a = d.do("PUT", "/bucket/h", "abc", alg.Header(), sum)
		if a.status != 200 || a.header.Get(alg.Header()) != sum {
			t.Errorf("%s: %v %v", alg, a, a.header)
		}
		d.do("PUT", "/bucket/x", "abd", alg.Header(), sum).want(t, string(alg), 400, "BadDigest", "The "+string(alg)+" you specified did not match the calculated checksum.")
		d.do("PUT", "/bucket/x", "abc", alg.Header(), "bm90IGEgc3Vt!").want(t, string(alg), 400, "InvalidRequest", "Value for "+alg.Header()+" header is invalid.")
	}
	d.do("GET", "/bucket/x", "").want(t, "refused", 404, "NoSuchKey", "", "Key", "x")
	d.do("PUT", "/bucket/x", "abc", "x-amz-checksum-crc32", "NSRBwg==", "x-amz-checksum-sha1", "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=").
		want(t, "two", 400, "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
	d.do("PUT", "/bucket/x", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n", "x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
		"x-amz-decoded-content-length", "3", "x-amz-trailer", "x-amz-checksum-crc32", "x-amz-checksum-crc32", "NSRBwg==").
		want(t, "one more in the trailer", 400, "InvalidRequest", "Expecting a single x-amz-checksum- header")
	d.do("PUT", "/bucket/x", "abc", "x-amz-checksum-md4", "AAAA").want(t, "unknown", 400, "InvalidRequest", "")
	// Without one, S3 computes CRC64NVME (recorded value).
	d.do("PUT", "/bucket/default", "test data..").ok(t, "put", 200)
	a := d.do("GET", "/bucket/default", "", "x-amz-checksum-mode", "ENABLED")
	if a.header.Get("x-amz-checksum-crc64nvme") != "qUVrWYOrIAM=" || a.header.Get("x-amz-checksum-type") != "FULL_OBJECT" {
		t.Errorf("default: %v", a.header)
	}
	if a := d.do("GET", "/bucket/default", ""); a.header.Get("x-amz-checksum-crc64nvme") != "" {
		t.Errorf("not asked for: %v", a.header)
	}
	attrs, err := d.s3.GetObjectAttributes(ctx, &s3.GetObjectAttributesInput{Bucket: aws.String("bucket"), Key: aws.String("default"),
		ObjectAttributes: []types.ObjectAttributes{"ETag", "Checksum", "ObjectSize", "StorageClass", "ObjectParts"}})
	if err != nil || aws.ToString(attrs.Checksum.ChecksumCRC64NVME) != "qUVrWYOrIAM=" || aws.ToInt64(attrs.ObjectSize) != 11 || attrs.StorageClass != "STANDARD" ||
		aws.ToString(attrs.ETag) != "e6d9226c2a86b7232933663c13467527" || attrs.ObjectParts != nil || attrs.LastModified == nil {
		t.Errorf("%+v, %v", attrs, err)
	}
	d.do("GET", "/bucket/default?attributes", "", "x-amz-object-attributes", "ETag,Nonsense").want(t, "attribute", 400, "InvalidArgument", "")
}

// AWS's answers, recorded 2026-02-21 by the LocalStack project (Apache-2.0).
func TestRecordedContentMD5(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for _, bad := range []string{"__invalid__", "000", "not base64 encoded checksum", "MTIz", "dGVzdC1zdHJpbmc="} {
		d.do("PUT", "/bucket/k", "something", "Content-MD5", bad).want(t, bad, 400, "InvalidDigest", "The Content-MD5 you specified was invalid.", "Content-MD5", bad)
	}
	d.do("PUT", "/bucket/k", "something", "Content-MD5", "CYketZBSTjX8czcs3cXVlg==").want(t, "other", 400, "BadDigest", "The Content-MD5 you specified did not match what we received.",
		"CalculatedDigest", "Q3uTDbhLgHnC3YBKcZNrXw==", "ExpectedDigest", "09891eb590524e35fc73372cddc5d596")
	d.do("GET", "/bucket/k", "").want(t, "refused", 404, "NoSuchKey", "", "Key", "k")
	d.do("PUT", "/bucket/k", "something", "Content-MD5", "Q3uTDbhLgHnC3YBKcZNrXw==").ok(t, "right", 200)
}

func TestDeleteObjects(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	ids := []types.ObjectIdentifier{}
	for _, k := range []string{"a%2Fb", "a/%F0%9F%98%80", "x<&>y", "dir/sub/z"} {
		d.put("bucket", k, "x")
		ids = append(ids, types.ObjectIdentifier{Key: aws.String(k)})
	}
	ids = append(ids, types.ObjectIdentifier{Key: aws.String("missing")})
	out, err := d.s3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: aws.String("bucket"), Delete: &types.Delete{Objects: ids}})
	if err != nil || len(out.Deleted) != 5 || len(out.Errors) != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	for i := range ids {
		if *out.Deleted[i].Key != *ids[i].Key {
			t.Errorf("%q, want %q", *out.Deleted[i].Key, *ids[i].Key)
		}
	}
	if list, err := d.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("bucket")}); err != nil || len(list.Contents) != 0 {
		t.Errorf("%+v, %v", list, err)
	}

	d.put("bucket", "keep", "x")
	d.put("bucket", "go", "x")
	out, err = d.s3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: aws.String("bucket"), Delete: &types.Delete{Quiet: aws.Bool(true), Objects: []types.ObjectIdentifier{
		{Key: aws.String("go")}, {Key: aws.String("keep"), VersionId: aws.String("HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD")}, {Key: aws.String(strings.Repeat("k", 1025))},
		{Key: aws.String("keep"), ETag: aws.String(`"x"`)},
	}}})
	if err != nil || len(out.Deleted) != 0 || len(out.Errors) != 3 {
		t.Fatalf("%+v, %v", out, err)
	}
	for i, want := range []string{"NoSuchVersion", "KeyTooLongError", "PreconditionFailed"} {
		if got := *out.Errors[i].Code; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if d.get("bucket", "keep") != "x" {
		t.Error("kept")
	}

	sum := func(s string) string { m := md5.Sum([]byte(s)); return base64.StdEncoding.EncodeToString(m[:]) }
	doc := `<Delete><Object><Key>keep</Key></Object></Delete>`
	d.do("POST", "/bucket?delete", doc).want(t, "no digest", 400, "InvalidRequest", "")
	d.do("POST", "/bucket?delete", doc, "Content-MD5", sum("other")).want(t, "digest", 400, "BadDigest", "")
	for name, bad := range map[string]string{
		"empty": "", "none": "<Delete></Delete>", "trailing": doc + "x", "cut": doc[:20],
		"many":  "<Delete>" + strings.Repeat("<Object><Key>k</Key></Object>", 1001) + "</Delete>",
		"quiet": "<Delete><Quiet>maybe</Quiet><Object><Key>keep</Key></Object></Delete>",
	} {
		d.do("POST", "/bucket?delete", bad, "Content-MD5", sum(bad)).want(t, name, 400, "MalformedXML", "")
	}
	d.do("POST", "/none?delete", doc, "Content-MD5", sum(doc)).want(t, "no bucket", 404, "NoSuchBucket", "The specified bucket does not exist", "BucketName", "none")
	if d.get("bucket", "keep") != "x" {
		t.Error("kept")
	}
	thousand := "<Delete>" + strings.Repeat("<Object><Key>"+strings.Repeat("k", 1024)+"</Key></Object>", 1000) + "</Delete>"
	d.do("POST", "/bucket?delete", thousand, "Content-MD5", sum(thousand)).ok(t, "a thousand", 200)
}

func TestServerSideEncryptionHeaders(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	a := d.do("PUT", "/bucket/k", "x", "x-amz-server-side-encryption", "AES256")
	if a.status != 200 || a.header.Get("x-amz-server-side-encryption") != "AES256" {
		t.Errorf("%v %v", a, a.header)
	}
	for _, method := range []string{"GET", "HEAD"} {
		if a := d.do(method, "/bucket/k", ""); a.header.Get("x-amz-server-side-encryption") != "AES256" {
			t.Errorf("%s: %v", method, a.header)
		}
	}
	d.do("GET", "/bucket/k", "", "x-amz-server-side-encryption", "AES256").want(t, "on a read", 400, "InvalidArgument", "")
	d.do("PUT", "/bucket/k", "x", "x-amz-server-side-encryption", "rot13").want(t, "unknown", 400, "InvalidArgument", "")
	d.do("PUT", "/bucket/k", "x", "x-amz-server-side-encryption", "AES256", "x-amz-server-side-encryption-aws-kms-key-id", "k").want(t, "key id", 400, "InvalidArgument", "")

	key := bytes.Repeat([]byte{7}, 32)
	sum := md5.Sum(key)
	text, sumText := base64.StdEncoding.EncodeToString(key), base64.StdEncoding.EncodeToString(sum[:])
	const p = "x-amz-server-side-encryption-customer-"
	const must = "Requests specifying Server Side Encryption with Customer provided keys must provide "
	for _, c := range []struct {
		headers       []string
		code, message string
		fields        []string
	}{
		{[]string{p + "algorithm", "AES256", p + "key", text, p + "key-md5", sumText, "x-amz-server-side-encryption", "AES256"}, "InvalidArgument",
			"Server Side Encryption with Customer provided key is incompatible with the encryption method specified", []string{"ArgumentName", "x-amz-server-side-encryption", "ArgumentValue", "AES256"}},
		{[]string{p + "algorithm", "KMS", p + "key", text, p + "key-md5", sumText}, "InvalidEncryptionAlgorithmError",
			"The Encryption request you specified is not valid. Supported value: AES256.", []string{"ArgumentName", "x-amz-server-side-encryption", "ArgumentValue", "KMS"}},
		{[]string{p + "key", text, p + "key-md5", sumText}, "InvalidArgument", must + "a valid encryption algorithm.", []string{"ArgumentName", "x-amz-server-side-encryption"}},
		{[]string{p + "algorithm", "AES256", p + "key-md5", sumText}, "InvalidArgument", must + "an appropriate secret key.", []string{"ArgumentName", "x-amz-server-side-encryption"}},
		{[]string{p + "algorithm", "AES256", p + "key", text}, "InvalidArgument", must + "the client calculated MD5 of the secret key.", []string{"ArgumentName", "x-amz-server-side-encryption"}},
		{[]string{p + "algorithm", "AES256", p + "key", text[:40], p + "key-md5", sumText}, "InvalidArgument", "The secret key was invalid for the specified algorithm.", []string{"ArgumentName", "x-amz-server-side-encryption"}},
		{[]string{p + "algorithm", "AES256", p + "key", text, p + "key-md5", "AAAAAAAAAAAAAAAAAAAAAA=="}, "InvalidArgument", "The calculated MD5 hash of the key did not match the hash that was provided.", []string{"ArgumentName", "x-amz-server-side-encryption"}},
	} {
		d.do("PUT", "/bucket/c", "x", c.headers...).want(t, fmt.Sprint(c.headers), 400, c.code, c.message, c.fields...)
	}
	d.do("GET", "/bucket/c", "").want(t, "refused", 404, "NoSuchKey", "", "Key", "c")
	if strings.Contains(d.log.String(), text) {
		t.Error("a customer's key is in the log")
	}
}
