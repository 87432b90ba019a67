package s3api

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// link presigns a request. Headers are name, value, ...: they are signed and
// have to be sent too.
func (d *door) link(method, target string, expires int, headers ...string) string {
	d.t.Helper()
	sep := "?"
	if strings.Contains(target, "?") {
		sep = "&"
	}
	r, err := http.NewRequest(method, d.server.URL+target+sep+fmt.Sprint("X-Amz-Expires=", expires), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping, o.DisableHeaderHoisting = true, true
	})
	link, _, err := signer.PresignHTTP(context.Background(), d.creds, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
	if err != nil {
		d.t.Fatal(err)
	}
	return link
}

// follow sends a presigned request.
func (d *door) follow(method, link, body string, headers ...string) reply {
	d.t.Helper()
	r, err := http.NewRequest(method, link, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return d.send(r)
}

func TestEveryOperationCanBePresigned(t *testing.T) {
	d := openDoor(t)
	use := func(method, target, body string, status int, headers ...string) reply {
		t.Helper()
		a := d.follow(method, d.link(method, target, 60, headers...), body, headers...)
		a.ok(t, method+" "+target, status)
		return a
	}
	use("PUT", "/bucket", "", 200)
	use("HEAD", "/bucket", "", 200)
	use("GET", "/", "", 200)
	use("GET", "/bucket?location", "", 200)
	use("PUT", "/bucket/a%20b%2Bc/%C3%A9%2F~*'()!", "body", 200, "x-amz-meta-k", "v", "Content-Type", "text/x")
	if a := use("GET", "/bucket/a%20b%2Bc/%C3%A9%2F~*'()!", "", 200); a.body != "body" || a.header.Get("x-amz-meta-k") != "v" || a.header.Get("Content-Type") != "text/x" {
		t.Error(a, a.header)
	}
	use("HEAD", "/bucket/a%20b%2Bc/%C3%A9%2F~*'()!", "", 200)
	if a := use("GET", "/bucket?list-type=2&prefix=a%20b&delimiter=%2F", "", 200); element(a.body, "KeyCount") != "1" {
		t.Error(a)
	}
	use("PUT", "/bucket/copy", "", 200, "x-amz-copy-source", "/bucket/a%20b%2Bc/%C3%A9%2F~*'()!")
	use("GET", "/bucket/copy?attributes", "", 200, "x-amz-object-attributes", "ObjectSize")
	use("GET", "/bucket/copy", "", 206, "Range", "bytes=1-2")
	part := strings.Repeat("x", 5<<20)
	upload := element(use("POST", "/bucket/big?uploads", "", 200).body, "UploadId")
	etag := use("PUT", "/bucket/big?partNumber=1&uploadId="+upload, part, 200).header.Get("ETag")
	use("GET", "/bucket/big?uploadId="+upload, "", 200)
	use("GET", "/bucket?uploads", "", 200)
	use("POST", "/bucket/big?uploadId="+upload, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"+etag+"</ETag></Part></CompleteMultipartUpload>", 200)
	upload = element(use("POST", "/bucket/big?uploads", "", 200).body, "UploadId")
	use("DELETE", "/bucket/big?uploadId="+upload, "", 204)
	a := use("DELETE", "/bucket/big", "", 204)
	if a.header.Get("Content-Type") != "" || a.header.Get("Content-Length") != "" {
		t.Error(a.header)
	}
	keys := "<Delete><Object><Key>copy</Key></Object><Object><Key>a b+c/\u00e9/~*'()!</Key></Object></Delete>"
	sum := md5.Sum([]byte(keys))
	use("POST", "/bucket?delete", keys, 200, "Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	use("DELETE", "/bucket", "", 204)
	if _, err := d.s3.ListBuckets(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

// What S3 itself answered was recorded.
func TestPresignedURLsAreHeldToWhatWasSigned(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "foobar")
	get := d.link("GET", "/bucket/k", 60)
	for range 2 {
		if a := d.follow("GET", get, "get body is ignored by AWS"); a.body != "foobar" {
			t.Error(a)
		}
	}
	d.follow("GET", strings.ReplaceAll(get, "%2F", "%252F"), "").want(t, "encoded twice", 400, "AuthorizationQueryParametersError",
		`Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)
	u, err := url.Parse(get)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		q := u.Query()
		q.Del(name)
		c := *u
		c.RawQuery = q.Encode()
		d.follow("GET", c.String(), "").want(t, "without "+name, 400, "AuthorizationQueryParametersError",
			"Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
	}
	mismatch := func(what string, a reply) {
		t.Helper()
		if a.status != 403 || a.fields["Code"] != "SignatureDoesNotMatch" || a.fields["CanonicalRequest"] == "" || a.fields["SignatureProvided"] == "" ||
			a.fields["Message"] != "The request signature we calculated does not match the signature you provided. Check your key and signing method." {
			t.Errorf("%s: %v", what, a)
		}
	}
	for _, expires := range []int{0, -1, 604801} {
		if a := d.follow("GET", d.link("GET", "/bucket/k", expires), ""); a.status != 400 || a.fields["Code"] != "AuthorizationQueryParametersError" {
			t.Error(expires, a)
		}
	}
	for _, expires := range []int{1, 604800} {
		d.follow("GET", d.link("GET", "/bucket/k", expires), "").ok(t, "expires", 200)
	}
	mismatch("another method", d.follow("PUT", get, ""))
	mismatch("a parameter more", d.follow("GET", get+"&versionId=null", ""))
	mismatch("a slash before the bucket", d.follow("GET", strings.Replace(get, "/bucket", "/%2Fbucket", 1), ""))

	notSigned := func(what string, a reply, names string) {
		t.Helper()
		a.want(t, what, 403, "AccessDenied", "There were headers present in the request which were not signed", "HeadersNotSigned", names)
	}
	put := d.link("PUT", "/bucket/k", 60, "x-amz-meta-foo", "bar")
	mismatch("signed header missing", d.follow("PUT", put, "1"))
	notSigned("another header", d.follow("PUT", put, "1", "x-amz-meta-wrong", "wrong"), "x-amz-meta-wrong")
	d.follow("PUT", put, "1", "x-amz-meta-foo", "bar").ok(t, "header sent", 200)
	put = d.link("PUT", "/bucket/k", 60, "Content-Type", "application/octet-stream", "Content-Md5", "pX8KKuGXS1f2VTcuJpqjkw==")
	chunked := []string{"Content-Md5", "pX8KKuGXS1f2VTcuJpqjkw==", "Content-Type", "application/octet-stream", "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "X-Amz-Date", "20211122T191045Z"}
	notSigned("chunks", d.follow("PUT", put, "test", append(chunked, "X-Amz-Decoded-Content-Length", "test")...), "x-amz-date, x-amz-decoded-content-length")
	notSigned("chunks", d.follow("PUT", put, "test", chunked...), "x-amz-date")
	put = d.link("PUT", "/bucket/k", 60, "Content-Type", "text/plain")
	mismatch("another type", d.follow("PUT", put, "test_data", "Content-Type", "text/xml"))
	d.follow("PUT", put, "test_data", "Content-Type", "text/plain").ok(t, "type", 200)
	put = d.link("PUT", "/bucket/k", 60, "Content-Encoding", "identity")
	d.follow("PUT", put, "test_data", "Content-Encoding", "identity", "Content-Type", "text/xml").ok(t, "unsigned type", 200)
	mismatch("another encoding", d.follow("PUT", put, "test_data", "Content-Encoding", "gzip"))
	put = d.link("PUT", "/bucket/k", 60, "x-amz-request-payer", "requester")
	mismatch("in the query too", d.follow("PUT", strings.Replace(put, "?", "?x-amz-request-payer=non-valid&", 1), "test_data", "x-amz-request-payer", "requester"))
	notSigned("expiry as header", d.follow("PUT", put, "test_data", "x-amz-request-payer", "requester", "x-amz-expires", "5"), "x-amz-expires")

	// Headers in the query: they need not be sent, even if they are listed as
	// signed, and may be with the same value.
	put = d.link("PUT", "/bucket/q?x-amz-server-side-encryption=AES256&x-amz-checksum-crc32=AAAAAA%3D%3D", 60)
	d.follow("PUT", put, "123456").ok(t, "headers in the query", 200)
	d.follow("PUT", put, "123456", "x-amz-server-side-encryption", "AES256").ok(t, "and sent", 200)
	notSigned("and sent otherwise", d.follow("PUT", put, "123456", "x-amz-server-side-encryption", "aws:kms"), "x-amz-server-side-encryption")
	mismatch("changed", d.follow("PUT", strings.Replace(put, "AAAAAA", "BBBBBB", 1), "123456"))
	put = d.link("PUT", "/bucket/q?x-amz-server-side-encryption=AES256", 60, "x-amz-server-side-encryption", "AES256", "Content-Md5", "4QrcOUm6Wau+VuBX8g+IPg==")
	mismatch("digest missing", d.follow("PUT", put, "123456"))
	d.follow("PUT", put, "123456", "Content-Md5", "4QrcOUm6Wau+VuBX8g+IPg==").ok(t, "moved header", 200)
	d.follow("PUT", put, "123456", "Content-Md5", "4QrcOUm6Wau+VuBX8g+IPg==", "x-amz-server-side-encryption", "AES256").ok(t, "moved header, sent", 200)

	// So do the conditions of a write: who has the URL cannot do without.
	put = d.link("PUT", "/bucket/new?If-None-Match=%2A", 60)
	d.follow("PUT", put, "1").ok(t, "condition in the query", 200)
	for _, headers := range [][]string{nil, {"If-None-Match", "*"}, {"If-None-Match", `"x"`}} {
		d.follow("PUT", put, "2", headers...).want(t, fmt.Sprint("condition in the query, sent ", headers), 412, "PreconditionFailed",
			"At least one of the pre-conditions you specified did not hold", "Condition", "If-None-Match")
	}
	put = d.link("PUT", "/bucket/new?if-match=d41d8cd98f00b204e9800998ecf8427e", 60)
	d.follow("PUT", put, "2").want(t, "ETag in the query", 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", "Condition", "If-Match")
	put = d.link("PUT", "/bucket/new?If-Match=%22c4ca4238a0b923820dcc509a6f75849b%22", 60)
	d.follow("PUT", put, "2", "If-Match", `"other"`).ok(t, "that ETag", 200)

	// Overrides are for who signed.
	over := d.link("GET", "/bucket/k?response-content-type=text%2Fplain&response-content-disposition=attachment%3B%20%20filename%3Dtest.txt&response-expires=x&response-cache-control=y&response-content-language=z&response-content-encoding=w", 60)
	a := d.follow("GET", over, "")
	for name, want := range map[string]string{"Content-Type": "text/plain", "Content-Disposition": "attachment;  filename=test.txt", "Expires": "x", "Cache-Control": "y", "Content-Language": "z", "Content-Encoding": "w"} {
		if a.header.Get(name) != want {
			t.Errorf("%s: %q", name, a.header.Get(name))
		}
	}
	d.follow("GET", d.link("GET", "/bucket/k?response-cache-control=non-ascii-%25E2%2580%2594_%E2%80%94_%C3%A9_", 60), "").
		want(t, "override", 400, "InvalidArgument", "Header value cannot be represented using ISO-8859-1.", "ArgumentName", "response-cache-control", "ArgumentValue", "non-ascii-%E2%80%94_\u2014_\u00e9_")
	if a := d.follow("GET", d.link("GET", "/bucket/k?response-expires=a%0D%0ASet-Cookie%3A%20b", 60), ""); a.status != 400 || a.header.Get("Set-Cookie") != "" {
		t.Error(a)
	}
}

func TestPresignedURLsWithCustomerKeys(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	raw := bytes.Repeat([]byte{7}, 32)
	sum := md5.Sum(raw)
	const prefix = "x-amz-server-side-encryption-customer-"
	all := []string{prefix + "algorithm", "AES256", prefix + "key", base64.StdEncoding.EncodeToString(raw), prefix + "key-MD5", base64.StdEncoding.EncodeToString(sum[:])}
	// The key is not in the URL: its signer signs that there will be one.
	refused := func(what string, a reply) {
		t.Helper()
		a.want(t, what, 403, "AccessDenied", "There were headers present in the request which were not signed", "HeadersNotSigned", prefix+"algorithm, "+prefix+"key, "+prefix+"key-md5")
	}
	signed := func(a reply) bool {
		return a.fields["HeadersNotSigned"] == "" && a.fields["Code"] != "SignatureDoesNotMatch"
	}
	refused("nothing signed", d.follow("PUT", d.link("PUT", "/bucket/k", 60), "x", all...))
	for _, link := range []string{d.link("PUT", "/bucket/k", 60, all[:2]...), d.link("PUT", "/bucket/k?"+prefix+"algorithm=AES256", 60)} {
		if a := d.follow("PUT", link, "x", all...); !signed(a) {
			t.Error(a)
		}
		if strings.Contains(link, url.QueryEscape(all[3])) {
			t.Error("the key is in the URL")
		}
	}
	a := d.follow("PUT", d.link("PUT", "/bucket/k", 60, all[:2]...), "x", all[:2]...)
	if a.status != 400 || a.fields["Code"] != "InvalidArgument" {
		t.Error("key not sent:", a)
	}
	if strings.Contains(d.log.String(), all[3]) || strings.Contains(d.log.String(), all[5]) {
		t.Error("a key is in the log")
	}
}

func TestPresignedPutIsHeldToItsBody(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	r, err := http.NewRequest("PUT", d.server.URL+"/bucket/k?X-Amz-Expires=60", strings.NewReader("1234"))
	if err != nil {
		t.Fatal(err)
	}
	link, _, err := v4.NewSigner().PresignHTTP(context.Background(), d.creds, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
	if err != nil || !strings.Contains(link, "content-length") {
		t.Fatal(link, err)
	}
	if a := d.follow("PUT", link, "12345"); a.status != 403 || a.fields["Code"] != "SignatureDoesNotMatch" {
		t.Error(a)
	}
	d.follow("PUT", d.link("PUT", "/bucket/k", 60, "Content-Md5", "4QrcOUm6Wau+VuBX8g+IPg=="), "other", "Content-Md5", "4QrcOUm6Wau+VuBX8g+IPg==").ok(t, "digest", 400)
	if a := d.do("HEAD", "/bucket/k", ""); a.status != 404 {
		t.Error("a refused body was stored")
	}
}
