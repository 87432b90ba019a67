package s3api

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/lifecycle"
)

const (
	// maxLifecycleBytes bounds a configuration: S3 allows 1,000 rules.
	maxLifecycleBytes = 192 << 10
	maxLifecycleRules = 1000

	// minimumSize is the element, and of the header, by which a configuration says
	// which objects are too small for a transition. It is kept and told; there is no
	// transition that it could prevent.
	minimumSize        = "TransitionDefaultMinimumObjectSize"
	minimumSizeHeader  = "x-amz-transition-default-minimum-object-size"
	minimumSizeDefault = "all_storage_classes_128K"
)

// transitionClasses are what objects can be moved to.
var transitionClasses = []string{"STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR"}

var lifecycleShape = within("LifecycleConfiguration", 1, 1, within("Rule", 1, many,
	optional("ID", anyText),
	optional("Prefix", anyText),
	one("Status", oneOf("Enabled", "Disabled")),
	within("Filter", 0, 1, append(predicateShapes(1), within("And", 0, 1, predicateShapes(many)...))...),
	within("Expiration", 0, 1, optional("Days", number), optional("Date", someText), optional("ExpiredObjectDeleteMarker", oneOf("true", "false"))),
	within("Transition", 0, many, optional("Days", number), optional("Date", someText), one("StorageClass", oneOf(transitionClasses...))),
	within("NoncurrentVersionExpiration", 0, 1, optional("NoncurrentDays", number), optional("NewerNoncurrentVersions", number)),
	within("NoncurrentVersionTransition", 0, many,
		optional("NoncurrentDays", number), optional("NewerNoncurrentVersions", number), one("StorageClass", oneOf(transitionClasses...))),
	within("AbortIncompleteMultipartUpload", 0, 1, one("DaysAfterInitiation", number))))

func predicateShapes(tags int) []shape {
	return []shape{optional("Prefix", anyText), tagShape(tags), optional("ObjectSizeGreaterThan", size), optional("ObjectSizeLessThan", size)}
}

func size(s string) bool {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	return err == nil && n >= 0
}

func (q *request) putLifecycle() error {
	if err := q.bucketExists(); err != nil {
		return err
	}
	minimum := q.get("X-Amz-Transition-Default-Minimum-Object-Size")
	switch minimum {
	case "":
		minimum = minimumSizeDefault
	case minimumSizeDefault, "varies_by_storage_class":
	default:
		return errInvalidRequest("Invalid TransitionDefaultMinimumObjectSize found: " + minimum)
	}
	n, err := q.readShape(&lifecycleShape, maxLifecycleBytes)
	if err != nil {
		return err
	}
	if err := checkLifecycle(n); err != nil {
		return err
	}
	if minimum != minimumSizeDefault {
		n.kids = append(n.kids, &node{name: minimumSize, text: minimum})
	}
	if err := q.setConfig(objstore.ConfigLifecycle, n.document()); err != nil {
		return err
	}
	q.set(minimumSizeHeader, minimum)
	return q.send(http.StatusOK)
}

