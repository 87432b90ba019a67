package s3api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// defaultRegion is the one that S3 writes as an empty location.
const defaultRegion = "us-east-1"

const maxBuckets = 10000 // S3's largest page of buckets

func (q *request) createBucket() error {
	ownership, err := q.newOwnership()
	if err != nil {
		return err
	}
	if err := q.checkNewBucketACL(ownership); err != nil {
		return err
	}
	var doc struct {
		LocationConstraint string
		Location           *struct{}
		Bucket             *struct{}
		Tags               struct {
			Tag   []tagElement
			Other []unknown `xml:",any"`
		}
		Other []unknown `xml:",any"`
	}
	if q.auth.ContentLength != 0 {
		if err := q.decodeXML(maxConfigBytes, "CreateBucketConfiguration", &doc); err != nil {
			return err
		}
	}
	if doc.Location != nil || doc.Bucket != nil {
		return errNotBuilt("This part of CreateBucketConfiguration")
	}
	if err := q.checkLocation(doc.LocationConstraint); err != nil {
		return err
	}
	req := objstore.CreateBucketRequest{Name: q.bucket, Ownership: ownership,
		ObjectLock: strings.EqualFold(q.get("X-Amz-Bucket-Object-Lock-Enabled"), "true")}
	tags, err := newBucketTagRules.tags(doc.Tags.Tag)
	if err != nil {
		return err
	}
	if len(tags) > 0 {
		var x xmlWriter
		writeTagSet(&x, tags)
		req.Configs = append(req.Configs, objstore.NamedConfig{Name: objstore.ConfigTagging, Document: x.b})
	}
	_, err = q.s.store.CreateBucket(q.ctx, q.caller, req)
	// In us-east-1 alone, S3 takes a bucket that is yours for just made, unless it
	// was to have tags.
	if err != nil && !(q.s.o.Region == defaultRegion && len(tags) == 0 && objstore.IsKind(err, objstore.KindBucketExists)) {
		return err
	}
	q.settle()
	h := q.w.Header()
	h["Location"] = []string{"/" + q.bucket}
	h["x-amz-bucket-arn"] = []string{bucketARN(q.bucket)}
	return q.send(http.StatusOK)
}

// checkLocation compares a location constraint with the one region there is.
func (q *request) checkLocation(c string) error {
	region := q.s.o.Region
	switch {
	case c == "" && region == defaultRegion, c == region && region != defaultRegion:
		return nil
	case c == defaultRegion && region == defaultRegion, region == defaultRegion && c != "EU" && !strings.Contains(c, "-"), c == "aws-global" && region == defaultRegion:
		return newError(http.StatusBadRequest, "InvalidLocationConstraint", "The specified location-constraint is not valid",
			field("LocationConstraint", c))
	case c == "":
		c = "unspecified"
	}
	return newError(http.StatusBadRequest, "IllegalLocationConstraintException",
		"The "+c+" location constraint is incompatible for the region specific endpoint this request was sent to.")
}

func bucketARN(name string) string { return "arn:aws:s3:::" + name }

func (q *request) headBucket() error {
	if _, err := q.s.store.HeadBucket(q.ctx, q.caller, q.bucket); err != nil {
		return err
	}
	h := q.w.Header()
	h["Content-Type"] = []string{"application/xml"}
	h["x-amz-bucket-region"] = []string{q.s.o.Region}
	h["x-amz-access-point-alias"] = []string{"false"}
	h["x-amz-bucket-arn"] = []string{bucketARN(q.bucket)}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) deleteBucket() error {
	if err := q.s.store.DeleteBucket(q.ctx, q.caller, q.bucket); err != nil {
		return err
	}
	q.settle()
	return q.send(http.StatusNoContent)
}

func (q *request) getBucketLocation() error {
	if _, err := q.s.store.HeadBucket(q.ctx, q.caller, q.bucket); err != nil {
		return err
	}
	location := q.s.o.Region
	if location == defaultRegion {
		location = ""
	}
	var x xmlWriter
	x.root("LocationConstraint")
	x.b = appendEscaped(x.b, location)
	x.end("LocationConstraint")
	return q.sendXML(http.StatusOK, &x)
}

// listBucketsParams are what a ListBuckets can ask for.
var listBucketsParams = [...]string{"prefix", "max-buckets", "bucket-region", "continuation-token"}

func (q *request) listBuckets() error {
	max, err := q.numberParam("max-buckets", maxBuckets)
	if err != nil {
		return err
	}
	if max < 1 || max > maxBuckets {
		return errInvalidArgument("Argument max-buckets must be an integer between 1 and 10000", "max-buckets", q.query.Get("max-buckets"))
	}
	prefix := q.query.Get("prefix")
	after := ""
	if token := q.query.Get("continuation-token"); token != "" {
		if after, err = parseToken(token); err != nil {
			return err
		}
	}
	var list []objstore.BucketInfo
	truncated := false
	region := q.query.Get("bucket-region")
	if region != "" && !q.s.validRegion(region) {
		return newError(http.StatusBadRequest, "InvalidArgument", "Argument value "+region+" is not a valid AWS Region", field("ArgumentName", "bucket-region"))
	}
	if region == "" || region == q.s.o.Region {
		if list, truncated, err = q.s.store.ListBuckets(q.ctx, q.caller, prefix, after, max); err != nil {
			return err
		}
	}
	var x xmlWriter
	x.root("ListAllMyBucketsResult")
	x.open("Owner")
	x.text("ID", ownerID)
	x.close("Owner")
	x.open("Buckets")
	told := "" // but to who asks for something ("Bucket", S3 API reference)
	if slices.ContainsFunc(listBucketsParams[:], q.query.Has) {
		told = q.s.o.Region
	}
	for i := range list {
		b := &list[i]
		x.open("Bucket")
		x.text("Name", b.Name)
		x.time("CreationDate", b.Created)
		x.textIf("BucketRegion", told)
		x.text("BucketArn", bucketARN(b.Name))
		x.close("Bucket")
	}
	x.close("Buckets")
	if truncated && len(list) > 0 {
		x.text("ContinuationToken", formatToken(list[len(list)-1].Name))
	}
	x.textIf("Prefix", prefix)
	x.close("ListAllMyBucketsResult")
	return q.sendXML(http.StatusOK, &x)
}
