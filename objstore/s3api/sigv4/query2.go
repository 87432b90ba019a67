package sigv4

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Presigned URLs of Signature Version 2 ("Signing and Authenticating REST
// Requests", query string request authentication). AWS still takes them, and SDKs
// for Python make them unless they are told otherwise. Nothing else of version 2
// is taken but forms.
//
// What it signs: method, Content-MD5, Content-Type, the time of expiry, x-amz-*
// headers, bucket and key, and of the query what signedIn2 lists. Whoever holds
// such a URL can change the rest, so that a parameter is refused here that would
// make another operation of it (see harmlessIn2).

// signedIn2 are the query parameters that are signed, in the order of their names.
var signedIn2 = []string{
	"accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "inventory", "lifecycle", "location", "logging",
	"metrics", "notification", "object-lock", "partNumber", "policy", "replication", "requestPayment",
	"response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language",
	"response-content-type", "response-expires", "restore", "select", "select-type", "storageClass", "tagging", "torrent",
	"uploadId", "uploads", "versionId", "versioning", "versions", "website",
}

// harmlessIn2 are those that are not: they say what part of a listing is asked
// for, or nothing.
var harmlessIn2 = []string{
	"continuation-token", "delimiter", "encoding-type", "fetch-owner", "key-marker", "list-type", "marker", "max-keys", "max-parts",
	"max-uploads", "part-number-marker", "prefix", "start-after", "upload-id-marker", "version-id-marker", "x-id",
}

var authParams2 = [...]string{"AWSAccessKeyId", "Signature", "Expires"}

// presigned2 verifies a request whose query claims a signature of version 2.
func (v *Verifier) presigned2(r *http.Request, query []param) (*Result, error) {
	auth, refused := authOf2(query)
	if refused != nil {
		return nil, refused
	}
	keyID, signature, expires := auth[0], auth[1], auth[2]
	if len(keyID) > maxKeyID {
		return nil, errInvalidAccessKeyID(keyID[:maxKeyID])
	}
	seconds, err := strconv.ParseInt(expires, 10, 64)
	if err != nil || seconds < 0 {
		return nil, errAccessDenied("Invalid date (should be seconds since epoch): " + expires)
	}
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	if at := now(); at.Unix() > seconds {
		return nil, errAccessDenied("Request has expired", Field{"Expires", isoTime(time.Unix(seconds, 0))}, Field{"ServerTime", isoTime(at)})
	}
	if refused := checkSigned2(r.Header, query); refused != nil {
		return nil, refused
	}
	c := &claim{}
	if err := c.takeToken(r.Header, query); err != nil {
		return nil, err
	}
	secret, err := v.secret(r.Context(), keyID, c.token)
	if err != nil {
		return nil, err
	}
	headers := headers2(r.Header, query)
	first := ""
	for i, path := range []string{r.URL.EscapedPath(), string(appendCanonicalPath(nil, r.URL))} {
		text := v.stringToSign2(r, query, headers, path, expires)
		if equalV2(secret, text, signature) {
			break
		}
		if i == 0 {
			first = text
			continue
		}
		return nil, errSignature(keyID, first, signature, "")
	}
	res := &Result{AccessKeyID: keyID, Token: c.token, Presigned: true, Payload: unsignedPayload, SignedHeaders: []string{"host"}}
	res.SignedHeaders = slices.AppendSeq(res.SignedHeaders, maps.Keys(headers))
	slices.Sort(res.SignedHeaders)
	res.QueryHeaders = queryHeaders(query)
	for _, name := range []string{"content-type", "content-md5"} {
		if value, ok := inQuery(query, name); ok && len(r.Header.Values(name)) == 0 { // or that is what was signed
			if res.QueryHeaders == nil {
				res.QueryHeaders = http.Header{}
			}
			res.QueryHeaders.Set(name, value)
		}
	}
	hash := r.Header.Get("X-Amz-Content-Sha256")
	if hash == "" {
		hash = unsignedPayload
	}
	p, refused := parsePayload(hash)
	if refused != nil {
		return nil, refused
	}
	if p.signedChunks {
		return nil, errAccessDenied("Signature Version 2 cannot have a signed payload.")
	}
	if err := res.takeBody(r, p, nil); err != nil {
		return nil, err
	}
	return res, nil
}

// authOf2 returns the values of authParams2, each of which must be given once.
func authOf2(query []param) (auth [len(authParams2)]string, err *Error) {
	for i, name := range authParams2 {
		for _, p := range query {
			if p.name != name {
				continue
			}
			if auth[i] != "" {
				return auth, errAccessDenied(name + " must be given once.")
			}
			auth[i] = p.value
		}
		if auth[i] == "" {
			return auth, errAccessDenied("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
		}
	}
	return auth, nil
}

// checkSigned2 refuses parameters that version 2 does not sign, or whose signature could
// be that of others.
func checkSigned2(headers http.Header, query []param) *Error {
	for i, p := range query {
		if ambiguous2(p, headers, query[:i]) {
			return errAccessDenied("Signature Version 2 does not tell what the query parameter " + strconv.Quote(p.name) + " says from other parameters and headers.")
		}
		lower := strings.ToLower(p.name)
		switch {
		case slices.Contains(authParams2[:], p.name), slices.Contains(signedIn2, p.name), slices.Contains(harmlessIn2, p.name),
			strings.HasPrefix(lower, "x-amz-"), lower == "content-type", lower == "content-md5":
		default:
			return errAccessDenied("Signature Version 2 does not sign the query parameter " + p.name + ".")
		}
	}
	return nil
}

// ambiguous2 reports whether a parameter is written so that the text that is signed
// could be that of other parameters or headers. That text has one header in a line
// and parameters with ampersands between them, decoded: whoever holds a URL could
// otherwise hide in one value what follows in the text, and so be rid of it.
func ambiguous2(p param, headers http.Header, before []param) bool {
	if slices.Contains(signedIn2, p.name) {
		rest := p.value
		for more := true; more; {
			if _, rest, more = strings.Cut(rest, "&"); more {
				name, _, _ := strings.Cut(rest, "&")
				name, _, _ = strings.Cut(name, "=")
				if slices.Contains(signedIn2, name) {
					return true
				}
			}
		}
		return false
	}
	lower := strings.ToLower(p.name)
	if !strings.HasPrefix(lower, "x-amz-") && lower != "content-type" && lower != "content-md5" {
		return false
	}
	if strings.ContainsAny(p.name, "\r\n:") || strings.ContainsAny(p.value, "\r\n") {
		return true
	}
	// Values of one x-amz-* header are joined by commas, wherever they stand.
	_, twice := inQuery(before, lower)
	return twice || strings.HasPrefix(lower, "x-amz-") && len(headers.Values(p.name)) > 0
}

// headers2 are the x-amz-* headers by their lower-case names, those in the query
// among them.
func headers2(h http.Header, query []param) map[string][]string {
	m := map[string][]string{}
	for name, values := range h {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") {
			m[lower] = append(m[lower], values...)
		}
	}
	for _, p := range query {
		if lower := strings.ToLower(p.name); strings.HasPrefix(lower, "x-amz-") {
			m[lower] = append(m[lower], p.value)
		}
	}
	return m
}

// stringToSign2 is what version 2 signs of a request.
func (v *Verifier) stringToSign2(r *http.Request, query []param, headers map[string][]string, path, expires string) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n")
	for _, name := range []string{"content-md5", "content-type"} {
		value := r.Header.Get(name)
		if len(r.Header.Values(name)) == 0 {
			value, _ = inQuery(query, name)
		}
		b.WriteString(value + "\n")
	}
	b.WriteString(expires + "\n")
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		b.WriteString(name + ":")
		for i, value := range headers[name] {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strings.TrimSpace(value))
		}
		b.WriteByte('\n')
	}
	if v.Bucket != nil {
		if bucket := v.Bucket(r); bucket != "" {
			b.WriteString("/" + bucket)
		}
	}
	if path == "" {
		path = "/"
	}
	b.WriteString(path)
	mark := byte('?')
	for _, name := range signedIn2 {
		for _, p := range query {
			if p.name != name {
				continue
			}
			b.WriteByte(mark)
			mark = '&'
			b.WriteString(name)
			if p.value != "" {
				b.WriteString("=" + p.value)
			}
		}
	}
	return b.String()
}
