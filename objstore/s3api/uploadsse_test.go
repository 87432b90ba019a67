package s3api

import "testing"

// Parts cannot say how they are encrypted. Policies that ask for encryption are asked
// about what the upload was begun with, and only that.
func TestConditionsOnEncryptionHoldForUploads(t *testing.T) {
	d := openKeyDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "data")
	const sse = "x-amz-server-side-encryption"
	const condition = `{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*","Condition":`
	for _, c := range []struct {
		what, condition string
		headers         []string
		denied          bool
	}{
		{"SSE-S3 where some is asked for", `{"Null":{"s3:x-amz-server-side-encryption":"true"}}`, []string{sse, "AES256"}, false},
		{"the default where some is asked for", `{"Null":{"s3:x-amz-server-side-encryption":"true"}}`, nil, true},
		{"SSE-S3 where SSE-KMS is asked for", `{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}`, []string{sse, "AES256"}, true},
		{"SSE-KMS", `{"StringNotEquals":{"s3:x-amz-server-side-encryption":"aws:kms"}}`, under("aws:kms", "one"), false},
		{"a key", `{"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"` + keyARN("one") + `"}}`, under("aws:kms", keyARN("one")), false},
		{"a key by its name", `{"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"` + keyARN("one") + `"}}`, under("aws:kms", "one"), true},
		{"the default where none may be asked for", `{"Null":{"s3:x-amz-server-side-encryption":"false"}}`, nil, false},
		{"SSE-C where none may be asked for", `{"Null":{"s3:x-amz-server-side-encryption":"false"}}`, customer("a"), false},
		{"SSE-S3 where none may be asked for", `{"Null":{"s3:x-amz-server-side-encryption":"false"}}`, []string{sse, "AES256"}, true},
	} {
		d.do("DELETE", "/bucket?policy", "").ok(t, c.what, 204)
		id := element(d.do("POST", "/bucket/parts?uploads", "", c.headers...).body, "UploadId")
		target := "/bucket/parts?uploadId=" + id
		var key []string
		if len(c.headers) == 6 {
			key = c.headers
		}
		d.policy("bucket", condition+c.condition+"}")
		status := 200
		if c.denied {
			status = 403
		}
		d.do("POST", "/bucket/parts?uploads", "", c.headers...).ok(t, c.what+": create", status)
		part := d.do("PUT", target+"&partNumber=1", "data", key...)
		part.ok(t, c.what+": part", status)
		d.do("PUT", target+"&partNumber=2", "", append(key, "x-amz-copy-source", "bucket/k")...).ok(t, c.what+": copied part", status)
		body := "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + part.header.Get("ETag") + "</ETag></Part></CompleteMultipartUpload>"
		d.do("POST", target, body).ok(t, c.what+": complete", status)
	}
}

// On AWS, too, policies that ask for tags or an ACL let uploads be begun and no part
// be added: parts have no such header, and nothing of what the upload was begun with
// (boto/boto3#2675, aws/aws-cli#1674).
func TestConditionsOnTagsAndACLsHoldForNoPart(t *testing.T) {
	const statement = `"Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::bucket/*","Condition":`
	for what, c := range map[string]struct{ condition, header, value string }{
		"tag": {`{"StringNotEquals":{"s3:RequestObjectTag/team":"a"}}`, "x-amz-tagging", "team=a"},
		"ACL": {`{"StringNotEquals":{"s3:x-amz-acl":"bucket-owner-full-control"}}`, "x-amz-acl", "bucket-owner-full-control"},
	} {
		d := openDoor(t)
		d.bucket("bucket")
		d.policy("bucket", `{"Effect":"Deny",`+statement+c.condition+"}")
		d.do("PUT", "/bucket/k", "data").want(t, what+": without", 403, "AccessDenied", "")
		d.do("PUT", "/bucket/k", "data", c.header, c.value).ok(t, what+": with", 200)
		d.do("POST", "/bucket/parts?uploads", "").want(t, what+": create without", 403, "AccessDenied", "")
		_, part := d.begin("/bucket/parts", c.header, c.value)
		d.do("PUT", part(1), "data").want(t, what+": part", 403, "AccessDenied", "")
	}
}
