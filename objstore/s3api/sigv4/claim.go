package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	algorithm   = "AWS4-HMAC-SHA256"
	algorithm4A = "AWS4-ECDSA-P256-SHA256" // not supported
	terminator  = "aws4_request"

	longDate  = "20060102T150405Z"
	shortDate = "20060102"

	// maxKeyID bounds an access key id, maxAuthorization the Authorization
	// header and the list of signed headers in a query, in bytes. S3 takes 8 KiB
	// of headers in all.
	maxKeyID         = 128
	maxAuthorization = 16 << 10
)

// claim is what a request says of its own signature, parsed and not yet
// believed.
type claim struct {
	keyID         string
	date          string // yyyymmdd, of the credential
	region        string
	service       string
	terminator    string
	signedHeaders string // as sent
	signed        []string
	sorted        []string // signed, in order
	signature     [sha256.Size]byte
	signatureHex  string // as sent
	token         string // of a session, or empty

	timestamp string // yyyymmddThhmmssZ, as in the string to sign
	time      time.Time
	presigned bool
	form      bool          // in the fields of a POST form
	expires   time.Duration // of a presigned request
}

func (c *claim) scope() string { return string(c.appendScope(nil)) }

func (c *claim) appendScope(b []byte) []byte {
	b = append(append(b, c.date...), '/')
	b = append(append(b, c.region...), '/')
	b = append(append(b, c.service...), '/')
	return append(b, terminator...)
}

const credentialForm = `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`

func (c *claim) parseCredential(s string) *Error {
	var keyID string
	slashes := strings.Count(s, "/")
	keyID, s, _ = strings.Cut(s, "/")
	if slashes != 4 || len(keyID) > maxKeyID {
		return c.errCredential(credentialForm)
	}
	c.keyID = keyID
	c.date, s, _ = strings.Cut(s, "/")
	c.region, s, _ = strings.Cut(s, "/")
	c.service, c.terminator, _ = strings.Cut(s, "/")
	if c.keyID == "" {
		return c.errCredential("a non-empty Access Key (AKID) must be provided in the credential.")
	}
	if _, err := time.Parse(shortDate, c.date); err != nil {
		return c.errCredential(`incorrect date format "` + c.date + `". This date in the credential must be in the format "yyyyMMdd".`)
	}
	return nil
}

// parseSignedHeaders takes a list of lower-case names between semicolons. S3
// wants it sorted; the canonical request is made in the order given, so that a
// list in another order can only fail to match. A name that is repeated is refused:
// the canonical request would have that header as often, whatever its length.
func (c *claim) parseSignedHeaders(s string) bool {
	if len(s) > maxAuthorization {
		return false
	}
	c.signedHeaders = s
	c.signed = strings.Split(s, ";")
	for _, name := range c.signed {
		if name == "" {
			return false
		}
		if _, ok := names[name]; ok {
			continue
		}
		for i := 0; i < len(name); i++ {
			if b := name[i]; b <= ' ' || b >= 0x7f || b >= 'A' && b <= 'Z' || b == ':' || b == ',' {
				return false
			}
		}
	}
	c.sorted = c.signed
	if !slices.IsSorted(c.sorted) {
		c.sorted = slices.Sorted(slices.Values(c.sorted))
	}
	for i := 1; i < len(c.sorted); i++ {
		if c.sorted[i] == c.sorted[i-1] {
			return false
		}
	}
	return true
}

func (c *claim) parseSignature(s string) {
	c.signatureHex = s
	// A signature that is no hex stays zero, which matches nothing: it gets
	// the answer of a wrong one.
	var text [2 * sha256.Size]byte
	if copy(text[:], s) == len(text) && len(s) == len(text) {
		if _, err := hex.Decode(c.signature[:], text[:]); err != nil {
			c.signature = [sha256.Size]byte{}
		}
	}
}

// parseAuthorization reads the Authorization header, which is
//
//	AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...
//
// with the three in any order and the space optional, and the time of the
// request from x-amz-date or Date.
func parseAuthorization(h http.Header) (*claim, *Error) {
	values := h["Authorization"]
	if len(values) != 1 {
		return nil, errHeader("only one Authorization header is allowed.")
	}
	if len(values[0]) > maxAuthorization {
		return nil, errHeader("the header is too long.")
	}
	mechanism, rest, ok := strings.Cut(values[0], " ")
	switch {
	case !ok:
		return nil, errInvalidArgument("Authorization header is invalid -- one and only one ' ' (space) required", "Authorization", values[0])
	case mechanism == "AWS", mechanism == algorithm4A:
		return nil, errUnsupportedMechanism()
	case mechanism != algorithm:
		return nil, errInvalidArgument("Unsupported Authorization Type", "Authorization", values[0])
	}
	c := &claim{}
	if strings.Count(rest, ",") != 2 {
		return nil, errHeader("the authorization header requires three components: Credential, SignedHeaders, and Signature.")
	}
	var credential, signedHeaders, signature string
	for component := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.Trim(component, " \t"), "=")
		var other string
		field := &other
		switch name {
		case "Credential":
			field = &credential
		case "SignedHeaders":
			field = &signedHeaders
		case "Signature":
			field = &signature
		}
		if !ok || *field != "" || value == "" {
			return nil, errHeader(`the authorization component "` + component + `" is malformed.`)
		}
		*field = value
	}
	switch "" {
	case credential:
		return nil, errHeader("missing Credential.")
	case signedHeaders:
		return nil, errHeader("missing SignedHeaders.")
	case signature:
		return nil, errHeader("missing Signature.")
	}
	if err := c.parseCredential(credential); err != nil {
		return nil, err
	}
	if !c.parseSignedHeaders(signedHeaders) {
		return nil, errHeader(`the authorization component "SignedHeaders=` + signedHeaders + `" is malformed.`)
	}
	c.parseSignature(signature)
	return c, c.parseTime(h)
}

