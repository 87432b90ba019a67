package s3api

import (
	"strings"
	"testing"
)

// What a policy lets delete, lock, restore or replace for its tags is what is deleted,
// locked, restored or replaced, or is asked about again.
func TestWriteIsOfTheTagsThatWereAuthorized(t *testing.T) {
	d, steps := openSteppedDoor(t)
	d.do("PUT", "/bucket", "", "x-amz-bucket-object-lock-enabled", "true").ok(t, "a bucket with Object Lock", 200)
	public := d.user("public", `{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/own"]}`,
		`{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::bucket/k*","Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"public"}}}`)
	version := "" // the one that is there before
	put := func(tags string) {
		a := d.do("PUT", "/bucket/k", "class=public", "x-amz-tagging", tags, "x-amz-storage-class", "GLACIER")
		a.ok(t, tags, 200)
		version = a.header.Get("x-amz-version-id")
	}
	retag := func(class, v string) {
		d.do("PUT", "/bucket/k?tagging&versionId="+version, "<Tagging><TagSet><Tag><Key>class</Key><Value>"+class+"</Value></Tag>"+
			"<Tag><Key>v</Key><Value>"+v+"</Value></Tag></TagSet></Tagging>").ok(t, class, 200)
	}
	put("class=public")
	first := version
	const many = "<Delete><Object><Key>k</Key></Object></Delete>"
	retention := "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>"
	for _, c := range []struct {
		name, method, target, body string
		headers                    []string
		// again: it can be done again with what the client has sent.
		again bool
	}{
		{"delete", "DELETE", "/bucket/k", "", nil, true},
		{"delete a version", "DELETE", "/bucket/k?versionId=VERSION", "", nil, true},
		{"delete several", "POST", "/bucket?delete", many, []string{"Content-MD5", md5Base64(many)}, true},
		{"read a retention", "GET", "/bucket/k?retention", "", nil, true},
		{"read a legal hold", "GET", "/bucket/k?legal-hold&versionId=VERSION", "", nil, true},
		{"retention", "PUT", "/bucket/k?retention", retention, []string{"Content-MD5", md5Base64(retention)}, true},
		{"legal hold", "PUT", "/bucket/k?legal-hold", "<LegalHold><Status>ON</Status></LegalHold>", nil, true},
		{"restore", "POST", "/bucket/k?restore", "<RestoreRequest><Days>1</Days></RestoreRequest>", nil, true},
		{"put", "PUT", "/bucket/k", "mine", nil, false},
		{"put with a condition", "PUT", "/bucket/k", "mine", []string{"If-Match", md5Hex("class=public")}, false},
		{"append", "PUT", "/bucket/k", "more", []string{"x-amz-write-offset-bytes", "12"}, false},
		{"copy onto it", "PUT", "/bucket/k", "", []string{"x-amz-copy-source", "bucket/own"}, true},
		{"complete an upload", "POST", "/bucket/k?uploadId=UPLOAD", "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + md5Hex("part") + "</ETag></Part></CompleteMultipartUpload>", nil, false},
		{"complete one, naming a version", "POST", "/bucket/k?versionId=PUBLIC&uploadId=UPLOAD", "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + md5Hex("part") + "</ETag></Part></CompleteMultipartUpload>", nil, false},
	} {
		d.do("PUT", "/bucket/own", "own").ok(t, "own", 200)
		upload := ""
		before := func() {
			put("class=public")
			if strings.Contains(c.target, "UPLOAD") {
				id, part := d.begin("/bucket/k")
				d.do("PUT", part(1), "part").ok(t, "part", 200)
				upload = id
			}
		}
		target := func() string {
			return strings.NewReplacer("VERSION", version, "PUBLIC", first, "UPLOAD", upload).Replace(c.target)
		}
		done := func() bool {
			a, latest := d.do("HEAD", "/bucket/k?versionId="+version, ""), d.do("HEAD", "/bucket/k", "")
			return a.status != 200 || latest.header.Get("x-amz-version-id") != version || a.header.Get("x-amz-object-lock-mode") != "" ||
				a.header.Get("x-amz-object-lock-legal-hold") == "ON" || a.header.Get("x-amz-restore") != ""
		}
		refused, late := false, false // late: it got the tags before anything was done
		steps.atEachStep(t, before, func() {
			if late = !done(); late {
				retag("secret", "1")
			}
		}, func() {
			late = false
			a := public.do(c.method, target(), c.body, c.headers...)
			steps.at(0, nil)
			denied := a.status == 403 || strings.Contains(a.body, "<Code>AccessDenied</Code>")
			refused = refused || denied
			switch {
			case denied && !late:
				t.Errorf("%s: refused what was allowed: %v", c.name, a)
			case late && done():
				t.Errorf("%s: done to what has other tags: %v", c.name, a)
			}
		})
		if !refused {
			t.Errorf("%s: the object never got other tags in time", c.name)
		}
		steps.atEachStep(t, before, func() {
			if !done() {
				retag("public", "2")
			}
		}, func() {
			a := public.do(c.method, target(), c.body, c.headers...)
			switch {
			case !c.again && a.status == 409:
			case c.method == "GET" && a.status == 404: // no lock was set
			case a.status/100 != 2 || strings.Contains(a.body, "<Error>"):
				t.Errorf("%s: allowed before and after: %v", c.name, a)
			}
		})
	}
}

// A write by a form, and a rename onto a key, are of the tags that were authorized.
func TestFormAndRenameReplaceWhatWasAuthorized(t *testing.T) {
	d, steps := openSteppedDoor(t)
	d.bucket("bucket")
	d.policy("bucket", `{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/k","Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"secret"}}}`)
	for name, try := range map[string]func() reply{
		"form": func() reply {
			f := presign("bucket", "k", nil, nil)
			f.file = "mine"
			return d.post("bucket", f)
		},
		"rename": func() reply {
			return d.do("PUT", "/bucket/k?renameObject", "", "x-amz-rename-source", "own")
		},
	} {
		refused := false
		steps.atEachStep(t, func() {
			d.do("DELETE", "/bucket/k", "").ok(t, "delete", 204)
			d.do("PUT", "/bucket/own", "mine").ok(t, "own", 200)
			d.do("PUT", "/bucket/k", "open", "x-amz-tagging", "class=public").ok(t, "open", 200)
		}, func() {
			if d.do("GET", "/bucket/k", "").body != "mine" {
				d.do("PUT", "/bucket/k", "secret", "x-amz-tagging", "class=secret").ok(t, "secret", 200)
			}
		}, func() {
			a := try()
			steps.at(0, nil)
			refused = refused || a.status == 403
			if was := d.do("GET", "/bucket/k", ""); (was.body == "mine") != (a.status/100 == 2) {
				t.Errorf("%s: %v, and there is %q", name, a, was.body)
			}
		})
		if !refused {
			t.Errorf("%s: the object never got other tags in time", name)
		}
	}
}
