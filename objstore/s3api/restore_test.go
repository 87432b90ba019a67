package s3api

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
)

// openLaterDoor opens a door over a store whose clock goes ahead by what later is set
// to.
func openLaterDoor(t *testing.T) (d *door, later *atomic.Int64) {
	later = new(atomic.Int64)
	s := storetest.Open(t, storetest.Options{Engine: func(o *engine.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	}})
	return openDoorOf(t, s), later
}

func restoreXML(elements string) string { return "<RestoreRequest>" + elements + "</RestoreRequest>" }

// restored is x-amz-restore of what was restored today.
func restored(days int) string {
	now := time.Now().UTC()
	day := time.Date(now.Year(), now.Month(), now.Day()+days+1, 0, 0, 0, 0, time.UTC)
	return `ongoing-request="false", expiry-date="` + day.Format("Mon, 02 Jan 2006 15:04:05 GMT") + `"`
}

const (
	archived    = "The operation is not valid for the object's storage class"
	archivedSrc = "Operation is not valid for the source object's storage class"
	noArchive   = "Restore is not allowed for the object's current storage class"
)

func TestArchivedObjectIsServedOnceRestored(t *testing.T) {
	d, later := openLaterDoor(t)
	d.bucket("bucket")
	id, part := d.begin("/bucket/upload")
	for _, class := range []string{"GLACIER", "DEEP_ARCHIVE"} {
		d.do("PUT", "/bucket/k", "data", "x-amz-storage-class", class).ok(t, class, 200)
		refused := func(when string) {
			t.Helper()
			for _, headers := range [][]string{nil, {"Range", "bytes=0-1"}} {
				d.do("GET", "/bucket/k", "", headers...).want(t, when, 403, "InvalidObjectState", archived, "StorageClass", class)
			}
			d.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "/bucket/k").want(t, when, 403, "InvalidObjectState", archivedSrc)
			d.do("PUT", "/bucket/k", "", "x-amz-copy-source", "/bucket/k", "x-amz-storage-class", "STANDARD").want(t, when, 403, "InvalidObjectState", archivedSrc)
			d.do("PUT", part(1), "", "x-amz-copy-source", "/bucket/k").want(t, when, 403, "InvalidObjectState", archivedSrc)
			for _, target := range []string{"/bucket/k", "/bucket/k?partNumber=1"} {
				a := d.do("HEAD", target, "")
				if a.status/100 != 2 || a.header.Get("x-amz-storage-class") != class || a.header.Get("x-amz-restore") != "" {
					t.Error(when, target, a.status, a.header)
				}
			}
			d.do("GET", "/bucket/k?tagging", "").ok(t, "tags", 200)
		}
		refused("archived")

		modified := d.do("HEAD", "/bucket/k", "").header.Get("Last-Modified")
		d.do("POST", "/bucket/k?restore", restoreXML("<Days>30</Days><GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters>")).ok(t, "restore", 202)
		for _, method := range []string{"GET", "HEAD"} {
			a := d.do(method, "/bucket/k", "")
			if a.status != 200 || a.header.Get("x-amz-restore") != restored(30) || a.header.Get("x-amz-storage-class") != class || a.header.Get("Last-Modified") != modified {
				t.Error(method, a, a.header)
			}
		}
		d.do("PUT", "/bucket/copy", "", "x-amz-copy-source", "/bucket/k").ok(t, "copy", 200)
		d.do("PUT", part(1), "", "x-amz-copy-source", "/bucket/k").ok(t, "copy of a part", 200)
		if a := d.do("GET", "/bucket/copy", ""); a.body != "data" || a.header.Get("x-amz-restore") != "" {
			t.Error(a, a.header)
		}
		// Asked for again, it counts from now, and the answer is another one.
		d.do("POST", "/bucket/k?restore", restoreXML("<Days>1</Days>")).ok(t, "again", 200)
		if got := d.do("HEAD", "/bucket/k", "").header.Get("x-amz-restore"); got != restored(1) {
			t.Error(got)
		}
		later.Store(int64(49 * time.Hour))
		refused("over")
		d.do("POST", "/bucket/k?restore", restoreXML("<Days>3</Days>")).ok(t, "restored anew", 202)
		later.Store(0)
		d.do("PUT", "/bucket/k", "data", "x-amz-storage-class", class).ok(t, class, 200)
		refused("replaced")
	}
	d.do("DELETE", "/bucket/upload?uploadId="+id, "").ok(t, "abort", 204)
}

