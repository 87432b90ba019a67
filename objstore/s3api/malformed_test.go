package s3api

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

var junkBodies = func() []string {
	bodies := []string{
		"", "junk", "<", "<a", "<a></b>", "{}", "[", "null", "\x00", "\xff\xfe", "<?xml version=\"1.0\" encoding=\"utf-16\"?><a/>",
		`<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>`,
		`<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>`,
		strings.Repeat("<a>", 10_000), strings.Repeat("x", 100_000), strings.Repeat("[", 50_000), strings.Repeat(`{"a":`, 20_000),
	}
	// Of every document the root alone, and with what it should not have.
	for _, root := range []string{
		"Delete", "CompleteMultipartUpload", "CreateBucketConfiguration", "Tagging", "CORSConfiguration", "VersioningConfiguration",
		"LifecycleConfiguration", "ServerSideEncryptionConfiguration", "ObjectLockConfiguration", "Retention", "LegalHold", "WebsiteConfiguration",
		"NotificationConfiguration", "BucketLoggingStatus", "AccelerateConfiguration", "RequestPaymentConfiguration", "OwnershipControls",
		"PublicAccessBlockConfiguration", "ReplicationConfiguration", "AnalyticsConfiguration", "MetricsConfiguration", "InventoryConfiguration",
		"IntelligentTieringConfiguration", "ObjectEncryption", "AccessControlPolicy", "SelectObjectContentRequest", "RestoreRequest",
	} {
		bodies = append(bodies, "<"+root+"/>", "<"+root+"><x>1</x></"+root+">", "<"+root+">"+strings.Repeat("y", 20_000)+"</"+root+">",
			"<"+root+">"+strings.Repeat("<Rule><ID>a</ID></Rule><Object><Key></Key></Object><Part><PartNumber>-1</PartNumber></Part>", 50)+"</"+root+">")
	}
	return bodies
}()

var junkValues = []string{"", "x", "%00", "%ff", "-1", "0", "1", "99999999999999999999", "%0d%0aX: y", "null", "%zz", strings.Repeat("v", 3000), "%F0%9F%92%A9", "..%2f..%2f", "true", "*"}

