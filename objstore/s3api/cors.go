package s3api

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// maxCORSRules is S3's limit (AWS: "Elements of a CORS configuration").
const maxCORSRules = 100

// maxRuleID is the longest id of a rule, in bytes.
const maxRuleID = 255

// corsDocument is the body of PutBucketCors, and what is kept.
type corsDocument struct {
	CORSRule []corsRule
	Other    []unknown `xml:",any"`
}

type corsRule struct {
	ID            string
	AllowedMethod []string
	AllowedOrigin []string
	AllowedHeader []string
	ExposeHeader  []string
	MaxAgeSeconds *string
	Other         []unknown `xml:",any"`
}

var corsMethods = []string{"GET", "PUT", "HEAD", "POST", "DELETE"}

func (q *request) putBucketCORS() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	var doc corsDocument
	if err := q.readDocument(maxConfigBytes, "CORSConfiguration", &doc); err != nil {
		return err
	}
	if err := doc.check(); err != nil {
		return err
	}
	var x xmlWriter
	doc.write(&x)
	if err := q.setConfig(objstore.ConfigCORS, &x); err != nil {
		return err
	}
	return q.send(http.StatusOK)
}

func (doc *corsDocument) check() error {
	if len(doc.CORSRule) == 0 {
		return errMalformedXML()
	}
	if len(doc.CORSRule) > maxCORSRules {
		return errInvalidRequest("The number of CORS rules should not exceed allowed limit of 100 rules.")
	}
	for i := range doc.CORSRule {
		if err := doc.CORSRule[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (r *corsRule) check() error {
	if len(r.AllowedMethod) == 0 || len(r.AllowedOrigin) == 0 {
		return errMalformedXML()
	}
	if len(r.ID) > maxRuleID {
		return newError(http.StatusBadRequest, "InvalidArgument", "ID length should not exceed allowed limit of 255")
	}
	for _, m := range r.AllowedMethod {
		if !slices.Contains(corsMethods, m) {
			return errInvalidRequest("Found unsupported HTTP method in CORS config. Unsupported method is " + m)
		}
	}
	for _, o := range r.AllowedOrigin {
		if strings.Count(o, "*") > 1 {
			return errInvalidRequest(`AllowedOrigin "` + o + `" can not have more than one wildcard.`)
		}
	}
	for _, h := range r.AllowedHeader {
		if strings.Count(h, "*") > 1 {
			return errInvalidRequest(`AllowedHeader "` + h + `" can not have more than one wildcard.`)
		}
	}
	for _, h := range r.ExposeHeader {
		if strings.Contains(h, "*") {
			return errInvalidRequest(`ExposeHeader "` + h + `" contains wildcard. We currently do not support wildcard for ExposeHeader.`)
		}
		if !validToken(h) {
			return errInvalidRequest(`AllowedHeader "` + h + `" contains invalid character.`) // which is S3's name for it
		}
	}
	if r.MaxAgeSeconds != nil {
		// A negative age, with which browsers keep no answer, is one.
		n, err := strconv.ParseInt(strings.TrimSpace(*r.MaxAgeSeconds), 10, 32)
		if err != nil {
			return errMalformedXML()
		}
		*r.MaxAgeSeconds = strconv.FormatInt(n, 10)
	}
	return nil
}

func (doc *corsDocument) write(x *xmlWriter) {
	x.root("CORSConfiguration")
	for i := range doc.CORSRule {
		r := &doc.CORSRule[i]
		x.open("CORSRule")
		x.textIf("ID", r.ID)
		x.texts("AllowedMethod", r.AllowedMethod)
		x.texts("AllowedOrigin", r.AllowedOrigin)
		x.texts("AllowedHeader", r.AllowedHeader)
		x.texts("ExposeHeader", r.ExposeHeader)
		if r.MaxAgeSeconds != nil {
			x.text("MaxAgeSeconds", *r.MaxAgeSeconds)
		}
		x.close("CORSRule")
	}
	x.close("CORSConfiguration")
}

func parseCORS(b []byte) (corsRules, error) {
	var doc corsDocument
	err := decodeXML(bytes.NewReader(b), "CORSConfiguration", &doc)
	return doc.compile(), err
}

// corsRules returns the bucket's rules, nil when it has none.
func (q *request) corsRules() (corsRules, error) {
	doc, err := q.s.store.BucketConfig(q.ctx, q.caller, q.bucket, objstore.ConfigCORS)
	if objstore.IsKind(err, objstore.KindNoSuchConfig) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return q.s.cors.get(q.bucket, doc, parseCORS)
}

// requestedHeaders reads Access-Control-Request-Headers, and of those that are too
// many one too many.
func (q *request) requestedHeaders() (list []string) {
	for _, line := range q.r.Header["Access-Control-Request-Headers"] {
		for h := range strings.SplitSeq(line, ",") {
			if h = strings.ToLower(strings.TrimSpace(h)); h != "" {
				list = append(list, h)
			}
			if len(list) > maxRequestedHeaders {
				return list
			}
		}
	}
	return list
}

// The headers of CORS. An answer has them, an error too, when a rule allows the
// request (Fetch standard, section 3.2).
const (
	allowOrigin      = "Access-Control-Allow-Origin"
	allowMethods     = "Access-Control-Allow-Methods"
	allowHeaders     = "Access-Control-Allow-Headers"
	allowCredentials = "Access-Control-Allow-Credentials"
	exposeHeaders    = "Access-Control-Expose-Headers"
	maxAge           = "Access-Control-Max-Age"
)

// setCORS sets the headers that tell of the rule.
func (q *request) setCORS(r *corsRule, pattern, origin string, headers []string) {
	if pattern == "*" {
		q.set(allowOrigin, "*")
	} else {
		q.set(allowOrigin, origin)
		q.set(allowCredentials, "true")
	}
	q.set(allowMethods, strings.Join(r.AllowedMethod, ", "))
	if len(headers) > 0 {
		q.set(allowHeaders, strings.Join(headers, ", "))
	}
	if len(r.ExposeHeader) > 0 {
		q.set(exposeHeaders, strings.Join(r.ExposeHeader, ", "))
	}
	if r.MaxAgeSeconds != nil {
		q.set(maxAge, *r.MaxAgeSeconds)
	}
	q.set("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
}

// answerCORS adds to the answer what lets a browser hand it to a page of another
// origin. Whatever is wrong here, the request itself will say.
func (q *request) answerCORS() {
	origin := q.r.Header.Get("Origin")
	if origin == "" || q.bucket == "" {
		return
	}
	rules, err := q.corsRules()
	if err != nil || rules == nil {
		return
	}
	method := q.r.Header.Get("Access-Control-Request-Method")
	if method == "" {
		method = q.r.Method
	}
	headers := q.requestedHeaders()
	if r, pattern := rules.match(origin, method, headers); r != nil {
		q.setCORS(r, pattern, origin, headers)
	}
}

// preflight answers a browser that asks whether it may send a request for a page
// of another origin. It needs no signature.
func (q *request) preflight() error {
	origin := q.r.Header.Get("Origin")
	if origin == "" {
		return newError(http.StatusBadRequest, "BadRequest", "Insufficient information. Origin request header needed.")
	}
	method := q.r.Header.Get("Access-Control-Request-Method")
	named := method
	if named == "" {
		named = http.MethodOptions
	}
	refuse := func(message, resource string) error {
		return newError(http.StatusForbidden, "AccessForbidden", "CORSResponse: "+message, field("Method", named), field("ResourceType", resource))
	}
	var rules corsRules
	if q.bucket != "" {
		var err error
		if rules, err = q.corsRules(); objstore.IsKind(err, objstore.KindNoSuchBucket) {
			return refuse("Bucket not found", "BUCKET")
		} else if err != nil {
			return err
		}
	}
	if rules == nil {
		return refuse("CORS is not enabled for this bucket.", "BUCKET")
	}
	if !slices.Contains(corsMethods, method) {
		if method == "" {
			method = "null"
		}
		return newError(http.StatusBadRequest, "BadRequest", "Invalid Access-Control-Request-Method: "+method)
	}
	headers := q.requestedHeaders()
	r, pattern := rules.match(origin, method, headers)
	if r == nil {
		resource := "OBJECT"
		if q.key == "" {
			resource = "BUCKET"
		}
		// The misspelling is AWS's.
		return refuse("This CORS request is not allowed. This is usually because the evalution of Origin, request method / "+
			"Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.", resource)
	}
	q.setCORS(r, pattern, origin, headers)
	return q.send(http.StatusOK)
}
