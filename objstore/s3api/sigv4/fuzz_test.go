package sigv4

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Whatever a stream holds, decoding it gives data that encodes to the same
// stream, up to what may differ, or an *Error; and never more than announced.
func FuzzChunkedBody(f *testing.F) {
	data := strings.Repeat("x", minChunk+3)
	f.Add([]byte(unsignedStream([]byte(data), minChunk, crc32Trailer(data))), int64(len(data)), true)
	f.Add([]byte(unsignedStream([]byte("abc"), 3, "")), int64(3), false)
	f.Add([]byte("0\r\n\r\n"), int64(0), false)
	f.Add([]byte("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\n\r\n\r\n"), int64(3), true)
	f.Add([]byte("fffffffffffffff\r\n"), int64(1)<<59, false)
	f.Add([]byte(signedStream(emptyHex, []byte(data), []int{minChunk}, "")), int64(len(data)), false)
	f.Fuzz(func(t *testing.T, stream []byte, length int64, trailer bool) {
		if length < 0 {
			return
		}
		for _, signed := range []bool{false, true} {
			var c *chain
			if signed {
				c = &chain{prevHex: emptyHex}
			}
			b := newChunkedBody(io.NopCloser(strings.NewReader(string(stream))), length, c, "", true)
			if trailer {
				b = newChunkedBody(b.src, length, c, "CRC32", true)
			}
			got, err := io.ReadAll(b)
			if int64(len(got)) > length {
				t.Fatalf("%d bytes of %d", len(got), length)
			}
			var e *Error
			if err != nil && !errors.As(err, &e) {
				t.Fatalf("%v is no *Error", err)
			}
			if err != nil {
				if int64(len(got)) == length && length > 0 {
					t.Fatalf("all data is out, and then %v", err)
				}
				continue
			}
			if int64(len(got)) != length || trailer && b.trailerSum == nil {
				t.Fatalf("accepted with %d of %d bytes", len(got), length)
			}
			if signed {
				t.Fatal("a signature that nobody made")
			}
		}
	})
}

func FuzzAuthorization(f *testing.F) {
	value := strings.TrimPrefix(auth, "Authorization: ")
	f.Add(value+",SignedHeaders=host;x-amz-date,Signature="+emptyHex, "20130524T000000Z")
	f.Add(value+", Signature=abc, SignedHeaders=host", "Fri, 24 May 2013 00:00:00 GMT")
	f.Add("AWS AKID:sig", "")
	f.Add("AWS4-HMAC-SHA256 =,=,=", "x")
	f.Add("AWS4-HMAC-SHA256", "00000000T000000Z")
	f.Fuzz(func(t *testing.T, authorization, date string) {
		c, err := parseAuthorization(http.Header{"Authorization": {authorization}, "X-Amz-Date": {date}})
		if err != nil {
			if err.Code == "" || err.Status/100 != 4 {
				t.Fatalf("%+v", err)
			}
			return
		}
		if c.keyID == "" || len(c.keyID) > maxKeyID || len(c.signed) == 0 || len(c.timestamp) != len(longDate) || len(c.date) != len(shortDate) || strings.Join(c.signed, ";") != c.signedHeaders {
			t.Fatalf("%+v", c)
		}
		// What was read is in the header.
		for _, part := range []string{c.keyID, c.scope(), c.signedHeaders, c.signatureHex} {
			if !strings.Contains(authorization, part) {
				t.Fatalf("%q is not in %q", part, authorization)
			}
		}
		_ = c.check("us-east-1", "s3")
	})
}

func FuzzQuery(f *testing.F) {
	f.Add(presignedQuery)
	for _, q := range nastyQueries {
		f.Add(q)
	}
	f.Add("a=%zz&b")
	f.Add("&&=&=a&;")
	f.Fuzz(func(t *testing.T, raw string) {
		if len(raw) > maxQuery {
			return
		}
		params, ok := parseQuery(raw)
		values, err := url.ParseQuery(raw)
		if ok != (err == nil) {
			t.Fatalf("ok %v, net/url says %v", ok, err)
		}
		if !ok {
			return
		}
		n := 0
		for _, vs := range values {
			n += len(vs)
			slices.Sort(vs)
		}
		if n != len(params) {
			t.Fatalf("%d parameters, net/url has %d", len(params), n)
		}
		// The canonical form stands for the same parameters and is its own.
		canonical := canonicalQuery(params, false)
		if len(canonical) > maxQuery {
			return
		}
		again, ok := parseQuery(canonical)
		if !ok || canonicalQuery(again, false) != canonical {
			t.Fatalf("%q is not canonical", canonical)
		}
		back, err := url.ParseQuery(canonical)
		for _, vs := range back {
			slices.Sort(vs)
		}
		if err != nil || back.Encode() != values.Encode() {
			t.Fatalf("%q became %q", raw, canonical)
		}
		if isPresigned(params) {
			if c, err := parsePresigned(params); err == nil && (c.expires <= 0 || c.expires > maxExpires || c.keyID == "") {
				t.Fatalf("%+v", c)
			}
		}
	})
}
