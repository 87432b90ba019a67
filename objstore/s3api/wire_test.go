package s3api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
)

func TestWhoDidNotSignIsRefused(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	anonymous := func(method, target string, headers ...string) reply {
		r := d.request(method, target, "", headers...)
		r.Header.Del("Authorization")
		return d.send(r)
	}
	anonymous("GET", "/bucket/k").want(t, "anonymous", 403, "AccessDenied", "Access Denied")
	anonymous("GET", "/none/k").want(t, "anonymous", 404, "NoSuchBucket", "")
	anonymous("GET", "/").want(t, "anonymous", 403, "AccessDenied", "Access Denied")
	if a := anonymous("HEAD", "/bucket/k"); a.status != 403 || a.body != "" {
		t.Error(a)
	}
	r := d.request("GET", "/bucket/k", "")
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "Signature=", "Signature=0", 1))
	if a := d.send(r); a.status != 403 || a.fields["Code"] != "SignatureDoesNotMatch" || a.fields["AWSAccessKeyId"] != testKeyID || a.fields["StringToSign"] == "" {
		t.Error(a)
	}
	r = d.request("GET", "/bucket/k", "")
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), testKeyID, "AKIDOTHER", 1))
	d.send(r).want(t, "unknown key", 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", "AWSAccessKeyId", "AKIDOTHER")
	r = d.request("PUT", "/bucket/k", "tampered")
	r.Body = io.NopCloser(strings.NewReader("TAMPERED"))
	if a := d.send(r); a.status != 400 || a.fields["Code"] != "XAmzContentSHA256Mismatch" {
		t.Error(a)
	}
	if d.get("bucket", "k") != "x" {
		t.Error("a refused body was stored")
	}
	anonymous("OPTIONS", "/bucket/k").want(t, "preflight", 400, "BadRequest", "Insufficient information. Origin request header needed.")
	anonymous("OPTIONS", "/bucket/k", "Origin", "https://a.org", "Access-Control-Request-Method", "PUT").want(t, "preflight", 403, "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.", "Method", "PUT", "ResourceType", "BUCKET")
	d.do("GET", "/bucket/k", "", "x-amz-expected-bucket-owner", "123").want(t, "owner", 400, "InvalidBucketOwnerAWSAccountID", "The value of the expected bucket owner parameter must be an AWS Account ID... [123]")
	d.do("GET", "/bucket/k", "", "x-amz-expected-bucket-owner", "123456789012").want(t, "owner", 403, "AccessDenied", "Access Denied")
	d.do("GET", "/bucket/k", "", "x-amz-expected-bucket-owner", "000000000000").ok(t, "owner", 200)
}

func TestPresignedURLs(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	p := s3.NewPresignClient(d.s3)
	put, err := p.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a b+c/\u00e9"), Metadata: map[string]string{"k": "v"}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(put.Method, put.URL, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range put.SignedHeader {
		if name != "Host" && name != "Content-Length" {
			r.Header[name] = v
		}
	}
	d.send(r).ok(t, "put", 200)
	get, err := p.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a b+c/\u00e9"), ResponseContentType: aws.String("text/x")})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = http.NewRequest(get.Method, get.URL, nil); err != nil {
		t.Fatal(err)
	}
	if a := d.send(r); a.status != 200 || a.body != "body" || a.header.Get("Content-Type") != "text/x" || a.header.Get("x-amz-meta-k") != "v" {
		t.Errorf("%v %v", a, a.header)
	}
	r, _ = http.NewRequest("GET", strings.Replace(get.URL, "text%2Fx", "text%2Fy", 1), nil)
	if a := d.send(r); a.status != 403 || a.fields["Code"] != "SignatureDoesNotMatch" {
		t.Error(a)
	}
	// Headers that a presigner put into the query count as sent.
	r, _ = http.NewRequest("PUT", d.server.URL+"/bucket/q?X-Amz-Expires=100&x-amz-meta-foo=bar-complicated-no-random&x-amz-storage-class=STANDARD_IA", strings.NewReader("123456"))
	link, _, err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).PresignHTTP(ctx, d.creds, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r, _ = http.NewRequest("PUT", link, strings.NewReader("123456"))
	d.send(r).ok(t, "headers in the query", 200)
	if a := d.do("HEAD", "/bucket/q", "", "x-amz-checksum-mode", "ENABLED"); a.header.Get("x-amz-meta-foo") != "bar-complicated-no-random" || a.header.Get("x-amz-storage-class") != "STANDARD_IA" || a.header.Get("x-amz-checksum-crc64nvme") != "CVmbZh4IWzA=" {
		t.Error(a.header)
	}
	r, _ = http.NewRequest("PUT", link, strings.NewReader("123456"))
	r.Header.Set("x-amz-meta-wrong", "x")
	d.send(r).want(t, "not signed", 403, "AccessDenied", "There were headers present in the request which were not signed", "HeadersNotSigned", "x-amz-meta-wrong")
	if strings.Contains(d.log.String(), "X-Amz-Signature") {
		t.Error("a signature is in the log")
	}
}

