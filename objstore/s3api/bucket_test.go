package s3api

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestBucketsComeAndGo(t *testing.T) {
	d := openDoor(t)
	ctx := context.Background()
	out, err := d.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("photos")})
	if err != nil || aws.ToString(out.Location) != "/photos" || aws.ToString(out.BucketArn) != "arn:aws:s3:::photos" {
		t.Fatalf("create: %+v, %v", out, err)
	}
	// S3 in us-east-1 takes this for done.
	if _, err := d.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("photos")}); err != nil {
		t.Errorf("again: %v", err)
	}
	head, err := d.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("photos")})
	if err != nil || aws.ToString(head.BucketRegion) != "us-east-1" || aws.ToBool(head.AccessPointAlias) || aws.ToString(head.BucketArn) != "arn:aws:s3:::photos" {
		t.Errorf("head: %+v, %v", head, err)
	}
	if _, err := d.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: aws.String("nowhere")}); code(err) != "NotFound" {
		t.Errorf("head of none: %v", err)
	}
	loc, err := d.s3.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: aws.String("photos")})
	if err != nil || loc.LocationConstraint != "" {
		t.Errorf("location: %+v, %v", loc, err)
	}
	d.put("photos", "k", "x")
	d.do("DELETE", "/photos", "").want(t, "not empty", 409, "BucketNotEmpty", "The bucket you tried to delete is not empty", "BucketName", "photos")
	if _, err := d.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("photos"), Key: aws.String("k")}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.s3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String("photos")}); err != nil {
		t.Error(err)
	}
	d.do("DELETE", "/photos", "").want(t, "gone", 404, "NoSuchBucket", "The specified bucket does not exist", "BucketName", "photos")
	d.do("GET", "/photos/k", "").want(t, "gone", 404, "NoSuchBucket", "The specified bucket does not exist", "BucketName", "photos")
	d.do("GET", "/photos?list-type=2", "").want(t, "gone", 404, "NoSuchBucket", "The specified bucket does not exist", "BucketName", "photos")
	for _, bad := range []string{"Upper", "ab", "a..b", "192.168.0.1", "under_score", "xn--x", strings.Repeat("a", 64)} {
		d.do("PUT", "/"+bad, "").want(t, bad, 400, "InvalidBucketName", "The specified bucket is not valid.", "BucketName", bad)
	}
}

