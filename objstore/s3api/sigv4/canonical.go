package sigv4

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// param is one parameter of a query, decoded.
type param struct{ name, value string }

// maxQuery bounds a query, in bytes as sent. A key or marker of 1,024 bytes has
// 3,072 at most.
const maxQuery = 32 << 10

// parseQuery decodes a query as net/url does, for whoever acts on the request
// sees it through net/url: what is signed and what is done must be the same.
// What net/url would drop (a raw semicolon, a bad escape) is refused.
func parseQuery(raw string) ([]param, bool) {
	if raw == "" {
		return nil, true
	}
	if len(raw) > maxQuery {
		return nil, false
	}
	params := make([]param, 0, strings.Count(raw, "&")+1)
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		if strings.Contains(pair, ";") {
			return nil, false
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return nil, false
		}
		value, err = url.QueryUnescape(value)
		if err != nil {
			return nil, false
		}
		params = append(params, param{name, value})
	}
	return params, true
}

const upperHex = "0123456789ABCDEF"

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~'
}

// appendEncoded is AWS's UriEncode: everything but RFC 3986's unreserved
// characters as %XX in upper case; slashes stay in a path.
func appendEncoded(b []byte, s string, path bool) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if unreserved(c) || path && c == '/' {
			b = append(b, c)
			continue
		}
		b = append(b, '%', upperHex[c>>4], upperHex[c&15])
	}
	return b
}

func encode(s string) string {
	for i := 0; i < len(s); i++ {
		if !unreserved(s[i]) {
			return string(appendEncoded(make([]byte, 0, len(s)+16), s, false))
		}
	}
	return s
}

// appendCanonicalPath adds the path decoded and encoded again once, and not
// normalised: to S3, "." and ".." and empty components are parts of the key.
func appendCanonicalPath(b []byte, u *url.URL) []byte {
	if u.Path == "" {
		return append(b, '/')
	}
	return appendEncoded(b, u.Path, true)
}

// canonicalQuery sorts by encoded name, then encoded value. The signature of a
// presigned request is not part of it.
func canonicalQuery(query []param, presigned bool) string {
	if len(query) == 0 {
		return ""
	}
	enc := make([]param, 0, len(query))
	size := 0
	for _, p := range query {
		if presigned && p.name == "X-Amz-Signature" {
			continue
		}
		e := param{encode(p.name), encode(p.value)}
		size += len(e.name) + len(e.value) + 2
		enc = append(enc, e)
	}
	slices.SortFunc(enc, func(a, b param) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.value, b.value))
	})
	b := make([]byte, 0, size)
	for i, p := range enc {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p.name...)
		b = append(b, '=')
		b = append(b, p.value...)
	}
	return string(b)
}

// appendCanonicalHeaders adds a line for each signed header. One that a
// presigned request lacks is taken from its query, if it is there: some signers
// list the headers that they moved.
func appendCanonicalHeaders(b []byte, r *http.Request, c *claim, query []param) []byte {
	for _, name := range c.signed {
		b = append(b, name...)
		b = append(b, ':')
		if moved, ok := movedHeader(r, c, query, name); ok {
			b = appendTrimmed(b, moved)
		} else {
			b = appendHeader(b, r, name)
		}
		b = append(b, '\n')
	}
	return b
}

func movedHeader(r *http.Request, c *claim, query []param, name string) (string, bool) {
	if !c.presigned || !strings.HasPrefix(name, "x-amz-") || len(r.Header[canonicalName(name)]) > 0 {
		return "", false
	}
	return inQuery(query, name)
}

// appendHeader adds a header's values, also of those that net/http takes out of
// the map.
func appendHeader(b []byte, r *http.Request, name string) []byte {
	if name == "host" {
		return appendTrimmed(b, r.Host)
	}
	values := r.Header[canonicalName(name)]
	if len(values) == 0 {
		switch name {
		case "content-length":
			if r.ContentLength >= 0 {
				return strconv.AppendInt(b, r.ContentLength, 10)
			}
		case "transfer-encoding":
			values = r.TransferEncoding
		case "expect":
			// HTTP/2 consumes it, and knows no other value.
			return append(b, "100-continue"...)
		}
	}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendTrimmed(b, v)
	}
	return b
}

// names are the canonical forms of headers that most requests sign and that
// net/http would make anew each time.
var names = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"amz-sdk-invocation-id", "amz-sdk-request", "x-amz-acl", "x-amz-checksum-crc32", "x-amz-checksum-crc32c",
		"x-amz-checksum-crc64nvme", "x-amz-checksum-mode", "x-amz-checksum-sha1", "x-amz-checksum-sha256", "x-amz-content-sha256",
		"x-amz-copy-source", "x-amz-date", "x-amz-decoded-content-length", "x-amz-sdk-checksum-algorithm", "x-amz-server-side-encryption",
		"x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-customer-algorithm",
		"x-amz-server-side-encryption-customer-key", "x-amz-server-side-encryption-customer-key-md5", "x-amz-storage-class", "x-amz-trailer",
	} {
		m[name] = http.CanonicalHeaderKey(name)
	}
	return m
}()

// lowerNames are the names again, by their canonical forms.
var lowerNames = func() map[string]string {
	m := make(map[string]string, len(names))
	for lower, name := range names {
		m[name] = lower
	}
	return m
}()

// canonicalName is http.CanonicalHeaderKey.
func canonicalName(name string) string {
	if c, ok := names[name]; ok {
		return c
	}
	return http.CanonicalHeaderKey(name)
}

// appendTrimmed drops white space at both ends and makes runs of spaces one.
func appendTrimmed(b []byte, v string) []byte {
	if v == "" {
		return b
	}
	if v[0] <= ' ' || v[len(v)-1] <= ' ' {
		v = strings.Trim(v, " \t\r\n\v\f")
	}
	for {
		i := strings.Index(v, "  ")
		if i < 0 {
			return append(b, v...)
		}
		b = append(b, v[:i+1]...)
		for v = v[i:]; v[0] == ' '; v = v[1:] { // v does not end with one
		}
	}
}
