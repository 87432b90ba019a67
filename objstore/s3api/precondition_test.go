package s3api

import (
	"strings"
	"testing"
	"time"
)

// upload begins a multipart upload of one part.
func (d *door) upload(target, body string) (id, document string) {
	d.t.Helper()
	id = element(d.do("POST", target+"?uploads", "").body, "UploadId")
	etag := d.do("PUT", target+"?partNumber=1&uploadId="+id, body).header.Get("ETag")
	return id, "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + etag + "</ETag></Part></CompleteMultipartUpload>"
}

// AWS's answers, recorded 2026-02-21 by the LocalStack project (Apache-2.0).
func TestRecordedConditionsOfUploads(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const held = "At least one of the pre-conditions you specified did not hold"
	const conflict = "The conditional request cannot succeed due to a conflicting operation against this resource."
	complete := func(id, document string, headers ...string) reply {
		t.Helper()
		return d.do("POST", "/bucket/k?uploadId="+id, document, headers...)
	}
	put := func(body string) string { t.Helper(); return d.do("PUT", "/bucket/k", body).header.Get("ETag") }
	remove := func() { t.Helper(); d.do("DELETE", "/bucket/k", "").ok(t, "delete", 204) }

	// if_none_match_with_delete
	put("")
	id, doc := d.upload("/bucket/k", "test")
	complete(id, doc, "If-None-Match", "*").want(t, "exists", 412, "PreconditionFailed", held, "Condition", "If-None-Match")
	remove()
	complete(id, doc, "If-None-Match", "*").want(t, "deleted since", 409, "ConditionalRequestConflict", conflict, "Condition", "If-None-Match", "Key", "k")
	id, doc = d.upload("/bucket/k", "test")
	if a := complete(id, doc, "If-None-Match", "*"); a.status != 200 || element(a.body, "ETag") != "&quot;60cd54a928cbbcbb6e7b5595bab46a9e-1&quot;" {
		t.Error(a)
	}
	remove()
	// if_none_match_with_put
	id, doc = d.upload("/bucket/k", "test")
	put("")
	complete(id, doc, "If-None-Match", "*").want(t, "put since", 412, "PreconditionFailed", held, "Condition", "If-None-Match")
	// if_match_with_put
	first := put("test")
	id, doc = d.upload("/bucket/k", "test")
	second := put("test2")
	complete(id, doc, "If-Match", first).want(t, "put since", 412, "PreconditionFailed", held, "Condition", "If-Match")
	complete(id, doc, "If-Match", second).want(t, "put since", 409, "ConditionalRequestConflict", conflict, "Condition", "If-Match", "Key", "k")
	id, doc = d.upload("/bucket/k", "test")
	complete(id, doc, "If-Match", second).ok(t, "begun again", 200)
	// if_match_with_put_identical
	first = put("test")
	id, doc = d.upload("/bucket/k", "test")
	put("test")
	complete(id, doc, "If-Match", first).want(t, "the same put since", 409, "ConditionalRequestConflict", conflict, "Condition", "If-Match", "Key", "k")
	// if_match_with_delete
	id, doc = d.upload("/bucket/k", "test")
	remove()
	complete(id, doc, "If-Match", first).want(t, "deleted since", 404, "NoSuchKey", "The specified key does not exist.", "Key", "k")
	put("test")
	complete(id, doc, "If-Match", first).want(t, "deleted and put since", 409, "ConditionalRequestConflict", conflict, "Condition", "If-Match", "Key", "k")
	// if_match_etag
	first = put("test")
	id, doc = d.upload("/bucket/k", "test")
	complete(id, doc, "If-Match", first).ok(t, "as it was", 200)
	id, doc = d.upload("/bucket/k", "test")
	complete(id, doc, "If-Match", first).want(t, "older tag", 412, "PreconditionFailed", held, "Condition", "If-Match")
	complete(id, doc, "If-Match", `"60cd54a928cbbcbb6e7b5595bab46a9e-1"`).ok(t, "tag of parts", 200)
	// Without a condition, the last one wins.
	id, doc = d.upload("/bucket/k", "test")
	put("else")
	complete(id, doc).ok(t, "no condition", 200)
	const header = "A header you provided implies functionality that is not implemented"
	id, doc = d.upload("/bucket/k", "test")
	complete(id, doc, "If-Match", "*").want(t, "star", 501, "NotImplemented", header, "Header", "If-Match",
		"additionalMessage", "We don't accept the provided value of If-Match header for this API")
	complete(id, doc, "If-None-Match", `"x"`).want(t, "tag", 501, "NotImplemented", header, "Header", "If-None-Match",
		"additionalMessage", "We don't accept the provided value of If-None-Match header for this API")
}

