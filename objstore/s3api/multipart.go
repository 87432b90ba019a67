package s3api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

func (q *request) createUpload() error {
	if err := q.refuseUnbuilt(); err != nil {
		return err
	}
	meta, err := q.objectMeta()
	if err != nil {
		return err
	}
	enc, err := q.encryption()
	if err != nil {
		return err
	}
	alg, typ, err := q.uploadChecksum()
	if err != nil {
		return err
	}
	info, err := q.s.store.CreateUpload(q.ctx, q.caller, objstore.CreateUploadRequest{
		Bucket: q.bucket, Key: q.key, Meta: meta, Encryption: enc, Algorithm: alg, Type: typ,
	})
	if err != nil {
		return err
	}
	q.setSSE(info.SSE)
	if alg != "" {
		q.w.Header()["x-amz-checksum-algorithm"] = []string{string(alg)}
		q.w.Header()["x-amz-checksum-type"] = []string{string(typ)}
	}
	var x xmlWriter
	x.root("InitiateMultipartUploadResult")
	x.text("Bucket", q.bucket)
	x.text("Key", q.key)
	x.text("UploadId", string(info.ID))
	x.close("InitiateMultipartUploadResult")
	return q.sendXML(http.StatusOK, &x)
}

// uploadChecksum reads the algorithm and type that an upload is begun with.
func (q *request) uploadChecksum() (alg checksum.Algorithm, typ checksum.Type, err error) {
	name, typeName := q.get("X-Amz-Checksum-Algorithm"), q.get("X-Amz-Checksum-Type")
	if name == "" {
		if typeName != "" {
			return "", "", errInvalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return "", "", nil
	}
	if alg, err = checksum.ParseAlgorithm(name); err != nil {
		return "", "", errChecksumAlgorithm()
	}
	if typeName == "" {
		return alg, checksum.DefaultType(alg), nil
	}
	if typ, err = checksum.ParseType(typeName); err != nil {
		return "", "", errInvalidRequest("Value for x-amz-checksum-type header is invalid.")
	}
	if err := typ.Check(alg); err != nil {
		return "", "", errInvalidRequest("The " + string(typ) + " checksum type cannot be used with the " + alg.Lower() + " checksum algorithm.")
	}
	return alg, typ, nil
}

// uploadID reads the uploadId of a request.
func (q *request) uploadID() (objstore.UploadID, error) {
	id, _ := q.param("uploadId")
	if id == "" {
		return "", errInvalidArgument("This operation requires an uploadId.", "uploadId", id)
	}
	return objstore.UploadID(id), nil
}

// upload describes an upload under way.
func (q *request) upload(id objstore.UploadID) (objstore.UploadInfo, error) {
	res, err := q.s.store.ListParts(q.ctx, q.caller, objstore.ListPartsRequest{Bucket: q.bucket, Key: q.key, Upload: id, Max: 1})
	return res.Upload, err
}

func (q *request) uploadPart() error {
	id, err := q.uploadID()
	if err != nil {
		return err
	}
	number, err := parsePartNumber(q.query.Get("partNumber"))
	if err != nil {
		return err
	}
	if _, ok := q.single("X-Amz-Copy-Source"); ok {
		q.op = "UploadPartCopy"
		return q.copyPart(id, number)
	}
	enc, err := q.customerKey(customerPrefix)
	if err != nil {
		return err
	}
	size, err := q.contentLength(objstore.MaxPartSize)
	if err != nil {
		return err
	}
	d, err := q.parseDigest()
	if err != nil {
		return err
	}
	upload, err := q.upload(id)
	if err != nil {
		return err
	}
	stored := upload.Algorithm
	if stored == "" {
		stored = checksum.CRC64NVME // what Complete will store
	} else if d.algorithm != "" && d.algorithm != stored {
		return errInvalidRequest("Checksum Type mismatch occurred, expected checksum Type: " + stored.Lower() + ", actual checksum Type: " + d.algorithm.Lower())
	}
	// What is answered is the client's checksum, which need not be the stored one.
	answered := stored
	if d.algorithm != "" {
		answered = d.algorithm
	}
	var sum []byte
	verify := q.verify(d)
	part, upload, err := q.s.store.UploadPart(q.ctx, q.caller, objstore.UploadPartRequest{
		Bucket: q.bucket, Key: q.key, Upload: id, Number: number,
		Body: &q.body, Size: size,
		Encryption: enc,
		Algorithms: d.algorithms(stored), Store: stored,
		Verify: func(sums checksum.Sums) error {
			sum = sums[answered]
			return verify(sums)
		},
	})
	if err != nil {
		return err
	}
	h := q.w.Header()
	h["ETag"] = []string{quoteETag(part.ETag)}
	if sum != nil {
		h[answered.Header()] = []string{checksum.Format(sum)}
	}
	q.setSSE(upload.SSE)
	return q.send(http.StatusOK)
}

// completeDocument is the body of CompleteMultipartUpload.
type completeDocument struct {
	Part []struct {
		PartNumber        string
		ETag              string
		ChecksumCRC32     string
		ChecksumCRC32C    string
		ChecksumCRC64NVME string
		ChecksumSHA1      string
		ChecksumSHA256    string
		Other             []unknown `xml:",any"`
	}
	Other []unknown `xml:",any"`
}

func (q *request) completeUpload() error {
	id, err := q.uploadID()
	if err != nil {
		return err
	}
	if q.auth.ContentLength > maxCompleteBytes {
		return errTooLong()
	}
	req := objstore.CompleteRequest{Bucket: q.bucket, Key: q.key, Upload: id, Size: -1}
	if req.Precondition, err = q.writePrecondition(false); err != nil {
		return err
	}
	if _, err = q.customerKey(customerPrefix); err != nil {
		return err
	}
	if v := q.get("X-Amz-Mp-Object-Size"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return errInvalidRequest("Value for x-amz-mp-object-size header is invalid.")
		}
		req.Size = n
	}
	if req.Checksum, err = q.objectChecksum(); err != nil {
		return err
	}
	if req.Parts, err = q.readComplete(); err != nil {
		return err
	}
	// An upload that is gone may have been completed by this very request,
	// repeated: the store knows.
	upload, err := q.upload(id)
	if err == nil {
		err = q.checkComplete(&req, &upload)
	} else if objstore.IsKind(err, objstore.KindNoSuchUpload) {
		err = nil
	}
	if err != nil {
		return err
	}
	info, err := q.s.store.CompleteUpload(q.ctx, q.caller, req)
	if err != nil {
		return q.completeFailed(&req, err)
	}
	q.settle()
	q.setSSE(info.SSE)
	var x xmlWriter
	x.root("CompleteMultipartUploadResult")
	x.text("Location", q.location())
	x.text("Bucket", q.bucket)
	x.text("Key", q.key)
	x.etag(info.ETag)
	if c := info.Checksum; c != nil && c.Algorithm.Header() != "" {
		x.text(checksumElement(c.Algorithm), c.Value)
		x.text("ChecksumType", string(c.Type))
	}
	x.close("CompleteMultipartUploadResult")
	return q.sendXML(http.StatusOK, &x)
}

