package s3api

import "testing"

func TestMissingKeysAreToldToWhoMayListTheirPrefix(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "home/a", "x")
	const get = `{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"*"}`
	only := d.user("only", get, `{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*","Condition":{"StringLike":{"s3:prefix":"home/*"}}}`)
	but := d.user("but", get, `{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}`,
		`{"Effect":"Deny","Action":"s3:ListBucket","Resource":"*","Condition":{"StringNotLike":{"s3:prefix":"home/*"}}}`)
	narrow := d.user("narrow", get, `{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*","Condition":{"StringEquals":{"s3:delimiter":"/"}}}`)
	for _, u := range []*door{only, but} {
		u.do("GET", "/bucket?prefix=home%2F", "").ok(t, "list", 200)
		u.do("GET", "/bucket/home/none", "").want(t, "get", 404, "NoSuchKey", "")
		u.do("PUT", "/bucket/new", "", "x-amz-copy-source", "bucket/home/none").want(t, "copy", 404, "NoSuchKey", "")
		// Neither what the request says of a prefix nor its own key is what is missing.
		u.do("GET", "/bucket/other/none?prefix=home%2F", "").want(t, "get elsewhere", 403, "AccessDenied", "")
		u.do("PUT", "/bucket/home/new", "", "x-amz-copy-source", "bucket/other/none").want(t, "copy from elsewhere", 403, "AccessDenied", "")
	}
	narrow.do("GET", "/bucket/none?delimiter=%2F", "").want(t, "with a delimiter", 403, "AccessDenied", "")
}
