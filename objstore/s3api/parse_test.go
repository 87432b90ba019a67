package s3api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

func TestRangeHeaderIsReadAsS3Does(t *testing.T) {
	const end = 1<<63 - 1
	for _, c := range []struct {
		header        string
		want          *objstore.Range
		unsatisfiable bool
	}{
		{"bytes=0-8", &objstore.Range{First: 0, Last: 8}, false},
		{"bytes=1-1", &objstore.Range{First: 1, Last: 1}, false},
		{"bytes=0-0", &objstore.Range{First: 0, Last: 0}, false},
		{"bytes=1-", &objstore.Range{First: 1, Last: -1}, false},
		{"bytes=-2", &objstore.Range{First: -2}, false},
		{"bytes=-15", &objstore.Range{First: -15}, false},
		{"bytes=100-200", &objstore.Range{First: 100, Last: 200}, false},
		{"bytes=99999999999999999999-", &objstore.Range{First: end, Last: -1}, false},
		{"bytes=0-99999999999999999999", &objstore.Range{First: 0, Last: end}, false},
		{"bytes=-99999999999999999999", &objstore.Range{First: -end}, false},
		{"bytes=-0", nil, true},
		{"bytes=1-0", nil, false},
		{"bytes=-1-", nil, false},
		{"bytes=0--1", nil, false},
		{"bytes=0-1,3-4,7-9", nil, false},
		{"bytes=-", nil, false},
		{"bytes=", nil, false},
		{"bytes=+1-2", nil, false},
		{"bytes 0-8", nil, false},
		{"0-8", nil, false},
		{"", nil, false},
	} {
		got, unsatisfiable := parseRange(c.header)
		if !reflect.DeepEqual(got, c.want) || unsatisfiable != c.unsatisfiable {
			t.Errorf("%q: %+v, %v", c.header, got, unsatisfiable)
		}
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-8", "bytes=-5", "bytes=5-", "bytes=-0", "bytes=0-1,2-3", "bytes=9223372036854775807-9223372036854775807", "bytes=-9223372036854775808"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, s string, size int64) {
		if size < 0 {
			size = -(size + 1)
		}
		if r, _ := parseRange(s); r != nil {
			off, n, ok := r.Resolve(size)
			if ok && (off < 0 || n <= 0 || n > size-off) {
				t.Fatalf("%q of %d: %d+%d", s, size, off, n)
			}
		}
		if r, ok := parseCopyRange(s); ok && (r.First < 0 || r.Last < r.First) {
			t.Fatalf("%q: %+v", s, r)
		}
	})
}

func TestCopyRangeMustBeWhole(t *testing.T) {
	for s, want := range map[string]bool{
		"bytes=0-8": true, "bytes=0-0": true, "bytes=5-100": true,
		"0-8": false, "bytes=1-0": false, "bytes=-1-": false, "bytes=0--1": false, "bytes=0-1,3-4,7-9": false,
		"bytes=-": false, "bytes=-0": false, "bytes=1-": false, "bytes=-2": false, "bytes=-15": false, "": false,
	} {
		if _, ok := parseCopyRange(s); ok != want {
			t.Errorf("%q: %v", s, ok)
		}
	}
}

// onlyNull stands for a store that has no versions.
func onlyNull(v string) (objstore.VersionID, error) {
	if v == "null" {
		return objstore.NullVersion, nil
	}
	return "", errInvalidArgument("Invalid version id specified", "versionId", v)
}

