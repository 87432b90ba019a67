package s3api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// completeDocument is the body of CompleteMultipartUpload.
type completeDocument struct {
	Part []struct {
		PartNumber        string
		ETag              *string
		ChecksumCRC32     string
		ChecksumCRC32C    string
		ChecksumCRC64NVME string
		ChecksumMD5       string
		ChecksumSHA1      string
		ChecksumSHA256    string
		ChecksumSHA512    string
		ChecksumXXHASH128 string
		ChecksumXXHASH3   string
		ChecksumXXHASH64  string
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
	if req.CustomerKey, err = q.customerKey(customerHeaders); err != nil {
		return err
	}
	if v := q.get("X-Amz-Mp-Object-Size"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return errInvalidRequest("Value for x-amz-mp-object-size header is invalid: '" + v + "'")
		}
		req.Size = n
	}
	if req.Checksum, err = q.objectChecksum(); err != nil {
		return err
	}
	// An upload that is gone may have been completed by this very request,
	// repeated: the store knows. Of one that never was, AWS tells before it looks
	// at the document.
	upload, gone := q.upload(id)
	if gone != nil && !objstore.IsKind(gone, objstore.KindNoSuchUpload) {
		return gone
	}
	if req.Parts, err = q.readComplete(); err != nil {
		if gone != nil {
			return gone
		}
		return err
	}
	if gone == nil {
		if err := q.checkComplete(&req, &upload); err != nil {
			return err
		}
	}
	info, err := q.s.store.CompleteUpload(q.ctx, q.caller, req)
	if err != nil {
		return q.completeFailed(&req, &upload, err)
	}
	q.settle()
	sum := info.Checksum
	if info.SSE.Mode != objstore.SSES3 && upload.Algorithm == "" {
		sum = nil // AWS keeps it, but does not tell it here (recorded)
	}
	if info.SSE.Mode != objstore.SSEC {
		q.setSSE(info.SSE)
	}
	q.setExpiration(&info)
	q.setNewVersion(info.Version)
	var x xmlWriter
	x.root("CompleteMultipartUploadResult")
	x.text("Location", q.location())
	x.text("Bucket", q.bucket)
	x.text("Key", q.key)
	x.etag(info.ETag)
	if sum != nil && sum.Algorithm.Header() != "" {
		x.text(checksumElement(sum.Algorithm), sum.Value)
		x.text("ChecksumType", string(sum.Type))
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
	if q.auth.ContentLength == 0 {
		return nil, errInvalidRequest("You must specify at least one part")
	}
	var doc completeDocument
	if err := q.decodeXML(maxCompleteBytes, "CompleteMultipartUpload", &doc); err != nil {
		return nil, err
	}
	if len(doc.Part) == 0 || len(doc.Part) > objstore.MaxPartNumber {
		return nil, errMalformedXML()
	}
	parts := make([]objstore.CompletePart, len(doc.Part))
	for i := range doc.Part {
		p := &doc.Part[i]
		n, err := strconv.Atoi(strings.TrimSpace(p.PartNumber))
		if err != nil || p.ETag == nil {
			return nil, errMalformedXML()
		}
		if n < 1 || n > objstore.MaxPartNumber {
			return nil, errInvalidArgument("PartNumber must be >= 1", "PartNumber", p.PartNumber)
		}
		parts[i] = objstore.CompletePart{Number: n, ETag: objstore.ETag(strings.Trim(strings.TrimSpace(*p.ETag), `"`))}
		values := [...]string{p.ChecksumCRC32, p.ChecksumCRC32C, p.ChecksumCRC64NVME, p.ChecksumMD5, p.ChecksumSHA1,
			p.ChecksumSHA256, p.ChecksumSHA512, p.ChecksumXXHASH128, p.ChecksumXXHASH3, p.ChecksumXXHASH64}
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
	if c := req.Checksum; c != nil {
		switch {
		case upload.Algorithm == "" && c.Type == checksum.Composite:
			// AWS ignores it, whatever it says: there is no such checksum of this
			// upload (recorded).
			req.Checksum = nil
		case upload.Algorithm != "" && upload.Type == checksum.FullObject && q.get("X-Amz-Checksum-Type") == "":
			// Without the type, AWS takes the value for one of the algorithm's
			// default type (recorded).
			if checksum.DefaultType(upload.Algorithm) != checksum.FullObject {
				return errCompleteDigest(upload.Algorithm)
			}
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
func (q *request) completeFailed(req *objstore.CompleteRequest, upload *objstore.UploadInfo, err error) error {
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
			// AWS names the upload's algorithm, not that of the header.
			alg := upload.Algorithm
			if alg == "" {
				alg = req.Checksum.Algorithm
			}
			return errCompleteDigest(alg)
		}
	}
	return q.writeFailed(err)
}

func errCompleteDigest(alg checksum.Algorithm) *apiError {
	return newError(http.StatusBadRequest, "BadDigest", "The "+alg.Lower()+" you specified did not match the calculated checksum.")
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
