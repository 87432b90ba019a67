package s3api

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
)

func TestAppendByWriteOffset(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	appendAt := func(key string, offset int, body string, headers ...string) reply {
		t.Helper()
		return d.do("PUT", "/bucket/"+key, body, append(headers, "x-amz-write-offset-bytes", strconv.Itoa(offset))...)
	}
	a := appendAt("log", 0, "one\n", "x-amz-meta-k", "v", "Content-Type", "text/x")
	if a.status != 200 || a.header.Get("x-amz-object-size") != "4" {
		t.Error(a, a.header)
	}
	a = appendAt("log", 4, "two\n", "Content-Type", "text/y")
	if a.status != 200 || a.header.Get("x-amz-object-size") != "8" || a.header.Get("x-amz-checksum-crc64nvme") == "" {
		t.Error(a, a.header)
	}
	if d.get("bucket", "log") != "one\ntwo\n" {
		t.Error("another body")
	}
	head := d.do("HEAD", "/bucket/log", "", "x-amz-checksum-mode", "ENABLED").header
	whole := d.do("PUT", "/bucket/whole", "one\ntwo\n").header
	if head.Get("x-amz-checksum-crc64nvme") != whole.Get("x-amz-checksum-crc64nvme") || head.Get("ETag") != a.header.Get("ETag") ||
		head.Get("Content-Type") != "text/x" || head.Get("x-amz-meta-k") != "v" || head.Get("x-amz-object-size") != "" {
		t.Error(head)
	}
	const offset = "The write offset value that you specified does not match the current object size."
	appendAt("log", 4, "x").want(t, "offset", 400, "InvalidWriteOffset", offset)
	appendAt("log", 0, "x").want(t, "offset", 400, "InvalidWriteOffset", offset)
	appendAt("none", 1, "x").want(t, "no object", 404, "NoSuchKey", "The specified key does not exist.", "Key", "none")
	for _, bad := range []string{"", "-1", "x", "1.5", "99999999999999999999"} {
		d.do("PUT", "/bucket/log", "x", "x-amz-write-offset-bytes", bad).want(t, bad, 400, "InvalidArgument", "The write offset must be a number of bytes.",
			"ArgumentName", "x-amz-write-offset-bytes", "ArgumentValue", bad)
	}
	appendAt("log", 8, "x", "x-amz-meta-a", "b").want(t, "metadata", 400, "InvalidRequest", "The x-amz-meta-a header cannot be used when appending to an object.")
	appendAt("log", 8, "x", "x-amz-checksum-crc32", "AAAAAA==").want(t, "checksum", 400, "BadDigest", "")
	appendAt("log", 8, "x", "If-Match", `"x"`).want(t, "tag", 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", "Condition", "If-Match")
	d.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "bucket/log", "x-amz-write-offset-bytes", "0").want(t, "copy", 501, "NotImplemented", "")
	appendAt("log", 8, "three\n", "If-Match", a.header.Get("ETag")).ok(t, "tag", 200)
	appendAt("log", 14, strings.Repeat("x", 100_000)).ok(t, "long", 200)
	if got := d.get("bucket", "log"); got != "one\ntwo\nthree\n"+strings.Repeat("x", 100_000) {
		t.Error(len(got), "bytes")
	}

	key := bytes.Repeat([]byte{3}, 32)
	sum := md5.Sum(key)
	const prefix = "x-amz-server-side-encryption-customer-"
	sse := []string{prefix + "algorithm", "AES256", prefix + "key", base64.StdEncoding.EncodeToString(key), prefix + "key-MD5", base64.StdEncoding.EncodeToString(sum[:])}
	appendAt("c", 0, "one", sse...).ok(t, "customer's key", 200)
	appendAt("c", 3, "two").want(t, "without key", 400, "InvalidRequest", "")
	appendAt("c", 3, strings.Repeat("t", 50_000), sse...).ok(t, "with key", 200)
	if a := d.do("GET", "/bucket/c", "", sse...); a.body != "one"+strings.Repeat("t", 50_000) {
		t.Error(len(a.body), "bytes")
	}
	appendAt("log", 100_014, "x", sse...).want(t, "key for nothing", 400, "InvalidRequest", "")
}

