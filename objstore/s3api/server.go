package s3api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/iam"
	"github.com/cofferfs/coffer/objstore/lifecycle"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// Options are what a Server is made of. Store, IAM and Credentials must be set.
type Options struct {
	Store *engine.Store
	// IAM knows who may do what in Store.
	IAM *iam.Service
	// Credentials finds the secret of an access key id of the store itself, whose
	// holder may do everything; sigv4.ErrUnknownKey (wrapped) when it is not one.
	// Those of users are IAM's. The secret is lent.
	Credentials func(ctx context.Context, accessKeyID string) (secret []byte, err error)
	// Region that requests are signed for and that buckets are in. Empty:
	// us-east-1.
	Region string
	// Domains are the base names of virtual-host style requests, without port:
	// with "localhost", the host "photos.localhost" means the bucket photos.
	Domains []string
	// CoherenceWait bounds how long a write waits for the mounts to have
	// dropped what they cached. 0: 2 s.
	CoherenceWait time.Duration
	// StallTimeout is how long a client may take for 32 KiB of a body, in either
	// direction, before its connection is closed: then, or up to a quarter later.
	// 0: 1 min.
	StallTimeout time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Logger takes one event per request; nil: none.
	Logger *slog.Logger
	// Panicked is called after a request panicked and was logged; it returns at
	// once. nil: nothing.
	Panicked func()
}

// ownerID is the canonical user id of objstore.AccountID, the owner of everything in
// listings and ACLs: made up, and the same in every store.
const ownerID = "8c57a1a7b1b1f6a1b0a95d2f5c4f0b8a7d2d7ee4a5b9a9a4b5a6d1b3f8c0e2d4"

// Server is the S3 door, an http.Handler. It may be used by many goroutines.
type Server struct {
	o        Options
	store    *engine.Store
	iam      *iam.Service
	verifier *sigv4.Verifier
	// stsVerifier is that of STS, whose requests are signed for another service
	// and, by some clients, for another region.
	stsVerifier *sigv4.Verifier
	log         *slog.Logger
	cors        parsed[corsRules]
	lifecycle   parsed[[]lifecycle.Rule]
	documents   atomic.Int64 // bytes of long documents; see maxDocumentsBytes
}

// New makes a Server. It takes over neither Store nor IAM.
func New(o Options) (*Server, error) {
	if o.Store == nil || o.IAM == nil || o.Credentials == nil {
		return nil, errors.New("s3api: Store, IAM and Credentials must be set")
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.CoherenceWait == 0 {
		o.CoherenceWait = 2 * time.Second
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	domains := make([]string, len(o.Domains))
	for i, d := range o.Domains {
		domains[i] = strings.ToLower(strings.Trim(d, "."))
		if domains[i] == "" {
			return nil, errors.New("s3api: empty domain")
		}
	}
	o.Domains = domains
	s := &Server{o: o, store: o.Store, iam: o.IAM, log: o.Logger}
	s.stsVerifier = &sigv4.Verifier{Service: "sts", Lookup: s.credentials, Session: s.session, Now: o.Now}
	s.verifier = &sigv4.Verifier{Region: o.Region, Lookup: s.credentials, Session: s.session, Now: o.Now}
	s.verifier.Bucket = func(r *http.Request) string { return bucketOfHost(r.Host, domains) }
	return s, nil
}

// HTTPServer returns an http.Server for s, without address, listener or TLS
// configuration. It speaks HTTP/1.1: a body then goes from the engine's buffer
// to the TLS connection with no frame, window or copy in between.
func (s *Server) HTTPServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           s,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// ServeHTTP answers one request. It panics with http.ErrAbortHandler when a
// response that has begun cannot be finished.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	q := &request{
		s:   s,
		r:   r,
		w:   newResponse(w, r, s.o.StallTimeout),
		ctx: r.Context(),
	}
	q.name()
	defer q.close()
	q.set("x-amz-request-id", q.id)
	q.set("x-amz-id-2", q.hostID)
	q.set("Server", "coffer")

	err := q.run()
	abort := false
	if err != nil {
		abort = q.fail(err)
	}
	q.logAccess(start, err)
	if abort || !q.w.finish(q.unread()) {
		panic(http.ErrAbortHandler) // net/http would take what is left of the body for a request
	}
}

// unread is the body as it is sent if that was not read to its end, or nil.
func (q *request) unread() io.Reader {
	if q.r.ContentLength == 0 || q.body.end && !q.auth.Chunked { // the end of an aws-chunked body is not that of the request's
		return nil
	}
	return q.r.Body
}

// name gives the request the ids by which it is found again: 16 hexadecimal
// digits and 32 bytes in base64, all at random.
func (q *request) name() {
	const hexDigits = "0123456789ABCDEF"
	var random [40]byte
	rand.Read(random[:])
	text := make([]byte, 0, 16+44)
	for _, c := range random[:8] {
		text = append(text, hexDigits[c>>4], hexDigits[c&15])
	}
	both := string(base64.StdEncoding.AppendEncode(text, random[8:]))
	q.id, q.hostID = both[:16], both[16:]
}

// run answers the request, or returns why it cannot. A panic of a handler is
// an internal error of this request, not the end of the process.
func (q *request) run() (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default:
			q.s.log.Error("panic in S3 request", "request_id", q.id, "op", q.op, "panic", p, "stack", string(debug.Stack()))
			if q.s.o.Panicked != nil {
				q.s.o.Panicked()
			}
			err = errors.New("s3api: panic")
		}
	}()
	q.parseTarget()
	if q.r.Method == http.MethodOptions {
		q.op = "Preflight"
		return q.preflight()
	}
	if q.isSTS() {
		return q.serveSTS()
	}
	q.answerCORS()
	if q.isForm() {
		return q.hideMissing(q.postForm())
	}
	if err := q.authenticate(); err != nil {
		return err
	}
	route, err := q.route()
	if err != nil {
		return err
	}
	q.op = route.name
	if err := q.checkTarget(route); err != nil {
		return err
	}
	if err := q.checkOwner(); err != nil {
		return err
	}
	if err := q.checkCopyHeader(); err != nil {
		return err
	}
	return q.hideMissing(q.serve(route))
}

// logAccess writes the one event of this request.
func (q *request) logAccess(start time.Time, err error) {
	level := slog.LevelInfo
	if err != nil {
		switch kindOf(err) {
		case objstore.KindInternal, objstore.KindCorrupt, objstore.KindNoSpace:
			level = slog.LevelError
		}
	}
	if !q.s.log.Enabled(q.ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.String("method", q.r.Method),
		slog.String("op", q.op),
		slog.String("bucket", q.bucket),
		slog.String("key", q.key),
		slog.Int("status", q.w.status),
		slog.Int64("bytes_in", q.body.n),
		slog.Int64("bytes_out", q.w.bytes),
		slog.Duration("duration", time.Since(start)),
		slog.String("request_id", q.id),
		slog.String("remote", q.r.RemoteAddr),
	)
	if q.caller.AccessKeyID != "" {
		attrs = append(attrs, slog.String("access_key", q.caller.AccessKeyID))
	}
	if err != nil {
		attrs = append(attrs, slog.String("code", q.code), slog.String("kind", kindOf(err).String()), slog.Any("error", err))
	}
	q.s.log.LogAttrs(q.ctx, level, "s3", attrs...)
}
