package s3api

import (
	"net/http"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// Who goes on with a download gets the rest of the object that they have a part of, and
// otherwise all of what is there now.
func TestIfRangeDecidesWhetherARangeCounts(t *testing.T) {
	d := openDoor(t, func(o *Options) {
		o.Now = func() time.Time { return time.Now().Add(10 * time.Second) } // dates are strong validators by then
	})
	d.bucket("bucket")
	d.put("bucket", "k", "0123456789")
	head := d.do("HEAD", "/bucket/k", "").header
	etag, date := head.Get("Etag"), head.Get("Last-Modified")
	when, err := http.ParseTime(date)
	if err != nil {
		t.Fatal(err)
	}
	near := func(off time.Duration) string { return when.Add(off).Format(http.TimeFormat) }
	for _, c := range []struct {
		condition, span string
		status          int
	}{
		{etag, "bytes=2-4", 206},
		{" " + etag + " ", "bytes=2-", 206},
		{etag, "bytes=0-9", 206}, // all of it is a range, too
		{date, "bytes=2-4", 206},
		{`"other"`, "bytes=2-4", 200},
		{"W/" + etag, "bytes=2-4", 200},
		{`""`, "bytes=2-4", 200},
		{near(-time.Second), "bytes=2-4", 200},
		{near(time.Second), "bytes=2-4", 200},
		{"", "bytes=2-4", 200},
		{"nonsense", "bytes=2-4", 200},
		// A range that does not count need not lie within the object.
		{`"other"`, "bytes=20-", 200},
		{etag, "bytes=20-", 416},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			a := d.do(method, "/bucket/k", "", "Range", c.span, "If-Range", c.condition)
			if a.status != c.status || (a.header.Get("Content-Range") != "") != (c.status == 206) {
				t.Errorf("%s, %s of %q: %d %q", method, c.span, c.condition, a.status, a.header.Get("Content-Range"))
			}
		}
	}
	if a := d.do("GET", "/bucket/k", "", "Range", "bytes=2-4", "If-Range", etag); a.body != "234" {
		t.Error(a)
	}
}

func TestIfRangeByADateWantsASecond(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	text := when.Format(http.TimeFormat)
	written := objstore.TimeOf(when.Add(500 * time.Millisecond))
	for after, want := range map[time.Duration]bool{-time.Second: false, 999 * time.Millisecond: false, time.Second: true, time.Hour: true} {
		if got := parseIfRange(text, when.Add(after)).Holds("x", written); got != want {
			t.Errorf("%v later: %v", after, got)
		}
	}
}