func TestAppendKeepsEncryptionAndVersions(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const header = "x-amz-server-side-encryption"
	for _, mode := range []string{"AES256", "aws:kms", "aws:kms:dsse"} {
		for _, sizes := range [][]int{{5, 7, 30_000, 3}, {40_000, 50_000}, {0, 5 << 20, 1}} {
			target, want := "/bucket/"+strings.ReplaceAll(mode, ":", "-"), ""
			for i, n := range sizes {
				more := strings.Repeat(string(rune('a'+i)), n)
				headers := []string{"x-amz-write-offset-bytes", strconv.Itoa(len(want))}
				if i == 0 {
					d.do("DELETE", target, "").ok(t, "delete", 204)
					headers = append(headers, header, mode)
				}
				a := d.do("PUT", target, more, headers...)
				want += more
				if a.status != 200 || a.header.Get(header) != mode || a.header.Get("x-amz-object-size") != strconv.Itoa(len(want)) {
					t.Fatalf("%s %v: %v %v", mode, sizes, a, a.header)
				}
				if a := d.do("GET", target, ""); a.body != want || a.header.Get(header) != mode {
					t.Fatalf("%s %v: %d bytes, %v", mode, sizes, len(a.body), a.header)
				}
			}
		}
		other := map[string]string{"AES256": "aws:kms", "aws:kms": "AES256", "aws:kms:dsse": "AES256"}[mode]
		d.do("PUT", "/bucket/"+strings.ReplaceAll(mode, ":", "-"), "x", "x-amz-write-offset-bytes", strconv.Itoa(5<<20+1), header, other).want(t, mode, 400, "EncryptionTypeMismatch", "")
	}
	d.do("PUT", "/bucket?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>").ok(t, "versioning", 200)
	var versions []string
	for i := range 3 {
		a := d.do("PUT", "/bucket/v", "x", "x-amz-write-offset-bytes", strconv.Itoa(i))
		versions = append(versions, a.header.Get("x-amz-version-id"))
	}
	for i, v := range versions {
		if a := d.do("GET", "/bucket/v?versionId="+v, ""); a.body != strings.Repeat("x", i+1) || v == "" {
			t.Errorf("version %d: %v", i, a)
		}
	}
	// What is renamed leaves its older versions, and a delete marker.
	d.do("PUT", "/bucket/w?renameObject", "", "x-amz-rename-source", "v").ok(t, "rename", 200)
	if a := d.do("GET", "/bucket/w", ""); a.body != "xxx" {
		t.Error(a)
	}
	if a := d.do("GET", "/bucket/v", ""); a.status != 404 || a.header.Get("x-amz-delete-marker") != "true" {
		t.Error(a, a.header)
	}
	if a := d.do("GET", "/bucket/v?versionId="+versions[0], ""); a.body != "x" {
		t.Error(a)
	}
}

func TestFormsAndLinksWithEveryEncryption(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	key := bytes.Repeat([]byte{9}, 32)
	sum := md5.Sum(key)
	const prefix = "x-amz-server-side-encryption-customer-"
	customer := []string{prefix + "algorithm", "AES256", prefix + "key", base64.StdEncoding.EncodeToString(key), prefix + "key-MD5", base64.StdEncoding.EncodeToString(sum[:])}
	for what, headers := range map[string][]string{
		"sse-s3": {"x-amz-server-side-encryption", "AES256"}, "kms": {"x-amz-server-side-encryption", "aws:kms"},
		"dsse": {"x-amz-server-side-encryption", "aws:kms:dsse"}, "sse-c": customer,
	} {
		var fields [][2]string
		var list conditions
		read := []string{}
		if what == "sse-c" {
			read = headers
		}
		for i := 0; i < len(headers); i += 2 {
			fields = append(fields, [2]string{headers[i], headers[i+1]})
			list = append(list, conditions{"eq", "$" + headers[i], headers[i+1]})
		}
		a := d.post("bucket", presign("bucket", what, fields, list))
		if a.status != 204 || a.header.Get(headers[0]) != headers[1] {
			t.Errorf("%s: %v %v", what, a, a.header)
		}
		if a := d.do("GET", "/bucket/"+what, "", read...); a.body != "abcdef" || a.header.Get(headers[0]) != headers[1] {
			t.Errorf("%s: %v %v", what, a, a.header)
		}
		signed := headers
		if what == "sse-c" {
			signed = headers[:2] // the key is not in the URL, nor what it is signed with
		}
		d.follow("PUT", d.link("PUT", "/bucket/"+what, 60, signed...), "linked", headers...).ok(t, what, 200)
		signed = nil
		if what == "sse-c" {
			signed = headers[:2]
		}
		if a := d.follow("GET", d.link("GET", "/bucket/"+what, 60, signed...), "", read...); a.body != "linked" {
			t.Errorf("%s: %v", what, a)
		}
	}
	if strings.Contains(d.log.String(), customer[3]) {
		t.Error("a customer's key is in the log")
	}
}
