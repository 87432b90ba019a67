package s3api

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore/checksum"
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

func TestPartsOfCompositeObjectsAreDescribed(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	bodies := []string{strings.Repeat("a", 16<<20), "b"} // more than a copy reads
	upload := func(key string, headers ...string) {
		t.Helper()
		id, part := d.begin("/bucket/"+key, headers...)
		var done []string
		for i, body := range bodies {
			var sent []string
			if key == "composite" {
				sent = []string{"x-amz-checksum-crc32c", crc32cOf(body)}
			}
			a := d.do("PUT", part(i+1), body, sent...)
			a.ok(t, "part", 200)
			sum := a.header.Get("x-amz-checksum-crc32c")
			done = append(done, partXML(i+1, a.header.Get("Etag"), "<ChecksumCRC32C>"+sum+"</ChecksumCRC32C>"))
		}
		d.do("POST", "/bucket/"+key+"?uploadId="+id, completeXML(done...)).ok(t, "complete", 200)
	}
	upload("composite", "x-amz-checksum-algorithm", "CRC32C")
	upload("full", "x-amz-checksum-algorithm", "CRC32C", "x-amz-checksum-type", "FULL_OBJECT")
	d.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "/bucket/composite").ok(t, "copy", 200)

	attributes := func(key string, headers ...string) string {
		t.Helper()
		a := d.do("GET", "/bucket/"+key+"?attributes", "", append(headers, "x-amz-object-attributes", "ObjectParts")...)
		a.ok(t, key, 200)
		_, body, _ := strings.Cut(a.body, "<ObjectParts>")
		body, _, _ = strings.Cut(body, "</ObjectParts>")
		return body
	}
	part := func(n int, size string, sum string) string {
		return "<Part><ChecksumCRC32C>" + sum + "</ChecksumCRC32C><PartNumber>" + string(rune('0'+n)) + "</PartNumber><Size>" + size + "</Size></Part>"
	}
	sums := [2]string{crc32cOf(bodies[0]), crc32cOf(bodies[1])}
	both := part(1, "16777216", sums[0]) + part(2, "1", sums[1])
	for _, key := range []string{"composite", "copy"} {
		for _, c := range []struct {
			headers []string
			want    string
		}{
			{nil, "<IsTruncated>false</IsTruncated><MaxParts>1000</MaxParts><NextPartNumberMarker>2</NextPartNumberMarker>" + both + "<PartNumberMarker>0</PartNumberMarker>"},
			{[]string{"x-amz-max-parts", "1"}, "<IsTruncated>true</IsTruncated><MaxParts>1</MaxParts><NextPartNumberMarker>1</NextPartNumberMarker>" + part(1, "16777216", sums[0]) + "<PartNumberMarker>0</PartNumberMarker>"},
			{[]string{"x-amz-max-parts", "1", "x-amz-part-number-marker", "1"}, "<IsTruncated>false</IsTruncated><MaxParts>1</MaxParts><NextPartNumberMarker>2</NextPartNumberMarker>" + part(2, "1", sums[1]) + "<PartNumberMarker>1</PartNumberMarker>"},
			{[]string{"x-amz-max-parts", "1", "x-amz-part-number-marker", "10"}, "<IsTruncated>false</IsTruncated><MaxParts>1</MaxParts><NextPartNumberMarker>0</NextPartNumberMarker><PartNumberMarker>10</PartNumberMarker>"},
			{[]string{"x-amz-max-parts", "5000"}, "<IsTruncated>false</IsTruncated><MaxParts>1000</MaxParts><NextPartNumberMarker>2</NextPartNumberMarker>" + both + "<PartNumberMarker>0</PartNumberMarker>"},
		} {
			if got := attributes(key, c.headers...); got != c.want+"<PartsCount>2</PartsCount>" {
				t.Errorf("%s %v: %s", key, c.headers, got)
			}
		}
		for _, method := range []string{"GET", "HEAD"} {
			for n, sum := range sums {
				a := d.do(method, "/bucket/"+key+"?partNumber="+string(rune('1'+n)), "", "x-amz-checksum-mode", "ENABLED")
				if a.status != 206 || a.header.Get("x-amz-checksum-crc32c") != sum || a.header.Get("x-amz-checksum-type") != "COMPOSITE" {
					t.Errorf("%s of part %d: %d %v", method, n+1, a.status, a.header)
				}
				if a = d.do(method, "/bucket/"+key+"?partNumber=1", ""); a.header.Get("x-amz-checksum-crc32c") != "" {
					t.Errorf("%s without the mode: %v", method, a.header)
				}
			}
		}
	}
	if got := attributes("full"); got != "<PartsCount>2</PartsCount>" {
		t.Error("full object:", got)
	}
	for _, v := range []string{"x", "-1", "99999999999"} {
		if got := attributes("composite", "x-amz-max-parts", v); !strings.HasPrefix(got, "<IsTruncated>false</IsTruncated><MaxParts>1000</MaxParts>") || !strings.Contains(got, both) {
			t.Errorf("max-parts %s: %s", v, got)
		}
		d.do("GET", "/bucket/composite?attributes", "", "x-amz-object-attributes", "ObjectParts", "x-amz-part-number-marker", v).want(t, v, 400, "InvalidArgument", "")
	}
	const missing = "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty"
	d.do("GET", "/bucket/composite?attributes", "").want(t, "none", 400, "InvalidRequest", missing)
	d.do("GET", "/bucket/composite?attributes", "", "x-amz-object-attributes", "").want(t, "empty", 400, "InvalidRequest", missing)
}

