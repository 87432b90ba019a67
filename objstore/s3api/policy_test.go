package s3api

import (
	"fmt"
	"strings"
	"testing"
)

func TestAnonymousGetsWhatIsPublic(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "pub/a", "x")
	d.put("bucket", "sec/a", "x")
	public := statements(`{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::bucket/pub/*"}`)
	d.do("PUT", "/bucket?policy", public).want(t, "a public policy", 403, "AccessDenied",
		`User: arn:aws:iam::000000000000:root is not authorized to perform: s3:PutBucketPolicy on resource: "arn:aws:s3:::bucket" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.`)
	d.open("bucket")
	d.do("PUT", "/bucket?policy", public).ok(t, "put policy", 204)
	d.anonymous("GET", "/bucket/pub/a", "").ok(t, "get", 200)
	d.anonymous("PUT", "/bucket/pub/b", "y").ok(t, "put", 200)
	d.anonymous("GET", "/bucket/pub/none", "").want(t, "missing", 403, "AccessDenied", "Access Denied")
	d.anonymous("GET", "/bucket/sec/a", "").want(t, "secret", 403, "AccessDenied", "Access Denied")
	d.anonymous("GET", "/bucket", "").want(t, "list", 403, "AccessDenied", "Access Denied")
	d.anonymous("DELETE", "/bucket/pub/a", "").want(t, "delete", 403, "AccessDenied", "Access Denied")
	d.anonymous("GET", "/", "").want(t, "buckets", 403, "AccessDenied", "Access Denied")
	d.anonymous("PUT", "/another", "").want(t, "make a bucket", 403, "AccessDenied", "Access Denied")
	d.do("PUT", "/bucket?publicAccessBlock", `<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>`).ok(t, "restrict", 200)
	d.anonymous("GET", "/bucket/pub/a", "").want(t, "restricted", 403, "AccessDenied", "Access Denied")
	d.do("GET", "/bucket/pub/a", "").ok(t, "root", 200)
}

func TestAnonymousMultipartAndCopiesTakeASignature(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	d.open("bucket")
	d.policy("bucket", `{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"]}`)
	d.anonymous("PUT", "/bucket/new", "y").ok(t, "put", 200)
	const uploads = "Anonymous users cannot initiate multipart uploads.  Please authenticate."
	const copies = "Anonymous users cannot copy objects.  Please authenticate."
	d.anonymous("POST", "/bucket/big?uploads", "").want(t, "begin", 403, "AccessDenied", uploads)
	d.anonymous("PUT", "/bucket/copy", "", "x-amz-copy-source", "bucket/k").want(t, "copy", 403, "AccessDenied", copies)
	begun := d.do("POST", "/bucket/big?uploads", "")
	begun.ok(t, "begin", 200)
	id := element(begun.body, "UploadId")
	part := "/bucket/big?partNumber=1&uploadId=" + id
	d.anonymous("PUT", part, "", "x-amz-copy-source", "bucket/k").want(t, "copy a part", 403, "AccessDenied", copies)
	d.anonymous("PUT", part, "x").ok(t, "a part", 200) // of an upload that somebody began
}

