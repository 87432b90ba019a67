package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strings"

	"github.com/cofferfs/coffer/objstore/checksum"
)

const (
	unsignedPayload         = "UNSIGNED-PAYLOAD"
	streamingUnsigned       = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	streamingSigned         = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamingSignedTrailer  = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	decodedContentLengthKey = "X-Amz-Decoded-Content-Length"
)

// payload is what x-amz-content-sha256 says of the body.
type payload struct {
	sum          *[sha256.Size]byte // nil: not given
	text         string             // as sent
	chunks       bool               // aws-chunked
	signedChunks bool
	trailer      bool
}

func parsePayload(s string) (payload, *Error) {
	switch s {
	case unsignedPayload:
		return payload{}, nil
	case streamingUnsigned:
		return payload{chunks: true, trailer: true}, nil
	case streamingSigned:
		return payload{chunks: true, signedChunks: true}, nil
	case streamingSignedTrailer:
		return payload{chunks: true, signedChunks: true, trailer: true}, nil
	}
	if len(s) == hex.EncodedLen(sha256.Size) {
		if b, err := hex.DecodeString(s); err == nil {
			sum := [sha256.Size]byte(b)
			return payload{sum: &sum, text: s}, nil
		}
	}
	return payload{}, errInvalidArgument("x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
		"x-amz-content-sha256", s)
}

// takeBody sets what Result says of the body.
func (res *Result) takeBody(r *http.Request, p payload, chain *chain) error {
	body := r.Body
	if body == nil {
		body = http.NoBody
	}
	if p.chunks {
		return res.takeChunked(r, body, p, chain)
	}
	if r.Header.Get("X-Amz-Trailer") != "" {
		// Without aws-chunked there is no place for it, and to ignore it would
		// drop a check that the client believes in.
		return errInvalidRequest("The x-amz-trailer header needs a payload of a STREAMING-...-TRAILER type.")
	}
	b := &plainBody{src: body, remaining: r.ContentLength}
	if p.sum != nil {
		b.hash, b.want, b.text = sha256.New(), *p.sum, p.text
	}
	if b.remaining == 0 {
		// Nobody has to read a body that is empty.
		if err := b.finish(); err != nil {
			return err
		}
	}
	res.Body, res.ContentLength = b, r.ContentLength
	return nil
}

// takeChunked is takeBody for aws-chunked encoding.
func (res *Result) takeChunked(r *http.Request, body io.ReadCloser, p payload, chain *chain) error {
	length, err := decodedLength(r.Header)
	if err != nil {
		return err
	}
	alg, err := trailerAlgorithm(r.Header, p.trailer)
	if err != nil {
		return err
	}
	res.chunked = newChunkedBody(body, length, chain, alg, p.trailer)
	res.Body, res.ContentLength, res.Chunked, res.TrailerAlgorithm = res.chunked, length, true, alg
	return nil
}

// decodedLength reads x-amz-decoded-content-length, which S3 requires.
func decodedLength(h http.Header) (int64, *Error) {
	s := h.Get(decodedContentLengthKey)
	if s == "" {
		return 0, errMissingLength()
	}
	var n int64
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' || len(s) > 18 {
			return 0, errInvalidArgument("The x-amz-decoded-content-length header is not a valid length.", "x-amz-decoded-content-length", s)
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, nil
}

// trailerAlgorithm reads x-amz-trailer, which can announce one checksum.
func trailerAlgorithm(h http.Header, allowed bool) (checksum.Algorithm, *Error) {
	var found checksum.Algorithm
	for _, line := range h["X-Amz-Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.TrimSpace(name)
			if name == "" {
				continue
			}
			if !allowed {
				return "", errInvalidRequest("The x-amz-trailer header needs a payload of a STREAMING-...-TRAILER type.")
			}
			alg, ok := checksum.FromHeader(name)
			if !ok {
				return "", errInvalidRequest("The value specified in the x-amz-trailer header is not supported")
			}
			if found != "" {
				return "", errInvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
			}
			found = alg
		}
	}
	return found, nil
}

func errChecksum(a checksum.Algorithm) *Error {
	return refuse(http.StatusBadRequest, "BadDigest", "The "+string(a)+" you specified did not match the calculated checksum.")
}

// plainBody is a body without aws-chunked encoding. It decides about the body
// before it gives out the last byte, for readers that stop there.
type plainBody struct {
	src       io.ReadCloser
	remaining int64     // -1 unknown
	hash      hash.Hash // nil: not checked
	want      [sha256.Size]byte
	text      string
	err       error // sticky
}

func (b *plainBody) Close() error { return b.src.Close() }

func (b *plainBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.remaining >= 0 && int64(len(p)) > b.remaining {
		p = p[:b.remaining]
	}
	n, err := b.src.Read(p)
	if b.hash != nil {
		b.hash.Write(p[:n])
	}
	if b.remaining > 0 {
		b.remaining -= int64(n)
	}
	switch {
	case b.remaining == 0, b.remaining < 0 && err == io.EOF:
		if err := b.finish(); err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, io.EOF
		}
	case err != nil:
		b.err = brokenBody(err, "Content-Length")
		return n, b.err
	}
	return n, nil
}

// finish decides about a body that has been read whole.
func (b *plainBody) finish() error {
	b.err = io.EOF
	if b.hash == nil {
		return nil
	}
	var sum [sha256.Size]byte
	b.hash.Sum(sum[:0])
	if sum != b.want {
		b.err = errContentSHA256(b.text, sum[:])
		return b.err
	}
	return nil
}

// brokenBody words the end of a body that came too soon. Other errors belong to
// the connection and stay what they are.
func brokenBody(err error, header string) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return errLength(header)
	}
	return err
}
