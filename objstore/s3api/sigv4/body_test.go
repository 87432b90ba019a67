package sigv4

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/cofferfs/coffer/objstore/checksum"
)

// put is a signed PUT of the body, which is sent as it is; headers are lines.
func put(t fataler, mode, headers, body string) (*Result, error) {
	t.Helper()
	r := putRequest(t, mode, headers, body)
	return exampleVerifier().Verify(r)
}

func putRequest(t fataler, mode, headers, body string) *http.Request {
	t.Helper()
	all := "content-length:" + strconv.Itoa(len(body)) + "\nhost:h\nx-amz-content-sha256:" + mode + "\nx-amz-date:20130524T000000Z\n" + headers
	var names []string
	for line := range strings.Lines(all) {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	list := strings.Join(names, ";")
	signature := sign("PUT\n/b/k\n\n" + all + "\n" + list + "\n" + mode)
	return wireRequest(t, "PUT /b/k HTTP/1.1\n"+all+auth+",SignedHeaders="+list+",Signature="+signature, []byte(body))
}

// seed is the signature of putRequest, for the chain of chunks.
func seedOf(r *http.Request) string {
	_, s, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	return s
}

// signedStream encodes data in signed chunks of those sizes.
func signedStream(seed string, data []byte, sizes []int, trailer string) string {
	key := deriveKey([]byte(exampleSecret), "20130524", "us-east-1", "s3")
	c := &chain{key: key, prevHex: seed, scope: "20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"}
	var b strings.Builder
	chunk := func(p []byte) {
		sum := mac(key[:], algorithm+"-PAYLOAD\n"+c.scope+c.prevHex+"\n"+emptyHex+"\n"+hexSHA256(string(p)))
		c.prevHex = hex.EncodeToString(sum[:])
		fmt.Fprintf(&b, "%x;chunk-signature=%s\r\n", len(p), c.prevHex)
		if len(p) > 0 {
			fmt.Fprintf(&b, "%s\r\n", p)
		}
	}
	for _, n := range sizes {
		chunk(data[:n])
		data = data[n:]
	}
	if len(data) > 0 {
		chunk(data)
	}
	chunk(nil)
	if trailer != "" {
		sum := mac(key[:], algorithm+"-TRAILER\n"+c.scope+c.prevHex+"\n"+hexSHA256(trailer+"\n"))
		fmt.Fprintf(&b, "%s\r\nx-amz-trailer-signature:%x\r\n", trailer, sum)
	}
	b.WriteString("\r\n")
	return b.String()
}

func unsignedStream(data []byte, size int, trailer string) string {
	var b strings.Builder
	for len(data) > 0 {
		n := min(size, len(data))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, data[:n])
		data = data[n:]
	}
	b.WriteString("0\r\n")
	if trailer != "" {
		b.WriteString(trailer + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

func crc32Trailer(data string) string {
	return "x-amz-checksum-crc32:" + checksum.Format(checksum.Of(checksum.CRC32, []byte(data)))
}

const trailerHeaders = "x-amz-decoded-content-length:%d\nx-amz-trailer:x-amz-checksum-crc32\n"

func TestHashedBodyIsVerifiedBeforeItsLastByte(t *testing.T) {
	for _, size := range []int{1, 2, 4096, 100000} {
		body := strings.Repeat("x", size)
		for _, wrong := range []bool{false, true} {
			hash := hexSHA256(body)
			if wrong {
				hash = hexSHA256(body + "x")
			}
			for _, length := range []int64{int64(size), -1} {
				r := putRequest(t, hash, "", body)
				if length < 0 {
					// As with Transfer-Encoding: chunked; the length is signed as sent.
					r.Header.Set("Content-Length", strconv.Itoa(size))
					r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader(body))
				}
				res, err := exampleVerifier().Verify(r)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, size)
				n, err := io.ReadFull(res.Body, got)
				if length >= 0 && (n == size) == wrong {
					t.Errorf("size %d wrong %v: a reader of exactly the length got %d bytes, %v", size, wrong, n, err)
				}
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
				}
				if wrong != (code(err) == "XAmzContentSHA256Mismatch") || !wrong && err != nil {
					t.Errorf("size %d wrong %v length %d: %v", size, wrong, length, err)
				}
				if wrong {
					checkRefusal(t, "hash", err, 400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.", "S3ComputedContentSHA256="+hexSHA256(body))
					if _, again := res.Body.Read(got); again != err {
						t.Errorf("the error is not sticky: %v", again)
					}
				}
			}
		}
	}
}

func TestEmptyBodyIsVerifiedAtOnce(t *testing.T) {
	if _, err := put(t, hexSHA256("x"), "", ""); code(err) != "XAmzContentSHA256Mismatch" {
		t.Errorf("got %v", err)
	}
	res, err := put(t, emptyHex, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

func TestBodyThatBreaksOffIsIncomplete(t *testing.T) {
	data := strings.Repeat("0123456789", 2000)
	signed := fmt.Sprintf("x-amz-decoded-content-length:%d\n", len(data))
	streams := map[string]func() *http.Request{
		"hash":     func() *http.Request { return putRequest(t, hexSHA256(data), "", data) },
		"unsigned": func() *http.Request { return putRequest(t, unsignedPayload, "", data) },
		"signed stream": func() *http.Request {
			return signedRequest(t, signed, data, []int{8192}, "")
		},
		"unsigned stream": func() *http.Request {
			return putRequest(t, streamingUnsigned, fmt.Sprintf(trailerHeaders, len(data)), unsignedStream([]byte(data), 8192, crc32Trailer(data)))
		},
	}
	for name, build := range streams {
		r := build()
		whole, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		// Without its last line end a stream is still whole.
		for cut := 0; cut < len(whole)-4; cut += 1 + len(whole)/997 {
			for _, end := range []error{io.EOF, io.ErrUnexpectedEOF} {
				r := build()
				r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(whole[:cut]), iotest.ErrReader(end)))
				res, err := exampleVerifier().Verify(r)
				if err != nil {
					t.Fatal(err)
				}
				n, err := io.ReadFull(res.Body, make([]byte, len(data)))
				if err == nil || n == len(data) {
					t.Fatalf("%s cut at %d of %d: %d bytes, %v", name, cut, len(whole), n, err)
				}
				if c := code(err); c != "IncompleteBody" && c != "MalformedTrailerError" && c != "InvalidRequest" {
					t.Fatalf("%s cut at %d of %d: %v", name, cut, len(whole), err)
				}
			}
		}
		r = build()
		boom := errors.New("connection reset")
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), iotest.ErrReader(boom)))
		res, err := exampleVerifier().Verify(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(res.Body); !errors.Is(err, boom) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// signedRequest is a PUT with the body encoded in signed chunks.
func signedRequest(t fataler, headers, data string, sizes []int, trailer string) *http.Request {
	mode := streamingSigned
	if trailer != "" {
		mode = streamingSignedTrailer
	}
	// The length of the body does not depend on the seed.
	blank := signedStream(strings.Repeat("0", 64), []byte(data), sizes, trailer)
	r := putRequest(t, mode, headers, blank)
	body := signedStream(seedOf(r), []byte(data), sizes, trailer)
	r.Body = io.NopCloser(strings.NewReader(body))
	return r
}

func TestStreamsDecodeWhateverTheReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sizes []int
		total := 0
		for range rapid.IntRange(0, 3).Draw(t, "chunks") {
			n := rapid.IntRange(minChunk, minChunk+5000).Draw(t, "size")
			sizes, total = append(sizes, n), total+n
		}
		total += rapid.IntRange(0, 9000).Draw(t, "last")
		data := strings.Repeat("abcdefghijk", total/11+1)[:total]
		headers := fmt.Sprintf("x-amz-decoded-content-length:%d\n", total)
		var r *http.Request
		alg := checksum.Algorithm("")
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			r = signedRequest(t, headers, data, sizes, "")
		case 1:
			alg = "CRC32"
			r = signedRequest(t, fmt.Sprintf(trailerHeaders, total), data, sizes, crc32Trailer(data))
		case 2:
			alg = "CRC32"
			r = putRequest(t, streamingUnsigned, fmt.Sprintf(trailerHeaders, total), unsignedStream([]byte(data), minChunk, crc32Trailer(data)))
		case 3:
			r = putRequest(t, streamingUnsigned, headers, unsignedStream([]byte(data), minChunk, ""))
		}
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		var src io.Reader = bytes.NewReader(raw)
		if rapid.Bool().Draw(t, "one byte at a time") {
			src = iotest.OneByteReader(src)
		}
		if rapid.Bool().Draw(t, "error with data") {
			src = iotest.DataErrReader(src)
		}
		r.Body = io.NopCloser(src)
		res, err := exampleVerifier().Verify(r)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "deferred") {
			res.DeferTrailer()
		}
		var got []byte
		buf := make([]byte, rapid.SampledFrom([]int{1, 7, 4096, 8192, 100000}).Draw(t, "buffer"))
		for err == nil {
			var n int
			n, err = res.Body.Read(buf)
			got = append(got, buf[:n]...)
			if len(got) == total && total > 0 && alg != "" && res.Trailer() == nil {
				t.Fatal("all bytes are out and the trailer is not known")
			}
		}
		if err != io.EOF || string(got) != data || res.ContentLength != int64(total) || res.TrailerAlgorithm != alg {
			t.Fatalf("%d of %d bytes, %v", len(got), total, err)
		}
		if err := res.CheckTrailer(checksum.Sums{"CRC32": checksum.Of("CRC32", got)}); err != nil {
			t.Fatal(err)
		}
		if alg != "" && code(res.CheckTrailer(checksum.Sums{"CRC32": {0, 0, 0, 0}})) != "BadDigest" && total > 0 {
			t.Fatal("a wrong sum passes")
		}
	})
}

