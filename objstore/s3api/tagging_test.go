package s3api

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const malformed = "The XML you provided was not well-formed or did not validate against our published schema"

// tagXML is a Tagging document of key, value, ....
func tagXML(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(&b, "<Tag><Key>%s</Key><Value>%s</Value></Tag>", pairs[i], pairs[i+1])
	}
	return `<Tagging xmlns="` + namespace + `"><TagSet>` + b.String() + `</TagSet></Tagging>`
}

// wantTags checks the tags of an object or a bucket, as key=value ....
func (d *door) wantTags(what, target, want string) {
	d.t.Helper()
	a := d.do("GET", target, "")
	a.ok(d.t, what, 200)
	var got []string
	for _, t := range strings.Split(element(a.body, "TagSet"), "<Tag>")[1:] {
		got = append(got, element(t, "Key")+"="+element(t, "Value"))
	}
	if s := strings.Join(got, " "); s != want || element(a.body, "Tagging") == "" && !strings.Contains(a.body, "<Tagging xmlns=") {
		d.t.Errorf("%s: %q, want %q: %s", what, s, want, a.body)
	}
}

func TestTagsOfAnObject(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "something")
	before := d.do("HEAD", "/bucket/k", "")
	d.wantTags("none", "/bucket/k?tagging", "")
	for _, c := range []struct{ doc, want string }{
		{tagXML("tag1", "tag1", "tag2", ""), "tag1=tag1 tag2="},
		{tagXML("tag3", "tag3"), "tag3=tag3"},
		{tagXML("b", "2", "a", "1"), "a=1 b=2"},
		{`<Tagging/>`, ""},
		{tagXML("x", "y"), "x=y"},
		{tagXML(), ""},
		{tagXML("x", "y"), "x=y"},
	} {
		a := d.do("PUT", "/bucket/k?tagging", c.doc)
		a.ok(t, "put", 200)
		if a.body != "" {
			t.Errorf("put answers %q", a.body)
		}
		d.wantTags(c.doc, "/bucket/k?tagging", c.want)
		count := ""
		if c.want != "" {
			count = fmt.Sprint(len(strings.Fields(c.want)))
		}
		for _, m := range []string{"HEAD", "GET"} {
			a := d.do(m, "/bucket/k", "")
			if a.status != 200 || a.header.Get("x-amz-tagging-count") != count {
				t.Errorf("%s %s: count %q, want %q", m, c.doc, a.header.Get("x-amz-tagging-count"), count)
			}
			if a.header.Get("ETag") != before.header.Get("ETag") || a.header.Get("Last-Modified") != before.header.Get("Last-Modified") {
				t.Errorf("tags changed the object: %v", a.header)
			}
		}
	}
	for range 2 {
		d.do("DELETE", "/bucket/k?tagging", "").ok(t, "delete", 204)
		d.wantTags("deleted", "/bucket/k?tagging", "")
	}
	if a := d.do("GET", "/bucket/k", ""); a.body != "something" || a.header.Get("x-amz-tagging-count") != "" {
		t.Errorf("the object: %v %v", a, a.header)
	}
}

func TestTagsOfNothing(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const noBucket, noKey = "The specified bucket does not exist", "The specified key does not exist."
	for _, m := range []string{"GET", "PUT", "DELETE"} {
		d.do(m, "/nowhere/k?tagging", tagXML()).want(t, m, 404, "NoSuchBucket", noBucket, "BucketName", "nowhere")
		d.do(m, "/nowhere?tagging", tagXML()).want(t, m, 404, "NoSuchBucket", noBucket, "BucketName", "nowhere")
		key := "fake"
		if m == "GET" {
			key = "bucket/fake" // so AWS
		}
		d.do(m, "/bucket/fake?tagging", tagXML()).want(t, m, 404, "NoSuchKey", noKey, "Key", key)
		d.do(m, "/bucket/fake?tagging&versionId=x", tagXML()).want(t, m, 400, "InvalidArgument", "")
	}
}

