package s3api

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// isForm says whether the request is a POST form, whose signature is in its
// body.
func (q *request) isForm() bool {
	if q.r.Method != http.MethodPost || q.bucket == "" || q.key != "" || q.r.Header.Get("Authorization") != "" {
		return false
	}
	for param := range q.query {
		if bucketSubresources[param] || sigv4.InQuery(param) {
			return false
		}
	}
	return true
}

// postForm takes an object from a browser's form ("POST Object" in the S3 API
// reference). It reads the fields, which stand before the file, finds out who
// signed their policy, holds them to it, and stores the file as it comes.
func (q *request) postForm() error {
	q.op = "PostObject"
	q.auth = sigv4.Unsigned(q.r)
	q.body.init(q.w, q.auth.Body)
	f, err := q.readForm()
	if err != nil {
		return err
	}
	if err := q.s.verifier.VerifyForm(q.ctx, f.signature(), q.auth); err != nil {
		return err
	}
	q.header = f.header()
	if err := q.identify(); err != nil {
		return err
	}
	file := &formFile{src: f.file, body: &q.body, max: maxPutSize}
	if !q.auth.Anonymous {
		policy, err := parsePostPolicy(f.values["policy"])
		if err != nil {
			return err
		}
		if err := policy.check(f, q.bucket, q.s.o.Now()); err != nil {
			return err
		}
		file.min = policy.min
		if policy.max >= 0 {
			file.max = min(file.max, policy.max)
		}
	}
	q.key = f.values["key"]
	if err := q.checkTarget(route{name: q.op}); err != nil {
		return err
	}
	if err := q.checkOwner(); err != nil {
		return err
	}
	if err := f.tagging(q.header); err != nil {
		return err
	}
	if err := q.authorize(q.op); err != nil {
		return err
	}
	// What is longer than this for certain need not be read to find out.
	if n := q.r.ContentLength; n > file.max+maxFormBytes {
		return errTooLarge(n, file.max)
	}
	info, err := q.storeObject(file, -1)
	if errors.Is(err, errOtherTags) {
		err = q.askAgain(q.op)
	}
	if err != nil {
		return err
	}
	q.setStored(&info)
	return q.sendPosted(f, &info)
}

// refuseForm answers a POST to a bucket that is signed as other requests are.
func (q *request) refuseForm() error {
	if err := checkEnclosure(q.r); err != nil {
		return err
	}
	return errInvalidArgument("Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
		"Authorization", "")
}

// sendPosted answers as the form wants to be answered.
func (q *request) sendPosted(f *form, info *objstore.ObjectInfo) error {
	redirect := f.values["success_action_redirect"]
	if redirect == "" {
		redirect = f.values["redirect"]
	}
	if to := redirectTo(redirect, q.bucket, q.key, info.ETag); to != "" {
		q.set("Location", to)
		return q.send(http.StatusSeeOther)
	}
	location := q.location()
	// Other than elsewhere, S3 encodes the slashes of the key here.
	path := encodePath(q.key)
	location = strings.TrimSuffix(location, path) + strings.ReplaceAll(path, "/", "%2F")
	q.set("Location", location)
	switch f.values["success_action_status"] {
	case "200":
		return q.send(http.StatusOK)
	case "201":
		var x xmlWriter
		x.start()
		x.open("PostResponse")
		x.text("Location", location)
		x.text("Bucket", q.bucket)
		x.text("Key", q.key)
		x.etag(info.ETag)
		x.close("PostResponse")
		return q.sendXML(http.StatusCreated, &x)
	}
	return q.send(http.StatusNoContent)
}

// redirectTo is where success_action_redirect leads, told what was stored, or
// empty for what is no URL: S3 acts then as if it were not there.
func redirectTo(s, bucket, key string, etag objstore.ETag) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	query := "bucket=" + url.QueryEscape(bucket) + "&key=" + url.QueryEscape(key) + "&etag=" + url.QueryEscape(quoteETag(etag))
	if u.RawQuery != "" {
		query = u.RawQuery + "&" + query
	}
	u.RawQuery = query
	return u.String()
}

// signature is what the form says of its signature.
func (f *form) signature() sigv4.Form {
	return sigv4.Form{
		Policy:        f.values["policy"],
		SecurityToken: f.values["x-amz-security-token"],
		Algorithm:     f.values["x-amz-algorithm"],
		Credential:    f.values["x-amz-credential"],
		Date:          f.values["x-amz-date"],
		Signature:     f.values["x-amz-signature"],
		AccessKeyID:   f.values["awsaccesskeyid"],
		SignatureV2:   f.values["signature"],
	}
}

