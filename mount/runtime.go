package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// memoryLimit is what the garbage collector aims to stay below, in bytes.
	memoryLimit = 320 << 20
	// gcPercent keeps the heap close to what is in use: most memory is in
	// buffers that are reused, so collecting often costs little.
	gcPercent = 100
)

// tuneRuntime applies what the environment does not say otherwise. It returns how many
// goroutines of a mount may wait for requests.
func tuneRuntime() (readers int) {
	// A thread that waits in the kernel, for the disk or for a FUSE request, keeps
	// its processor until the runtime's monitor notices, which watchSlack makes late.
	// With few processors that leaves work lying about. Most must be left, too, when all
	// readers wait: where those keep every processor, the monitor looks for one all the
	// time, and takes it from a reader; where few are left, others wait for it.
	if n := runtime.GOMAXPROCS(0); os.Getenv("GOMAXPROCS") == "" && n < 8 {
		runtime.GOMAXPROCS(min(4*n, n+8))
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	return max(1, runtime.GOMAXPROCS(0)/4)
}

// monitorSlack is how late the kernel may wake the thread with which the Go runtime
// watches the others (prctl(2), PR_SET_TIMERSLACK), instead of its usual 50 us. While
// requests come that thread sleeps for 20 us at a time, which keeps a processor that has
// nothing to do from resting; the kernel then hands each request to that one, by an
// interrupt, and its answer back. It is as long as the runtime itself lets that thread
// sleep when there is nothing to watch.
const monitorSlack = 10 * time.Millisecond

// slackInterval is how often threads are looked for that the monitor made, with its slack.
const slackInterval = 10 * time.Second

// watchSlack lets the monitor be late until stop is closed, and no other thread: one that
// looks for work sleeps for 3 us before it takes some from another. It takes CAP_SYS_NICE
// (proc_pid_timerslack_ns(5)); without it all stays as it is.
func watchSlack(stop <-chan struct{}, log *slog.Logger) {
	t := time.NewTicker(slackInterval)
	defer t.Stop()
	for {
		if err := restMonitor(); err != nil {
			log.Debug("the runtime's monitor keeps its timer slack", "error", err)
			return
		}
		select {
		case <-stop:
			return
		case <-t.C:
		}
	}
}

// restMonitor gives the monitor monitorSlack, unless it has more, and the threads that
// have it from the monitor, which made them, what the main thread has.
func restMonitor() error {
	threads, err := threads()
	if err != nil {
		return err
	}
	usual, err := readSlack(threads[0])
	if err != nil {
		return err
	}
	for i, tid := range threads[1:] {
		slack, err := readSlack(tid)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH):
			continue // it has ended
		case err != nil:
			return err
		case i == 0 && slack < monitorSlack:
			slack = monitorSlack
		case i > 0 && slack == monitorSlack:
			slack = usual
		default:
			continue
		}
		if err := os.WriteFile(slackFile(tid), fmt.Append(nil, slack.Nanoseconds()), 0); err != nil {
			return err
		}
	}
	return nil
}

// threads are the threads of this process, in the order of their making, as the kernel
// lists them: first the main thread, then the runtime's monitor, which is made before any
// other that runs goroutines.
func threads() (tids []string, err error) {
	dir, err := os.Open("/proc/self/task")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if tids, err = dir.Readdirnames(-1); err != nil {
		return nil, err
	}
	if len(tids) < 2 || tids[0] != strconv.Itoa(os.Getpid()) {
		return nil, errors.New("/proc/self/task does not begin with the main thread and another")
	}
	return tids, nil
}

func slackFile(tid string) string { return filepath.Join("/proc", tid, "timerslack_ns") }

func readSlack(tid string) (time.Duration, error) {
	text, err := os.ReadFile(slackFile(tid))
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return time.Duration(ns), err
}
