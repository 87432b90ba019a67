package s3api

import (
	"net/http"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
)

func (q *request) createUpload() error {
	if err := q.refuseUnbuilt(); err != nil {
		return err
	}
	meta, err := q.objectMeta()
	if err != nil {
		return err
	}
	tags, err := q.taggingHeader()
	if err != nil {
		return err
	}
	lock, err := q.lockHeaders()
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
		Bucket: q.bucket, Key: q.key, Meta: meta, Tags: tags, Encryption: enc, Algorithm: alg, Type: typ, Lock: lock,
	})
	if err != nil {
		return err
	}
	q.setSSE(info.SSE)
	if alg != "" {
		q.w.Header()["x-amz-checksum-algorithm"] = []string{string(alg)}
		q.w.Header()["x-amz-checksum-type"] = []string{string(typ)}
	}
	q.setAbort(&info)
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
	if typ, err = checksum.ParseType(strings.ToUpper(typeName)); err != nil {
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

// uploadPart stores a part. A request with a copy source is UploadPartCopy.
func (q *request) uploadPart() error {
	if version, ok := q.param("versionId"); ok {
		return errNoVersion(version)
	}
	id, err := q.uploadID()
	if err != nil {
		return err
	}
	number, err := parsePartNumber(q.query.Get("partNumber"))
	if err != nil {
		return err
	}
	if _, ok := q.single("X-Amz-Copy-Source"); ok {
		return q.copyAs("UploadPartCopy", func() error { return q.copyPart(id, number) })
	}
	return q.storePart(id, number)
}

// storePart is UploadPart.
func (q *request) storePart(id objstore.UploadID, number int) error {
	enc, err := q.partKey()
	if err != nil {
		return err
	}
	size, err := q.contentLength(objstore.MaxPartSize)
	if err != nil {
		return err
	}
	d, err := q.bodyDigest()
	if err != nil {
		return err
	}
	upload, err := q.upload(id)
	if err == nil {
		err = q.vouched(d, upload.Lock, "Part")
	}
	if err == nil {
		err = q.guardKMS(upload.SSE.Mode)
	}
	if err == nil {
		err = q.mayUsePart(upload.SSE)
	}
	if err != nil {
		return err
	}
	stored, answered, err := partAlgorithms(&upload, d.algorithm)
	if err != nil {
		return err
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

// partAlgorithms returns the algorithm of the checksum that is stored with a part, and
// of the one that is answered: the client's, which need not be the stored one. given is
// the algorithm that the client sent a checksum of, "" if none.
func partAlgorithms(u *objstore.UploadInfo, given checksum.Algorithm) (stored, answered checksum.Algorithm, err error) {
	stored = u.Algorithm
	switch {
	case stored == "":
		stored = checksum.CRC64NVME // what Complete will store
	case given == "" && u.Type == checksum.FullObject:
		// Only a composite checksum needs that of each part: Complete names them.
	case given != stored:
		return "", "", errPartChecksum(stored, given)
	}
	if given == "" {
		return stored, stored, nil
	}
	return stored, given, nil
}

// errPartChecksum says that a part has another checksum than its upload was begun
// with, or, where got is empty, none.
func errPartChecksum(want, got checksum.Algorithm) *apiError {
	actual := "null"
	if got != "" {
		actual = got.Lower()
	}
	return errInvalidRequest("Checksum Type mismatch occurred, expected checksum Type: " + want.Lower() + ", actual checksum Type: " + actual)
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
	// AWS takes a customer's key here and needs none.
	if _, err := q.customerKey(customerHeaders); err != nil {
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
	q.setAbort(&res.Upload)
	var x xmlWriter
	x.root("ListPartsResult")
	x.text("Bucket", q.bucket)
	l.name(&x, "Key", q.key)
	x.text("UploadId", string(id))
	q.initiator(&x)
	q.owner(&x)
	x.text("StorageClass", classOf(res.Upload.Meta.StorageClass))
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
	x.text("ID", ownerID)
	x.text("DisplayName", "coffer")
	x.close("Initiator")
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
		x.text("StorageClass", classOf(u.Meta.StorageClass))
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
