package mount

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestZombieIsToldFromALiveProcess(t *testing.T) {
	if isDying(os.Getpid()) || isDying(1<<22+1) {
		t.Error("a live process, or none, is a zombie")
	}
	cmd := exec.Command("/bin/true")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer cmd.Wait()
	for deadline := time.Now().Add(patience); !isDying(cmd.Process.Pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a process that ended and was not waited for is no zombie")
		}
	}
	if !ended(cmd.Process.Pid, 0) {
		t.Error("it has threads left")
	}
	// An ordinary zombie in the lock file is no reason to touch a mount.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, nameLock), fmt.Appendf(nil, "%d\n", cmd.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := freeHung(dir, func(s string) { t.Error(s) }); err != nil {
		t.Error(err)
	}
}

func TestLockFileIsReadWithSuspicion(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]int{"": 0, "12\n": 12, "x": 0, "-3": 0, "0": 0, fmt.Sprintf("%040d", 7): 0} {
		if err := os.WriteFile(filepath.Join(dir, nameLock), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lockHolder(dir); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
	if lockHolder(filepath.Join(dir, "none")) != 0 {
		t.Error("a pid without a file")
	}
}
