// Package lifecycle evaluates the lifecycle rules of a bucket: what of it is to
// go, and when. It is pure: it knows no store and no clock. Whoever sets rules has
// validated them (package s3api); whoever carries them out is the engine.
//
// Days begin at midnight UTC. What is to go so many days after something goes at
// the midnight that follows, or at the very moment if that is a midnight (AWS:
// "Lifecycle configuration elements").
//
// Transitions to other storage classes are no part of this: all classes are one.
package lifecycle

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// Rule is one enabled rule. Fields that are zero ask for nothing.
type Rule struct {
	ID     string
	Prefix string
	Tags   []objstore.Tag // an object has them all
	Larger int64          // an object is larger, in bytes; -1: whatever its size
	// Smaller: an object is smaller, in bytes; -1: whatever its size.
	Smaller int64

	Days int           // current versions, after so many days
	Date objstore.Time // current versions, from then on
	// Markers are removed when nothing but them is left of a key.
	Markers bool

	Noncurrent bool // noncurrent versions go:
	After      int  // so many days after they became noncurrent,
	Keep       int  // but for so many, the newest.

	Abort int // uploads, so many days after they began
}

// document is what of a configuration is carried out, as it is kept.
type document struct {
	XMLName xml.Name `xml:"LifecycleConfiguration"`
	Rule    []struct {
		ID     string
		Status string
		Prefix string
		Filter struct {
			predicates
			And predicates
		}
		Expiration struct {
			Days                      int
			Date                      string
			ExpiredObjectDeleteMarker bool
		}
		NoncurrentVersionExpiration *struct {
			NoncurrentDays          int
			NewerNoncurrentVersions int
		}
		AbortIncompleteMultipartUpload struct{ DaysAfterInitiation int }
	}
}

type predicates struct {
	Prefix                string
	Tag                   []objstore.Tag
	ObjectSizeGreaterThan *int64
	ObjectSizeLessThan    *int64
}

// Parse returns the enabled rules of a configuration document in their order.
func Parse(doc []byte) ([]Rule, error) {
	var d document
	if err := xml.NewDecoder(bytes.NewReader(doc)).Decode(&d); err != nil {
		return nil, fmt.Errorf("lifecycle configuration: %w", err)
	}
	rules := make([]Rule, 0, len(d.Rule))
	for i := range d.Rule {
		r := &d.Rule[i]
		if strings.TrimSpace(r.Status) != "Enabled" {
			continue
		}
		rule := Rule{
			ID: r.ID, Prefix: r.Prefix, Larger: -1, Smaller: -1,
			Days: r.Expiration.Days, Markers: r.Expiration.ExpiredObjectDeleteMarker,
			Abort: r.AbortIncompleteMultipartUpload.DaysAfterInitiation,
		}
		for _, p := range []*predicates{&r.Filter.predicates, &r.Filter.And} {
			rule.narrow(p)
		}
		if date := strings.TrimSpace(r.Expiration.Date); date != "" {
			at, err := ParseDate(date)
			if err != nil {
				return nil, fmt.Errorf("lifecycle configuration: %w", err)
			}
			rule.Date = at
		}
		if n := r.NoncurrentVersionExpiration; n != nil {
			rule.Noncurrent, rule.After, rule.Keep = true, n.NoncurrentDays, n.NewerNoncurrentVersions
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// narrow adds predicates to a rule.
func (r *Rule) narrow(p *predicates) {
	if p.Prefix != "" {
		r.Prefix = p.Prefix
	}
	r.Tags = append(r.Tags, p.Tag...)
	if p.ObjectSizeGreaterThan != nil {
		r.Larger = *p.ObjectSizeGreaterThan
	}
	if p.ObjectSizeLessThan != nil {
		r.Smaller = *p.ObjectSizeLessThan
	}
}

// ParseDate reads a date as XML has it: a date, or a date and time (xs:dateTime);
// without a zone it is UTC. What lies outside the years 1970 to 2261 becomes the
// first or last midnight within: no object is older, and none stays for longer.
func ParseDate(s string) (objstore.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02Z07:00", time.DateOnly} {
		t, err := time.Parse(layout, s)
		switch {
		case err != nil:
			continue
		case t.Year() > 2261:
			return never, nil
		case t.Unix() <= 0:
			return day, nil
		}
		return objstore.TimeOf(t), nil
	}
	return 0, fmt.Errorf("%q is no date", s)
}

const (
	day   = objstore.Time(24 * time.Hour)
	never = objstore.Time(math.MaxInt64) / day * day
)

// Midnight returns the last midnight UTC that was not after t.
func Midnight(t objstore.Time) objstore.Time {
	m := t - t%day
	if m > t {
		m -= day // before 1970
	}
	return m
}

// due returns the midnight at which something goes that was made at t and stays
// for so many days.
func due(t objstore.Time, days int) objstore.Time {
	if objstore.Time(days) >= (never-t)/day {
		return never
	}
	at := t + objstore.Time(days)*day
	if m := Midnight(at); m != at {
		return m + day
	}
	return at
}

// Object is what a rule looks at.
type Object struct {
	Key  string
	Size int64
	// Since when its age counts.
	Since objstore.Time
	Tags  []objstore.Tag
}

// matches reports whether the rule is about the object.
func (r *Rule) matches(o *Object) bool {
	if !strings.HasPrefix(o.Key, r.Prefix) || r.Larger >= 0 && o.Size <= r.Larger || r.Smaller >= 0 && o.Size >= r.Smaller {
		return false
	}
	for _, t := range r.Tags {
		if !slices.Contains(o.Tags, t) {
			return false
		}
	}
	return true
}

// expires returns when the rule lets a current version go; ok is false when it
// does not.
func (r *Rule) expires(o *Object) (at objstore.Time, ok bool) {
	switch {
	case r.Days == 0 && r.Date == 0 || !r.matches(o):
		return 0, false
	case r.Days > 0:
		return due(o.Since, r.Days), true
	}
	return r.Date, true
}

// Expiration returns the rule that lets a current version go first, and when;
// nil when none does. Of several the first one counts.
func Expiration(rules []Rule, o *Object) (rule *Rule, at objstore.Time) {
	for i := range rules {
		if t, ok := rules[i].expires(o); ok && (rule == nil || t < at) {
			rule, at = &rules[i], t
		}
	}
	return rule, at
}

// MarkerGoes reports whether any rule removes a delete marker that is all that is
// left of a key, at now. The object has key and time of the marker.
func MarkerGoes(rules []Rule, o *Object, now objstore.Time) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool { return r.markerGoes(o, now) })
}

