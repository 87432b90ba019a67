package s3api

import (
	"strings"
	"testing"
)

// Who may write or delete what he may not read cannot find out by an ETag, which is an
// MD5, what is there.
func TestConditionsOnETagsTakeTheRightToRead(t *testing.T) {
	const secret = "the PIN is 4711"
	right, wrong := `"`+md5Hex(secret)+`"`, `"`+md5Hex("the PIN is 4712")+`"`
	d := openDoor(t)
	d.bucket("bucket")
	writer := d.user("writer", `{"Effect":"Allow","Action":["s3:PutObject","s3:DeleteObject","s3:ListBucket"],"Resource":"*"}`,
		`{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"arn:aws:s3:::bucket/mine"}`)
	reader := d.user("reader", `{"Effect":"Allow","Action":["s3:PutObject","s3:DeleteObject","s3:ListBucket","s3:GetObject"],"Resource":"*"}`)
	deletes := func(d *door, etag string) reply {
		body := `<Delete><Object><Key>k</Key><ETag>` + etag + `</ETag></Object></Delete>`
		return d.do("POST", "/bucket?delete", body, "Content-MD5", md5Base64(body))
	}
	upload := func(d *door) (target, document string) {
		a := d.do("POST", "/bucket/k?uploads", "")
		a.ok(t, "create upload", 200)
		id := element(a.body, "UploadId")
		part := d.do("PUT", "/bucket/k?partNumber=1&uploadId="+id, "part")
		part.ok(t, "upload part", 200)
		return "/bucket/k?uploadId=" + id, `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>` + part.header.Get("ETag") + `</ETag></Part></CompleteMultipartUpload>`
	}
	d.put("bucket", "k", secret)
	d.put("bucket", "mine", "x")
	target, document := upload(writer)
	for _, guess := range []string{right, wrong} {
		const denied = `is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::bucket/k"`
		for what, a := range map[string]reply{
			"put":           writer.do("PUT", "/bucket/k", "y", "If-Match", guess),
			"append":        writer.do("PUT", "/bucket/k", "y", "If-Match", guess, "x-amz-write-offset-bytes", "15"),
			"copy":          writer.do("PUT", "/bucket/k", "", "If-Match", guess, "x-amz-copy-source", "bucket/mine"),
			"complete":      writer.do("POST", target, document, "If-Match", guess),
			"rename":        writer.do("PUT", "/bucket/k?renameObject", "", "If-Match", guess, "x-amz-rename-source", "mine"),
			"rename, other": writer.do("PUT", "/bucket/k?renameObject", "", "If-None-Match", guess, "x-amz-rename-source", "mine"),
			"delete":        writer.do("DELETE", "/bucket/k", "", "If-Match", guess),
		} {
			if a.status != 403 || !strings.Contains(a.body, denied) {
				t.Errorf("%s if it is %s: %v", what, guess, a)
			}
		}
		if a := deletes(writer, guess); !strings.Contains(a.body, "<Code>AccessDenied</Code>") || !strings.Contains(a.body, "s3:GetObject") {
			t.Errorf("delete many if it is %s: %v", guess, a)
		}
	}
	if got := d.get("bucket", "k"); got != secret {
		t.Fatalf("the object is %q", got)
	}

	// Whether there is anything is no more than writing tells in any case.
	writer.do("PUT", "/bucket/k", "y", "If-None-Match", "*").want(t, "put if none", 412, "PreconditionFailed", "")
	writer.do("DELETE", "/bucket/k", "", "If-Match", "*").ok(t, "delete if any", 204)
	// Who may read goes by ETags as ever.
	d.put("bucket", "k", secret)
	reader.do("PUT", "/bucket/k", "y", "If-Match", wrong).want(t, "put", 412, "PreconditionFailed", "")
	reader.do("PUT", "/bucket/k", secret, "If-Match", right).ok(t, "put", 200)
	deletes(reader, wrong).ok(t, "delete many", 200)
	if got := d.get("bucket", "k"); got != secret {
		t.Errorf("the object is %q", got)
	}
	reader.do("DELETE", "/bucket/k", "", "If-Match", right).ok(t, "delete", 204)
}
