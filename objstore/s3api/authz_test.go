package s3api

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/cofferfs/coffer/objstore"
)

// user makes a user and returns the door as they see it. A policy is the name of
// a ready-made one, or statements.
func (d *door) user(name string, policies ...string) *door {
	d.t.Helper()
	var list []objstore.UserPolicy
	for _, p := range policies {
		u := objstore.UserPolicy{Name: p}
		if strings.HasPrefix(p, "{") {
			u = objstore.UserPolicy{Name: "own", Document: statements(p)}
		}
		list = append(list, u)
	}
	k, err := d.iam.AddUser(context.Background(), name, list)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.as(k.ID, k.Secret, "")
}

func (d *door) as(id, secret, token string) *door {
	other := *d
	other.creds = aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token}
	return &other
}

// anonymous sends a request that nobody signed.
func (d *door) anonymous(method, target, body string, headers ...string) reply {
	d.t.Helper()
	r := d.request(method, target, body, headers...)
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token"} {
		r.Header.Del(name)
	}
	return d.send(r)
}

func statements(list ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(list, ",") + `]}`
}

// policy gives a bucket a policy.
func (d *door) policy(bucket string, list ...string) {
	d.t.Helper()
	d.do("PUT", "/"+bucket+"?policy", statements(list...)).ok(d.t, "put policy", 204)
}

// open takes the public access block from a bucket.
func (d *door) open(bucket string) {
	d.t.Helper()
	d.do("DELETE", "/"+bucket+"?publicAccessBlock", "").ok(d.t, "delete public access block", 204)
}

func TestEveryRouteHasAnAction(t *testing.T) {
	for _, table := range []map[string]resource{serviceRoutes, bucketRoutes, objectRoutes} {
		for method, res := range table {
			list := []route{res.plain}
			for _, s := range res.subresources {
				list = append(list, s.route)
			}
			for _, r := range list {
				if r.handle == nil || unbuilt[r.name] { // what is not built does nothing
					continue
				}
				if _, ok := actions[r.name]; !ok {
					t.Errorf("%s %s: say in actions.go what it needs to be allowed", method, r.name)
				}
			}
		}
	}
}

func TestReadyMadePoliciesAtTheDoor(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "old", "x")
	users := map[string]*door{"root": d, "none": d.user("none"), "readonly": d.user("readonly", "readonly"), "readwrite": d.user("readwrite", "readwrite"), "backup": d.user("backup", "backup")}
	for _, c := range []struct {
		method, target, body string
		headers              []string
		allowed              string
		status               int
	}{
		{"GET", "/", "", nil, "readonly readwrite backup", 200},
		{"GET", "/bucket?list-type=2", "", nil, "readonly readwrite backup", 200},
		{"HEAD", "/bucket", "", nil, "readonly readwrite backup", 200},
		{"GET", "/bucket/old", "", nil, "readonly readwrite backup", 200},
		{"HEAD", "/bucket/old", "", nil, "readonly readwrite backup", 200},
		{"GET", "/bucket/none", "", nil, "readonly readwrite backup", 404},
		{"GET", "/bucket?location", "", nil, "readonly readwrite backup", 200},
		{"PUT", "/bucket/new-%s", "x", nil, "readwrite backup", 200},
		{"PUT", "/bucket/new-%s", "y", nil, "readwrite", 200},
		{"PUT", "/bucket/copy-%s", "", []string{"x-amz-copy-source", "bucket/old"}, "readwrite backup", 200},
		{"PUT", "/bucket/copy-%s", "", []string{"x-amz-copy-source", "bucket/old"}, "readwrite", 200},
		{"PUT", "/bucket/copy-%s?renameObject", "", []string{"x-amz-rename-source", "new-%s"}, "readwrite", 200},
		{"POST", "/bucket/big-%s?uploads", "", nil, "readwrite backup", 200},
		{"PUT", "/bucket/old?tagging", "<Tagging><TagSet/></Tagging>", nil, "readwrite", 200},
		{"DELETE", "/bucket/copy-%s", "", nil, "readwrite", 204},
		{"DELETE", "/bucket/none", "", nil, "readwrite", 204},
		{"PUT", "/bucket?policy", statements(`{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}`), nil, "readwrite", 204},
		{"DELETE", "/bucket?policy", "", nil, "readwrite", 204},
		{"PUT", "/bucket2-%s", "", nil, "readwrite", 200},
		{"DELETE", "/bucket", "", nil, "readwrite", 409},
	} {
		for name, u := range users {
			var headers []string
			for _, h := range c.headers {
				headers = append(headers, strings.ReplaceAll(h, "%s", name))
			}
			a := u.do(c.method, strings.ReplaceAll(c.target, "%s", name), c.body, headers...)
			want := 403
			if name == "root" || strings.Contains(" "+c.allowed+" ", " "+name+" ") {
				want = c.status
			}
			if a.status != want {
				t.Errorf("%s: %s %s: %d %s, want %d", name, c.method, c.target, a.status, a.body, want)
			}
			if want == 403 && c.method != "HEAD" && a.fields["Code"] != "AccessDenied" {
				t.Errorf("%s: %s %s: %s", name, c.method, c.target, a.body)
			}
		}
	}
	if got := d.get("bucket", "new-backup"); got != "x" {
		t.Errorf("the backup is %q", got)
	}
}