var junkHeaders = []string{
	"Range: bytes=5-1", "Range: bytes=" + strings.Repeat("1-2,", 1000), "Range: x=1-2", "Range: bytes=-9223372036854775808", "Range: bytes=9223372036854775807-",
	"If-Match: \xff", "If-Modified-Since: no date", "x-amz-copy-source: /", "x-amz-copy-source: %", "x-amz-copy-source: bucket/k?versionId=%00", "x-amz-copy-source: bucket/k",
	"x-amz-copy-source: bucket/k\nx-amz-copy-source-range: bytes=9-1", "x-amz-rename-source: %00", "x-amz-rename-source: k", "x-amz-write-offset-bytes: 1e9", "x-amz-write-offset-bytes: 9223372036854775807",
	"x-amz-tagging: " + strings.Repeat("a=b&", 500), "x-amz-tagging: %zz=", "x-amz-tagging: a&b=c=d&;", "x-amz-tagging: a=b",
	"x-amz-meta-\xff: a", "x-amz-meta-a: \xff\x80", "x-amz-meta-a: =?UTF-8?Q?=zz?=", "x-amz-meta-a: =?x?B?////?=", "x-amz-meta-a: " + strings.Repeat("m", 3000),
	"x-amz-checksum-crc32: AAAA", "x-amz-checksum-crc64nvme: ====", "x-amz-checksum-md4: a", "x-amz-trailer: x-amz-checksum-crc32", "Content-MD5: !",
	"x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\nx-amz-decoded-content-length: -5",
	"x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\nx-amz-decoded-content-length: 4\nx-amz-trailer: x-amz-checksum-crc32",
	"x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\nx-amz-decoded-content-length: 4", "x-amz-content-sha256: zz",
	"x-amz-server-side-encryption: x", "x-amz-server-side-encryption: aws:kms\nx-amz-server-side-encryption-aws-kms-key-id: \xff", "x-amz-server-side-encryption: aws:kms\nx-amz-server-side-encryption-context: e30=",
	"x-amz-server-side-encryption: aws:kms\nx-amz-server-side-encryption-context: " + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("[", 4000))),
	"x-amz-server-side-encryption-customer-algorithm: AES256\nx-amz-server-side-encryption-customer-key: U0VDUkVULUtFWS1TRUNSRVQ=\nx-amz-server-side-encryption-customer-key-md5: !",
	"x-amz-object-attributes: ,,,x", "x-amz-object-attributes: ETag,Checksum,ObjectParts,StorageClass,ObjectSize\nx-amz-max-parts: x", "x-amz-storage-class: \x7f",
	"x-amz-object-lock-mode: x", "x-amz-object-lock-retain-until-date: x", "x-amz-object-lock-mode: GOVERNANCE\nx-amz-object-lock-retain-until-date: 9999999-01-01T00:00:00Z", "x-amz-bypass-governance-retention: x",
	"x-amz-expected-bucket-owner: x", "x-amz-acl: x", "x-amz-grant-read: id=\"x\"", "x-amz-mp-object-size: -1", "x-amz-website-redirect-location: javascript:", "x-amz-client-token: \x01",
	"Authorization: AWS4-HMAC-SHA256 x", "Authorization: AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=;, Signature=", "Authorization: AWS a:b", "Authorization: " + strings.Repeat("a", 20_000),
	"x-amz-date: x", "x-amz-security-token: U0VDUkVULVRPS0VO", "Origin: \xff\nAccess-Control-Request-Method: x", "Content-Type: multipart/form-data; boundary=b", "Content-Encoding: aws-chunked", "Expect: x",
	"x-amz-tagging-directive: x", "x-amz-metadata-directive: x", "x-amz-request-payer: x", "x-amz-sdk-checksum-algorithm: x", "x-amz-checksum-algorithm: x", "x-amz-checksum-type: x", "x-amz-transition-default-minimum-object-size: x",
}

// TestEveryOperationRefusesJunk walks the tables of routes, so that what is added
// to them is tried too.
func TestEveryOperationRefusesJunk(t *testing.T) {
	store := fixture(t)
	h := newHandler(t, store)
	tables := []struct {
		path  string
		table map[string]resource
	}{{"/", serviceRoutes}, {"/bucket", bucketRoutes}, {"/bucket/k", objectRoutes}, {"/bucket/none%2f%2f", objectRoutes}}
	every := 4
	if raceDetector {
		every = 16 // all of it is one goroutine's
	}
	n := 0
	try := func(method, target, headers, body string) {
		n++
		if h.server.store != store {
			t.Fatal("another store")
		}
		what := fmt.Sprintf("%s %.200q with %.200q and %.100q", method, target, headers, body)
		h.check(what, method, h.serve(method, target, headers, body))
		// The objects that the next ones are tried on.
		if method == http.MethodDelete || n%500 == 0 {
			h.serve("PUT", "/bucket", "", "")
			h.serve("PUT", "/bucket/k", "", "data")
		}
	}
	for _, tab := range tables {
		for method, res := range tab.table {
			params := []string{"", "versionId", "prefix", "marker", "max-keys", "continuation-token", "partNumber", "encoding-type", "delimiter", "response-expires"}
			for _, s := range res.subresources {
				params = append(params, s.param)
			}
			for i, param := range params {
				target := tab.path
				if param != "" {
					target += "?" + param
				}
				// A part of each, another one for each parameter.
				some := func(list []string) (part []string) {
					for j := i % every; j < len(list); j += every {
						part = append(part, list[j])
					}
					return part
				}
				for _, body := range some(junkBodies) {
					try(method, target, "", body)
				}
				for _, v := range some(junkValues) {
					if param != "" {
						try(method, target+"="+v, "", "x")
						try(method, target+"="+v+"&uploadId="+v+"&id="+v, "", "<a/>")
					}
				}
				for _, header := range some(junkHeaders) {
					try(method, target, header, "data")
				}
			}
		}
	}
	for _, path := range []string{"//", "/%00", "/%ff/%fe", "/bucket/%00", "/bucket/" + strings.Repeat("%F0%9F%92%A9", 300), "/bucket/%zz", "/bucket/a;b", "/..", "/bucket/a/..", "/bucket//", "/B/k", "/" + strings.Repeat("b", 300) + "/k", "*"} {
		for _, method := range []string{"GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "x"} {
			try(method, path, "", "data")
		}
	}
	log := h.log.String()
	for _, s := range []string{"panic in S3 request", testSecret, "U0VDUkVU", "SECRET"} {
		if i := strings.Index(log, s); i >= 0 {
			t.Errorf("the log has %q: %.500s", s, log[max(0, i-200):])
		}
	}
	if n < 20_000/every {
		t.Errorf("%d requests alone", n)
	}
}

