package engine

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

// stamp is the time that a change gets where Options.Now says nothing: the clock
// of the kernel's last tick, which Linux stamps files with too. A file that is
// made and written within one tick so has the time in our answer that the
// kernel's cache gives it, and the kernel has no time to hand over when it is
// closed.
//
// Go reads that clock by a system call, but time.Now without one: until the next tick
// can have come, the last answer holds.
func stamp() objstore.Time {
	if last, now := lastTick.Load(), time.Now().UnixNano(); last <= now && now-last < tickLength {
		return objstore.Time(last)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		return objstore.TimeOf(time.Now())
	}
	lastTick.Store(ts.Nano())
	return objstore.Time(ts.Nano())
}

// lastTick is what the clock showed last, in nanoseconds; 0: it was not read yet.
var lastTick atomic.Int64

// tickLength is the shortest time between two ticks, in nanoseconds. A clock that is
// being set by and by shows them sooner, by 1/2000 as a rule (adjtimex(2)). Where it is
// more, some stamps are of the tick before.
var tickLength = func() int64 {
	var res unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_REALTIME_COARSE, &res); err != nil {
		return 0
	}
	return res.Nano() - res.Nano()/1000
}()
