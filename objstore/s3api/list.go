package s3api

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
)

// A continuation token is the base64 (URL alphabet, no padding) of a version
// byte 1, the CRC-32 (IEEE, big endian) of what follows, and the last name that
// was listed. The sum tells a token that was cut or made up from a real one; it
// protects nothing.
const tokenVersion = 1

func formatToken(name string) string {
	b := make([]byte, 5, 5+len(name))
	b[0] = tokenVersion
	b = append(b, name...)
	binary.BigEndian.PutUint32(b[1:], crc32.ChecksumIEEE(b[5:]))
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseToken(s string) (string, error) {
	bad := newError(http.StatusBadRequest, "InvalidArgument", "The continuation token provided is incorrect",
		field("ArgumentName", "continuation-token"))
	if len(s) > base64.RawURLEncoding.EncodedLen(5+objstore.MaxKeyLen+1) {
		return "", bad
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) < 5 || b[0] != tokenVersion || crc32.ChecksumIEEE(b[5:]) != binary.BigEndian.Uint32(b[1:]) {
		return "", bad
	}
	return string(b[5:]), nil
}

// listing is what all listings of keys have in common.
type listing struct {
	prefix, delimiter, after string
	max                      int
	encode                   bool
	restored                 bool // until when objects are restored is asked for, too
}

func (q *request) parseListing(maxName string) (l listing, err error) {
	l.prefix = q.query.Get("prefix")
	l.delimiter = q.query.Get("delimiter")
	if l.max, err = q.intParam(maxName, objstore.MaxListKeys, objstore.MaxListKeys); err != nil {
		return l, err
	}
	if l.encode, err = q.encodingURL(); err != nil {
		return l, err
	}
	for _, line := range q.header["X-Amz-Optional-Object-Attributes"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "RestoreStatus" {
				return l, errInvalidArgument("Invalid attribute name specified.", "x-amz-optional-object-attributes", name)
			}
			l.restored = true
		}
	}
	return l, nil
}

// name writes a key, prefix or marker in the encoding that was asked for.
func (l *listing) name(x *xmlWriter, element, value string) {
	if l.encode {
		value = encodeURL(value)
	}
	x.text(element, value)
}

// outside is marker, or the common prefix that it lies in: S3 takes a marker
// inside of a common prefix for all of it.
func (l *listing) outside(marker string) string {
	rest, ok := strings.CutPrefix(marker, l.prefix)
	if !ok || l.delimiter == "" {
		return marker
	}
	if i := strings.Index(rest, l.delimiter); i >= 0 {
		return marker[:len(l.prefix)+i+len(l.delimiter)]
	}
	return marker
}

// page asks for the page behind l.after. An empty page is never truncated.
func (q *request) page(l listing) (objstore.ListResult, error) {
	if l.max == 0 {
		return objstore.ListResult{}, q.bucketExists()
	}
	return q.s.store.ListObjects(q.ctx, q.caller, objstore.ListRequest{
		Bucket: q.bucket, Prefix: l.prefix, Delimiter: l.delimiter, After: l.after, MaxKeys: l.max,
	})
}

func (q *request) listObjectsV1() error {
	l, err := q.parseListing("max-keys")
	if err != nil {
		return err
	}
	if q.query.Get("start-after") != "" {
		return newError(http.StatusBadRequest, "InvalidArgument", "startAfter only supported in REST.GET.BUCKET with list-type=2", field("ArgumentName", "start-after"))
	}
	marker := q.query.Get("marker")
	l.after = l.outside(marker)
	res, err := q.page(l)
	if err != nil {
		return err
	}
	var x xmlWriter
	x.root("ListBucketResult")
	x.text("Name", q.bucket)
	l.name(&x, "Prefix", l.prefix)
	l.name(&x, "Marker", marker)
	if res.Truncated && l.delimiter != "" {
		l.name(&x, "NextMarker", res.Next)
	}
	x.int("MaxKeys", int64(l.max))
	l.tail(&x, res.Truncated)
	// Whoever does not say who they are, is not told whose the objects are (recorded).
	q.contents(&x, &l, &res, !q.auth.Anonymous)
	x.close("ListBucketResult")
	q.w.Header()["x-amz-bucket-region"] = []string{q.s.o.Region}
	return q.sendXML(http.StatusOK, &x)
}

