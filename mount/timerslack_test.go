package mount

import (
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that is started with slack has it, and who started it has what it had.
func TestStartWithSlack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		t.Skip(err)
	}
	var out strings.Builder
	cmd := exec.Command("cat", "/proc/self/timerslack_ns")
	cmd.Stdout = &out
	if err := startWithSlack(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Skip(err) // no such file before Linux 4.6
	}
	if got, err := strconv.Atoi(strings.TrimSpace(out.String())); err != nil || got != max(before, int(timerSlack)) {
		t.Errorf("%q, %v, want %d", out.String(), err, timerSlack)
	}
	if after, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || after != before {
		t.Errorf("%d after, %d before, %v", after, before, err)
	}
}
