package s3api

import (
	"net/http"
	"strings"
)

// ACLs. Every object is its bucket's owner's, and nobody is given anything by an
// ACL: that is for policies. What S3 answers of a bucket with ACLs disabled
// (BucketOwnerEnforced, the default) is answered of every bucket; a bucket whose
// ownership says otherwise takes the ACLs that give nothing away, and no others.

func errNoACL() error {
	return newError(http.StatusBadRequest, "AccessControlListNotSupported", "The bucket does not allow ACLs")
}

// cannedACLs are S3's, and whether one leaves everything with the owner.
var cannedACLs = map[string]bool{
	"private": true, "bucket-owner-full-control": true, "bucket-owner-read": true,
	"public-read": false, "public-read-write": false, "authenticated-read": false, "aws-exec-read": false, "log-delivery-write": false,
}

// checkObjectACL refuses what a write's headers say of its object's ACL, unless
// it is what holds anyway.
func (q *request) checkObjectACL() error {
	for name := range q.header {
		if len(name) > len("X-Amz-Grant-") && strings.EqualFold(name[:len("X-Amz-Grant-")], "X-Amz-Grant-") {
			return errNoACL()
		}
	}
	acl, ok := q.single("X-Amz-Acl")
	if !ok || cannedACLs[acl] {
		return nil
	}
	if _, known := cannedACLs[acl]; !known && acl != "" {
		return newError(http.StatusBadRequest, "InvalidArgument", "", field("ArgumentName", "x-amz-acl"), field("ArgumentValue", acl))
	}
	if acl == "" {
		return nil
	}
	return errNoACL()
}

func (q *request) getBucketACL() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	return q.sendACL()
}

func (q *request) getObjectACL() error {
	if err := q.objectExists(); err != nil {
		return err
	}
	return q.sendACL()
}

// sendACL answers that the owner may do everything and nobody else anything.
func (q *request) sendACL() error {
	var x xmlWriter
	x.root("AccessControlPolicy")
	x.open("Owner")
	x.text("ID", ownerID)
	x.close("Owner")
	x.open("AccessControlList")
	x.open("Grant")
	x.b = append(x.b, `<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">`...)
	x.text("ID", ownerID)
	x.close("Grantee")
	x.text("Permission", "FULL_CONTROL")
	x.close("Grant")
	x.close("AccessControlList")
	x.close("AccessControlPolicy")
	return q.sendXML(http.StatusOK, &x)
}
