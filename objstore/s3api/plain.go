package s3api

import "github.com/cofferfs/coffer/objstore"

// Of a listener without TLS. Customers' keys are refused where they are read
// (customerKey). Objects under SSE-KMS and DSSE-KMS are neither served nor stored
// there: "All GET and PUT requests for an object protected by AWS KMS will fail if
// they're not made via SSL" (AWS, "Using server-side encryption with AWS KMS
// keys"). What tells of them and takes none of their bytes along works: HEAD,
// listings, DELETE, and copying from them.

// refusePlain refuses to send or take bytes of an object of that mode.
func (q *request) refusePlain(mode objstore.SSEMode) error {
	if q.r.TLS != nil || mode != objstore.SSEKMS && mode != objstore.SSEDSSE {
		return nil
	}
	return errSSE("Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection.")
}

// refusePlainWrite is refusePlain of a new object, of which the bucket's default
// tells the mode if the request does not.
func (q *request) refusePlainWrite(mode objstore.SSEMode) error {
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
	return q.refusePlain(mode)
}

// refusePlainAppend is refusePlain of an object that is there.
func (q *request) refusePlainAppend() error {
	if q.r.TLS != nil {
		return nil
	}
	info, err := q.s.store.HeadObject(q.ctx, q.caller, objstore.GetRequest{Bucket: q.bucket, Key: q.key, NoKey: true})
	if err != nil {
		return err
	}
	return q.refusePlain(info.SSE.Mode)
}

// refusePlainPart is refusePlain of an upload that a part is for.
func (q *request) refusePlainPart(id objstore.UploadID) error {
	if q.r.TLS != nil {
		return nil
	}
	upload, err := q.upload(id)
	if err != nil {
		return err
	}
	return q.refusePlain(upload.SSE.Mode)
}