// parseLongDate is strict: time.Parse alone takes fractions of a second too.
func parseLongDate(s string) (time.Time, bool) {
	t, err := time.Parse(longDate, s)
	return t, err == nil && len(s) == len(longDate)
}

// parseTime takes the time of a request that is signed in a header.
func (c *claim) parseTime(h http.Header) *Error {
	name := "X-Amz-Date"
	if len(h[name]) == 0 {
		name = "Date"
	}
	values := h[name]
	if len(values) == 1 {
		if t, ok := parseLongDate(values[0]); ok {
			c.time, c.timestamp = t, values[0]
		} else if t, ok := parseDate(values[0]); ok {
			c.time, c.timestamp = t, t.UTC().Format(longDate)
		}
	}
	if c.timestamp == "" {
		return errAccessDenied("AWS authentication requires a valid Date or x-amz-date header")
	}
	return nil
}

// parseDate reads a date of HTTP, or one of mail, with its zone in digits: botocore
// writes those wherever its user gives a Date of their own.
func parseDate(s string) (time.Time, bool) {
	t, err := http.ParseTime(s)
	if err != nil {
		t, err = time.Parse(time.RFC1123Z, s)
	}
	return t, err == nil
}

// check compares the claim with what this verifier is for, in AWS's order. The time
// is next.
func (c *claim) check(region, service string) *Error {
	if region != "" && c.region != region {
		return c.errCredential("the region '"+c.region+"' is wrong; expecting '"+region+"'", Field{"Region", region})
	}
	if c.service != service {
		return c.errCredential(`incorrect service "` + c.service + `". This endpoint belongs to "` + service + `".`)
	}
	if c.terminator != terminator {
		return c.errCredential(`incorrect terminal "` + c.terminator + `". This endpoint uses "` + terminator + `".`)
	}
	if day := c.timestamp[:len(shortDate)]; c.date != day {
		return c.errDate(day)
	}
	return nil
}

// unsignedHeaders lists what must be signed and is not: host and every x-amz-*
// header. Left out are x-amz-content-sha256, whose value the canonical request
// contains in any case (AWS leaves it out of its list too), and of a presigned
// request what its query has, signed, with the same value, and the key headers
// that whoever uses the URL adds where its signer asked for them.
func (c *claim) unsignedHeaders(h http.Header, query []param) []string {
	var missing []string
	if _, ok := slices.BinarySearch(c.sorted, "host"); !ok {
		missing = append(missing, "host")
	}
	for name := range h {
		const prefix = "X-Amz-"
		if len(name) < len(prefix) || name[:len(prefix)] != prefix && !strings.EqualFold(name[:len(prefix)], prefix) || name == "X-Amz-Content-Sha256" {
			continue
		}
		if c.signs(name) {
			continue
		}
		lower := strings.ToLower(name)
		if c.presigned && (signedInQuery(query, lower, h[name]) || c.bringsKey(query, lower)) {
			continue
		}
		missing = append(missing, lower)
	}
	slices.Sort(missing)
	return missing
}

// signs is hasSigned for a name in another case, of which it makes no string.
func (c *claim) signs(name string) bool {
	if lower, ok := lowerNames[name]; ok {
		_, ok = slices.BinarySearch(c.sorted, lower)
		return ok
	}
	var lower [64]byte // longer names come to stand elsewhere
	_, ok := slices.BinarySearchFunc(c.sorted, appendLower(lower[:0], name), compareTo)
	return ok
}

// compareTo is strings.Compare without making a string of b.
func compareTo(s string, b []byte) int {
	switch {
	case s == string(b):
		return 0
	case s < string(b):
		return -1
	}
	return 1
}

// appendLower is strings.ToLower for the name of a header, which is ASCII.
func appendLower(b []byte, name string) []byte {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

func (c *claim) hasSigned(name string) bool { return slices.Contains(c.signed, name) }