func TestRecordedConditionsOfCopies(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const held = "At least one of the pre-conditions you specified did not hold"
	etag := d.do("PUT", "/bucket/source", "data").header.Get("ETag")
	modified := d.do("HEAD", "/bucket/source", "").header.Get("Last-Modified")
	at, err := time.Parse(time.RFC1123, modified)
	if err != nil {
		t.Fatal(err)
	}
	format := func(d time.Duration) string {
		return at.Add(d).UTC().Format("Mon, 02 Jan 2006 15:04:05") + " GMT"
	}
	now, past, future := format(0), format(-24*time.Hour), format(24*time.Hour)
	copied := func(target string, headers ...string) reply {
		t.Helper()
		return d.do("PUT", target, "", append(headers, "x-amz-copy-source", "bucket/source")...)
	}
	const source = "x-amz-copy-source-if-"
	all := []string{source + "match", "etag123", source + "unmodified-since", past, source + "none-match", etag, source + "modified-since", now}
	for i, name := range []string{"Match", "Unmodified-Since", "None-Match", "Modified-Since"} {
		copied("/bucket/target", all[2*i:]...).want(t, name, 412, "PreconditionFailed", held, "Condition", "x-amz-copy-source-If-"+name)
		id, _ := d.upload("/bucket/part", "x")
		copied("/bucket/part?partNumber=2&uploadId="+id, all[2*i:]...).want(t, name, 412, "PreconditionFailed", held, "Condition", "x-amz-copy-source-If-"+name)
	}
	copied("/bucket/target", source+"none-match", etag[1:len(etag)-1]).want(t, "no quotes", 412, "PreconditionFailed", held, "Condition", "x-amz-copy-source-If-None-Match")
	copied("/bucket/target", source+"modified-since", future).ok(t, "future", 200)
	copied("/bucket/target", source+"match", etag[1:len(etag)-1], source+"none-match", "etag123", source+"modified-since", past, source+"unmodified-since", now).ok(t, "all hold", 200)
	copied("/bucket/target", source+"match", etag, source+"unmodified-since", past).ok(t, "the tag counts", 200)

	copied("/bucket/new", "If-None-Match", "*").ok(t, "new", 200)
	copied("/bucket/new", "If-None-Match", "*").want(t, "exists", 412, "PreconditionFailed", held, "Condition", "If-None-Match")
	copied("/bucket/source", "If-None-Match", "*", "x-amz-metadata-directive", "REPLACE").want(t, "in place", 412, "PreconditionFailed", held, "Condition", "If-None-Match")
	copied("/bucket/source", "If-Match", etag, "x-amz-metadata-directive", "REPLACE").ok(t, "in place", 200)
	copied("/bucket/new", "If-Match", etag).ok(t, "tag", 200)
	copied("/bucket/new", "If-Match", `"x"`).want(t, "other tag", 412, "PreconditionFailed", held, "Condition", "If-Match")
	copied("/bucket/none", "If-Match", etag).want(t, "none", 404, "NoSuchKey", "The specified key does not exist.", "Key", "none")
	const header = "A header you provided implies functionality that is not implemented"
	copied("/bucket/new", "If-None-Match", etag).want(t, "tag", 501, "NotImplemented", header, "Header", "If-None-Match",
		"additionalMessage", "We don't accept the provided value of If-None-Match header for this API")
	copied("/bucket/new", "If-Match", "*").want(t, "star", 501, "NotImplemented", header, "Header", "If-Match",
		"additionalMessage", "We don't accept the provided value of If-Match header for this API")
	copied("/bucket/new", "If-Match", etag, "If-None-Match", "*").want(t, "both", 501, "NotImplemented", header, "Header", "If-Match,If-None-Match",
		"additionalMessage", "Multiple conditional request headers present in the request")
}

