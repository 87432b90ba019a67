package s3api

import (
	"fmt"
	"strings"
	"testing"
)

// corsXML is a configuration of rules, each the inner elements of one.
func corsXML(rules ...string) string {
	return `<CORSConfiguration xmlns="` + namespace + `"><CORSRule>` + strings.Join(rules, "</CORSRule><CORSRule>") + "</CORSRule></CORSConfiguration>"
}

// elements writes name value, name value, ....
func elements(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "<%s>%s</%s>", pairs[i], pairs[i+1], pairs[i])
	}
	return b.String()
}

// cors are the headers of CORS in a reply, in a fixed order.
func (a reply) cors() string {
	var list []string
	for _, name := range []string{allowCredentials, allowHeaders, allowMethods, allowOrigin, exposeHeaders, maxAge, "Vary"} {
		if v := a.header.Get(name); v != "" {
			list = append(list, strings.TrimPrefix(name, "Access-Control-")+": "+v)
		}
	}
	return strings.Join(list, "; ")
}

// options is a preflight, which nobody signs.
func (d *door) options(target string, headers ...string) reply {
	d.t.Helper()
	r := d.request("OPTIONS", target, "", headers...)
	r.Header.Del("Authorization")
	return d.send(r)
}

const (
	corsVary    = "; Vary: Origin, Access-Control-Request-Headers, Access-Control-Request-Method"
	corsRefused = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec."
	requested   = "Access-Control-Request-Method"
	page        = "https://localhost:4200"
)

func TestPreflightWithoutRules(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	const origin, off = "Insufficient information. Origin request header needed.", "CORSResponse: CORS is not enabled for this bucket."
	d.options("/bucket/k").want(t, "no origin", 400, "BadRequest", origin)
	d.options("/bucket/k", "Origin", "whatever", requested, "PUT").want(t, "no rules", 403, "AccessForbidden", off, "Method", "PUT", "ResourceType", "BUCKET")
	d.options("/bucket/k", "Origin", "whatever").want(t, "no method", 403, "AccessForbidden", off, "Method", "OPTIONS", "ResourceType", "BUCKET")
	d.options("/nowhere/k").want(t, "no bucket, no origin", 400, "BadRequest", origin)
	d.options("/nowhere/k", "Origin", "whatever").want(t, "no bucket", 403, "AccessForbidden", "CORSResponse: Bucket not found", "Method", "OPTIONS", "ResourceType", "BUCKET")
	d.options("/Not%20a%20Bucket/k", "Origin", "whatever").want(t, "no name of a bucket", 403, "AccessForbidden", "CORSResponse: Bucket not found", "Method", "OPTIONS", "ResourceType", "BUCKET")
	a := d.do("GET", "/bucket/k", "", "Origin", "whatever")
	if a.status != 200 || a.cors() != "" {
		t.Errorf("%v %q", a, a.cors())
	}
}