func TestLocationConstraintIsChecked(t *testing.T) {
	doc := func(c string) string {
		return `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>` + c + `</LocationConstraint></CreateBucketConfiguration>`
	}
	d := openDoor(t)
	d.do("PUT", "/one", doc("us-east-1")).want(t, "us-east-1", 400, "InvalidLocationConstraint", "The specified location-constraint is not valid", "LocationConstraint", "us-east-1")
	d.do("PUT", "/one", doc("foo")).want(t, "foo", 400, "InvalidLocationConstraint", "The specified location-constraint is not valid", "LocationConstraint", "foo")
	d.do("PUT", "/one", doc("eu-west-1")).want(t, "other region", 400, "IllegalLocationConstraintException", "The eu-west-1 location constraint is incompatible for the region specific endpoint this request was sent to.")
	d.do("PUT", "/one", `<CreateBucketConfiguration/>`).ok(t, "empty document", 200)
	d.do("PUT", "/two", `<CreateBucketConfiguration>`).want(t, "malformed", 400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	d.do("PUT", "/two", strings.Repeat(" ", maxConfigBytes+1)).want(t, "too long", 400, "MaxMessageLengthExceeded", "Your request was too big.")
	d.do("PUT", "/two", "", "x-amz-acl", "public-read").want(t, "acl", 400, "InvalidBucketAclWithObjectOwnership", "")
	if a := d.do("HEAD", "/two", ""); a.status != 404 {
		t.Errorf("a refused request made a bucket: %d", a.status)
	}
}

func TestBucketOfAnotherRegion(t *testing.T) {
	s := &Server{o: Options{Region: "eu-central-1"}}
	q := &request{s: s}
	if err := q.checkLocation("eu-central-1"); err != nil {
		t.Error(err)
	}
	for c, code := range map[string]string{"": "IllegalLocationConstraintException", "us-east-1": "IllegalLocationConstraintException", "EU": "IllegalLocationConstraintException"} {
		if err := q.checkLocation(c); err == nil || q.translate(err).Code != code {
			t.Errorf("%q: %v", c, err)
		}
	}
}

func TestListBucketsPages(t *testing.T) {
	d := openDoor(t)
	ctx := context.Background()
	for i := range 5 {
		d.bucket(fmt.Sprintf("b-%d", i))
	}
	d.bucket("zzz")
	var names []string
	var token *string
	for {
		out, err := d.s3.ListBuckets(ctx, &s3.ListBucketsInput{MaxBuckets: aws.Int32(2), Prefix: aws.String("b-"), ContinuationToken: token})
		if err != nil {
			t.Fatal(err)
		}
		if aws.ToString(out.Prefix) != "b-" || aws.ToString(out.Owner.ID) == "" {
			t.Errorf("%+v", out)
		}
		for _, b := range out.Buckets {
			names = append(names, *b.Name)
			if aws.ToString(b.BucketRegion) != "us-east-1" || aws.ToString(b.BucketArn) != "arn:aws:s3:::"+*b.Name || b.CreationDate == nil {
				t.Errorf("%+v", b)
			}
		}
		if token = out.ContinuationToken; token == nil {
			break
		}
	}
	if got := strings.Join(names, " "); got != "b-0 b-1 b-2 b-3 b-4" {
		t.Error(got)
	}
	all, err := d.s3.ListBuckets(ctx, &s3.ListBucketsInput{ContinuationToken: aws.String("")})
	if err != nil || len(all.Buckets) != 6 {
		t.Errorf("%+v, %v", all, err)
	}
	d.do("GET", "/?continuation-token=x", "").want(t, "token", 400, "InvalidArgument", "The continuation token provided is incorrect", "ArgumentName", "continuation-token")
	other, err := d.s3.ListBuckets(ctx, &s3.ListBucketsInput{BucketRegion: aws.String("eu-west-1")})
	if err != nil || len(other.Buckets) != 0 {
		t.Errorf("%+v, %v", other, err)
	}
	d.do("GET", "/?bucket-region=eu-east-1", "").want(t, "no region", 400, "InvalidArgument", "Argument value eu-east-1 is not a valid AWS Region", "ArgumentName", "bucket-region")
	for _, max := range []string{"-1", "0", "10001"} {
		d.do("GET", "/?max-buckets="+max, "").want(t, max, 400, "InvalidArgument", "Argument max-buckets must be an integer between 1 and 10000",
			"ArgumentName", "max-buckets", "ArgumentValue", max)
	}
	a := d.do("GET", "/?prefix=b-&max-buckets=1", "")
	if a.status != 200 || element(a.body, "Prefix") != "b-" || element(a.body, "ContinuationToken") == "" {
		t.Error(a)
	}
	if a := d.do("GET", "/?prefix=B-", ""); a.status != 200 || !strings.Contains(a.body, "<Buckets></Buckets>") || element(a.body, "Prefix") != "B-" {
		t.Error(a)
	}
}

// AWS tells where a bucket is only in answer to a request that has a parameter.
func TestListBucketsTellsRegionsToWhoAsksForSomething(t *testing.T) {
	d := openDoor(t)
	d.bucket("photos")
	for query, want := range map[string]string{
		"": "", "?x-id=ListBuckets": "",
		"?prefix=ph": "us-east-1", "?max-buckets=1": "us-east-1", "?bucket-region=us-east-1": "us-east-1",
		"?max-buckets=1&continuation-token=": "us-east-1",
	} {
		a := d.do("GET", "/"+query, "")
		a.ok(t, query, 200)
		if got := element(a.body, "BucketRegion"); got != want || element(a.body, "BucketArn") != "arn:aws:s3:::photos" {
			t.Errorf("%q: region %q, want %q: %s", query, got, want, a.body)
		}
	}
}

func TestSubresourcesOfABucketWithoutThem(t *testing.T) {
	d := openDoor(t)
	d.bucket("plain")
	for sub, want := range map[string][2]string{
		"policy":       {"NoSuchBucketPolicy", "The bucket policy does not exist"},
		"policyStatus": {"NoSuchBucketPolicy", "The bucket policy does not exist"},
		"tagging":      {"NoSuchTagSet", "The TagSet does not exist"},
		"cors":         {"NoSuchCORSConfiguration", "The CORS configuration does not exist"},
		"lifecycle":    {"NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"},
		"website":      {"NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"},
		"replication":  {"ReplicationConfigurationNotFoundError", "The replication configuration was not found"},
		"object-lock":  {"ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket"},
	} {
		d.do("GET", "/plain?"+sub, "").want(t, sub, 404, want[0], want[1], "BucketName", "plain")
		d.do("GET", "/none?"+sub, "").want(t, sub, 404, "NoSuchBucket", "", "BucketName", "none")
		switch sub {
		case "policyStatus":
			d.do("PUT", "/plain?"+sub, "<x/>").want(t, "PUT "+sub, 405, "MethodNotAllowed", "")
			d.do("DELETE", "/plain?"+sub, "").want(t, "DELETE "+sub, 405, "MethodNotAllowed", "")
		case "object-lock":
			d.do("PUT", "/plain?"+sub, "<x/>").want(t, "PUT "+sub, 400, "MalformedXML", "")
			d.do("DELETE", "/plain?"+sub, "").want(t, "DELETE "+sub, 405, "MethodNotAllowed", "")
		case "policy":
			d.do("PUT", "/plain?"+sub, "<x/>").want(t, "PUT "+sub, 400, "MalformedPolicy", "")
			d.do("DELETE", "/plain?"+sub, "").ok(t, "DELETE "+sub, 204)
		case "tagging", "cors", "lifecycle", "website", "replication":
			d.do("PUT", "/plain?"+sub, "<x/>").want(t, "PUT "+sub, 400, "MalformedXML", "")
			d.do("DELETE", "/plain?"+sub, "").ok(t, "DELETE "+sub, 204)
		default:
			d.do("PUT", "/plain?"+sub, "<x/>").want(t, "PUT "+sub, 501, "NotImplemented", "")
			d.do("DELETE", "/plain?"+sub, "").ok(t, "DELETE "+sub, 204)
		}
		if d.do("HEAD", "/plain", "").status != 200 {
			t.Fatalf("DELETE ?%s deleted the bucket", sub)
		}
	}
	for sub, want := range map[string]string{
		"versioning":                  "<VersioningConfiguration xmlns=\"" + namespace + "\"/>",
		"encryption":                  "<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled>",
		"acl":                         "<Permission>FULL_CONTROL</Permission>",
		"publicAccessBlock":           "<BlockPublicAcls>true</BlockPublicAcls>",
		"ownershipControls":           "<ObjectOwnership>BucketOwnerEnforced</ObjectOwnership>",
		"notification":                "<NotificationConfiguration",
		"logging":                     "<BucketLoggingStatus",
		"accelerate":                  "<AccelerateConfiguration",
		"requestPayment":              "<Payer>BucketOwner</Payer>",
		"metrics":                     "<IsTruncated>false</IsTruncated>",
		"location":                    "<LocationConstraint xmlns=\"" + namespace + "\"/>",
		"versions":                    "<IsTruncated>false</IsTruncated>",
		"uploads":                     "<IsTruncated>false</IsTruncated>",
		"list-type=2&x-id=ListObject": "<KeyCount>0</KeyCount>",
	} {
		if a := d.do("GET", "/plain?"+sub, ""); a.status != 200 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %v", sub, a)
		}
	}
	d.do("GET", "/plain?metrics&id=x", "").want(t, "metrics", 404, "NoSuchConfiguration", "The specified configuration does not exist.")
	d.do("PUT", "/plain?acl", "", "x-amz-acl", "public-read").want(t, "acl", 400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
	enc, err := d.s3.GetBucketEncryption(context.Background(), &s3.GetBucketEncryptionInput{Bucket: aws.String("plain")})
	if err != nil || enc.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm != types.ServerSideEncryptionAes256 {
		t.Errorf("%+v, %v", enc, err)
	}
}

func TestMethodsThatAreNone(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	for _, c := range []struct{ method, target, resource string }{
		{"PUT", "/", "SERVICE"}, {"POST", "/", "SERVICE"}, {"PATCH", "/bucket", "BUCKET"}, {"PATCH", "/bucket/k", "OBJECT"}, {"POST", "/bucket/k", "OBJECT"},
	} {
		a := d.do(c.method, c.target, "")
		a.want(t, c.method+c.target, 405, "MethodNotAllowed", "The specified method is not allowed against this resource.", "Method", c.method, "ResourceType", c.resource)
		if a.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", c.method, c.target)
		}
	}
	if a := d.do("GET", "/bucket/k?torrent", ""); a.status != 501 {
		t.Error(a)
	}
	for _, target := range []string{"/bucket/k?acl", "/bucket/k?retention", "/bucket/k?uploads", "/bucket/k?attributes", "/bucket?versioning", "/bucket?location", "/bucket?list-type=2", "/bucket?delete"} {
		d.do("DELETE", target, "").want(t, target, 405, "MethodNotAllowed", "")
	}
	for _, target := range []string{"/bucket/k?uploads", "/bucket/k?attributes", "/bucket?location", "/bucket?uploads"} {
		d.do("PUT", target, "y").want(t, target, 405, "MethodNotAllowed", "")
	}
	if got := d.get("bucket", "k"); got != "x" {
		t.Errorf("a refused subresource overwrote the object: %q", got)
	}
}