func TestBackupUserCannotOverwrite(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "first")
	b := d.user("backup", "backup")
	upload := func(key string) reply {
		t.Helper()
		a := b.do("POST", "/bucket/"+key+"?uploads", "")
		a.ok(t, "create upload", 200)
		_, rest, _ := strings.Cut(a.body, "<UploadId>")
		id, _, _ := strings.Cut(rest, "</UploadId>")
		part := b.do("PUT", "/bucket/"+key+"?partNumber=1&uploadId="+id, "part")
		part.ok(t, "upload part", 200)
		return b.do("POST", "/bucket/"+key+"?uploadId="+id, `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>`+part.header.Get("ETag")+`</ETag></Part></CompleteMultipartUpload>`)
	}
	upload("new").ok(t, "complete a new key", 200)
	if a := upload("k"); a.status != 403 && !strings.Contains(a.body, "AccessDenied") {
		t.Errorf("complete over an old key: %v", a)
	}
	b.do("PUT", "/bucket/k", "second").want(t, "put", 403, "AccessDenied", "Access Denied")
	b.do("PUT", "/bucket/k", "second", "If-None-Match", "*").want(t, "put if none", 412, "PreconditionFailed", "")
	b.do("PUT", "/bucket/k", "", "x-amz-copy-source", "bucket/new").want(t, "copy", 403, "AccessDenied", "")
	b.do("PUT", "/bucket/new?renameObject", "", "x-amz-rename-source", "k").want(t, "rename", 403, "AccessDenied", "")
	b.do("DELETE", "/bucket/k", "").want(t, "delete", 403, "AccessDenied", "")
	if got := d.get("bucket", "k"); got != "first" {
		t.Errorf("the object is %q", got)
	}
	// Of many that write one new key at once, one does.
	done := make(chan int, 8)
	for i := range cap(done) {
		go func() { done <- b.do("PUT", "/bucket/race", fmt.Sprint(i)).status }()
	}
	won := 0
	for range cap(done) {
		switch status := <-done; status {
		case 200:
			won++
		case 403:
		default:
			t.Errorf("status %d", status)
		}
	}
	if won != 1 {
		t.Errorf("%d writers of one new key won", won)
	}
}