func TestRefusedStreams(t *testing.T) {
	data := strings.Repeat("x", 3*minChunk)
	good := crc32Trailer(data)
	length := fmt.Sprintf("x-amz-decoded-content-length:%d\n", len(data))
	headers := fmt.Sprintf(trailerHeaders, len(data))
	one := unsignedStream([]byte(data), len(data), good)
	for _, c := range []struct {
		name, headers, body string
		code                string
	}{
		{"well", headers, one, ""},
		{"no empty line at the end", headers, strings.TrimSuffix(one, "\r\n"), "IncompleteBody"},
		{"half of an empty line at the end", headers, strings.TrimSuffix(one, "\n"), "IncompleteBody"},
		{"another last byte", headers, strings.TrimSuffix(one, "\n") + "X", "IncompleteBody"},
		{"line feed for an empty line", headers, strings.TrimSuffix(one, "\r\n") + "\n", "IncompleteBody"},
		{"nothing behind the last chunk", headers, one[:strings.Index(one, good)], "IncompleteBody"},
		{"line feeds", headers, strings.Replace(one, good+"\r\n\r\n", good+"\n\r\n\r\n", 1), ""},
		{"trailer in capitals with spaces", headers, strings.Replace(one, good, "X-Amz-Checksum-CRC32 : "+good[len("x-amz-checksum-crc32:"):]+" ", 1), ""},
		{"wrong checksum", headers, unsignedStream([]byte(data), len(data), crc32Trailer("other")), "BadDigest"},
		{"bad checksum", headers, unsignedStream([]byte(data), len(data), "x-amz-checksum-crc32:AAAA"), "InvalidRequest"},
		{"announced and missing", headers, unsignedStream([]byte(data), len(data), ""), "MalformedTrailerError"},
		{"not announced", length, one, "MalformedTrailerError"},
		{"another than announced", headers, unsignedStream([]byte(data), len(data), "x-amz-checksum-crc32c:AAAAAA=="), "MalformedTrailerError"},
		{"twice", headers, unsignedStream([]byte(data), len(data), good+"\r\n"+good), "MalformedTrailerError"},
		{"no colon", headers, unsignedStream([]byte(data), len(data), good+"\r\nfoo"), "MalformedTrailerError"},
		{"signature of an unsigned stream", headers, unsignedStream([]byte(data), len(data), good+"\r\nx-amz-trailer-signature:"+emptyHex), "MalformedTrailerError"},
		{"something behind", headers, one + "x", "IncompleteBody"},
		{"long line", headers, unsignedStream([]byte(data), len(data), good+strings.Repeat(" ", maxTrailer)), "MalformedTrailerError"},
		{"many empty lines", headers, one + strings.Repeat("\r\n", maxTrailer), "MalformedTrailerError"},
		{"short", headers, unsignedStream([]byte(data[1:]), len(data), good), "IncompleteBody"},
		{"long by a chunk", headers, unsignedStream([]byte(data+"y"), len(data), good), "IncompleteBody"},
		{"long", headers, unsignedStream([]byte(data+"y"), len(data)+1, good), "IncompleteBody"},
		{"small chunk", headers, unsignedStream([]byte(data), minChunk-1, good), "InvalidChunkSizeError"},
		{"smallest chunk", headers, unsignedStream([]byte(data), minChunk, good), ""},
		{"no size", headers, "\r\n" + one, "IncompleteBody"},
		{"size with sign", headers, "+" + one, "IncompleteBody"},
		{"size with 0x", headers, "0x" + one, "IncompleteBody"},
		{"size with zeros", headers, "000" + one, ""},
		{"huge size", headers, "ffffffffffffffff\r\n" + one, "IncompleteBody"},
		{"large size", headers, "fffffffffffffff\r\n" + one, "IncompleteBody"},
		{"endless size", headers, strings.Repeat("0", 10000) + one, "IncompleteBody"},
		{"bare line feed", headers, strings.Replace(one, "\r\n", "\n", 1), "IncompleteBody"},
		{"extension", headers, strings.Replace(one, "\r\n", ";a=b\r\n", 1), "IncompleteBody"},
		{"no line end after data", headers, strings.Replace(one, "x\r\n", "xyz", 1), "IncompleteBody"},
		{"nothing", headers, "", "IncompleteBody"},
		{"no decoded length", "x-amz-trailer:x-amz-checksum-crc32\n", one, "MissingContentLength"},
		{"decoded length of words", "x-amz-decoded-content-length:many\n", one, "InvalidArgument"},
		{"negative decoded length", "x-amz-decoded-content-length:-1\n", one, "InvalidArgument"},
		{"huge decoded length", "x-amz-decoded-content-length:9999999999999999999\n", one, "InvalidArgument"},
		{"unknown trailer", length + "x-amz-trailer:x-amz-meta-a\n", one, "InvalidRequest"},
		{"two trailers", length + "x-amz-trailer:x-amz-checksum-crc32,x-amz-checksum-sha1\n", one, "InvalidRequest"},
	} {
		res, err := put(t, streamingUnsigned, c.headers, c.body)
		n := 0
		if err == nil {
			n, err = io.ReadFull(res.Body, make([]byte, len(data)))
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
			}
		}
		if code(err) != c.code || (n == len(data)) != (c.code == "") {
			t.Errorf("%s: %d bytes, %v, want %s", c.name, n, err, c.code)
		}
	}
	for _, mode := range []string{unsignedPayload, hexSHA256("a"), streamingSigned} {
		if _, err := put(t, mode, headers, "a"); code(err) != "InvalidRequest" {
			t.Errorf("%s with a trailer: %v", mode, err)
		}
	}
}