func TestCopySourceIsDecodedOnce(t *testing.T) {
	for _, c := range []struct{ header, bucket, key string }{
		{"bucket/key", "bucket", "key"},
		{"/bucket/key", "bucket", "key"},
		{"bucket/a/b", "bucket", "a/b"},
		{"bucket/a%2Fb", "bucket", "a/b"},
		{"bucket%2Fkey", "bucket", "key"},
		{"bucket/a+b%2B%20c", "bucket", "a b+ c"},
		{"bucket%2Fa+b", "bucket", "a b"},
		{"https://s3.amazonaws.com/bucket/key", "bucket", "key"},
		{"http://127.0.0.1:80/bucket/a/b?versionId=null", "bucket", "a/b"},
		{"bucket/https://host/key", "bucket", "https://host/key"},
		{"bucket/a%252Fb", "bucket", "a%2Fb"},
		{"bucket//a//b/", "bucket", "/a//b/"},
		{"bucket/../x/.", "bucket", "../x/."},
		{"bucket/%3FversionId=null", "bucket", "?versionId=null"},
		{"bucket/key?versionId=null", "bucket", "key"},
		{"bucket/%F0%9F%98%80", "bucket", "\U0001F600"},
	} {
		got, err := parseCopySource(c.header, onlyNull)
		if err != nil || got.bucket != c.bucket || got.key != c.key {
			t.Errorf("%q: %+v, %v", c.header, got, err)
		}
	}
	for header, code := range map[string]string{
		"": "InvalidArgument", "wrongformat": "InvalidArgument", "/": "InvalidArgument", "bucket/": "InvalidArgument",
		"bucket/%zz": "InvalidArgument", "bucket/%00": "InvalidArgument", "bucket/%ff": "InvalidArgument",
		"Upper/key":                           "InvalidArgument",
		"https:/bucket/key":                   "InvalidArgument",
		"https://bucket/key":                  "InvalidArgument",
		"https://":                            "InvalidArgument",
		"bucket/key?versionId=abc":            "InvalidArgument",
		"bucket/key?versionId=":               "InvalidArgument",
		"bucket/" + strings.Repeat("k", 1025): "KeyTooLongError",
	} {
		_, err := parseCopySource(header, onlyNull)
		q := &request{}
		if err == nil || q.translate(err).Code != code {
			t.Errorf("%.40q: %v", header, err)
		}
	}
}

func FuzzCopySource(f *testing.F) {
	for _, s := range []string{"bucket/key", "/bucket/a%2Fb?versionId=null", "bucket/%E2%98%83", "b?versionId=%zz", "arn:aws:s3:::bucket/key", "https://h/b/k+"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		src, err := parseCopySource(s, onlyNull)
		if err != nil {
			return
		}
		src.version = ""
		again, err := parseCopySource(src.bucket+"/"+encodePath(src.key), onlyNull)
		if err != nil || again != src {
			t.Fatalf("%q: %+v, then %+v, %v", s, src, again, err)
		}
	})
}

func TestHostNamesABucket(t *testing.T) {
	domains := []string{"localhost", "example.com", "s3.example.com"}
	for host, want := range map[string]string{
		"localhost": "", "localhost:9000": "", "LOCALHOST": "", "127.0.0.1:9000": "", "[::1]:9000": "",
		"photos.localhost:9000": "photos", "Photos.localhost": "photos", "a.b.localhost": "a.b",
		"s3.example.com": "", "photos.s3.example.com:443": "photos", "photos.example.com.": "photos",
		"notlocalhost": "", "localhost.evil.org": "", "": "",
	} {
		if got := bucketOfHost(host, domains); got != want {
			t.Errorf("%q: %q", host, got)
		}
	}
}

func TestPathIsTakenApartAndNotCleaned(t *testing.T) {
	s := &Server{o: Options{Domains: []string{"localhost"}}}
	for _, c := range []struct{ host, target, bucket, key string }{
		{"h", "/", "", ""},
		{"h", "/b", "b", ""},
		{"h", "/b/", "b", ""},
		{"h", "/b/k", "b", "k"},
		{"h", "/b//k", "b", "/k"},
		{"h", "/b/a//b/", "b", "a//b/"},
		{"h", "/b/./../x", "b", "./../x"},
		{"h", "/b/a+b%20c%2Fd%2B", "b", "a+b c/d+"},
		{"h", "/b/%2525", "b", "%25"},
		{"h", "/b/%3Facl", "b", "?acl"},
		{"h", "/b/;x=1", "b", ";x=1"},
		{"v.localhost:1", "/", "v", ""},
		{"v.localhost:1", "//k", "v", "/k"},
		{"v.localhost:1", "/k/", "v", "k/"},
	} {
		u, err := url.ParseRequestURI(c.target)
		if err != nil {
			t.Fatal(err)
		}
		q := &request{s: s, r: &http.Request{Method: "GET", Host: c.host, URL: u}}
		if q.parseTarget(); q.bucket != c.bucket || q.key != c.key {
			t.Errorf("%s %s: %q %q, %v", c.host, c.target, q.bucket, q.key, err)
		}
	}
}

