package sigv4

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

func BenchmarkVerifyHeader(b *testing.B) {
	v := exampleVerifier()
	r := putRequest(b, unsignedPayload, "x-amz-meta-a:b\nx-amz-meta-c:d\n", "body")
	r.URL.Path, r.URL.RawPath = "/b/k", ""
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyCustomerKey(b *testing.B) {
	v := exampleVerifier()
	r := putRequest(b, unsignedPayload, "x-amz-server-side-encryption-customer-algorithm:AES256\n"+
		"x-amz-server-side-encryption-customer-key:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"+
		"x-amz-server-side-encryption-customer-key-md5:xYrVvGP4e8cXnqzQ7lQJMw==\n", "body")
	r.URL.Path, r.URL.RawPath = "/b/k", ""
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyPresigned(b *testing.B) {
	v := exampleVerifier()
	r := wire(b, "GET /test.txt?"+presignedQuery+" HTTP/1.1\nHost: examplebucket.s3.amazonaws.com", nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBody(b *testing.B) {
	data := strings.Repeat("0123456789abcdef", 4<<20/16)
	for _, c := range []struct {
		name  string
		build func() *http.Request
	}{
		{"sha256", func() *http.Request { return putRequest(b, hexSHA256(data), "", data) }},
		{"unsigned", func() *http.Request { return putRequest(b, unsignedPayload, "", data) }},
		{"unsigned-chunked-crc32", func() *http.Request {
			return putRequest(b, streamingUnsigned, "x-amz-decoded-content-length:4194304\nx-amz-trailer:x-amz-checksum-crc32\n", unsignedStream([]byte(data), 64<<10, crc32Trailer(data)))
		}},
		{"signed-chunked", func() *http.Request {
			return signedRequest(b, "x-amz-decoded-content-length:4194304\n", data, nil, "")
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := c.build()
			raw, err := io.ReadAll(r.Body)
			if err != nil {
				b.Fatal(err)
			}
			v := exampleVerifier()
			buf := make([]byte, 256<<10)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				r.Body = io.NopCloser(bytes.NewReader(raw))
				res, err := v.Verify(r)
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = res.Body.Read(buf)
				}
				if err != io.EOF {
					b.Fatal(err)
				}
			}
		})
	}
}