func TestOriginsOfCORS(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "test-cors")
	rule := func(origin string) string {
		return elements("AllowedOrigin", origin, "AllowedMethod", "GET", "AllowedMethod", "PUT", "MaxAgeSeconds", "3000", "AllowedHeader", "*")
	}
	d.do("PUT", "/bucket?cors", corsXML(rule(page))).ok(t, "put", 200)
	d.options("/bucket/k").want(t, "no origin", 400, "BadRequest", "")
	d.options("/bucket/k", "Referer", page, requested, "PUT").want(t, "referer", 400, "BadRequest", "")
	if a := d.do("GET", "/bucket/k", "", "Referer", page); a.cors() != "" {
		t.Errorf("referer: %q", a.cors())
	}
	const allowed = "Allow-Credentials: true; Allow-Methods: GET, PUT; Allow-Origin: " + page + "; Max-Age: 3000" + corsVary
	a := d.options("/bucket/k", "Origin", page, requested, "PUT")
	if a.status != 200 || a.cors() != allowed || a.header.Get("Content-Length") != "0" || a.body != "" || a.header.Get("Content-Type") != "" {
		t.Errorf("preflight: %v %v", a, a.header)
	}
	if a := d.do("GET", "/bucket/k", "", "Origin", page); a.status != 200 || a.cors() != allowed || a.body != "test-cors" {
		t.Errorf("get: %v %q", a, a.cors())
	}
	// Errors can be read by the page, too.
	if a := d.do("GET", "/bucket/none", "", "Origin", page); a.status != 404 || a.cors() != allowed {
		t.Errorf("get of nothing: %v %q", a, a.cors())
	}
	r := d.request("PUT", "/bucket/k", "y", "Origin", page)
	r.Header.Del("Authorization")
	if a := d.send(r); a.status != 403 || a.cors() != allowed {
		t.Errorf("unsigned: %v %q", a, a.cors())
	}
	d.options("/bucket/k", "Origin", "http://localhost:4200", requested, "PUT").want(t, "other", 403, "AccessForbidden", corsRefused, "Method", "PUT", "ResourceType", "OBJECT")
	if a := d.do("GET", "/bucket/k", "", "Origin", "http://localhost:4200"); a.status != 200 || a.cors() != "" {
		t.Errorf("other: %q", a.cors())
	}

	d.do("PUT", "/bucket?cors", corsXML(rule("*"))).ok(t, "put", 200)
	const all = "Allow-Methods: GET, PUT; Allow-Origin: *; Max-Age: 3000" + corsVary
	if a := d.options("/bucket/k", "Origin", "http://random:1234", requested, "PUT"); a.status != 200 || a.cors() != all {
		t.Errorf("any: %v %q", a, a.cors())
	}
	if a := d.do("GET", "/bucket/k", "", "Origin", "http://random:1234"); a.cors() != all {
		t.Errorf("any: %q", a.cors())
	}

	d.do("PUT", "/bucket?cors", corsXML(rule("http://*.origin.com"))).ok(t, "put", 200)
	if a := d.options("/bucket", "Origin", "http://test.origin.com", requested, "GET"); a.status != 200 || !strings.Contains(a.cors(), "Allow-Origin: http://test.origin.com;") {
		t.Errorf("part: %v %q", a, a.cors())
	}
	d.options("/bucket", "Origin", "http://test.origin.com/", requested, "GET").want(t, "not all of it", 403, "AccessForbidden", corsRefused, "Method", "GET", "ResourceType", "BUCKET")
	for pattern, cases := range map[string]map[string]bool{
		"*suffix":   {"foo.suffix": true, "suffix": true, "suffix.get": false, "suffi": false},
		"start*end": {"startend": true, "start12end": true, "0start12end": false, "start": false, "startnd": false},
		"prefix*":   {"prefix": true, "prefix.suffix": true, "bla.prefix": false},
		"aba*aba":   {"aba": false, "ababa": false, "abaaba": true},
	} {
		d.do("PUT", "/bucket?cors", corsXML(rule(pattern))).ok(t, "put", 200)
		for origin, want := range cases {
			if got := d.options("/bucket/k", "Origin", origin, requested, "GET").status == 200; got != want {
				t.Errorf("%s with %s: %v", origin, pattern, got)
			}
		}
	}
}

func TestMethodsOfCORS(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "test-cors")
	d.do("PUT", "/bucket?cors", corsXML(
		elements("AllowedOrigin", page, "AllowedMethod", "GET", "MaxAgeSeconds", "3000", "AllowedHeader", "*"),
		elements("AllowedOrigin", "https://put", "AllowedMethod", "PUT"))).ok(t, "put", 200)
	const allowed = "Allow-Credentials: true; Allow-Methods: GET; Allow-Origin: " + page + "; Max-Age: 3000" + corsVary
	if a := d.options("/bucket/k", "Origin", page, requested, "GET"); a.status != 200 || a.cors() != allowed {
		t.Errorf("%v %q", a, a.cors())
	}
	d.options("/bucket/k", "Origin", page, requested, "PUT").want(t, "put", 403, "AccessForbidden", corsRefused, "Method", "PUT", "ResourceType", "OBJECT")
	d.options("/bucket/k", "Origin", page).want(t, "none", 400, "BadRequest", "Invalid Access-Control-Request-Method: null")
	d.options("/bucket/k", "Origin", page, requested, "get").want(t, "none", 400, "BadRequest", "Invalid Access-Control-Request-Method: get")
	for _, c := range []struct {
		method string
		header []string
		want   string
	}{
		{"GET", []string{"Origin", page}, allowed},
		{"GET", []string{"Origin", page, requested, "PUT"}, ""},
		{"PUT", []string{"Origin", page}, ""},
		{"PUT", []string{"Origin", page, requested, "GET"}, allowed},
		{"PUT", []string{"Origin", "https://put"}, "Allow-Credentials: true; Allow-Methods: PUT; Allow-Origin: https://put" + corsVary},
	} {
		if a := d.do(c.method, "/bucket/k", "x", c.header...); a.status != 200 || a.cors() != c.want {
			t.Errorf("%+v: %v %q", c, a, a.cors())
		}
	}
}