// objectChecksum reads the checksum of the whole object that Complete can have
// in a header: here it is not that of the body.
func (q *request) objectChecksum() (*objstore.Checksum, error) {
	var found *objstore.Checksum
	for _, a := range checksum.Algorithms() {
		v, ok := q.single(http.CanonicalHeaderKey(a.Header()))
		if !ok {
			continue
		}
		if found != nil {
			return nil, errInvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		_, parts, err := checksum.ParseObject(a, v)
		if err != nil {
			return nil, errInvalidRequest("Value for " + a.Header() + " header is invalid.")
		}
		found = &objstore.Checksum{Algorithm: a, Type: checksum.FullObject, Value: v}
		if parts > 0 {
			found.Type = checksum.Composite
		}
	}
	return found, nil
}

func (q *request) readComplete() ([]objstore.CompletePart, error) {
	var doc completeDocument
	if err := q.decodeXML(maxCompleteBytes, "CompleteMultipartUpload", &doc); err != nil {
		return nil, err
	}
	if len(doc.Part) == 0 {
		return nil, errInvalidRequest("You must specify at least one part")
	}
	if len(doc.Part) > objstore.MaxPartNumber {
		return nil, errMalformedXML()
	}
	parts := make([]objstore.CompletePart, len(doc.Part))
	for i := range doc.Part {
		p := &doc.Part[i]
		n, err := strconv.Atoi(strings.TrimSpace(p.PartNumber))
		if err != nil {
			return nil, errMalformedXML()
		}
		if n < 1 || n > objstore.MaxPartNumber {
			return nil, errInvalidArgument("PartNumber must be >= 1", "PartNumber", p.PartNumber)
		}
		parts[i] = objstore.CompletePart{Number: n, ETag: objstore.ETag(strings.Trim(strings.TrimSpace(p.ETag), `"`))}
		values := [...]string{p.ChecksumCRC32, p.ChecksumCRC32C, p.ChecksumCRC64NVME, p.ChecksumSHA1, p.ChecksumSHA256}
		for j, a := range checksum.Algorithms() {
			if values[j] == "" {
				continue
			}
			if parts[i].Checksum != nil {
				return nil, errMalformedXML()
			}
			parts[i].Checksum = &objstore.Checksum{Algorithm: a, Value: values[j]}
		}
	}
	return parts, nil
}

// checkComplete compares what the request says of checksums with what the
// upload was begun with.
func (q *request) checkComplete(req *objstore.CompleteRequest, upload *objstore.UploadInfo) error {
	if typ := q.get("X-Amz-Checksum-Type"); typ != "" {
		if _, err := checksum.ParseType(typ); err != nil {
			return errInvalidRequest("Value for x-amz-checksum-type header is invalid.")
		}
		mode := "null"
		if upload.Algorithm != "" {
			mode = string(upload.Type)
		}
		if typ != mode {
			return errInvalidRequest("The upload was created using the " + mode + " checksum mode. The complete request must use the same checksum mode.")
		}
	}
	if upload.Type != checksum.Composite {
		return nil
	}
	for i := range req.Parts {
		p := &req.Parts[i]
		if p.Checksum == nil {
			return errInvalidRequest("The upload was created using a " + upload.Algorithm.Lower() + " checksum. The complete request must include the checksum for each part. It was missing for part " + strconv.Itoa(p.Number) + " in the request.")
		}
		if a := p.Checksum.Algorithm; a != upload.Algorithm {
			return newError(http.StatusBadRequest, "BadDigest", "The "+a.Lower()+" you specified for part "+strconv.Itoa(p.Number)+" did not match what we received.")
		}
	}
	return nil
}

// completeFailed words the errors of Complete that S3 tells more about. The
// store has decided; this looks at the parts again to name the culprit.
func (q *request) completeFailed(req *objstore.CompleteRequest, err error) error {
	kind := kindOf(err)
	switch kind {
	case objstore.KindInvalidPart, objstore.KindPartTooSmall:
		e := q.translate(err)
		if fields := q.culprit(req, kind); fields != nil {
			e.Fields = fields
		}
		return e
	case objstore.KindInvalidRequest:
		if total, ok := q.sizeOfParts(req); ok && req.Size >= 0 && total != req.Size {
			return errInvalidRequest("The provided 'x-amz-mp-object-size' header value " + strconv.FormatInt(req.Size, 10) +
				" does not match what was computed: " + strconv.FormatInt(total, 10))
		}
	case objstore.KindBadDigest:
		if req.Checksum != nil {
			return newError(http.StatusBadRequest, "BadDigest", "The "+req.Checksum.Algorithm.Lower()+" you specified did not match the calculated checksum.")
		}
	}
	return q.writeFailed(err)
}

// eachPart calls fn with the parts that the upload has, in order, until fn
// returns false.
func (q *request) eachPart(id objstore.UploadID, fn func(*objstore.PartInfo) bool) error {
	list := objstore.ListPartsRequest{Bucket: q.bucket, Key: q.key, Upload: id, Max: objstore.MaxListKeys}
	for {
		res, err := q.s.store.ListParts(q.ctx, q.caller, list)
		if err != nil {
			return err
		}
		for i := range res.Parts {
			if !fn(&res.Parts[i]) {
				return nil
			}
		}
		if !res.Truncated {
			return nil
		}
		list.After = res.Next
	}
}

// sizeOfParts is the size that the object would have.
func (q *request) sizeOfParts(req *objstore.CompleteRequest) (total int64, ok bool) {
	next := 0
	err := q.eachPart(req.Upload, func(have *objstore.PartInfo) bool {
		if next < len(req.Parts) && req.Parts[next].Number == have.Number {
			total += have.Size
			next++
		}
		return true
	})
	return total, err == nil && next == len(req.Parts)
}

// culprit finds the first part that is wrong in the way of kind.
func (q *request) culprit(req *objstore.CompleteRequest, kind objstore.Kind) (fields []sigv4.Field) {
	next := 0 // into req.Parts, which the store has found to be in order
	err := q.eachPart(req.Upload, func(have *objstore.PartInfo) bool {
		if next == len(req.Parts) || req.Parts[next].Number < have.Number {
			return false
		}
		want := &req.Parts[next]
		if want.Number > have.Number {
			return true
		}
		if kind == objstore.KindInvalidPart && (want.ETag != have.ETag || want.Checksum != nil && !sameChecksum(want.Checksum, have.Checksum)) {
			return false
		}
		if kind == objstore.KindPartTooSmall && have.Size < objstore.MinPartSize && next < len(req.Parts)-1 {
			fields = []sigv4.Field{field("ProposedSize", strconv.FormatInt(have.Size, 10)), field("MinSizeAllowed", strconv.Itoa(objstore.MinPartSize)),
				field("PartNumber", strconv.Itoa(have.Number)), field("ETag", string(have.ETag))}
			return false
		}
		next++
		return true
	})
	if err == nil && kind == objstore.KindInvalidPart && next < len(req.Parts) {
		p := &req.Parts[next]
		fields = []sigv4.Field{field("UploadId", string(req.Upload)), field("PartNumber", strconv.Itoa(p.Number)), field("ETag", string(p.ETag))}
	}
	return fields
}

func sameChecksum(want, have *objstore.Checksum) bool {
	return have != nil && want.Algorithm == have.Algorithm && want.Value == have.Value
}

func (q *request) abortUpload() error {
	id, err := q.uploadID()
	if err != nil {
		return err
	}
	if err := q.s.store.AbortUpload(q.ctx, q.caller, q.bucket, q.key, id); err != nil {
		return err
	}
	return q.send(http.StatusNoContent)
}

func (q *request) listParts() error {
	id, err := q.uploadID()
	if err != nil {
		return err
	}
	max, err := q.intParam("max-parts", objstore.MaxListKeys, objstore.MaxListKeys)
	if err != nil {
		return err
	}
	after, err := q.intParam("part-number-marker", 0, 1<<31-1)
	if err != nil {
		return err
	}
	encode, err := q.encodingURL()
	if err != nil {
		return err
	}
	l := listing{encode: encode}
	res, err := q.s.store.ListParts(q.ctx, q.caller, objstore.ListPartsRequest{Bucket: q.bucket, Key: q.key, Upload: id, After: after, Max: max})
	if err != nil {
		return err
	}
	next := 0
	if n := len(res.Parts); n > 0 {
		next = res.Parts[n-1].Number
	}
	var x xmlWriter
	x.root("ListPartsResult")
	x.text("Bucket", q.bucket)
	l.name(&x, "Key", q.key)
	x.text("UploadId", string(id))
	q.initiator(&x)
	q.owner(&x)
	x.text("StorageClass", storageClassOf(&res.Upload))
	x.int("PartNumberMarker", int64(after))
	x.int("NextPartNumberMarker", int64(next))
	x.int("MaxParts", int64(max))
	x.bool("IsTruncated", res.Truncated && max > 0)
	writeUploadChecksum(&x, &res.Upload)
	for i := range res.Parts {
		p := &res.Parts[i]
		x.open("Part")
		x.int("PartNumber", int64(p.Number))
		x.time("LastModified", p.LastModified)
		x.etag(p.ETag)
		x.int("Size", p.Size)
		if c := p.Checksum; c != nil && res.Upload.Algorithm != "" {
			x.text(checksumElement(c.Algorithm), c.Value)
		}
		x.close("Part")
	}
	x.close("ListPartsResult")
	return q.sendXML(http.StatusOK, &x)
}

func (q *request) initiator(x *xmlWriter) {
	x.open("Initiator")
	x.text("ID", q.s.o.OwnerID)
	x.text("DisplayName", "coffer")
	x.close("Initiator")
}

func storageClassOf(u *objstore.UploadInfo) string {
	if u.Meta.StorageClass == "" {
		return "STANDARD"
	}
	return u.Meta.StorageClass
}

// writeUploadChecksum writes the algorithm that the client asked for.
func writeUploadChecksum(x *xmlWriter, u *objstore.UploadInfo) {
	if u.Algorithm != "" {
		x.text("ChecksumAlgorithm", string(u.Algorithm))
		x.text("ChecksumType", string(u.Type))
	}
}

func (q *request) listUploads() error {
	l, err := q.parseListing("max-uploads")
	if err != nil {
		return err
	}
	keyMarker := q.query.Get("key-marker")
	uploadMarker := q.query.Get("upload-id-marker")
	if keyMarker == "" {
		uploadMarker = "" // it says nothing without a key
	}
	req := objstore.ListUploadsRequest{
		Bucket: q.bucket, Prefix: l.prefix, Delimiter: l.delimiter,
		KeyMarker: keyMarker, UploadMarker: objstore.UploadID(uploadMarker), Max: l.max,
	}
	if uploadMarker == "" {
		req.KeyMarker = l.outside(keyMarker)
	}
	res, err := q.s.store.ListUploads(q.ctx, q.caller, req)
	if err != nil {
		if objstore.IsKind(err, objstore.KindInvalidArgument) && uploadMarker != "" {
			return errInvalidArgument("Invalid uploadId marker", "upload-id-marker", uploadMarker)
		}
		return err
	}
	nextKey, nextUpload := "", ""
	switch n := len(res.Uploads); {
	case res.Truncated:
		nextKey, nextUpload = res.NextKey, string(res.NextUpload)
	case n > 0:
		nextKey, nextUpload = res.Uploads[n-1].Key, string(res.Uploads[n-1].ID)
	}
	var x xmlWriter
	x.root("ListMultipartUploadsResult")
	x.text("Bucket", q.bucket)
	l.name(&x, "KeyMarker", keyMarker)
	x.text("UploadIdMarker", uploadMarker)
	l.name(&x, "NextKeyMarker", nextKey)
	x.text("NextUploadIdMarker", nextUpload)
	if l.prefix != "" {
		l.name(&x, "Prefix", l.prefix)
	}
	x.int("MaxUploads", int64(l.max))
	l.tail(&x, res.Truncated && l.max > 0)
	for i := range res.Uploads {
		u := &res.Uploads[i]
		x.open("Upload")
		l.name(&x, "Key", u.Key)
		x.text("UploadId", string(u.ID))
		q.initiator(&x)
		q.owner(&x)
		x.text("StorageClass", storageClassOf(u))
		x.time("Initiated", u.Initiated)
		writeUploadChecksum(&x, u)
		x.close("Upload")
	}
	for _, p := range res.Prefixes {
		x.open("CommonPrefixes")
		l.name(&x, "Prefix", p)
		x.close("CommonPrefixes")
	}
	x.close("ListMultipartUploadsResult")
	return q.sendXML(http.StatusOK, &x)
}
