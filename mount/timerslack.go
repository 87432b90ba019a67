package mount

import (
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is how late the kernel may wake a thread of the daemon that sleeps for some
// time (prctl(2), PR_SET_TIMERSLACK), instead of its usual 50 us. Go's monitor thread
// sleeps for 20 us at a time while requests come, which keeps a processor that has
// nothing to do from resting, and each request is then handed to that one, by an
// interrupt, and its answer back. Longer than this, processors that wait in the kernel
// are taken back too late for what else could run on them.
const timerSlack = 500 * time.Microsecond

// startWithSlack starts a process whose threads have timerSlack. The threads of this one
// keep what they have. A kernel that refuses is none that cmd needs.
func startWithSlack(cmd *exec.Cmd) error {
	runtime.LockOSThread() // which a process that is started inherits it from
	defer runtime.UnlockOSThread()
	own, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err == nil && time.Duration(own) < timerSlack {
		if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) == nil {
			defer unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(own), 0, 0, 0)
		}
	}
	return cmd.Start()
}
