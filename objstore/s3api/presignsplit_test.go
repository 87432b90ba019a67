package s3api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Who holds a URL of version 2 cannot write its parameters so that one hides
// another: the text that was signed would be the same.
func TestURLsOfVersion2HideNothing(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	d.do("PUT", "/bucket?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>").ok(t, "versioning", 200)
	d.put("bucket", "k", "secret")
	soon := time.Now().Add(time.Hour)
	const put, get = "PUT\n\n\n", "GET\n\n\n"
	const class = "x-amz-meta-owner:bob\nx-amz-storage-class:STANDARD_IA\n/bucket/new"
	d.use("PUT", d.presign2("", "/bucket/new", "x-amz-meta-owner=bob&x-amz-storage-class=STANDARD_IA", put, class, soon), "data").ok(t, "as it was signed", 200)
	const old = "/bucket/k?response-content-type=text/plain&versionId=null"
	if a := d.use("GET", d.presign2("", "/bucket/k", "response-content-type=text/plain&versionId=null", get, old, soon), ""); a.status != 200 || a.body != "x" {
		t.Error("as it was signed", a)
	}
	if a := d.use("GET", d.presign2("", "/bucket/k", "response-content-type="+url.QueryEscape("a&b=c&"), get, "/bucket/k?response-content-type=a&b=c&", soon), ""); a.status != 200 || a.header.Get("Content-Type") != "a&b=c&" {
		t.Error("an ampersand", a)
	}
	for what, c := range map[string]struct{ method, path, query, before, after string }{
		"a header in another's value": {"PUT", "/bucket/new", "x-amz-meta-owner=" + url.QueryEscape("bob\nx-amz-storage-class:STANDARD_IA"), put, class},
		"a header in another's name":  {"PUT", "/bucket/new", url.QueryEscape("x-amz-meta-owner:bob\nx-amz-storage-class") + "=STANDARD_IA", put, class},
		"a header in the type":        {"PUT", "/bucket/new", "content-type=" + url.QueryEscape("text/x\n1"), "PUT\n\ntext/x\n1\n", "/bucket/new"},
		"a value cut in two":          {"PUT", "/bucket/new", "x-amz-copy-source=bucket/k&X-Amz-Copy-Source=x", put, "x-amz-copy-source:bucket/k,x\n/bucket/new"},
		"a version in another":        {"GET", "/bucket/k", "response-content-type=" + url.QueryEscape("text/plain&versionId=null"), get, old},
		"a subresource in another":    {"GET", "/bucket/k", "acl=" + url.QueryEscape("&tagging"), get, "/bucket/k?acl=&tagging"},
	} {
		a := d.use(c.method, d.presign2("", c.path, c.query, c.before, c.after, soon), "data")
		if a.want(t, what, 403, "AccessDenied", ""); !strings.HasPrefix(a.fields["Message"], "Signature Version 2 does not tell what ") {
			t.Errorf("%s: %v", what, a)
		}
	}
	cut := d.presign2("", "/bucket/new", "x-amz-copy-source=x", put, "x-amz-copy-source:bucket/k,x\n/bucket/new", soon)
	d.use("PUT", cut, "", "x-amz-copy-source", "bucket/k").want(t, "a value cut in two", 403, "AccessDenied", "")
	// The type that was signed is the one that counts.
	typed := d.presign2("", "/bucket/typed", "", "PUT\n\ntext/x\n", "/bucket/typed", soon)
	d.use("PUT", typed+"&content-type=text%2Fhtml", "data", "Content-Type", "text/x").ok(t, "two types", 200)
	if a := d.do("HEAD", "/bucket/typed", ""); a.header.Get("Content-Type") != "text/x" {
		t.Error(a.header)
	}
}

// Nor can who holds any URL cut the value of a header in two that has to be sent.
func TestSignedHeadersAreNotCutInTwo(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "a", "secret")
	d.put("bucket", "a,b", "public")
	link := d.link("PUT", "/bucket/copy", 60, "x-amz-copy-source", "bucket/a,b")
	d.follow("PUT", link, "", "x-amz-copy-source", "bucket/a,b").ok(t, "whole", 200)
	r, err := http.NewRequest("PUT", link, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header["X-Amz-Copy-Source"] = []string{"bucket/a", "b"}
	d.send(r).want(t, "cut", 400, "InvalidArgument", "A header that may be given once was repeated.", "ArgumentName", "x-amz-copy-source", "ArgumentValue", "b")
	if got := d.get("bucket", "copy"); got != "public" {
		t.Errorf("copied %q", got)
	}
}

// "Presigned URLs always have UNSIGNED_PAYLOAD", says AWS of the key
// s3:x-amz-content-sha256; and s3:signatureAge of version 2 is 0.
func TestConditionsOnSignatures(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.policy("bucket", `{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*","Condition":{"StringEquals":{"s3:x-amz-content-sha256":"UNSIGNED-PAYLOAD"}}}`,
		`{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*","Condition":{"NumericNotEquals":{"s3:signatureAge":"0"},"StringEquals":{"s3:signatureversion":"AWS"}}}`)
	soon := time.Now().Add(time.Hour)
	link := d.link("PUT", "/bucket/k", 60)
	d.do("PUT", "/bucket/k", "data").ok(t, "signed", 200)
	d.do("PUT", "/bucket/k", "data", "x-amz-content-sha256", "UNSIGNED-PAYLOAD").want(t, "unsigned", 403, "AccessDenied", "")
	d.follow("PUT", link, "data").want(t, "presigned", 403, "AccessDenied", "")
	const sum = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7" // of "data", which nobody signed
	d.follow("PUT", link, "data", "x-amz-content-sha256", sum).want(t, "presigned, with a sum", 403, "AccessDenied", "")
	d.use("PUT", d.presign2("", "/bucket/k", "", "PUT\n\n\n", "/bucket/k", soon), "data").want(t, "version 2", 403, "AccessDenied", "")
	d.use("GET", d.presign2("", "/bucket/k", "", "GET\n\n\n", "/bucket/k", soon), "").ok(t, "age", 200)
}
