package s3api

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func keysOf(list []types.Object) string {
	var names []string
	for _, o := range list {
		names = append(names, *o.Key)
	}
	return strings.Join(names, " ")
}

func prefixesOf(list []types.CommonPrefix) string {
	var names []string
	for _, p := range list {
		names = append(names, *p.Prefix)
	}
	return strings.Join(names, " ")
}

// AWS's answers, recorded 2026-02-21 by the LocalStack project (Apache-2.0).
func TestRecordedListings(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	for _, k := range []string{"folder/aSubfolder/subFile1", "folder/aSubfolder/subFile2", "folder/file1", "folder/file2"} {
		d.do("PUT", "/bucket/"+k, "content-123", "x-amz-checksum-crc32", "Mn1fgA==")
		d.put("bucket", k, "content-123")
	}
	bucket := aws.String("bucket")

	v1, err := d.s3.ListObjects(ctx, &s3.ListObjectsInput{Bucket: bucket, Prefix: aws.String("folder/"), Delimiter: aws.String("/"), MaxKeys: aws.Int32(1), EncodingType: "url"})
	if err != nil || prefixesOf(v1.CommonPrefixes) != "folder/aSubfolder/" || len(v1.Contents) != 0 || !*v1.IsTruncated || *v1.NextMarker != "folder/aSubfolder/" ||
		*v1.Marker != "" || *v1.MaxKeys != 1 || *v1.Name != "bucket" || *v1.Prefix != "folder/" || *v1.Delimiter != "/" || v1.EncodingType != "url" {
		t.Errorf("v1 start: %+v, %v", v1, err)
	}
	v1, err = d.s3.ListObjects(ctx, &s3.ListObjectsInput{Bucket: bucket, Prefix: aws.String("folder/"), Delimiter: aws.String("/"), MaxKeys: aws.Int32(1), Marker: v1.NextMarker})
	if err != nil || keysOf(v1.Contents) != "folder/file1" || *v1.NextMarker != "folder/file1" || *v1.Marker != "folder/aSubfolder/" {
		t.Errorf("v1 next: %+v, %v", v1, err)
	}
	if o := v1.Contents[0]; *o.Size != 11 || *o.ETag != `"`+md5Hex("content-123")+`"` || o.StorageClass != "STANDARD" || aws.ToString(o.Owner.ID) == "" ||
		len(o.ChecksumAlgorithm) != 1 || o.ChecksumType != types.ChecksumTypeFullObject || o.LastModified.Nanosecond() != 0 {
		t.Errorf("%+v", o)
	}
	v1, err = d.s3.ListObjects(ctx, &s3.ListObjectsInput{Bucket: bucket, Prefix: aws.String("folder/"), Delimiter: aws.String("/"), MaxKeys: aws.Int32(1), Marker: v1.NextMarker})
	if err != nil || keysOf(v1.Contents) != "folder/file2" || *v1.IsTruncated || v1.NextMarker != nil {
		t.Errorf("v1 end: %+v, %v", v1, err)
	}
	v1, err = d.s3.ListObjects(ctx, &s3.ListObjectsInput{Bucket: bucket, Prefix: aws.String("folder/"), Delimiter: aws.String("/"), MaxKeys: aws.Int32(1), Marker: aws.String("folder/aSubfolder/subFile1")})
	if err != nil || keysOf(v1.Contents) != "folder/file1" || !*v1.IsTruncated {
		t.Errorf("v1 marker in a prefix: %+v, %v", v1, err)
	}
	v1, err = d.s3.ListObjects(ctx, &s3.ListObjectsInput{Bucket: bucket, MaxKeys: aws.Int32(1)})
	if err != nil || !*v1.IsTruncated || v1.NextMarker != nil {
		t.Errorf("v1 without delimiter has no NextMarker: %+v, %v", v1, err)
	}

	var got []string
	var token *string
	for {
		v2, err := d.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: aws.String("folder/"), Delimiter: aws.String("/"), MaxKeys: aws.Int32(1), ContinuationToken: token})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, keysOf(v2.Contents)+prefixesOf(v2.CommonPrefixes))
		if *v2.KeyCount != 1 || aws.ToString(v2.ContinuationToken) != aws.ToString(token) {
			t.Errorf("%+v", v2)
		}
		if token = v2.NextContinuationToken; token == nil {
			break
		}
	}
	if s := strings.Join(got, " "); s != "folder/aSubfolder/ folder/file1 folder/file2" {
		t.Error(s)
	}
	v2, err := d.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, StartAfter: aws.String("folder/aSubfolder/subFile2"), FetchOwner: aws.Bool(true)})
	if err != nil || keysOf(v2.Contents) != "folder/file1 folder/file2" || *v2.StartAfter != "folder/aSubfolder/subFile2" || v2.Contents[0].Owner == nil {
		t.Errorf("%+v, %v", v2, err)
	}
	token = aws.String(formatToken("folder/file1"))
	v2, err = d.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, StartAfter: aws.String("folder/aSubfolder/subFile1"), ContinuationToken: token})
	if err != nil || keysOf(v2.Contents) != "folder/file2" || v2.StartAfter != nil || *v2.ContinuationToken != *token {
		t.Errorf("the token goes before start-after: %+v, %v", v2, err)
	}
	if v2, err = d.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket}); err != nil || v2.Contents[0].Owner != nil || *v2.KeyCount != 4 {
		t.Errorf("%+v, %v", v2, err)
	}
	if v2, err = d.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(0)}); err != nil || *v2.KeyCount != 0 || *v2.IsTruncated {
		t.Errorf("%+v, %v", v2, err)
	}

	d.do("GET", "/bucket?list-type=2&continuation-token=bad", "").want(t, "token", 400, "InvalidArgument", "The continuation token provided is incorrect", "ArgumentName", "continuation-token")
	d.do("GET", "/bucket?list-type=2&continuation-token=", "").want(t, "token", 400, "InvalidArgument", "The continuation token provided is incorrect", "ArgumentName", "continuation-token")
	for _, kind := range []string{"list-type=2&", "", "versions&", "uploads&"} {
		for _, v := range []string{"value", ""} {
			d.do("GET", "/bucket?"+kind+"encoding-type="+v, "").want(t, kind+v, 400, "InvalidArgument", "Invalid Encoding Method specified in Request", "ArgumentName", "encoding-type", "ArgumentValue", v)
		}
	}
	for _, v := range []string{"x", "-1", "99999999999"} {
		d.do("GET", "/bucket?list-type=2&max-keys="+v, "").want(t, "max-keys", 400, "InvalidArgument", "")
	}
	if a := d.do("GET", "/bucket?max-keys=5000", ""); element(a.body, "MaxKeys") != "1000" {
		t.Error(a)
	}
	d.do("GET", "/bucket?list-type=3", "").want(t, "list-type", 400, "InvalidArgument", "")
}