func (q *request) getLifecycle() error {
	doc, err := q.config(objstore.ConfigLifecycle, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
	if err != nil {
		return err
	}
	minimum := minimumSizeDefault
	const from, to = "<" + minimumSize + ">", "</" + minimumSize + ">"
	if before, rest, ok := strings.Cut(string(doc), from); ok {
		value, after, _ := strings.Cut(rest, to)
		minimum, doc = value, []byte(before+after)
	}
	q.set(minimumSizeHeader, minimum)
	return q.sendXML(http.StatusOK, &xmlWriter{doc})
}

// checkLifecycle refuses what AWS refuses, and gives rules without one an id.
func checkLifecycle(n *node) error {
	rules := n.all("Rule")
	if len(rules) > maxLifecycleRules {
		return errMalformedXML()
	}
	seen := make(map[string]bool, len(rules))
	for _, r := range rules {
		if err := checkRule(r); err != nil {
			return err
		}
		id := r.find("ID")
		if id == nil || id.text == "" {
			var random [18]byte
			rand.Read(random[:])
			r.kids = slices.DeleteFunc(r.kids, func(k *node) bool { return k == id })
			id = &node{name: "ID", text: hex.EncodeToString(random[:])}
			r.kids = append([]*node{id}, r.kids...)
		}
		if len(id.text) > maxRuleID {
			return errInvalidArgument("ID length should not exceed allowed limit of 255", "ID", id.text)
		}
		if seen[id.text] {
			return errInvalidArgument("Rule ID must be unique. Found same ID for more than one rule", "ID", id.text)
		}
		seen[id.text] = true
	}
	return nil
}

func checkRule(r *node) error {
	filter, prefix := r.find("Filter"), r.find("Prefix")
	if (filter == nil) == (prefix == nil) || filter != nil && len(filter.kids) > 1 {
		return errMalformedXML()
	}
	and := filter.find("And")
	if and != nil && len(and.kids) < 2 {
		return errMalformedXML()
	}
	predicates := filter
	if and != nil {
		predicates = and
	}
	tags := predicates.all("Tag")
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		if key := t.value("Key"); seen[key] {
			return errInvalidRequest("Duplicate Tag Keys are not allowed.")
		} else if !objstore.ValidTagKey(key) || !objstore.ValidTagValue(t.value("Value")) {
			return errInvalidRequest("The TagKey or TagValue you have provided is invalid")
		} else {
			seen[key] = true
		}
	}
	larger, smaller := predicates.find("ObjectSizeGreaterThan"), predicates.find("ObjectSizeLessThan")
	if larger != nil && smaller != nil && sizeOf(larger) >= sizeOf(smaller) {
		return errInvalidRequest("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.")
	}
	if err := checkActions(r); err != nil {
		return err
	}
	if r.value("Expiration", "ExpiredObjectDeleteMarker") == "true" && len(tags) > 0 {
		return errInvalidRequest("ExpiredObjectDeleteMarker cannot be specified with Tags.")
	}
	if r.find("AbortIncompleteMultipartUpload") != nil {
		switch {
		case len(tags) > 0:
			return errInvalidRequest("AbortIncompleteMultipartUpload cannot be specified with Tags.")
		case larger != nil || smaller != nil:
			return errInvalidRequest("AbortIncompleteMultipartUpload cannot be specified with Object Size.")
		}
	}
	return nil
}

func sizeOf(n *node) int64 {
	v, _ := strconv.ParseInt(strings.TrimSpace(n.text), 10, 64)
	return v
}

// checkActions checks what a rule does.
func checkActions(r *node) error {
	expiration, noncurrent := r.find("Expiration"), r.find("NoncurrentVersionExpiration")
	actions := 0
	for _, name := range []string{"Expiration", "Transition", "NoncurrentVersionExpiration", "NoncurrentVersionTransition", "AbortIncompleteMultipartUpload"} {
		actions += len(r.all(name))
	}
	switch {
	case actions == 0:
		return errInvalidRequest("At least one action needs to be specified in a rule.")
	case expiration != nil && len(expiration.kids) != 1, noncurrent != nil && len(noncurrent.kids) == 0:
		return errMalformedXML()
	}
	if err := positive(expiration.find("Days"), "'Days' for Expiration action must be a positive integer"); err != nil {
		return err
	}
	if err := positive(noncurrent.find("NoncurrentDays"), "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer"); err != nil {
		return err
	}
	if err := positive(r.find("AbortIncompleteMultipartUpload", "DaysAfterInitiation"), "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer"); err != nil {
		return err
	}
	for _, n := range append(r.all("NoncurrentVersionTransition"), noncurrent) {
		if newer := n.find("NewerNoncurrentVersions"); newer != nil && (sizeOf(newer) < 1 || sizeOf(newer) > 100) {
			return errInvalidArgument("'NewerNoncurrentVersions' must be a positive integer not greater than 100", "NewerNoncurrentVersions", newer.text)
		}
	}
	if err := checkDate(expiration); err != nil {
		return err
	}
	for _, t := range r.all("Transition") {
		if len(t.kids) != 2 {
			return errMalformedXML() // a class, and days or a date
		}
		if err := checkDate(t); err != nil {
			return err
		}
		if err := checkTransition(t, "Days", expiration.find("Days")); err != nil {
			return err
		}
	}
	for _, t := range r.all("NoncurrentVersionTransition") {
		if t.find("NoncurrentDays") == nil {
			return errMalformedXML()
		}
		if err := checkTransition(t, "NoncurrentDays", noncurrent.find("NoncurrentDays")); err != nil {
			return err
		}
	}
	return nil
}

