// Package sigv4 verifies requests that are signed with AWS Signature Version 4
// as S3 uses it: it turns a request into an access key id and a body that is
// verified while it is read. It knows no store, no bucket and no permission.
//
// It promises: when Verify returns a Result that is not Anonymous, somebody who
// holds the secret of Result.AccessKeyID signed this method, path, query, host
// and every x-amz-* header, for now. When Result.Body returns io.EOF, or the
// last of ContentLength bytes, the body is whole and matches what was signed
// about it. Before that nothing is known of the body: the caller commits only
// after io.EOF, and must drop what it did on any other error.
//
// What was verified is what net/http shows: r.Method, r.URL.Path, r.URL.Query(),
// r.Host and r.Header. Whoever acts on the request takes it from there, and not
// from RawPath or RequestURI, where the same path can be written in other ways.
//
// What is taken: the Authorization header, presigned URLs, and the fields of a
// POST form, whose policy is what is signed (VerifyForm); the latter two by
// Signature Version 2 too (query2.go says what that does not sign). With any of them
// a session token, which is handed to Verifier.Session. As payload a SHA-256,
// UNSIGNED-PAYLOAD, and aws-chunked streams signed and unsigned, with and without a
// trailer. Not taken: Version 4A.
//
// Of each x-amz-* header that is no list one copy is allowed. The query, the Authorization header, chunk headers and
// trailers are bounded here, all headers together by the http.Server. Secrets are
// never in an error; signatures are compared in constant time.
//
// References: "Signature Calculations for the Authorization Header", "...:
// Transferring Payload in Multiple Chunks", "Authenticating Requests: Using
// Query Parameters" in the Amazon S3 API reference. Codes and texts are those
// of AWS where they were recorded or are documented.
package sigv4

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cofferfs/coffer/objstore/checksum"
)

// Lookup finds the secret of an access key id. The secret is lent: Verify does
// not keep or change it, and is done with it when it returns. For an id that
// does not exist the error wraps ErrUnknownKey; any other error is returned by
// Verify wrapped.
type Lookup func(ctx context.Context, accessKeyID string) (secret []byte, err error)

// Session is a Lookup for an access key of a session, which is known by the
// token that comes with it. The error wraps ErrInvalidToken for a token that is
// none or belongs to another key, ErrExpiredToken for a session that has ended.
type Session func(ctx context.Context, accessKeyID, token string) (secret []byte, err error)

// Verifier verifies requests. Its fields are not changed once it is in use; it
// may be used by many goroutines and is not copied.
type Verifier struct {
	// Region is what requests must be signed for. Empty takes any.
	Region string
	// Service is what requests must be signed for; empty is "s3".
	Service string
	// Lookup is required.
	Lookup Lookup
	// Session is asked in place of Lookup when a request has a session token.
	// Nil refuses every token.
	Session Session
	// Bucket is the bucket that a request names in its host, or empty: version 2
	// signs it in front of the path. Nil: none does.
	Bucket func(*http.Request) string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// MaxSkew is how far the clock of a client may be off; 0 is 15 minutes.
	MaxSkew time.Duration

	keys keyCache
}

// Result is a request that was verified but for its body.
type Result struct {
	// AccessKeyID is who signed. It is empty if and only if Anonymous.
	AccessKeyID string
	// Anonymous says that the request carries no signature at all.
	Anonymous bool
	// Token is the session token that the request came with, or empty.
	Token string
	// Presigned says that the signature was in the query.
	Presigned bool
	// Time is when the request says that it was signed.
	Time time.Time
	// Payload is what was signed of the body, as x-amz-content-sha256 has it:
	// UNSIGNED-PAYLOAD where nothing was. Empty if Anonymous.
	Payload string
	// SignedHeaders are the lower-case names of the headers that are signed.
	SignedHeaders []string
	// QueryHeaders are the headers that the signer of a presigned request put
	// into the query, where S3 takes them for headers: x-amz-*, If-Match and
	// If-None-Match. They hold whatever unsigned header the request has.
	// Without those of the signature itself. Often nil.
	QueryHeaders http.Header

	// Body is the request's body without aws-chunked encoding. Closing it
	// closes the request's. Its errors are sticky. It is never nil.
	Body io.ReadCloser
	// ContentLength is the number of bytes that Body holds, -1 if unknown. A
	// body of another length is an error of Body.
	ContentLength int64
	// Chunked says that the body came in aws-chunked encoding, which is then
	// no part of the object's Content-Encoding.
	Chunked bool
	// TrailerAlgorithm is the checksum that the trailer will carry, or empty.
	TrailerAlgorithm checksum.Algorithm

	chunked *chunkedBody // nil if not Chunked
}

// Trailer is the sum that the trailer carried for TrailerAlgorithm. It is nil
// before Body has returned io.EOF or its last byte.
func (r *Result) Trailer() []byte {
	if r.chunked == nil || !r.chunked.done {
		return nil
	}
	return r.chunked.trailerSum
}

