package s3api

import "github.com/cofferfs/coffer/objstore"

// Of a listener without TLS. Customers' keys are refused where they are read
// (customerKey). Objects under SSE-KMS and DSSE-KMS are neither served nor stored
// there: "All GET and PUT requests for an object protected by AWS KMS will fail if
// they're not made via SSL" (AWS, "Using server-side encryption with AWS KMS
// keys"). What tells of them and takes none of their bytes along works: HEAD,
// listings, DELETE, and copying from them.

// guardKMS refuses to send or take bytes of an object of that mode.
func (q *request) guardKMS(mode objstore.SSEMode) error {
	if q.r.TLS != nil || mode != objstore.SSEKMS && mode != objstore.SSEDSSE {
		return nil
	}
	return errSSE("Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection.")
}

// guardKMSWrite is guardKMS of a new object, of which the bucket's default
// tells the mode if the request does not.
func (q *request) guardKMSWrite(mode objstore.SSEMode) error {
	if q.r.TLS != nil {
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
	if q.r.TLS != nil {
		return nil
	}
	info, err := q.s.store.HeadObject(q.ctx, q.caller, objstore.GetRequest{Bucket: q.bucket, Key: q.key, NoKey: true})
	if err != nil {
		return err
	}
	return q.guardKMS(info.SSE.Mode)
}

// guardKMSPart is guardKMS of an upload that a part is for.
func (q *request) guardKMSPart(id objstore.UploadID) error {
	if q.r.TLS != nil {
		return nil
	}
	upload, err := q.upload(id)
	if err != nil {
		return err
	}
	return q.guardKMS(upload.SSE.Mode)
}
