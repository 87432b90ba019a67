package s3api

import (
	"io"
	"net/http"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// maxPolicyBytes is what is read of a policy's document: the store refuses those
// over 20 KiB in words of its own.
const maxPolicyBytes = 32 << 10

func (q *request) putBucketPolicy() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	d, err := q.parseDigest()
	if err != nil {
		return err
	}
	hash := q.hasher(d)
	q.body.tee = hash
	text, err := io.ReadAll(io.LimitReader(&q.body, maxPolicyBytes+1))
	if err != nil {
		return err
	}
	if len(text) <= maxPolicyBytes {
		if err := q.verify(d)(hash.Sums()); err != nil {
			return err
		}
	}
	err = q.s.iam.SetBucketPolicy(q.ctx, q.caller, q.bucket, text)
	if objstore.IsKind(err, objstore.KindAccessDenied) {
		return q.refusedPublic(err)
	}
	if err != nil {
		return err
	}
	return q.send(http.StatusNoContent)
}

// refusedPublic words the refusal of a policy that would make a bucket public.
func (q *request) refusedPublic(err error) error {
	why := strings.TrimSuffix(err.Error(), ".")
	if i := strings.Index(why, "because "); i >= 0 {
		why = why[i:]
	}
	e := errAccessDenied("User: " + q.principal.SessionARN() + " is not authorized to perform: s3:PutBucketPolicy on resource: \"" +
		bucketARN(q.bucket) + "\" " + why + ".")
	e.cause = err
	return e
}

func (q *request) errNoPolicy() error {
	return newError(http.StatusNotFound, "NoSuchBucketPolicy", "The bucket policy does not exist", field("BucketName", q.bucket))
}

func (q *request) getBucketPolicy() error {
	text, err := q.s.iam.BucketPolicy(q.ctx, q.bucket)
	if objstore.IsKind(err, objstore.KindNoSuchConfig) {
		return q.errNoPolicy()
	}
	if err != nil {
		return err
	}
	h := q.w.Header()
	h["Content-Type"] = []string{"application/json"}
	q.w.WriteHeader(http.StatusOK)
	_, err = q.w.Write(text)
	return err
}

func (q *request) getBucketPolicyStatus() error {
	public, err := q.s.iam.BucketPolicyPublic(q.ctx, q.bucket)
	if objstore.IsKind(err, objstore.KindNoSuchConfig) {
		return q.errNoPolicy()
	}
	if err != nil {
		return err
	}
	var x xmlWriter
	x.root("PolicyStatus")
	x.bool("IsPublic", public)
	x.close("PolicyStatus")
	return q.sendXML(http.StatusOK, &x)
}

// publicAccessDocument is the body of PutPublicAccessBlock.
type publicAccessDocument struct {
	BlockPublicAcls       *bool
	IgnorePublicAcls      *bool
	BlockPublicPolicy     *bool
	RestrictPublicBuckets *bool
	Other                 []unknown `xml:",any"`
}

func (q *request) putPublicAccessBlock() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	var doc publicAccessDocument
	if err := q.readDocument(maxConfigBytes, "PublicAccessBlockConfiguration", &doc); err != nil {
		return err
	}
	if doc.BlockPublicAcls == nil && doc.IgnorePublicAcls == nil && doc.BlockPublicPolicy == nil && doc.RestrictPublicBuckets == nil {
		return errInvalidRequest("Must specify at least one configuration.")
	}
	is := func(b *bool) bool { return b != nil && *b }
	block := objstore.PublicAccessBlock{
		BlockPublicACLs:       is(doc.BlockPublicAcls),
		IgnorePublicACLs:      is(doc.IgnorePublicAcls),
		BlockPublicPolicy:     is(doc.BlockPublicPolicy),
		RestrictPublicBuckets: is(doc.RestrictPublicBuckets),
	}
	if err := q.s.store.SetPublicAccess(q.ctx, q.caller, q.bucket, &block); err != nil {
		return err
	}
	return q.send(http.StatusOK)
}

func (q *request) getPublicAccessBlock() error {
	p, err := q.s.store.PublicAccess(q.ctx, q.bucket)
	if err != nil {
		return err
	}
	if p.Removed() {
		return newError(http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found",
			field("BucketName", q.bucket))
	}
	block := p.Effective()
	var x xmlWriter
	x.root("PublicAccessBlockConfiguration")
	x.bool("BlockPublicAcls", block.BlockPublicACLs)
	x.bool("IgnorePublicAcls", block.IgnorePublicACLs)
	x.bool("BlockPublicPolicy", block.BlockPublicPolicy)
	x.bool("RestrictPublicBuckets", block.RestrictPublicBuckets)
	x.close("PublicAccessBlockConfiguration")
	return q.sendXML(http.StatusOK, &x)
}

func (q *request) deletePublicAccessBlock() error {
	if err := q.s.store.SetPublicAccess(q.ctx, q.caller, q.bucket, nil); err != nil {
		return err
	}
	return q.send(http.StatusNoContent)
}

// ownershipDocument is the body of PutBucketOwnershipControls.
type ownershipDocument struct {
	Rule []struct {
		ObjectOwnership string
		Other           []unknown `xml:",any"`
	}
	Other []unknown `xml:",any"`
}

func (q *request) putOwnershipControls() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	var doc ownershipDocument
	if err := q.readDocument(maxConfigBytes, "OwnershipControls", &doc); err != nil {
		return err
	}
	if len(doc.Rule) != 1 {
		return errMalformedXML()
	}
	o, ok := objstore.ParseOwnership(doc.Rule[0].ObjectOwnership)
	if !ok {
		return errMalformedXML()
	}
	if err := q.s.store.SetOwnership(q.ctx, q.caller, q.bucket, o); err != nil {
		return err
	}
	return q.send(http.StatusOK)
}

func (q *request) getOwnershipControls() error {
	o, err := q.s.store.Ownership(q.ctx, q.bucket)
	if err != nil {
		return err
	}
	if o == objstore.OwnershipRemoved {
		return newError(http.StatusNotFound, "OwnershipControlsNotFoundError", "The bucket ownership controls were not found",
			field("BucketName", q.bucket))
	}
	var x xmlWriter
	x.root("OwnershipControls")
	x.open("Rule")
	x.text("ObjectOwnership", o.String())
	x.close("Rule")
	x.close("OwnershipControls")
	return q.sendXML(http.StatusOK, &x)
}

func (q *request) deleteOwnershipControls() error {
	if err := q.s.store.SetOwnership(q.ctx, q.caller, q.bucket, objstore.OwnershipRemoved); err != nil {
		return err
	}
	return q.send(http.StatusNoContent)
}

// newOwnership reads x-amz-object-ownership of CreateBucket.
func (q *request) newOwnership() (objstore.Ownership, error) {
	v, ok := q.single("X-Amz-Object-Ownership")
	if !ok {
		return objstore.OwnerEnforced, nil
	}
	o, ok := objstore.ParseOwnership(v)
	if !ok {
		return o, newError(http.StatusBadRequest, "InvalidArgument", "Invalid x-amz-object-ownership header: "+v,
			field("ArgumentName", "x-amz-object-ownership"))
	}
	return o, nil
}
