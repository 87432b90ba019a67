package s3api

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestPostObject(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	big := strings.Repeat("0123456789", 700_000)
	f := presign("bucket", "dir/k", nil, nil)
	f.file = big
	a := d.post("bucket", f)
	a.ok(t, "post", 204)
	if a.header.Get("Content-Type") != "" || a.header.Get("ETag") == "" || a.header.Get("x-amz-checksum-crc64nvme") == "" ||
		a.header.Get("x-amz-checksum-type") != "FULL_OBJECT" || a.header.Get("x-amz-server-side-encryption") != "AES256" ||
		a.header.Get("Location") != d.server.URL+"/bucket/dir%2Fk" {
		t.Errorf("%v", a.header)
	}
	if d.get("bucket", "dir/k") != big {
		t.Error("another body")
	}
	head := d.do("HEAD", "/bucket/dir/k", "", "x-amz-checksum-mode", "ENABLED")
	if head.header.Get("x-amz-checksum-crc64nvme") != a.header.Get("x-amz-checksum-crc64nvme") || head.header.Get("Content-Type") != "binary/octet-stream" {
		t.Error(head.header)
	}
	f = presign("bucket", "checksum", nil, nil)
	f.file = "test-body-tagging"
	if a := d.post("bucket", f); a.status != 204 || a.header.Get("x-amz-checksum-crc64nvme") != "L1qdhyEV1JY=" || a.header.Get("ETag") != `"a7d8531d918474360de3e2eaeb110cda"` {
		t.Error(a, a.header)
	}
	f = presign("bucket", "empty", nil, nil)
	f.file = ""
	d.post("bucket", f).ok(t, "empty file", 204)
	if d.get("bucket", "empty") != "" {
		t.Error("not empty")
	}
	// Virtual-host style, and names of fields in any case.
	f = presign("bucket", "casing", nil, conditions{conditions{"content-length-range", 5, 10}})
	for i := range f.fields {
		f.fields[i][0] = strings.ToUpper(f.fields[i][0])
	}
	d.post("bucket", f).ok(t, "casing", 204)
	v2 := presignV2("bucket", "v2", nil)
	d.post("bucket", v2).ok(t, "version 2", 204)
	for i := range v2.fields {
		v2.fields[i][0] = strings.ToLower(v2.fields[i][0])
	}
	d.post("bucket", v2).ok(t, "version 2, casing", 204)
}