func TestMissingKeysAreHiddenFromWhoMayNotList(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "there", "x")
	get := d.user("get", `{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"*"}`)
	list := d.user("list", `{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":"*"}`)
	get.do("GET", "/bucket/there", "").ok(t, "get", 200)
	get.do("GET", "/bucket/missing", "").want(t, "get", 403, "AccessDenied",
		`User: arn:aws:iam::000000000000:user/get is not authorized to perform: s3:ListBucket on resource: "arn:aws:s3:::bucket" because no identity-based policy allows the s3:ListBucket action`)
	if a := get.do("HEAD", "/bucket/missing", ""); a.status != 403 {
		t.Error(a.status)
	}
	get.do("PUT", "/bucket/new", "", "x-amz-copy-source", "bucket/missing").want(t, "copy", 403, "AccessDenied", "")
	list.do("GET", "/bucket/missing", "").want(t, "get", 404, "NoSuchKey", "")
	get.do("GET", "/none/missing", "").want(t, "no bucket", 404, "NoSuchBucket", "")
}

func TestDeleteObjectsAsksForEachKey(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "mine/a", "x")
	d.put("bucket", "yours/a", "x")
	u := d.user("alice", `{"Effect":"Allow","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::bucket/mine/*"}`)
	body := `<Delete><Object><Key>mine/a</Key></Object><Object><Key>yours/a</Key></Object><Object><Key>mine/none</Key></Object></Delete>`
	a := u.do("POST", "/bucket?delete", body, "Content-MD5", md5Base64(body))
	a.ok(t, "delete", 200)
	if strings.Count(a.body, "<Deleted>") != 2 || !strings.Contains(a.body, "<Error><Key>yours/a</Key><Code>AccessDenied</Code>") {
		t.Error(a.body)
	}
	d.do("HEAD", "/bucket/yours/a", "").ok(t, "head", 200)
	d.do("HEAD", "/bucket/mine/a", "").ok(t, "head", 404)
}

