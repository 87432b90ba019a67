package s3api

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
)

const bucketWithTags = "<CreateBucketConfiguration><Tags><Tag><Key>team</Key><Value>red</Value></Tag></Tags></CreateBucketConfiguration>"

func TestBucketsAreMadeWithWhatTheirHeadersNeed(t *testing.T) {
	d := openDoor(t)
	for i, c := range []struct {
		name, body, header, value string
		actions                   []string // beside s3:CreateBucket
	}{
		{"lock", "", "x-amz-bucket-object-lock-enabled", "true", []string{"s3:PutBucketObjectLockConfiguration", "s3:PutBucketVersioning"}},
		{"acl", "", "x-amz-acl", "private", []string{"s3:PutBucketAcl"}},
		{"ownership", "", "x-amz-object-ownership", "BucketOwnerPreferred", []string{"s3:PutBucketOwnershipControls"}},
		{"tags", bucketWithTags, "x-amz-expected-bucket-owner", "000000000000", []string{"s3:TagResource"}},
	} {
		all := append([]string{"s3:CreateBucket"}, c.actions...)
		for missing := range all {
			without := append(append([]string{}, all[:missing]...), all[missing+1:]...)
			u := d.user(c.name+string(rune('a'+i))+string(rune('a'+missing)), `{"Effect":"Allow","Action":["s3:None","`+strings.Join(without, `","`)+`"],"Resource":"arn:aws:s3:::`+c.name+`"}`)
			u.do("PUT", "/"+c.name, c.body, c.header, c.value).want(t, c.name+" without "+all[missing], 403, "AccessDenied", "")
		}
		d.do("HEAD", "/"+c.name, "").ok(t, "nothing was made", 404)
		u := d.user(c.name, `{"Effect":"Allow","Action":["`+strings.Join(all, `","`)+`"],"Resource":"arn:aws:s3:::`+c.name+`"}`)
		u.do("PUT", "/"+c.name, c.body, c.header, c.value).ok(t, c.name, 200)
		d.do("HEAD", "/"+c.name, "").ok(t, c.name, 200)
	}
}

func TestTagsOfBucketsAreConditionKeys(t *testing.T) {
	d := openDoor(t)
	d.bucket("there")
	tags := func(key, value string) string {
		return "<Tagging><TagSet><Tag><Key>" + key + "</Key><Value>" + value + "</Value></Tag></TagSet></Tagging>"
	}
	for name, condition := range map[string]string{
		"value": `"StringEquals":{"aws:RequestTag/Team":"red"}`,
		"keys":  `"ForAllValues:StringEquals":{"aws:TagKeys":"team"},"Null":{"aws:TagKeys":"false"}`,
	} {
		u := d.user(name, `{"Effect":"Allow","Action":["s3:CreateBucket","s3:TagResource","s3:PutBucketTagging"],"Resource":"*","Condition":{`+condition+`}}`)
		u.do("PUT", "/made-"+name, bucketWithTags).ok(t, name, 200)
		u.do("PUT", "/other-"+name, strings.NewReplacer("team", "kind", "red", "blue").Replace(bucketWithTags)).want(t, name, 403, "AccessDenied", "")
		u.do("PUT", "/untagged-"+name, "").want(t, name, 403, "AccessDenied", "")
		u.do("PUT", "/there?tagging", tags("team", "red")).ok(t, name, 204)
		u.do("PUT", "/there?tagging", tags("kind", "blue")).want(t, name, 403, "AccessDenied", "")
	}
}

func TestCopiesAreHeldToTheTagsThatTheyGive(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.do("PUT", "/bucket/public", "x", "x-amz-tagging", "class=public").ok(t, "put", 200)
	d.do("PUT", "/bucket/internal", "x", "x-amz-tagging", "class=internal").ok(t, "put", 200)
	d.policy("bucket", `{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*","Condition":{"StringNotEquals":{"s3:RequestObjectTag/class":"internal"}}}`)
	for _, c := range []struct {
		source, header, directive string
		status                    int
	}{
		{"public", "class=internal", "", 403}, // the header does not count
		{"public", "class=internal", "COPY", 403},
		{"public", "class=internal", "REPLACE", 200},
		{"internal", "class=public", "COPY", 200},
		{"internal", "class=public", "REPLACE", 403},
		{"internal", "", "", 200},
		{"internal", "", "REPLACE", 403},
	} {
		headers := []string{"x-amz-copy-source", "bucket/" + c.source}
		if c.header != "" {
			headers = append(headers, "x-amz-tagging", c.header)
		}
		if c.directive != "" {
			headers = append(headers, "x-amz-tagging-directive", c.directive)
		}
		a := d.do("PUT", "/bucket/copy", "", headers...)
		if a.status != c.status {
			t.Errorf("%+v: %v", c, a)
		}
		if a := d.do("GET", "/bucket/copy?tagging", ""); a.status == 200 && !strings.Contains(a.body, "internal") {
			t.Errorf("%+v: tagged %s", c, a.body)
		}
	}
}

func TestDocumentOfWhoMayNotMakeBucketsIsNotAskedFor(t *testing.T) {
	d := openDoor(t)
	conn := d.dial()
	defer conn.Close()
	fmt.Fprintf(conn, "PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(bucketWithTags))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 403 ") {
		t.Errorf("%q, %v", line, err)
	}
}
