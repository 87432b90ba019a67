package ring

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// drainInterval is how long drain waits for what its request has brought about; each time
// twice as long as before, up to maxDrainInterval.
const (
	drainInterval    = time.Millisecond
	maxDrainInterval = 128 * time.Millisecond
)

// drain makes the kernel look for requests that found no entry free. It looks for one
// when it is given an answer, not when it is given a new entry: if all others wait in
// their handlers for one of those, nothing would ever go on. So requests are made, which
// new entries answer, until an answer brings no other request.
func (q *queue) drain() {
	var pokes atomic.Int32 // under way: they may find no entry, too
	for {
		made := q.drains.Load()
		interval := drainInterval
		for quiet := 0; quiet < 2 && q.total.Load() > 0; interval = min(2*interval, maxDrainInterval) {
			// What a request brought about ends soon, and its answer brings the next, or
			// it waits, and keeps the entry.
			free := q.free.Load()
			if free == 0 {
				time.Sleep(interval)
				continue
			}
			pokes.Add(1)
			q.s.entries.Go(func() {
				defer pokes.Add(-1)
				runtime.LockOSThread() // for good, as in add
				q.s.bind(q, true)
				var st unix.Statfs_t
				// One request, whatever comes of it; none if something is mounted over it.
				_ = unix.Statfs(q.s.dir, &st)
			})
			time.Sleep(interval)
			if pokes.Load() == 0 && q.free.Load() >= free {
				quiet++
			} else {
				quiet = 0
			}
		}
		if q.drains.CompareAndSwap(made, 0) {
			return
		}
	}
}
