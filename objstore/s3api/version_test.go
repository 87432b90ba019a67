package s3api

import (
	"encoding/xml"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore/checksum"
)

// What AWS S3 itself answered about versions, recorded by the LocalStack project
// (Apache-2.0): status, code, text and headers are theirs.

const (
	notAllowed = "The specified method is not allowed against this resource."
	noVersion  = "The specified version does not exist."
	badVersion = "Invalid version id specified"
)

func versioningXML(status string) string {
	return `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>` + status + `</Status></VersioningConfiguration>`
}

// versionedBucket makes a bucket whose versioning is enabled.
func (d *door) versionedBucket(name string) {
	d.t.Helper()
	d.bucket(name)
	d.do("PUT", "/"+name+"?versioning", versioningXML("Enabled")).ok(d.t, "enable versioning", 200)
}

func (d *door) putVersion(target, body string, headers ...string) (version string) {
	d.t.Helper()
	a := d.do("PUT", target, body, headers...)
	a.ok(d.t, "put "+target, 200)
	return a.header.Get("x-amz-version-id")
}

// versionList is what ListObjectVersions answers.
type versionList struct {
	IsTruncated                                                    bool
	KeyMarker, VersionIdMarker, NextKeyMarker, NextVersionIdMarker string
	Items                                                          []versionItem `xml:",any"`
}

type versionItem struct {
	XMLName   xml.Name
	Key       string
	VersionId string
	IsLatest  bool
	Size      string
	ETag      string
	Prefix    string
	Owner     struct{ ID string }
}

// versions lists versions; each is rendered as key, "*" for the latest, "!" for a
// delete marker, and the version id.
func (d *door) versions(target string) (l versionList, rendered []string) {
	d.t.Helper()
	a := d.do("GET", target, "")
	a.ok(d.t, target, 200)
	if err := xml.Unmarshal([]byte(a.body), &l); err != nil {
		d.t.Fatal(err)
	}
	for _, v := range l.Items {
		mark := ""
		switch v.XMLName.Local {
		case "CommonPrefixes":
			rendered = append(rendered, v.Prefix+"..")
			continue
		case "Version":
		case "DeleteMarker":
			mark = "!"
		default:
			continue
		}
		if v.IsLatest {
			mark += "*"
		}
		if v.Owner.ID == "" || mark == "" && (v.ETag == "" || v.Size == "") {
			d.t.Errorf("%+v", v)
		}
		rendered = append(rendered, v.Key+mark+" "+v.VersionId)
	}
	return l, rendered
}

