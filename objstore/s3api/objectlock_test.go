package s3api

import (
	"crypto/md5"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
)

// What AWS S3 itself answered about Object Lock, recorded by the LocalStack
// project (Apache-2.0): status, code, text and headers are theirs.

const (
	protected   = "Access Denied because object protected by object lock."
	missingLock = "Bucket is missing Object Lock Configuration"
	noneSet     = "The specified object does not have a ObjectLock configuration"
)

// lockDoor opens a door with a bucket that has Object Lock, and a clock.
func lockDoor(t *testing.T) (*door, *time.Time) {
	now := time.Now()
	clock := &now
	d := openDoorOf(t, storetest.Open(t, storetest.Options{Engine: func(o *engine.Options) { o.Now = func() time.Time { return *clock } }}))
	d.do("PUT", "/bbb", "", "x-amz-bucket-object-lock-enabled", "true").ok(t, "create", 200)
	return d, clock
}

func lockXML(rule string) string {
	return "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>" + rule + "</ObjectLockConfiguration>"
}

func defaultXML(in string) string {
	return "<Rule><DefaultRetention>" + in + "</DefaultRetention></Rule>"
}

func retentionXML(mode string, until time.Time) string {
	return "<Retention><Mode>" + mode + "</Mode><RetainUntilDate>" + until.UTC().Format(time.RFC3339) + "</RetainUntilDate></Retention>"
}