// header is the form as the headers of a PutObject. Only what a form can say is
// in it.
func (f *form) header() http.Header {
	h := http.Header{}
	for _, name := range f.names {
		lower := strings.ToLower(name)
		value := f.values[lower]
		switch {
		case lower == "acl":
			lower = "x-amz-acl"
		case strings.HasPrefix(lower, metaPrefix):
			// Here the text is text: it would be decoded like a header's.
			if strings.Contains(value, "=?") {
				value = "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(value)) + "?="
			}
		case formHeader(lower):
		default:
			switch lower {
			case "cache-control", "content-type", "content-disposition", "content-encoding", "content-language", "content-md5", "expires":
				value = latin1Only(value)
			default:
				continue
			}
		}
		h[http.CanonicalHeaderKey(lower)] = []string{value}
	}
	return h
}

// formHeader says whether a form has a field for a header that begins with
// x-amz-. Those of other operations are not among them, nor are those that are
// written otherwise in a form.
func formHeader(lower string) bool {
	switch lower {
	case "x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-expected-bucket-owner", "x-amz-request-payer",
		"x-amz-sdk-checksum-algorithm":
		return true
	}
	for _, prefix := range [...]string{"x-amz-server-side-encryption", "x-amz-checksum-", "x-amz-object-lock-", "x-amz-grant-"} {
		if strings.HasPrefix(lower, prefix) {
			return true
		}
	}
	return false
}

// latin1Only makes of text what a header can carry: what is not in ISO-8859-1,
// or would end the header, becomes a space, as AWS has it.
func latin1Only(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff || r < ' ' && r != '\t' || r == 0x7f {
			r = ' '
		}
		b = append(b, byte(r))
	}
	return string(b)
}

// taggingDocument is the tagging field.
type taggingDocument struct {
	TagSet struct {
		Tag []struct {
			Key, Value string
			Other      []unknown `xml:",any"`
		}
		Other []unknown `xml:",any"`
	}
}

// tagging reads the tags of a form, a document, into the header that a
// PutObject has for them. AWS takes a document of another name for one without
// tags.
func (f *form) tagging(h http.Header) error {
	text, ok := f.values["tagging"]
	if !ok {
		return nil
	}
	root := "Tagging"
	if name, ok := rootElement(text); ok && name != root {
		root = name
	}
	var doc taggingDocument
	var err error
	if root == "Tagging" {
		err = decodeXML(strings.NewReader(text), root, &doc)
	} else {
		err = decodeXML(strings.NewReader(text), root, &struct{}{})
	}
	if err != nil {
		return err
	}
	if len(doc.TagSet.Tag) == 0 {
		return nil
	}
	pairs := make([]string, len(doc.TagSet.Tag))
	for i, t := range doc.TagSet.Tag {
		pairs[i] = url.QueryEscape(t.Key) + "=" + url.QueryEscape(t.Value)
	}
	h["X-Amz-Tagging"] = []string{strings.Join(pairs, "&")}
	return nil
}

func errTooLarge(size, max int64) *apiError {
	return newError(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size",
		field("ProposedSize", strconv.FormatInt(size, 10)), field("MaxSizeAllowed", strconv.FormatInt(max, 10)))
}

// formFile is the file of a form, of a length between min and max.
type formFile struct {
	src      io.Reader
	body     *body
	min, max int64
	n        int64
	err      error // sticky
}

func (f *formFile) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.src.Read(p)
	f.n += int64(n)
	switch {
	case f.n > f.max:
		// S3 tells how long the file is. What is much too long was refused by the
		// length of the form.
		rest, _ := io.Copy(io.Discard, io.LimitReader(f.src, maxFormBytes))
		f.err = errTooLarge(f.n+rest, f.max)
		return 0, f.err
	case err == io.EOF && f.n < f.min:
		f.err = newError(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size",
			field("ProposedSize", strconv.FormatInt(f.n, 10)), field("MinSizeAllowed", strconv.FormatInt(f.min, 10)))
		return 0, f.err
	case err == io.EOF:
		f.err = err
		// Nothing behind the file counts, and nothing more is waited for.
		f.body.rest()
	case err != nil:
		f.err = malformedForm(err)
		err = f.err
	}
	return n, err
}