func TestTagsThatCannotBe(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	d.do("PUT", "/bucket/k?tagging", tagXML("keep", "1")).ok(t, "put", 200)
	d.do("PUT", "/bucket?tagging", tagXML("keep", "1")).ok(t, "put", 204)
	many := func(n int) string {
		var pairs []string
		for i := range n {
			pairs = append(pairs, fmt.Sprint("key", i), "v")
		}
		return tagXML(pairs...)
	}
	const badKey, badValue = "The TagKey you have provided is invalid", "The TagValue you have provided is invalid"
	for target, own := range map[string][4]string{
		"/bucket/k?tagging": {"Your TagKey cannot be prefixed with aws:", many(11), "Object tags cannot be greater than 10", many(10)},
		"/bucket?tagging":   {"System tags cannot be added/updated by requester", many(51), "Bucket tag count cannot be greater than 50", many(50)},
	} {
		put := func(doc string) reply { return d.do("PUT", target, doc) }
		put(tagXML("Key1", "a", "Key1", "b")).want(t, "twice", 400, "InvalidTag", "Cannot provide multiple Tags with the same key", "TagKey", "Key1")
		put(tagXML("Key1,Key2", "a")).want(t, "key", 400, "InvalidTag", badKey, "TagKey", "Key1,Key2")
		put(tagXML("", "a")).want(t, "empty key", 400, "InvalidTag", badKey, "TagKey", "")
		put(tagXML("Key1", "Val1,Val2")).want(t, "value", 400, "InvalidTag", badValue, "TagKey", "Key1", "TagValue", "Val1,Val2")
		put(tagXML("aws:prefixed", "a")).want(t, "system", 400, "InvalidTag", own[0], "TagKey", "aws:prefixed")
		put(tagXML(strings.Repeat("k", 129), "")).want(t, "long key", 400, "InvalidTag", badKey, "TagKey", strings.Repeat("k", 129))
		put(tagXML("k", strings.Repeat("v", 257))).want(t, "long value", 400, "InvalidTag", "", "TagKey", "k")
		put(own[1]).want(t, "too many", 400, "BadRequest", own[2])
		for _, doc := range []string{"", "<Tagging>", "<Other/>", "<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>", "<Tagging><TagSet><Tag><Value>v</Value></Tag></TagSet></Tagging>",
			"<Tagging><TagSet><Tags/></TagSet></Tagging>", "<Tagging><Other/></Tagging>"} {
			put(doc).want(t, doc, 400, "MalformedXML", malformed)
		}
		d.do("PUT", target, tagXML("k", "v"), "Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==").want(t, "digest", 400, "BadDigest", "")
		d.wantTags("refused", target, "keep=1")
		if a := put(own[3]); a.status >= 300 {
			t.Errorf("as many as there can be: %v", a)
		}
		if a := put(tagXML(strings.Repeat("k", 128), strings.Repeat("v", 256), "Ä b+-=._:/@", "ß 9")); a.status >= 300 {
			t.Errorf("as long as they can be: %v", a)
		}
	}
}

func TestTagsInAHeader(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for _, c := range []struct{ header, want string }{
		{"tag1=tag1&tag2=tag2&tag=", "tag= tag1=tag1 tag2=tag2"},
		{"wrongquery&wrongagain", "wrongagain= wrongquery="},
		{"key1&&&key2", "key1= key2="},
		{"a+b=%C3%84%2B&c=d+e", "a b=Ä+ c=d e"},
		{"", ""},
	} {
		d.do("PUT", "/bucket/k", "x", "x-amz-tagging", c.header).ok(t, c.header, 200)
		d.wantTags(c.header, "/bucket/k?tagging", c.want)
	}
	const message = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
	d.do("PUT", "/bucket/k", "x", "x-amz-tagging", "kept=1").ok(t, "put", 200)
	for _, h := range []string{"key1=val1&key1=val2", "key1=val1,key2=val2", "a=%FF", "a=%zz", "=x", "a=b;c=d"} {
		for _, target := range [][2]string{{"PUT", "/bucket/k"}, {"POST", "/bucket/k?uploads"}} {
			d.do(target[0], target[1], "y", "x-amz-tagging", h).want(t, h, 400, "InvalidArgument", message, "ArgumentName", "x-amz-tagging", "ArgumentValue", h)
		}
	}
	// What is well formed and no tag is told of as in a document.
	long := strings.Repeat("v", 257)
	for h, fields := range map[string][]string{
		"k%3F=v": {"TagKey", "k?"}, "k(=v": {"TagKey", "k("}, long + "=v": {"TagKey", long},
	} {
		d.do("PUT", "/bucket/k", "y", "x-amz-tagging", h).want(t, h, 400, "InvalidTag", "The TagKey you have provided is invalid", fields...)
	}
	for h, value := range map[string]string{"k=metal%2Cwood": "metal,wood", "k=(": "(", "k=" + long: long} {
		d.do("PUT", "/bucket/k", "y", "x-amz-tagging", h).want(t, h, 400, "InvalidTag", "The TagValue you have provided is invalid", "TagKey", "k", "TagValue", value)
	}
	d.do("PUT", "/bucket/k", "y", "x-amz-tagging", "aws:x=1").want(t, "system", 400, "InvalidTag", "Your TagKey cannot be prefixed with aws:", "TagKey", "aws:x")
	d.do("PUT", "/bucket/k", "y", "x-amz-tagging", "a&b&c&d&e&f&g&h&i&j&k").want(t, "many", 400, "BadRequest", "Object tags cannot be greater than 10")
	d.wantTags("refused", "/bucket/k?tagging", "kept=1")
	if d.get("bucket", "k") != "x" {
		t.Error("a refused request stored the object")
	}
	// Tags are the object's, not the key's.
	d.put("bucket", "k", "over")
	d.wantTags("overwritten", "/bucket/k?tagging", "")
	d.do("PUT", "/bucket/k", "x", "x-amz-tagging", "again=1").ok(t, "put", 200)
	d.do("DELETE", "/bucket/k", "").ok(t, "delete", 204)
	d.put("bucket", "k", "anew")
	d.wantTags("made anew", "/bucket/k?tagging", "")
}