func TestRestoreOfNoArchiveIsRefusedBeforeItsDocument(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for _, class := range storageClasses {
		if class == "GLACIER" || class == "DEEP_ARCHIVE" {
			continue
		}
		d.do("PUT", "/bucket/k", "data", "x-amz-storage-class", class).ok(t, class, 200)
		for _, body := range []string{"", restoreXML("<Days>1</Days>")} {
			d.do("POST", "/bucket/k?restore", body).want(t, class, 403, "InvalidObjectState", noArchive, "StorageClass", class)
		}
	}
	d.do("POST", "/bucket/none?restore", "").want(t, "no key", 404, "NoSuchKey", "The specified key does not exist.", "Key", "none")
	d.do("POST", "/nobucket/none?restore", "").want(t, "no bucket", 404, "NoSuchBucket", "")
}

func TestRestoreDocument(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket/k", "data", "x-amz-storage-class", "DEEP_ARCHIVE").ok(t, "put", 200)
	const days = "<Days>1</Days>"
	for name, c := range map[string]struct {
		doc  string
		code string
	}{
		"none":              {"", "MalformedXML"},
		"cut":               {"<RestoreRequest>", "MalformedXML"},
		"another":           {"<Restore>" + days + "</Restore>", "MalformedXML"},
		"no days":           {restoreXML(""), "MalformedXML"},
		"no number":         {restoreXML("<Days>one</Days>"), "MalformedXML"},
		"two and a half":    {restoreXML("<Days>2.5</Days>"), "MalformedXML"},
		"twice":             {restoreXML(days + days), "MalformedXML"},
		"no tier":           {restoreXML(days + "<GlacierJobParameters/>"), "MalformedXML"},
		"unknown tier":      {restoreXML(days + "<GlacierJobParameters><Tier>Fast</Tier></GlacierJobParameters>"), "MalformedXML"},
		"unknown element":   {restoreXML(days + "<Weeks>1</Weeks>"), "MalformedXML"},
		"0":                 {restoreXML("<Days>0</Days>"), "InvalidArgument"},
		"negative":          {restoreXML("<Days>-1</Days>"), "InvalidArgument"},
		"too long":          {restoreXML("<Days>36501</Days>"), "InvalidArgument"},
		"not of this class": {restoreXML(days + "<GlacierJobParameters><Tier>Expedited</Tier></GlacierJobParameters>"), "InvalidArgument"},
	} {
		d.do("POST", "/bucket/k?restore", c.doc).want(t, name, 400, c.code, "")
	}
	d.do("POST", "/bucket/k?restore", restoreXML(days+"<Type>SELECT</Type>")).want(t, "select", 405, "MethodNotAllowed", "")
	d.do("GET", "/bucket/k", "").want(t, "refused", 403, "InvalidObjectState", "", "StorageClass", "DEEP_ARCHIVE")
	d.do("POST", "/bucket/k?restore", restoreXML("<Days>36500</Days><Tier>Standard</Tier><Description>x</Description>"), "Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==").want(t, "digest", 400, "BadDigest", "")
	d.do("POST", "/bucket/k?restore", restoreXML("<Days>36500</Days><Tier>Standard</Tier><Description>x</Description>")).ok(t, "longest", 202)
	d.do("PUT", "/bucket/g", "data", "x-amz-storage-class", "GLACIER").ok(t, "put", 200)
	d.do("POST", "/bucket/g?restore", restoreXML(days+"<GlacierJobParameters><Tier>Expedited</Tier></GlacierJobParameters>")).ok(t, "expedited", 202)
}