func crc32cOf(s string) string { return checksum.Format(checksum.Of(checksum.CRC32C, []byte(s))) }

// The MD5s are those of 0123456789, 01234567, 1 and 0.
func TestCopiesHaveTheETagsAndChecksumsThatAWSComputes(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "src", "0123456789")
	for _, alg := range []string{"", "CRC32C", "SHA256"} {
		var headers []string
		if alg != "" {
			headers = []string{"x-amz-checksum-algorithm", alg}
		}
		id, part := d.begin("/bucket/parts", headers...)
		for i, c := range []struct{ span, data, md5 string }{
			{"", "0123456789", "781e5e245d69b566979b86e28d23f2c7"},
			{"bytes=0-7", "01234567", "2e9ec317e197819358fbc43afca7d837"},
			{"bytes=1-1", "1", "c4ca4238a0b923820dcc509a6f75849b"},
			{"bytes=0-0", "0", "cfcd208495d565ef66e7dff9f98764da"},
		} {
			headers := []string{"x-amz-copy-source", "/bucket/src"}
			if c.span != "" {
				headers = append(headers, "x-amz-copy-source-range", c.span)
			}
			a := d.do("PUT", part(i+1), "", headers...)
			a.ok(t, c.span, 200)
			want := ""
			if alg != "" {
				want = checksum.Format(checksum.Of(checksum.Algorithm(alg), []byte(c.data)))
			}
			if !strings.Contains(element(a.body, "ETag"), c.md5) || alg != "" && element(a.body, "Checksum"+alg) != want || alg == "" && strings.Contains(a.body, "Checksum") {
				t.Errorf("%s %s: %v, want %s %s", alg, c.span, a, c.md5, want)
			}
		}
		list := d.do("GET", "/bucket/parts?uploadId="+id, "")
		if strings.Count(list.body, "<Checksum"+alg+">") != 4 && alg != "" || !strings.Contains(list.body, "c4ca4238a0b923820dcc509a6f75849b") {
			t.Error(list)
		}
	}

	// An object of parts is copied to one of one part.
	body := strings.Repeat("a", 5<<20) + "b"
	id, part := d.begin("/bucket/multi", "x-amz-checksum-algorithm", "SHA1")
	sum := func(s string) string { return checksum.Format(checksum.Of(checksum.SHA1, []byte(s))) }
	one := d.do("PUT", part(1), body[:5<<20], "x-amz-checksum-sha1", sum(body[:5<<20]))
	two := d.do("PUT", part(2), body[5<<20:], "x-amz-checksum-sha1", sum(body[5<<20:]))
	d.do("POST", "/bucket/multi?uploadId="+id, completeXML(
		partXML(1, one.header.Get("Etag"), "<ChecksumSHA1>"+one.header.Get("x-amz-checksum-sha1")+"</ChecksumSHA1>"),
		partXML(2, two.header.Get("Etag"), "<ChecksumSHA1>"+two.header.Get("x-amz-checksum-sha1")+"</ChecksumSHA1>"))).ok(t, "complete", 200)
	d.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "/bucket/multi").ok(t, "copy", 200)
	a := d.do("HEAD", "/bucket/copy", "", "x-amz-checksum-mode", "ENABLED")
	if a.header.Get("Etag") != `"`+hex.EncodeToString(checksum.Of(checksum.MD5, []byte(body)))+`"` || a.header.Get("x-amz-checksum-type") != "FULL_OBJECT" ||
		a.header.Get("x-amz-checksum-sha1") != sum(body) {
		t.Error(a.header)
	}
	if a := d.do("GET", "/bucket/copy?attributes", "", "x-amz-object-attributes", "ObjectParts"); strings.Contains(a.body, "ObjectParts") {
		t.Error("the copy has parts:", a)
	}
	if d.get("bucket", "copy") != body {
		t.Error("other bytes")
	}
}

