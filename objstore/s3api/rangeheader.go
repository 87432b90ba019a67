package s3api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// parseRange reads a Range header as S3 does: one range of bytes. nil is the
// whole object, which is also S3's answer to several ranges and to what is no
// range. unsatisfiable is the range of the last 0 bytes.
func parseRange(s string) (r *objstore.Range, unsatisfiable bool) {
	spec, ok := strings.CutPrefix(s, "bytes=")
	if !ok {
		return nil, false
	}
	from, to, ok := strings.Cut(strings.Trim(spec, " \t"), "-")
	if !ok {
		return nil, false
	}
	if from == "" {
		n, ok := parseOffset(to)
		switch {
		case !ok:
			return nil, false
		case n == 0:
			return nil, true
		}
		return &objstore.Range{First: -n}, false
	}
	first, ok := parseOffset(from)
	if !ok {
		return nil, false
	}
	if to == "" {
		return &objstore.Range{First: first, Last: -1}, false
	}
	last, ok := parseOffset(to)
	if !ok || last < first {
		return nil, false
	}
	return &objstore.Range{First: first, Last: last}, false
}

// parseIfRange reads If-Range: a strong entity tag, or a date. A date is no strong
// validator while the object could be written again in that second (RFC 9110,
// 8.8.2.2). What is neither is of no object.
func parseIfRange(s string, now time.Time) *objstore.RangeCondition {
	s = strings.Trim(s, " \t")
	if len(s) > 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return &objstore.RangeCondition{ETag: objstore.ETag(s[1 : len(s)-1])}
	}
	t, err := http.ParseTime(s)
	if err != nil || now.Sub(t) < time.Second {
		return &objstore.RangeCondition{}
	}
	return &objstore.RangeCondition{Modified: objstore.TimeOf(t)}
}

// parseCopyRange reads x-amz-copy-source-range, which must be whole.
func parseCopyRange(s string) (objstore.Range, bool) {
	spec, ok := strings.CutPrefix(s, "bytes=")
	if !ok {
		return objstore.Range{}, false
	}
	from, to, _ := strings.Cut(spec, "-")
	first, ok1 := parseOffset(from)
	last, ok2 := parseOffset(to)
	if !ok1 || !ok2 || last < first {
		return objstore.Range{}, false
	}
	return objstore.Range{First: first, Last: last}, true
}

// parseOffset reads digits alone. What is beyond 63 bits is the largest offset:
// it lies behind every object.
func parseOffset(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}
