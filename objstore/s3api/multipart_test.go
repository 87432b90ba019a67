package s3api

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/cofferfs/coffer/objstore"
)

func completeXML(parts ...string) string {
	return `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + strings.Join(parts, "") + `</CompleteMultipartUpload>`
}

func partXML(n int, etag string, more ...string) string {
	return fmt.Sprintf(`<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>%s</Part>`, n, etag, strings.Join(more, ""))
}

// begin begins an upload and returns the target for its parts.
func (d *door) begin(target string, headers ...string) (id string, part func(n int) string) {
	d.t.Helper()
	a := d.do("POST", target+"?uploads", "", headers...)
	a.ok(d.t, "begin", 200)
	id = element(a.body, "UploadId")
	return id, func(n int) string { return fmt.Sprintf("%s?partNumber=%d&uploadId=%s", target, n, id) }
}

// AWS's answers, recorded 2026-02-21 by the LocalStack project (Apache-2.0),
// for an upload of parts of 5242881, 5242881 and 10 times the letter a.
func TestRecordedMultipartChecksums(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	parts := []string{strings.Repeat("a", 5242881), strings.Repeat("a", 5242881), strings.Repeat("a", 10)}
	const etag = `"4d45984fc3feb2ac9b22683c49674b56-3"`
	for _, c := range []struct {
		alg       types.ChecksumAlgorithm
		typ       types.ChecksumType
		sums      [3]string
		want, one string
	}{
		{"CRC32", "COMPOSITE", [3]string{"NRU+Sw==", "NRU+Sw==", "TBHN8A=="}, "5FRUiw==-3", "qSEQSA=="},
		{"CRC32", "FULL_OBJECT", [3]string{"NRU+Sw==", "NRU+Sw==", "TBHN8A=="}, "qSEQSA==", "qSEQSA=="},
		{"SHA256", "COMPOSITE", [3]string{"DjU70AB1bON8k0n0fVHv2PJQVWcA/jWsITp6ti20Tbs=", "DjU70AB1bON8k0n0fVHv2PJQVWcA/jWsITp6ti20Tbs=", "vyy1imj2hNlaO3jvj2Ycmk5bCegsyPnMiMzpBSjK6yc="},
			"9o++y6AejqboiJ7MZCx0fahK2Vu5YC/qnNhhYsCLciI=-3", ""},
		{"", "FULL_OBJECT", [3]string{}, "ZMNX55lZurA=", "ZMNX55lZurA="},
	} {
		name := string(c.alg) + string(c.typ)
		if testing.Short() && c.alg == "SHA256" {
			continue
		}
		typ := c.typ
		if c.alg == "" {
			typ = ""
		}
		up, err := d.s3.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: aws.String("bucket"), Key: aws.String(name), ChecksumAlgorithm: c.alg, ChecksumType: typ})
		if err != nil || up.ChecksumAlgorithm != c.alg || up.ChecksumType != typ || up.ServerSideEncryption != "AES256" {
			t.Fatalf("%s: %+v, %v", name, up, err)
		}
		target := "/bucket/" + name + "?uploadId=" + *up.UploadId
		header := "x-amz-checksum-" + strings.ToLower(string(c.alg))
		var done []string
		for i, p := range parts {
			var sent []string
			if c.typ == "COMPOSITE" {
				sent = []string{header, c.sums[i]}
			}
			a := d.do("PUT", fmt.Sprintf("%s&partNumber=%d", target, i+1), p, sent...)
			if a.status != 200 || c.alg != "" && a.header.Get(header) != c.sums[i] || a.header.Get("x-amz-server-side-encryption") != "AES256" {
				t.Fatalf("%s: part %d: %v %v", name, i+1, a, a.header)
			}
			sum := ""
			if c.sums[i] != "" && c.typ == "COMPOSITE" {
				sum = "<Checksum" + string(c.alg) + ">" + c.sums[i] + "</Checksum" + string(c.alg) + ">"
			}
			done = append(done, partXML(i+1, a.header.Get("Etag"), sum))
		}
		list, err := d.s3.ListParts(ctx, &s3.ListPartsInput{Bucket: aws.String("bucket"), Key: aws.String(name), UploadId: up.UploadId})
		if err != nil || len(list.Parts) != 3 || *list.Parts[0].Size != 5242881 || list.ChecksumAlgorithm != c.alg || list.ChecksumType != typ ||
			*list.NextPartNumberMarker != "3" || *list.PartNumberMarker != "0" || *list.MaxParts != 1000 || *list.IsTruncated || list.StorageClass != "STANDARD" {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
		if a := d.do("GET", target, ""); c.alg != "" && element(a.body, "Checksum"+string(c.alg)) != c.sums[0] || c.alg == "" && strings.Contains(a.body, "Checksum") {
			t.Errorf("%s: %v", name, a)
		}
		if c.typ == "COMPOSITE" {
			d.do("POST", target, completeXML(partXML(1, "c4c753e69bb853187f5854c46cf801c6"))).want(t, name, 400, "InvalidRequest",
				"The upload was created using a "+strings.ToLower(string(c.alg))+" checksum. The complete request must include the checksum for each part. It was missing for part 1 in the request.")
			wrong := "<Checksum" + string(c.alg) + ">" + c.sums[2] + "</Checksum" + string(c.alg) + ">"
			d.do("POST", target, completeXML(partXML(1, "c4c753e69bb853187f5854c46cf801c6", wrong))).want(t, name, 400, "InvalidPart",
				"One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
				"ETag", "c4c753e69bb853187f5854c46cf801c6", "PartNumber", "1", "UploadId", *up.UploadId)
		}
		mode, other := string(c.typ), "COMPOSITE"
		if c.typ == "COMPOSITE" {
			other = "FULL_OBJECT"
		}
		if c.alg == "" {
			mode = "null"
		}
		d.do("POST", target, completeXML(done...), "x-amz-checksum-type", other).want(t, name, 400, "InvalidRequest",
			"The upload was created using the "+mode+" checksum mode. The complete request must use the same checksum mode.")
		d.do("POST", target, completeXML(done...), "x-amz-mp-object-size", "5").want(t, name, 400, "InvalidRequest",
			"The provided 'x-amz-mp-object-size' header value 5 does not match what was computed: 10485772")
		if c.typ == "FULL_OBJECT" && c.alg != "" {
			d.do("POST", target, completeXML(done...), header, "AAAAAA==").want(t, name, 400, "BadDigest", "The crc32 you specified did not match the calculated checksum.")
		}
		a := d.do("POST", target, completeXML(done...), "x-amz-mp-object-size", "10485772")
		sumName := string(c.alg)
		if sumName == "" {
			sumName = "CRC64NVME"
		}
		if a.status != 200 || element(a.body, "ETag") != strings.ReplaceAll(etag, `"`, "&quot;") || element(a.body, "Checksum"+sumName) != c.want || element(a.body, "ChecksumType") != string(c.typ) ||
			element(a.body, "Bucket") != "bucket" || element(a.body, "Key") != name || element(a.body, "Location") != d.server.URL+"/bucket/"+name {
			t.Errorf("%s: %v", name, a)
		}
		h := d.do("HEAD", "/bucket/"+name, "", "x-amz-checksum-mode", "ENABLED")
		if h.header.Get("x-amz-checksum-"+strings.ToLower(sumName)) != c.want || h.header.Get("x-amz-checksum-type") != string(c.typ) || h.header.Get("Content-Length") != "10485772" || h.header.Get("Etag") != etag {
			t.Errorf("%s: %v", name, h.header)
		}
		p := d.do("GET", "/bucket/"+name+"?partNumber=3", "", "x-amz-checksum-mode", "ENABLED")
		if p.status != 206 || p.body != parts[2] || p.header.Get("Content-Range") != "bytes 10485762-10485771/10485772" || p.header.Get("x-amz-mp-parts-count") != "3" {
			t.Errorf("%s: %v %v", name, p, p.header)
		}
		p = d.do("HEAD", "/bucket/"+name+"?partNumber=2", "")
		if p.status != 206 || p.header.Get("Content-Length") != "5242881" || p.header.Get("Content-Range") != "bytes 5242881-10485761/10485772" {
			t.Errorf("%s: %v", name, p.header)
		}
		d.do("GET", "/bucket/"+name+"?partNumber=10", "").want(t, name, 416, "InvalidPartNumber", "The requested partnumber is not satisfiable", "ActualPartCount", "3", "PartNumberRequested", "10")
		attrs := d.do("GET", "/bucket/"+name+"?attributes", "", "x-amz-object-attributes", "Checksum,ObjectParts")
		if v, _, _ := strings.Cut(c.want, "-"); element(attrs.body, "Checksum"+sumName) != v || element(attrs.body, "PartsCount") != "3" {
			t.Errorf("%s: %v", name, attrs)
		}
		// The same request again, whose answer was lost.
		d.do("POST", target, completeXML(done...)).ok(t, name+" again", 200)
	}
}

