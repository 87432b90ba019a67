package s3api

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
)

// putObject stores an object. A request with a copy source is CopyObject.
func (q *request) putObject() error {
	if version, ok := q.param("versionId"); ok {
		return errNoVersion(version)
	}
	if _, ok := q.single("X-Amz-Copy-Source"); ok {
		return q.copyAs("CopyObject", q.copyObject)
	}
	size, err := q.contentLength(maxPutSize)
	if err != nil {
		return err
	}
	info, err := q.storeObject(&q.body, size)
	if err != nil {
		return err
	}
	q.setStored(&info)
	return q.send(http.StatusOK)
}

// storeObject puts the object that the request's headers describe, or, for a
// form, its fields. size is -1 when only the end of the body tells.
func (q *request) storeObject(body io.Reader, size int64) (objstore.ObjectInfo, error) {
	none := objstore.ObjectInfo{}
	if err := q.refuseUnbuilt(); err != nil {
		return none, err
	}
	meta, err := q.objectMeta()
	if err != nil {
		return none, err
	}
	tags, err := q.taggingHeader()
	if err != nil {
		return none, err
	}
	lock, err := q.lockHeaders()
	if err != nil {
		return none, err
	}
	enc, err := q.encryption()
	if err != nil {
		return none, err
	}
	pre, err := q.writePrecondition(false)
	if err != nil {
		return none, err
	}
	d, err := q.bodyDigest()
	if err == nil && q.op == "PutObject" { // nothing tells of POST forms
		err = q.vouched(d, lock, "Object")
	}
	if err != nil {
		return none, err
	}
	stored := d.algorithm
	if stored == "" {
		stored = checksum.CRC64NVME
	}
	offset, appends, err := q.writeOffset()
	if err != nil {
		return none, err
	}
	store := q.s.store.PutObject
	if appends {
		if offset > 0 {
			if err := q.guardKMSAppend(); err != nil {
				return none, err
			}
		}
		store = q.s.store.AppendObject
	}
	info, err := store(q.ctx, q.caller, objstore.PutRequest{
		Bucket: q.bucket, Key: q.key,
		Body: body, Size: size, Offset: offset,
		Meta: meta, Tags: tags, Encryption: enc, Precondition: pre, Lock: lock,
		Algorithms: d.algorithms(stored),
		Store:      stored,
		Verify:     q.verify(d),
	})
	if err != nil {
		return none, q.writeFailed(err)
	}
	q.settle()
	return info, nil
}

// writeOffset reads x-amz-write-offset-bytes, with which PutObject appends, as S3
// has it for directory buckets. What describes an object stays as it was: a
// request that says otherwise of an object that is there is refused.
func (q *request) writeOffset() (offset int64, appends bool, err error) {
	const name = "x-amz-write-offset-bytes"
	text, ok := q.single(writeOffsetHeader)
	if !ok {
		return 0, false, nil
	}
	if offset, err = strconv.ParseInt(text, 10, 64); err != nil || offset < 0 {
		return 0, false, errInvalidArgument("The write offset must be a number of bytes.", name, text)
	}
	if offset == 0 {
		return 0, true, nil
	}
	for header := range q.header {
		lower := strings.ToLower(header)
		if strings.HasPrefix(lower, metaPrefix) || lower == "x-amz-tagging" || strings.HasPrefix(lower, "x-amz-object-lock-") {
			return 0, false, errInvalidRequest("The " + lower + " header cannot be used when appending to an object.")
		}
	}
	return offset, true, nil
}

const writeOffsetHeader = "X-Amz-Write-Offset-Bytes"

// setStored tells what was stored.
func (q *request) setStored(info *objstore.ObjectInfo) {
	if _, appends := q.single(writeOffsetHeader); appends {
		q.set("x-amz-object-size", strconv.FormatInt(info.Size, 10))
	}
	q.set("ETag", quoteETag(info.ETag))
	q.setNewVersion(info.Version)
	q.setSSE(info.SSE)
	q.setChecksum(info.Checksum)
	q.setExpiration(info)
}