func TestConditionsOfTheRequest(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	d.do("PUT", "/bucket/k?tagging", `<Tagging><TagSet><Tag><Key>secret</Key><Value>yes</Value></Tag></TagSet></Tagging>`).ok(t, "tag", 200)
	const (
		object = `"Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::bucket/*"`
		bucket = `"Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket"`
	)
	tagging := func(v string) string {
		return `<Tagging><TagSet><Tag><Key>team</Key><Value>` + v + `</Value></Tag></TagSet></Tagging>`
	}
	sse := "x-amz-server-side-encryption"
	for _, c := range []struct {
		what, deny           string
		method, target, body string
		headers              []string
		denied               bool
	}{
		{"no encryption", object + `,"Condition":{"Null":{"s3:x-amz-server-side-encryption":"true"}}`, "PUT", "/bucket/n", "x", nil, true},
		{"encryption", object + `,"Condition":{"Null":{"s3:x-amz-server-side-encryption":"true"}}`, "PUT", "/bucket/n", "x", []string{sse, "AES256"}, false},
		{"another mode", object + `,"Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}`, "PUT", "/bucket/n", "x", []string{sse, "AES256"}, true},
		// Before the header is validated: this would be 400.
		{"bad algorithm", object + `,"Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption-customer-algorithm":"AES256"}}`, "PUT", "/bucket/n", "x",
			[]string{"x-amz-server-side-encryption-customer-algorithm", "AES192"}, true},
		{"no algorithm", object + `,"Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption-customer-algorithm":"AES256"},"Null":{"s3:x-amz-server-side-encryption-customer-algorithm":"false"}}`, "GET", "/bucket/k", "", nil, false},
		{"prefix", bucket + `,"Condition":{"StringNotLike":{"s3:prefix":"home/*"}}`, "GET", "/bucket?list-type=2&prefix=other/", "", nil, true},
		{"right prefix", bucket + `,"Condition":{"StringNotLike":{"s3:prefix":"home/*"}}`, "GET", "/bucket?list-type=2&prefix=home/x", "", nil, false},
		{"delimiter", bucket + `,"Condition":{"StringEquals":{"s3:delimiter":"/"}}`, "GET", "/bucket?delimiter=/", "", nil, true},
		{"max-keys", bucket + `,"Condition":{"NumericGreaterThan":{"s3:max-keys":"10"}}`, "GET", "/bucket?max-keys=11", "", nil, true},
		{"few keys", bucket + `,"Condition":{"NumericGreaterThan":{"s3:max-keys":"10"}}`, "GET", "/bucket?max-keys=10", "", nil, false},
		{"TLS", object + `,"Condition":{"Bool":{"aws:SecureTransport":"false"}}`, "GET", "/bucket/k", "", nil, false},
		{"TLS version", object + `,"Condition":{"NumericLessThan":{"s3:TlsVersion":"1.3"}}`, "GET", "/bucket/k", "", nil, false},
		{"old TLS", object + `,"Condition":{"NumericLessThan":{"s3:TlsVersion":"1.4"}}`, "GET", "/bucket/k", "", nil, true},
		{"address", object + `,"Condition":{"IpAddress":{"aws:SourceIp":["127.0.0.0/8","::1"]}}`, "GET", "/bucket/k", "", nil, true},
		{"another address", object + `,"Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`, "GET", "/bucket/k", "", nil, false},
		{"agent", object + `,"Condition":{"StringLike":{"aws:UserAgent":"*curl*"}}`, "GET", "/bucket/k", "", []string{"User-Agent", "curl/8"}, true},
		{"referer", object + `,"Condition":{"StringNotLike":{"aws:Referer":"https://example.com/*"}}`, "GET", "/bucket/k", "", []string{"Referer", "https://example.com/x"}, false},
		{"past", object + `,"Condition":{"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`, "GET", "/bucket/k", "", nil, false},
		{"epoch", object + `,"Condition":{"NumericGreaterThan":{"aws:EpochTime":"1000000000"}}`, "GET", "/bucket/k", "", nil, true},
		{"signature", object + `,"Condition":{"StringNotEquals":{"s3:signatureversion":"AWS4-HMAC-SHA256"}}`, "GET", "/bucket/k", "", nil, false},
		{"signature age", object + `,"Condition":{"NumericGreaterThan":{"s3:signatureAge":"600000"}}`, "GET", "/bucket/k", "", nil, false},
		{"auth type", object + `,"Condition":{"StringEquals":{"s3:authType":"REST-HEADER"}}`, "GET", "/bucket/k", "", nil, true},
		{"existing tag", object + `,"Condition":{"StringEquals":{"s3:ExistingObjectTag/secret":"yes"}}`, "GET", "/bucket/k", "", nil, true},
		{"another tag", object + `,"Condition":{"StringEquals":{"s3:ExistingObjectTag/secret":"no"}}`, "GET", "/bucket/k", "", nil, false},
		{"request tag", object + `,"Condition":{"StringEquals":{"s3:RequestObjectTag/team":"red"}}`, "PUT", "/bucket/n", "x", []string{"x-amz-tagging", "team=red"}, true},
		{"request tag", object + `,"Condition":{"StringEquals":{"s3:RequestObjectTag/team":"red"}}`, "PUT", "/bucket/n", "x", []string{"x-amz-tagging", "team=blue"}, false},
		{"tag keys", object + `,"Condition":{"ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":["team"]}}`, "PUT", "/bucket/n", "x", []string{"x-amz-tagging", "a=b&team=blue"}, true},
		{"tag in the body", object + `,"Condition":{"StringEquals":{"s3:RequestObjectTag/team":"red"}}`, "PUT", "/bucket/k?tagging", tagging("red"), nil, true},
		{"tag in the body", object + `,"Condition":{"StringEquals":{"s3:RequestObjectTag/team":"red"}}`, "PUT", "/bucket/k?tagging", tagging("blue"), nil, false},
		{"copy source", object + `,"Condition":{"StringEquals":{"s3:x-amz-copy-source":"bucket/k"}}`, "PUT", "/bucket/n", "", []string{"x-amz-copy-source", "bucket/k"}, true},
		{"copy source with a slash", object + `,"Condition":{"StringEquals":{"s3:x-amz-copy-source":"bucket/k"}}`, "PUT", "/bucket/n", "", []string{"x-amz-copy-source", "/bucket/k"}, true},
		{"copy source escaped", object + `,"Condition":{"StringEquals":{"s3:x-amz-copy-source":"bucket/k"}}`, "PUT", "/bucket/n", "", []string{"x-amz-copy-source", "%2fbucket%2F%6b"}, true},
		{"copy source of a version", object + `,"Condition":{"StringEquals":{"s3:x-amz-copy-source":"/bucket/k"}}`, "PUT", "/bucket/n", "", []string{"x-amz-copy-source", "bucket/k?versionId=null"}, true},
		{"copy source like", object + `,"Condition":{"StringNotLike":{"s3:x-amz-copy-source":"/bucket/*"}}`, "PUT", "/bucket/n", "", []string{"x-amz-copy-source", "bucket/k"}, false},
		{"storage class", object + `,"Condition":{"StringEquals":{"s3:x-amz-storage-class":"STANDARD_IA"}}`, "PUT", "/bucket/n", "x", []string{"x-amz-storage-class", "STANDARD_IA"}, true},
		{"canned ACL", object + `,"Condition":{"StringEquals":{"s3:x-amz-acl":"private"}}`, "PUT", "/bucket/n", "x", []string{"x-amz-acl", "private"}, true},
		{"if-none-match", object + `,"Condition":{"Null":{"s3:if-none-match":"true"}}`, "PUT", "/bucket/n2", "x", []string{"if-none-match", "*"}, false},
		{"no user name", object + `,"Condition":{"StringLike":{"aws:username":"*"}}`, "GET", "/bucket/k", "", nil, false},
		{"ARN", object + `,"Condition":{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::000000000000:root"}}`, "GET", "/bucket/k", "", nil, true},
	} {
		d.policy("bucket", `{"Effect":"Deny",`+c.deny+`}`)
		a := d.do(c.method, c.target, c.body, c.headers...)
		if c.denied {
			a.want(t, c.what, 403, "AccessDenied", "")
			if !strings.Contains(a.fields["Message"], "with an explicit deny in a resource-based policy") {
				t.Errorf("%s: %s", c.what, a.body)
			}
		} else if a.status != 200 {
			t.Errorf("%s: %d %s", c.what, a.status, a.body)
		}
	}
}

