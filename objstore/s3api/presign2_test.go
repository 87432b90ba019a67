package s3api

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// presign2 is a URL that is signed by Signature Version 2, as AWS describes it in
// "Signing and Authenticating REST Requests": text is what stands around the
// time of expiry, and query what else is in the URL.
func (d *door) presign2(host, path, query, before, after string, expires time.Time) string {
	at := strconv.FormatInt(expires.Unix(), 10)
	m := hmac.New(sha1.New, []byte(testSecret))
	io.WriteString(m, before+at+"\n"+after)
	v := url.Values{"AWSAccessKeyId": {testKeyID}, "Expires": {at}, "Signature": {base64.StdEncoding.EncodeToString(m.Sum(nil))}}
	if query != "" {
		query = "&" + query
	}
	if host == "" {
		host = strings.TrimPrefix(d.server.URL, "https://")
	}
	return "https://" + host + path + "?" + v.Encode() + query
}

// use sends a request without credentials of its own.
func (d *door) use(method, target, body string, headers ...string) reply {
	d.t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		d.t.Fatal(err)
	}
	host := u.Host
	u.Host = strings.TrimPrefix(d.server.URL, "https://")
	r, err := http.NewRequest(method, u.String(), strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return d.send(r)
}

// What AWS answered to each was recorded 2026-02-21 by the LocalStack project
// (Apache-2.0), but for what a URL of version 2 leaves unsigned.
func TestURLsPresignedByVersion2(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "a key/ü", "data")
	d.put("bucket", "victim", "data")
	soon := time.Now().Add(time.Hour)
	const key = "/bucket/a%20key/%C3%BC"
	get := d.presign2("", key, "", "GET\n\n\n", key, soon)
	if a := d.use("GET", get, ""); a.status != 200 || a.body != "data" {
		t.Error(a)
	}
	// With the bucket in the host.
	if a := d.use("GET", d.presign2("bucket.localhost", "/a%20key/%C3%BC", "", "GET\n\n\n", key, soon), ""); a.status != 200 || a.body != "data" {
		t.Error(a)
	}
	override := "response-content-type=text%2Fplain"
	if a := d.use("GET", d.presign2("", key, override, "GET\n\n\n", key+"?response-content-type=text/plain", soon), ""); a.status != 200 || a.header.Get("Content-Type") != "text/plain" {
		t.Error(a)
	}
	mismatch := func(what string, a reply) {
		t.Helper()
		a.want(t, what, 403, "SignatureDoesNotMatch", "")
		if a.fields["AWSAccessKeyId"] != testKeyID || a.fields["StringToSign"] == "" || a.fields["StringToSignBytes"] == "" || a.fields["CanonicalRequest"] != "" {
			t.Errorf("%s: %s", what, a.body)
		}
	}
	mismatch("another method", d.use("HEAD", get, "").orGet(d, get+"&response-content-type=x"))
	mismatch("an override added", d.use("GET", get+"&"+override, ""))
	mismatch("a header added", d.use("GET", get, "", "x-amz-checksum-mode", "ENABLED"))
	mismatch("a header added to the query", d.use("GET", get+"&x-amz-checksum-mode=ENABLED", ""))
	mismatch("a version added", d.use("GET", get+"&versionId=null", ""))
	mismatch("a type added", d.use("GET", get, "", "Content-Type", "text/xml"))
	mismatch("another key", d.use("GET", strings.Replace(get, "a%20key", "b%20key", 1), ""))

	put := d.presign2("", "/bucket/put", "x-amz-meta-foo=bar&content-type=text%2Fx", "PUT\n\ntext/x\n", "x-amz-meta-foo:bar\n/bucket/put", soon)
	for _, headers := range [][]string{nil, {"Content-Type", "text/x"}} {
		d.use("PUT", put, "data", headers...).ok(t, "put", 200)
		if a := d.do("HEAD", "/bucket/put", ""); a.header.Get("x-amz-meta-foo") != "bar" || a.header.Get("Content-Type") != "text/x" {
			t.Error(a.header)
		}
	}
	mismatch("another type", d.use("PUT", put, "data", "Content-Type", "text/xml"))
	mismatch("more metadata", d.use("PUT", put, "data", "x-amz-meta-wrong", "wrong"))

	// What is not signed makes no other operation.
	for _, param := range []string{"retention", "legal-hold", "encryption", "attributes", "renameObject", "nonsense"} {
		d.use("PUT", put+"&"+param, "data").want(t, param, 403, "AccessDenied", "Signature Version 2 does not sign the query parameter "+param+".")
	}
	list := d.presign2("", "/bucket/", "", "GET\n\n\n", "/bucket/", soon)
	if a := d.use("GET", list+"&list-type=2&prefix=vic", ""); a.status != 200 || strings.Count(a.body, "<Key>") != 1 {
		t.Error(a)
	}

	a := d.use("GET", d.presign2("", key, "", "GET\n\n\n", key, time.Now().Add(-2*time.Second)), "")
	if a.want(t, "expired", 403, "AccessDenied", ""); a.fields["Message"] != "Request has expired" || a.fields["Expires"] == "" || a.fields["ServerTime"] == "" || a.fields["X-Amz-Expires"] != "" {
		t.Error(a)
	}
	u, _ := url.Parse(get)
	for _, name := range []string{"Signature", "Expires"} {
		q := u.Query()
		q.Del(name)
		d.use("GET", "https://"+u.Host+u.EscapedPath()+"?"+q.Encode(), "").want(t, "no "+name, 403, "AccessDenied", "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
	}
	d.use("GET", strings.Replace(get, "Expires=", "Expires=x", 1), "").want(t, "no number", 403, "AccessDenied", "")
	d.use("GET", get+"&Expires=99999999999", "").want(t, "twice", 403, "AccessDenied", "")
	d.use("GET", strings.Replace(get, testKeyID, "AKIDOTHER", 1), "").want(t, "unknown key", 403, "InvalidAccessKeyId", "")
}

// orGet is a, but for a HEAD that says nothing: the same by GET.
func (a reply) orGet(d *door, target string) reply {
	d.t.Helper()
	if a.status != 403 {
		d.t.Error(a)
	}
	return d.use("GET", target, "")
}