func TestMetadataTravelsAsRFC2047(t *testing.T) {
	// AWS's answers, recorded 2026-02-21 by the LocalStack project (Apache-2.0).
	for _, c := range []struct{ sent, stored, answered string }{
		{"plain", "plain", "plain"},
		{"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"},
		{"=?UTF-8?B?YWJj?=", "abc", "abc"},
		{"=?UTF-8?Q?test=5F=E2=80=94=5Ffile%E2%80%94=5F=C3=A9=5F2=3F.pdf?=", "test_\u2014_file%E2%80%94_\u00e9_2?.pdf",
			"=?UTF-8?Q?test=5F=E2=80=94=5Ffile%E2%80%94=5F=C3=A9=5F2=3F.pdf?="},
		{"\u00c4M\u00c4Z\u00d5\u00d1 S3", "\u00c4M\u00c4Z\u00d5\u00d1 S3", "=?UTF-8?Q?=C3=84M=C3=84Z=C3=95=C3=91_S3?="},
		{"=?UTF-8?B?AAECAw==?=", "\x00\x01\x02\x03", "=?UTF-8?B?AAECAw==?="},
		{"=?UTF-8?B?8WHx?=", "\uFFFDa\uFFFD", "=?UTF-8?B?77+9Ye+/vQ==?="},
		{"\xff\xfe", "\uFFFD\uFFFD", "=?UTF-8?B?77+977+9?="},
		{"=?unknown?Q?x?=", "=?unknown?Q?x?=", "=?unknown?Q?x?="},
	} {
		if got := decodeMeta(c.sent); got != c.stored {
			t.Errorf("%q: stored %q, want %q", c.sent, got, c.stored)
		}
		if got := encodeMeta(c.stored); got != c.answered {
			t.Errorf("%q: answered %q, want %q", c.stored, got, c.answered)
		}
	}
}

func FuzzMetadata(f *testing.F) {
	for _, s := range []string{"plain", "=?UTF-8?B?YWJj?=", "\u00c4 \u2014?=_", "=?UTF-8?Q?=?=", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		stored := decodeMeta(s)
		if !utf8.ValidString(stored) {
			t.Fatalf("%q: stored %q", s, stored)
		}
		header := encodeMeta(stored)
		for i := 0; i < len(header); i++ {
			if header[i] < ' ' && header[i] != '\t' || header[i] >= 0x7f {
				t.Fatalf("%q: header %q", s, header)
			}
		}
		if header != stored && decodeMeta(header) != stored {
			t.Fatalf("%q: %q came back as %q", s, stored, decodeMeta(header))
		}
	})
}

func TestContentEncodingLeavesOutThatOfTheRequest(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   string
	}{
		{nil, ""}, {[]string{"aws-chunked"}, ""}, {[]string{"gzip"}, "gzip"},
		{[]string{"aws-chunked,gzip"}, "gzip"}, {[]string{"gzip, AWS-chunked , br"}, "gzip, br"}, {[]string{"gzip", "aws-chunked"}, "gzip"},
		{[]string{"deflate, gzip"}, "deflate, gzip"}, {[]string{"deflate, gzip,aws-chunked"}, "deflate, gzip"}, {[]string{"aws-chunked, gzip"}, "gzip"},
	} {
		if got := contentEncoding(c.values); got != c.want {
			t.Errorf("%q: %q", c.values, got)
		}
	}
}

func TestUserMetadataIsBounded(t *testing.T) {
	at := http.Header{"X-Amz-Meta-K": {strings.Repeat("v", objstore.MaxUserMetadata-1)}}
	if m, err := userMetadata(at); err != nil || len(m["k"]) != objstore.MaxUserMetadata-1 {
		t.Errorf("at the limit: %v", err)
	}
	at.Set("X-Amz-Meta-K", strings.Repeat("v", objstore.MaxUserMetadata))
	if _, err := userMetadata(at); err == nil {
		t.Error("over the limit")
	}
}

