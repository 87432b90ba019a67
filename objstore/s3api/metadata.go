package s3api

import (
	"encoding/base64"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cofferfs/coffer/objstore"
)

const (
	defaultContentType = "binary/octet-stream"
	metaPrefix         = "x-amz-meta-"
	standardClass      = "STANDARD" // the storage class of what was stored without one
)

// storageClasses are those that S3 takes for objects of a general purpose
// bucket. Here they are names, but for restore.go: all objects are stored alike.
var storageClasses = []string{standardClass, "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR"}

// objectMeta reads the headers that are stored with an object.
func (q *request) objectMeta() (objstore.ObjectMeta, error) {
	m := objstore.ObjectMeta{
		ContentType:        q.get("Content-Type"),
		CacheControl:       q.get("Cache-Control"),
		ContentDisposition: q.get("Content-Disposition"),
		ContentEncoding:    contentEncoding(q.header["Content-Encoding"]),
		ContentLanguage:    q.get("Content-Language"),
		Expires:            q.get("Expires"),
	}
	if m.ContentType == "" {
		m.ContentType = defaultContentType
	}
	var err error
	if m.StorageClass, err = q.storageClass(); err != nil {
		return m, err
	}
	if m.WebsiteRedirect, err = q.websiteRedirect(); err != nil {
		return m, err
	}
	m.User, err = userMetadata(q.header)
	return m, err
}

// classOf is the storage class of an object, an upload or a version, of which stored was
// kept.
func classOf(stored string) string {
	if stored == "" {
		return standardClass
	}
	return stored
}

func (q *request) storageClass() (string, error) {
	c := q.get("X-Amz-Storage-Class")
	if c == "" || slices.Contains(storageClasses, c) {
		return c, nil
	}
	return "", newError(http.StatusBadRequest, "InvalidStorageClass", "The storage class you specified is not valid",
		field("StorageClassRequested", c))
}

func (q *request) websiteRedirect() (string, error) {
	v := q.get("X-Amz-Website-Redirect-Location")
	if v == "" || strings.HasPrefix(v, "/") || strings.HasPrefix(v, "http://") || strings.HasPrefix(v, "https://") {
		return v, nil
	}
	return "", newError(http.StatusBadRequest, "InvalidRedirectLocation",
		"The website redirect location must have a prefix of 'http://' or 'https://' or '/'.")
}

// contentEncoding is Content-Encoding without aws-chunked, which belongs to the
// request and not to the object.
func contentEncoding(values []string) string {
	var kept []string // as they were sent, spaces and all
	for c := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if name := strings.Trim(c, " \t"); name != "" && !strings.EqualFold(name, "aws-chunked") {
			kept = append(kept, c)
		}
	}
	return strings.Trim(strings.Join(kept, ","), " \t")
}

// userMetadata reads the x-amz-meta-* headers. Values are text: what arrives
// encoded as RFC 2047 says is decoded, and encoded again when it is given back.
func userMetadata(h http.Header) (map[string]string, error) {
	var m map[string]string
	size := 0
	for name, values := range h {
		if len(name) <= len(metaPrefix) || !strings.EqualFold(name[:len(metaPrefix)], metaPrefix) {
			continue
		}
		key := strings.ToLower(name[len(metaPrefix):])
		value := decodeMeta(strings.Join(values, ","))
		if size += len(key) + len(value); size > objstore.MaxUserMetadata {
			return nil, newError(http.StatusBadRequest, "MetadataTooLarge",
				"Your metadata headers exceed the maximum allowed metadata size",
				field("Size", strconv.Itoa(size)), field("MaxSizeAllowed", strconv.Itoa(objstore.MaxUserMetadata)))
		}
		if m == nil {
			m = map[string]string{}
		}
		m[key] = value
	}
	return m, nil
}

// decodeMeta decodes RFC 2047 encoded words, and makes UTF-8 of the rest.
func decodeMeta(s string) string {
	if strings.Contains(s, "=?") {
		d := mime.WordDecoder{}
		if text, err := d.DecodeHeader(s); err == nil {
			s = text
		}
	}
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r) // one U+FFFD for each bad byte, as AWS has it
	}
	return b.String()
}

