package mount

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A daemon that was killed and could not end, see guard, and whose guard was
// killed too, leaves a process that holds the store's lock, and a mount on which
// every call hangs. Aborting the connection frees all of them.

// isDying reports whether the process has ended but for threads that hang.
func isDying(pid int) bool {
	switch processState(pid) {
	case 0:
		return false
	case 'Z':
		return true
	}
	// Its first thread may be the one that hangs: then that has been killed.
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	_, rest, ok := bytes.Cut(status, []byte("\nSigPnd:\t"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	pending, err := strconv.ParseUint(string(line), 16, 64)
	return ok && err == nil && pending&(1<<(unix.SIGKILL-1)) != 0
}

// processState is the letter that proc_pid_stat(5) gives for a process's first
// thread, 0 if there is no process.
func processState(pid int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// 1234 (a name) Z ...; the name may hold anything.
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 || i+2 >= len(stat) {
		return 0
	}
	return stat[i+2]
}

// lockHolder returns the pid in a store's lock file, 0 if there is none.
func lockHolder(store string) int {
	text, err := readSmall(filepath.Join(store, nameLock), 33)
	if err != nil || len(text) > 32 {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 0 {
		return 0
	}
	return pid
}

// freeHung aborts the connections of a store's mounts if the process that holds
// its lock is a zombie, and waits until that is gone.
func freeHung(store string, report func(string)) error {
	pid := lockHolder(store)
	if pid == 0 || !isDying(pid) || ended(pid, 500*time.Millisecond) {
		return nil
	}
	table, err := mountTable()
	if err != nil {
		return err
	}
	for i := range table {
		e := &table[i]
		if e.store() != store {
			continue
		}
		if err := e.abort(); err != nil {
			return fmt.Errorf("abort the mount that the dead process %d left on %q: %w", pid, e.Mountpoint, err)
		}
		report(fmt.Sprintf("freed the mount on %s, whose daemon was killed and could not end", e.Mountpoint))
	}
	ended(pid, 10*time.Second)
	return nil
}

// ended waits for the last thread of a dying process, after which nothing of it
// is left but its exit code, and reports whether that came in time.
func ended(pid int, within time.Duration) bool {
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		list, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil || len(list) == 0 || len(list) == 1 && processState(pid) == 'Z' {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// abort ends the connection between the kernel and the daemon of a mount: calls
// that wait for it fail. The mount stays, dead, unless root did it: then it is
// taken out of the tree.
func (e *mountEntry) abort() error {
	if canUnmountDirectly() {
		return detach(e.Mountpoint, func() error {
			return unix.Unmount(e.Mountpoint, unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		})
	}
	_, text, _ := strings.Cut(e.Device, ":")
	minor, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return fmt.Errorf("no device number in %q", e.Device)
	}
	return os.WriteFile(abortFile(uint32(minor)), []byte("1"), 0)
}
