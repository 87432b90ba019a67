package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The examples that the Amazon S3 API reference prints, with its credentials.
const (
	exampleID     = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	exampleScope  = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
)

func exampleVerifier() *Verifier {
	return &Verifier{
		Region: "us-east-1",
		Now:    func() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) },
		Lookup: lookup(exampleID, exampleSecret),
	}
}

func lookup(id, secret string) Lookup {
	return func(_ context.Context, got string) ([]byte, error) {
		if got != id {
			return nil, ErrUnknownKey
		}
		return []byte(secret), nil
	}
}

// wire reads a request as a server does.
func wire(t testing.TB, head string, body []byte) *http.Request {
	t.Helper()
	return wireRequest(t, head, body)
}

func wireRequest(t fataler, head string, body []byte) *http.Request {
	raw := strings.ReplaceAll(strings.TrimSpace(head), "\n", "\r\n") + "\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(raw), bytes.NewReader(body))))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

const auth = "Authorization: AWS4-HMAC-SHA256 Credential=" + exampleScope

func TestPublishedExamples(t *testing.T) {
	for _, c := range []struct{ name, head, body string }{
		{"GET object", `GET /test.txt HTTP/1.1
Host: examplebucket.s3.amazonaws.com
Range: bytes=0-9
x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
x-amz-date: 20130524T000000Z
` + auth + `,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41`, ""},
		{"PUT object", `PUT /test%24file.text HTTP/1.1
Host: examplebucket.s3.amazonaws.com
Date: Fri, 24 May 2013 00:00:00 GMT
Content-Length: 21
x-amz-date: 20130524T000000Z
x-amz-storage-class: REDUCED_REDUNDANCY
x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072
` + auth + `,SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd`, "Welcome to Amazon S3."},
		{"GET lifecycle", `GET /?lifecycle HTTP/1.1
Host: examplebucket.s3.amazonaws.com
x-amz-date: 20130524T000000Z
x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
` + auth + `,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543`, ""},
		{"GET list", `GET /?max-keys=2&prefix=J HTTP/1.1
Host: examplebucket.s3.amazonaws.com
x-amz-date: 20130524T000000Z
x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
` + auth + `,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7`, ""},
		{"presigned GET", `GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1
Host: examplebucket.s3.amazonaws.com`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := exampleVerifier().Verify(wire(t, c.head, []byte(c.body)))
			if err != nil {
				t.Fatalf("%v %+v", err, err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || string(body) != c.body || res.AccessKeyID != exampleID {
				t.Fatalf("%q, %v, key %q", body, err, res.AccessKeyID)
			}
			if c.name == "presigned GET" != res.Presigned {
				t.Errorf("Presigned = %v", res.Presigned)
			}
		})
	}
}

const chunkedHead = `PUT /examplebucket/chunkObject.txt HTTP/1.1
Host: s3.amazonaws.com
x-amz-date: 20130524T000000Z
x-amz-storage-class: REDUCED_REDUNDANCY
Content-Encoding: aws-chunked
x-amz-decoded-content-length: 66560
`

func exampleChunked() (head string, body []byte) {
	data := bytes.Repeat([]byte("a"), 65536)
	body = append(body, "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n"...)
	body = append(append(body, data...), "\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n"...)
	body = append(append(body, data[:1024]...), "\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"...)
	return chunkedHead + `Content-Length: 66824
x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD
` + auth + `,SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class,Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9`, body
}

// The example with a trailer: x-amz-checksum-crc32c of the same 66560 bytes.
func exampleTrailer(lineEnd string) (head string, body []byte) {
	data := bytes.Repeat([]byte("a"), 65536)
	body = append(body, "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n"...)
	body = append(append(body, data...), "\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n"...)
	body = append(append(body, data[:1024]...), "\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n"...)
	body = append(body, "x-amz-checksum-crc32c:sOO8/Q=="+lineEnd...)
	body = append(body, "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"...)
	return chunkedHead + `x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER
x-amz-trailer: x-amz-checksum-crc32c
Content-Length: 66946
` + auth + `,SignedHeaders=content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer,Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e`, body
}

func TestPublishedChunkedUpload(t *testing.T) {
	head, body := exampleChunked()
	if len(body) != 66824 {
		t.Fatalf("the example has %d bytes", len(body))
	}
	res, err := exampleVerifier().Verify(wire(t, head, body))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Equal(got, bytes.Repeat([]byte("a"), 66560)) || res.ContentLength != 66560 || !res.Chunked {
		t.Fatalf("%d bytes, %v, length %d", len(got), err, res.ContentLength)
	}
}

func TestPublishedChunkedUploadWithTrailer(t *testing.T) {
	for _, lineEnd := range []string{"\r\n", "\n", "\n\r\n", "\r\n\r\n"} {
		head, body := exampleTrailer(lineEnd)
		head = strings.Replace(head, "66946", "1000000", 1)
		r := wire(t, head, nil)
		r.Body = io.NopCloser(bytes.NewReader(body))
		res, err := exampleVerifier().Verify(r)
		if err != nil {
			t.Fatalf("%v %+v", err, err)
		}
		got, err := io.ReadAll(res.Body)
		if err != nil || len(got) != 66560 || res.TrailerAlgorithm != "CRC32C" || res.Trailer() == nil {
			t.Fatalf("%q: %d bytes, %v, %v %x", lineEnd, len(got), err, res.TrailerAlgorithm, res.Trailer())
		}
	}
}

func TestMACIsHMAC(t *testing.T) {
	for _, keySize := range []int{0, 1, 32, 63, 64, 65, 200} {
		for _, size := range []int{0, 1, 55, 64, 383, 384, 385, 1000} {
			key, data := bytes.Repeat([]byte{7}, keySize), bytes.Repeat([]byte{9}, size)
			want := hmac.New(sha256.New, key)
			want.Write(data)
			got, fromText := mac(key, data), mac(key, string(data))
			if !hmac.Equal(got[:], want.Sum(nil)) || got != fromText {
				t.Errorf("key of %d bytes, %d bytes", keySize, size)
			}
			if !bytes.Equal(key, bytes.Repeat([]byte{7}, keySize)) {
				t.Error("changes the key")
			}
		}
	}
}