// What S3 itself answered was recorded.
func TestPostObjectSignatures(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	mismatch := "The request signature we calculated does not match the signature you provided. Check your key and signing method."
	missing := func(name string) string {
		return "Bucket POST must contain a field named '" + name + "'.  If it is specified, please check the order of the fields."
	}
	both := map[string]func() *postedForm{
		"4": func() *postedForm { return presign("bucket", "k", nil, nil) },
		"2": func() *postedForm { return presignV2("bucket", "k", nil) },
	}
	for version, make := range both {
		signature := map[string]string{"4": "x-amz-signature", "2": "signature"}[version]
		argument := map[string]string{"4": "X-Amz-Signature", "2": "Signature"}[version]
		f := make()
		policy := f.get("policy")
		f.set("policy", policy[:len(policy)-2])
		d.post("bucket", f).want(t, "changed policy", 403, "SignatureDoesNotMatch", mismatch, "AWSAccessKeyId", testKeyID,
			"SignatureProvided", f.get(signature), "StringToSign", f.get("policy"), "StringToSignBytes", fmt.Sprintf("% x", f.get("policy")))
		f = make()
		f.remove(signature)
		d.post("bucket", f).want(t, "no signature", 400, "InvalidArgument", missing(argument), "ArgumentName", argument, "ArgumentValue", "")
		f = make()
		f.remove("AWSAccessKeyId", "x-amz-algorithm", "x-amz-credential")
		argument = map[string]string{"4": "X-Amz-Algorithm", "2": "AWSAccessKeyId"}[version]
		d.post("bucket", f).want(t, "no key", 400, "InvalidArgument", missing(argument), "ArgumentName", argument, "ArgumentValue", "")
		f.remove(signature, "x-amz-date")
		d.post("bucket", f).want(t, "key and policy alone", 403, "AccessDenied", "Access Denied")
		f = make()
		f.remove("policy")
		d.post("bucket", f).want(t, "no policy", 400, "InvalidArgument", missing("Policy"), "ArgumentName", "Policy", "ArgumentValue", "")
		f = make()
		f.set(signature, "!")
		if a := d.post("bucket", f); a.status != 403 || a.fields["Code"] != "SignatureDoesNotMatch" {
			t.Error(a)
		}
	}
	replace := func(field, old, new string) *postedForm {
		f := presign("bucket", "k", nil, nil)
		f.set(field, strings.Replace(f.get(field), old, new, 1))
		return f
	}
	d.post("bucket", replace("x-amz-credential", testKeyID, "AKIDOTHER")).want(t, "unknown key", 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", "AWSAccessKeyId", "AKIDOTHER")
	for what, f := range map[string]*postedForm{
		"algorithm": replace("x-amz-algorithm", "256", "1"),
		"region":    replace("x-amz-credential", "us-east-1", "eu-west-1"),
		"service":   replace("x-amz-credential", "/s3/", "/sts/"),
		"form":      replace("x-amz-credential", "/", ""),
		"date":      replace("x-amz-date", "T", "t"),
		"other day": replace("x-amz-date", "20", "19"),
	} {
		if a := d.post("bucket", f); a.status != 400 || a.fields["Code"] != "InvalidArgument" {
			t.Errorf("%s: %v", what, a)
		}
	}
	d.post("bucket", replace("x-amz-security-token", "", "token")).want(t, "token", 400, "InvalidToken", "The provided token is malformed or otherwise invalid.")
	f := presign("bucket", "k", nil, nil)
	body, kind := f.encode(t)
	r := d.request("POST", "/bucket", body, "Content-Type", kind)
	if a := d.send(r); a.status != 400 || a.fields["Code"] != "InvalidArgument" {
		t.Error("signed twice:", a)
	}
	d.do("POST", "/bucket", "x", "Content-Type", "text/html").want(t, "no form", 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold",
		"Condition", "Bucket POST must be of the enclosure-type multipart/form-data")
	if a := d.do("HEAD", "/bucket/k", ""); a.status != 404 {
		t.Error("a refused form was stored")
	}
}

func TestPostPolicy(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const redirect = "http://localhost.test/random"
	denied := func(what string, f *postedForm, message string) {
		t.Helper()
		d.post("bucket", f).want(t, what, 403, "AccessDenied", "Invalid according to Policy: "+message)
	}
	invalid := func(what string, f *postedForm, message string) {
		t.Helper()
		d.post("bucket", f).want(t, what, 400, "InvalidPolicyDocument", message)
	}
	with := func(list conditions, fields ...string) *postedForm {
		var pairs [][2]string
		for i := 0; i < len(fields); i += 2 {
			pairs = append(pairs, [2]string{fields[i], fields[i+1]})
		}
		return presign("bucket", "k", pairs, list)
	}
	target := func(list ...any) *postedForm { return with(list, "success_action_redirect", redirect) }

	denied("expired", presignAt(time.Now().Add(-time.Hour), time.Minute, "bucket", "k", nil, nil), "Policy expired.")
	f := target(conditions{"eq", "$success_action_redirect", redirect})
	f.set("success_action_redirect", "http://wrong.location/test")
	denied("eq", f, `Policy Condition failed: ["eq", "$success_action_redirect", "http://localhost.test/random"]`)
	denied("no dollar", target(conditions{"eq", "success_action_redirect", redirect}), `Policy Condition failed: ["eq", "success_action_redirect", "http://localhost.test/random"]`)
	invalid("two in one", target(map[string]string{"bucket": "bucket", "success_action_redirect": redirect}),
		"Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
	denied("case of value", target(conditions{"eq", "$success_action_redirect", "HTTP://localhost.test/random"}), `Policy Condition failed: ["eq", "$success_action_redirect", "HTTP://localhost.test/random"]`)
	d.post("bucket", target(conditions{"eq", "$success_Action_REDIRECT", redirect})).ok(t, "case of name", 303)

	start := conditions{"starts-with", "$success_action_redirect", "http://localhost"}
	f = target(start)
	f.set("success_action_redirect", "HTTP://localhost.test/random")
	denied("starts-with", f, `Policy Condition failed: ["starts-with", "$success_action_redirect", "http://localhost"]`)
	d.post("bucket", target(start)).ok(t, "starts-with", 303)
	d.post("bucket", target(conditions{"sTaRtS-wItH", "$success_action_redirect", ""})).ok(t, "starts with nothing", 303)
	denied("field that is not there", with(conditions{conditions{"starts-with", "$Content-Type", ""}}), `Policy Condition failed: ["starts-with", "$Content-Type", ""]`)
	types := conditions{conditions{"starts-with", "$Content-Type", "image/"}}
	d.post("bucket", with(types, "Content-Type", "image/png, image/jpeg")).ok(t, "list of types", 204)
	denied("list of types", with(types, "Content-Type", "image/png,text/html"), `Policy Condition failed: ["starts-with", "$Content-Type", "image/"]`)

	denied("not in the policy", with(nil, "x-amz-meta-a", "b"), "Extra input fields: x-amz-meta-a")
	denied("not in the policy", with(nil, "x-amz-meta-A", "b", "acl", "private"), "Extra input fields: x-amz-meta-A, acl")
	d.post("bucket", with(nil, "x-ignore-this", "b")).ok(t, "ignored field", 204)
	f = presign("other-bucket", "k", nil, nil)
	denied("other bucket", f, `Policy Condition failed: ["eq", "$bucket", "other-bucket"]`)
	f = presign("bucket", "k", nil, nil)
	f.set("key", "other")
	denied("other key", f, `Policy Condition failed: ["eq", "$key", "k"]`)
	resign := func(text string) *postedForm {
		f := presign("bucket", "k", nil, nil)
		policy := base64.StdEncoding.EncodeToString([]byte(text))
		f.set("policy", policy)
		f.set("x-amz-signature", signPolicy(policy, f.get("x-amz-date")[:8]))
		return f
	}
	const later = `"expiration":"2099-01-01T00:00:00.000Z"`
	all := `["starts-with","$key",""],["starts-with","$x-amz-date",""],["starts-with","$x-amz-credential",""],["starts-with","$x-amz-algorithm",""]`
	denied("no bucket", resign(`{`+later+`,"conditions":[`+all+`]}`), "Extra input fields: bucket")
	d.post("bucket", resign(`{`+later+`,"conditions":[{"bUcKeT":"bucket"},`+all+`]}`)).ok(t, "by hand", 204)

	size := func(min, max any) conditions { return conditions{conditions{"content-length-range", min, max}} }
	for n, want := range map[int]int{4: 400, 5: 204, 10: 204, 11: 400} {
		f = with(size(5, 10))
		f.file = strings.Repeat("a", n)
		d.post("bucket", f).ok(t, fmt.Sprint(n, " bytes"), want)
	}
	f = with(size(5, 10))
	f.file = strings.Repeat("a", 12)
	d.post("bucket", f).want(t, "too big", 400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", "MaxSizeAllowed", "10", "ProposedSize", "12")
	f.file = strings.Repeat("a", 1<<20)
	if a := d.post("bucket", f); a.fields["Code"] != "EntityTooLarge" || a.fields["MaxSizeAllowed"] != "10" {
		t.Error(a)
	}
	f.file = "a"
	d.post("bucket", f).want(t, "too small", 400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", "MinSizeAllowed", "5", "ProposedSize", "1")
	d.post("bucket", with(size("5", "10"))).ok(t, "numbers as strings", 204)
	denied("no numbers", with(size("test", "10")), `Policy Condition failed: ["content-length-range", "test", "10"]`)

	for text, message := range map[string]string{
		`{`:    "Invalid Policy: Invalid JSON.",
		`[]`:   "Invalid Policy: Invalid JSON.",
		`{}`:   "Invalid Policy: Policy missing expiration.",
		"\xff": "Invalid Policy: Invalid JSON.",
		`{"EXPIRATION":"2099-01-01T00:00:00Z","conditions":[]}`: "Invalid Policy: Policy missing expiration.",
		`{"expiration":1,"conditions":[]}`:                      "Invalid Policy: Policy missing expiration.",
		`{"expiration":"tomorrow","conditions":[]}`:             "Invalid Policy: Invalid 'expiration' value: 'tomorrow'",
		`{` + later + `}`:                                              "Invalid Policy: Policy missing conditions.",
		`{` + later + `,"CONDITIONS":[]}`:                              "Invalid Policy: Policy missing conditions.",
		`{` + later + `,"conditions":{}}`:                              "Invalid Policy: Policy missing conditions.",
		`{` + later + `,"conditions":[{}]}`:                            "Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
		`{` + later + `,"conditions":[{"a":1}]}`:                       "Invalid Policy: Invalid Simple-Condition: value must be a string.",
		`{` + later + `,"conditions":[1]}`:                             "Invalid Policy: Invalid Condition: it must be an object or a list.",
		`{` + later + `,"conditions":[null]}`:                          "Invalid Policy: Invalid Condition: it must be an object or a list.",
		`{` + later + `,"conditions":[["eq","$key"]]}`:                 "Invalid Policy: Invalid Condition: wrong number of arguments.",
		`{` + later + `,"conditions":[["ends-with","$key",""]]}`:       "Invalid Policy: Invalid Condition: unknown operation 'ends-with'.",
		`{` + later + `,"conditions":[["eq","$key",{}]]}`:              "Invalid Policy: Invalid Condition: field and value must be strings.",
		`{` + later + `,"conditions":[["content-length-range",-1,0]]}`: "Invalid Policy: Invalid content-length-range: it must be two lengths in ascending order.",
		`{` + later + `,"conditions":[["content-length-range",5,4]]}`:  "Invalid Policy: Invalid content-length-range: it must be two lengths in ascending order.",
	} {
		invalid(text, resign(text), message)
	}
	f = presign("bucket", "k", nil, nil)
	f.set("policy", "*")
	f.set("x-amz-signature", signPolicy("*", f.get("x-amz-date")[:8]))
	invalid("no base64", f, "Invalid Policy: Invalid Base64 Encoding.")
	f = resign(`{` + later + `,"conditions":[{"bucket":"bucket"},["eq","$key","\$a\\b"],` + all + `]}`)
	f.set("key", `$a\b`)
	d.post("bucket", f).ok(t, "escapes", 204)
}

func TestPostObjectFields(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	post := func(key string, fields [][2]string, change ...func(*postedForm)) reply {
		t.Helper()
		var list conditions
		for _, p := range fields {
			list = append(list, conditions{"eq", "$" + p[0], p[1]})
		}
		f := presign("bucket", key, fields, list)
		for _, c := range change {
			c(f)
		}
		return d.post("bucket", f)
	}
	expires := time.Now().UTC().Add(time.Hour).Format(http.TimeFormat)
	post("meta", [][2]string{{"x-amz-meta-test-1", "test-meta-1"}, {"x-amz-meta-TEST-2", "test-meta-2"}, {"Content-Type", "text/plain"}, {"Expires", expires}, {"x-amz-storage-class", "STANDARD_IA"}}).ok(t, "meta", 204)
	h := d.do("HEAD", "/bucket/meta", "").header
	for name, want := range map[string]string{"x-amz-meta-test-1": "test-meta-1", "x-amz-meta-test-2": "test-meta-2", "Content-Type": "text/plain", "Expires": expires, "x-amz-storage-class": "STANDARD_IA"} {
		if h.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, h.Get(name), want)
		}
	}
	post("class", [][2]string{{"x-amz-storage-class", "FakeClass"}}).want(t, "storage class", 400, "InvalidStorageClass", "The storage class you specified is not valid", "StorageClassRequested", "FakeClass")

	// As recorded: text in forms is UTF-8, and headers are ISO-8859-1.
	a := post("test_unicode\u2014_file.pdf", [][2]string{
		{"Content-Disposition", `filename="test_` + "\u2014" + `_file%E2%80%94_é_2-.pdf"`},
		{"Cache-Control", "non-ascii-%E2%80%94_\u2014_é_"},
		{"x-amz-meta-nonascii", "ÄMÄZÕÑ S3"},
		{"x-amz-meta-nonascii-2", "test_\u2014_file%E2%80%94_é_2\U0001F451.pdf"},
		{"x-amz-meta-safe-chars", "! \"#$%&'()*+,-./0123456789:;<>'?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"},
		{"x-amz-meta-utf-8", "\x00\x01\x02\x03\x04"},
		{"x-amz-meta-q-encoded", "=?UTF-8?Q?actually-ascii?="},
		{"x-amz-meta-b-encoded", "=?UTF-8?B?YWJj?="},
		{"success_action_status", "201"},
	})
	location := d.server.URL + "/bucket/test_unicode%E2%80%94_file.pdf"
	if a.status != 201 || a.header.Get("Location") != location || element(a.body, "Location") != location || element(a.body, "Bucket") != "bucket" ||
		element(a.body, "Key") != "test_unicode\u2014_file.pdf" || element(a.body, "ETag") != "&quot;e80b5017098950fc58aad83c8c14978e&quot;" ||
		a.header.Get("Content-Type") != "application/xml" {
		t.Errorf("%v %v", a, a.header)
	}
	h = d.do("HEAD", "/bucket/test_unicode%E2%80%94_file.pdf", "").header
	for name, want := range map[string]string{
		"Content-Disposition":   "filename=\"test_ _file%E2%80%94_\xe9_2-.pdf\"",
		"Cache-Control":         "non-ascii-%E2%80%94_ _\xe9_",
		"x-amz-meta-nonascii":   "=?UTF-8?Q?=C3=84M=C3=84Z=C3=95=C3=91_S3?=",
		"x-amz-meta-nonascii-2": "=?UTF-8?Q?test=5F=E2=80=94=5Ffile%E2%80%94=5F=C3=A9=5F2=F0=9F=91=91.pdf?=",
		"x-amz-meta-safe-chars": "! \"#$%&'()*+,-./0123456789:;<>'?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~",
		"x-amz-meta-utf-8":      "=?UTF-8?B?AAECAwQ=?=",
		"x-amz-meta-q-encoded":  "=?UTF-8?Q?actually-ascii?=",
		"x-amz-meta-b-encoded":  "=?UTF-8?B?YWJj?=",
	} {
		if h.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, h.Get(name), want)
		}
	}

	name := func(s string) func(*postedForm) { return func(f *postedForm) { f.filename = &s } }
	for filename, key := range map[string]string{"my-file": "key-my-file", "": "key-", `C:\\Users\\b\\x.gif`: "key-x.gif", "a/b/c": "key-c", "\u00e9": "key-\u00e9"} {
		post("key-${filename}", nil, name(filename)).ok(t, filename, 204)
		if d.get("bucket", key) != "abcdef" {
			t.Error(filename, key)
		}
	}
	post("key-${filename}", nil, func(f *postedForm) { f.filename = nil }).ok(t, "no file name", 204)
	if d.get("bucket", "key-${filename}") != "abcdef" {
		t.Error("the variable")
	}

	status := func(v string) reply { t.Helper(); return post("s", [][2]string{{"success_action_status", v}}) }
	if a := status("200"); a.status != 200 || a.body != "" || a.header.Get("Location") != d.server.URL+"/bucket/s" {
		t.Error(a)
	}
	status("204").ok(t, "204", 204)
	status("404").ok(t, "other status", 204)
	for to, want := range map[string]string{
		"http://localhost.test/random": "http://localhost.test/random?bucket=bucket&key=a+b%2F%C3%A9&etag=%22e80b5017098950fc58aad83c8c14978e%22",
		"https://h.test/?x=1#f":        "https://h.test/?x=1&bucket=bucket&key=a+b%2F%C3%A9&etag=%22e80b5017098950fc58aad83c8c14978e%22#f",
		"/wrong/redirect/relative":     "",
		"javascript:alert(1)":          "",
		"http://a\r\nSet-Cookie: b":    "",
	} {
		a := post("a b/\u00e9", [][2]string{{"success_action_redirect", to}})
		if want == "" && a.status != 204 || want != "" && (a.status != 303 || a.header.Get("Location") != want || a.body != "") {
			t.Errorf("%s: %v %s", to, a, a.header.Get("Location"))
		}
	}

	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	post("c", [][2]string{{"x-amz-server-side-encryption-customer-algorithm", "AES256"}, {"x-amz-server-side-encryption-customer-key", key}, {"x-amz-server-side-encryption-customer-key-MD5", "AAAA"}}).
		want(t, "customer key", 400, "InvalidArgument", "The calculated MD5 hash of the key did not match the hash that was provided.", "ArgumentName", "x-amz-server-side-encryption")
	a = post("sse", [][2]string{{"x-amz-server-side-encryption", "AES256"}})
	if a.status != 204 || a.header.Get("x-amz-server-side-encryption") != "AES256" {
		t.Error(a)
	}
	post("sum", [][2]string{{"x-amz-checksum-crc32", "Cdox+w=="}}).want(t, "checksum", 400, "BadDigest", "The CRC32 you specified did not match the calculated checksum.")
	a = post("sum", [][2]string{{"x-amz-checksum-sha256", "vvV+x/U6bUC+tkCngKY5yDvCmsipgW8fxsXG3Nk8RyE="}})
	if a.status != 204 || a.header.Get("x-amz-checksum-sha256") == "" {
		t.Error(a)
	}
	post("acl", [][2]string{{"acl", "private"}}).ok(t, "acl", 204)
	post("acl", [][2]string{{"acl", "public-read"}}).want(t, "acl", 400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
	post("tags", [][2]string{{"tagging", "not-xml"}}).want(t, "tags", 400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	post("tags", [][2]string{{"tagging", "<InvalidXmlTagging></InvalidXmlTagging>"}}).ok(t, "another document", 204)
	post("", nil).want(t, "no key", 400, "InvalidArgument", "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.", "ArgumentName", "key", "ArgumentValue", "")
	post(strings.Repeat("k", 1025), nil).want(t, "long key", 400, "KeyTooLongError", "Your key is too long", "Size", "1025", "MaxSizeAllowed", "1024")
	d.post("none", presign("none", "k", nil, nil)).want(t, "no bucket", 404, "NoSuchBucket", "The specified bucket does not exist", "BucketName", "none")
}

func TestMalformedForms(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	f := presign("bucket", "k", nil, nil)
	body, kind := f.encode(t)
	const bad = "The body of your POST request is not well-formed multipart/form-data."
	for what, body := range map[string]string{
		"empty":       "",
		"no boundary": "something",
		"cut":         body[:len(body)-60],
		"cut fields":  body[:200],
		"no name":     strings.Replace(body, `name="key"`, `nom="key"`, 1),
		"no header":   strings.Replace(body, `Content-Disposition: form-data; name="key"`, "", 1),
	} {
		a := d.postRaw("/bucket", kind, body)
		if a.status != 400 || a.fields["Code"] != "MalformedPOSTRequest" && a.fields["Code"] != "InvalidArgument" {
			t.Errorf("%s: %v", what, a)
		}
	}
	d.postRaw("/bucket", kind, body[:len(body)-60]).want(t, "cut", 400, "MalformedPOSTRequest", bad)
	d.postRaw("/bucket", "multipart/form-data", body).want(t, "no boundary", 400, "MalformedPOSTRequest", bad)
	d.postRaw("/bucket", "multipart/form-data; boundary="+strings.Repeat("b", 500), body).want(t, "long boundary", 400, "MalformedPOSTRequest", bad)
	enclosure := []string{"Condition", "Bucket POST must be of the enclosure-type multipart/form-data"}
	for _, kind := range []string{"text/html", "", "application/x-www-form-urlencoded", ";"} {
		d.postRaw("/bucket", kind, body).want(t, kind, 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", enclosure...)
	}
	f.noFile = true
	d.post("bucket", f).want(t, "no file", 400, "InvalidArgument", "POST requires exactly one file upload per request.", "ArgumentName", "file", "ArgumentValue", "0")
	f = presign("bucket", "k", nil, nil)
	f.fields = append(f.fields, [2]string{"KEY", "k"})
	if a := d.post("bucket", f); a.status != 400 || a.fields["Code"] != "InvalidArgument" || a.fields["ArgumentName"] != "KEY" {
		t.Error("twice:", a)
	}
	const long = "Your POST request fields preceding the upload file were too large."
	f = presign("bucket", "k", [][2]string{{"x-ignore-a", strings.Repeat("a", maxFieldBytes)}}, nil)
	d.post("bucket", f).want(t, "long field", 400, "MaxPostPreDataLengthExceeded", long)
	f = presign("bucket", "k", nil, nil)
	for i := range 2000 {
		f.fields = append(f.fields, [2]string{fmt.Sprint("x-ignore-", i), ""})
	}
	d.post("bucket", f).want(t, "many fields", 400, "MaxPostPreDataLengthExceeded", long)
	d.postRaw("/bucket", kind, strings.Repeat("preamble\r\n", 100_000)+body).want(t, "preamble", 400, "MaxPostPreDataLengthExceeded", long)
	d.postRaw("/bucket", kind, strings.Replace(body, "\r\n\r\n", "\r\nX-Long: "+strings.Repeat("x", 1<<20)+"\r\n\r\n", 1)).want(t, "long header", 400, "MaxPostPreDataLengthExceeded", long)
	d.postRaw("/bucket/k", kind, body).want(t, "a key in the path", 405, "MethodNotAllowed", "")
	if a := d.do("HEAD", "/bucket/k", ""); a.status != 404 {
		t.Error("a refused form was stored")
	}
	// What follows the file is not looked at.
	f = presign("bucket", "k", nil, nil)
	body, kind = f.encode(t)
	end := "\r\n--" + strings.TrimPrefix(kind, "multipart/form-data; boundary=")
	body = strings.TrimSuffix(body, end+"--\r\n") + end + "\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\nUpload" + end + "--\r\n"
	d.postRaw("/bucket", kind, body).ok(t, "a field behind the file", 204)
}

func TestFormSecretsAreNotLogged(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	p, err := s3.NewPresignClient(d.s3).PresignPostObject(ctx, &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("sdk")})
	if err != nil {
		t.Fatal(err)
	}
	f := &postedForm{file: "from the SDK"}
	for name, v := range p.Values {
		f.set(name, v)
	}
	f.set("key", "sdk")
	d.post("bucket", f).ok(t, "a form of the SDK", 204)
	if d.get("bucket", "sdk") != "from the SDK" {
		t.Error("another body")
	}
	refused := presign("bucket", "k", [][2]string{{"x-amz-security-token", "wrong"}}, conditions{map[string]string{"x-amz-security-token": "SECRET-TOKEN"}})
	d.post("bucket", refused)
	refused = presign("bucket", "k", [][2]string{{"x-amz-meta-t", "wrong"}}, conditions{map[string]string{"x-amz-meta-t": "SECRET-VALUE"}})
	d.post("bucket", refused).ok(t, "refused", 403)
	log := d.log.String()
	for _, s := range []string{f.get("X-Amz-Signature"), f.get("policy"), refused.get("policy"), refused.get("x-amz-signature"), "SECRET", testSecret} {
		if s == "" || strings.Contains(log, s) {
			t.Errorf("%q is in the log", s)
		}
	}
	if !strings.Contains(log, "op=PostObject") || !strings.Contains(log, "key=sdk") {
		t.Error(log)
	}
}

func TestPostObjectFromAPage(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket?cors", corsXML(elements("AllowedOrigin", page, "AllowedMethod", "POST", "ExposeHeader", "ETag"))).ok(t, "cors", 200)
	post := func(f *postedForm) reply {
		t.Helper()
		body, kind := f.encode(t)
		r, err := http.NewRequest("POST", d.server.URL+"/bucket", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Origin", page)
		return d.send(r)
	}
	a := post(presign("bucket", "k", nil, nil))
	if a.status != 204 || a.header.Get(allowOrigin) != page || a.header.Get(exposeHeaders) != "ETag" {
		t.Error(a, a.header)
	}
	f := presign("bucket", "k", nil, nil)
	f.set("key", "other")
	if a := post(f); a.status != 403 || a.header.Get(allowOrigin) != page {
		t.Error("a page cannot read why it was refused:", a, a.header)
	}
}

func TestAnonymousFormsWhereTheBucketIsPublic(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	f := &postedForm{file: "abc"}
	f.set("key", "pub/k")
	d.post("bucket", f).want(t, "private", 403, "AccessDenied", "Access Denied")
	d.open("bucket")
	d.do("PUT", "/bucket?policy", statements(`{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/pub/*"}`)).ok(t, "policy", 204)
	d.post("bucket", f).ok(t, "public", 204)
	if d.get("bucket", "pub/k") != "abc" {
		t.Error("another body")
	}
	f.set("key", "sec/k")
	d.post("bucket", f).want(t, "another key", 403, "AccessDenied", "Access Denied")
	// The directory is not one that a mount made: it goes with its last key.
	d.do("DELETE", "/bucket/pub/k", "").ok(t, "delete", 204)
	if a := d.do("GET", "/bucket?list-type=2", ""); element(a.body, "KeyCount") != "0" {
		t.Error(a)
	}
}