func TestHeadersOfCORS(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "test-cors")
	rule := func(headers ...string) string {
		list := []string{"AllowedOrigin", page, "AllowedMethod", "GET", "MaxAgeSeconds", "3000"}
		for _, h := range headers {
			list = append(list, "AllowedHeader", h)
		}
		return elements(list...)
	}
	const headers = "Access-Control-Request-Headers"
	preflight := func(ask, want string) {
		t.Helper()
		a := d.options("/bucket/k", "Origin", page, requested, "GET", headers, ask)
		if want == "" {
			a.want(t, ask, 403, "AccessForbidden", corsRefused, "Method", "GET", "ResourceType", "OBJECT")
		} else if a.status != 200 || a.header.Get(allowHeaders) != want {
			t.Errorf("%s: %v %v", ask, a, a.header)
		}
	}
	d.do("PUT", "/bucket?cors", corsXML(rule("*"))).ok(t, "put", 200)
	preflight("x-amz-request-payer", "x-amz-request-payer")
	preflight("x-amz-request-payer, x-amz-expected-bucket-owner", "x-amz-request-payer, x-amz-expected-bucket-owner")
	d.do("PUT", "/bucket?cors", corsXML(rule("x-amz-expected-bucket-owner", "x-amz-server-side-encryption-customer-algorithm", "x-AMZ-server-SIDE-encryption"))).ok(t, "put", 200)
	if a := d.do("GET", "/bucket?cors", ""); !strings.Contains(a.body, "<AllowedHeader>x-AMZ-server-SIDE-encryption</AllowedHeader>") {
		t.Errorf("as it was sent: %v", a)
	}
	preflight("x-amz-request-payer", "")
	preflight("x-amz-expected-bucket-owner", "x-amz-expected-bucket-owner")
	preflight("x-AMZ-expected-BUCKET-owner, x-amz-server-side-encryption", "x-amz-expected-bucket-owner, x-amz-server-side-encryption")
	preflight("x-amz-expected-bucket-owner,x-amz-server-side-encryption", "x-amz-expected-bucket-owner, x-amz-server-side-encryption")
	if a := d.do("GET", "/bucket/k", "", "Origin", page, headers, "x-amz-request-payer"); a.status != 200 || a.cors() != "" {
		t.Errorf("get that asks: %q", a.cors())
	}
	if a := d.do("GET", "/bucket/k", "", "Origin", page, "x-amz-request-payer", "requester"); a.status != 200 || a.header.Get(allowOrigin) != page || a.header.Get(allowHeaders) != "" {
		t.Errorf("get: %q", a.cors())
	}
	d.do("PUT", "/bucket?cors", corsXML(rule("x-amz-*"))).ok(t, "put", 200)
	preflight("x-amz-meta-a", "x-amz-meta-a")
	preflight("x-other", "")
	d.do("PUT", "/bucket?cors", corsXML(elements("AllowedOrigin", "*", "AllowedMethod", "GET"))).ok(t, "put", 200)
	if a := d.options("/bucket/k", "Origin", "localhost:4566", requested, "GET"); a.status != 200 || a.cors() != "Allow-Methods: GET; Allow-Origin: *"+corsVary {
		t.Errorf("defaults: %v %q", a, a.cors())
	}
	preflight("x-amz-request-payer", "")
	d.do("PUT", "/bucket?cors", corsXML(elements("AllowedOrigin", "*", "AllowedMethod", "GET", "ExposeHeader", "x-amz-id-2", "ExposeHeader", "x-amz-request-id"))).ok(t, "put", 200)
	if a := d.options("/bucket/k", "Origin", "localhost:4566", requested, "GET"); a.cors() != "Allow-Methods: GET; Allow-Origin: *; Expose-Headers: x-amz-id-2, x-amz-request-id"+corsVary {
		t.Errorf("exposed: %q", a.cors())
	}
}

