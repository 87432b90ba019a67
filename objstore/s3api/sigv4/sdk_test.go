package sigv4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"pgregory.net/rapid"

	"github.com/cofferfs/coffer/objstore/checksum"
)

const (
	testID     = "COFFERTESTKEY0000001"
	testSecret = "a+secret/with=signs and spaces"
	testRegion = "eu-test-1"
)

var testCredentials = aws.Credentials{AccessKeyID: testID, SecretAccessKey: testSecret}

var testTime = time.Date(2026, 2, 28, 23, 59, 58, 0, time.UTC)

func testVerifier() *Verifier {
	return &Verifier{Region: testRegion, Now: func() time.Time { return testTime }, Lookup: lookup(testID, testSecret)}
}

func s3Signer(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }

func hexSHA256(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// overWire sends r through the text of HTTP/1.1, as a server sees it.
func overWire(t fataler, r *http.Request, body string) *http.Request {
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "%s %s HTTP/1.1\nHost: %s\n", r.Method, r.URL.RequestURI(), r.Host)
	for k, vs := range r.Header {
		for _, v := range vs {
			fmt.Fprintf(&buf, "%s: %s\n", k, v)
		}
	}
	if r.Header.Get("Content-Length") == "" {
		fmt.Fprintf(&buf, "Content-Length: %d\n", len(body))
	}
	return wireRequest(t, buf.String(), []byte(body))
}

type fataler interface {
	Fatal(args ...any)
	Helper()
}

// encodedKey escapes as SDKs do: each byte but the unreserved and "/".
func encodedKey(key string) string { return string(appendEncoded(nil, key, true)) }

func newRequest(t fataler, method, host, key, rawQuery string) *http.Request {
	t.Helper()
	u := "http://" + host + "/bucket/" + encodedKey(key)
	if rawQuery != "" {
		u += "?" + rawQuery
	}
	r, err := http.NewRequest(method, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var nastyKeys = []string{
	"", "a", "a/b/c", "a b", "a+b", "a%2Fb", "a%b", "100%", "../..", "a/../b", "./a", "a//b", "//", "/", "a/", "dir/.",
	"ünïcode/ключ/鍵", "emoji-\U0001F512", "a?b=c", "a#b", "a&b=c;d", "a=b", "!*'()", "~-._", "[]{}|\\^`<>\"", "a:b@c,d$",
	"tab\tkey", "new\nline", "\x01\x7f", strings.Repeat("k", 1024), "%20", "%2e%2e/%2F", "a\\b",
}

var nastyQueries = []string{
	"", "acl", "acl=", "lifecycle&versionId=abc", "prefix=a%20b&delimiter=%2F", "prefix=a+b", "prefix=a%2Bb",
	"b=2&a=1&a=0&B=3", "a-b=1&a/b=2&a=3", "prefix=%C3%BC%F0%9F%94%92", "list-type=2&start-after=%00&x-id=ListObjectsV2",
	"tagging=a%3Db%26c%3Dd", "k=%25&k=%2525", "k=~!*'()", "uploads", "partNumber=1&uploadId=x%2By%2Fz%3D%3D", "a%3Bb=1", "%F0=%FF",
}

func TestHeaderSignaturesOfTheSDK(t *testing.T) {
	v := testVerifier()
	ctx := context.Background()
	for _, key := range nastyKeys {
		for _, query := range nastyQueries {
			for _, host := range []string{"localhost:9000", "bucket.example.com", "[::1]:9000"} {
				r := newRequest(t, "PUT", host, key, query)
				r.Header.Set("X-Amz-Content-Sha256", hexSHA256("body"))
				r.Header.Set("X-Amz-Meta-Spaces", "  a   b  c ")
				r.Header["X-Amz-Meta-Multi"] = []string{"one", " two ", ""}
				r.Header.Set("X-Amz-Meta-Bytes", "\xc3\xbc\xff")
				r.Header.Set("Content-Type", "text/plain; charset=\"utf-8\"")
				if err := v4.NewSigner(s3Signer).SignHTTP(ctx, testCredentials, r, hexSHA256("body"), "s3", testRegion, testTime); err != nil {
					t.Fatal(err)
				}
				res, err := v.Verify(overWire(t, r, "body"))
				if err != nil {
					t.Fatalf("key %q query %q host %q: %+v", key, query, host, err)
				}
				if got, err := io.ReadAll(res.Body); string(got) != "body" || err != nil || res.AccessKeyID != testID || res.Presigned {
					t.Fatalf("key %q: %q, %v", key, got, err)
				}
			}
		}
	}
}

func TestPresignedURLsOfTheSDK(t *testing.T) {
	v := testVerifier()
	ctx := context.Background()
	for _, key := range nastyKeys {
		for _, query := range nastyQueries {
			r := newRequest(t, "GET", "localhost:9000", key, query)
			q := r.URL.RawQuery
			if q != "" {
				q += "&"
			}
			r.URL.RawQuery = q + "X-Amz-Expires=600"
			r.Header.Set("X-Amz-Meta-A", "b")
			r.Header.Set("X-Amz-Request-Payer", "requester")
			uri, signed, err := v4.NewSigner(s3Signer).PresignHTTP(ctx, testCredentials, r, "UNSIGNED-PAYLOAD", "s3", testRegion, testTime)
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(uri)
			if err != nil {
				t.Fatal(err)
			}
			got := &http.Request{Method: "GET", URL: u, Host: u.Host, Header: signed.Clone()}
			got.Header.Del("Host")
			res, err := v.Verify(overWire(t, got, ""))
			if err != nil {
				t.Fatalf("key %q query %q: %+v", key, query, err)
			}
			if !res.Presigned || res.AccessKeyID != testID || res.QueryHeaders.Get("X-Amz-Request-Payer") != "requester" {
				t.Fatalf("key %q: %+v", key, res)
			}
		}
	}
}

func TestAnyKeyAndQuerySignedByTheSDKVerify(t *testing.T) {
	v := testVerifier()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.String().Draw(t, "key")
		values := url.Values{}
		for range rapid.IntRange(0, 4).Draw(t, "params") {
			values.Add(rapid.String().Draw(t, "name"), rapid.String().Draw(t, "value"))
		}
		r := newRequest(t, "GET", "h:1", key, values.Encode())
		r.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
		if isPresigned(mustQuery(t, r.URL.RawQuery)) {
			return
		}
		if err := v4.NewSigner(s3Signer).SignHTTP(context.Background(), testCredentials, r, unsignedPayload, "s3", testRegion, testTime); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(overWire(t, r, "")); err != nil {
			t.Fatalf("%+v", err)
		}
	})
}