func TestTagsOfACopy(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket/source", "x", "x-amz-tagging", "key1=value1").ok(t, "put", 200)
	for i, c := range []struct {
		directive, header, want string
	}{
		{"", "key2=value2", "key1=value1"}, {"", "", "key1=value1"},
		{"COPY", "key2=value2", "key1=value1"}, {"COPY", "", "key1=value1"},
		{"REPLACE", "key2=value2", "key2=value2"}, {"REPLACE", "", ""},
	} {
		headers := []string{"x-amz-copy-source", "bucket/source"}
		if c.directive != "" {
			headers = append(headers, "x-amz-tagging-directive", c.directive)
		}
		if c.header != "" {
			headers = append(headers, "x-amz-tagging", c.header)
		}
		target := fmt.Sprint("/bucket/copy", i)
		d.do("PUT", target, "", headers...).ok(t, c.directive, 200)
		d.wantTags(fmt.Sprintf("%+v", c), target+"?tagging", c.want)
	}
	d.wantTags("source", "/bucket/source?tagging", "key1=value1")
	d.do("PUT", "/bucket/bad", "", "x-amz-copy-source", "bucket/source", "x-amz-tagging-directive", "BOTH").
		want(t, "directive", 400, "InvalidArgument", "Unknown tagging directive.", "ArgumentName", "x-amz-tagging-directive", "ArgumentValue", "BOTH")
	d.do("PUT", "/bucket/bad", "", "x-amz-copy-source", "bucket/source", "x-amz-tagging-directive", "REPLACE", "x-amz-tagging", "a&a").want(t, "header", 400, "InvalidArgument", "")
	d.do("HEAD", "/bucket/bad", "").ok(t, "refused", 404)
}

func TestTagsOfAnUpload(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	a := d.do("POST", "/bucket/k?uploads", "", "x-amz-tagging", "a=1&b="+url.QueryEscape("2 3"))
	a.ok(t, "create", 200)
	id := element(a.body, "UploadId")
	part := d.do("PUT", "/bucket/k?partNumber=1&uploadId="+id, "x")
	d.do("POST", "/bucket/k?uploadId="+id, completeXML(partXML(1, part.header.Get("ETag")))).ok(t, "complete", 200)
	d.wantTags("upload", "/bucket/k?tagging", "a=1 b=2 3")
	if a := d.do("HEAD", "/bucket/k", ""); a.header.Get("x-amz-tagging-count") != "2" {
		t.Errorf("%v", a.header)
	}
}

func TestTagsOfABucket(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	none := func(what string) {
		t.Helper()
		d.do("GET", "/bucket?tagging", "").want(t, what, 404, "NoSuchTagSet", "The TagSet does not exist", "BucketName", "bucket")
	}
	none("none")
	d.do("PUT", "/bucket?tagging", tagXML("tag1", "tag1", "tag2", "")).ok(t, "put", 204)
	d.wantTags("put", "/bucket?tagging", "tag1=tag1 tag2=")
	d.do("PUT", "/bucket?tagging", tagXML("tag3", "tag3")).ok(t, "put", 204)
	d.wantTags("put again", "/bucket?tagging", "tag3=tag3")
	for range 2 {
		d.do("DELETE", "/bucket?tagging", "").ok(t, "delete", 204)
		none("deleted")
	}
	for _, doc := range []string{tagXML(), "<Tagging/>"} {
		d.do("PUT", "/bucket?tagging", tagXML("x", "y")).ok(t, "put", 204)
		d.do("PUT", "/bucket?tagging", doc).ok(t, "put nothing", 204)
		none("empty")
	}
}