func TestTokens(t *testing.T) {
	for _, name := range []string{"", "k", "a/b/", "\U0001F600%2F+ ", strings.Repeat("x", 1025)} {
		got, err := parseToken(formatToken(name))
		if err != nil || got != name {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	good := formatToken("key")
	for _, bad := range []string{"", "x", "not a token", good[:len(good)-1], good + "A", strings.ToLower(good), strings.Repeat("A", 5000)} {
		if got, err := parseToken(bad); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func FuzzToken(f *testing.F) {
	f.Add(formatToken("a/b"))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := parseToken(s); err == nil && formatToken(name) != s {
			t.Fatalf("%q is not the token of %q", s, name)
		}
	})
}

func TestNamesInURLEncoding(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "a/b-c_d.e*f": "a/b-c_d.e*f", "a b": "a+b", "a+b": "a%2Bb", "%2F": "%252F", "test_file(3).png": "test_file%283%29.png",
		"\u00e9~": "%C3%A9%7E", "\x01": "%01", "a=b&c": "a%3Db%26c",
	} {
		if got := encodeURL(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		if back, err := url.QueryUnescape(encodeURL(name)); err != nil || back != name {
			t.Errorf("%q came back as %q, %v", name, back, err)
		}
	}
}

func TestMarkerInACommonPrefixMeansAllOfIt(t *testing.T) {
	l := listing{prefix: "folder/", delimiter: "/"}
	for marker, want := range map[string]string{
		"": "", "folder/a": "folder/a", "folder/a/x": "folder/a/", "folder/a/": "folder/a/", "other/x": "other/x", "folder/a/b/c": "folder/a/",
	} {
		if got := l.outside(marker); got != want {
			t.Errorf("%q: %q, want %q", marker, got, want)
		}
	}
	if l := (listing{prefix: "folder/"}); l.outside("folder/a/x") != "folder/a/x" {
		t.Error("without delimiter")
	}
}

func TestEveryKindHasAnAnswer(t *testing.T) {
	for k := range objstore.Kind(objstore.NumKinds) {
		a := answers[k]
		if a.status < 300 || a.status > 599 || a.code == "" || a.message == "" {
			t.Errorf("%s: %+v", k, a)
		}
		q := &request{s: &Server{store: new(engine.Store)}, r: &http.Request{URL: &url.URL{Path: "/b/k"}}, bucket: "b", key: "k"}
		e := q.translate(fmt.Errorf("wrapped: %w", objstore.E(k, "op", "what", "")))
		if e.Status != a.status || e.Code != a.code || e.Message != a.message {
			t.Errorf("%s: %+v", k, e)
		}
		if !errors.As(e.cause, new(*objstore.Error)) {
			t.Errorf("%s: the cause is lost to the log", k)
		}
	}
	// Faults of the server are told from those of the client.
	for _, k := range []objstore.Kind{objstore.KindInternal, objstore.KindCorrupt} {
		if answers[k].status != 500 {
			t.Errorf("%s: %d", k, answers[k].status)
		}
	}
	conditional := &request{header: http.Header{"If-Match": {`"x"`}}, key: "k"}
	if e := conditional.translate(objstore.E(objstore.KindConflict, "op", "k", "")); e.Status != 409 || e.Code != "ConditionalRequestConflict" ||
		!reflect.DeepEqual(e.Fields, []sigv4.Field{{Name: "Condition", Value: "If-Match"}, {Name: "Key", Value: "k"}}) {
		t.Errorf("%+v", e)
	}
	q := &request{r: &http.Request{URL: &url.URL{Path: "/b/k"}}}
	if e := q.translate(errors.New("secret detail")); e.Code != "InternalError" || strings.Contains(e.Message, "secret") {
		t.Errorf("%+v", e)
	}
}

func TestRoutesHaveDistinctParameters(t *testing.T) {
	for name, table := range map[string]map[string]resource{"service": serviceRoutes, "bucket": bucketRoutes, "object": objectRoutes} {
		for method, res := range table {
			seen := map[string]bool{}
			for _, s := range res.subresources {
				if seen[s.param] || s.handle == nil || s.name == "" {
					t.Errorf("%s %s ?%s", name, method, s.param)
				}
				seen[s.param] = true
			}
		}
	}
}
