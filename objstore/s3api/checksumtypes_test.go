package s3api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
)

// Each algorithm goes through an upload in parts: named when it begins, verified for
// each part, and a checksum of the parts' in the end.
func TestUploadWithEachAlgorithm(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	parts := []string{strings.Repeat("a", 5<<20), "the rest"}
	for _, alg := range checksum.Algorithms() {
		if checksum.Composite.Check(alg) != nil {
			continue
		}
		d.do("POST", "/bucket/k?uploads", "", "x-amz-checksum-algorithm", string(alg), "x-amz-checksum-type", "COMPOSITE").ok(t, string(alg), 200)
		a := d.do("POST", "/bucket/k?uploads", "", "x-amz-checksum-algorithm", string(alg))
		if a.header.Get("x-amz-checksum-algorithm") != string(alg) || a.header.Get("x-amz-checksum-type") != "COMPOSITE" {
			t.Fatalf("%s: %v %v", alg, a, a.header)
		}
		target := "/bucket/k?uploadId=" + element(a.body, "UploadId")
		name := "Checksum" + string(alg)
		var done []string
		var sums [][]byte
		for i, p := range parts {
			sum := checksum.Of(alg, []byte(p))
			number := fmt.Sprintf("&partNumber=%d", i+1)
			d.do("PUT", target+number, p[1:], alg.Header(), checksum.Format(sum)).want(t, string(alg), 400, "BadDigest",
				"The "+string(alg)+" you specified did not match the calculated checksum.")
			a := d.do("PUT", target+number, p, alg.Header(), checksum.Format(sum))
			if a.status != 200 || a.header.Get(alg.Header()) != checksum.Format(sum) {
				t.Fatalf("%s: part: %v %v", alg, a, a.header)
			}
			sums = append(sums, sum)
			done = append(done, partXML(i+1, a.header.Get("Etag"), "<"+name+">"+checksum.Format(sum)+"</"+name+">"))
		}
		if a := d.do("GET", target, ""); element(a.body, name) != checksum.Format(sums[0]) || element(a.body, "ChecksumAlgorithm") != string(alg) {
			t.Errorf("%s: parts: %v", alg, a)
		}
		whole, err := checksum.Compose(alg, sums)
		if err != nil {
			t.Fatal(err)
		}
		want := checksum.FormatObject(whole, len(parts))
		if a := d.do("POST", target, completeXML(done...)); a.status != 200 || element(a.body, name) != want {
			t.Errorf("%s: complete: %v, want %s", alg, a, want)
		}
		if h := d.do("HEAD", "/bucket/k", "", "x-amz-checksum-mode", "ENABLED").header; h.Get(alg.Header()) != want || h.Get("x-amz-checksum-type") != "COMPOSITE" {
			t.Errorf("%s: %v", alg, h)
		}
		if h := d.do("HEAD", "/bucket/k?partNumber=2", "", "x-amz-checksum-mode", "ENABLED").header; h.Get(alg.Header()) != checksum.Format(sums[1]) {
			t.Errorf("%s: part: %v", alg, h)
		}
		a = d.do("GET", "/bucket/k?attributes", "", "x-amz-object-attributes", "Checksum,ObjectParts")
		if value, _, _ := strings.Cut(want, "-"); element(a.body, name) != value || !strings.Contains(a.body, checksum.Format(sums[1])) {
			t.Errorf("%s: %v", alg, a)
		}
	}
}

// Headers that name an algorithm and a type are read in either case, and told in capitals.
func TestChecksumOfAnUploadIsNamedInEitherCase(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for _, c := range [][2]string{{"crc32", "composite"}, {"Crc32", "Full_Object"}, {"crc64nvme", "full_object"}, {"SHA1", "COMPOSITE"}} {
		a := d.do("POST", "/bucket/k?uploads", "", "x-amz-checksum-algorithm", c[0], "x-amz-checksum-type", c[1])
		if a.status != 200 || a.header.Get("x-amz-checksum-algorithm") != strings.ToUpper(c[0]) || a.header.Get("x-amz-checksum-type") != strings.ToUpper(c[1]) {
			t.Errorf("%v: %v %v", c, a, a.header)
		}
	}
	d.do("POST", "/bucket/k?uploads", "", "x-amz-checksum-algorithm", "SHA1", "x-amz-checksum-type", "full").want(t, "other type", 400, "InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
}

// The MD5 that is asked for as a checksum is not made the ETag of a part where ETags
// are no MD5s.
func TestChecksumMD5IsNoETag(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	if err := d.store.SetBucketETags(t.Context(), objstore.S3Caller(""), "bucket", objstore.ETagsOpaque); err != nil {
		t.Fatal(err)
	}
	d.put("bucket", "source", "0123456789")
	a := d.do("POST", "/bucket/k?uploads", "", "x-amz-checksum-algorithm", "MD5")
	a = d.do("PUT", "/bucket/k?partNumber=1&uploadId="+element(a.body, "UploadId"), "",
		"x-amz-copy-source", "bucket/source", "x-amz-copy-source-range", "bytes=0-3")
	if strings.Contains(a.body, md5Hex("0123")) || element(a.body, "ChecksumMD5") != checksum.Format(checksum.Of(checksum.MD5, []byte("0123"))) {
		t.Error(a)
	}
}

func TestAnnouncedAlgorithmIsTheOneThatComes(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	id, _ := d.begin("/bucket/part")
	const missing = "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
	const invalid = "Value for x-amz-sdk-checksum-algorithm header is invalid."
	sum := checksum.Format(checksum.Of(checksum.CRC32, []byte("text")))
	for _, target := range []string{"/bucket/k", "/bucket/part?partNumber=1&uploadId=" + id} {
		const name = "x-amz-sdk-checksum-algorithm"
		d.do("PUT", target, "text", name, "CRC32").want(t, target, 400, "InvalidRequest", missing)
		d.do("PUT", target, "text", name, "CRC16").want(t, target, 400, "InvalidRequest", invalid)
		d.do("PUT", target, "text", name, "SHA1", "x-amz-checksum-crc32", sum).want(t, target, 400, "InvalidRequest", invalid)
		d.do("PUT", target, "text", name, "crc32", "x-amz-checksum-crc32", sum).ok(t, target, 200)
	}
}
