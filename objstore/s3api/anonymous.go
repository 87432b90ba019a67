package s3api

import "slices"

// signedOnly are operations that S3 refuses to requests that nobody signed,
// whatever a policy allows to everybody, with its sentences ("Multipart upload API
// and permissions", S3 user guide; "All CopyObject requests must be authenticated",
// API reference). Two spaces are S3's.
var signedOnly = map[string]string{
	"CreateMultipartUpload": "Anonymous users cannot initiate multipart uploads.  Please authenticate.",
	"CopyObject":            "Anonymous users cannot copy objects.  Please authenticate.",
	"UploadPartCopy":        "Anonymous users cannot copy objects.  Please authenticate.",
}

// refuseAnonymous refuses what takes a signature to a request without one.
func (q *request) refuseAnonymous(op string) error {
	if msg := signedOnly[op]; msg != "" && q.auth.Anonymous {
		return errAccessDenied(msg)
	}
	if q.auth.Anonymous && slices.Contains(actions[op], perKey) {
		// The keys are in the body: who may do nothing to any of them is not to fill the
		// memory with it, and could on every connection.
		return q.denied(q.s.iam.MayAllowAnonymous(q.ctx, q.bucket, "s3:DeleteObject", "s3:DeleteObjectVersion"))
	}
	return nil
}
