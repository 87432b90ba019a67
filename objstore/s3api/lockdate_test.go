package s3api

import (
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// TestRetentionUntilLongAgo: a date that a Time cannot hold does not become another
// one, which may be in the future.
func TestRetentionUntilLongAgo(t *testing.T) {
	now := objstore.TimeOf(time.Now())
	for year := range 1678 {
		text := time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC).Format("2006-01-02T15:04:05Z")
		if at, ok := parseLockTime(text); !ok || at > now {
			t.Fatalf("%s is %v, %v", text, at.Std(), ok)
		}
	}
	for _, text := range []string{"2262-01-01T00:00:00Z", "2261-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z"} {
		if at, ok := parseLockTime(text); ok {
			t.Errorf("%s is %v", text, at.Std())
		}
	}
}
