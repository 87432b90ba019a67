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

// What a policy lets rename or tag anew for its tags is what gets another key or other
// tags, or is asked about again.
func TestChangeIsOfTheTagsThatWereAuthorized(t *testing.T) {
	d, steps := openSteppedDoor(t)
	d.bucket("bucket")
	const any = "arn:aws:s3:::bucket/*"
	public := d.user("public", `{"Effect":"Allow","Action":"s3:*","Resource":"`+any+`","Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"public"}}}`,
		`{"Effect":"Allow","Action":["s3:PutObject","s3:GetObject","s3:DeleteObject"],"Resource":["arn:aws:s3:::bucket/own"]}`)
	put := func(body, tags string) func() {
		return func() { d.do("PUT", "/bucket/k", body, "x-amz-tagging", tags).ok(t, body, 200) }
	}
	const tags = `<Tagging><TagSet><Tag><Key>class</Key><Value>public</Value></Tag></TagSet></Tagging>`
	for _, c := range []struct {
		name, method, target, body string
		headers                    []string
	}{
		{"rename", "PUT", "/bucket/own?renameObject", "", []string{"x-amz-rename-source", "k"}},
		{"tag", "PUT", "/bucket/k?tagging", tags, nil},
		{"remove tags", "DELETE", "/bucket/k?tagging", "", nil},
		{"read tags", "GET", "/bucket/k?tagging", "", nil},
	} {
		refused := false
		steps.atEachStep(t, put("open", "class=public"), put("secret", "class=secret"), func() {
			a := public.do(c.method, c.target, c.body, c.headers...)
			refused = refused || a.status == 403
			if strings.Contains(a.body, "secret") {
				t.Errorf("%s: %v", c.name, a)
			}
			steps.at(0, nil)
			for _, key := range []string{"k", "own"} {
				if a := public.do("GET", "/bucket/"+key, ""); a.status == 200 && a.body == "secret" {
					t.Errorf("%s: %s is for everybody now", c.name, key)
				}
			}
			if a := d.do("GET", "/bucket/k", ""); a.body == "secret" && a.header.Get("x-amz-tagging-count") != "1" {
				t.Errorf("%s: %v", c.name, a.header)
			}
		})
		if !refused {
			t.Errorf("%s: the object was never replaced in time", c.name)
		}
		steps.atEachStep(t, put("open", "class=public&v=1"), put("other", "class=public&v=2"), func() {
			if a := public.do(c.method, c.target, c.body, c.headers...); a.status/100 != 2 {
				t.Errorf("%s: both are public: %v", c.name, a)
			}
		})
	}
}

// A request that is tried again has its document once more.
func TestUpdateOfEncryptionIsTriedAgain(t *testing.T) {
	d, steps := openSteppedDoor(t)
	d.bucket("bucket")
	d.must(d.keys.Create(t.Context(), "one"))
	public := d.user("public", `{"Effect":"Allow","Action":"s3:UpdateObjectEncryption","Resource":"arn:aws:s3:::bucket/*","Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"public"}}}`)
	put := func(tags string) func() {
		return func() { d.do("PUT", "/bucket/k", "data", "x-amz-tagging", tags).ok(t, tags, 200) }
	}
	steps.atEachStep(t, put("class=public&v=1"), put("class=public&v=2"), func() {
		public.do("PUT", "/bucket/k?encryption", "<ObjectEncryption><SSE-KMS><KMSKeyArn>"+keyARN("one")+"</KMSKeyArn></SSE-KMS></ObjectEncryption>").ok(t, "both are public", 200)
	})
}