func TestRulesOfCORSAreKept(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	none := func() {
		t.Helper()
		d.do("GET", "/bucket?cors", "").want(t, "none", 404, "NoSuchCORSConfiguration", "The CORS configuration does not exist", "BucketName", "bucket")
	}
	none()
	d.do("DELETE", "/bucket?cors", "").ok(t, "delete", 204)
	rules := []string{
		elements("ID", "one", "AllowedMethod", "GET", "AllowedMethod", "PUT", "AllowedMethod", "HEAD", "AllowedOrigin", "https://test.com", "AllowedOrigin", "http://test.com:80",
			"AllowedHeader", "x-a", "AllowedHeader", "x-b", "ExposeHeader", "e", "MaxAgeSeconds", "3000"),
		elements("AllowedMethod", "GET", "AllowedOrigin", "*"),
		elements("AllowedMethod", "POST", "AllowedMethod", "DELETE", "AllowedOrigin", "", "MaxAgeSeconds", "0"),
		elements("AllowedMethod", "PUT", "AllowedOrigin", "https://never.com", "MaxAgeSeconds", "-1"),
	}
	a := d.do("PUT", "/bucket?cors", corsXML(rules...))
	if a.status != 200 || a.body != "" {
		t.Errorf("put: %v", a)
	}
	if a := d.do("GET", "/bucket?cors", ""); a.status != 200 || a.body != "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"+corsXML(rules...) {
		t.Errorf("get: %v", a)
	}
	if a := d.options("/bucket/k", "Origin", "https://never.com", requested, "PUT"); a.status != 200 || a.header.Get(maxAge) != "-1" {
		t.Errorf("a preflight that is not to be kept: %v %v", a, a.header)
	}
	good := elements("AllowedMethod", "GET", "AllowedOrigin", "*")
	for doc, want := range map[string][2]string{
		corsXML(elements("AllowedOrigin", "*", "AllowedMethod", "GET", "AllowedMethod", "MYMETHOD")): {"InvalidRequest", "Found unsupported HTTP method in CORS config. Unsupported method is MYMETHOD"},
		corsXML(elements("AllowedOrigin", "http://*.*", "AllowedMethod", "GET")):                     {"InvalidRequest", `AllowedOrigin "http://*.*" can not have more than one wildcard.`},
		corsXML(good + elements("AllowedHeader", "*-*")):                                             {"InvalidRequest", `AllowedHeader "*-*" can not have more than one wildcard.`},
		corsXML(good + elements("ExposeHeader", "*")):                                                {"InvalidRequest", `ExposeHeader "*" contains wildcard. We currently do not support wildcard for ExposeHeader.`},
		corsXML(good + elements("ExposeHeader", "a\nb")):                                             {"InvalidRequest", ""},
		corsXML(good + elements("ExposeHeader", "a/b")):                                              {"InvalidRequest", `AllowedHeader "a/b" contains invalid character.`},
		corsXML(good + elements("ID", strings.Repeat("i", 256))):                                     {"InvalidArgument", ""},
		corsXML(good + elements("MaxAgeSeconds", "x")):                                               {"MalformedXML", malformed},
		corsXML(good + elements("MaxAgeSeconds", "2147483648")):                                      {"MalformedXML", malformed},
		corsXML(good + elements("Other", "x")):                                                       {"MalformedXML", malformed},
		corsXML(elements("AllowedMethod", "GET")):                                                    {"MalformedXML", malformed},
		corsXML(elements("AllowedOrigin", "*")):                                                      {"MalformedXML", malformed},
		corsXML(strings.Split(strings.Repeat(good+"|", 100)+good, "|")...):                           {"InvalidRequest", "The number of CORS rules should not exceed allowed limit of 100 rules."},
		"<CORSConfiguration/>":                                                                       {"MalformedXML", malformed},
		"":                                                                                           {"MalformedXML", malformed},
	} {
		d.do("PUT", "/bucket?cors", doc).want(t, doc, 400, want[0], want[1])
	}
	d.do("PUT", "/bucket?cors", strings.Repeat(" ", maxConfigBytes+1)).want(t, "long", 400, "MaxMessageLengthExceeded", "")
	d.do("PUT", "/nowhere?cors", corsXML(good)).want(t, "no bucket", 404, "NoSuchBucket", "")
	if a := d.do("GET", "/bucket?cors", ""); !strings.Contains(a.body, "<ID>one</ID>") {
		t.Errorf("a refused request changed the rules: %v", a)
	}
	d.do("DELETE", "/bucket?cors", "").ok(t, "delete", 204)
	none()
	if a := d.options("/bucket/k", "Origin", "x", requested, "GET"); a.status != 403 {
		t.Errorf("after delete: %v", a)
	}
}