func TestRefusedSignedStreams(t *testing.T) {
	data := strings.Repeat("x", minChunk) + strings.Repeat("y", minChunk)
	headers := fmt.Sprintf("x-amz-decoded-content-length:%d\n", len(data))
	sizes := []int{minChunk, minChunk}
	with := fmt.Sprintf(trailerHeaders, len(data))
	for _, c := range []struct {
		name, trailer string
		change        func(string) string
		code          string
	}{
		{"well", "", swap("", ""), ""},
		{"well with trailer", crc32Trailer(data), swap("", ""), ""},
		{"data", "", swap("xx\r\n", "xy\r\n"), "SignatureDoesNotMatch"},
		{"chunks swapped", "", func(s string) string { return strings.NewReplacer("x", "y", "y", "x").Replace(s) }, "SignatureDoesNotMatch"},
		{"unsigned", "", func(s string) string { return unsignedStream([]byte(data), minChunk, "") }, "IncompleteBody"},
		{"last chunk's signature", "", swap("\r\n0;chunk-signature=", "\r\n0;chunk-signature=0000"), "IncompleteBody"},
		{"last chunk's signature", "", func(s string) string {
			i := strings.Index(s, "\r\n0;chunk-signature=") + len("\r\n0;chunk-signature=")
			return s[:i] + emptyHex + s[i+64:]
		}, "SignatureDoesNotMatch"},
		{"trailer where none belongs", "", func(s string) string { return s[:len(s)-2] + crc32Trailer(data) + "\r\n\r\n" }, "MalformedTrailerError"},
		{"no trailer signature", crc32Trailer(data), func(s string) string { return s[:strings.Index(s, trailerSignatureName)] + "\r\n" }, "MalformedTrailerError"},
		{"trailer of other data", crc32Trailer("z"), swap("", ""), "BadDigest"},
		{"trailer changed", crc32Trailer("z"), swap(crc32Trailer("z"), crc32Trailer(data)), "SignatureDoesNotMatch"},
		{"trailer behind its signature", crc32Trailer(data), func(s string) string { return s[:len(s)-2] + "a:b\r\n\r\n" }, "MalformedTrailerError"},
	} {
		h := headers
		if c.trailer != "" {
			h = with
		}
		r := signedRequest(t, h, data, sizes, c.trailer)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		r.Body = io.NopCloser(strings.NewReader(c.change(string(body))))
		res, err := exampleVerifier().Verify(r)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadFull(res.Body, make([]byte, len(data)))
		if code(err) != c.code || (n == len(data)) != (c.code == "") {
			t.Errorf("%s: %d bytes, %v, want %s", c.name, n, err, c.code)
		}
	}
}