// DeferTrailer makes the caller responsible for the trailer: Body no longer
// computes its checksum. The caller computes it, calls CheckTrailer when Body
// has ended, and commits only after that. It is called before the first Read,
// by callers that hash the body anyway.
func (r *Result) DeferTrailer() {
	if r.chunked != nil {
		r.chunked.sum = nil
	}
}

// CheckTrailer compares the caller's sum for TrailerAlgorithm with Trailer. It
// returns nil if there is no trailer.
func (r *Result) CheckTrailer(sums checksum.Sums) error {
	if r.TrailerAlgorithm == "" {
		return nil
	}
	want := r.Trailer()
	if want == nil {
		return errIncompleteBody()
	}
	if !sums.Matches(r.TrailerAlgorithm, want) {
		return errChecksum(r.TrailerAlgorithm)
	}
	return nil
}

// Verify verifies r and takes its body, which the caller then reads from the
// Result alone. Refusals are *Error.
func (v *Verifier) Verify(r *http.Request) (*Result, error) {
	query, ok := parseQuery(r.URL.RawQuery)
	if !ok {
		return nil, refuse(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.")
	}
	if err := singles(r.Header); err != nil {
		return nil, err
	}
	header := r.Header.Get("Authorization") != ""
	presigned := isPresigned(query)
	sigV2 := isSigV2(query)
	var c *claim
	var err *Error
	switch {
	case header && (presigned || sigV2):
		return nil, errInvalidArgument("Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
			"Authorization", r.Header.Get("Authorization"))
	case header:
		c, err = parseAuthorization(r.Header)
	case presigned:
		c, err = parsePresigned(query)
	case sigV2:
		return v.presigned2(r, query)
	default:
		return v.anonymous(r)
	}
	if err != nil {
		return nil, err
	}
	return v.signed(r, c, query)
}

// singles refuses headers that come twice and are no lists. The signed text joins
// the values of a header by commas: whoever holds a URL could cut a value in two where
// it has one, and whoever acts on the first would act on what nobody signed.
func singles(h http.Header) *Error {
	for name, values := range h {
		if len(values) < 2 || !strings.HasPrefix(name, "X-Amz-") {
			continue
		}
		switch {
		case strings.HasPrefix(name, "X-Amz-Meta-"), name == "X-Amz-Object-Attributes", name == "X-Amz-Optional-Object-Attributes", name == "X-Amz-Trailer":
		default:
			return errInvalidArgument("A header that may be given once was repeated.", strings.ToLower(name), values[1])
		}
	}
	return nil
}

func (v *Verifier) anonymous(r *http.Request) (*Result, error) {
	hash := r.Header.Get("X-Amz-Content-Sha256")
	if hash == "" {
		hash = unsignedPayload
	}
	p, err := parsePayload(hash)
	if err != nil {
		return nil, err
	}
	if p.signedChunks {
		return nil, errAccessDenied("Anonymous requests cannot have a signed payload.")
	}
	res := &Result{Anonymous: true}
	if err := res.takeBody(r, p, nil); err != nil {
		return nil, err
	}
	return res, nil
}

func (v *Verifier) signed(r *http.Request, c *claim, query []param) (*Result, error) {
	if err := c.check(v.Region, v.service()); err != nil {
		return nil, err
	}
	if missing := c.unsignedHeaders(r.Header, query); missing != nil {
		return nil, errHeadersNotSigned(missing)
	}
	if err := c.takeToken(r.Header, query); err != nil {
		return nil, err
	}
	now, maxSkew := time.Now, v.MaxSkew
	if v.Now != nil {
		now = v.Now
	}
	if maxSkew == 0 {
		maxSkew = 15 * time.Minute
	}
	if err := c.checkTime(now(), maxSkew); err != nil {
		return nil, err
	}
	hashes, err := c.payloadHashes(r.Header, query)
	if err != nil {
		return nil, err
	}
	key, hash, err2 := v.match(r, c, query, hashes)
	if err2 != nil {
		return nil, err2
	}
	signed := hash
	// An unsigned x-amz-content-sha256 of a presigned request is no part of the
	// signature; the body is held to it all the same.
	if c.presigned && hash == unsignedPayload && len(hashes) > 1 {
		hash = hashes[1]
	}
	p, err := parsePayload(hash)
	if err != nil {
		return nil, err
	}
	res := &Result{
		AccessKeyID:   c.keyID,
		Token:         c.token,
		Presigned:     c.presigned,
		Time:          c.time,
		Payload:       signed,
		SignedHeaders: c.signed,
	}
	if c.presigned {
		res.QueryHeaders = queryHeaders(query)
	}
	var chain *chain
	if p.signedChunks {
		chain = newChain(key, c)
	}
	if err := res.takeBody(r, p, chain); err != nil {
		return nil, err
	}
	return res, nil
}

func (v *Verifier) service() string {
	if v.Service == "" {
		return "s3"
	}
	return v.Service
}

// secret looks an access key up, of a session if there is a token.
func (v *Verifier) secret(ctx context.Context, keyID, token string) (secret []byte, err error) {
	switch {
	case token == "":
		secret, err = v.Lookup(ctx, keyID)
	case v.Session == nil:
		return nil, errToken()
	default:
		secret, err = v.Session(ctx, keyID, token)
	}
	switch {
	case errors.Is(err, ErrUnknownKey):
		return nil, errInvalidAccessKeyID(keyID)
	case errors.Is(err, ErrInvalidToken):
		return nil, errToken()
	case errors.Is(err, ErrExpiredToken):
		return nil, errExpiredToken()
	case err != nil:
		return nil, fmt.Errorf("sigv4: look up access key: %w", err)
	case len(secret) == 0:
		// An empty secret would let everybody sign.
		return nil, errors.New("sigv4: the access key has no secret")
	}
	return secret, nil
}

// takeToken finds the session token, which is signed as the other headers are,
// or as the query is.
func (c *claim) takeToken(h http.Header, query []param) *Error {
	c.token = h.Get("X-Amz-Security-Token")
	for i := range query {
		if !strings.EqualFold(query[i].name, "x-amz-security-token") || query[i].value == "" {
			continue
		}
		if c.token != "" && c.token != query[i].value {
			return errToken()
		}
		c.token = query[i].value
	}
	return nil
}

// payloadHashes lists what the last line of the canonical request may be,
// likeliest first. The hash is part of what is signed, so that trying two
// cannot let through what nobody signed.
func (c *claim) payloadHashes(h http.Header, query []param) ([]string, *Error) {
	header := h.Get("X-Amz-Content-Sha256")
	if !c.presigned {
		if header == "" {
			return nil, errInvalidRequest("Missing required header for this request: x-amz-content-sha256")
		}
		if _, err := parsePayload(header); err != nil {
			return nil, err
		}
		return []string{header}, nil
	}
	for i := range query {
		if query[i].name == "X-Amz-Content-Sha256" && query[i].value != "" {
			return []string{query[i].value}, nil
		}
	}
	switch {
	case header == "" || header == unsignedPayload:
		return []string{unsignedPayload}, nil
	case c.hasSigned("x-amz-content-sha256"):
		return []string{header}, nil
	}
	return []string{unsignedPayload, header}, nil
}

// match compares the signature with what the secret gives for the request. The
// path is canonical as AWS has it, or else as it was sent: some clients sign
// that. The two are the same path to whoever decodes it, and an encoding that
// is canonical decodes to one path only, so neither lets through a path that
// was not signed.
func (v *Verifier) match(r *http.Request, c *claim, query []param, hashes []string) (signingKey, string, error) {
	secret, err := v.secret(r.Context(), c.keyID, c.token)
	if err != nil {
		return signingKey{}, "", err
	}
	name := v.keys.name(secret, c.date, c.region, c.service)
	key, cached := v.keys.get(name)
	if !cached {
		key = deriveKey(secret, c.date, c.region, c.service)
	}

	buf := canonicalBuffers.Get().(*[]byte)
	defer canonicalBuffers.Put(buf)
	b := (*buf)[:0]
	text := make([]byte, 0, 256) // the string to sign
	text = append(append(text, algorithm+"\n"...), c.timestamp...)
	text = c.appendScope(append(text, '\n'))
	text = append(text, '\n')
	var first struct{ canonical, toSign string }
	for i := range 2 {
		// What stands before the payload hash is the same for all hashes.
		b = append(b[:0], r.Method...)
		b = append(b, '\n')
		path := len(b)
		if b = appendCanonicalPath(b, r.URL); i > 0 {
			sent := r.URL.EscapedPath()
			if sent == string(b[path:]) {
				break
			}
			b = append(b[:path], sent...)
		}
		b = append(b, '\n')
		b = append(b, canonicalQuery(query, c.presigned)...)
		b = append(b, '\n')
		b = appendCanonicalHeaders(b, r, c, query)
		b = append(b, '\n')
		b = append(b, c.signedHeaders...)
		b = append(b, '\n')
		prefix := len(b)
		for _, hash := range hashes {
			b = append(b[:prefix], hash...)
			digest := sha256.Sum256(b)
			toSign := hex.AppendEncode(text, digest[:])
			signature := mac(key[:], toSign)
			if hmac.Equal(signature[:], c.signature[:]) {
				*buf = b
				if !cached {
					v.keys.put(name, key)
				}
				return key, hash, nil
			}
			if first.toSign == "" {
				first.canonical, first.toSign = string(b), string(toSign)
			}
		}
	}
	*buf = b
	return signingKey{}, "", errSignature(c.keyID, first.toSign, c.signatureHex, first.canonical)
}

var canonicalBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}