func TestVersionsHaveActionsOfTheirOwn(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>").ok(t, "versioning", 200)
	first := d.do("PUT", "/bucket/k", "first", "x-amz-tagging", "open=yes").header.Get("x-amz-version-id")
	d.do("PUT", "/bucket/k", "second", "x-amz-tagging", "open=no").ok(t, "put", 200)
	if first == "" {
		t.Fatal("no version")
	}
	now := d.user("now", `{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectTagging","s3:DeleteObject","s3:PutObject","s3:PutObjectTagging","s3:ListBucket"],"Resource":"*"}`)
	then := d.user("then", `{"Effect":"Allow","Action":["s3:GetObjectVersion","s3:GetObjectVersionTagging","s3:DeleteObjectVersion","s3:PutObject","s3:PutObjectTagging","s3:ListBucketVersions"],"Resource":"*"}`)
	for _, c := range []struct {
		method, target string
		headers        []string
		now, then      int
	}{
		{"GET", "/bucket/k", nil, 200, 403},
		{"GET", "/bucket/k?versionId=" + first, nil, 403, 200},
		{"PUT", "/bucket/copy", []string{"x-amz-copy-source", "bucket/k"}, 200, 403},
		{"PUT", "/bucket/copy", []string{"x-amz-copy-source", "bucket/k?versionId=" + first}, 403, 200},
		{"GET", "/bucket?versions", nil, 403, 200},
		{"GET", "/bucket", nil, 200, 403},
		{"DELETE", "/bucket/none?versionId=" + first, nil, 403, 204},
		{"DELETE", "/bucket/none", nil, 204, 403},
	} {
		now.do(c.method, c.target, "", c.headers...).ok(t, "now "+c.method+" "+c.target, c.now)
		then.do(c.method, c.target, "", c.headers...).ok(t, "then "+c.method+" "+c.target, c.then)
	}
	body := `<Delete><Object><Key>k</Key><VersionId>` + first + `</VersionId></Object></Delete>`
	if a := now.do("POST", "/bucket?delete", body, "Content-MD5", md5Base64(body)); !strings.Contains(a.body, "<Code>AccessDenied</Code>") {
		t.Error(a)
	}
	// Tags are those of the version.
	tagged := d.user("tagged", `{"Effect":"Allow","Action":"s3:Get*","Resource":"*","Condition":{"StringEquals":{"s3:ExistingObjectTag/open":"yes"}}}`)
	tagged.do("GET", "/bucket/k?versionId="+first, "").ok(t, "open", 200)
	tagged.do("GET", "/bucket/k", "").ok(t, "not open", 403)
	// A version id is a condition key, too.
	d.policy("bucket", `{"Effect":"Deny","Principal":"*","Action":"s3:GetObjectVersion","Resource":"arn:aws:s3:::bucket/*","Condition":{"StringEquals":{"s3:VersionId":"`+first+`"}}}`)
	d.do("GET", "/bucket/k?versionId="+first, "").ok(t, "root", 403)
	d.do("GET", "/bucket/k", "").ok(t, "root", 200)
}

