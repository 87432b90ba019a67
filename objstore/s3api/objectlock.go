package s3api

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// vouched refuses a body without an MD5 or a checksum of the client's where Object Lock
// will keep it: by headers, or by what the bucket gives to new objects. AWS does, of what
// cannot be taken back. what is Object or Part.
func (q *request) vouched(d digest, lock objstore.Lock, what string) error {
	if d.md5 != nil || d.algorithm != "" {
		return nil
	}
	if lock == (objstore.Lock{}) {
		c, err := q.s.store.LockConfig(q.ctx, q.caller, q.bucket)
		if err != nil || c.Default.Mode == objstore.LockNone {
			return nil // the write says what is wrong with the bucket
		}
	}
	return errInvalidRequest("Content-MD5 OR x-amz-checksum- HTTP header is required for Put " + what + " requests with Object Lock parameters")
}

// lockHeaders reads x-amz-object-lock-*: what is to protect a new object.
func (q *request) lockHeaders() (l objstore.Lock, err error) {
	const (
		modeName  = "x-amz-object-lock-mode"
		untilName = "x-amz-object-lock-retain-until-date"
		holdName  = "x-amz-object-lock-legal-hold"
		both      = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
	)
	mode, hasMode := q.single("X-Amz-Object-Lock-Mode")
	until, hasUntil := q.single("X-Amz-Object-Lock-Retain-Until-Date")
	argument := func(name string) error {
		return newError(http.StatusBadRequest, "InvalidArgument", both, field("ArgumentName", name))
	}
	switch {
	case hasMode && !hasUntil:
		return l, argument(untilName)
	case hasUntil && !hasMode:
		return l, argument(modeName)
	case hasMode:
		var ok bool
		if l.Mode, ok = objstore.ParseLockMode(mode); !ok {
			return l, errInvalidArgument("Unknown wormMode directive.", modeName, mode)
		}
		if l.Until, ok = parseLockTime(until); !ok {
			return l, errInvalidArgument("The retain until date must be provided in ISO 8601 format", untilName, until)
		}
		if l.Until <= objstore.TimeOf(q.s.o.Now()) {
			return l, errInvalidArgument("The retain until date must be in the future!", untilName, until)
		}
	}
	switch hold, has := q.single("X-Amz-Object-Lock-Legal-Hold"); {
	case !has:
	case hold == "ON":
		l.Hold = objstore.HoldOn
	case hold == "OFF":
		l.Hold = objstore.HoldOff
	default:
		return l, errInvalidArgument("Legal Hold must be either of 'ON' or 'OFF'", holdName, hold)
	}
	return l, nil
}

// parseLockTime reads an ISO 8601 date with time and zone, up to the last year that a
// Time holds.
func parseLockTime(s string) (objstore.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(s))
	if err != nil || t.UTC().Year() > 2261 {
		return 0, false
	}
	return objstore.TimeOf(t), true
}

func formatLockTime(t objstore.Time) string {
	return t.Std().Truncate(time.Millisecond).Format("2006-01-02T15:04:05.000Z")
}

// setLock tells what protects an object.
func (q *request) setLock(l objstore.Lock) {
	if l.Mode != objstore.LockNone {
		q.set("x-amz-object-lock-mode", l.Mode.String())
		q.set("x-amz-object-lock-retain-until-date", formatLockTime(l.Until))
	}
	if l.Hold != objstore.HoldUnset {
		q.set("x-amz-object-lock-legal-hold", holdName(l.Hold))
	}
}

func holdName(h objstore.LegalHold) string {
	if h == objstore.HoldOn {
		return "ON"
	}
	return "OFF"
}

// bypass reads x-amz-bypass-governance-retention of a delete, which a bucket without
// Object Lock does not know. That the caller may is asked by authorize, and for each
// key of DeleteObjects by allowDelete.
func (q *request) bypass() (bool, error) {
	if _, ok := q.single("X-Amz-Bypass-Governance-Retention"); !ok {
		return false, nil
	}
	lock, err := q.s.store.LockConfig(q.ctx, q.caller, q.bucket)
	if err != nil {
		return false, err
	}
	if !lock.Enabled {
		return false, newError(http.StatusBadRequest, "InvalidArgument",
			"x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets.",
			field("ArgumentName", "x-amz-bypass-governance-retention"))
	}
	return q.bypasses(), nil
}

// lockDocument is the body of PutObjectLockConfiguration.
type lockDocument struct {
	ObjectLockEnabled *string
	Rule              *struct {
		DefaultRetention *struct {
			Mode  *string
			Days  *string
			Years *string
			Other []unknown `xml:",any"`
		}
		Other []unknown `xml:",any"`
	}
	Other []unknown `xml:",any"`
}

func (q *request) putLockConfig() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	var doc lockDocument
	if err := q.readDocument(maxConfigBytes, "ObjectLockConfiguration", &doc); err != nil {
		return err
	}
	if doc.ObjectLockEnabled == nil || *doc.ObjectLockEnabled != "Enabled" {
		return errMalformedXML()
	}
	var d objstore.DefaultRetention
	if doc.Rule != nil {
		r := doc.Rule.DefaultRetention
		if r == nil || r.Mode == nil || (r.Days == nil) == (r.Years == nil) {
			return errMalformedXML()
		}
		var ok bool
		if d.Mode, ok = objstore.ParseLockMode(*r.Mode); !ok {
			return errMalformedXML()
		}
		var err error
		if r.Days != nil {
			d.Days, err = retentionPeriod(*r.Days, objstore.MaxRetentionDays)
		} else {
			d.Years, err = retentionPeriod(*r.Years, objstore.MaxRetentionYears)
		}
		if err != nil {
			return err
		}
	}
	if err := q.s.store.SetLockDefault(q.ctx, q.caller, q.bucket, d); err != nil {
		return err
	}
	return q.send(http.StatusOK)
}

