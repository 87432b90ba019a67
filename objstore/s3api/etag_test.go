package s3api

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

var opaqueHeader = regexp.MustCompile(`^"[0-9a-f]{32}-1"$`)

// TestOpaqueETagsOnTheWire: what a client is told and what it may send, in a
// bucket of opaque ETags.
func TestOpaqueETagsOnTheWire(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	if err := d.store.SetBucketETags(context.Background(), objstore.S3Caller(""), "bucket", objstore.ETagsOpaque); err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum([]byte("hello"))
	right, wrong := base64.StdEncoding.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(make([]byte, 16))

	// Content-MD5 is verified as ever.
	for _, target := range []string{"/bucket/k", "/bucket/k?uploads"} {
		if strings.HasSuffix(target, "?uploads") {
			_, part := d.begin("/bucket/k")
			target = part(1)
		}
		expected := hex.EncodeToString(make([]byte, 16))
		if strings.Contains(target, "partNumber") {
			expected = wrong
		}
		d.do("PUT", target, "hello", "Content-MD5", wrong).want(t, target, 400, "BadDigest", "The Content-MD5 you specified did not match what we received.",
			"ExpectedDigest", expected, "CalculatedDigest", right)
		for _, headers := range [][]string{nil, {"Content-MD5", right}} {
			a := d.do("PUT", target, "hello", headers...)
			if a.status != 200 || !opaqueHeader.MatchString(a.header.Get("Etag")) || strings.Contains(a.header.Get("Etag"), hex.EncodeToString(sum[:])) {
				t.Errorf("%s %v: %v %v", target, headers, a, a.header)
			}
			if a.header.Get("x-amz-checksum-crc64nvme") == "" {
				t.Errorf("%s: no checksum: %v", target, a.header)
			}
		}
	}

	// The ETag is the same wherever it shows, and what conditions are about.
	etag := d.do("HEAD", "/bucket/k", "").header.Get("Etag")
	quoted := strings.ReplaceAll(etag, `"`, "&quot;")
	if a := d.do("GET", "/bucket/k", ""); a.body != "hello" || a.header.Get("Etag") != etag {
		t.Errorf("GET: %v %v", a, a.header)
	}
	if a := d.do("GET", "/bucket?list-type=2", ""); element(a.body, "ETag") != quoted {
		t.Errorf("listing: %v, want %s", a, etag)
	}
	d.do("GET", "/bucket/k", "", "If-None-Match", etag).ok(t, "If-None-Match", 304)
	d.do("GET", "/bucket/k", "", "If-Match", `"`+hex.EncodeToString(sum[:])+`"`).want(t, "If-Match of the MD5", 412, "PreconditionFailed", "")

	// Complete wants the ETags that were answered, not the parts' MD5s.
	id, part := d.begin("/bucket/multi")
	tag := d.do("PUT", part(1), "hello").header.Get("Etag")
	target := "/bucket/multi?uploadId=" + id
	d.do("POST", target, completeXML(partXML(1, hex.EncodeToString(sum[:])))).want(t, "MD5 of the part", 400, "InvalidPart", "")
	a := d.do("POST", target, completeXML(partXML(1, tag)))
	ofOne := md5.Sum(sum[:])
	if got := element(a.body, "ETag"); a.status != 200 || !strings.Contains(got, "-") || strings.HasSuffix(got, "-1&quot;") || strings.Contains(got, hex.EncodeToString(ofOne[:])) {
		t.Errorf("Complete: %v", a)
	}
	a = d.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "bucket/k")
	if got := element(a.body, "ETag"); a.status != 200 || !strings.HasSuffix(got, "-1&quot;") || got == quoted {
		t.Errorf("copy: %v", a)
	}
}
