package s3api

import (
	"context"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// AWS answers 400 and nothing more.
func TestKeysAboveTheStartAreRefused(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "data")
	for _, key := range []string{"..", "../k", "a/../../k", "a/b/../../../k", "./../k", "..%2Fk", "%2e%2e/k", "a/../.."} {
		for _, c := range []struct{ method, query, header, value string }{
			{"PUT", "", "", ""}, {"GET", "", "", ""}, {"DELETE", "", "", ""}, {"POST", "?uploads", "", ""}, {"GET", "?tagging", "", ""},
			{"PUT", "", "x-amz-copy-source", "bucket/k"}, {"PUT", "?renameObject", "x-amz-rename-source", "k"},
			{"PUT", "?partNumber=1&uploadId=x", "", ""}, {"HEAD", "", "", ""},
		} {
			var headers []string
			if c.header != "" {
				headers = []string{c.header, c.value}
			}
			a := d.do(c.method, "/bucket/"+key+c.query, "", headers...)
			if a.status != 400 || a.body != "" || a.header.Get("Content-Type") != "" && c.method != "HEAD" {
				t.Errorf("%s %s%s %s: %d %q %v", c.method, key, c.query, c.header, a.status, a.body, a.header)
			}
		}
	}
	if a := d.post("bucket", presign("bucket", "../k", nil, nil)); a.status != 400 {
		t.Error("form:", a)
	}
	if list := d.do("GET", "/bucket", ""); strings.Count(list.body, "<Key>") != 1 {
		t.Error(list)
	}
	for _, key := range []string{"a/..", "a/../k", "a/b/../../k", "..k", "k..", "...", "a//..", "./k", "."} {
		d.do("PUT", "/bucket/"+key, "x").ok(t, key, 200)
		d.do("GET", "/bucket/"+key, "").ok(t, key, 200)
	}
}

// What an older coffer took can be found and removed.
func TestKeysAboveTheStartThatAreThere(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for _, key := range []string{"../copied", "../renamed"} {
		_, err := d.store.PutObject(context.Background(), objstore.S3Caller("x"), objstore.PutRequest{Bucket: "bucket", Key: key, Body: strings.NewReader("x"), Size: 1})
		if err != nil {
			t.Fatal(err)
		}
	}
	if list := d.do("GET", "/bucket", ""); !strings.Contains(list.body, "<Key>../copied</Key>") {
		t.Error(list)
	}
	d.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "bucket/../copied").ok(t, "copy", 200)
	d.do("PUT", "/bucket/renamed?renameObject", "", "x-amz-rename-source", "../renamed").ok(t, "rename", 200)
	body := "<Delete><Object><Key>../copied</Key></Object></Delete>"
	d.do("POST", "/bucket?delete", body, "Content-MD5", md5Base64(body)).ok(t, "delete", 200)
	if list := d.do("GET", "/bucket", ""); strings.Contains(list.body, "<Key>..") {
		t.Error(list)
	}
}
