package engine

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

// A stamp is what the kernel gives a file at that moment, neither the time itself nor a
// tick that has gone by.
func TestStampIsTheKernelsLastTick(t *testing.T) {
	coarse := func() objstore.Time {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
			t.Skip(err)
		}
		return objstore.Time(ts.Nano())
	}
	ticks := map[objstore.Time]bool{}
	for begun := time.Now(); len(ticks) < 20 && time.Since(begun) < time.Minute; {
		before := coarse()
		got := stamp()
		if after := coarse(); got < before || got > after {
			t.Fatalf("stamp is %d, the kernel's %d before and %d after it", got, before, after)
		}
		ticks[got] = true
	}
	if len(ticks) < 20 {
		t.Errorf("%d ticks in a minute", len(ticks))
	}
}

func BenchmarkStamp(b *testing.B) {
	for b.Loop() {
		stamp()
	}
}