func (d *door) lists(target string, want ...string) {
	d.t.Helper()
	if _, got := d.versions(target); !slices.Equal(got, want) {
		d.t.Errorf("%s:\n%s\nnot\n%s", target, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestBucketVersioningAsRecorded(t *testing.T) {
	d := openDoor(t)
	d.bucket("bbb")
	status := func(want string) {
		t.Helper()
		a := d.do("GET", "/bbb?versioning", "")
		a.ok(t, "get versioning", 200)
		if got := element(a.body, "Status"); got != want || strings.Contains(a.body, "Status") != (want != "") {
			t.Errorf("status %q, not %q: %s", got, want, a.body)
		}
	}
	status("")
	d.do("PUT", "/bbb?versioning", versioningXML("Suspended")).ok(t, "suspended before", 200)
	status("Suspended")
	d.do("PUT", "/bbb?versioning", versioningXML("enabled")).want(t, "lower case", 400, "MalformedXML", malformed)
	d.do("PUT", "/bbb?versioning", versioningXML("Enabled")).ok(t, "enabled", 200)
	status("Enabled")
	d.do("PUT", "/bbb?versioning", versioningXML("Suspended")).ok(t, "suspended after", 200)
	d.do("PUT", "/bbb?versioning", versioningXML("Disabled")).want(t, "disabled", 400, "MalformedXML", malformed)
	d.do("PUT", "/bbb?versioning", "<VersioningConfiguration/>").want(t, "empty", 400, "IllegalVersioningConfigurationException", "The Versioning element must be specified")
	d.do("PUT", "/none?versioning", versioningXML("Enabled")).want(t, "no bucket", 404, "NoSuchBucket", "", "BucketName", "none")
	d.do("GET", "/none?versioning", "").want(t, "no bucket", 404, "NoSuchBucket", "", "BucketName", "none")
}

func TestVersionsAsRecorded(t *testing.T) {
	d := openDoor(t)
	d.versionedBucket("bbb")
	v1 := d.putVersion("/bbb/k", "one")
	if !regexp.MustCompile(`^[A-Za-z0-9._]{32}$`).MatchString(v1) {
		t.Errorf("version id %q", v1)
	}
	gone := d.do("DELETE", "/bbb/k", "")
	gone.ok(t, "delete", 204)
	m1 := gone.header.Get("x-amz-version-id")
	if gone.header.Get("x-amz-delete-marker") != "true" || m1 == "" || m1 == v1 {
		t.Errorf("delete: %v", gone.header)
	}
	a := d.do("GET", "/bbb/k", "")
	a.want(t, "deleted", 404, "NoSuchKey", "The specified key does not exist.", "Key", "k")
	if a.header.Get("x-amz-delete-marker") != "true" || a.header.Get("x-amz-version-id") != m1 {
		t.Errorf("deleted: %v", a.header)
	}
	a = d.do("GET", "/bbb/k?versionId="+v1, "")
	if a.ok(t, "version", 200); a.body != "one" || a.header.Get("x-amz-version-id") != v1 {
		t.Errorf("version: %v %q", a.header, a.body)
	}
	a = d.do("GET", "/bbb/k?versionId="+m1, "")
	a.want(t, "marker", 405, "MethodNotAllowed", notAllowed, "Method", "GET", "ResourceType", "DeleteMarker")
	if a.header.Get("x-amz-delete-marker") != "true" || a.header.Get("Allow") != "DELETE" || a.header.Get("Last-Modified") == "" {
		t.Errorf("marker: %v", a.header)
	}
	if a = d.do("HEAD", "/bbb/k?versionId="+m1, ""); a.status != 405 || a.header.Get("x-amz-delete-marker") != "true" {
		t.Errorf("head of a marker: %d %v", a.status, a.header)
	}
	m2 := d.do("DELETE", "/bbb/k", "").header.Get("x-amz-version-id")
	d.lists("/bbb?versions&prefix=k", "k!* "+m2, "k! "+m1, "k "+v1)
	if a = d.do("DELETE", "/bbb/k?versionId="+m1, ""); a.status != 204 || a.header.Get("x-amz-delete-marker") != "true" || a.header.Get("x-amz-version-id") != m1 {
		t.Errorf("delete of a marker: %d %v", a.status, a.header)
	}
	if a = d.do("DELETE", "/bbb/k?versionId="+v1, ""); a.status != 204 || a.header.Get("x-amz-delete-marker") != "" || a.header.Get("x-amz-version-id") != v1 {
		t.Errorf("delete of a version: %d %v", a.status, a.header)
	}
	d.do("GET", "/bbb/k?versionId="+v1, "").want(t, "deleted version", 404, "NoSuchVersion", noVersion, "Key", "k", "VersionId", v1)
	bad := v1[:28] + "ABCD"
	d.do("DELETE", "/bbb/k?versionId="+bad, "").want(t, "bad version", 400, "InvalidArgument", badVersion, "ArgumentName", "versionId", "ArgumentValue", bad)
	d.do("GET", "/bbb/k?versionId=", "").want(t, "empty version", 400, "InvalidArgument", "Version id cannot be the empty string", "ArgumentName", "versionId", "ArgumentValue", "")
	if a = d.do("DELETE", "/bbb/wrong", ""); a.status != 204 || a.header.Get("x-amz-delete-marker") != "true" {
		t.Errorf("delete of nothing: %d %v", a.status, a.header)
	}
	const notEmpty = "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
	d.do("DELETE", "/bbb", "").want(t, "delete bucket", 409, "BucketNotEmpty", notEmpty, "BucketName", "bbb")
	d.do("PUT", "/bbb/current", "").ok(t, "put", 200)
	d.do("DELETE", "/bbb", "").want(t, "delete bucket with an object", 409, "BucketNotEmpty", notEmpty, "BucketName", "bbb")
	l, _ := d.versions("/bbb?versions")
	for _, v := range l.Items {
		if v.VersionId != "" {
			d.do("DELETE", "/bbb/"+v.Key+"?versionId="+v.VersionId, "").ok(t, "delete "+v.Key, 204)
		}
	}
	d.do("DELETE", "/bbb", "").ok(t, "delete bucket", 204)

	d.bucket("plain")
	if v := d.putVersion("/plain/k", "test-version"); v != "" {
		t.Errorf("version %q without versioning", v)
	}
	d.do("GET", "/plain/k?versionId="+bad, "").want(t, "without versioning", 400, "InvalidArgument", badVersion, "ArgumentName", "versionId", "ArgumentValue", bad)
	if a = d.do("GET", "/plain/k?versionId=null", ""); a.status != 200 || a.header.Get("x-amz-version-id") != "" {
		t.Errorf("null version: %d %v", a.status, a.header)
	}
	d.lists("/plain?versions", "k* null")
}

func TestDeleteObjectsOfVersionsAsRecorded(t *testing.T) {
	d := openDoor(t)
	d.versionedBucket("bbb")
	v1 := d.putVersion("/bbb/k", "one")
	const madeUp = "HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD"
	del := func(objects ...string) string {
		t.Helper()
		body := "<Delete>"
		for _, o := range objects {
			key, version, _ := strings.Cut(o, " ")
			body += "<Object><Key>" + key + "</Key>"
			if version != "" {
				body += "<VersionId>" + version + "</VersionId>"
			}
			body += "</Object>"
		}
		body += "</Delete>"
		a := d.do("POST", "/bbb?delete", body, "x-amz-checksum-crc32", crc32Of(body))
		a.ok(t, body, 200)
		return a.body
	}
	got := del("k", "wrongkey")
	marker := element(got, "DeleteMarkerVersionId")
	if strings.Count(got, "<DeleteMarker>true</DeleteMarker>") != 2 || marker == "" || strings.Contains(got, "<VersionId>") {
		t.Error(got)
	}
	if got = del("k " + marker); !strings.Contains(got, "<Deleted><Key>k</Key><VersionId>"+marker+"</VersionId><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>"+marker+"</DeleteMarkerVersionId></Deleted>") {
		t.Error(got)
	}
	got = del("k "+madeUp, "wrong-key-2 "+madeUp, "k nonsense")
	if strings.Count(got, "<Code>NoSuchVersion</Code><Message>"+noVersion+"</Message>") != 3 || !strings.Contains(got, "<VersionId>"+madeUp+"</VersionId>") {
		t.Error(got)
	}
	for range 2 { // who tries again, or comes second, has it deleted too
		if got = del("k " + v1); !strings.Contains(got, "<Deleted><Key>k</Key><VersionId>"+v1+"</VersionId></Deleted>") {
			t.Error(got)
		}
	}
}

func TestSuspendedVersioningAsRecorded(t *testing.T) {
	d := openDoor(t)
	d.versionedBucket("bbb")
	v1, v2 := d.putVersion("/bbb/k", "one"), d.putVersion("/bbb/k", "two")
	d.do("PUT", "/bbb?versioning", versioningXML("Suspended")).ok(t, "suspend", 200)
	d.lists("/bbb?versions", "k* "+v2, "k "+v1)
	if v := d.putVersion("/bbb/k", "null"); v != "" {
		t.Errorf("PUT tells %q", v) // of the null version nothing is told
	}
	d.lists("/bbb?versions", "k* null", "k "+v2, "k "+v1)
	d.putVersion("/bbb/k", "null again")
	d.lists("/bbb?versions", "k* null", "k "+v2, "k "+v1)
	if a := d.do("GET", "/bbb/k", ""); a.body != "null again" || a.header.Get("x-amz-version-id") != "null" {
		t.Errorf("%v %q", a.header, a.body)
	}
	if a := d.do("DELETE", "/bbb/k", ""); a.header.Get("x-amz-version-id") != "null" || a.header.Get("x-amz-delete-marker") != "true" {
		t.Errorf("%v", a.header)
	}
	d.lists("/bbb?versions", "k!* null", "k "+v2, "k "+v1)
	// A copy tells of the null version that it made, and not of one that it was made of.
	a := d.do("PUT", "/bbb/k", "", "x-amz-copy-source", "/bbb/k?versionId="+v1)
	a.ok(t, "copy", 200)
	if a.header.Get("x-amz-version-id") != "null" || a.header.Get("x-amz-copy-source-version-id") != v1 {
		t.Errorf("copy: %v", a.header)
	}
	d.do("PUT", "/bbb?versioning", versioningXML("Enabled")).ok(t, "enable", 200)
	a = d.do("PUT", "/bbb/k", "", "x-amz-copy-source", "/bbb/k", "x-amz-metadata-directive", "REPLACE")
	a.ok(t, "copy in place", 200)
	if a.header.Get("x-amz-version-id") == "" || a.header.Get("x-amz-copy-source-version-id") != "" {
		t.Errorf("copy of the null version: %v", a.header)
	}
	d.do("PUT", "/bbb/l", "", "x-amz-copy-source", "/bbb/none?versionId="+v1).want(t, "copy of no version", 404, "NoSuchVersion", noVersion, "Key", "none", "VersionId", v1)
	marker := d.do("DELETE", "/bbb/k", "").header.Get("x-amz-version-id")
	d.do("PUT", "/bbb/l", "", "x-amz-copy-source", "/bbb/k?versionId="+marker).want(t, "copy of a marker", 400, "InvalidRequest", "The source of a copy request may not specifically refer to a delete marker by version id.")
	d.do("PUT", "/bbb/l", "", "x-amz-copy-source", "/bbb/k").want(t, "copy of what is deleted", 404, "NoSuchKey", "", "Key", "k")
}

func TestVersionMarkersAsRecorded(t *testing.T) {
	d := openDoor(t)
	d.versionedBucket("bbb")
	v := make([]string, 10)
	for i, key := range []string{"test_0", "test_1", "test_2"} {
		v[i+1] = d.putVersion("/bbb/"+key, "version 1")
	}
	v[4] = d.putVersion("/bbb/test_2", "version 2")
	for i, key := range []string{"test_0", "test_1", "test_2"} {
		v[i+5] = d.do("DELETE", "/bbb/"+key, "").header.Get("x-amz-version-id")
	}
	v[8], v[9] = d.putVersion("/bbb/test_0", "version 3"), d.putVersion("/bbb/test_1", "version 3")
	all := []string{"test_0* " + v[8], "test_0! " + v[5], "test_0 " + v[1], "test_1* " + v[9], "test_1! " + v[6], "test_1 " + v[2], "test_2!* " + v[7], "test_2 " + v[4], "test_2 " + v[3]}
	d.lists("/bbb?versions", all...)
	page := func(query string, truncated bool, next, nextVersion string, want ...string) {
		t.Helper()
		d.lists("/bbb?versions&"+query, want...)
		l, _ := d.versions("/bbb?versions&" + query)
		if l.IsTruncated != truncated || l.NextKeyMarker != next || l.NextVersionIdMarker != nextVersion {
			t.Errorf("%s: %+v", query, l)
		}
	}
	page("max-keys=5", true, "test_1", v[6], all[:5]...)
	page("max-keys=1&key-marker=test_1", true, "test_2", v[7], all[6])
	page("max-keys=1&key-marker=test_2", false, "", "")
	page("max-keys=1&key-marker=test_1&version-id-marker="+v[6], true, "test_1", v[2], all[5])
	page("max-keys=1&key-marker=test_2&version-id-marker="+v[4], false, "", "", all[8])
	page("max-keys=1&key-marker=", true, "test_0", v[8], all[0])
	d.do("GET", "/bbb?versions&version-id-marker="+v[6], "").want(t, "version marker alone", 400, "InvalidArgument",
		"A version-id marker cannot be specified without a key marker.", "ArgumentName", "version-id-marker", "ArgumentValue", v[6])

	d.bucket("folders")
	for _, key := range []string{"folder/aSubfolder/subFile1", "folder/aSubfolder/subFile2", "folder/file1", "folder/file2"} {
		d.putVersion("/folders/"+key, "x")
	}
	for _, c := range []struct {
		marker    string
		truncated bool
		next      string
		want      string
	}{
		{"", true, "folder/aSubfolder/", "folder/aSubfolder/.."},
		{"folder/aSubfolder/", true, "folder/file1", "folder/file1* null"},
		{"folder/file1", false, "", "folder/file2* null"},
		{"folder/aSubfolder/subFile1", true, "folder/file1", "folder/file1* null"},
	} {
		target := "/folders?versions&prefix=folder/&delimiter=/&max-keys=1&key-marker=" + c.marker
		d.lists(target, c.want)
		if l, _ := d.versions(target); l.IsTruncated != c.truncated || l.NextKeyMarker != c.next {
			t.Errorf("%s: %+v", c.marker, l)
		}
	}
}

func TestTagsAndAttributesOfVersionsAsRecorded(t *testing.T) {
	d := openDoor(t)
	d.versionedBucket("bbb")
	v1, v2 := d.putVersion("/bbb/k", "version", "x-amz-tagging", "a=1"), d.putVersion("/bbb/k", "version 2")
	a := d.do("GET", "/bbb/k?tagging&versionId="+v1, "")
	if a.ok(t, "tags", 200); !strings.Contains(a.body, "<Key>a</Key>") || a.header.Get("x-amz-version-id") != v1 {
		t.Errorf("%v %s", a.header, a.body)
	}
	a = d.do("GET", "/bbb/k?attributes&versionId="+v1, "", "x-amz-object-attributes", "ObjectSize")
	if a.ok(t, "attributes", 200); element(a.body, "ObjectSize") != "7" || a.header.Get("x-amz-version-id") != v1 {
		t.Errorf("%v %s", a.header, a.body)
	}
	if a = d.do("DELETE", "/bbb/k?tagging", ""); a.status != 204 || a.header.Get("x-amz-version-id") != v2 {
		t.Errorf("%d %v", a.status, a.header)
	}
	marker := d.do("DELETE", "/bbb/k", "").header.Get("x-amz-version-id")
	for _, target := range []string{"/bbb/k?tagging", "/bbb/k?tagging&versionId=" + marker} {
		for _, method := range []string{"PUT", "GET", "DELETE"} {
			body := ""
			if method == "PUT" {
				body = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
			}
			d.do(method, target, body).want(t, method+" "+target, 405, "MethodNotAllowed", notAllowed, "Method", method, "ResourceType", "DeleteMarker")
		}
	}
	d.do("GET", "/bbb/k?attributes", "", "x-amz-object-attributes", "ObjectSize").want(t, "attributes of what is deleted", 404, "NoSuchKey", "", "Key", "k")
}

func crc32Of(s string) string { return checksum.Format(checksum.Of(checksum.CRC32, []byte(s))) }