func TestRestoreIsOfOneVersion(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>").ok(t, "versioning", 200)
	put := func() string {
		return d.do("PUT", "/bucket/k", "data", "x-amz-storage-class", "GLACIER").header.Get("x-amz-version-id")
	}
	first, second := put(), put()
	restore := func(version string) reply {
		return d.do("POST", "/bucket/k?restore&versionId="+version, restoreXML("<Days>1</Days>"))
	}
	restore(first).ok(t, "first", 202)
	d.do("GET", "/bucket/k?versionId="+first, "").ok(t, "first", 200)
	d.do("GET", "/bucket/k?versionId="+second, "").want(t, "second", 403, "InvalidObjectState", "")
	list := d.do("GET", "/bucket?versions", "", "x-amz-optional-object-attributes", "RestoreStatus")
	status := "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>" + time.Now().UTC().AddDate(0, 0, 2).Format("2006-01-02") + "T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>"
	if strings.Count(list.body, status) != 1 || strings.Index(list.body, status) < strings.Index(list.body, first) {
		t.Error(list)
	}
	marker := d.do("DELETE", "/bucket/k", "").header.Get("x-amz-version-id")
	restore(marker).want(t, "marker", 405, "MethodNotAllowed", "", "ResourceType", "DeleteMarker")
	d.do("POST", "/bucket/k?restore", restoreXML("<Days>1</Days>")).want(t, "under a marker", 405, "MethodNotAllowed", "", "ResourceType", "DeleteMarker")
	restore("nonsense").want(t, "no version id", 400, "InvalidArgument", "")
}

func TestListingsTellOfRestoresIfAsked(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "plain", "data")
	d.do("PUT", "/bucket/archived", "data", "x-amz-storage-class", "GLACIER").ok(t, "put", 200)
	d.do("PUT", "/bucket/restored", "data", "x-amz-storage-class", "GLACIER").ok(t, "put", 200)
	d.do("POST", "/bucket/restored?restore", restoreXML("<Days>1</Days>")).ok(t, "restore", 202)
	for _, target := range []string{"/bucket", "/bucket?list-type=2", "/bucket?versions"} {
		for name, want := range map[string]int{"": 0, "RestoreStatus": 1} {
			var headers []string
			if name != "" {
				headers = []string{"x-amz-optional-object-attributes", name}
			}
			a := d.do("GET", target, "", headers...)
			if a.ok(t, target, 200); strings.Count(a.body, "<RestoreStatus>") != want || strings.Contains(a.body, "<RestoreStatus>") && strings.Index(a.body, "<RestoreStatus>") < strings.Index(a.body, "<Key>restored") {
				t.Error(target, name, a)
			}
		}
		d.do("GET", target, "", "x-amz-optional-object-attributes", "Size").want(t, target, 400, "InvalidArgument", "Invalid attribute name specified.",
			"ArgumentName", "x-amz-optional-object-attributes", "ArgumentValue", "Size")
	}
}

func TestRestoreAsksForItsAction(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket/k", "data", "x-amz-storage-class", "GLACIER").ok(t, "put", 200)
	reader := d.user("reader", `{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}`)
	reader.do("POST", "/bucket/k?restore", restoreXML("<Days>1</Days>")).want(t, "reader", 403, "AccessDenied", "")
	restorer := d.user("restorer", `{"Effect":"Allow","Action":"s3:RestoreObject","Resource":"arn:aws:s3:::bucket/*"}`)
	restorer.do("POST", "/bucket/k?restore", restoreXML("<Days>1</Days>")).ok(t, "restorer", 202)
	reader.do("GET", "/bucket/k", "").ok(t, "restored", 200)
}

// AWS closed S3 Select to whoever did not use it before.
func TestSelectIsRefusedAsToNewCustomers(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "a,b")
	d.do("POST", "/bucket/k?select&select-type=2", "<SelectObjectContentRequest/>").want(t, "select", 405, "MethodNotAllowed",
		"The specified method is not allowed against this resource.", "Method", "POST", "ResourceType", "OBJECT")
}