// FuzzRequests is TestEveryOperationRefusesJunk with whatever comes to mind.
func FuzzRequests(f *testing.F) {
	store := fixture(f)
	for i, header := range junkHeaders {
		f.Add([]string{"GET", "PUT", "POST", "DELETE", "HEAD"}[i%5], "/bucket/k?"+[]string{"", "uploads", "tagging", "renameObject", "attributes", "partNumber=1&uploadId=x"}[i%6], header, junkBodies[i%len(junkBodies)])
	}
	for i, body := range junkBodies {
		f.Add([]string{"PUT", "POST"}[i%2], "/bucket?"+[]string{"delete", "cors", "tagging", "policy", "encryption", "versioning", "lifecycle", "object-lock", "website", "notification", "logging"}[i%11], "", body)
	}
	form := "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\ndata\r\n--b--\r\n"
	f.Add("POST", "/bucket", "Content-Type: multipart/form-data; boundary=b", form)
	f.Add("POST", "/bucket", "Content-Type: multipart/form-data; boundary=b", form[:60])
	f.Add("GET", "/bucket/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=x&X-Amz-Date=x&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=x", "", "")
	f.Fuzz(func(t *testing.T, method, target, headers, body string) {
		if len(body) > 1<<20 {
			return
		}
		h := newHandler(t, store)
		w := h.serve(method, target, headers, body)
		h.check(fmt.Sprintf("%q %q %q %q", method, target, headers, body), method, w)
		if log := h.log.String(); strings.Contains(log, "panic in S3 request") || strings.Contains(log, testSecret) {
			t.Fatal(log)
		}
	})
}

// FuzzForm: whatever a form holds, its fields are those that are there, and what
// is wrong with it is the sender's fault.
func FuzzForm(f *testing.F) {
	f.Add("--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na/${filename}\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\ndata\r\n--b--\r\n")
	f.Add("--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b\r\nContent-Disposition: form-data; name=\"KEY\"\r\n\r\nk\r\n--b--\r\n")
	f.Add("--b\r\nContent-Disposition: form-data; name=\"tagging\"\r\n\r\n<Tagging><TagSet/></Tagging>\r\n--b--\r\n")
	f.Add("--b\r\nContent-Disposition: form-data; name=\"file\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41\r\n--b--")
	f.Add("--b--\r\n")
	f.Add("--b\r\n\r\n\r\n--b")
	f.Add("preamble\r\n--b \t\r\nContent-Disposition: attachment; name=\"key\"\r\n\r\n--b\r\n")
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("POST", "/bucket", strings.NewReader(body))
		r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		q := &request{r: r, bucket: "bucket", w: newResponse(httptest.NewRecorder(), r, time.Minute)}
		q.auth = sigv4.Unsigned(r)
		q.body.init(q.w, q.auth.Body)
		form, err := q.readForm()
		if err == nil {
			total := 0
			for name, v := range form.values {
				if total += len(name) + len(v); name != "key" && !strings.Contains(body, v) {
					t.Fatalf("%q has %q", name, v)
				}
			}
			if total > maxFieldBytes+len(body) || len(form.values) != len(form.names) || form.values["key"] == "" {
				t.Fatalf("%+v", form)
			}
			h := form.header()
			_ = form.tagging(h)
			for name := range h {
				if strings.HasPrefix(name, "X-Amz-Copy-Source") || name == "Authorization" || name == "X-Amz-Security-Token" {
					t.Fatalf("a form sets %s", name)
				}
			}
			_, err = io.Copy(io.Discard, &formFile{src: form.file, body: &q.body, max: 1 << 20})
		}
		if err != nil {
			if e := q.translate(err); e.Status >= 500 || e.Status < 400 {
				t.Fatalf("%+v", e)
			}
		}
	})
}