// contentLength is the length of the body that the client declared, as S3
// requires it to.
func (q *request) contentLength(max int64) (int64, error) {
	n := q.auth.ContentLength
	// A request that says nothing of a body has none to HTTP (RFC 9112, section 6.3),
	// and to S3 a length that is missing.
	_, declared := q.r.Header["Content-Length"]
	if n < 0 || !declared && q.r.ContentLength == 0 {
		return 0, newError(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	if n > max {
		return 0, errTooLarge(n, max)
	}
	return n, nil
}

func (q *request) deleteObject() error {
	version, err := q.versionID()
	if err != nil {
		return err
	}
	for _, name := range [...]string{"X-Amz-If-Match-Last-Modified-Time", "X-Amz-If-Match-Size"} {
		if _, ok := q.single(name); ok {
			return errHeader(strings.ToLower(name))
		}
	}
	bypass, err := q.bypass()
	if err != nil {
		return err
	}
	pre, err := q.writePrecondition(true)
	if err != nil {
		return err
	}
	if version != "" && len(pre.IfMatch) > 0 {
		return errHeader("If-Match") // AWS: whichever version that is
	}
	res, err := q.s.store.DeleteObject(q.ctx, q.caller, objstore.DeleteRequest{
		Bucket: q.bucket, Key: q.key, Version: version, Precondition: pre, Bypass: bypass,
		Check: q.check(false),
	})
	if err != nil {
		return q.writeFailed(err)
	}
	q.settle()
	q.setVersion(res.Version)
	if res.Marker {
		q.set("x-amz-delete-marker", "true")
	}
	return q.send(http.StatusNoContent)
}

// deleteDocument is the body of DeleteObjects. Conditions on LastModifiedTime and
// Size belong to directory buckets: elsewhere AWS refuses a document with one as a
// whole, as it does any element that it does not know.
type deleteDocument struct {
	Object []struct {
		Key       string
		VersionID *string `xml:"VersionId"`
		ETag      *string
		Other     []unknown `xml:",any"`
	}
	Quiet string
	Other []unknown `xml:",any"`
}

// deleteOutcome is what became of one key of DeleteObjects.
type deleteOutcome struct {
	key     string
	version string // that the request names
	done    objstore.DeleteResult
	err     *apiError
}

func (q *request) deleteObjects() error {
	bypass, err := q.bypass()
	if err != nil {
		return err
	}
	d, err := q.parseDigest()
	if err != nil {
		return err
	}
	if d.md5 == nil && d.algorithm == "" {
		return errInvalidRequest("Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	if q.auth.ContentLength > maxDeleteBytes {
		return errTooLong()
	}
	doc, err := q.readDelete(d)
	if err != nil {
		return err
	}
	outcomes := make([]deleteOutcome, len(doc.Object))
	reqs := make([]objstore.DeleteRequest, 0, len(doc.Object))
	index := make([]int, 0, len(doc.Object)) // into outcomes, of each request
	for i := range doc.Object {
		o := &doc.Object[i]
		out := &outcomes[i]
		out.key = o.Key
		req := objstore.DeleteRequest{Key: o.Key, Bypass: bypass}
		if o.VersionID != nil && *o.VersionID != "" {
			out.version = *o.VersionID
			req.Version = objstore.VersionID(out.version)
		}
		if err := q.allowDelete(o.Key, out.version, o.ETag != nil && namesETag(*o.ETag)); err != nil {
			out.err = q.translateFor(err, o.Key)
			continue
		}
		if q.s.store.CheckVersionID(req.Version) != nil {
			out.err = newError(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist.")
			continue
		}
		if o.ETag != nil && req.Version != "" {
			out.err = errHeader("If-Match") // a condition is about the current version
			continue
		}
		if err := objstore.CheckKey(q.op, o.Key); err != nil {
			out.err = q.translateFor(err, o.Key)
			continue
		}
		if o.ETag != nil {
			req.Precondition.IfMatch = requiredETags(*o.ETag)
		}
		req.Check = q.held(q.bucket, o.Key, out.version, false)
		reqs, index = append(reqs, req), append(index, i)
	}
	done, err := q.s.store.DeleteObjects(q.ctx, q.caller, q.bucket, reqs)
	if err != nil {
		return err
	}
	for i := range done {
		out := &outcomes[index[i]]
		if errors.Is(done[i].Err, errOtherTags) {
			done[i] = q.deleteChanging(reqs[i])
		}
		if out.done = done[i].DeleteResult; done[i].Err != nil {
			out.err = q.translateFor(done[i].Err, out.key)
		}
	}
	q.settle()
	return q.sendDeleteResult(outcomes, doc.Quiet == "true")
}

// deleteChanging deletes one key of DeleteObjects whose object got other tags.
func (q *request) deleteChanging(req objstore.DeleteRequest) (out objstore.DeleteOutcome) {
	req.Bucket = q.bucket
	for range attempts {
		if out.Err = q.allowDelete(req.Key, string(req.Version), comparesTags(req.Precondition.IfMatch)); out.Err != nil {
			return out
		}
		req.Check = q.held(q.bucket, req.Key, string(req.Version), false)
		if out.DeleteResult, out.Err = q.s.store.DeleteObject(q.ctx, q.caller, req); !errors.Is(out.Err, errOtherTags) {
			return out
		}
	}
	out.Err = q.errChanging()
	return out
}

// readDelete reads and verifies the document.
func (q *request) readDelete(d digest) (doc deleteDocument, err error) {
	hash := q.hasher(d)
	verify := q.verify(d)
	q.body.tee = hash
	if err := q.decodeXML(maxDeleteBytes, "Delete", &doc); err != nil {
		return doc, err
	}
	if err := verify(hash.Sums()); err != nil {
		return doc, err
	}
	if len(doc.Object) == 0 || len(doc.Object) > maxDeleteKeys {
		return doc, errMalformedXML()
	}
	switch doc.Quiet = strings.TrimSpace(doc.Quiet); doc.Quiet {
	case "", "true", "false":
		return doc, nil
	}
	return doc, errMalformedXML()
}

// translateFor words the error of one key of many.
func (q *request) translateFor(err error, key string) *apiError {
	if kindOf(err) == objstore.KindCorrupt || kindOf(err) == objstore.KindInternal {
		q.s.log.Error("cannot delete object", "bucket", q.bucket, "key", key, "request_id", q.id, "error", err)
	}
	return q.translate(err)
}

func (q *request) sendDeleteResult(outcomes []deleteOutcome, quiet bool) error {
	var x xmlWriter
	x.root("DeleteResult")
	for i := range outcomes {
		o := &outcomes[i]
		switch {
		case o.err != nil:
			x.open("Error")
			x.text("Key", o.key)
			x.textIf("VersionId", o.version)
			x.text("Code", o.err.Code)
			x.text("Message", o.err.Message)
			x.close("Error")
		case !quiet:
			x.open("Deleted")
			x.text("Key", o.key)
			x.textIf("VersionId", o.version)
			if o.done.Marker {
				x.bool("DeleteMarker", true)
				x.text("DeleteMarkerVersionId", string(o.done.Version))
			}
			x.close("Deleted")
		}
	}
	x.close("DeleteResult")
	return q.sendXML(http.StatusOK, &x)
}