func mustQuery(t fataler, raw string) []param {
	q, ok := parseQuery(raw)
	if !ok {
		t.Fatal("bad query", raw)
	}
	return q
}

// What a client of the real SDK sends to a real server, over TLS and not.
func TestSDKClientAgainstAServer(t *testing.T) {
	v := &Verifier{Region: testRegion, Lookup: lookup(testID, testSecret)}
	var mu sync.Mutex
	type seen struct {
		mode, body string
		res        *Result
		err        error
	}
	var last seen
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := seen{mode: r.Header.Get("X-Amz-Content-Sha256")}
		s.res, s.err = v.Verify(r)
		if s.err == nil {
			var b []byte
			b, s.err = io.ReadAll(s.res.Body)
			s.body = string(b)
		}
		mu.Lock()
		last = s
		mu.Unlock()
		if s.err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	content := strings.Repeat("0123456789abcdef", 20000)
	for _, c := range []struct {
		name     string
		tls      bool
		unseek   bool
		alg      types.ChecksumAlgorithm
		off      bool // checksums only when required
		wantMode string
		wantAlg  checksum.Algorithm
	}{
		{"https default", true, false, "", false, streamingUnsigned, "CRC32"},
		{"https CRC64NVME", true, false, types.ChecksumAlgorithmCrc64nvme, false, streamingUnsigned, "CRC64NVME"},
		{"https SHA256", true, false, types.ChecksumAlgorithmSha256, false, streamingUnsigned, "SHA256"},
		{"https CRC32C of a stream", true, true, types.ChecksumAlgorithmCrc32c, false, streamingUnsigned, "CRC32C"},
		{"http default", false, false, "", false, "", ""},
		{"http SHA1", false, false, types.ChecksumAlgorithmSha1, false, "", ""},
		{"http without checksums", false, false, "", true, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var srv *httptest.Server
			if c.tls {
				srv = httptest.NewTLSServer(handler)
			} else {
				srv = httptest.NewServer(handler)
			}
			defer srv.Close()
			client := s3.New(s3.Options{
				BaseEndpoint: aws.String(srv.URL),
				Region:       testRegion,
				UsePathStyle: true,
				HTTPClient:   srv.Client(),
				Credentials:  credentials.StaticCredentialsProvider{Value: testCredentials},
				Retryer:      aws.NopRetryer{},
			}, func(o *s3.Options) {
				o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenSupported
				if c.off {
					o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
				}
			})
			for _, size := range []int{0, 1, 8192, len(content)} {
				var body io.Reader = strings.NewReader(content[:size])
				in := &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a b+c/../ü%2F"), Body: body, ChecksumAlgorithm: c.alg,
					Metadata: map[string]string{"a": "b  c"}}
				if c.unseek {
					in.Body, in.ContentLength = io.MultiReader(body), aws.Int64(int64(size))
				}
				_, err := client.PutObject(context.Background(), in)
				mu.Lock()
				s := last
				mu.Unlock()
				if err != nil || s.err != nil || s.body != content[:size] {
					t.Fatalf("size %d: client %v, server %+v, %d bytes", size, err, s.err, len(s.body))
				}
				want, wantAlg := c.wantMode, c.wantAlg
				if want == "" {
					want = hexSHA256(s.body)
				} else if size == 0 {
					want, wantAlg = unsignedPayload, "" // the SDK makes no stream of nothing
				}
				if s.mode != want || s.res.TrailerAlgorithm != wantAlg || s.res.AccessKeyID != testID || s.res.ContentLength != int64(size) {
					t.Errorf("size %d: mode %s, trailer %q, length %d", size, s.mode, s.res.TrailerAlgorithm, s.res.ContentLength)
				}
				if wantAlg != "" && !bytes.Equal(s.res.Trailer(), checksum.Of(wantAlg, []byte(s.body))) {
					t.Errorf("trailer %x", s.res.Trailer())
				}
			}
			presigned, err := s3.NewPresignClient(client).PresignPutObject(context.Background(), &s3.PutObjectInput{
				Bucket: aws.String("bucket"), Key: aws.String("presigned ü+/key"), Metadata: map[string]string{"m": "v"}, ContentType: aws.String("text/x")})
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequest(presigned.Method, presigned.URL, strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			for k, vs := range presigned.SignedHeader {
				if k != "Host" && k != "Content-Length" {
					req.Header[k] = vs
				}
			}
			resp, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if last.err != nil || last.body != "hello" || !last.res.Presigned {
				t.Fatalf("presigned: %+v %q", last.err, last.body)
			}
		})
	}
}