func TestObjectLockConditions(t *testing.T) {
	d := openDoor(t)
	d.do("PUT", "/locked", "", "x-amz-bucket-object-lock-enabled", "true").ok(t, "create", 200)
	until := func(days int) string {
		return time.Now().Add(time.Duration(days)*24*time.Hour - time.Hour).UTC().Format(time.RFC3339)
	}
	d.policy("locked", `{"Effect":"Deny","Principal":"*","Action":["s3:PutObject","s3:PutObjectRetention"],"Resource":"arn:aws:s3:::locked/*","Condition":{"NumericGreaterThan":{"s3:object-lock-remaining-retention-days":"10"}}}`,
		`{"Effect":"Deny","Principal":"*","Action":["s3:PutObject","s3:PutObjectRetention"],"Resource":"arn:aws:s3:::locked/*","Condition":{"StringEquals":{"s3:object-lock-mode":"COMPLIANCE"}}}`,
		`{"Effect":"Deny","Principal":"*","Action":["s3:PutObjectLegalHold"],"Resource":"arn:aws:s3:::locked/*","Condition":{"StringEquals":{"s3:object-lock-legal-hold":"ON"}}}`)
	put := func(mode string, days int) int {
		return d.do("PUT", "/locked/k", "x", "Content-MD5", md5Base64("x"), "x-amz-object-lock-mode", mode, "x-amz-object-lock-retain-until-date", until(days)).status
	}
	retain := func(mode string, days int) int {
		body := "<Retention><Mode>" + mode + "</Mode><RetainUntilDate>" + until(days) + "</RetainUntilDate></Retention>"
		return d.do("PUT", "/locked/k?retention", body, "Content-MD5", md5Base64(body)).status
	}
	for _, ask := range []func(string, int) int{put, retain} {
		for _, c := range []struct {
			mode   string
			days   int
			status int
		}{{"GOVERNANCE", 10, 200}, {"GOVERNANCE", 11, 403}, {"COMPLIANCE", 10, 403}} {
			if got := ask(c.mode, c.days); got != c.status {
				t.Errorf("%s for %d days: %d, want %d", c.mode, c.days, got, c.status)
			}
		}
	}
	// However the date is written.
	for _, form := range []string{"\n\t%s\n", " %s", "%s "} {
		body := "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>" + strings.ReplaceAll(form, "%s", until(11)) + "</RetainUntilDate></Retention>"
		d.do("PUT", "/locked/k?retention", body, "Content-MD5", md5Base64(body)).ok(t, "11 days in other words", 403)
	}
	for status, want := range map[string]int{"ON": 403, "OFF": 200} {
		body := "<LegalHold><Status>" + status + "</Status></LegalHold>"
		d.do("PUT", "/locked/k?legal-hold", body, "Content-MD5", md5Base64(body)).ok(t, status, want)
	}
	// Bypassing governance takes more than deleting.
	u := d.user("deleter", `{"Effect":"Allow","Action":["s3:DeleteObject*"],"Resource":"*"}`)
	u.do("DELETE", "/locked/k", "").ok(t, "a delete marker", 204)
	u.do("DELETE", "/locked/k", "", "x-amz-bypass-governance-retention", "true").want(t, "bypass", 403, "AccessDenied", "")
}

