package s3api

import "github.com/cofferfs/coffer/objstore"

// Objects under SSE-KMS and DSSE-KMS are neither served nor stored without TLS, nor
// for a request that is not signed by version 4, or not at all: "All GET and PUT
// requests for an object protected by AWS KMS will fail if they're not made via SSL
// or by using SigV4" (AWS, "Using server-side encryption with AWS KMS keys"). What
// tells of them and takes none of their bytes along works without TLS: HEAD,
// listings, DELETE, and copying from them. Customers' keys are refused where they
// are read (customerKey).

// guarded reports whether there are objects that the request is not good enough for.
func (q *request) guarded() bool { return q.r.TLS == nil || !q.signedBy4() }

// guardKMS refuses to send or take bytes of an object of that mode.
func (q *request) guardKMS(mode objstore.SSEMode) error {
	if q.r.TLS == nil && (mode == objstore.SSEKMS || mode == objstore.SSEDSSE) {
		return errSSE("Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection.")
	}
	return q.guardSigned(mode)
}

// guardSigned refuses what needs an object of that mode opened.
func (q *request) guardSigned(mode objstore.SSEMode) error {
	if q.signedBy4() || mode != objstore.SSEKMS && mode != objstore.SSEDSSE {
		return nil
	}
	return errInvalidArgument("Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature Version 4.", "Authorization", "null")
}

// guardSource is guardSigned of what is copied.
func (q *request) guardSource(src copySource) error {
	if q.signedBy4() {
		return nil
	}
	info, err := q.look(src.bucket, src.key, src.version)
	if err != nil {
		return nil // the copy says it better
	}
	return q.guardSigned(info.SSE.Mode)
}

// guardKMSWrite is guardKMS of a new object, of which the bucket's default
// tells the mode if the request does not.
func (q *request) guardKMSWrite(mode objstore.SSEMode) error {
	if !q.guarded() {
		return nil
	}
	if mode == objstore.SSENone {
		def, err := q.s.store.BucketEncryption(q.ctx, q.caller, q.bucket)
		if err != nil {
			return err
		}
		mode = def.Mode
	}
	return q.guardKMS(mode)
}

// guardKMSAppend is guardKMS of an object that is there.
func (q *request) guardKMSAppend() error {
	if !q.guarded() {
		return nil
	}
	info, err := q.look(q.bucket, q.key, "")
	if err != nil {
		return err
	}
	return q.guardKMS(info.SSE.Mode)
}

// guardKMSPart is guardKMS, and mayUsePart, of an upload that a part is for.
func (q *request) guardKMSPart(id objstore.UploadID) error {
	if !q.guarded() && !q.principal.BoundByKeys() {
		return nil
	}
	upload, err := q.upload(id)
	if err == nil {
		err = q.guardKMS(upload.SSE.Mode)
	}
	if err == nil {
		err = q.mayUsePart(upload.SSE)
	}
	return err
}