// AWS's answers, recorded 2026-02-21 by the LocalStack project (Apache-2.0).
func TestRecordedMultipartRefusals(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const gone = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
	const missing = "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
	id, part := d.begin("/bucket/k")
	data := "8d777f385d3dfec8815d20f7496026dc" // MD5 of "data"

	for _, fake := range []string{"fakeid", strings.Repeat("0", 32)} {
		d.do("PUT", "/bucket/k?partNumber=1&uploadId="+fake, "data").want(t, "part", 404, "NoSuchUpload", gone, "UploadId", fake)
		d.do("GET", "/bucket/k?uploadId="+fake, "").want(t, "list", 404, "NoSuchUpload", gone, "UploadId", fake)
		d.do("DELETE", "/bucket/k?uploadId="+fake, "").want(t, "abort", 404, "NoSuchUpload", gone, "UploadId", fake)
		d.do("POST", "/bucket/k?uploadId="+fake, completeXML(partXML(1, data))).want(t, "complete", 404, "NoSuchUpload", gone, "UploadId", fake)
	}
	d.do("PUT", "/bucket/other?partNumber=1&uploadId="+id, "data").want(t, "other key", 404, "NoSuchUpload", gone, "UploadId", id)
	d.do("GET", "/bucket/other?uploadId="+id, "").want(t, "other key", 404, "NoSuchUpload", gone, "UploadId", id)
	d.do("DELETE", "/bucket/other?uploadId="+id, "").want(t, "other key", 404, "NoSuchUpload", gone, "UploadId", id)
	for _, n := range []string{"-1", "0", "10001", "x", ""} {
		d.do("PUT", "/bucket/k?partNumber="+n+"&uploadId="+id, "data").want(t, "part "+n, 400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive", "ArgumentName", "partNumber", "ArgumentValue", n)
	}
	d.do("PUT", "/bucket/k?partNumber=1", "data").want(t, "no id", 400, "InvalidArgument", "")

	d.do("POST", "/bucket/k?uploadId="+id, completeXML()).want(t, "no parts", 400, "MalformedXML", "")
	d.do("POST", "/bucket/k?uploadId="+id, "").want(t, "no document", 400, "InvalidRequest", "You must specify at least one part")
	d.do("POST", "/bucket/k?uploadId="+id, completeXML(partXML(1, data))+"x").want(t, "trailing", 400, "MalformedXML", "")
	for _, incomplete := range []string{"<Part><PartNumber>1</PartNumber></Part>", "<Part><ETag>" + data + "</ETag></Part>"} {
		d.do("POST", "/bucket/k?uploadId="+id, completeXML(incomplete)).want(t, incomplete, 400, "MalformedXML", "")
	}
	d.do("POST", "/bucket/k?uploadId="+id, completeXML(partXML(1, data)), "x-amz-mp-object-size", "size").want(t, "size", 400, "InvalidRequest",
		"Value for x-amz-mp-object-size header is invalid: 'size'")
	d.do("PUT", part(1), "data").ok(t, "part 1", 200)
	d.do("POST", "/bucket/k?uploadId="+id, completeXML(partXML(2, data))).want(t, "wrong number", 400, "InvalidPart", missing, "ETag", data, "PartNumber", "2", "UploadId", id)
	d.do("POST", "/bucket/k?uploadId="+id, completeXML(partXML(1, `"d41d8cd98f00b204e9800998ecf8427e"`))).want(t, "wrong tag", 400, "InvalidPart", missing, "ETag", "d41d8cd98f00b204e9800998ecf8427e", "PartNumber", "1", "UploadId", id)
	d.do("PUT", part(2), "data").ok(t, "part 2", 200)
	d.do("POST", "/bucket/k?uploadId="+id, completeXML(partXML(2, data), partXML(1, data))).want(t, "order", 400, "InvalidPartOrder",
		"The list of parts was not in ascending order. Parts must be ordered by part number.", "UploadId", id)
	d.do("POST", "/bucket/k?uploadId="+id, completeXML(partXML(1, data), partXML(2, data))).want(t, "small", 400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size",
		"ETag", data, "MinSizeAllowed", "5242880", "PartNumber", "1", "ProposedSize", "4")
	d.do("PUT", part(1), "data", "Content-MD5", "CYketZBSTjX8czcs3cXVlg==").want(t, "digest", 400, "BadDigest", "The Content-MD5 you specified did not match what we received.",
		"CalculatedDigest", "jXd/OF09/siBXSD3SWAm3A==", "ExpectedDigest", "CYketZBSTjX8czcs3cXVlg==")

	d.do("POST", "/bucket/c?uploads", "", "x-amz-checksum-algorithm", "TEST").want(t, "algorithm", 400, "InvalidRequest",
		"Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	d.do("POST", "/bucket/c?uploads", "", "x-amz-checksum-type", "COMPOSITE").want(t, "type", 400, "InvalidRequest",
		"The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
	d.do("POST", "/bucket/c?uploads", "", "x-amz-checksum-type", "COMPOSITE", "x-amz-checksum-algorithm", "CRC64NVME").want(t, "type", 400, "InvalidRequest",
		"The COMPOSITE checksum type cannot be used with the crc64nvme checksum algorithm.")
	d.do("POST", "/bucket/c?uploads", "", "x-amz-checksum-type", "FULL_OBJECT", "x-amz-checksum-algorithm", "SHA1").want(t, "type", 400, "InvalidRequest",
		"The FULL_OBJECT checksum type cannot be used with the sha1 checksum algorithm.")
	id2, part2 := d.begin("/bucket/c", "x-amz-checksum-algorithm", "SHA256")
	d.do("PUT", part2(1), "abc", "x-amz-checksum-crc32", "NSRBwg==").want(t, "mismatch", 400, "InvalidRequest",
		"Checksum Type mismatch occurred, expected checksum Type: sha256, actual checksum Type: crc32")
	d.do("PUT", part2(1), "abc").want(t, "none", 400, "InvalidRequest",
		"Checksum Type mismatch occurred, expected checksum Type: sha256, actual checksum Type: null")
	d.do("PUT", part2(1), "abc", "Content-MD5", "kAFQmDzST7DWlj99KOF/cg==").want(t, "MD5 alone", 400, "InvalidRequest",
		"Checksum Type mismatch occurred, expected checksum Type: sha256, actual checksum Type: null")
	d.do("PUT", part2(1), "abc", "x-amz-checksum-sha256", "AAAA").want(t, "value", 400, "InvalidRequest", "Value for x-amz-checksum-sha256 header is invalid.")
	d.do("DELETE", "/bucket/c?uploadId="+id2, "").ok(t, "abort", 204)

	// An upload without algorithm takes any, and does not keep it.
	id3, part3 := d.begin("/bucket/d")
	if a := d.do("PUT", part3(1), "abc", "x-amz-checksum-crc32", "NSRBwg=="); a.status != 200 || a.header.Get("x-amz-checksum-crc32") != "NSRBwg==" {
		t.Errorf("%v %v", a, a.header)
	}
	d.do("DELETE", "/bucket/d?uploadId="+id3, "").ok(t, "abort", 204)

	// The only part is the whole object; of a composite checksum it shows its own.
	for _, typ := range []string{"FULL_OBJECT", "COMPOSITE"} {
		id, part := d.begin("/bucket/one", "x-amz-checksum-algorithm", "CRC32C", "x-amz-checksum-type", typ)
		a := d.do("PUT", part(1), "test content 123", "x-amz-checksum-crc32c", "fwuu0Q==")
		a = d.do("POST", "/bucket/one?uploadId="+id, completeXML(partXML(1, a.header.Get("Etag"), "<ChecksumCRC32C>fwuu0Q==</ChecksumCRC32C>")))
		if want := map[string]string{"FULL_OBJECT": "fwuu0Q==", "COMPOSITE": "sZB91Q==-1"}[typ]; element(a.body, "ChecksumCRC32C") != want {
			t.Error(a)
		}
		a = d.do("GET", "/bucket/one?partNumber=1", "", "x-amz-checksum-mode", "ENABLED")
		if a.status != 206 || a.header.Get("x-amz-checksum-crc32c") != "fwuu0Q==" || a.header.Get("x-amz-checksum-type") != typ || a.header.Get("x-amz-mp-parts-count") != "1" || a.header.Get("Content-Range") != "bytes 0-15/16" {
			t.Errorf("%v %v", a, a.header)
		}
	}

	// If-None-Match and If-Match of Complete.
	d.put("bucket", "p", "test")
	id4, part4 := d.begin("/bucket/p")
	tag := d.do("PUT", part4(1), "test").header.Get("Etag")
	doc := completeXML(partXML(1, tag))
	const held = "At least one of the pre-conditions you specified did not hold"
	d.do("POST", "/bucket/p?uploadId="+id4, doc, "If-None-Match", "*").want(t, "exists", 412, "PreconditionFailed", held, "Condition", "If-None-Match")
	d.do("POST", "/bucket/p?uploadId="+id4, doc, "If-Match", `"x"`).want(t, "other", 412, "PreconditionFailed", held, "Condition", "If-Match")
	if a := d.do("POST", "/bucket/p?uploadId="+id4, doc, "If-Match", `"098f6bcd4621d373cade4e832627b4f6"`); a.status != 200 || element(a.body, "ETag") != "&quot;60cd54a928cbbcbb6e7b5595bab46a9e-1&quot;" || element(a.body, "ChecksumCRC64NVME") != "+bu+zv66sUM=" {
		t.Error(a)
	}
}

func TestListMultipartUploads(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	bucket := aws.String("bucket")
	empty, err := d.s3.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: bucket})
	if err != nil || *empty.NextKeyMarker != "" || *empty.NextUploadIdMarker != "" || *empty.IsTruncated || *empty.MaxUploads != 1000 {
		t.Errorf("%+v, %v", empty, err)
	}
	var ids []string
	for _, k := range []string{"a/1", "a/1", "a/2", "b"} {
		id, _ := d.begin("/bucket/" + k)
		ids = append(ids, id)
	}
	all, err := d.s3.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: bucket})
	if err != nil || len(all.Uploads) != 4 || *all.NextKeyMarker != "b" || *all.NextUploadIdMarker != ids[3] {
		t.Fatalf("%+v, %v", all, err)
	}
	for i, u := range all.Uploads {
		if *u.UploadId != ids[i] || u.Initiated == nil || u.Owner == nil || aws.ToString(u.Initiator.DisplayName) == "" {
			t.Errorf("%+v", u)
		}
	}
	var got []string
	in := &s3.ListMultipartUploadsInput{Bucket: bucket, MaxUploads: aws.Int32(1)}
	for {
		out, err := d.s3.ListMultipartUploads(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range out.Uploads {
			got = append(got, *u.UploadId)
		}
		if !*out.IsTruncated {
			break
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
	if strings.Join(got, " ") != strings.Join(ids, " ") {
		t.Errorf("%v, want %v", got, ids)
	}
	out, err := d.s3.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: bucket, Delimiter: aws.String("/")})
	if err != nil || prefixesOf(out.CommonPrefixes) != "a/" || len(out.Uploads) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	out, err = d.s3.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: bucket, KeyMarker: aws.String("a/1")})
	if err != nil || len(out.Uploads) != 2 {
		t.Errorf("%+v, %v", out, err)
	}
	for i, k := range []string{"a/1", "a/1", "a/2", "b"} {
		d.do("DELETE", "/bucket/"+k+"?uploadId="+ids[i], "").ok(t, "abort", 204)
	}
	d.do("DELETE", "/bucket", "").ok(t, "delete", 204)
}