func TestCopyOfTagsTakesTheirActions(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "plain", "x")
	d.do("PUT", "/bucket/tagged", "x", "x-amz-tagging", "a=b").ok(t, "put", 200)
	u := d.user("copier", `{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"*"}`)
	u.do("PUT", "/bucket/c1", "", "x-amz-copy-source", "bucket/plain").ok(t, "no tags", 200)
	u.do("PUT", "/bucket/c2", "", "x-amz-copy-source", "bucket/tagged").want(t, "tags", 403, "AccessDenied", "")
	u.do("PUT", "/bucket/c2", "", "x-amz-copy-source", "bucket/tagged", "x-amz-tagging-directive", "REPLACE").ok(t, "no tags taken along", 200)
	u = d.user("tagger", `{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:GetObjectTagging","s3:PutObjectTagging"],"Resource":"*"}`)
	u.do("PUT", "/bucket/c3", "", "x-amz-copy-source", "bucket/tagged").ok(t, "tags", 200)
}

func TestRenameOfPrefixTakesAnActionOfItsOwn(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "a/k", "x")
	d.put("bucket", "k", "x")
	some := d.user("some", `{"Effect":"Allow","Action":"s3:*","Resource":"*"},{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::bucket/a/secret"}`)
	all := d.user("all", "readwrite")
	some.do("PUT", "/bucket/k2?renameObject", "", "x-amz-rename-source", "k").ok(t, "an object", 200)
	some.do("PUT", "/bucket/b/?renameObject", "", "x-amz-rename-source", "a/").want(t, "a prefix", 403, "AccessDenied", "")
	all.do("PUT", "/bucket/b/?renameObject", "", "x-amz-rename-source", "a/").ok(t, "a prefix", 200)
	half := d.user("half", `{"Effect":"Allow","Action":["s3:*","coffer:RenamePrefix"],"Resource":["arn:aws:s3:::bucket/b/*","arn:aws:s3:::bucket"]}`)
	half.do("PUT", "/bucket/c/?renameObject", "", "x-amz-rename-source", "b/").want(t, "out of the prefix", 403, "AccessDenied", "")
	noGet := d.user("noget", `{"Effect":"Allow","Action":["s3:PutObject"],"Resource":"*"}`)
	noGet.do("PUT", "/bucket/k3?renameObject", "", "x-amz-rename-source", "k2").want(t, "what cannot be read", 403, "AccessDenied", "")
}

func TestFormsAskPolicies(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "old", "x")
	form := func(key string) reply { return d.post("bucket", presign("bucket", key, nil, nil)) }
	form("new").ok(t, "root", 204)
	d.policy("bucket", `{"Effect":"Deny","Principal":"*","Action":"coffer:OverwriteObject","Resource":"arn:aws:s3:::bucket/*"}`)
	form("old").want(t, "over an old key", 403, "AccessDenied", "Access Denied")
	form("new2").ok(t, "a new key", 204)
	d.policy("bucket", `{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*","Condition":{"StringEquals":{"s3:authType":"POST"}}}`)
	form("new3").want(t, "forms", 403, "AccessDenied", "")
	d.do("PUT", "/bucket/new3", "x").ok(t, "no form", 200)
	anonymous := &postedForm{file: "abcdef"}
	anonymous.set("key", "public")
	d.post("bucket", anonymous).want(t, "nobody", 403, "AccessDenied", "")
	d.open("bucket")
	d.policy("bucket", `{"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/public"}`)
	d.post("bucket", anonymous).ok(t, "nobody in particular", 204)
	if got := d.get("bucket", "old"); got != "x" {
		t.Errorf("the old object is %q", got)
	}
}

