package s3api

import (
	"strings"
	"testing"
)

// What AWS S3 itself answered, recorded 2026-02-21 by the LocalStack project
// (Apache-2.0), where it is other than its documentation makes one expect.

func TestCompleteOfNoUploadIsToldBeforeItsDocument(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const gone = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
	for _, body := range []string{"", "<nonsense", completeXML(), completeXML(partXML(0, "x"))} {
		d.do("POST", "/bucket/k?uploadId=fakeid", body).want(t, body, 404, "NoSuchUpload", gone, "UploadId", "fakeid")
	}
	id, part := d.begin("/bucket/k")
	d.do("PUT", part(1), "data").ok(t, "part", 200)
	d.do("POST", "/bucket/k?uploadId="+id, "").want(t, "no document", 400, "InvalidRequest", "You must specify at least one part")
	d.do("POST", "/bucket/k?uploadId="+id, "<nonsense").want(t, "nonsense", 400, "MalformedXML", "")
	// An upload belongs to its key.
	for method, target := range map[string]string{
		"PUT": "/bucket/other?partNumber=1&uploadId=" + id, "GET": "/bucket/other?uploadId=" + id,
		"POST": "/bucket/other?uploadId=" + id, "DELETE": "/bucket/other?uploadId=" + id,
	} {
		d.do(method, target, "").want(t, method, 404, "NoSuchUpload", gone, "UploadId", id)
	}
}

func TestCompleteChecksumOfFullObjectNeedsItsType(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	// The checksums are those of the text abc.
	const crc32c, other = "Nks/tw==", "AAAAAA=="
	id, part := d.begin("/bucket/k", "x-amz-checksum-algorithm", "CRC32C", "x-amz-checksum-type", "FULL_OBJECT")
	a := d.do("PUT", part(1), "abc", "x-amz-checksum-crc32c", crc32c)
	a.ok(t, "part", 200)
	doc := completeXML(partXML(1, a.header.Get("Etag"), "<ChecksumCRC32C>"+crc32c+"</ChecksumCRC32C>"))
	target := "/bucket/k?uploadId=" + id
	for _, c := range []struct {
		name    string
		headers []string
	}{
		{"composite", []string{"x-amz-checksum-crc32c", other + "-1"}},
		{"right, without the type", []string{"x-amz-checksum-crc32c", crc32c}},
		{"other algorithm, without the type", []string{"x-amz-checksum-crc64nvme", "AAAAAAAAAAA="}},
		{"wrong", []string{"x-amz-checksum-crc32c", other, "x-amz-checksum-type", "FULL_OBJECT"}},
		{"other algorithm", []string{"x-amz-checksum-crc32", other, "x-amz-checksum-type", "FULL_OBJECT"}},
	} {
		d.do("POST", target, doc, c.headers...).want(t, c.name, 400, "BadDigest", "The crc32c you specified did not match the calculated checksum.")
	}
	a = d.do("POST", target, doc, "x-amz-checksum-crc32c", crc32c, "x-amz-checksum-type", "FULL_OBJECT")
	if a.ok(t, "right", 200); element(a.body, "ChecksumCRC32C") != crc32c || element(a.body, "ChecksumType") != "FULL_OBJECT" {
		t.Error(a)
	}
}

func TestCompleteIgnoresCompositeChecksumOfUploadWithout(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	id, part := d.begin("/bucket/k")
	a := d.do("PUT", part(1), "aaa")
	a.ok(t, "part", 200)
	target, doc := "/bucket/k?uploadId="+id, completeXML(partXML(1, a.header.Get("Etag")))
	d.do("POST", target, doc, "x-amz-checksum-crc64nvme", "AAAAAAAAAAA=").want(t, "of the whole", 400, "BadDigest", "The crc64nvme you specified did not match the calculated checksum.")
	a = d.do("POST", target, doc, "x-amz-checksum-crc32c", "AAAAAA==-2")
	if a.ok(t, "composite", 200); element(a.body, "ChecksumType") != "FULL_OBJECT" || element(a.body, "ChecksumCRC64NVME") == "" {
		t.Error(a)
	}
}

func TestTwoChecksumsAreRefusedBeforeTheirValues(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for range 8 { // the order of headers is that of a map
		d.do("PUT", "/bucket/k", "test data..", "x-amz-checksum-sha256", "bad", "x-amz-checksum-crc32", "bad").
			want(t, "two", 400, "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
	}
	d.do("PUT", "/bucket/k", "test data..", "x-amz-checksum-sha256", "bad").
		want(t, "one", 400, "InvalidRequest", "Value for x-amz-checksum-sha256 header is invalid.")
	if a := d.do("GET", "/bucket?list-type=2", ""); strings.Contains(a.body, "<Key>") {
		t.Error("a refused request stored something:", a)
	}
}