func TestBucketPolicyIsKeptAsItIs(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.open("bucket")
	for _, method := range []string{"GET", "GET status"} {
		target := "/bucket?policy"
		if method != "GET" {
			target += "Status"
		}
		d.do("GET", target, "").want(t, method, 404, "NoSuchBucketPolicy", "The bucket policy does not exist", "BucketName", "bucket")
	}
	d.do("DELETE", "/bucket?policy", "").ok(t, "delete none", 204)
	const text = `{ "Version": "2012-10-17",  "Statement": [{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]}`
	d.do("PUT", "/bucket?policy", text, "Content-MD5", md5Base64("other")).want(t, "another digest", 400, "BadDigest", "")
	d.do("PUT", "/bucket?policy", text, "Content-MD5", md5Base64(text)).ok(t, "put", 204)
	if a := d.do("GET", "/bucket?policy", ""); a.status != 200 || a.body != text || a.header.Get("Content-Type") != "application/json" {
		t.Error(a, a.header)
	}
	if a := d.do("GET", "/bucket?policyStatus", ""); !strings.Contains(a.body, "<IsPublic>true</IsPublic>") {
		t.Error(a)
	}
	for _, c := range []struct{ text, message string }{
		{"", "Policies must be valid JSON and the first byte must be '{'"},
		{"invalid json", "Policies must be valid JSON and the first byte must be '{'"},
		{"{}", "Missing required field Statement"},
		{statements(`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::other/*"}`), "Policy has invalid resource"},
		{statements(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/nobody"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}`), "Invalid principal in policy"},
		{`{"Id":"` + strings.Repeat("x", 21<<10) + `"}`, "Policy exceeds the maximum allowed document size."},
		{`{"Id":"` + strings.Repeat("x", 100<<10) + `"}`, "Policy exceeds the maximum allowed document size."},
	} {
		d.do("PUT", "/bucket?policy", c.text).want(t, c.message, 400, "MalformedPolicy", c.message)
	}
	if a := d.do("GET", "/bucket?policy", ""); a.body != text {
		t.Errorf("a refused policy took its place: %s", a.body)
	}
	for _, c := range []struct {
		owner, code string
		status      int
	}{{"000000000000", "", 204}, {"111111111111", "AccessDenied", 403}, {"abcd", "InvalidBucketOwnerAWSAccountID", 400}} {
		if a := d.do("PUT", "/bucket?policy", text, "x-amz-expected-bucket-owner", c.owner); a.status != c.status || a.fields["Code"] != c.code {
			t.Errorf("owner %s: %v", c.owner, a)
		}
	}
	d.do("DELETE", "/bucket?policy", "").ok(t, "delete", 204)
	d.do("GET", "/bucket?policy", "").want(t, "deleted", 404, "NoSuchBucketPolicy", "")
	d.do("PUT", "/none?policy", text).want(t, "no bucket", 404, "NoSuchBucket", "")
}

func TestPublicAccessBlockAndOwnership(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	block := func(a, b, c, e bool) string {
		return fmt.Sprintf("<BlockPublicAcls>%v</BlockPublicAcls><IgnorePublicAcls>%v</IgnorePublicAcls><BlockPublicPolicy>%v</BlockPublicPolicy><RestrictPublicBuckets>%v</RestrictPublicBuckets>", a, b, c, e)
	}
	is := func(target, want string) {
		t.Helper()
		if a := d.do("GET", target, ""); a.status != 200 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %v, want %s", target, a, want)
		}
	}
	is("/bucket?publicAccessBlock", block(true, true, true, true))
	d.do("PUT", "/bucket?publicAccessBlock", `<PublicAccessBlockConfiguration>`+block(true, false, true, false)+`</PublicAccessBlockConfiguration>`).ok(t, "put", 200)
	is("/bucket?publicAccessBlock", block(true, false, true, false))
	d.do("PUT", "/bucket?publicAccessBlock", `<PublicAccessBlockConfiguration/>`).want(t, "empty", 400, "InvalidRequest", "Must specify at least one configuration.")
	d.do("PUT", "/bucket?publicAccessBlock", `<PublicAccessBlockConfiguration><BlockPublicAcls>yes</BlockPublicAcls></PublicAccessBlockConfiguration>`).want(t, "no boolean", 400, "MalformedXML", "")
	for range 2 {
		d.do("DELETE", "/bucket?publicAccessBlock", "").ok(t, "delete", 204)
		d.do("GET", "/bucket?publicAccessBlock", "").want(t, "deleted", 404, "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found", "BucketName", "bucket")
	}

	is("/bucket?ownershipControls", "<ObjectOwnership>BucketOwnerEnforced</ObjectOwnership>")
	rule := func(s string) string {
		return "<Rule><ObjectOwnership>" + s + "</ObjectOwnership></Rule>"
	}
	d.do("PUT", "/bucket?ownershipControls", "<OwnershipControls>"+rule("ObjectWriter")+"</OwnershipControls>").ok(t, "put", 200)
	is("/bucket?ownershipControls", rule("ObjectWriter"))
	for _, bad := range []string{"", rule("ObjectWriter") + rule("ObjectWriter"), rule("Random"), "<Rule/>"} {
		d.do("PUT", "/bucket?ownershipControls", "<OwnershipControls>"+bad+"</OwnershipControls>").want(t, bad, 400, "MalformedXML", "")
	}
	for range 2 {
		d.do("DELETE", "/bucket?ownershipControls", "").ok(t, "delete", 204)
		d.do("GET", "/bucket?ownershipControls", "").want(t, "deleted", 404, "OwnershipControlsNotFoundError", "The bucket ownership controls were not found", "BucketName", "bucket")
	}
	d.do("PUT", "/bucket2", "", "x-amz-object-ownership", "BucketOwnerPreferred").ok(t, "create", 200)
	is("/bucket2?ownershipControls", rule("BucketOwnerPreferred"))
	for _, bad := range []string{"RandomValue", ""} {
		d.do("PUT", "/bucket3", "", "x-amz-object-ownership", bad).want(t, bad, 400, "InvalidArgument", "Invalid x-amz-object-ownership header: "+bad, "ArgumentName", "x-amz-object-ownership")
	}
}
