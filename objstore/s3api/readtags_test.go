package s3api

import (
	"strings"
	"testing"
)

// What a policy lets read for its tags is what is read, whenever it is replaced or gets
// other tags.
func TestReadIsOfTheTagsThatWereAuthorized(t *testing.T) {
	d, steps := openSteppedDoor(t)
	d.bucket("bucket")
	const any = "arn:aws:s3:::bucket/*"
	public := d.user("public", `{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectAttributes"],"Resource":"`+any+`","Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"public"}}}`)
	put := func(body, tags string) func() {
		return func() { d.do("PUT", "/bucket/k", body, "x-amz-tagging", tags).ok(t, body, 200) }
	}
	for _, c := range []struct {
		name, method, target string
		headers              []string
	}{
		{"get", "GET", "/bucket/k", nil},
		{"head", "HEAD", "/bucket/k", nil},
		{"head of a range", "HEAD", "/bucket/k", []string{"Range", "bytes=0-1"}},
		{"attributes", "GET", "/bucket/k?attributes", []string{"x-amz-object-attributes", "ETag"}},
	} {
		refused := false
		steps.atEachStep(t, put("open", "class=public"), put("secret", "class=secret"), func() {
			a := public.do(c.method, c.target, "", c.headers...)
			if a.status == 403 {
				refused = true
				return
			}
			if a.status/100 != 2 || strings.Contains(a.body, "secret") || strings.Contains(a.body+a.header.Get("ETag"), md5Hex("secret")) {
				t.Errorf("%s: read what it must not: %v %v", c.name, a, a.header)
			}
		})
		if !refused {
			t.Errorf("%s: the object was never replaced in time", c.name)
		}
	}
	// Asked about again, it is served if it may be, and the bytes are those of its tags.
	steps.atEachStep(t, put("open", "class=public&v=1"), put("other", "class=public&v=2"), func() {
		a := public.do("GET", "/bucket/k", "")
		if a.ok(t, "both are public", 200); a.body != "open" && a.body != "other" {
			t.Error(a)
		}
	})
}