// FuzzPostPolicy: a policy lets nothing through that it does not name.
func FuzzPostPolicy(f *testing.F) {
	const later = `{"expiration":"2099-01-01T00:00:00Z","conditions":[`
	for _, s := range []string{
		later + `{"bucket":"bucket"},["eq","$key","k"]]}`, later + `["starts-with","$key",""],["content-length-range",1,"2"]]}`, later + `{"bucket":"b\$"},["eq","$k\vey","\\$"]]}`,
		later + `[],{},null,1]}`, `{"expiration":null}`, strings.Repeat("[", 20_000), later + `["content-length-range",-1,99999999999999999999]]}`,
	} {
		f.Add(s, "key", "k")
	}
	f.Fuzz(func(t *testing.T, text, name, value string) {
		p, err := parsePostPolicy(base64.StdEncoding.EncodeToString([]byte(text)))
		if err != nil {
			if e := new(apiError); !asAPIError(err, &e) || e.Status != 400 || strings.Contains(e.Error(), value) && len(value) > 8 {
				t.Fatalf("%v", err)
			}
			return
		}
		form := &form{values: map[string]string{}}
		if form.add(name, value) != nil {
			return
		}
		if err := p.check(form, "bucket", time.Unix(1e9, 0)); err == nil {
			lower := strings.ToLower(name)
			named := outsidePolicy(lower)
			for _, c := range p.conditions {
				named = named || c.field == lower && c.match != nil && (c.match(value) || lower == "bucket")
			}
			if !named {
				t.Fatalf("%q lets %q through", text, name)
			}
		}
	})
}

func asAPIError(err error, e **apiError) bool {
	a, ok := err.(*apiError)
	*e = a
	return ok
}

// FuzzTaggingHeader: tags that are taken are within their limits.
func FuzzTaggingHeader(f *testing.F) {
	for _, s := range []string{"a=b", "a=b&c=d", "a", "=", "a=b&a=c", "%zz", "a=%ff", "a;b", strings.Repeat("a=b&", 100), "aws:x=y", "k=" + strings.Repeat("v", 257)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := parseTagging(s)
		if err != nil {
			if e := (&request{}).translate(err); e.Status >= 500 {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(tags) > 50 {
			t.Fatalf("%d tags", len(tags))
		}
	})
}

// endless is a body without an end.
type endless struct{ text string }

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e.text)
	}
	return n, nil
}

