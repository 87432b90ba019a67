package s3api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// A CORS document that is kept says what the one says that came.
func FuzzCORS(f *testing.F) {
	f.Add(`<CORSConfiguration><CORSRule><AllowedOrigin>http://*.example.com</AllowedOrigin><AllowedMethod>GET</AllowedMethod><MaxAgeSeconds>3000</MaxAgeSeconds></CORSRule></CORSConfiguration>`,
		"http://www.example.com", "x-amz-date")
	f.Add(`<CORSConfiguration><CORSRule><ID>a&#13;b</ID><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader></CORSRule></CORSConfiguration>`, "null", "x-a,content-type")
	f.Fuzz(func(t *testing.T, text, origin, headers string) {
		var doc corsDocument
		if decodeXML(strings.NewReader(text), "CORSConfiguration", &doc) != nil || doc.check() != nil {
			return
		}
		var x xmlWriter
		doc.write(&x)
		kept, err := parseCORS(x.b)
		if err != nil {
			t.Fatalf("%q was kept as %q: %v", text, x.b, err)
		}
		again := corsDocument{}
		for _, r := range kept {
			again.CORSRule = append(again.CORSRule, *r.corsRule)
		}
		var y xmlWriter
		if again.write(&y); !bytes.Equal(x.b, y.b) {
			t.Fatalf("%q became %q", x.b, y.b)
		}
		asked := strings.Split(strings.ToLower(headers), ",")
		for _, method := range corsMethods {
			came, at := doc.compile().match(origin, method, asked)
			left, then := kept.match(origin, method, asked)
			if (came == nil) != (left == nil) || at != then {
				t.Fatalf("%s from %q: %q and %q", method, origin, at, then)
			}
			if at != "" && at != "*" && !strings.Contains(at, "*") && at != origin {
				t.Fatalf("%q allows %q", at, origin)
			}
		}
	})
}

// An encryption context is what its base64 says, or refused.
func FuzzEncryptionContext(f *testing.F) {
	for _, text := range []string{`{"a":"b"}`, `{}`, `null`, `[]`, `{"a":1}`, `{"a":"b","a":"c"}`, `{"aws:s3:arn":"` + "\\u0000" + `"}`} {
		f.Add(base64.StdEncoding.EncodeToString([]byte(text)))
	}
	f.Add("no base64")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parseContext(s)
		if err != nil {
			return
		}
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseContext(base64.StdEncoding.EncodeToString(text)); len(s) <= maxContext/8 && (err != nil || !maps.Equal(m, again)) {
			t.Fatalf("%q is %q, and then %q, %v", s, m, again, err)
		}
	})
}

// A date that is taken is told again as the same.
func FuzzDates(f *testing.F) {
	for _, s := range []string{`"etag"`, `W/"etag"`, `"`, `""`, "Fri, 01 Jan 2016 00:00:00 GMT", "2099-01-01T00:00:00Z", "2261-12-31T23:59:59.999999999-23:59", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"} {
		f.Add(s)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		c := parseIfRange(s, now)
		if c == nil || c.ETag != "" && c.Modified != 0 {
			t.Fatalf("%q: %+v", s, c)
		}
		if at := c.Modified; at > objstore.TimeOf(now) {
			t.Fatalf("%q is in the future: %d", s, at)
		} else if at > -1<<62 && at != 0 {
			if again := parseIfRange(at.Std().Format(http.TimeFormat), now); again.Modified != at || !again.Holds("other", at) {
				t.Fatalf("%q is %d, and then %+v", s, at, again)
			}
		}
		if at, ok := parseLockTime(s); ok {
			again, ok := parseLockTime(formatLockTime(at))
			if d := int64(at - again); !ok || d < 0 || d >= int64(time.Millisecond) {
				t.Fatalf("%q is %d, and then %d, %v", s, at, again, ok)
			}
		}
	})
}