func TestHomeDirectoriesByUserName(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	home := []string{
		`{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::bucket/home/${aws:username}/*"},` +
			`{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket","Condition":{"StringLike":{"s3:prefix":"home/${aws:username}/*"}}}`,
	}
	alice, bob := d.user("alice", home...), d.user("bob", home...)
	alice.do("PUT", "/bucket/home/alice/f", "x").ok(t, "put", 200)
	alice.do("GET", "/bucket?prefix=home/alice/", "").ok(t, "list", 200)
	bob.do("GET", "/bucket/home/alice/f", "").want(t, "get", 403, "AccessDenied", "")
	bob.do("GET", "/bucket?prefix=home/alice/", "").want(t, "list", 403, "AccessDenied", "")
	bob.do("GET", "/bucket", "").want(t, "list all", 403, "AccessDenied", "")
	bob.do("PUT", "/bucket/home/bob/f", "", "x-amz-copy-source", "bucket/home/alice/f").want(t, "copy", 403, "AccessDenied", "")
}

func md5Base64(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// TestRenameAsksForWhatItRenames: beside a copy source that the user may read and
// delete, the rename source is what counts.
func TestRenameAsksForWhatItRenames(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "yours/k", "secret")
	d.put("bucket", "mine/k", "x")
	u := d.user("mine", `{"Effect":"Allow","Action":["s3:*","coffer:*"],"Resource":"arn:aws:s3:::bucket/mine/*"}`)
	for _, header := range []string{"bucket/mine/k", "bucket/mine/none", "nothing"} {
		u.do("PUT", "/bucket/mine/stolen?renameObject", "", "x-amz-rename-source", "yours/k", "x-amz-copy-source", header).want(t, "key", 403, "AccessDenied", "")
		u.do("PUT", "/bucket/mine/all/?renameObject", "", "x-amz-rename-source", "yours/", "x-amz-copy-source", header).want(t, "prefix", 403, "AccessDenied", "")
	}
	if got := d.get("bucket", "yours/k"); got != "secret" {
		t.Errorf("the object is %q", got)
	}
	u.do("PUT", "/bucket/mine/k2?renameObject", "", "x-amz-rename-source", "mine/k").ok(t, "their own", 200)
}

// TestBackupUserCannotOverwriteVersions: where versioning is suspended, a write
// takes the place of the null version, also of one that is not current.
func TestBackupUserCannotOverwriteVersions(t *testing.T) {
	versioning := func(d *door, state string) {
		d.do("PUT", "/bucket?versioning", "<VersioningConfiguration><Status>"+state+"</Status></VersioningConfiguration>").ok(t, state, 200)
	}
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "first")
	d.put("bucket", "marker", "x")
	versioning(d, "Enabled")
	d.do("DELETE", "/bucket/k", "").ok(t, "delete marker", 204)
	versioning(d, "Suspended")
	d.do("DELETE", "/bucket/marker", "").ok(t, "null delete marker", 204)
	b := d.user("backup", "backup")
	b.do("PUT", "/bucket/k", "second").want(t, "put", 403, "AccessDenied", "Access Denied")
	b.do("PUT", "/bucket/k", "second", "x-amz-write-offset-bytes", "0").want(t, "append", 403, "AccessDenied", "Access Denied")
	b.do("PUT", "/bucket/k", "", "x-amz-copy-source", "bucket/k?versionId=null").want(t, "copy", 403, "AccessDenied", "Access Denied")
	if a := d.do("GET", "/bucket/k?versionId=null", ""); a.body != "first" {
		t.Errorf("the version is %q", a.body)
	}
	b.do("PUT", "/bucket/marker", "new").ok(t, "in place of a delete marker", 200)
	b.do("PUT", "/bucket/new", "new").ok(t, "a new key", 200)
	versioning(d, "Enabled")
	b.do("PUT", "/bucket/k", "second").ok(t, "beside the old versions", 200)
}
