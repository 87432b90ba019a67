package mount

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Only the monitor may be late, and not those that it makes: the others sleep when they
// look for work.
func TestOnlyTheMonitorRests(t *testing.T) {
	tids, err := threads()
	if err != nil {
		t.Fatal(err)
	}
	usual, err := readSlack(tids[0])
	if err != nil {
		t.Skip(err) // another thread's takes CAP_SYS_NICE
	}
	if err := os.WriteFile(slackFile(tids[len(tids)-1]), fmt.Append(nil, monitorSlack.Nanoseconds()), 0); err != nil {
		t.Fatal(err)
	}
	if err := restMonitor(); err != nil {
		t.Fatal(err)
	}
	for i, tid := range tids {
		want := usual
		if i == 1 {
			want = monitorSlack
		}
		if got, err := readSlack(tid); err != nil || got != want {
			t.Errorf("thread %d of %d has a slack of %v, %v, want %v", i, len(tids), got, err, want)
		}
	}
}

// The second thread is the monitor: it sleeps while goroutines run, and wakes by itself.
func TestMonitorIsTheSecondThread(t *testing.T) {
	tids, err := threads()
	if err != nil {
		t.Fatal(err)
	}
	sleep := strconv.Itoa(unix.SYS_NANOSLEEP) + " "
	for range 2000 {
		for start := time.Now(); time.Since(start) < time.Millisecond; { // as one that has work
		}
		text, err := os.ReadFile("/proc/" + tids[1] + "/syscall")
		if err != nil {
			t.Skip(err)
		}
		if strings.HasPrefix(string(text), sleep) {
			return
		}
	}
	t.Errorf("thread %s never sleeps for a time", tids[1])
}