// encodeMeta is the header value for text: itself if it is printable ASCII,
// otherwise one RFC 2047 word, in Q unless more of it is not ASCII than is.
func encodeMeta(s string) string {
	other, total := 0, 0
	for _, r := range s {
		total++
		if r >= 0x7f || r < ' ' && r != '\t' {
			other++
		}
	}
	if other == 0 {
		return s
	}
	if total-other <= other {
		return "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
	}
	const hexDigits = "0123456789ABCDEF"
	b := []byte("=?UTF-8?Q?")
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ' ':
			b = append(b, '_')
		case c < ' ' || c >= 0x7f || c == '=' || c == '?' || c == '_':
			b = append(b, '=', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return string(append(b, "?="...))
}

// setObjectHeaders writes what describes an object, but for its length.
func (q *request) setObjectHeaders(info *objstore.ObjectInfo) {
	set := func(name, value string) {
		if value != "" {
			q.set(name, value)
		}
	}
	m := &info.Meta
	contentType := m.ContentType
	if contentType == "" {
		contentType = defaultContentType
	}
	set("Content-Type", contentType)
	set("Cache-Control", m.CacheControl)
	set("Content-Disposition", m.ContentDisposition)
	set("Content-Encoding", m.ContentEncoding)
	set("Content-Language", m.ContentLanguage)
	set("Expires", m.Expires)
	set("x-amz-website-redirect-location", m.WebsiteRedirect)
	if m.StorageClass != standardClass {
		set("x-amz-storage-class", m.StorageClass)
	}
	for k, v := range m.User {
		if validToken(k) {
			q.set(metaPrefix+k, encodeMeta(v))
		}
	}
	set("ETag", quoteETag(info.ETag))
	set("Last-Modified", info.LastModified.Std().Format(http.TimeFormat))
	set("Accept-Ranges", "bytes")
	if info.Tags > 0 {
		q.set("x-amz-tagging-count", strconv.Itoa(info.Tags))
	}
	if info.Restored != 0 {
		q.set("x-amz-restore", restoreHeader(info.Restored))
	}
	q.setVersion(info.Version)
	q.setLock(info.Lock)
	q.setSSE(info.SSE)
}

// validToken says whether s can be in the name of a header: a mount can give an
// attribute any name.
func validToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// overrides are the response-* parameters and the headers that they set.
var overrides = [...][2]string{
	{"response-content-type", "Content-Type"},
	{"response-content-language", "Content-Language"},
	{"response-expires", "Expires"},
	{"response-cache-control", "Cache-Control"},
	{"response-content-disposition", "Content-Disposition"},
	{"response-content-encoding", "Content-Encoding"},
}

// parseOverrides reads the response-* parameters into headers to be set.
func (q *request) parseOverrides() (http.Header, error) {
	for name, values := range q.query {
		if strings.HasPrefix(name, "response-") && !slices.ContainsFunc(overrides[:], func(o [2]string) bool { return o[0] == name }) {
			return nil, errInvalidArgument(name+" is not in the set of overridable response headers. Please refer to the S3 API documentation for a complete list of overridable response headers.",
				name, values[0])
		}
	}
	var h http.Header
	for _, o := range overrides {
		v, ok := q.param(o[0])
		if !ok || v == "" {
			continue
		}
		if q.auth.Anonymous {
			return nil, errInvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
		}
		latin, ok := latin1(v)
		if !ok {
			return nil, errInvalidArgument("Header value cannot be represented using ISO-8859-1.", o[0], v)
		}
		if h == nil {
			h = http.Header{}
		}
		h[o[1]] = []string{latin}
	}
	return h, nil
}

// latin1 encodes s for a header. Line ends would begin another header.
func latin1(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff || r < ' ' && r != '\t' || r == 0x7f {
			return "", false
		}
		b = append(b, byte(r))
	}
	return string(b), true
}

// refuseUnbuilt refuses headers of a write that would change what the object is
// or who may read it, and that are not built: to take and ignore them would be
// a lie.
func (q *request) refuseUnbuilt() error {
	if _, ok := q.single(writeOffsetHeader); ok && q.op != "PutObject" {
		return errHeader(strings.ToLower(writeOffsetHeader))
	}
	return q.checkObjectACL()
}