// TestMemoryPerRequestIsBounded: whatever is sent, and however much, a request
// takes a few MiB at most, in all, until it is refused.
func TestMemoryPerRequestIsBounded(t *testing.T) {
	h := newHandler(t, fixture(t))
	for what, c := range map[string]struct{ method, target, headers, text string }{
		"keys to delete":     {"POST", "/bucket?delete", "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==", "<Delete><Object><Key>k</Key></Object>"},
		"nested elements":    {"POST", "/bucket?delete", "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==", "<a>"},
		"one long element":   {"POST", "/bucket/k?uploadId=0123", "", "<CompleteMultipartUpload>"},
		"text":               {"PUT", "/bucket?cors", "", "x"},
		"comment":            {"PUT", "/bucket?tagging", "", "<!-- comment -->"},
		"policy":             {"PUT", "/bucket?policy", "", `{"a":`},
		"fields of a form":   {"POST", "/bucket", "Content-Type: multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"x-ignore-a\"\r\n\r\nx\r\n"},
		"a part's header":    {"POST", "/bucket", "Content-Type: multipart/form-data; boundary=b", "--b\r\nContent-Disposition"},
		"no boundary":        {"POST", "/bucket", "Content-Type: multipart/form-data; boundary=b", "x"},
		"a chunk's header":   {"PUT", "/bucket/k", "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\nx-amz-decoded-content-length: 1000000", "0"},
		"a trailer":          {"PUT", "/bucket/k", "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\nx-amz-decoded-content-length: 0\nx-amz-trailer: x-amz-checksum-crc32", "0\r\nx"},
		"location of bucket": {"PUT", "/another", "", "<CreateBucketConfiguration>"},
	} {
		raw := c.method + " " + c.target + " HTTP/1.1\r\nHost: localhost\r\n" + strings.ReplaceAll(c.headers, "\n", "\r\n")
		if c.headers != "" {
			raw += "\r\n"
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw + "\r\n")))
		if err != nil {
			t.Fatal(what, err)
		}
		const length = 1 << 40
		r.Body, r.ContentLength = io.NopCloser(endless{strings.Repeat(c.text, 1+4096/len(c.text))}), length
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := h.answer(r)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
			t.Errorf("%s: %d MiB", what, n>>20)
		}
		if w.Code < 400 || w.Code >= 500 {
			t.Errorf("%s: %d %.300s", what, w.Code, w.Body)
		}
	}
}

