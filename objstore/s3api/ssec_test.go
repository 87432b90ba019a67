package s3api

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	ssecPrefix   = "x-amz-server-side-encryption-customer-"
	sourcePrefix = "x-amz-copy-source-server-side-encryption-customer-"
)

// customer are the headers of a customer's key made of a letter.
func customer(letter string) []string { return customerOf(ssecPrefix, strings.Repeat(letter, 32)) }

// sourceOf are the same for the source of a copy.
func sourceOf(letter string) []string { return customerOf(sourcePrefix, strings.Repeat(letter, 32)) }

func customerOf(prefix, key string) []string {
	return []string{prefix + "algorithm", "AES256", prefix + "key", base64.StdEncoding.EncodeToString([]byte(key)), prefix + "key-MD5", md5Text(key)}
}

func md5Text(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func join(lists ...[]string) []string {
	var all []string
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// told checks what a response says of a customer's key.
func told(t *testing.T, what string, a reply, letter string) {
	t.Helper()
	h := a.header
	if letter == "" {
		if h.Get(ssecPrefix+"algorithm") != "" || h.Get(ssecPrefix+"key-MD5") != "" {
			t.Errorf("%s: %v", what, h)
		}
		return
	}
	if h.Get(ssecPrefix+"algorithm") != "AES256" || h.Get(ssecPrefix+"key-MD5") != md5Text(strings.Repeat(letter, 32)) || h.Get("x-amz-server-side-encryption") != "" || h.Get(ssecPrefix+"key") != "" {
		t.Errorf("%s: %v", what, h)
	}
}

func TestCustomerKeysOpenTheirObjects(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for _, size := range []int{0, 1, 9000, 100_000, 5<<20 + 3} {
		body := strings.Repeat("0123456789abcdef\n", size/17+1)[:size]
		key := fmt.Sprintf("/bucket/k%d", size)
		put := d.do("PUT", key, body, customer("a")...)
		put.ok(t, "put", 200)
		told(t, "put", put, "a")
		sum := md5.Sum([]byte(body))
		if etag := put.header.Get("ETag"); len(etag) != 34 || etag == fmt.Sprintf("\"%x\"", sum) {
			t.Errorf("ETag %s", etag)
		}
		if put.header.Get("x-amz-checksum-crc64nvme") == "" {
			t.Error("no checksum of the whole object")
		}
		get := d.do("GET", key, "", join(customer("a"), []string{"x-amz-checksum-mode", "ENABLED"})...)
		get.ok(t, "get", 200)
		told(t, "get", get, "a")
		if get.body != body || get.header.Get("ETag") != put.header.Get("ETag") || get.header.Get("x-amz-checksum-crc64nvme") != put.header.Get("x-amz-checksum-crc64nvme") {
			t.Errorf("%d bytes, %v", len(get.body), get.header)
		}
		head := d.do("HEAD", key, "", customer("a")...)
		head.ok(t, "head", 200)
		told(t, "head", head, "a")
		if head.header.Get("Content-Length") != fmt.Sprint(size) || head.header.Get("x-amz-checksum-crc64nvme") != "" {
			t.Error(head.header)
		}
		attrs := d.do("GET", key+"?attributes", "", join(customer("a"), []string{"x-amz-object-attributes", "ETag,Checksum,ObjectSize"})...)
		attrs.ok(t, "attributes", 200)
		if element(attrs.body, "ChecksumCRC64NVME") == "" || element(attrs.body, "ObjectSize") != fmt.Sprint(size) {
			t.Error(attrs.body)
		}
		if size == 0 {
			continue
		}
		part := d.do("GET", key, "", join(customer("a"), []string{"Range", fmt.Sprintf("bytes=%d-", size/2)})...)
		part.ok(t, "range", 206)
		if part.body != body[size/2:] {
			t.Errorf("range of %d bytes", len(part.body))
		}
		d.do("GET", key+"?partNumber=1", "", customer("a")...).ok(t, "part", 206)
	}
	// Listings and deletes need no key.
	if list := d.do("GET", "/bucket?list-type=2", ""); strings.Count(list.body, "<Key>") != 5 {
		t.Error(list)
	}
	d.do("DELETE", "/bucket/k1", "").ok(t, "delete", 204)
}

func TestCopiesBetweenCustomerKeys(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for _, size := range []int{11, 5<<20 + 3} {
		body := strings.Repeat("x", size)
		sum := fmt.Sprintf("\"%x\"", md5.Sum([]byte(body)))
		d.do("PUT", "/bucket/plain", body).ok(t, "plain", 200)
		d.do("PUT", "/bucket/src", body, customer("a")...).ok(t, "source", 200)
		from := func(key string) []string { return []string{"x-amz-copy-source", "/bucket/" + key} }

		a := d.do("PUT", "/bucket/to-default", "", join(from("src"), sourceOf("a"))...)
		a.ok(t, "to the default", 200)
		told(t, "to the default", a, "")
		if a.header.Get("x-amz-server-side-encryption") != "AES256" || !strings.Contains(element(a.body, "ETag"), strings.Trim(sum, `"`)) {
			t.Errorf("the MD5 did not come back: %s", a.body)
		}
		if d.get("bucket", "to-default") != body {
			t.Error("to the default: bytes")
		}
		a = d.do("PUT", "/bucket/to-b", "", join(from("src"), sourceOf("a"), customer("b"))...)
		a.ok(t, "to another key", 200)
		told(t, "to another key", a, "b")
		d.do("GET", "/bucket/to-b", "", customer("a")...).want(t, "the source's key", 403, "AccessDenied", "Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.")
		if got := d.do("GET", "/bucket/to-b", "", customer("b")...); got.body != body {
			t.Error("to another key: bytes")
		}
		a = d.do("PUT", "/bucket/to-c", "", join(from("plain"), customer("c"))...)
		a.ok(t, "of a plain object", 200)
		if strings.Contains(a.body, strings.Trim(sum, `"`)) {
			t.Error("the MD5 shows")
		}
		if got := d.do("GET", "/bucket/to-c", "", customer("c")...); got.body != body {
			t.Error("of a plain object: bytes")
		}
		// Rotation in place.
		d.do("PUT", "/bucket/src", "", join(from("src"), sourceOf("a"), customer("d"))...).ok(t, "rotation", 200)
		d.do("GET", "/bucket/src", "", customer("a")...).want(t, "the old key", 403, "AccessDenied", "")
		if got := d.do("GET", "/bucket/src", "", customer("d")...); got.body != body {
			t.Error("rotation: bytes")
		}
		d.do("PUT", "/bucket/src", "", join(from("src"), sourceOf("d"))...).ok(t, "back to the default, in place", 200)
		if d.get("bucket", "src") != body {
			t.Error("back to the default: bytes")
		}
	}
}

func TestUploadsUnderCustomerKeys(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket/src", strings.Repeat("s", 6<<20), customer("s")...).ok(t, "source", 200)
	a := d.do("POST", "/bucket/k?uploads", "", customer("a")...)
	a.ok(t, "create", 200)
	told(t, "create", a, "a")
	id := element(a.body, "UploadId")
	part := func(n int) string { return fmt.Sprintf("/bucket/k?partNumber=%d&uploadId=%s", n, id) }
	one := strings.Repeat("1", 5<<20+1)
	p1 := d.do("PUT", part(1), one, customer("a")...)
	p1.ok(t, "part", 200)
	told(t, "part", p1, "a")
	if sum := fmt.Sprintf("\"%x\"", md5.Sum([]byte(one))); p1.header.Get("ETag") == sum {
		t.Error("the part's MD5 shows")
	}
	p2 := d.do("PUT", part(2), "", join(customer("a"), sourceOf("s"), []string{"x-amz-copy-source", "/bucket/src", "x-amz-copy-source-range", "bytes=1-5242880"})...)
	p2.ok(t, "part of a copy", 200)
	told(t, "part of a copy", p2, "a")
	p3 := d.do("PUT", part(3), "three", customer("a")...)
	p3.ok(t, "last part", 200)
	d.do("GET", "/bucket/k?uploadId="+id, "").ok(t, "list parts", 200)
	d.do("GET", "/bucket/k?uploadId="+id, "", customer("a")...).ok(t, "list parts with the key", 200)
	c := d.do("POST", "/bucket/k?uploadId="+id, completeXML(partXML(1, p1.header.Get("ETag"))+partXML(2, element(p2.body, "ETag"))+partXML(3, p3.header.Get("ETag"))))
	c.ok(t, "complete", 200)
	told(t, "complete", c, "")
	if c.header.Get("x-amz-server-side-encryption") != "" || strings.Contains(c.body, "Checksum") || !strings.Contains(element(c.body, "ETag"), "-3") {
		t.Errorf("%v %s", c.header, c.body)
	}
	want := one + strings.Repeat("s", 5<<20) + "three"
	// Nobody asked for a checksum, so there is none (recorded).
	if got := d.do("HEAD", "/bucket/k", "", join(customer("a"), []string{"x-amz-checksum-mode", "ENABLED"})...); got.status != 200 ||
		got.header.Get("x-amz-checksum-crc64nvme") != "" || got.header.Get("x-amz-checksum-type") != "" {
		t.Error(got.status, got.header)
	}
	if got := d.do("GET", "/bucket/k", "", customer("a")...); got.body != want {
		t.Errorf("%d bytes", len(got.body))
	}
	if got := d.do("GET", "/bucket/k?partNumber=3", "", customer("a")...); got.status != 206 || got.body != "three" || got.header.Get("x-amz-mp-parts-count") != "3" {
		t.Error(got)
	}
	d.do("GET", "/bucket/k", "").want(t, "without the key", 400, "InvalidRequest", "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.")

	// Complete tells of a checksum that was asked for, with the key and without.
	for i, key := range [][]string{customer("a"), nil} {
		id = element(d.do("POST", "/bucket/sum?uploads", "", join(customer("a"), []string{"x-amz-checksum-algorithm", "CRC32", "x-amz-checksum-type", "FULL_OBJECT"})...).body, "UploadId")
		p := d.do("PUT", "/bucket/sum?partNumber=1&uploadId="+id, "x", customer("a")...)
		c = d.do("POST", "/bucket/sum?uploadId="+id, completeXML(partXML(1, p.header.Get("ETag"))), key...)
		c.ok(t, "complete", 200)
		if got := d.do("HEAD", "/bucket/sum", "", join(customer("a"), []string{"x-amz-checksum-mode", "ENABLED"})...); got.header.Get("x-amz-checksum-crc32") == "" || got.header.Get("x-amz-checksum-crc32") != element(c.body, "ChecksumCRC32") {
			t.Errorf("%d: %v %s", i, got.header, c.body)
		}
	}
}

// The URL signs the algorithm alone: it does not hold the key and works with any.
func TestPresignedURLsForCustomerKeys(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	presign := func(method, target string) *http.Request {
		t.Helper()
		r, err := http.NewRequest(method, d.server.URL+target+"?X-Amz-Expires=60", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(ssecPrefix+"algorithm", "AES256")
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true; o.DisableHeaderHoisting = true })
		url, _, err := signer.PresignHTTP(context.Background(), d.creds, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var body *strings.Reader
		if method == "PUT" {
			body = strings.NewReader("presigned")
		} else {
			body = strings.NewReader("")
		}
		if r, err = http.NewRequest(method, url, body); err != nil {
			t.Fatal(err)
		}
		return r
	}
	with := func(r *http.Request, headers []string) *http.Request {
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return r
	}
	d.send(with(presign("PUT", "/bucket/k"), customer("a"))).ok(t, "put", 200)
	if a := d.send(with(presign("GET", "/bucket/k"), customer("a"))); a.status != 200 || a.body != "presigned" {
		t.Error(a)
	}
	d.send(with(presign("GET", "/bucket/k"), customer("b"))).want(t, "another key", 403, "AccessDenied", "")
	d.send(with(presign("GET", "/bucket/k"), customer("a")[:2])).want(t, "no key", 400, "InvalidArgument", "")
	r := with(presign("GET", "/bucket/k"), customer("a"))
	r.Header.Set("x-amz-meta-more", "x")
	d.send(r).want(t, "another header", 403, "AccessDenied", "There were headers present in the request which were not signed", "HeadersNotSigned", "x-amz-meta-more")
}

// The SDK sends the headers for who gives it the fields.
func TestCustomerKeysThroughTheSDK(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	bucket, key, alg := "bucket", "k", "AES256"
	text, sum := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a", 32))), md5Text(strings.Repeat("a", 32))
	_, err := d.s3.PutObject(context.Background(), &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: strings.NewReader("sdk"),
		SSECustomerAlgorithm: &alg, SSECustomerKey: &text, SSECustomerKeyMD5: &sum,
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.s3.HeadObject(context.Background(), &s3.HeadObjectInput{
		Bucket: &bucket, Key: &key, SSECustomerAlgorithm: &alg, SSECustomerKey: &text, SSECustomerKeyMD5: &sum,
	})
	if err != nil || *out.ContentLength != 3 || *out.SSECustomerAlgorithm != alg || *out.SSECustomerKeyMD5 != sum {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := d.s3.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &bucket, Key: &key}); code(err) != "InvalidRequest" {
		t.Error(err)
	}
}