func TestRecordedConditionsOfDeletes(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	const header = "A header you provided implies functionality that is not implemented"
	d.do("DELETE", "/bucket/k", "", "If-Match", "badvalue").want(t, "tag", 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", "Condition", "If-Match")
	modified, size := []string{"x-amz-if-match-last-modified-time", "Fri, 01 Jan 2016 00:00:00 GMT"}, []string{"x-amz-if-match-size", "10"}
	d.do("DELETE", "/bucket/k", "", modified...).want(t, "time", 501, "NotImplemented", header, "Header", modified[0])
	d.do("DELETE", "/bucket/k", "", size...).want(t, "size", 501, "NotImplemented", header, "Header", size[0])
	d.do("DELETE", "/bucket/k", "", append(append(size, modified...), "If-Match", "badvalue")...).want(t, "all", 501, "NotImplemented", header, "Header", modified[0])
	d.do("DELETE", "/bucket/none", "", "If-Match", `"x"`).want(t, "no object", 404, "NoSuchKey", "The specified key does not exist.", "Key", "none")
	if d.get("bucket", "k") != "x" {
		t.Error("a refused delete removed the object")
	}
	d.do("DELETE", "/bucket/k", "", "If-Match", "*").ok(t, "any", 204)
}

// Conditions of DeleteObjects, each of which is of one entry.
func TestConditionsOfEntriesOfDeleteObjects(t *testing.T) {
	const notBuilt = "A header you provided implies functionality that is not implemented"
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>").ok(t, "versioning", 200)
	version := d.do("PUT", "/bucket/k", "x").header.Get("x-amz-version-id")
	d.put("bucket", "other", "x")
	object := func(key string, rest ...string) string {
		return "<Object><Key>" + key + "</Key>" + elements(rest...) + "</Object>"
	}
	remove := func(objects ...string) reply {
		t.Helper()
		body := "<Delete>" + strings.Join(objects, "") + "</Delete>"
		return d.do("POST", "/bucket?delete", body, "Content-MD5", md5Base64(body))
	}
	tag := `"` + md5Hex("x") + `"`
	// AWS knows conditions on size and time in directory buckets alone.
	for _, rest := range [][]string{{"Size", "1"}, {"LastModifiedTime", "2026-01-01T00:00:00Z"}, {"ETag", tag, "Size", "1"}} {
		remove(object("other"), object("k", rest...)).want(t, rest[0], 400, "MalformedXML", malformed)
	}
	for what, c := range map[string][2]string{
		"another tag":         {object("k", "ETag", "no"), "<Key>k</Key><Code>PreconditionFailed</Code>"},
		"no tag":              {object("k", "ETag", ""), "<Key>k</Key><Code>PreconditionFailed</Code>"},
		"no object":           {object("none", "ETag", tag), "<Key>none</Key><Code>NoSuchKey</Code>"},
		"no object, any":      {object("none", "ETag", "*"), "<Key>none</Key><Code>NoSuchKey</Code>"},
		"a version and a tag": {object("k", "VersionId", version, "ETag", tag), "<Code>NotImplemented</Code><Message>" + notBuilt + "</Message>"},
	} {
		if a := remove(c[0]); a.status != 200 || !strings.Contains(a.body, c[1]) {
			t.Errorf("%s: %v", what, a)
		}
	}
	for _, condition := range []string{tag, "*"} {
		d.do("DELETE", "/bucket/k?versionId="+version, "", "If-Match", condition).want(t, "of a version", 501, "NotImplemented", notBuilt, "Header", "If-Match")
	}
	if d.get("bucket", "k") != "x" || d.get("bucket", "other") != "x" {
		t.Error("a refused delete removed an object")
	}
	if a := remove(object("k", "ETag", tag), object("other", "ETag", "*")); strings.Count(a.body, "<Deleted>") != 2 {
		t.Error(a)
	}
	d.do("GET", "/bucket/k", "").ok(t, "deleted", 404)
}
