package s3api

import (
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/iam"
)

// mayUseKey asks whether the request's principal may do something with an external key
// for an object; nil if nothing could forbid it.
//
// With AWS it is S3 that asks its key service, on behalf of whoever asked S3: storing
// takes kms:GenerateDataKey, reading and adding a part kms:Decrypt ("Required permissions
// for Amazon S3 API operations", "Multipart upload API and permissions", S3 user guide).
func (q *request) mayUseKey(action, bucket, key string) func(objstore.SSEInfo) error {
	if !q.principal.BoundByKeys() {
		return nil
	}
	return func(sse objstore.SSEInfo) error {
		arn := "arn:aws:s3:::" + bucket
		if !sse.BucketKey {
			arn += "/" + key
		}
		of := conditionKeys{q: q}
		values := func(key string) ([]string, bool) {
			switch {
			case key == "kms:viaservice":
				return []string{"s3." + q.s.o.Region + ".amazonaws.com"}, true
			case key == "kms:calleraccount":
				return []string{objstore.AccountID}, true
			case key == "kms:encryptioncontext:aws:s3:arn":
				return []string{arn}, true
			case key == "aws:viaawsservice":
				return []string{"true"}, true
			case strings.HasPrefix(key, "s3:"):
				return nil, false
			}
			return of.values(key)
		}
		return q.denied(q.s.iam.AuthorizeKey(q.principal, iam.Access{Action: action, ARN: sse.KMSKeyID, Values: values}, sse.ManagedKey))
	}
}

// mayUsePart is mayUseKey of an upload that gets a part.
func (q *request) mayUsePart(sse objstore.SSEInfo) error {
	mayUse := q.mayUseKey("kms:Decrypt", q.bucket, q.key)
	if mayUse == nil || sse.KMSKeyID == "" {
		return nil
	}
	return mayUse(sse)
}
