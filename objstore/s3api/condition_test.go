package s3api

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

func TestETagLists(t *testing.T) {
	for _, c := range []struct {
		header string
		strong bool
		want   []string
	}{
		{"", true, nil},
		{`"a"`, true, []string{"a"}},
		{`a`, true, []string{"a"}},
		{`*`, true, []string{"*"}},
		{`"a", "b"`, true, []string{"a", "b"}},
		{`a,b`, true, []string{"a", "b"}},
		{` "a-2" ,W/"b"`, false, []string{"a-2", "b"}},
		{`W/"b"`, true, []string{"W/b"}},
		{`"a`, true, []string{"a"}},
		{`,,"",`, true, nil},
	} {
		if got := parseETags(c.header, c.strong); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %q", c.header, got)
		}
	}
}

func FuzzETags(f *testing.F) {
	for _, s := range []string{`"a", "b"`, `W/"x",*`, `a,b,,"`, `"`, `W/`} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, strong bool) {
		for _, tag := range parseETags(s, strong) {
			if len(tag) > len(s) || strings.Contains(tag, `"`) && strings.HasPrefix(s, `"`) && !strings.Contains(s[1:], `"`) {
				t.Fatalf("%q: %q", s, tag)
			}
		}
	})
}

func TestDatesOfConditions(t *testing.T) {
	for s, want := range map[string]objstore.Time{
		"": 0, "no date": 0, "Thu, 01 Jan 1970 00:00:00 GMT": 1, "Thu, 01 Jan 1970 00:00:01 GMT": 1e9,
		"Thursday, 01-Jan-70 00:00:02 GMT": 2e9, "Thu Jan  1 00:00:03 1970": 3e9, "1970-01-01T00:00:04Z": 4e9,
		"Fri, 01 Jan 2900 00:00:00 GMT": 1<<63 - 1, "Mon, 01 Jan 1000 00:00:00 GMT": -1 << 63,
	} {
		if got := parseHTTPTime(s); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

func FuzzHTTPTime(f *testing.F) {
	f.Add("Fri, 01 Jan 2016 00:00:00 GMT")
	f.Add("9999-12-31T23:59:59Z")
	f.Fuzz(func(t *testing.T, s string) {
		at := parseHTTPTime(s)
		if at > 0 && at != 1<<63-1 && at != 1 && parseHTTPTime(at.Std().Format(time.RFC3339Nano)) != at {
			t.Fatalf("%q: %d", s, at)
		}
	})
}

func TestConditionOrder(t *testing.T) {
	modified := objstore.TimeOf(time.Date(2026, 3, 1, 12, 0, 0, 500, time.UTC))
	before, same, after := modified-2e9, objstore.TimeOf(modified.Std().Truncate(time.Second)), modified+2e9
	info := &objstore.ObjectInfo{ETag: "tag", LastModified: modified}
	for _, c := range []struct {
		p    objstore.Precondition
		want string
	}{
		{objstore.Precondition{}, ""},
		{objstore.Precondition{IfMatch: []string{"tag"}}, ""},
		{objstore.Precondition{IfMatch: []string{"x", "*"}}, ""},
		{objstore.Precondition{IfMatch: []string{"x"}}, "If-Match"},
		{objstore.Precondition{IfMatch: []string{"tag"}, IfUnmodifiedSince: before}, ""},
		{objstore.Precondition{IfUnmodifiedSince: before}, "If-Unmodified-Since"},
		{objstore.Precondition{IfUnmodifiedSince: same}, ""},
		{objstore.Precondition{IfNoneMatch: []string{"tag"}}, "If-None-Match"},
		{objstore.Precondition{IfNoneMatch: []string{"x"}, IfModifiedSince: after}, ""},
		{objstore.Precondition{IfNoneMatch: []string{"x"}, IfUnmodifiedSince: before}, "If-Unmodified-Since"},
		{objstore.Precondition{IfModifiedSince: same}, "If-Modified-Since"},
		{objstore.Precondition{IfModifiedSince: before}, ""},
	} {
		if got := failing(readConditions, c.p, info); got != c.want {
			t.Errorf("%+v: %q, want %q", c.p, got, c.want)
		}
	}
}