// markerGoes reports whether the rule removes a delete marker that is all that is
// left of a key. A rule for current versions does so when it is old enough.
func (r *Rule) markerGoes(o *Object, now objstore.Time) bool {
	if r.Larger >= 0 || r.Smaller >= 0 || !r.matches(o) {
		return false // a delete marker has no size
	}
	at, ok := r.expires(o)
	return r.Markers || ok && at <= now
}

// NoncurrentGoes reports whether any rule removes a noncurrent version at now.
// since is when it became noncurrent, newer how many noncurrent versions of its
// key are newer.
func NoncurrentGoes(rules []Rule, o *Object, since objstore.Time, newer int, now objstore.Time) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool { return r.noncurrentGoes(o, since, newer, now) })
}

func (r *Rule) noncurrentGoes(o *Object, since objstore.Time, newer int, now objstore.Time) bool {
	return r.Noncurrent && newer >= r.Keep && due(since, r.After) <= now && r.matches(o)
}

// aborts returns when the rule ends an upload of a key, that began at began. Tags
// and sizes are those of objects: a rule with them ends none.
func (r *Rule) aborts(key string, began objstore.Time) (at objstore.Time, ok bool) {
	if r.Abort == 0 || len(r.Tags) > 0 || r.Larger >= 0 || r.Smaller >= 0 || !strings.HasPrefix(key, r.Prefix) {
		return 0, false
	}
	return due(began, r.Abort), true
}

// Abortion returns the rule that ends an upload of a key first, and when; nil when
// none does.
func Abortion(rules []Rule, key string, began objstore.Time) (rule *Rule, at objstore.Time) {
	for i := range rules {
		if t, ok := rules[i].aborts(key, began); ok && (rule == nil || t < at) {
			rule, at = &rules[i], t
		}
	}
	return rule, at
}

// NeedTags reports whether any rule looks at tags.
func NeedTags(rules []Rule) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool { return len(r.Tags) > 0 })
}

// Prefixes returns the prefixes that hold all keys that the rules of which want
// is true are about: ascending, none within another.
func Prefixes(rules []Rule, want func(*Rule) bool) []string {
	var all []string
	for i := range rules {
		if want(&rules[i]) {
			all = append(all, rules[i].Prefix)
		}
	}
	slices.Sort(all)
	var list []string
	for _, p := range all {
		if len(list) == 0 || !strings.HasPrefix(p, list[len(list)-1]) {
			list = append(list, p)
		}
	}
	return list
}