func TestExpiredURL(t *testing.T) {
	var offset time.Duration
	d := openDoor(t, func(o *Options) { o.Now = func() time.Time { return time.Now().Add(offset) } })
	d.bucket("bucket")
	get, err := s3.NewPresignClient(d.s3).PresignGetObject(context.Background(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k")}, s3.WithPresignExpires(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	offset = time.Minute
	r, _ := http.NewRequest("GET", get.URL, nil)
	a := d.send(r)
	a.want(t, "expired", 403, "AccessDenied", "Request has expired", "X-Amz-Expires", "2", "Expires", a.fields["Expires"], "ServerTime", a.fields["ServerTime"])
	offset = time.Hour
	if a := d.do("GET", "/bucket/k", ""); a.fields["Code"] != "RequestTimeTooSkewed" {
		t.Error(a)
	}
}

func TestSecretsAreNotLogged(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	r := d.request("GET", "/bucket/k?response-content-type=secret-query", "")
	_, signature, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	d.send(r).ok(t, "get", 200)
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "Signature=", "Signature=0", 1))
	if a := d.send(r); a.status != 403 {
		t.Error(a)
	}
	log := d.log.String()
	for _, s := range []string{testSecret, signature, "secret-query"} {
		if strings.Contains(log, s) {
			t.Errorf("%q is in the log", s)
		}
	}
	for _, s := range []string{"op=GetObject", "bucket=bucket", "key=k", "status=200", "status=403", "request_id=", "code=SignatureDoesNotMatch", "duration=", "access_key=" + testKeyID} {
		if !strings.Contains(log, s) {
			t.Errorf("%q is not in the log", s)
		}
	}
}

