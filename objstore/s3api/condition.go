package s3api

import (
	"net/http"
	"strings"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

func quoteETag(e objstore.ETag) string { return `"` + string(e) + `"` }

// parseETags reads the value of If-Match and its like: a list of entity tags,
// quoted or, as S3's clients send them, not. A weak tag keeps its mark when
// strong comparison is asked for, and so matches nothing (RFC 9110, 8.8.3.2).
func parseETags(s string, strong bool) []string {
	var list []string
	for s = strings.Trim(s, " \t"); s != ""; s = strings.TrimLeft(s, " \t,") {
		mark := ""
		if rest, weak := strings.CutPrefix(s, "W/"); weak && strings.HasPrefix(rest, `"`) {
			s = rest
			if strong {
				mark = "W/"
			}
		}
		var tag string
		if rest, quoted := strings.CutPrefix(s, `"`); quoted {
			tag, s, _ = strings.Cut(rest, `"`)
		} else {
			tag, s, _ = strings.Cut(s, ",")
			tag = strings.Trim(tag, " \t")
		}
		if tag != "" || mark != "" {
			list = append(list, mark+tag)
		}
	}
	return list
}

// requiredETags are those of a write: an empty one constrains, and matches nothing.
func requiredETags(s string) []string {
	if tags := parseETags(s, true); len(tags) > 0 {
		return tags
	}
	return []string{""}
}

// parseHTTPTime reads a date of a conditional header; one that is no date does
// not constrain (RFC 9110, 13.1.3).
func parseHTTPTime(s string) objstore.Time {
	if s == "" {
		return 0
	}
	t, err := http.ParseTime(s)
	if err != nil {
		if t, err = time.Parse(time.RFC3339, s); err != nil {
			return 0
		}
	}
	if at := objstore.TimeOf(t); at != 0 {
		return at
	}
	return 1 // 1970 is a date, and 0 is none
}

// Names of the conditional headers of a read and of a copy's source, as S3
// writes them in the Condition element.
type conditionNames struct {
	ifMatch, ifNoneMatch, ifModifiedSince, ifUnmodifiedSince string
}

var (
	readConditions = conditionNames{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"}
	copyConditions = conditionNames{"x-amz-copy-source-If-Match", "x-amz-copy-source-If-None-Match",
		"x-amz-copy-source-If-Modified-Since", "x-amz-copy-source-If-Unmodified-Since"}
)

// conditions reads the four conditional headers.
func (q *request) conditions(n conditionNames) objstore.Precondition {
	p := objstore.Precondition{
		IfMatch:           parseETags(q.get(http.CanonicalHeaderKey(n.ifMatch)), true),
		IfNoneMatch:       parseETags(q.get(http.CanonicalHeaderKey(n.ifNoneMatch)), false),
		IfModifiedSince:   parseHTTPTime(q.get(http.CanonicalHeaderKey(n.ifModifiedSince))),
		IfUnmodifiedSince: parseHTTPTime(q.get(http.CanonicalHeaderKey(n.ifUnmodifiedSince))),
	}
	if p.IfModifiedSince > objstore.TimeOf(q.s.o.Now()) {
		p.IfModifiedSince = 0 // RFC 9110, 13.1.3: a date in the future is invalid
	}
	return p
}

// failing names the header that makes p fail against an object as it is, in the
// order of RFC 9110, 13.2.2, or is empty. It only words an answer: the store has
// decided.
func failing(n conditionNames, p objstore.Precondition, info *objstore.ObjectInfo) string {
	has := func(list []string) bool {
		for _, t := range list {
			if t == "*" || t == string(info.ETag) {
				return true
			}
		}
		return false
	}
	modified := info.LastModified.Std().Truncate(time.Second)
	switch {
	case len(p.IfMatch) > 0 && !has(p.IfMatch):
		return n.ifMatch
	case len(p.IfMatch) == 0 && p.IfUnmodifiedSince != 0 && modified.After(p.IfUnmodifiedSince.Std()):
		return n.ifUnmodifiedSince
	case len(p.IfNoneMatch) > 0 && has(p.IfNoneMatch):
		return n.ifNoneMatch
	case len(p.IfNoneMatch) == 0 && p.IfModifiedSince != 0 && !modified.After(p.IfModifiedSince.Std()):
		return n.ifModifiedSince
	}
	return ""
}

// failedCondition is failing, or the first condition there is when the object
// changed after the store decided.
func failedCondition(n conditionNames, p objstore.Precondition, info *objstore.ObjectInfo) string {
	if name := failing(n, p, info); name != "" {
		return name
	}
	switch {
	case len(p.IfMatch) > 0:
		return n.ifMatch
	case len(p.IfNoneMatch) > 0:
		return n.ifNoneMatch
	case p.IfUnmodifiedSince != 0:
		return n.ifUnmodifiedSince
	}
	return n.ifModifiedSince
}

// writePrecondition reads the conditions of a write: an ETag in If-Match, or
// "*" in If-None-Match. star allows "*" in If-Match too (deletes, which are held to
// their tags otherwise).
func (q *request) writePrecondition(star bool) (objstore.Precondition, error) {
	match, hasMatch := q.single("If-Match")
	none, hasNone := q.single("If-None-Match")
	refuse := func(header, why string) (objstore.Precondition, error) {
		e := errHeader(header)
		e.Fields = append(e.Fields, field("additionalMessage", why))
		return objstore.Precondition{}, e
	}
	pre := objstore.Precondition{OnlyNew: q.onlyNew}
	if !star {
		pre.Tags = q.held(q.bucket, q.key, "", false).Tags
	}
	switch {
	case hasMatch && hasNone:
		return refuse("If-Match,If-None-Match", "Multiple conditional request headers present in the request")
	case hasNone && strings.Trim(none, " \t") != "*":
		return refuse("If-None-Match", "We don't accept the provided value of If-None-Match header for this API")
	case hasMatch && !star && strings.Trim(match, " \t") == "*":
		return refuse("If-Match", "We don't accept the provided value of If-Match header for this API")
	case hasNone:
		pre.IfNoneMatch = []string{"*"}
	case hasMatch:
		pre.IfMatch = requiredETags(match)
	}
	return pre, nil
}

// writeCondition names the condition of a write, of which there is at most one.
func (q *request) writeCondition() string {
	if _, ok := q.single("If-Match"); ok {
		return "If-Match"
	}
	if _, ok := q.single("If-None-Match"); ok {
		return "If-None-Match"
	}
	return ""
}

// writeFailed words a precondition of a write that failed: S3 says of an
// If-Match without object that there is none.
func (q *request) writeFailed(err error) error {
	if !objstore.IsKind(err, objstore.KindPreconditionFailed) || q.writeCondition() != "If-Match" {
		return err
	}
	_, herr := q.look(q.bucket, q.key, "")
	if herr != nil && objstore.IsKind(herr, objstore.KindNotFound) {
		return herr
	}
	return err
}