func TestUploadMarkerMustBeOfItsKey(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	a, _ := d.begin("/bucket/a")
	b, _ := d.begin("/bucket/b")
	page := func(key, upload string) reply {
		return d.do("GET", "/bucket?uploads&max-uploads=1&key-marker="+key+"&upload-id-marker="+upload, "")
	}
	if r := page("a", a); r.status != 200 || element(r.body, "Key") != "b" {
		t.Error(r)
	}
	for _, bad := range [][2]string{{"a", b}, {"b", a}, {"a", "nonsense"}, {"x", a}} {
		page(bad[0], bad[1]).want(t, bad[0], 400, "InvalidArgument", "Invalid uploadId marker", "ArgumentName", "upload-id-marker", "ArgumentValue", bad[1])
	}
	// An upload that ends does not end the listing that stood at it.
	d.do("DELETE", "/bucket/a?uploadId="+a, "").ok(t, "abort", 204)
	if r := page("a", a); r.status != 200 || element(r.body, "Key") != "b" {
		t.Error(r)
	}
}

func TestACLDoesNotMakeACopyInPlaceLegal(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "data")
	copyTo := func(key string) reply {
		return d.do("PUT", "/bucket/"+key, "", "x-amz-copy-source", "/bucket/k", "x-amz-acl", "public-read")
	}
	copyTo("k").want(t, "in place", 400, "InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	copyTo("other").want(t, "to another key", 400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
}

func TestLockHeadersAreMissedBeforeTheirValues(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "data")
	d.do("PUT", "/bucket/x", "data", "x-amz-object-lock-mode", "BAD-VALUE").want(t, "no date", 400, "InvalidArgument",
		"x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied", "ArgumentName", "x-amz-object-lock-retain-until-date")
	d.do("PUT", "/bucket/x", "data", "x-amz-object-lock-mode", "BAD-VALUE", "x-amz-object-lock-retain-until-date", "2999-01-01T00:00:00Z").
		want(t, "no mode", 400, "InvalidArgument", "Unknown wormMode directive.", "ArgumentName", "x-amz-object-lock-mode", "ArgumentValue", "BAD-VALUE")
	// A document that is none is told before the bucket's want of Object Lock.
	d.do("PUT", "/bucket/k?legal-hold", "").want(t, "empty", 400, "MalformedXML", "")
	d.do("PUT", "/bucket/k?legal-hold", "<LegalHold><Status>ON</Status></LegalHold>").want(t, "no lock", 400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
}

func TestListingTellsNobodyTheOwner(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "data")
	d.open("bucket")
	d.policy("bucket", `{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket"}`)
	if a := d.do("GET", "/bucket", ""); a.status != 200 || !strings.Contains(a.body, "<Owner>") {
		t.Error(a)
	}
	if a := d.use("GET", d.server.URL+"/bucket", ""); a.status != 200 || !strings.Contains(a.body, "<Key>k</Key>") || strings.Contains(a.body, "<Owner>") {
		t.Error(a)
	}
}
