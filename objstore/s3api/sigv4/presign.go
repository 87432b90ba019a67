package sigv4

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cofferfs/coffer/objstore/checksum"
)

// maxExpires is the longest life of a presigned URL.
const maxExpires = 7 * 24 * time.Hour

// authParams are the query parameters of a presigned request, all required.
var authParams = [...]string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"}

func isAuthParam(name string) bool {
	for _, p := range authParams {
		if name == p {
			return true
		}
	}
	return false
}

// isPresigned says whether the query claims to carry a signature, whole or not.
func isPresigned(query []param) bool {
	for i := range query {
		if isAuthParam(query[i].name) {
			return true
		}
	}
	return false
}

// isSigV2 says whether the query claims to carry a signature of version 2.
func isSigV2(query []param) bool {
	for i := range query {
		if n := query[i].name; n == "AWSAccessKeyId" || n == "Signature" {
			return true
		}
	}
	return false
}

// InQuery says whether a query parameter of that name claims that the signature
// is in the query.
func InQuery(name string) bool {
	return isAuthParam(name) || name == "AWSAccessKeyId" || name == "Signature"
}

func parsePresigned(query []param) (*claim, *Error) {
	var values [len(authParams)]string
	for i := range query {
		for j, name := range authParams {
			if query[i].name != name {
				continue
			}
			if values[j] != "" {
				return nil, errQuery(name + " must be given once.")
			}
			values[j] = query[i].value
		}
	}
	for _, v := range values {
		if v == "" {
			return nil, errQuery("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
		}
	}
	c := &claim{presigned: true}
	if values[0] != algorithm {
		return nil, errQuery(`X-Amz-Algorithm only supports "` + algorithm + ` and ` + algorithm4A + `"`)
	}
	if err := c.parseCredential(values[1]); err != nil {
		return nil, err
	}
	t, ok := parseLongDate(values[2])
	if !ok {
		return nil, errQuery(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	c.time, c.timestamp = t, values[2]
	seconds, err := strconv.ParseInt(values[3], 10, 64)
	switch {
	case err != nil:
		return nil, errQuery("X-Amz-Expires should be a number")
	case seconds < 0:
		return nil, errQuery("X-Amz-Expires must be non-negative")
	case seconds > int64(maxExpires/time.Second):
		return nil, errQuery("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	case seconds == 0:
		return nil, errQuery("X-Amz-Expires must be between 1 and 604800 seconds")
	}
	c.expires = time.Duration(seconds) * time.Second
	if !c.parseSignedHeaders(values[4]) {
		return nil, errQuery("Error parsing the X-Amz-SignedHeaders parameter; it must be a list of lower-case names between semicolons.")
	}
	c.parseSignature(values[5])
	return c, nil
}

// checkTime refuses a request that is signed too long ago or in the future.
func (c *claim) checkTime(now time.Time, maxSkew time.Duration) *Error {
	if !c.presigned {
		if d := now.Sub(c.time); d > maxSkew || d < -maxSkew {
			return errSkewed(c.timestamp, now, maxSkew)
		}
		return nil
	}
	if c.time.Sub(now) > maxSkew {
		return errAccessDenied("Request is not yet valid",
			Field{"X-Amz-Date", strconv.FormatInt(c.time.UnixMilli(), 10)}, // as AWS has it, not as it was sent
			Field{"Expires", isoTime(c.time.Add(c.expires))},
			Field{"ServerTime", isoTime(now)})
	}
	if end := c.time.Add(c.expires); now.After(end) {
		return errAccessDenied("Request has expired",
			Field{"X-Amz-Expires", strconv.FormatInt(int64(c.expires/time.Second), 10)},
			Field{"Expires", isoTime(end)},
			Field{"ServerTime", isoTime(now)})
	}
	return nil
}

// inQuery is the value of a header that the signer of a presigned request put
// into the query, in whatever case. Those of the signature are none.
func inQuery(query []param, lower string) (value string, ok bool) {
	for i := range query {
		if strings.EqualFold(query[i].name, lower) && !isAuthParam(query[i].name) {
			return query[i].value, true
		}
	}
	return "", false
}

// signedInQuery says whether the query has just these values of a header.
func signedInQuery(query []param, lower string, values []string) bool {
	v, ok := inQuery(query, lower)
	return ok && len(values) == 1 && values[0] == v
}

// customerKey is what the names of headers with a customer's key have in common.
const customerKey = "x-amz-server-side-encryption-customer-"

// bringsKey says whether a header is one of those with a customer's key, where
// the signer signed that there is one: the key is not in the URL, so whoever
// uses it adds the key ("Using server-side encryption with customer-provided
// keys": presigned URLs).
func (c *claim) bringsKey(query []param, lower string) bool {
	for _, prefix := range [...]string{customerKey, "x-amz-copy-source-" + customerKey[len("x-amz-"):]} {
		switch lower {
		case prefix + "key", prefix + "key-md5":
			_, ok := inQuery(query, prefix+"algorithm")
			return ok || c.hasSigned(prefix+"algorithm")
		}
	}
	return false
}

// queryHeaders collects the headers that a signer moved into the query: x-amz-*
// and the two conditions that writes have. A checksum of the body is not among
// them: AWS ignores it there (recorded: a URL with the checksum of no bytes, as
// SDKs for JavaScript make them, takes any body).
func queryHeaders(query []param) http.Header {
	var h http.Header
	for i := range query {
		name := query[i].name
		if !movable(name) || isAuthParam(name) {
			continue
		}
		if _, sum := checksum.FromHeader(name); sum || strings.EqualFold(name, "x-amz-content-sha256") || strings.EqualFold(name, "x-amz-security-token") {
			continue
		}
		if h == nil {
			h = http.Header{}
		}
		h.Add(name, query[i].value)
	}
	return h
}

// movable says whether a parameter of a presigned request counts as a header.
func movable(name string) bool {
	return len(name) >= len("x-amz-") && strings.EqualFold(name[:len("x-amz-")], "x-amz-") ||
		strings.EqualFold(name, "If-Match") || strings.EqualFold(name, "If-None-Match")
}
