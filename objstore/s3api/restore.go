package s3api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// Objects of the storage classes GLACIER and DEEP_ARCHIVE are served as AWS serves
// them: once they were restored, for as many days as was asked for. Here restoring
// takes no time, so that a restore is never under way.

// errArchived refuses to read what has to be restored first.
func errArchived(m *objstore.ObjectMeta) *apiError {
	a := answers[objstore.KindObjectState]
	return newError(a.status, a.code, a.message, field("StorageClass", m.StorageClass))
}

var restoreShape = within("RestoreRequest", 1, 1,
	optional("Days", number),
	within("GlacierJobParameters", 0, 1, one("Tier", tier)),
	optional("Tier", tier), optional("Description", anyText))

var tier = oneOf("Standard", "Bulk", "Expedited")

// restoreObject answers RestoreObject. What the document says is looked at behind the
// object's class, as AWS does: of an object of another class a request without a
// document is told that.
func (q *request) restoreObject() error {
	version, err := q.versionID()
	if err != nil {
		return err
	}
	check := q.check(false)
	info, err := q.s.store.HeadObject(q.ctx, q.caller, objstore.GetRequest{Bucket: q.bucket, Key: q.key, Version: version, NoKey: true, Check: check})
	if err != nil {
		return q.markerFails(err)
	}
	if info.Meta.Archive() {
		req := objstore.RestoreRequest{Bucket: q.bucket, Key: q.key, Version: version, Check: check}
		if req.Until, err = q.restoreUntil(info.Meta.StorageClass); err != nil {
			return err
		}
		again, err := q.s.store.Restore(q.ctx, q.caller, req)
		switch {
		case err != nil:
			return q.markerFails(err)
		case again:
			return q.send(http.StatusOK)
		}
		return q.send(http.StatusAccepted)
	}
	return newError(http.StatusForbidden, "InvalidObjectState", "Restore is not allowed for the object's current storage class",
		field("StorageClass", classOf(info.Meta.StorageClass)))
}

// restoreUntil reads the document of RestoreObject: the midnight, in UTC, behind as
// many days ("Restoring an archived object", S3 user guide).
func (q *request) restoreUntil(class string) (objstore.Time, error) {
	doc := new(node)
	if err := q.readDocument(maxConfigBytes, restoreShape.name, doc); err != nil {
		return 0, err
	}
	for _, name := range [...]string{"Type", "SelectParameters", "OutputLocation"} {
		if doc.find(name) != nil {
			return 0, q.errMethod("OBJECT") // S3 Select, see refuseSelect
		}
	}
	if !restoreShape.fits(doc) || doc.find("Days") == nil {
		return 0, errMalformedXML()
	}
	text := strings.TrimSpace(doc.value("Days"))
	days, err := strconv.Atoi(text)
	if err != nil || days < 1 || days > maxRestoreDays {
		return 0, errInvalidArgument("Days must be an integer between 1 and "+strconv.Itoa(maxRestoreDays), "Days", text)
	}
	if class == "DEEP_ARCHIVE" && (doc.value("Tier") == "Expedited" || doc.value("GlacierJobParameters", "Tier") == "Expedited") {
		return 0, newError(http.StatusBadRequest, "InvalidArgument", "Retrieval option is not supported by this storage class")
	}
	now := q.s.o.Now().UTC()
	until := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC).AddDate(0, 0, days+1)
	return objstore.TimeOf(until), nil
}

// restoreHeader is x-amz-restore of an object that was restored.
func restoreHeader(until objstore.Time) string {
	return `ongoing-request="false", expiry-date="` + until.Std().Format(http.TimeFormat) + `"`
}

// refuseSelect answers SelectObjectContent as AWS answers whoever did not use it before
// it was closed to new customers, in July 2024.
func (q *request) refuseSelect() error { return q.errMethod("OBJECT") }
