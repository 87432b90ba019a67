package s3api

import (
	"net/http"

	"github.com/cofferfs/coffer/objstore"
)

// readDocument reads a request document as decodeXML does, and checks what the
// request says of its digest.
func (q *request) readDocument(limit int64, root string, v any) error {
	d, err := q.parseDigest()
	if err != nil {
		return err
	}
	if q.auth.ContentLength > limit {
		return errTooLong()
	}
	if q.seen != nil { // serve may have the handler do it again
		q.peek()
	}
	hash := q.hasher(d)
	verify := q.verify(d)
	q.body.tee = hash
	if err := q.decodeXML(limit, root, v); err != nil {
		return err
	}
	return verify(hash.Sums())
}

// reserve takes the request's part of maxDocumentsBytes, until the request is closed, or
// sends it away.
func (q *request) reserve(limit int64) error {
	n := q.auth.ContentLength
	if n < 0 {
		n = limit
	}
	if n = min(n, limit); n <= maxConfigBytes || q.reserved > 0 {
		return nil
	}
	if q.s.documents.Add(n) > maxDocumentsBytes {
		q.s.documents.Add(-n)
		return objstore.E(objstore.KindBusy, q.op, q.bucket, "too many long documents at once")
	}
	q.reserved = n
	return nil
}

// config returns a configuration document of the request's bucket. When there
// is none the error has this code and message.
func (q *request) config(name objstore.ConfigName, code, message string) ([]byte, error) {
	doc, err := q.s.store.BucketConfig(q.ctx, q.caller, q.bucket, name)
	if objstore.IsKind(err, objstore.KindNoSuchConfig) {
		return nil, newError(http.StatusNotFound, code, message, field("BucketName", q.bucket))
	}
	return doc, err
}

// setConfig keeps the document that a later GET answers with.
func (q *request) setConfig(name objstore.ConfigName, x *xmlWriter) error {
	return q.s.store.SetBucketConfig(q.ctx, q.caller, q.bucket, name, x.b)
}

// getConfig answers with a configuration document as it was kept.
func getConfig(name objstore.ConfigName, code, message string) func(*request) error {
	return func(q *request) error {
		doc, err := q.config(name, code, message)
		if err != nil {
			return err
		}
		return q.sendXML(http.StatusOK, &xmlWriter{doc})
	}
}

// deleteConfig removes a configuration document. One that is not there is
// removed, as S3 has it.
func deleteConfig(name objstore.ConfigName) func(*request) error {
	return func(q *request) error {
		if err := q.dropConfig(name); err != nil {
			return err
		}
		return q.send(http.StatusNoContent)
	}
}

func (q *request) dropConfig(name objstore.ConfigName) error {
	err := q.s.store.DeleteBucketConfig(q.ctx, q.caller, q.bucket, name)
	if objstore.IsKind(err, objstore.KindNoSuchConfig) {
		return nil
	}
	return err
}