func TestListingsTellTheRegion(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for _, query := range []string{"", "?list-type=2"} {
		if h := d.do("GET", "/bucket"+query, "").header; h.Get("x-amz-bucket-region") != "us-east-1" {
			t.Errorf("%q: %v", query, h)
		}
	}
}

func TestListingsEncodeNames(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	for _, k := range []string{"a b/x y", "a\x01b", "p+q", "<&>"} {
		d.put("bucket", k, "x")
	}
	a := d.do("GET", "/bucket?encoding-type=url&delimiter=%2F&prefix=a", "")
	if !strings.Contains(a.body, "<Key>a%01b</Key>") || !strings.Contains(a.body, "<Prefix>a+b/</Prefix>") || element(a.body, "EncodingType") != "url" {
		t.Error(a)
	}
	a = d.do("GET", "/bucket?list-type=2", "")
	if !strings.Contains(a.body, "<Key>a&#x1;b</Key>") || !strings.Contains(a.body, "<Key>&lt;&amp;&gt;</Key>") || !strings.Contains(a.body, "<Key>p+q</Key>") {
		t.Error(a)
	}
	// Every page's token is good whatever the name.
	var n int
	token := ""
	for {
		a := d.do("GET", "/bucket?list-type=2&max-keys=1&encoding-type=url"+token, "")
		a.ok(t, "page", 200)
		n += strings.Count(a.body, "<Key>")
		next := element(a.body, "NextContinuationToken")
		if next == "" {
			break
		}
		token = "&continuation-token=" + url.QueryEscape(next)
	}
	if n != 4 {
		t.Error(n)
	}
}

func TestListObjectVersionsOfABucketWithout(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	ctx := context.Background()
	for i := range 3 {
		d.put("bucket", fmt.Sprintf("dir/k%d", i), "x")
	}
	out, err := d.s3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: aws.String("bucket"), MaxKeys: aws.Int32(2)})
	if err != nil || len(out.Versions) != 2 || !*out.IsTruncated || *out.NextKeyMarker != "dir/k1" || *out.NextVersionIdMarker != "null" {
		t.Fatalf("%+v, %v", out, err)
	}
	if v := out.Versions[0]; *v.VersionId != "null" || !*v.IsLatest || *v.Key != "dir/k0" || v.Owner == nil {
		t.Errorf("%+v", v)
	}
	out, err = d.s3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: aws.String("bucket"), KeyMarker: out.NextKeyMarker, VersionIdMarker: out.NextVersionIdMarker})
	if err != nil || len(out.Versions) != 1 || *out.IsTruncated {
		t.Errorf("%+v, %v", out, err)
	}
	d.do("GET", "/bucket?versions&version-id-marker=x", "").want(t, "marker", 400, "InvalidArgument", "A version-id marker cannot be specified without a key marker.",
		"ArgumentName", "version-id-marker", "ArgumentValue", "x")
}
