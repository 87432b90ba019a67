package s3api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/iam"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// request is one request under way. It belongs to one goroutine.
type request struct {
	s   *Server
	r   *http.Request
	w   *response
	ctx context.Context

	id, hostID  string
	op          string
	bucket, key string // key is empty for a bucket's own operations
	virtualHost bool

	query  url.Values
	header http.Header // of the request, and what a presigned query has for headers
	auth   *sigv4.Result
	caller objstore.Caller
	// principal is who asks. bounded: policies were asked whether they may. onlyNew:
	// they forbid them to replace an object.
	principal        *iam.Principal
	bounded, onlyNew bool
	seen             map[objectName][]objstore.Tag // by the policies that were asked; see existingTags
	sts              bool                          // it is for STS, whose answers look otherwise
	peeked           []byte                        // of the body, for policies; nil: nothing
	reserved         int64                         // of maxDocumentsBytes
	body             body

	// keys are those of customers that the request came with, its source's and its
	// own, and moreKeys what they were when a copy was tried again. All are wiped at
	// the end.
	keys       [2]secret.Key
	usedKeys   int
	moreKeys   []*secret.Key
	sseContext string // encryption context of a write, as it was sent
	code       string // S3's code of the error that was answered

	// values are those of the first headers of the answer: one piece of memory
	// for all of them.
	values [16]string
	used   int
}

// set sets a header of the answer. name is as it is sent.
func (q *request) set(name, value string) {
	if q.used == len(q.values) {
		q.w.Header()[name] = []string{value}
		return
	}
	v := q.values[q.used : q.used+1 : q.used+1]
	q.used++
	v[0] = value
	q.w.Header()[name] = v
}

// close ends the request: what it borrowed is given back, keys are wiped.
func (q *request) close() {
	q.s.documents.Add(-q.reserved)
	for i := range q.keys {
		q.keys[i].Wipe()
	}
	for _, k := range q.moreKeys {
		k.Wipe()
	}
}

// authenticate verifies the signature and takes the body.
func (q *request) authenticate() error {
	auth, err := q.s.verifier.Verify(q.r)
	if err != nil {
		return err
	}
	q.auth = auth
	q.header = q.r.Header
	if len(auth.QueryHeaders) > 0 {
		q.header = q.r.Header.Clone()
		for name, values := range auth.QueryHeaders {
			name = http.CanonicalHeaderKey(name)
			_, ok := q.header[name]
			// Whoever has the URL may send other conditions with it, unsigned.
			if !ok || !slices.Contains(auth.SignedHeaders, strings.ToLower(name)) {
				q.header[name] = values
			}
		}
	}
	q.body.init(q.w, auth.Body)
	return q.identify()
}

// checkOwner compares x-amz-expected-bucket-owner, by which a client makes sure
// that it has not reached somebody else's bucket.
func (q *request) checkOwner() error {
	for _, name := range [...]string{"X-Amz-Expected-Bucket-Owner", "X-Amz-Source-Expected-Bucket-Owner"} {
		owner, ok := q.single(name)
		if !ok {
			continue
		}
		if !validAccountID(owner) {
			return newError(http.StatusBadRequest, "InvalidBucketOwnerAWSAccountID",
				"The value of the expected bucket owner parameter must be an AWS Account ID... ["+owner+"]")
		}
		if owner != objstore.AccountID {
			return errAccessDenied("Access Denied")
		}
	}
	return nil
}

func validAccountID(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// get is the value of a header, or empty. name is in canonical form.
func (q *request) get(name string) string {
	if v := q.header[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// single is get that tells an empty header from none.
func (q *request) single(name string) (value string, ok bool) {
	v, ok := q.header[name]
	if !ok || len(v) == 0 {
		return "", false
	}
	return v[0], true
}

// param is a query parameter that tells an empty one from none.
func (q *request) param(name string) (value string, ok bool) {
	v, ok := q.query[name]
	if !ok || len(v) == 0 {
		return "", false
	}
	return v[0], true
}

// intParam reads a count between 0 and 2147483647; an empty or absent one is
// def. What is beyond max is max.
func (q *request) intParam(name string, def, max int) (int, error) {
	n, err := q.numberParam(name, def)
	if err != nil {
		return 0, err
	}
	if n < 0 {
		return 0, errInvalidArgument("Argument "+name+" must be an integer between 0 and 2147483647", name, q.query.Get(name))
	}
	return min(n, max), nil
}

// numberParam is intParam for any number of 32 bits.
func (q *request) numberParam(name string, def int) (int, error) {
	v, ok := q.param(name)
	if !ok || v == "" {
		return def, nil
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || v[0] == '+' {
		return 0, errInvalidArgument("Provided "+name+" not an integer or within integer range", name, v)
	}
	return int(n), nil
}

// encodingURL reads encoding-type.
func (q *request) encodingURL() (bool, error) {
	v, ok := q.param("encoding-type")
	if !ok {
		return false, nil
	}
	if v != "url" {
		return false, errInvalidArgument("Invalid Encoding Method specified in Request", "encoding-type", v)
	}
	return true, nil
}

// settle is what a write waits for before it is acknowledged: that the mounts
// were told. The write itself is done and durable; running out of time only
// means that a mount shows it a moment later.
func (q *request) settle() {
	if !q.s.store.WatchersBehind() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.ctx), q.s.o.CoherenceWait)
	defer cancel()
	if err := q.s.store.WaitWatchers(ctx); err != nil {
		q.s.log.Warn("a mount was slow to drop what it cached", "request_id", q.id, "bucket", q.bucket, "key", q.key)
	}
}

// location is the URL of the object, for CompleteMultipartUpload.
func (q *request) location() string {
	scheme := "https://"
	if q.r.TLS == nil {
		scheme = "http://"
	}
	var b strings.Builder
	b.WriteString(scheme)
	b.WriteString(q.r.Host)
	b.WriteByte('/')
	if !q.virtualHost {
		b.WriteString(q.bucket)
		b.WriteByte('/')
	}
	b.WriteString(encodePath(q.key))
	return b.String()
}

// encodePath percent-encodes all but unreserved characters and slashes.
func encodePath(s string) string {
	const hexDigits = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~/", c) >= 0 {
			b = append(b, c)
			continue
		}
		b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
	}
	return string(b)
}
