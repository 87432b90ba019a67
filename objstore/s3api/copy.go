package s3api

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// copySource is x-amz-copy-source.
type copySource struct {
	bucket, key string
	version     objstore.VersionID
}

// parseCopySource reads "[/]bucket/key[?versionId=id]", encoded as a form is: a
// plus sign is a space, as it is to AWS. Before it can stand the scheme and host
// of a URL, which AWS takes too; it does not matter which host.
func parseCopySource(s string, parseVersion func(string) (objstore.VersionID, error)) (copySource, error) {
	var version objstore.VersionID
	refuse := func(what string) (copySource, error) {
		return copySource{}, errInvalidArgument("Invalid copy source "+what, "x-amz-copy-source", "x-amz-copy-source")
	}
	const badBucket, badKey, badEncoding = "bucket name", "object key", "encoding"
	if at := strings.LastIndex(s, "?versionId="); at >= 0 {
		id, err := url.QueryUnescape(s[at+len("?versionId="):])
		if err != nil {
			return refuse(badEncoding)
		}
		if version, err = parseVersion(id); err != nil {
			return copySource{}, err
		}
		s = s[:at]
	}
	for _, scheme := range [...]string{"https://", "http://"} {
		if rest, ok := strings.CutPrefix(s, scheme); ok {
			_, s, _ = strings.Cut(rest, "/")
			break
		}
	}
	path, err := url.QueryUnescape(s)
	if err != nil {
		return refuse(badEncoding)
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !objstore.ValidBucketName(bucket) {
		return refuse(badBucket)
	}
	if key == "" {
		return refuse(badKey)
	}
	if err := objstore.CheckKey("copy", key); err != nil {
		if objstore.IsKind(err, objstore.KindNameTooLong) {
			return copySource{}, err
		}
		return refuse(badKey)
	}
	return copySource{bucket, key, version}, nil
}

func (q *request) copySource() (copySource, error) {
	return parseCopySource(q.get("X-Amz-Copy-Source"), q.s.parseVersionID)
}

// checkCopyHeader refuses a copy source where nothing is copied. A POST that begins
// an upload has none either, but is not refused for it.
func (q *request) checkCopyHeader() error {
	source, ok := q.single("X-Amz-Copy-Source")
	if !ok {
		return nil
	}
	switch q.r.Method {
	case http.MethodPut:
		return nil
	case http.MethodPost:
		if _, ok := q.param("uploadId"); !ok {
			return nil
		}
	}
	return errInvalidArgument("You can only specify a copy source header for copy requests.", "x-amz-copy-source", source)
}

// copyAs makes a copy, which is what the request's operation turned out to be.
func (q *request) copyAs(op string, copy func() error) error {
	if err := q.refuseAnonymous(op); err != nil {
		return err
	}
	if q.auth.ContentLength > 0 {
		return errInvalidRequest("The request included a body. Requests of this type must not include a non-empty body.")
	}
	q.op = op
	return copy()
}

// copyObject is CopyObject.
func (q *request) copyObject() error {
	src, err := q.copySource()
	if err != nil {
		return err
	}
	req, err := q.copyRequest(src)
	if err != nil {
		return err
	}
	if err := q.guardSource(src); err != nil {
		return err
	}
	info, err := q.s.store.CopyObject(q.ctx, q.caller, req)
	if err != nil {
		return q.copyFailed(src, req.SrcPrecondition, err)
	}
	q.settle()
	q.setVersion(info.Version)
	q.setSourceVersion(info.SourceVersion)
	q.setSSE(info.SSE)
	q.setExpiration(&info)
	return q.sendCopy("CopyObjectResult", info.ETag, info.LastModified, info.Checksum)
}

// copyRequest reads the headers of a CopyObject, and refuses one that changes nothing.
func (q *request) copyRequest(src copySource) (req objstore.CopyRequest, err error) {
	req = objstore.CopyRequest{
		SrcBucket: src.bucket, SrcKey: src.key, SrcVersion: src.version,
		SrcPrecondition: q.conditions(copyConditions),
		DstBucket:       q.bucket, DstKey: q.key,
	}
	replace, err := q.directive("X-Amz-Metadata-Directive")
	if err != nil {
		return req, err
	}
	replaceTags, err := q.directive("X-Amz-Tagging-Directive")
	if err != nil {
		return req, err
	}
	tags, err := q.taggingHeader()
	if err != nil {
		return req, err
	}
	meta, err := q.objectMeta()
	if err != nil {
		return req, err
	}
	if req.DstPrecondition, err = q.writePrecondition(false); err != nil {
		return req, err
	}
	if req.Lock, err = q.lockHeaders(); err != nil {
		return req, err
	}
	if req.Encryption, err = q.encryption(); err != nil {
		return req, err
	}
	if req.SrcCustomerKey, err = q.customerKey(sourceHeaders); err != nil {
		return req, err
	}
	if a := q.get("X-Amz-Checksum-Algorithm"); a != "" {
		if req.Store, err = checksum.ParseAlgorithm(a); err != nil {
			return req, errChecksumAlgorithm()
		}
	}
	_, class := q.single("X-Amz-Storage-Class")
	_, redirect := q.single("X-Amz-Website-Redirect-Location")
	changes := replace || class || redirect || req.Encryption.Mode != objstore.SSENone || req.SrcCustomerKey.Mode != objstore.SSENone
	if src.bucket == q.bucket && src.key == q.key && src.version == "" && !changes && !q.reencrypts() {
		return req, errInvalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	// Only now: AWS refuses a copy that changes nothing but the ACL as one that changes
	// nothing, even where there are ACLs.
	if err := q.refuseUnbuilt(); err != nil {
		return req, err
	}
	if replace {
		req.Meta = &meta
	}
	req.StorageClass, req.WebsiteRedirect = meta.StorageClass, meta.WebsiteRedirect
	req.CheckSource = q.held(src.bucket, src.key, string(src.version), true)
	if replaceTags {
		req.Tags = &tags
	}
	return req, nil
}

// reencrypts reports whether a copy of the request's object onto itself may change
// how it is encrypted, though nothing is asked for: its bucket's default was set,
// to whatever, or the object is of another mode than SSE-S3 (both recorded).
func (q *request) reencrypts() bool {
	e, err := q.s.store.BucketEncryption(q.ctx, q.caller, q.bucket)
	if err != nil || e.Mode != objstore.SSENone {
		return err == nil
	}
	info, err := q.look(q.bucket, q.key, "")
	return err == nil && info.SSE.Mode != objstore.SSES3
}

// directive reads COPY (false) or REPLACE (true).
func (q *request) directive(name string) (replace bool, err error) {
	switch v := q.get(name); v {
	case "", "COPY":
		return false, nil
	case "REPLACE":
		return true, nil
	default:
		what := "metadata"
		if name == "X-Amz-Tagging-Directive" {
			what = "tagging"
		}
		return false, errInvalidArgument("Unknown "+what+" directive.", strings.ToLower(name), v)
	}
}

// sourceError names the source where the request's own key would be named.
func (q *request) sourceError(err error, bucket, key string) error {
	e := q.translate(err)
	switch e.Code {
	case "NoSuchKey":
		e.Fields = []sigv4.Field{field("Key", key)}
	case "NoSuchVersion":
		e.Fields = []sigv4.Field{field("Key", key), field("VersionId", sourceVersion(q.get("X-Amz-Copy-Source")))}
	case "NoSuchBucket":
		e.Fields = []sigv4.Field{field("BucketName", bucket)}
	case "MethodNotAllowed":
		return errInvalidRequest("The source of a copy request may not specifically refer to a delete marker by version id.")
	default:
		return err
	}
	return e
}

// copyFailed words the error of a copy. Which side it is about is found out by
// looking at the source: it only words the answer.
func (q *request) copyFailed(src copySource, pre objstore.Precondition, err error) error {
	kind := kindOf(err)
	switch kind {
	case objstore.KindDeleteMarker, objstore.KindNoSuchVersion: // only the source has a version that is named
		return q.sourceError(err, src.bucket, src.key)
	case objstore.KindNotFound, objstore.KindNoSuchBucket, objstore.KindPreconditionFailed, objstore.KindNotModified:
	default:
		return err
	}
	info, herr := q.look(src.bucket, src.key, src.version)
	switch {
	case herr != nil && (kind == objstore.KindNotFound || kind == objstore.KindNoSuchBucket) && kindOf(herr) == kind:
		return q.sourceError(err, src.bucket, src.key)
	case kind == objstore.KindNotModified, kind == objstore.KindPreconditionFailed && !pre.IsZero() && (q.writeCondition() == "" || failing(copyConditions, pre, &info) != ""):
		a := answers[objstore.KindPreconditionFailed]
		e := newError(a.status, a.code, a.message, field("Condition", failedCondition(copyConditions, pre, &info)))
		e.cause = err
		return e
	}
	return q.writeFailed(err)
}

func (q *request) sendCopy(root string, etag objstore.ETag, modified objstore.Time, sum *objstore.Checksum) error {
	var x xmlWriter
	x.root(root)
	x.time("LastModified", modified)
	x.etag(etag)
	if sum != nil && sum.Algorithm.Header() != "" {
		x.text(checksumElement(sum.Algorithm), sum.Value)
		if root == "CopyObjectResult" {
			x.text("ChecksumType", string(sum.Type))
		}
	}
	x.close(root)
	return q.sendXML(http.StatusOK, &x)
}

// copyPart is UploadPartCopy.
func (q *request) copyPart(upload objstore.UploadID, number int) error {
	src, err := q.copySource()
	if err != nil {
		return err
	}
	req := objstore.CopyPartRequest{
		SrcBucket: src.bucket, SrcKey: src.key, SrcVersion: src.version,
		SrcPrecondition: q.conditions(copyConditions),
		Bucket:          q.bucket, Key: q.key,
		Upload: upload, Number: number,
		CheckSource: q.held(src.bucket, src.key, string(src.version), true),
	}
	const rangeHeader = "x-amz-copy-source-range"
	text, ranged := q.single("X-Amz-Copy-Source-Range")
	if ranged {
		r, ok := parseCopyRange(text)
		if !ok {
			return errInvalidArgument("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy", rangeHeader, text)
		}
		req.SrcRange = &r
	}
	if req.Encryption, err = q.partKey(); err != nil {
		return err
	}
	if req.SrcCustomerKey, err = q.customerKey(sourceHeaders); err != nil {
		return err
	}
	if err := q.guardKMSPart(upload); err != nil {
		return err
	}
	if err := q.guardSource(src); err != nil {
		return err
	}
	part, info, err := q.s.store.CopyPart(q.ctx, q.caller, req)
	if err != nil {
		if objstore.IsKind(err, objstore.KindInvalidRange) && ranged {
			return q.copyRangeFailed(src, req, text, err)
		}
		return q.copyFailed(src, req.SrcPrecondition, err)
	}
	q.setSourceVersion(part.SourceVersion)
	q.setSSE(info.SSE)
	sum := part.Checksum
	if info.Algorithm == "" {
		sum = nil
	}
	return q.sendCopy("CopyPartResult", part.ETag, part.LastModified, sum)
}

// copyRangeFailed words a range that does not lie within the source.
func (q *request) copyRangeFailed(src copySource, req objstore.CopyPartRequest, text string, err error) error {
	info, herr := q.look(src.bucket, src.key, src.version)
	if herr != nil {
		return err
	}
	if req.SrcRange.First >= info.Size {
		return errInvalidRequest("The specified copy range is invalid for the source object size")
	}
	return errInvalidArgument("Range specified is not valid for source object of size: "+strconv.FormatInt(info.Size, 10), "x-amz-copy-source-range", text)
}
