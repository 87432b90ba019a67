package s3api

import (
	"errors"
	"net/http"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// versionID is the version that the request names, empty for none.
func (q *request) versionID() (objstore.VersionID, error) {
	v, ok := q.param("versionId")
	if !ok {
		return "", nil
	}
	return q.s.parseVersionID(v)
}

// parseVersionID refuses what was never a version id.
func (s *Server) parseVersionID(v string) (objstore.VersionID, error) {
	if v == "" {
		return "", errInvalidArgument("Version id cannot be the empty string", "versionId", v)
	}
	if err := s.store.CheckVersionID(objstore.VersionID(v)); err != nil {
		return "", errInvalidArgument("Invalid version id specified", "versionId", v)
	}
	return objstore.VersionID(v), nil
}

// setVersion tells an object's version, where the bucket has versions.
func (q *request) setVersion(v objstore.VersionID) {
	if v != "" {
		q.set("x-amz-version-id", string(v))
	}
}

// setNewVersion tells the version that a write made: of the null version, nothing.
func (q *request) setNewVersion(v objstore.VersionID) {
	if v != objstore.NullVersion {
		q.setVersion(v)
	}
}

// setSourceVersion tells the version that was copied: of the null version, nothing.
func (q *request) setSourceVersion(v objstore.VersionID) {
	if v != "" && v != objstore.NullVersion {
		q.set("x-amz-copy-source-version-id", string(v))
	}
}

// setMarker sets the headers that an error has which is due to a delete marker.
func (q *request) setMarker(err error) {
	var e *objstore.Error
	if !errors.As(err, &e) || e.Marker == "" {
		return
	}
	h := q.w.Header()
	h["x-amz-delete-marker"] = []string{"true"}
	h["x-amz-version-id"] = []string{string(e.Marker)}
	if e.Kind == objstore.KindDeleteMarker {
		h["Allow"] = []string{http.MethodDelete}
		h["Last-Modified"] = []string{e.Modified.Std().Format(http.TimeFormat)}
	}
}

// markerFails makes of the absence of an object whose newest version is a delete
// marker what S3 says of the marker, in operations on what belongs to a version.
func (q *request) markerFails(err error) error {
	var e *objstore.Error
	if errors.As(err, &e) && e.Kind == objstore.KindNotFound && e.Marker != "" {
		marker := *e
		marker.Kind = objstore.KindDeleteMarker
		return &marker
	}
	return err
}

// versioningDocument is the body of PutBucketVersioning.
type versioningDocument struct {
	Status    *string
	MFADelete *string   `xml:"MfaDelete"`
	Other     []unknown `xml:",any"`
}

func (q *request) putBucketVersioning() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	var doc versioningDocument
	if err := q.readDocument(maxConfigBytes, "VersioningConfiguration", &doc); err != nil {
		return err
	}
	if doc.MFADelete != nil && *doc.MFADelete != "Disabled" {
		if *doc.MFADelete != "Enabled" {
			return errMalformedXML()
		}
		return errNotBuilt("MFA delete")
	}
	state := objstore.VersioningEnabled
	switch {
	case doc.Status == nil:
		return newError(http.StatusBadRequest, "IllegalVersioningConfigurationException", "The Versioning element must be specified")
	case *doc.Status == "Enabled":
	case *doc.Status == "Suspended":
		state = objstore.VersioningSuspended
	default:
		return errMalformedXML()
	}
	if err := q.s.store.SetBucketVersioning(q.ctx, q.caller, q.bucket, state); err != nil {
		return err
	}
	return q.send(http.StatusOK)
}

func (q *request) getBucketVersioning() error {
	state, err := q.s.store.BucketVersioning(q.ctx, q.caller, q.bucket)
	if err != nil {
		return err
	}
	var x xmlWriter
	x.root("VersioningConfiguration")
	x.textIf("Status", state.String())
	x.end("VersioningConfiguration")
	return q.sendXML(http.StatusOK, &x)
}

// listVersions is ListObjectVersions.
func (q *request) listVersions() error {
	l, err := q.parseListing("max-keys")
	if err != nil {
		return err
	}
	req := objstore.ListVersionsRequest{Bucket: q.bucket, Prefix: l.prefix, Delimiter: l.delimiter, MaxKeys: l.max}
	keyMarker := q.query.Get("key-marker")
	marker, marked := q.param("version-id-marker")
	switch {
	case marker != "" && keyMarker == "":
		return errInvalidArgument("A version-id marker cannot be specified without a key marker.", "version-id-marker", marker)
	case marked && marker == "" && keyMarker != "":
		return errInvalidArgument("A version-id marker cannot be empty.", "version-id-marker", marker)
	case marker != "" && q.s.store.CheckVersionID(objstore.VersionID(marker)) != nil:
		return errInvalidArgument("Invalid version id specified", "version-id-marker", marker)
	}
	req.KeyMarker, req.VersionMarker = keyMarker, objstore.VersionID(marker)
	var res objstore.ListVersionsResult
	if l.max == 0 {
		err = q.bucketExists()
	} else {
		res, err = q.s.store.ListVersions(q.ctx, q.caller, req)
	}
	if err != nil {
		return err
	}
	var x xmlWriter
	x.root("ListVersionsResult")
	x.text("Name", q.bucket)
	l.name(&x, "Prefix", l.prefix)
	l.name(&x, "KeyMarker", keyMarker)
	x.text("VersionIdMarker", marker)
	if res.Truncated {
		l.name(&x, "NextKeyMarker", res.NextKey)
		x.textIf("NextVersionIdMarker", string(res.NextVersion))
	}
	x.int("MaxKeys", int64(l.max))
	l.tail(&x, res.Truncated)
	for i := range res.Entries {
		q.versionEntry(&x, &l, &res.Entries[i])
	}
	for i := range res.Entries {
		if e := &res.Entries[i]; e.Prefix {
			x.open("CommonPrefixes")
			l.name(&x, "Prefix", e.Key)
			x.close("CommonPrefixes")
		}
	}
	x.close("ListVersionsResult")
	return q.sendXML(http.StatusOK, &x)
}

// versionEntry writes a version or a delete marker.
func (q *request) versionEntry(x *xmlWriter, l *listing, e *objstore.VersionEntry) {
	if e.Prefix {
		return
	}
	element := "Version"
	if e.DeleteMarker {
		element = "DeleteMarker"
	}
	x.open(element)
	l.name(x, "Key", e.Key)
	x.text("VersionId", string(e.Version))
	x.bool("IsLatest", e.Latest)
	if e.DeleteMarker {
		x.time("LastModified", e.LastModified)
		x.open("Owner")
		x.text("ID", ownerID)
		x.close("Owner")
	} else {
		q.entry(x, l, &e.ListEntry, true)
	}
	x.close(element)
}

// versionFields are the elements of an error about a version.
func (q *request) versionFields(code string) []sigv4.Field {
	switch code {
	case "NoSuchVersion":
		v, _ := q.param("versionId")
		return []sigv4.Field{field("Key", q.key), field("VersionId", v)}
	case "MethodNotAllowed":
		return []sigv4.Field{field("Method", q.r.Method), field("ResourceType", "DeleteMarker")}
	}
	return nil
}