func TestBucketMadeWithTags(t *testing.T) {
	d := openDoor(t)
	doc := func(tags string) string {
		return "<CreateBucketConfiguration><Tags>" + tags + "</Tags></CreateBucketConfiguration>"
	}
	tag := func(k, v string) string { return "<Tag><Key>" + k + "</Key><Value>" + v + "</Value></Tag>" }
	const badKey, badValue = "The TagKey you have provided is invalid", "The TagValue you have provided is invalid"
	d.do("PUT", "/bucket", doc("<Tag><Value>v</Value></Tag>")).want(t, "no key", 400, "MalformedXML", malformed)
	d.do("PUT", "/bucket", doc("<Tag><Key>k</Key></Tag>")).want(t, "no value", 400, "MalformedXML", malformed)
	d.do("PUT", "/bucket", doc(tag("aws:test", "x"))).want(t, "system", 400, "InvalidTag",
		`User-defined tag keys can't start with "aws:". This prefix is reserved for system tags. Remove "aws:" from your tag keys and try again.`)
	d.do("PUT", "/bucket", doc(tag("test", "a,b"))).want(t, "value", 400, "InvalidTag", badValue, "TagKey", "test", "TagValue", "a,b")
	d.do("PUT", "/bucket", doc(tag("test,test2", "a"))).want(t, "key", 400, "InvalidTag", badKey, "TagKey", "test,test2")
	d.do("PUT", "/bucket", doc(tag("k", "a")+tag("k", "a"))).want(t, "twice", 400, "InvalidTag", "")
	d.do("HEAD", "/bucket", "").ok(t, "refused", 404)

	made := d.do("PUT", "/bucket", doc(tag("tag1", "value1")))
	made.ok(t, "create", 200)
	if made.header.Get("Location") != "/bucket" {
		t.Errorf("%v", made.header)
	}
	const owned = "Your previous request to create the named bucket succeeded and you already own it."
	for _, again := range []string{tag("tag2", "value2"), tag("tag1", "value1")} {
		d.do("PUT", "/bucket", doc(again)).want(t, again, 409, "BucketAlreadyOwnedByYou", owned, "BucketName", "bucket")
	}
	for _, again := range []string{"", doc(""), "<CreateBucketConfiguration/>"} {
		d.do("PUT", "/bucket", again).ok(t, again, 200)
		d.wantTags("kept", "/bucket?tagging", "tag1=value1")
	}
	d.do("PUT", "/other", doc("")).ok(t, "no tags", 200)
	d.do("GET", "/other?tagging", "").want(t, "no tags", 404, "NoSuchTagSet", "The TagSet does not exist", "BucketName", "other")
}

func TestTagsOfVersions(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>").ok(t, "versioning", 200)
	first := d.do("PUT", "/bucket/k", "0", "x-amz-tagging", "test_tag=tagv1").header.Get("x-amz-version-id")
	second := d.do("PUT", "/bucket/k", "1").header.Get("x-amz-version-id")
	told := func(a reply, version string) {
		t.Helper()
		if got := a.header.Get("x-amz-version-id"); a.status >= 300 || got != version {
			t.Errorf("%v: version %q, want %q", a, got, version)
		}
	}
	at := func(v string) string { return "/bucket/k?tagging&versionId=" + v }
	told(d.do("PUT", "/bucket/k?tagging", tagXML("tag3", "tag3")), second)
	told(d.do("GET", "/bucket/k?tagging", ""), second)
	told(d.do("GET", at(first), ""), first)
	d.wantTags("current", "/bucket/k?tagging", "tag3=tag3")
	d.wantTags("previous", at(first), "test_tag=tagv1")
	told(d.do("PUT", at(first), tagXML("tag1", "tag1")), first)
	d.wantTags("previous, changed", at(first), "tag1=tag1")
	// A copy takes the tags of the version that it is of.
	d.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "bucket/k?versionId="+first).ok(t, "copy", 200)
	d.wantTags("copy of a version", "/bucket/copy?tagging", "tag1=tag1")
	told(d.do("DELETE", "/bucket/k?tagging", ""), second)
	d.wantTags("current, deleted", "/bucket/k?tagging", "")
	d.wantTags("previous", at(first), "tag1=tag1")
	told(d.do("DELETE", at(first), ""), first)
	d.wantTags("previous, deleted", at(first), "")

	marker := d.do("DELETE", "/bucket/k", "").header.Get("x-amz-version-id")
	for _, m := range []string{"GET", "PUT", "DELETE"} {
		for _, target := range []string{at(marker), "/bucket/k?tagging"} {
			a := d.do(m, target, tagXML("a", "b"))
			if a.status != 405 || a.fields["Code"] != "MethodNotAllowed" || a.fields["Method"] != m || a.fields["ResourceType"] != "DeleteMarker" {
				t.Errorf("%s %s: %v", m, target, a)
			}
		}
	}
}