func (q *request) listObjectsV2() error {
	if v := q.query.Get("list-type"); v != "2" {
		return errInvalidArgument("Invalid List Type specified in Request", "list-type", v)
	}
	l, err := q.parseListing("max-keys")
	if err != nil {
		return err
	}
	startAfter := q.query.Get("start-after")
	token, continued := q.param("continuation-token")
	if continued {
		if l.after, err = parseToken(token); err != nil {
			return err
		}
	} else {
		l.after = l.outside(startAfter)
	}
	res, err := q.page(l)
	if err != nil {
		return err
	}
	var x xmlWriter
	x.root("ListBucketResult")
	x.text("Name", q.bucket)
	l.name(&x, "Prefix", l.prefix)
	if continued {
		x.text("ContinuationToken", token)
	} else if startAfter != "" {
		l.name(&x, "StartAfter", startAfter)
	}
	if res.Truncated {
		x.text("NextContinuationToken", formatToken(res.Next))
	}
	x.int("KeyCount", int64(len(res.Entries)))
	x.int("MaxKeys", int64(l.max))
	l.tail(&x, res.Truncated)
	q.contents(&x, &l, &res, q.query.Get("fetch-owner") == "true")
	x.close("ListBucketResult")
	q.w.Header()["x-amz-bucket-region"] = []string{q.s.o.Region}
	return q.sendXML(http.StatusOK, &x)
}

// tail writes what stands before the keys.
func (l *listing) tail(x *xmlWriter, truncated bool) {
	if l.delimiter != "" {
		l.name(x, "Delimiter", l.delimiter)
	}
	if l.encode {
		x.text("EncodingType", "url")
	}
	x.bool("IsTruncated", truncated)
}

func (q *request) contents(x *xmlWriter, l *listing, res *objstore.ListResult, owner bool) {
	for i := range res.Entries {
		if e := &res.Entries[i]; !e.Prefix {
			x.open("Contents")
			l.name(x, "Key", e.Key)
			q.entry(x, l, e, owner)
			x.close("Contents")
		}
	}
	l.prefixes(x, res)
}

func (l *listing) prefixes(x *xmlWriter, res *objstore.ListResult) {
	for i := range res.Entries {
		if e := &res.Entries[i]; e.Prefix {
			x.open("CommonPrefixes")
			l.name(x, "Prefix", e.Key)
			x.close("CommonPrefixes")
		}
	}
}

// entry writes what a listing says of an object behind its key.
func (q *request) entry(x *xmlWriter, l *listing, e *objstore.ListEntry, owner bool) {
	x.time("LastModified", e.LastModified)
	x.etag(e.ETag)
	if e.ChecksumAlgo.Header() != "" {
		x.text("ChecksumAlgorithm", string(e.ChecksumAlgo))
		if e.ChecksumType == "" {
			e.ChecksumType = checksum.FullObject
		}
		x.text("ChecksumType", string(e.ChecksumType))
	}
	x.int("Size", e.Size)
	if owner {
		q.owner(x)
	}
	x.text("StorageClass", classOf(e.StorageClass))
	if l.restored && e.Restored != 0 {
		x.open("RestoreStatus")
		x.bool("IsRestoreInProgress", false)
		x.time("RestoreExpiryDate", e.Restored)
		x.close("RestoreStatus")
	}
}

func (q *request) owner(x *xmlWriter) {
	x.open("Owner")
	x.text("ID", ownerID)
	x.close("Owner")
}
