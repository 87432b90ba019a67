package sigv4

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Every bit of the head of a signed request: what still verifies says the same.
func TestNoBitOfASignedHeadCanChange(t *testing.T) {
	heads := map[string]string{
		"header":    get(swap("", "")),
		"presigned": "GET /test.txt?" + presignedQuery + " HTTP/1.1\nHost: examplebucket.s3.amazonaws.com",
	}
	for name, head := range heads {
		raw := strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n"
		accepted := 0
		for i := range raw {
			for bit := range 8 {
				changed := []byte(raw)
				changed[i] ^= 1 << bit
				r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(changed)))
				if err != nil {
					continue
				}
				res, err := exampleVerifier().Verify(r)
				if err != nil || res.Anonymous && name == "presigned" && !strings.Contains(r.URL.RawQuery, "X-Amz-") {
					continue
				}
				if res.Anonymous && r.Header.Get("Authorization") == "" {
					continue // it no longer claims anything
				}
				accepted++
				same := r.Method == "GET" && r.URL.Path == "/test.txt" && r.Host == "examplebucket.s3.amazonaws.com" && res.AccessKeyID == exampleID
				if name == "header" {
					same = same && r.URL.RawQuery == "" && r.Header.Get("Range") == "bytes=0-9" && strings.EqualFold(r.Header.Get("X-Amz-Content-Sha256"), emptyHex)
				} else {
					want, _ := url.ParseQuery(presignedQuery)
					got := r.URL.Query()
					same = same && strings.EqualFold(got.Get("X-Amz-Signature"), want.Get("X-Amz-Signature"))
					got.Del("X-Amz-Signature")
					want.Del("X-Amz-Signature")
					same = same && got.Encode() == want.Encode()
				}
				if !same {
					t.Fatalf("%s: byte %d (%q) bit %d: %s %s %v verifies", name, i, raw[i], bit, r.Method, r.URL, r.Header)
				}
			}
		}
		t.Logf("%s: %d of %d changes mean the same", name, accepted, 8*len(raw))
	}
}