func retentionPeriod(s string, max int) (int, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, errMalformedXML()
	case err != nil, n > int64(max):
		return 0, newError(http.StatusBadRequest, "InvalidArgument", "Default retention period exceeds maximum retention period")
	case n <= 0:
		return 0, newError(http.StatusBadRequest, "InvalidArgument", "Default retention period must be a positive integer value")
	}
	return int(n), nil
}

func (q *request) getLockConfig() error {
	lock, err := q.s.store.LockConfig(q.ctx, q.caller, q.bucket)
	if err != nil {
		return err
	}
	if !lock.Enabled {
		return newError(http.StatusNotFound, "ObjectLockConfigurationNotFoundError",
			"Object Lock configuration does not exist for this bucket", field("BucketName", q.bucket))
	}
	var x xmlWriter
	x.root("ObjectLockConfiguration")
	x.text("ObjectLockEnabled", "Enabled")
	if d := lock.Default; d.Mode != objstore.LockNone {
		x.open("Rule")
		x.open("DefaultRetention")
		x.text("Mode", d.Mode.String())
		if d.Days != 0 {
			x.int("Days", int64(d.Days))
		} else {
			x.int("Years", int64(d.Years))
		}
		x.close("DefaultRetention")
		x.close("Rule")
	}
	x.close("ObjectLockConfiguration")
	return q.sendXML(http.StatusOK, &x)
}

// lockedObject is the object that a request about a lock names.
func (q *request) lockedObject() (objstore.LockRequest, error) {
	version, err := q.versionID()
	return objstore.LockRequest{Bucket: q.bucket, Key: q.key, Version: version, Check: q.check(false)}, err
}

// objectLock is what protects the object that the request names.
func (q *request) objectLock() (l objstore.Lock, err error) {
	req, err := q.lockedObject()
	if err != nil {
		return l, err
	}
	l, _, err = q.s.store.ObjectLock(q.ctx, q.caller, req)
	return l, q.markerFails(err)
}

func (q *request) getRetention() error {
	l, err := q.objectLock()
	if err != nil {
		return err
	}
	if l.Mode == objstore.LockNone {
		return objstore.E(objstore.KindNoLock, q.op, q.key, "")
	}
	var x xmlWriter
	x.root("Retention")
	x.text("Mode", l.Mode.String())
	x.text("RetainUntilDate", formatLockTime(l.Until))
	x.close("Retention")
	return q.sendXML(http.StatusOK, &x)
}

func (q *request) putRetention() error {
	req, err := q.lockedObject()
	if err != nil {
		return err
	}
	if err := q.hasObjectLock(); err != nil {
		return err
	}
	var doc struct {
		Mode            *string
		RetainUntilDate *string
		Other           []unknown `xml:",any"`
	}
	if err := q.readDocument(maxConfigBytes, "Retention", &doc); err != nil {
		return err
	}
	var to objstore.Retention
	if (doc.Mode == nil) != (doc.RetainUntilDate == nil) {
		return errMalformedXML()
	}
	if doc.Mode != nil {
		var okMode, okUntil bool
		to.Mode, okMode = objstore.ParseLockMode(*doc.Mode)
		to.Until, okUntil = parseLockTime(*doc.RetainUntilDate)
		switch {
		case !okMode || !okUntil:
			return errMalformedXML()
		case to.Until <= objstore.TimeOf(q.s.o.Now()):
			return errInvalidArgument("The retain until date must be in the future!", "RetainUntilDate", javaDate(to.Until))
		}
	}
	if _, err = q.s.store.SetRetention(q.ctx, q.caller, req, to, q.bypasses()); err != nil {
		return q.markerFails(err)
	}
	q.settle()
	return q.send(http.StatusOK)
}

// javaDate is a time as S3 writes it in one of its errors.
func javaDate(t objstore.Time) string {
	at := t.Std()
	if zone, err := time.LoadLocation("America/Los_Angeles"); err == nil {
		at = at.In(zone)
	}
	return at.Format("Mon Jan 02 15:04:05 MST 2006")
}

// hasObjectLock refuses a bucket without Object Lock.
func (q *request) hasObjectLock() error {
	lock, err := q.s.store.LockConfig(q.ctx, q.caller, q.bucket)
	if err == nil && !lock.Enabled {
		err = objstore.E(objstore.KindNoObjectLock, q.op, q.bucket, "")
	}
	return err
}

func (q *request) getLegalHold() error {
	l, err := q.objectLock()
	if err != nil {
		return err
	}
	if l.Hold == objstore.HoldUnset {
		return objstore.E(objstore.KindNoLock, q.op, q.key, "")
	}
	var x xmlWriter
	x.root("LegalHold")
	x.text("Status", holdName(l.Hold))
	x.close("LegalHold")
	return q.sendXML(http.StatusOK, &x)
}

func (q *request) putLegalHold() error {
	req, err := q.lockedObject()
	if err != nil {
		return err
	}
	var doc struct {
		Status string
		Other  []unknown `xml:",any"`
	}
	if err := q.readDocument(maxConfigBytes, "LegalHold", &doc); err != nil {
		return err
	}
	to := objstore.HoldOn
	switch doc.Status {
	case "ON":
	case "OFF":
		to = objstore.HoldOff
	default:
		return errMalformedXML()
	}
	if err := q.hasObjectLock(); err != nil {
		return err
	}
	if _, err := q.s.store.SetLegalHold(q.ctx, q.caller, req, to); err != nil {
		return q.markerFails(err)
	}
	q.settle()
	return q.send(http.StatusOK)
}