func TestListPartsPages(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	id, part := d.begin("/bucket/k")
	if a := d.do("GET", "/bucket/k?uploadId="+id, ""); element(a.body, "NextPartNumberMarker") != "0" || element(a.body, "PartNumberMarker") != "0" || strings.Contains(a.body, "<Part>") {
		t.Error(a)
	}
	for _, n := range []int{1, 2, 7} {
		d.do("PUT", part(n), "data").ok(t, "part", 200)
	}
	for _, c := range []struct{ query, next, truncated, parts string }{
		{"", "7", "false", "3"}, {"&max-parts=1", "1", "true", "1"}, {"&max-parts=1&part-number-marker=2", "7", "false", "1"},
		{"&part-number-marker=10", "0", "false", "0"}, {"&part-number-marker=", "7", "false", "3"}, {"&max-parts=", "7", "false", "3"},
	} {
		a := d.do("GET", "/bucket/k?uploadId="+id+c.query, "")
		if element(a.body, "NextPartNumberMarker") != c.next || element(a.body, "IsTruncated") != c.truncated || fmt.Sprint(strings.Count(a.body, "<Part>")) != c.parts {
			t.Errorf("%s: %v", c.query, a)
		}
	}
}

func TestMultipartCarriesMetadataAndCopiesParts(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	big := make([]byte, objstore.MinPartSize+12345)
	rand.Read(big)
	d.put("bucket", "src", string(big))
	id, part := d.begin("/bucket/k", "Content-Type", "text/x", "x-amz-meta-a", "b", "Content-Encoding", "aws-chunked,gzip")
	var done []types.CompletedPart
	a := d.do("PUT", part(1), "", "x-amz-copy-source", "bucket/src")
	done = append(done, types.CompletedPart{PartNumber: aws.Int32(1), ETag: aws.String(strings.ReplaceAll(element(a.body, "ETag"), "&quot;", `"`))})
	a = d.do("PUT", part(3), "", "x-amz-copy-source", "bucket/src", "x-amz-copy-source-range", fmt.Sprintf("bytes=100-%d", 100+objstore.MinPartSize-1))
	done = append(done, types.CompletedPart{PartNumber: aws.Int32(3), ETag: aws.String(strings.ReplaceAll(element(a.body, "ETag"), "&quot;", `"`))})
	p, err := d.s3.UploadPart(ctx, &s3.UploadPartInput{Bucket: aws.String("bucket"), Key: aws.String("k"), UploadId: &id, PartNumber: aws.Int32(9), Body: strings.NewReader("tail")})
	if err != nil {
		t.Fatal(err)
	}
	done = append(done, types.CompletedPart{PartNumber: aws.Int32(9), ETag: p.ETag})
	if _, err := d.s3.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: aws.String("bucket"), Key: aws.String("k"), UploadId: &id, MultipartUpload: &types.CompletedMultipartUpload{Parts: done}}); err != nil {
		t.Fatal(err)
	}
	out, err := d.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	got, err := io.ReadAll(out.Body)
	want := append(append(append([]byte(nil), big...), big[100:100+objstore.MinPartSize]...), "tail"...)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d, %v", len(got), len(want), err)
	}
	if *out.ContentType != "text/x" || out.Metadata["a"] != "b" || *out.ContentEncoding != "gzip" {
		t.Errorf("%+v", out)
	}
}
