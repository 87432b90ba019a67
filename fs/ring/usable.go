package ring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxQueues bounds the processors of a machine on which rings are used: each has a
// thread of ours for every mount, whether it is there or could be added.
const maxQueues = 64

// minKernel has the corrections that Linux 6.14 to 6.17 lacked when they came out.
var minKernel = [2]int{6, 18}

// usable says why rings cannot be used by this process, or nil. Whether the kernel
// offers them for a mount is for offer.
func usable() error {
	release, version, err := kernel()
	if err != nil {
		return err
	}
	if slices.Compare(version[:], minKernel[:]) < 0 {
		return fmt.Errorf("they are used from Linux %d.%d on, this is %s", minKernel[0], minKernel[1], release)
	}
	n, err := possibleCPUs()
	if err != nil {
		return err
	}
	if n > maxQueues || n > 4*runtime.NumCPU() {
		return fmt.Errorf("the machine could have %d processors and has %d, which would take too many threads", n, runtime.NumCPU())
	}
	// The ring is for the thread that makes it: this one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	u, err := newUring()
	if err != nil {
		return err
	}
	u.close()
	return nil
}

// kernel is the release that uname(2) tells, and the two figures with which it begins.
func kernel() (release string, version [2]int, err error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", version, fmt.Errorf("uname: %w", err)
	}
	release = unix.ByteSliceToString(u.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &version[0], &version[1]); err != nil {
		return "", version, fmt.Errorf("the kernel's release %q: %w", release, err)
	}
	return release, version, nil
}

// switchFile turns rings of FUSE on for all mounts that are made. The kernel's default
// is off.
const switchFile = "/sys/module/fuse/parameters/enable_uring"

// offer makes the kernel offer rings to the mount that is made before done is called.
// Where the administrator did not turn them on, it is turned on for that moment, which
// takes root's rights: a mount that has rings keeps them, and others are offered them
// only if they ask.
func offer() (done func(), err error) {
	f, err := os.OpenFile(switchFile, os.O_RDWR, 0)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS) {
		if on, rerr := isOn(); rerr == nil && on {
			return func() {}, nil
		}
		return nil, fmt.Errorf("they are not turned on in %s: %w", switchFile, err)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("the kernel does not have them: they came with Linux 6.14")
	}
	if err != nil {
		return nil, err
	}
	// Two who turn it on at the same time must not leave it on.
	if err := lock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", switchFile, err)
	}
	on, err := isOn()
	if err == nil && !on {
		err = os.WriteFile(switchFile, []byte("Y"), 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() {
		if !on {
			// Left on it does no harm.
			_ = os.WriteFile(switchFile, []byte("N"), 0)
		}
		f.Close()
	}, nil
}

// lock waits a little for others who turn it on: anybody may lock the file for as long as
// he likes.
func lock(f *os.File) (err error) {
	for range 50 {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

func isOn() (bool, error) {
	text, err := os.ReadFile(switchFile)
	return strings.TrimSpace(string(text)) == "Y", err
}

const possibleFile = "/sys/devices/system/cpu/possible"

// possibleCPUs is how many processors the kernel can have, of which each has a queue.
func possibleCPUs() (int, error) {
	text, err := os.ReadFile(possibleFile)
	if err != nil {
		return 0, err
	}
	n, err := countCPUs(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", possibleFile, err)
	}
	return n, nil
}

// countCPUs counts a list like 0-3,5 (bitmap list of Linux).
func countCPUs(list string) (n int, err error) {
	for span := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(span, "-")
		if !isRange {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 16)
		if err != nil {
			return 0, err
		}
		to, err := strconv.ParseUint(last, 10, 16)
		if err != nil {
			return 0, err
		}
		if to < from {
			return 0, fmt.Errorf("the range %q ends before it begins", span)
		}
		n += int(to-from) + 1
	}
	return n, nil
}