// contents counts the records that say what is stored: all but the clean-up's
// marks and accounts of segments.
func contents(t testing.TB, o engine.Options) map[byte]int {
	t.Helper()
	counts := map[byte]int{}
	err := o.Meta.View(context.Background(), func(r meta.Reader) error {
		for p, err := range r.Scan(meta.Range{Start: []byte{0}, End: []byte{0xff}}) {
			if err != nil {
				return err
			}
			if f := p.Key[0]; !slices.Contains([]byte("RsJ"), f) {
				counts[f]++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

// TestBrokenUploadsLeaveNothing counts what is stored before and after.
func TestBrokenUploadsLeaveNothing(t *testing.T) {
	s := storetest.Open(t, storetest.Options{})
	h := newHandler(t, s.Store)
	big := strings.Repeat("0123456789abcdef", 6<<16) // 6 MiB
	h.serve("PUT", "/bucket", "", "")
	h.serve("PUT", "/bucket/k", "", big)
	id := element(h.serve("POST", "/bucket/k?uploads", "", "").Body.String(), "UploadId")
	if h.serve("PUT", "/bucket/k?partNumber=1&uploadId="+id, "", big).Code != 200 {
		t.Fatal("no part")
	}
	before := contents(t, s.Options)
	cut := func(method, target, headers, body string, length int) {
		t.Helper()
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(length)
		if w := h.answer(r); w.Code < 400 || w.Code >= 500 {
			t.Errorf("%s %s: %d %.300s", method, target, w.Code, w.Body)
		}
	}
	form := presign("bucket", "k", nil, nil)
	form.file = big
	whole, kind := form.encode(t)
	small := presign("bucket", "k", nil, conditions{conditions{"content-length-range", 0, 1 << 20}})
	small.file = big
	limited, limitedKind := small.encode(t)
	sizes := len(big)
	for _, target := range []string{"/bucket/k", "/bucket/new/deep/key", "/bucket/k?partNumber=1&uploadId=" + id, "/bucket/k?partNumber=2&uploadId=" + id} {
		cut("PUT", target, "", big[:5<<20], sizes)
		cut("PUT", target, "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==\r\n", big, sizes)
		cut("PUT", target, "x-amz-checksum-crc32: AAAAAA==\r\n", big, sizes)
		cut("PUT", target, "x-amz-content-sha256: "+strings.Repeat("0", 64)+"\r\n", big, sizes)
		cut("PUT", target, "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\nx-amz-decoded-content-length: 6291456\r\nx-amz-trailer: x-amz-checksum-crc32\r\n",
			"600000\r\n"+big+"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", sizes+60)
	}
	cut("PUT", "/bucket/k", "x-amz-write-offset-bytes: 6291456\r\n", big[:5<<20], sizes)
	cut("PUT", "/bucket/k", "x-amz-write-offset-bytes: 6291456\r\nx-amz-checksum-crc32: AAAAAA==\r\n", big, sizes)
	cut("POST", "/bucket", "Content-Type: "+kind+"\r\n", whole[:len(whole)-200], len(whole))
	cut("POST", "/bucket", "Content-Type: "+kind+"\r\n", whole[:len(whole)-200], len(whole)-200)
	cut("POST", "/bucket", "Content-Type: "+limitedKind+"\r\n", limited, len(limited))
	cut("POST", "/bucket/k?uploadId="+id, "", "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>", 107)
	// What a long one had committed already is freed by the reaper.
	deadline := time.Now().Add(2 * time.Minute)
	for {
		after := contents(t, s.Options)
		if fmt.Sprint(after) == fmt.Sprint(before) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v before, %v after", before, after)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestSlowFormIsCutOff(t *testing.T) {
	s := storetest.Open(t, storetest.Options{})
	d := openDoorOf(t, s)
	d.bucket("bucket")
	// Too short for a client of ours on a busy machine.
	strict := openDoorOf(t, s, func(o *Options) { o.StallTimeout = 50 * time.Millisecond })
	addr := strict.server.Listener.Addr().String()
	f := presign("bucket", "k", nil, nil)
	f.file = strings.Repeat("x", 1<<20)
	body, kind := f.encode(t)
	for _, at := range []int{0, 100, len(body) / 2} {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /bucket HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", addr, kind, len(body), body[:at])
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			b, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 400 || !strings.Contains(string(b), "RequestTimeout") {
				t.Errorf("after %d bytes: %d %s", at, resp.StatusCode, b)
			}
		} else if strings.Contains(err.Error(), "timeout") {
			t.Errorf("after %d bytes: the connection is still open", at)
		}
		conn.Close()
	}
	if a := d.do("HEAD", "/bucket/k", ""); a.status != 404 {
		t.Error(a)
	}
}

// FuzzKeyEncodings: a key is the path that was sent, decoded once, and whatever is
// made of it leads back to it.
func FuzzKeyEncodings(f *testing.F) {
	for _, s := range []string{"k", "a/b", "a//b", "/", "%2F", "%252F", "a+b", "a b", "%", "%zz", "\u00e9", "%C3%A9", "%c3%a9", "..", "./a", "a?b", "a;b", "%00", "\xff", "~*'()!", strings.Repeat("%41", 1025)} {
		f.Add(s)
	}
	server := &Server{o: Options{Domains: []string{"localhost"}}}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.ParseRequestURI("/bucket/" + raw)
		if err != nil || strings.ContainsAny(raw, "?#") {
			return
		}
		key, err := url.PathUnescape(raw)
		if err != nil {
			t.Fatalf("%q parses, and does not decode: %v", raw, err)
		}
		for _, host := range []string{"other", "bucket.localhost"} {
			q := &request{s: server, r: &http.Request{URL: u, Host: host, Method: "GET"}}
			q.parseTarget()
			want := key
			if q.virtualHost {
				want = "bucket/" + key
			}
			if q.bucket != "bucket" || q.key != want {
				t.Fatalf("%q at %s is %q in %q", raw, host, q.key, q.bucket)
			}
			for what, decode := range map[string]func(string) (string, error){encodePath(q.key): url.PathUnescape, encodeURL(q.key): url.QueryUnescape} {
				if back, err := decode(what); err != nil || back != q.key {
					t.Fatalf("%q is written as %q, which is %q, %v", q.key, what, back, err)
				}
			}
		}
	})
}