// No byte of a signed request can be another without notice. What may change:
// the case of hexadecimal digits and of header names, line ends around
// trailers, and what is not signed.
func TestNoByteOfASignedUploadCanChange(t *testing.T) {
	data := strings.Repeat("d", minChunk) + "tail"
	for _, kind := range []string{"hash", "signed", "trailer"} {
		build := func() *http.Request {
			switch kind {
			case "hash":
				return putRequest(t, hexSHA256(data), "x-amz-meta-a:b\n", data)
			case "signed":
				return signedRequest(t, fmt.Sprintf("x-amz-decoded-content-length:%d\n", len(data)), data, []int{minChunk}, "")
			}
			return signedRequest(t, fmt.Sprintf(trailerHeaders, len(data)), data, []int{minChunk}, crc32Trailer(data))
		}
		verify := func(r *http.Request, body []byte) (string, error) {
			r.Body = io.NopCloser(bytes.NewReader(body))
			res, err := exampleVerifier().Verify(r)
			if err != nil {
				return "", err
			}
			got, err := io.ReadAll(res.Body)
			return string(got), err
		}
		whole, err := io.ReadAll(build().Body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := verify(build(), whole); got != data || err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		for i := range whole {
			if i > 200 && i < minChunk-10 {
				continue // one byte of the data is like another
			}
			for _, bit := range []byte{1, 0x20, 0x80} {
				changed := bytes.Clone(whole)
				changed[i] ^= bit
				got, err := verify(build(), changed)
				if err == nil && got != data {
					t.Fatalf("%s: byte %d changed by %#x gives other data", kind, i, bit)
				}
				if err == nil && !strings.EqualFold(string(changed), string(whole)) && !isLineEnd(whole, i) {
					t.Fatalf("%s: byte %d (%q) changed by %#x and nobody saw it", kind, i, whole[i], bit)
				}
			}
		}
		for _, change := range []func(r *http.Request){
			func(r *http.Request) { r.Method = "GET" },
			func(r *http.Request) { r.URL.Path = "/b/K" },
			func(r *http.Request) { r.URL.RawQuery = "acl" },
			func(r *http.Request) { r.Host = "i" },
			func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") },
			func(r *http.Request) { r.Header.Add("X-Amz-Date", "x") },
			func(r *http.Request) { r.Header.Del("X-Amz-Date") },
			func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", unsignedPayload) },
			func(r *http.Request) { r.Header.Set("X-Amz-Decoded-Content-Length", "1") },
			func(r *http.Request) { r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc64nvme") },
			func(r *http.Request) { r.Header.Set("Content-Length", "1") },
		} {
			r := build()
			change(r)
			if _, err := verify(r, whole); err == nil {
				t.Errorf("%s: a change of the head passes", kind)
			}
		}
	}
}

// isLineEnd says whether i is a carriage return, or a line end behind trailers.
func isLineEnd(b []byte, i int) bool {
	return b[i] == '\r' || b[i] == '\n' || i+1 < len(b) && (b[i+1] == '\r' || b[i+1] == '\n')
}
