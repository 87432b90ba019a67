package engine

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

// stamp is the time that a change gets where Options.Now says nothing: the clock
// of the kernel's last tick, which Linux stamps files with too. A file that is
// made and written within one tick so has the time in our answer that the
// kernel's cache gives it, and the kernel has no time to hand over when it is
// closed.
func stamp() objstore.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		return objstore.TimeOf(time.Now())
	}
	return objstore.Time(ts.Nano())
}
