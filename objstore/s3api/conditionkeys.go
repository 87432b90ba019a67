package s3api

import (
	"bytes"
	"crypto/tls"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// conditionKeys are the condition keys of policies that a request has, for one
// of the objects or buckets that it is about. They are of the request as it was
// sent: a header whose value S3 would refuse is here all the same, and a default
// that would take the place of one that is missing is not.
type conditionKeys struct {
	q                    *request
	bucket, key, version string
	// missing is the key whose absence a listing would tell; empty: the request
	// is asked about.
	missing string
}

// values finds the values of a key in lower case; ok is false if the request has
// none.
func (c *conditionKeys) values(key string) (values []string, ok bool) {
	q := c.q
	one := func(v string) ([]string, bool) { return []string{v}, true }
	some := func(v string) ([]string, bool) { return []string{v}, v != "" }
	switch key {
	case "aws:username":
		return some(q.principal.UserName())
	case "aws:userid":
		return one(q.principal.UserID())
	case "aws:principalarn":
		return some(q.principal.ARN())
	case "aws:principalaccount":
		if q.principal.Anonymous() {
			return nil, false
		}
		return one(objstore.AccountID)
	case "aws:principaltype":
		return one(q.principalType())
	case "aws:resourceaccount", "s3:resourceaccount":
		return one(objstore.AccountID)
	case "aws:requestedregion":
		return one(q.s.o.Region)
	case "aws:securetransport":
		return one(strconv.FormatBool(q.r.TLS != nil))
	case "aws:sourceip":
		host, _, err := net.SplitHostPort(q.r.RemoteAddr)
		return []string{host}, err == nil
	case "aws:useragent":
		return q.headerValue("User-Agent")
	case "aws:referer":
		return q.headerValue("Referer")
	case "aws:currenttime":
		return one(q.s.o.Now().UTC().Format("2006-01-02T15:04:05Z"))
	case "aws:epochtime":
		return one(strconv.FormatInt(q.s.o.Now().Unix(), 10))
	case "aws:tokenissuetime":
		begun, ok := q.principal.Session()
		return []string{begun.Format("2006-01-02T15:04:05Z")}, ok
	case "aws:multifactorauthpresent": // there are no devices; who signs with keys of their own has no such key
		_, ok := q.principal.Session()
		return []string{"false"}, ok
	case "aws:viaawsservice", "aws:principalisawsservice":
		return one("false")
	case "s3:authtype":
		return some(q.authType())
	case "s3:signatureversion":
		return some(q.signatureVersion())
	case "s3:x-amz-content-sha256":
		if q.auth.Anonymous {
			return q.headerValue("X-Amz-Content-Sha256")
		}
		return one(q.auth.Payload)
	case "s3:signatureage":
		switch {
		case q.auth.Anonymous:
			return nil, false
		case q.auth.Time.IsZero():
			return one("0") // version 2 says nothing of it, and S3 this
		}
		return one(strconv.FormatInt(q.s.o.Now().Sub(q.auth.Time).Milliseconds(), 10))
	case "s3:tlsversion":
		return some(tlsVersion(q.r.TLS))
	case "s3:versionid":
		return some(c.version)
	case "s3:prefix", "s3:delimiter", "s3:max-keys":
		if c.missing != "" {
			return []string{c.missing}, key == "s3:prefix"
		}
		v, ok := q.param(key[len("s3:"):])
		return []string{v}, ok
	case "s3:if-match", "s3:if-none-match":
		return q.headerValue(http.CanonicalHeaderKey(key[len("s3:"):]))
	case "s3:x-amz-copy-source":
		return q.copySourceValue()
	case "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id":
		return q.chosenEncryption(http.CanonicalHeaderKey(key[len("s3:"):]))
	case "s3:objectcreationoperation":
		return one(strconv.FormatBool(q.creates(q.op)))
	case "s3:object-lock-mode":
		return some(q.lockAsked().mode)
	case "s3:object-lock-legal-hold":
		return some(q.lockAsked().hold)
	case "s3:object-lock-retain-until-date":
		return some(q.lockAsked().until)
	case "s3:object-lock-remaining-retention-days":
		return q.retentionDays()
	case "s3:locationconstraint":
		var doc struct{ LocationConstraint string }
		if q.op != "CreateBucket" || !q.peekXML("CreateBucketConfiguration", &doc) {
			return nil, false
		}
		return some(doc.LocationConstraint)
	case "s3:requestobjecttagkeys":
		return tagKeys(q.requestTags())
	case "aws:tagkeys":
		return tagKeys(q.bucketTags())
	}
	if name, ok := strings.CutPrefix(key, "aws:requesttag/"); ok {
		return tagValue(q.bucketTags(), name)
	}
	if name, ok := strings.CutPrefix(key, "s3:requestobjecttag/"); ok {
		return tagValue(q.requestTags(), name)
	}
	if name, ok := strings.CutPrefix(key, "s3:existingobjecttag/"); ok {
		return tagValue(c.existingTags(), name)
	}
	// The key of a customer is nobody's business.
	if header, ok := strings.CutPrefix(key, "s3:x-amz-"); ok && !strings.HasSuffix(header, "customer-key") {
		return q.headerValue(http.CanonicalHeaderKey("x-amz-" + header))
	}
	return nil, false
}

func (q *request) headerValue(name string) ([]string, bool) {
	v, ok := q.single(name)
	return []string{v}, ok
}

// chosenEncryption is what a header says that chooses an encryption. Parts and
// completions have none: what counts is what their upload was begun with, or a bucket
// that asks for encryption would take nothing in parts.
func (q *request) chosenEncryption(header string) ([]string, bool) {
	if q.op != "UploadPart" && q.op != "CompleteMultipartUpload" {
		return q.headerValue(header)
	}
	up, err := q.upload(objstore.UploadID(q.query.Get("uploadId")))
	switch {
	case err != nil: // the handler says so, to whom the policies let
		return nil, false
	case header == sseKeyIDHeader:
		return []string{up.Asked.KMSKeyID}, up.Asked.KMSKeyID != ""
	case up.Asked.Mode == objstore.SSENone, up.Asked.Mode == objstore.SSEC:
		return nil, false
	}
	return []string{sseName(up.Asked.Mode)}, true
}

// copySourceValue is bucket and key that a copy is made from, however the header
// writes them and whatever version it names: who denies a source means that. A
// header that cannot be read is as it was sent.
func (q *request) copySourceValue() ([]string, bool) {
	if src, err := q.copySource(); err == nil {
		return []string{src.bucket + "/" + src.key}, true
	}
	return q.headerValue("X-Amz-Copy-Source")
}

func (q *request) principalType() string {
	switch {
	case q.principal.Anonymous():
		return "Anonymous"
	case q.principal.SessionARN() != q.principal.ARN():
		return "AssumedRole"
	case q.principal.Root():
		return "Account"
	}
	return "User"
}

func (q *request) authType() string {
	switch {
	case q.auth.Anonymous:
		return ""
	case q.op == "PostObject":
		return "POST"
	case q.auth.Presigned:
		return "REST-QUERY-STRING"
	}
	return "REST-HEADER"
}

func (q *request) signatureVersion() string {
	switch {
	case q.auth.Anonymous:
		return ""
	case q.signedBy4():
		return "AWS4-HMAC-SHA256"
	}
	return "AWS"
}

// signedBy4 reports whether somebody signed by version 4: version 2 tells no time.
func (q *request) signedBy4() bool { return !q.auth.Anonymous && !q.auth.Time.IsZero() }

func tlsVersion(s *tls.ConnectionState) string {
	if s == nil {
		return ""
	}
	return strings.TrimPrefix(tls.VersionName(s.Version), "TLS ")
}

// lockAsked is what the request asks of Object Lock: in headers beside an object,
// in its document otherwise. What it does not ask for is empty.
func (q *request) lockAsked() (asked struct{ mode, until, hold string }) {
	switch q.op {
	case "PutObjectRetention":
		var doc struct{ Mode, RetainUntilDate string }
		if q.peekXML("Retention", &doc) {
			asked.mode, asked.until = doc.Mode, doc.RetainUntilDate
		}
	case "PutObjectLegalHold":
		var doc struct{ Status string }
		if q.peekXML("LegalHold", &doc) {
			asked.hold = doc.Status
		}
	default:
		asked.mode, asked.until = q.get("X-Amz-Object-Lock-Mode"), q.get("X-Amz-Object-Lock-Retain-Until-Date")
		asked.hold = q.get("X-Amz-Object-Lock-Legal-Hold")
	}
	asked.until = strings.TrimSpace(asked.until) // as the handlers have it
	return asked
}

// retentionDays are the days of retention that the request asks for, a day that
// has begun counted.
func (q *request) retentionDays() ([]string, bool) {
	t, ok := parseLockTime(q.lockAsked().until)
	if !ok {
		return nil, false
	}
	days := math.Ceil(t.Std().Sub(q.s.o.Now()).Hours() / 24)
	return []string{strconv.Itoa(int(max(days, 0)))}, true
}

// peekXML reads the document in the body ahead, within the bounds that it is read
// in later: nobody has been allowed anything yet.
func (q *request) peekXML(root string, v any) bool {
	return decodeXML(bytes.NewReader(q.peek()), root, v) == nil
}

// peek reads the document in the body ahead; who reads the body then still gets
// all of it.
func (q *request) peek() []byte {
	if q.peeked == nil {
		text, err := io.ReadAll(io.LimitReader(&q.body, maxConfigBytes))
		q.peeked = append(text, 0)[:len(text)] // not nil
		rest := io.Reader(q.auth.Body)
		if err != nil {
			rest = failedReader{err}
		}
		q.rewind(rest)
	}
	return q.peeked
}

// rewind has the body begin anew with what was read ahead, and go on with rest.
func (q *request) rewind(rest io.Reader) {
	q.body.src = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(q.peeked), rest), q.auth.Body}
	q.body.n, q.body.end = 0, false
}

type failedReader struct{ err error }

func (r failedReader) Read([]byte) (int, error) { return 0, r.err }