func TestObjectLockConfigurationAsRecorded(t *testing.T) {
	d, _ := lockDoor(t)
	const state = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
	get := func(want string) {
		t.Helper()
		a := d.do("GET", "/bbb?object-lock", "")
		if a.ok(t, "get", 200); !strings.HasSuffix(a.body, "<ObjectLockEnabled>Enabled</ObjectLockEnabled>"+want+"</ObjectLockConfiguration>") {
			t.Error(a.body)
		}
	}
	get("")
	rule := defaultXML("<Mode>GOVERNANCE</Mode><Days>1</Days>")
	d.do("PUT", "/bbb?object-lock", lockXML(rule)).ok(t, "put", 200)
	get(rule)
	d.do("PUT", "/bbb?object-lock", lockXML("")).ok(t, "put", 200)
	get("")
	for what, body := range map[string]string{
		"no enabled":      "<ObjectLockConfiguration>" + rule + "</ObjectLockConfiguration>",
		"empty":           "<ObjectLockConfiguration/>",
		"empty rule":      lockXML("<Rule/>"),
		"empty retention": lockXML(defaultXML("")),
		"no days":         lockXML(defaultXML("<Mode>GOVERNANCE</Mode>")),
		"bad mode":        lockXML(defaultXML("<Mode>BAD-VALUE</Mode><Days>1</Days>")),
		"both":            lockXML(defaultXML("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>")),
	} {
		d.do("PUT", "/bbb?object-lock", body).want(t, what, 400, "MalformedXML", malformed)
	}
	get("")
	d.do("PUT", "/bbb?object-lock", lockXML(defaultXML("<Mode>GOVERNANCE</Mode><Days>99999999999999999999</Days>"))).want(t, "too long", 400, "InvalidArgument", "")
	d.do("PUT", "/bbb?versioning", versioningXML("Suspended")).want(t, "suspend", 409, "InvalidBucketState", "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
	d.do("PUT", "/bbb?versioning", versioningXML("Enabled")).ok(t, "enable again", 200)

	d.bucket("plain")
	d.do("GET", "/plain?object-lock", "").want(t, "no configuration", 404, "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket", "BucketName", "plain")
	d.do("PUT", "/plain?object-lock", lockXML("")).want(t, "no versioning", 409, "InvalidBucketState", state)
	d.do("PUT", "/plain?versioning", versioningXML("Suspended")).ok(t, "suspend", 200)
	d.do("PUT", "/plain?object-lock", lockXML("")).want(t, "suspended", 409, "InvalidBucketState", state)
	d.do("PUT", "/plain?versioning", versioningXML("Enabled")).ok(t, "enable", 200)
	d.do("PUT", "/plain?object-lock", lockXML("")).ok(t, "enabled", 200)
	d.do("GET", "/none?object-lock", "").want(t, "no bucket", 404, "NoSuchBucket", "", "BucketName", "none")
}

func TestObjectRetentionAsRecorded(t *testing.T) {
	d, clock := lockDoor(t)
	in := func(h time.Duration) time.Time { return clock.Add(h) }
	v1 := d.putVersion("/bbb/k", "test")
	d.do("GET", "/bbb/k?retention", "").want(t, "never set", 404, "NoSuchObjectLockConfiguration", noneSet)
	d.do("PUT", "/bbb/k?retention", retentionXML("GOVERNANCE", in(time.Hour))).ok(t, "set", 200)
	a := d.do("GET", "/bbb/k?retention", "")
	if a.ok(t, "get", 200); element(a.body, "Mode") != "GOVERNANCE" || element(a.body, "RetainUntilDate") == "" {
		t.Error(a.body)
	}
	if a = d.do("HEAD", "/bbb/k", ""); a.header.Get("x-amz-object-lock-mode") != "GOVERNANCE" || a.header.Get("x-amz-object-lock-retain-until-date") == "" {
		t.Errorf("%v", a.header)
	}
	d.do("DELETE", "/bbb/k?versionId="+v1, "").want(t, "delete", 403, "AccessDenied", protected)
	d.do("PUT", "/bbb/k?retention", retentionXML("GOVERNANCE", in(time.Hour/2))).want(t, "shorten", 403, "AccessDenied", protected)
	d.do("PUT", "/bbb/k?retention", retentionXML("GOVERNANCE", in(2*time.Hour))).ok(t, "extend", 200)
	d.do("PUT", "/bbb/k?retention", "<Retention/>").want(t, "take away", 403, "AccessDenied", protected)
	d.do("PUT", "/bbb/k?retention", "<Retention/>", "x-amz-bypass-governance-retention", "true").ok(t, "take away with bypass", 200)
	past := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	d.do("PUT", "/bbb/k?retention", retentionXML("GOVERNANCE", past)).want(t, "past", 400, "InvalidArgument", "The retain until date must be in the future!",
		"ArgumentName", "RetainUntilDate", "ArgumentValue", "Tue Dec 31 16:00:00 PST 2019")
	d.do("PUT", "/bbb/k?retention", retentionXML("BAD-VALUE", in(time.Hour))).want(t, "bad mode", 400, "MalformedXML", malformed)
	d.do("PUT", "/bbb/k?retention", "<Retention><Mode>GOVERNANCE</Mode></Retention>").want(t, "no date", 400, "MalformedXML", malformed)
	d.do("PUT", "/bbb/none?retention", retentionXML("GOVERNANCE", in(time.Hour))).want(t, "no key", 404, "NoSuchKey", "", "Key", "none")
	d.do("PUT", "/none/k?retention", retentionXML("GOVERNANCE", in(time.Hour))).want(t, "no bucket", 404, "NoSuchBucket", "", "BucketName", "none")
	d.bucket("plain")
	d.putVersion("/plain/k", "test")
	d.do("PUT", "/plain/k?retention", retentionXML("GOVERNANCE", in(time.Hour))).want(t, "plain bucket", 400, "InvalidRequest", missingLock)
	d.do("GET", "/plain/k?retention", "").want(t, "plain bucket", 400, "InvalidRequest", missingLock)

	// Governance becomes compliance for who may bypass it.
	d.putVersion("/bbb/mode", "test")
	d.do("PUT", "/bbb/mode?retention", retentionXML("GOVERNANCE", in(time.Hour))).ok(t, "governance", 200)
	d.do("PUT", "/bbb/mode?retention", retentionXML("COMPLIANCE", in(2*time.Hour))).want(t, "mode", 403, "AccessDenied", protected)
	d.do("PUT", "/bbb/mode?retention", retentionXML("GOVERNANCE", in(2*time.Hour))).ok(t, "longer", 200)
	d.do("PUT", "/bbb/mode?retention", retentionXML("COMPLIANCE", in(2*time.Hour)), "x-amz-bypass-governance-retention", "true").ok(t, "bypassed", 200)

	// Compliance is not bypassed, and ends.
	d.do("PUT", "/bbb/k?retention", retentionXML("COMPLIANCE", in(time.Hour))).ok(t, "compliance", 200)
	d.do("DELETE", "/bbb/k?versionId="+v1, "", "x-amz-bypass-governance-retention", "true").want(t, "delete", 403, "AccessDenied", protected)
	marker := d.do("DELETE", "/bbb/k", "").header.Get("x-amz-version-id")
	for _, method := range []string{"PUT", "GET"} {
		body := ""
		if method == "PUT" {
			body = retentionXML("GOVERNANCE", in(time.Hour))
		}
		d.do(method, "/bbb/k?retention&versionId="+marker, body).want(t, method+" of a marker", 405, "MethodNotAllowed", notAllowed, "Method", method, "ResourceType", "DeleteMarker")
	}
	d.do("PUT", "/bbb/k?retention&versionId="+v1, retentionXML("COMPLIANCE", in(time.Hour/2)), "x-amz-bypass-governance-retention", "true").want(t, "shorten", 403, "AccessDenied", protected)
	d.do("PUT", "/bbb/k?retention&versionId="+v1, retentionXML("GOVERNANCE", in(time.Hour)), "x-amz-bypass-governance-retention", "true").want(t, "weaken", 403, "AccessDenied", protected)
	*clock = in(time.Hour + time.Second)
	d.do("DELETE", "/bbb/k?versionId="+v1, "").ok(t, "delete when it is over", 204)
}

func TestLockHeadersAsRecorded(t *testing.T) {
	d, clock := lockDoor(t)
	until := clock.Add(time.Hour).UTC().Format(time.RFC3339)
	const both = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
	d.do("PUT", "/bbb/k", "x", "x-amz-object-lock-mode", "GOVERNANCE").want(t, "no date", 400, "InvalidArgument", both, "ArgumentName", "x-amz-object-lock-retain-until-date")
	d.do("PUT", "/bbb/k", "x", "x-amz-object-lock-retain-until-date", until).want(t, "no mode", 400, "InvalidArgument", both, "ArgumentName", "x-amz-object-lock-mode")
	for _, c := range [][2]string{{"PUT", "/bbb/k"}, {"POST", "/bbb/k?uploads"}} {
		d.do(c[0], c[1], "", "x-amz-object-lock-mode", "BAD-VALUE", "x-amz-object-lock-retain-until-date", until).want(t, c[1], 400, "InvalidArgument", "Unknown wormMode directive.",
			"ArgumentName", "x-amz-object-lock-mode", "ArgumentValue", "BAD-VALUE")
	}
	d.putVersion("/bbb/k", "x", "x-amz-checksum-crc32", crc32Of("x"), "x-amz-object-lock-mode", "GOVERNANCE", "x-amz-object-lock-retain-until-date", until, "x-amz-object-lock-legal-hold", "ON")
	a := d.do("HEAD", "/bbb/k", "")
	if a.header.Get("x-amz-object-lock-mode") != "GOVERNANCE" || a.header.Get("x-amz-object-lock-legal-hold") != "ON" {
		t.Errorf("%v", a.header)
	}
	// A copy has none of it.
	d.do("PUT", "/bbb/copy", "", "x-amz-copy-source", "/bbb/k").ok(t, "copy", 200)
	if a = d.do("HEAD", "/bbb/copy", ""); a.header.Get("x-amz-object-lock-mode") != "" || a.header.Get("x-amz-object-lock-legal-hold") != "" {
		t.Errorf("copy: %v", a.header)
	}
	// An upload has what it was begun with.
	a = d.do("POST", "/bbb/up?uploads", "", "x-amz-object-lock-mode", "COMPLIANCE", "x-amz-object-lock-retain-until-date", until)
	id := element(a.body, "UploadId")
	part := d.do("PUT", "/bbb/up?partNumber=1&uploadId="+id, "data", "x-amz-checksum-crc32", crc32Of("data"))
	a = d.do("POST", "/bbb/up?uploadId="+id, completeXML(partXML(1, part.header.Get("Etag"))))
	if a.ok(t, "complete", 200); a.header.Get("x-amz-version-id") == "" {
		t.Errorf("complete: %v", a.header)
	}
	if a = d.do("HEAD", "/bbb/up", ""); a.header.Get("x-amz-object-lock-mode") != "COMPLIANCE" {
		t.Errorf("upload: %v", a.header)
	}
	d.do("PUT", "/bbb?object-lock", lockXML(defaultXML("<Mode>GOVERNANCE</Mode><Days>1</Days>"))).ok(t, "default", 200)
	d.putVersion("/bbb/default", "x", "x-amz-checksum-crc32", crc32Of("x"))
	if a = d.do("HEAD", "/bbb/default", ""); a.header.Get("x-amz-object-lock-mode") != "GOVERNANCE" || a.header.Get("x-amz-object-lock-retain-until-date") == "" {
		t.Errorf("default: %v", a.header)
	}
	d.bucket("plain")
	d.do("PUT", "/plain/k", "x", "x-amz-checksum-crc32", crc32Of("x"), "x-amz-object-lock-legal-hold", "ON").want(t, "plain bucket", 400, "InvalidRequest", missingLock)
}

// What cannot be taken back has to be what the client meant: AWS wants an MD5 or a
// checksum of the client's for it (aws-sdk-php issue 1694, s3cmd issue 1436).
func TestBodiesUnderObjectLockNeedAChecksum(t *testing.T) {
	d, clock := lockDoor(t)
	until := clock.Add(time.Hour).UTC().Format(time.RFC3339)
	refusal := func(what string) string {
		return "Content-MD5 OR x-amz-checksum- HTTP header is required for Put " + what + " requests with Object Lock parameters"
	}
	sum := md5.Sum([]byte("x"))
	vouching := [][]string{{"Content-MD5", base64.StdEncoding.EncodeToString(sum[:])}, {"x-amz-checksum-crc32", crc32Of("x")}}
	try := func(what, path string, headers ...string) {
		t.Helper()
		d.do("PUT", path, "x", headers...).want(t, path, 400, "InvalidRequest", refusal(what))
		for _, v := range vouching {
			d.do("PUT", path, "x", append(v, headers...)...).ok(t, path, 200)
		}
	}
	try("Object", "/bbb/mode", "x-amz-object-lock-mode", "GOVERNANCE", "x-amz-object-lock-retain-until-date", until)
	try("Object", "/bbb/hold", "x-amz-object-lock-legal-hold", "ON")
	begin := func(headers ...string) string {
		return "/bbb/up?partNumber=1&uploadId=" + element(d.do("POST", "/bbb/up?uploads", "", headers...).body, "UploadId")
	}
	try("Part", begin("x-amz-object-lock-legal-hold", "ON"))
	d.do("PUT", begin(), "x").ok(t, "a part of what is not locked", 200)
	d.do("PUT", "/bbb/free", "x").ok(t, "no default", 200)

	d.do("PUT", "/bbb?object-lock", lockXML(defaultXML("<Mode>GOVERNANCE</Mode><Days>1</Days>"))).ok(t, "default", 200)
	try("Object", "/bbb/default")
	try("Part", begin())
	d.do("PUT", "/bbb/copy", "", "x-amz-copy-source", "/bbb/default").ok(t, "a copy has no body", 200)
}

func TestLegalHoldAsRecorded(t *testing.T) {
	d, _ := lockDoor(t)
	hold := func(status string) string { return "<LegalHold><Status>" + status + "</Status></LegalHold>" }
	v1 := d.putVersion("/bbb/k", "test")
	d.do("GET", "/bbb/k?legal-hold", "").want(t, "unset", 404, "NoSuchObjectLockConfiguration", noneSet)
	d.do("PUT", "/bbb/k?legal-hold", hold("ON")).ok(t, "on", 200)
	if a := d.do("GET", "/bbb/k?legal-hold", ""); element(a.body, "Status") != "ON" {
		t.Error(a.body)
	}
	d.do("DELETE", "/bbb/k?versionId="+v1, "", "x-amz-bypass-governance-retention", "true").want(t, "delete", 403, "AccessDenied", protected)
	body := "<Delete><Object><Key>k</Key><VersionId>" + v1 + "</VersionId></Object></Delete>"
	a := d.do("POST", "/bbb?delete", body, "x-amz-checksum-crc32", crc32Of(body))
	if a.ok(t, "delete objects", 200); !strings.Contains(a.body, "<VersionId>"+v1+"</VersionId><Code>AccessDenied</Code><Message>"+protected+"</Message>") {
		t.Error(a.body)
	}
	v2 := d.putVersion("/bbb/k", "test")
	d.do("PUT", "/bbb/k?legal-hold&versionId="+v1, hold("OFF")).ok(t, "off", 200)
	if a := d.do("HEAD", "/bbb/k?versionId="+v1, ""); a.header.Get("x-amz-object-lock-legal-hold") != "OFF" {
		t.Errorf("%v", a.header)
	}
	d.do("DELETE", "/bbb/k?versionId="+v1, "").ok(t, "delete", 204)
	d.do("PUT", "/bbb/k?legal-hold&versionId="+v2, "<LegalHold/>").want(t, "empty", 400, "MalformedXML", malformed)
	d.do("PUT", "/bbb/none?legal-hold", hold("ON")).want(t, "no key", 404, "NoSuchKey", "", "Key", "none")
	d.do("PUT", "/none/k?legal-hold", hold("ON")).want(t, "no bucket", 404, "NoSuchBucket", "", "BucketName", "none")
	d.bucket("plain")
	d.putVersion("/plain/k", "test")
	d.do("PUT", "/plain/k?legal-hold", hold("ON")).want(t, "plain bucket", 400, "InvalidRequest", missingLock)
	d.do("GET", "/plain/k?legal-hold", "").want(t, "plain bucket", 400, "InvalidRequest", missingLock)
	const bypass = "x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets."
	for _, v := range []string{"true", "false"} {
		d.do("DELETE", "/plain/k", "", "x-amz-bypass-governance-retention", v).want(t, "bypass", 400, "InvalidArgument", bypass, "ArgumentName", "x-amz-bypass-governance-retention")
	}
}