func positive(n *node, message string) error {
	if n != nil && sizeOf(n) < 1 {
		return errInvalidArgument(message, n.name, n.text)
	}
	return nil
}

func checkDate(n *node) error {
	d := n.find("Date")
	if d == nil {
		return nil
	}
	at, err := lifecycle.ParseDate(strings.TrimSpace(d.text))
	if err != nil {
		return errMalformedXML()
	}
	if lifecycle.Midnight(at) != at {
		return errInvalidArgument("'Date' must be at midnight GMT", d.name, strings.TrimSpace(d.text))
	}
	return nil
}

// checkTransition checks the days of a transition, against those after which the
// same rule lets objects go, too.
func checkTransition(t *node, name string, expiration *node) error {
	days, class := t.find(name), strings.TrimSpace(t.value("StorageClass"))
	switch {
	case days == nil:
		return nil
	case sizeOf(days) < 0:
		return errInvalidArgument("'"+name+"' in Transition action must be nonnegative", name, days.text)
	case (class == "STANDARD_IA" || class == "ONEZONE_IA") && sizeOf(days) < 30:
		return errInvalidArgument("'"+name+"' in "+t.name+" action must be greater than or equal to 30 for storageClass '"+class+"'", name, days.text)
	case expiration != nil && sizeOf(expiration) <= sizeOf(days):
		return errInvalidArgument("'"+name+"' in the Expiration action must be greater than '"+name+"' in the Transition action", name, expiration.text)
	}
	return nil
}

// lifecycleRules returns the bucket's enabled rules.
func (q *request) lifecycleRules() ([]lifecycle.Rule, error) {
	doc, err := q.s.store.BucketConfig(q.ctx, q.caller, q.bucket, objstore.ConfigLifecycle)
	if err != nil {
		return nil, err
	}
	return q.s.lifecycle.get(q.bucket, doc, lifecycle.Parse)
}

// setAbort tells when an upload ends that nobody completes, and by which rule.
func (q *request) setAbort(info *objstore.UploadInfo) {
	rules, err := q.lifecycleRules()
	if err != nil {
		return
	}
	if rule, at := lifecycle.Abortion(rules, info.Key, info.Initiated); rule != nil {
		q.set("x-amz-abort-date", at.Std().Format(http.TimeFormat))
		q.set("x-amz-abort-rule-id", url.QueryEscape(rule.ID))
	}
}

// setExpiration tells when the object goes, and by which rule. What goes wrong
// here is not worth an error: the object was read or written.
func (q *request) setExpiration(info *objstore.ObjectInfo) {
	rules, err := q.lifecycleRules()
	if err != nil || len(rules) == 0 {
		return
	}
	var tags []objstore.Tag
	if info.Tags > 0 && lifecycle.NeedTags(rules) {
		if tags, _, err = q.s.store.ObjectTags(q.ctx, q.caller, objstore.TagsRequest{Bucket: info.Bucket, Key: info.Key}); err != nil {
			return
		}
	}
	rule, at := lifecycle.Expiration(rules, &lifecycle.Object{Key: info.Key, Size: info.Size, Since: info.Since, Tags: tags})
	if rule != nil {
		q.set("x-amz-expiration", `expiry-date="`+at.Std().Format(http.TimeFormat)+`", rule-id="`+url.QueryEscape(rule.ID)+`"`)
	}
}
