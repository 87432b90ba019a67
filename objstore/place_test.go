package objstore

import (
	"math"
	"testing"
	"time"
)

func TestTimeOfSaturates(t *testing.T) {
	first, last := time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)
	for _, c := range []struct {
		at   time.Time
		want Time
	}{
		{time.Unix(0, 0), 0},
		{time.Unix(-1, 999999999), -1},
		{time.Date(1678, 1, 1, 0, 0, 0, 1, time.UTC), -9214560000000000000 + 1},
		{time.Date(2261, 12, 31, 23, 59, 59, 999999999, time.UTC), 9214646400000000000 - 1},
		{time.Unix(-1<<33, 0), -1 << 33 * 1e9},
		{time.Unix(-1<<33-1, 7), (-1<<33-1)*1e9 + 7},
		{time.Unix(1<<33, 999999999), 1<<33*1e9 + 999999999},
		{time.Unix(1<<33+1, 0), (1<<33 + 1) * 1e9},
		{first, math.MinInt64},
		{first.Add(1), math.MinInt64 + 1},
		{first.Add(-1), math.MinInt64},
		{last, math.MaxInt64},
		{last.Add(-1), math.MaxInt64 - 1},
		{last.Add(1), math.MaxInt64},
		{time.Time{}, math.MinInt64},
		{time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), math.MaxInt64},
		{time.Unix(math.MinInt64, 0), math.MinInt64},
		{time.Unix(math.MaxInt64>>1, 0), math.MaxInt64},
	} {
		if got := TimeOf(c.at); got != c.want {
			t.Errorf("%v: %d, want %d", c.at, got, c.want)
		}
	}
	if now := time.Now(); TimeOf(now) != Time(now.UnixNano()) {
		t.Errorf("%v: %d, want %d", now, TimeOf(now), now.UnixNano())
	}
}