// dial opens a connection to the door for requests that no client library makes.
func (d *door) dial() *tls.Conn {
	d.t.Helper()
	transport := d.server.Client().Transport.(*http.Transport)
	c, err := tls.Dial("tcp", d.server.Listener.Addr().String(), &tls.Config{RootCAs: transport.TLSClientConfig.RootCAs, ServerName: "example.com"})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	return c
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for name, head := range map[string]string{
		"bad escape":   "GET /bucket/%zz HTTP/1.1\r\nHost: h\r\n\r\n",
		"no host":      "GET /bucket HTTP/1.1\r\n\r\n",
		"large head":   "GET /bucket HTTP/1.1\r\nHost: h\r\nX-A: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
		"two lengths":  "PUT /bucket/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"bad name":     "GET /bucket HTTP/1.1\r\nHost: h\r\nBad Name: 1\r\n\r\n",
		"no method":    "\x00\x01\x02\x03\r\n\r\n",
		"bad query":    "GET /bucket?a=%zz HTTP/1.1\r\nHost: h\r\n\r\n",
		"semicolon":    "GET /bucket?a;b HTTP/1.1\r\nHost: h\r\n\r\n",
		"empty bucket": "GET //k HTTP/1.1\r\nHost: h\r\n\r\n",
	} {
		conn := d.dial()
		fmt.Fprint(conn, head)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if resp.StatusCode/100 != 4 {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
		resp.Body.Close()
		conn.Close()
	}
	d.put("bucket", "k", "x")
}

func TestLengthMustBeDeclared(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	r := d.request("PUT", "/bucket/k", "hello")
	r.Header.Set("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
	r.Body, r.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader("hel"), strings.NewReader("lo"))), -1
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err := signer.SignHTTP(context.Background(), d.creds, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	d.send(r).want(t, "chunked", 411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	// Who says nothing of a body, as curl -X PUT does, does not mean an empty one.
	_, part := d.begin("/bucket/parts")
	for _, target := range []string{"/bucket/k", part(1)} {
		silent := d.request("PUT", target, "")
		conn := d.dial()
		fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\n", silent.URL.RequestURI(), silent.URL.Host)
		for name, v := range silent.Header {
			fmt.Fprintf(conn, "%s: %s\r\n", name, v[0])
		}
		fmt.Fprint(conn, "\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		d.read(resp).want(t, target, 411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
		conn.Close()
		d.do("PUT", target, "").ok(t, target+" of nothing", 200)
	}
	// An upload that is too long is refused before it is sent.
	big := d.request("PUT", "/bucket/k", "", "x-amz-content-sha256", "UNSIGNED-PAYLOAD")
	conn := d.dial()
	fmt.Fprintf(conn, "PUT /bucket/k HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", big.URL.Host, int64(maxPutSize)+1)
	for name, v := range big.Header {
		fmt.Fprintf(conn, "%s: %s\r\n", name, v[0])
	}
	fmt.Fprint(conn, "\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 400 || !strings.Contains(string(b), "<Code>EntityTooLarge</Code>") {
		t.Errorf("%d %s", resp.StatusCode, b)
	}
}

// botocore waits for a 100 even where the body is empty, and is confused for the
// rest of the connection when there is none.
func TestEmptyBodyIsToldToContinue(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	r := d.request("PUT", "/bucket/empty", "")
	conn := d.dial()
	fmt.Fprintf(conn, "PUT /bucket/empty HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\nExpect: 100-continue\r\n", r.URL.Host)
	for name, v := range r.Header {
		fmt.Fprintf(conn, "%s: %s\r\n", name, v[0])
	}
	fmt.Fprint(conn, "\r\n")
	in := bufio.NewReader(conn)
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n", "HTTP/1.1 200 OK\r\n"} {
		line, err := in.ReadString('\n')
		if err != nil || line != want {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
	}
}

func TestHeadersOfOtherLettersComeBackAsTheyWere(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const control, disposition = "\u00c4M\u00c4Z\u00d5\u00d1 S3", "attachment; filename=\"test_\u2014_file%E2%80%94_\u00e9_2.pdf\""
	d.do("PUT", "/bucket/k", "", "Cache-Control", control, "Content-Disposition", disposition, "x-amz-meta-k", "\u00e9").ok(t, "put", 200)
	a := d.do("GET", "/bucket/k", "")
	if a.header.Get("Cache-Control") != control || a.header.Get("Content-Disposition") != disposition || a.header.Get("x-amz-meta-k") != "=?UTF-8?B?w6k=?=" {
		t.Errorf("%q", a.header)
	}
}

func TestStreamsAreVerifiedAndUnchunked(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	data := make([]byte, 3<<20+17)
	rand.Read(data)
	// A reader that cannot seek makes the SDK send an unsigned stream with a trailer.
	_, err := d.s3.PutObject(context.Background(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Body: struct{ io.Reader }{bytes.NewReader(data)}, ContentLength: aws.Int64(int64(len(data))), ContentEncoding: aws.String("gzip")})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.get("bucket", "k"); got != string(data) {
		t.Errorf("%d bytes", len(got))
	}
	if a := d.do("HEAD", "/bucket/k", ""); a.header.Get("Content-Encoding") != "gzip" || a.header.Get("Content-Length") != fmt.Sprint(len(data)) {
		t.Error(a.header)
	}
}

func TestCorruptObjectBreaksItsConnection(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	data := make([]byte, 24<<20)
	rand.Read(data)
	d.put("bucket", "big", string(data))
	d.put("bucket", "other", "fine")
	if err := d.store.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	// Flip a byte in the last quarter of the largest segment.
	var largest string
	var size int64
	files, err := filepath.Glob(filepath.Join(d.dir, "data", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && info.Size() > size {
			largest, size = f, info.Size()
		}
	}
	f, err := os.OpenFile(largest, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := int64(18 << 20)
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	r := d.request("GET", "/bucket/big", "")
	resp, err := d.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err == nil {
		t.Fatalf("a corrupt object was sent whole: %d, %d bytes", resp.StatusCode, len(got))
	}
	if !bytes.HasPrefix(data, got) {
		t.Error("wrong data was sent")
	}
	broken := 0
	const step = 64 << 10
	for off := 0; off < len(data); off += step {
		resp, err := d.server.Client().Do(d.request("GET", "/bucket/big", "", "Range", fmt.Sprintf("bytes=%d-%d", off, off+step-1)))
		if err != nil {
			broken++
			continue
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch {
		case resp.StatusCode == 206 && err == nil && bytes.Equal(got, data[off:off+step]):
		case resp.StatusCode == 206 && err != nil, resp.StatusCode == 500 && bytes.Contains(got, []byte("<Code>InternalError</Code>")):
			broken++
		default:
			t.Errorf("at %d: %d, %d bytes, %v", off, resp.StatusCode, len(got), err)
		}
	}
	if broken == 0 || broken > 2 {
		t.Errorf("%d ranges are broken by one byte", broken)
	}
	if d.get("bucket", "other") != "fine" {
		t.Error("another object suffered")
	}
	if log := d.log.String(); !strings.Contains(log, "object is corrupt") || !strings.Contains(log, "key=big") {
		t.Error("the log does not name the object")
	}
	d.do("GET", "/bucket?list-type=2", "").ok(t, "listing", 200)
}

func TestManyClientsAtOnce(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	const clients, rounds = 8, 12
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range rounds {
				key := aws.String(fmt.Sprintf("dir%d/k%d", c%3, i%4))
				body := strings.Repeat(string(rune('a'+c)), 1+i*1000)
				if _, err := d.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: key, Body: strings.NewReader(body)}); err != nil {
					t.Errorf("put: %v", err)
					continue
				}
				out, err := d.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: key})
				if code(err) == "NoSuchKey" {
					continue
				}
				if err != nil {
					t.Errorf("get: %v", err)
					continue
				}
				b, err := io.ReadAll(out.Body)
				out.Body.Close()
				// Length, ETag and bytes belong together, whoever wrote last.
				if err != nil || int64(len(b)) != *out.ContentLength || *out.ETag != `"`+md5Hex(string(b))+`"` || strings.Trim(string(b), string(b[:1])) != "" {
					t.Errorf("torn: %d bytes, %v", len(b), err)
				}
				if i%5 == 4 {
					if _, err := d.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: key}); err != nil {
						t.Errorf("delete: %v", err)
					}
				}
				if _, err := d.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("bucket"), Delimiter: aws.String("/")}); err != nil {
					t.Errorf("list: %v", err)
				}
			}
		})
	}
	wg.Wait()
	// Of several that make a key only if it is not there, one wins.
	won := make(chan bool, clients)
	for range clients {
		wg.Go(func() {
			_, err := d.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("once"), Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
			if c := code(err); err != nil && c != "PreconditionFailed" && c != "ConditionalRequestConflict" {
				t.Error(err)
			}
			won <- err == nil
		})
	}
	wg.Wait()
	n := 0
	for range clients {
		if <-won {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d won", n)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	lookup := func(context.Context, string) ([]byte, error) { return nil, errors.New("none") }
	store := storetest.Open(t, storetest.Options{}).Store
	users := openIAM(t, store)
	for _, o := range []Options{
		{}, {Store: store, IAM: users}, {Store: store, Credentials: lookup}, {IAM: users, Credentials: lookup},
		{Store: store, IAM: users, Credentials: lookup, Domains: []string{""}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v", o)
		}
	}
	s, err := New(Options{Store: store, IAM: users, Credentials: lookup})
	if err != nil {
		t.Fatal(err)
	}
	h := s.HTTPServer()
	if h.ReadHeaderTimeout == 0 || h.IdleTimeout == 0 || h.MaxHeaderBytes == 0 || h.ReadTimeout != 0 || h.WriteTimeout != 0 {
		t.Errorf("%+v", h)
	}
}
