package sigv4

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// get is the published GET example with its lines changed.
func get(change func(string) string) string {
	return change(`GET /test.txt HTTP/1.1
Host: examplebucket.s3.amazonaws.com
Range: bytes=0-9
x-amz-content-sha256: ` + emptyHex + `
x-amz-date: 20130524T000000Z
` + auth + `, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41`)
}

func swap(old, new string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic("nothing to swap: " + old)
		}
		return strings.ReplaceAll(s, old, new)
	}
}

func TestRefusedHeaders(t *testing.T) {
	const three = "The authorization header is malformed; the authorization header requires three components: Credential, SignedHeaders, and Signature."
	for _, c := range []struct {
		change  func(string) string
		status  int
		code    string
		message string // part of it
		field   string // name=value of one
	}{
		{swap("GET /", "HEAD /"), 403, "SignatureDoesNotMatch", "The request signature we calculated does not match", "AWSAccessKeyId=" + exampleID},
		{swap("bytes=0-9", "bytes=0-8"), 403, "SignatureDoesNotMatch", "", "SignatureProvided=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{swap("/test.txt", "/test.tx"), 403, "SignatureDoesNotMatch", "", "StringToSignBytes=41 57 53 34 2d"},
		{swap("/test.txt", "/test.txt?acl"), 403, "SignatureDoesNotMatch", "", "CanonicalRequest=GET\n/test.txt\nacl=\nhost:examplebucket"},
		{swap("Host: examplebucket", "Host: Examplebucket"), 403, "SignatureDoesNotMatch", "", "CanonicalRequestBytes=47 45 54 0a"},
		{swap("Signature=f0", "Signature=zz"), 403, "SignatureDoesNotMatch", "", ""},
		{swap("Signature=f0", "Signature="), 403, "SignatureDoesNotMatch", "", ""},
		{swap(exampleID, "AKIAOTHER"), 403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", "AWSAccessKeyId=AKIAOTHER"},
		{swap("x-amz-date: 20130524T000000Z\n", ""), 403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header", ""},
		{swap("x-amz-date: 20130524T000000Z", "Date: Fri, 24 May 2013 00:00:00 GMT"), 403, "SignatureDoesNotMatch", "", "StringToSign=AWS4-HMAC-SHA256\n20130524T000000Z\n"},
		{swap("x-amz-date: 20130524T000000Z", "Date: Fri, 24 May 2013 00:00:00 -0000"), 403, "SignatureDoesNotMatch", "", "StringToSign=AWS4-HMAC-SHA256\n20130524T000000Z\n"},
		{swap("x-amz-date: 20130524T000000Z", "Date: Fri, 24 May 2013 02:00:00 +0200"), 403, "SignatureDoesNotMatch", "", "StringToSign=AWS4-HMAC-SHA256\n20130524T000000Z\n"},
		{swap("x-amz-date: 20130524T000000Z", "Date: 24 May 2013"), 403, "AccessDenied", "valid Date", ""},
		{swap("T000000Z", "T000000.5Z"), 403, "AccessDenied", "valid Date", ""},
		{swap("T000000Z", "T000000"), 403, "AccessDenied", "valid Date", ""},
		{swap("x-amz-date: 20130524T000000Z", "x-amz-date: 20130524T000000Z\nx-amz-date: 20130524T000000Z"), 400, "InvalidArgument", "", ""},
		{swap("T000000Z", "T001501Z"), 403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", "RequestTime=20130524T001501Z"},
		{swap("T000000Z", "T001501Z"), 403, "RequestTimeTooSkewed", "", "ServerTime=2013-05-24T00:00:00Z"},
		{swap("T000000Z", "T001501Z"), 403, "RequestTimeTooSkewed", "", "MaxAllowedSkewMilliseconds=900000"},
		{swap("T000000Z", "T001500Z"), 403, "SignatureDoesNotMatch", "", ""},
		{swap("x-amz-date: 20130524", "x-amz-date: 20130523"), 400, "AuthorizationHeaderMalformed", "The authorization header is malformed; Invalid credential date. Date is not the same as X-Amz-Date.", ""},
		{swap("20130524/us-east-1/s3/aws4", "2013-05-24/us-west-1/sns/aws5"), 400, "AuthorizationHeaderMalformed", "incorrect date format", ""},
		{swap("20130524/us-east-1/s3/aws4", "20130523/us-west-1/sns/aws5"), 400, "AuthorizationHeaderMalformed", "the region 'us-west-1' is wrong", ""},
		{swap("20130524/us-east-1/s3/aws4", "20130523/us-east-1/sns/aws5"), 400, "AuthorizationHeaderMalformed", `incorrect service "sns"`, ""},
		{swap("20130524/us-east-1/s3/aws4", "20130523/us-east-1/s3/aws5"), 400, "AuthorizationHeaderMalformed", `incorrect terminal "aws5_request"`, ""},
		{swap("20130524/us-east-1", "2013-05-24/us-east-1"), 400, "AuthorizationHeaderMalformed", "incorrect date format", ""},
		{swap("us-east-1", "aws-global"), 400, "AuthorizationHeaderMalformed", "The authorization header is malformed; the region 'aws-global' is wrong; expecting 'us-east-1'", "Region=us-east-1"},
		{swap("/s3/", "/sns/"), 400, "AuthorizationHeaderMalformed", `incorrect service "sns"`, ""},
		{swap("aws4_request", "aws5_request"), 400, "AuthorizationHeaderMalformed", "incorrect terminal", ""},
		{swap("/aws4_request", ""), 400, "AuthorizationHeaderMalformed", credentialForm, ""},
		{swap("/aws4_request", "/aws4_request/x"), 400, "AuthorizationHeaderMalformed", credentialForm, ""},
		{swap(exampleID, ""), 400, "AuthorizationHeaderMalformed", "non-empty Access Key", ""},
		{swap(exampleID, strings.Repeat("A", maxKeyID+1)), 400, "AuthorizationHeaderMalformed", credentialForm, ""},
		{swap("SignedHeaders=host;range", "SignedHeaders=range"), 403, "AccessDenied", "There were headers present in the request which were not signed", "HeadersNotSigned=host"},
		{swap(";x-amz-date,", ","), 403, "AccessDenied", "", "HeadersNotSigned=x-amz-date"},
		{swap("Range:", "X-AMZ-acl: public-read\nx-amz-Meta-b: c\nRange:"), 403, "AccessDenied", "", "HeadersNotSigned=x-amz-acl, x-amz-meta-b"},
		{swap("SignedHeaders=host;", "SignedHeaders=Host;"), 400, "AuthorizationHeaderMalformed", "SignedHeaders", ""},
		{swap("SignedHeaders=host;", "SignedHeaders=host;;"), 400, "AuthorizationHeaderMalformed", "SignedHeaders", ""},
		{swap("Credential=", "Credentials="), 400, "AuthorizationHeaderMalformed", "The authorization header is malformed; missing Credential.", ""},
		{swap("SignedHeaders=", "Headers="), 400, "AuthorizationHeaderMalformed", "The authorization header is malformed; missing SignedHeaders.", ""},
		{swap(" Signature=", " signature="), 400, "AuthorizationHeaderMalformed", "The authorization header is malformed; missing Signature.", ""},
		{swap("SignedHeaders=", "Credential="), 400, "AuthorizationHeaderMalformed", "", ""},
		{swap(", Signature=", ", "), 400, "AuthorizationHeaderMalformed", "", ""},
		{swap("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", ""), 400, "AuthorizationHeaderMalformed", `the authorization component " Signature=" is malformed.`, ""},
		{swap(", Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", ""), 400, "AuthorizationHeaderMalformed", three, ""},
		{swap("6036bdb41", "6036bdb41, Extra=1"), 400, "AuthorizationHeaderMalformed", three, ""},
		{swap("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256"), 400, "InvalidArgument", "Unsupported Authorization Type", "ArgumentName=Authorization"},
		{swap(auth, "Authorization: AWS4-HMAC-SHA512 x\nX-Was: "), 400, "InvalidArgument", "Unsupported Authorization Type", "ArgumentValue=AWS4-HMAC-SHA512 x"},
		{swap(auth, "Authorization: token\nX-Was: "), 400, "InvalidArgument", "Authorization header is invalid -- one and only one ' ' (space) required", "ArgumentValue=token"},
		{swap(auth, "Authorization: AWS AKID:c2ln\nX-Was: "), 400, "InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.", ""},
		{swap(auth, "Authorization: AWS4-ECDSA-P256-SHA256 x\nX-Was: "), 400, "InvalidRequest", "The authorization mechanism", ""},
		{swap(auth, "Authorization: Basic dTpw\nX-Was: "), 400, "InvalidArgument", "Unsupported Authorization Type", "ArgumentName=Authorization"},
		{swap(auth, "Authorization: Basic dTpw\n"+auth), 400, "AuthorizationHeaderMalformed", "only one Authorization header", ""},
		{swap("/test.txt", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"), 400, "InvalidArgument", "Only one auth mechanism allowed", ""},
		{swap("/test.txt", "/test.txt?AWSAccessKeyId=x"), 400, "InvalidArgument", "Only one auth mechanism allowed", ""},
		{swap("x-amz-content-sha256: "+emptyHex+"\n", ""), 400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256", ""},
		{swap(emptyHex, emptyHex[1:]), 400, "InvalidArgument", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 value.", "ArgumentName=x-amz-content-sha256"},
		{swap(emptyHex, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"), 400, "InvalidArgument", "x-amz-content-sha256 must be", ""},
		{swap("Range:", "x-amz-security-token: t\nRange:"), 403, "AccessDenied", "", "HeadersNotSigned=x-amz-security-token"},
		{func(s string) string {
			return swap(";x-amz-date,", ";x-amz-date;x-amz-security-token,")(swap("Range:", "x-amz-security-token: t\nRange:")(s))
		}, 400, "InvalidToken", "", ""},
		{swap("/test.txt", "/test.txt?a;b"), 400, "InvalidURI", "", ""},
		{swap("/test.txt", "/test.txt?a=%zz"), 400, "InvalidURI", "", ""},
		{swap("/test.txt", "/test.txt?"+strings.Repeat("a&", maxQuery/2)+"a"), 400, "InvalidURI", "", ""},
		{swap("SignedHeaders=host", "SignedHeaders=host"+strings.Repeat(";host", maxAuthorization/5)), 400, "AuthorizationHeaderMalformed", "too long", ""},
	} {
		head := get(c.change)
		_, err := exampleVerifier().Verify(wire(t, head, nil))
		checkRefusal(t, head, err, c.status, c.code, c.message, c.field)
	}
}

func checkRefusal(t *testing.T, what string, err error, status int, code, message, field string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Errorf("%s\nnot refused: %v", what, err)
		return
	}
	if e.Status != status || e.Code != code || !strings.Contains(e.Message, message) {
		t.Errorf("%s\ngot %d %s %q", what, e.Status, e.Code, e.Message)
	}
	if name, value, ok := strings.Cut(field, "="); ok {
		found := false
		for _, f := range e.Fields {
			found = found || f.Name == name && strings.HasPrefix(f.Value, value)
		}
		if !found {
			t.Errorf("%s\nno field %s in %q", what, field, e.Fields)
		}
	}
}

const presignedQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"

func TestRefusedPresignedURLs(t *testing.T) {
	const missing = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
	type refusal struct {
		change  func(string) string
		now     time.Duration // after signing
		status  int
		code    string
		message string
		field   string
	}
	table := []refusal{
		{swap("86400", "86401"), 0, 403, "SignatureDoesNotMatch", "", "AWSAccessKeyId=" + exampleID},
		{swap("86400", "0"), 0, 400, "AuthorizationQueryParametersError", "X-Amz-Expires", ""},
		{swap("86400", "-1"), 0, 400, "AuthorizationQueryParametersError", "X-Amz-Expires must be non-negative", ""},
		{swap("86400", "604801"), 0, 400, "AuthorizationQueryParametersError", "X-Amz-Expires must be less than a week", ""},
		{swap("86400", "604800"), 0, 403, "SignatureDoesNotMatch", "", ""},
		{swap("86400", "soon"), 0, 400, "AuthorizationQueryParametersError", "X-Amz-Expires should be a number", ""},
		{swap("86400", "99999999999999999999"), 0, 400, "AuthorizationQueryParametersError", "X-Amz-Expires should be a number", ""},
		{swap("Date=20130524T000000Z", "Date=20130524"), 0, 400, "AuthorizationQueryParametersError", "X-Amz-Date must be in the ISO8601 Long Format", ""},
		{swap("=AWS4-HMAC-SHA256", "=AWS4-ECDSA-P256-SHA256"), 0, 400, "AuthorizationQueryParametersError", `X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"`, ""},
		{swap("20130524%2F", "20130523%2F"), 0, 400, "AuthorizationQueryParametersError", `Invalid credential date "20130523". This date is not the same as X-Amz-Date: "20130524".`, ""},
		{swap("%2F", "%252F"), 0, 400, "AuthorizationQueryParametersError", `Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`, ""},
		{swap("us-east-1", "us-west-1"), 0, 400, "AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter; the region 'us-west-1' is wrong; expecting 'us-east-1'", "Region=us-east-1"},
		{swap("&X-Amz-Expires", "&X-Amz-Expires=1&X-Amz-Expires"), 0, 400, "AuthorizationQueryParametersError", "once", ""},
		{swap("SignedHeaders=host", "SignedHeaders=range"), 0, 403, "AccessDenied", "There were headers present in the request which were not signed", "HeadersNotSigned=host"},
		{swap("HTTP/1.1\n", "HTTP/1.1\nx-amz-expires: 5\n"), 0, 403, "AccessDenied", "There were headers present in the request which were not signed", "HeadersNotSigned=x-amz-expires"},
		{swap("HTTP/1.1\n", "HTTP/1.1\nX-Amz-Date: 20211122T191045Z\nX-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\nX-Amz-Decoded-Content-Length: test\n"), 0,
			403, "AccessDenied", "", "HeadersNotSigned=x-amz-date, x-amz-decoded-content-length"},
		{swap("HTTP/1.1\n", "HTTP/1.1\nX-Amz-Content-Sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\n"), 0, 411, "MissingContentLength", "", ""},
		{swap("GET", "PUT"), 0, 403, "SignatureDoesNotMatch", "", "CanonicalRequest=PUT"},
		{swap("&X-Amz-Expires", "&versionId=1&X-Amz-Expires"), 0, 403, "SignatureDoesNotMatch", "", ""},
		{swap("&X-Amz-Expires", "&X-Amz-Security-Token=t&X-Amz-Expires"), 0, 400, "InvalidToken", "", ""},
		{swap("", ""), 24*time.Hour + time.Second, 403, "AccessDenied", "Request has expired", "X-Amz-Expires=86400"},
		{swap("", ""), 24*time.Hour + time.Second, 403, "AccessDenied", "Request has expired", "Expires=2013-05-25T00:00:00Z"},
		{swap("", ""), 24*time.Hour + time.Second, 403, "AccessDenied", "Request has expired", "ServerTime=2013-05-25T00:00:01Z"},
		{swap("", ""), -15*time.Minute - time.Second, 403, "AccessDenied", "Request is not yet valid", "X-Amz-Date=1369353600000"},
		{swap("", ""), -15*time.Minute - time.Second, 403, "AccessDenied", "Request is not yet valid", "Expires=2013-05-25T00:00:00Z"},
		{swap(presignedQuery, "AWSAccessKeyId=A&Signature=s"), 0, 403, "AccessDenied", "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters", ""},
		{swap(presignedQuery, "AWSAccessKeyId=A&Signature=s&Expires=1"), 0, 403, "AccessDenied", "Request has expired", ""},
		{swap(presignedQuery, "Signature=s"), 0, 403, "AccessDenied", "Query-string authentication requires the Signature", ""},
	}
	for _, name := range authParams {
		old := name + "="
		table = append(table, refusal{func(s string) string { return strings.Replace(s, old, "x="+old[:3], 1) }, 0, 400, "AuthorizationQueryParametersError", missing, ""})
	}
	for _, c := range table {
		head := c.change("GET /test.txt?" + presignedQuery + " HTTP/1.1\nHost: examplebucket.s3.amazonaws.com")
		v := exampleVerifier()
		signedAt := v.Now()
		v.Now = func() time.Time { return signedAt.Add(c.now) }
		_, err := v.Verify(wire(t, head, nil))
		checkRefusal(t, head, err, c.status, c.code, c.message, c.field)
	}
	for _, now := range []time.Duration{0, 24 * time.Hour, -15 * time.Minute} {
		v := exampleVerifier()
		signedAt := v.Now()
		v.Now = func() time.Time { return signedAt.Add(now) }
		if _, err := v.Verify(wire(t, "GET /test.txt?"+presignedQuery+" HTTP/1.1\nHost: examplebucket.s3.amazonaws.com", nil)); err != nil {
			t.Errorf("at %v: %v", now, err)
		}
	}
}

func TestAnonymousRequestsAreNamedSo(t *testing.T) {
	res, err := exampleVerifier().Verify(wire(t, "PUT /b/k HTTP/1.1\nHost: h\nContent-Length: 3", []byte("abc")))
	if err != nil || !res.Anonymous || res.AccessKeyID != "" || res.ContentLength != 3 {
		t.Fatalf("%+v, %v", res, err)
	}
	if b, err := io.ReadAll(res.Body); string(b) != "abc" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	_, err = exampleVerifier().Verify(wire(t, "PUT /b/k HTTP/1.1\nHost: h\nx-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\nx-amz-decoded-content-length: 3\nContent-Length: 3", []byte("abc")))
	if code(err) != "AccessDenied" {
		t.Fatalf("anonymous signed stream: %v", err)
	}
}

func TestLookupErrorsAreNotTheClients(t *testing.T) {
	boom := errors.New("disk on fire")
	v := exampleVerifier()
	v.Lookup = func(context.Context, string) ([]byte, error) { return nil, boom }
	_, err := v.Verify(wire(t, get(swap("", "")), nil))
	var e *Error
	if !errors.Is(err, boom) || errors.As(err, &e) {
		t.Errorf("got %v", err)
	}
	v.Lookup = func(context.Context, string) ([]byte, error) { return nil, nil }
	if _, err := v.Verify(wire(t, get(swap("", "")), nil)); err == nil || errors.As(err, &e) {
		t.Errorf("empty secret: %v", err)
	}
}

func TestAChangedSecretCountsAtOnce(t *testing.T) {
	v := exampleVerifier()
	head := get(swap("", ""))
	if _, err := v.Verify(wire(t, head, nil)); err != nil {
		t.Fatal(err)
	}
	v.Lookup = lookup(exampleID, "another secret")
	if _, err := v.Verify(wire(t, head, nil)); code(err) != "SignatureDoesNotMatch" {
		t.Fatalf("old secret after a change: %v", err)
	}
	v.Lookup = lookup("other", exampleSecret)
	if _, err := v.Verify(wire(t, head, nil)); code(err) != "InvalidAccessKeyId" {
		t.Fatalf("removed key: %v", err)
	}
}

func TestAVerifierServesManyAtOnce(t *testing.T) {
	v := exampleVerifier()
	v.Region = ""
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				head := get(swap("", ""))
				if i%2 == 1 {
					head = get(swap("bytes=0-9", "bytes=0-1"))
				}
				_, err := v.Verify(wire(t, head, nil))
				if want := []string{"", "SignatureDoesNotMatch"}[i%2]; code(err) != want {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestKeyCacheIsBounded(t *testing.T) {
	var c keyCache
	for i := range 3 * maxCachedKeys {
		c.put(c.name([]byte("secret"), fmt.Sprint(i), "r", "s3"), signingKey{byte(i)})
	}
	if len(c.keys) != maxCachedKeys {
		t.Fatalf("%d keys", len(c.keys))
	}
	if c.name([]byte("ab"), "c", "d", "e") == c.name([]byte("b"), "c", "d", "ea") || c.name(nil, "ab", "c", "d") == c.name(nil, "a", "bc", "d") {
		t.Fatal("two inputs share a name")
	}
}

func TestErrorsDoNotPrintWhatTheClientSent(t *testing.T) {
	head := get(swap("Range: bytes=0-9", "Range: bytes=0-9\nx-amz-server-side-encryption-customer-key: SECRETKEY"))
	head = strings.Replace(head, ";x-amz-date,", ";x-amz-date;x-amz-server-side-encryption-customer-key,", 1)
	_, err := exampleVerifier().Verify(wire(t, head, nil))
	var buf bytes.Buffer
	slog.New(slog.NewTextHandler(&buf, nil)).Info("refused", "err", err)
	buf.WriteString(err.Error())
	if code(err) != "SignatureDoesNotMatch" || strings.Contains(buf.String(), "SECRETKEY") || strings.Contains(buf.String(), hex.EncodeToString([]byte("SECRET"))) {
		t.Errorf("%s", buf.String())
	}
}

func TestQueryHeadersAreThoseThatWereMovedThere(t *testing.T) {
	q, _ := parseQuery("X-Amz-Meta-A=1&x-amz-acl=private&x-id=PutObject&" + presignedQuery + "&x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-checksum-mode=ENABLED&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&versionId=3")
	want := http.Header{"X-Amz-Meta-A": {"1"}, "X-Amz-Acl": {"private"}, "X-Amz-Checksum-Mode": {"ENABLED"}}
	if got := queryHeaders(q); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v", got)
	}
}

func TestPathsAreSignedAsAWSDoesOrAsSent(t *testing.T) {
	for _, c := range []struct{ sent, canonical string }{
		{"/a+b", "/a%2Bb"}, {"/a!b", "/a%21b"}, {"/a%2fb", "/a/b"}, {"/a%2Fb", "/a/b"}, {"//a/./../b/", "//a/./../b/"}, {"/%7Ea", "/~a"}, {"/a*", "/a%2A"}, {"/%C3%BC", "/%C3%BC"},
	} {
		u, err := url.ParseRequestURI(c.sent)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendCanonicalPath(nil, u)); got != c.canonical {
			t.Errorf("%s: got %s, want %s", c.sent, got, c.canonical)
		}
		for _, path := range []string{c.sent, c.canonical} {
			toSign := "GET\n" + path + "\n\nhost:h\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:20130524T000000Z\n\nhost;x-amz-content-sha256;x-amz-date\nUNSIGNED-PAYLOAD"
			if err := verifyWith(t, c.sent, sign(toSign)); err != nil {
				t.Errorf("sent %s, signed %s: %v", c.sent, path, err)
			}
		}
		if err := verifyWith(t, c.sent, sign("GET\n"+c.canonical+"x\n")); code(err) != "SignatureDoesNotMatch" {
			t.Errorf("%s: %v", c.sent, err)
		}
	}
}

// sign signs a canonical request with the example's key for the example's day.
func sign(canonical string) string {
	key := deriveKey([]byte(exampleSecret), "20130524", "us-east-1", "s3")
	sum := mac(key[:], algorithm+"\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n"+hexSHA256(canonical))
	return hex.EncodeToString(sum[:])
}

func verifyWith(t *testing.T, path, signature string) error {
	_, err := exampleVerifier().Verify(wire(t, "GET "+path+` HTTP/1.1
Host: h
x-amz-content-sha256: UNSIGNED-PAYLOAD
x-amz-date: 20130524T000000Z
`+auth+`,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=`+signature, nil))
	return err
}
