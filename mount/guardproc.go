package mount

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guardEnv tells a process that it is a guard. Its standard input brings
// one guardOrder after another.
const guardEnv = "COFFER_GUARD"

// guardSignal comes from the kernel when the daemon dies. Ignored by default,
// so that nothing happens before the guard listens.
const guardSignal = unix.SIGWINCH

// guardOrder is one line that a daemon writes to its guard.
type guardOrder struct {
	Add    *guardedMount `json:"add,omitempty"`
	Remove uint64        `json:"remove,omitempty"` // an ID
	// Thread is the one whose end means that the daemon dies.
	Thread int `json:"thread,omitempty"`
}

// guardedMount is a file system to free when its daemon has died.
type guardedMount struct {
	ID         uint64 `json:"id"` // the daemon's, never used twice, not 0
	Mountpoint string `json:"mountpoint"`
	// Mount is the kernel's number of the mount, Minor that of its device.
	Mount uint64 `json:"mount"`
	Minor uint32 `json:"minor"`

	control *os.File // aborts the connection, or nil
}

// IsGuard reports whether this process was started as a daemon's guard and
// should do nothing but RunGuard.
func IsGuard() bool { return os.Getenv(guardEnv) != "" }

// RunGuard is the whole life of a guard. It returns the exit code of the
// process.
func RunGuard() int {
	nameProcess()
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	died := make(chan os.Signal, 1)
	signal.Notify(died, guardSignal)
	dropFiles()
	_ = os.Chdir("/")
	w := watchman{daemon: os.Getppid(), mounts: map[uint64]*guardedMount{}}
	orders := make(chan guardOrder)
	go func() {
		defer close(orders)
		r := json.NewDecoder(bufio.NewReader(os.Stdin))
		for {
			var o guardOrder
			if r.Decode(&o) != nil {
				return
			}
			orders <- o
		}
	}()
	for {
		select {
		case o, ok := <-orders:
			if !ok {
				// Every thread of the daemon is gone, or it has ended properly and
				// took its mounts along.
				w.freeAll()
				return 0
			}
			w.obey(o)
			if o.Thread == 0 || w.alive() {
				continue
			}
		case <-died:
			if !w.dies() {
				continue
			}
		}
		// What it had still said is in the pipe. While it hangs, the pipe does not
		// end.
		for late := time.After(50 * time.Millisecond); late != nil; {
			select {
			case o, ok := <-orders:
				if ok {
					w.obey(o)
					continue
				}
				late = nil
			case <-late:
				late = nil
			}
		}
		w.freeAll()
		return 0
	}
}

// watchman is the state of a guard.
type watchman struct {
	daemon, thread int
	mounts         map[uint64]*guardedMount
}

func (w *watchman) obey(o guardOrder) {
	switch {
	case o.Add != nil:
		// Open, this means the connection it meant at first, whatever number a
		// later one has.
		o.Add.control, _ = os.OpenFile(abortFile(o.Add.Minor), os.O_WRONLY, 0)
		w.mounts[o.Add.ID] = o.Add
	case o.Thread != 0:
		w.thread = o.Thread
	default:
		if m := w.mounts[o.Remove]; m != nil && m.control != nil {
			m.control.Close()
		}
		delete(w.mounts, o.Remove)
	}
}

// alive reports whether the daemon lives. Before it has told its thread it does.
func (w *watchman) alive() bool {
	if w.thread == 0 {
		return true
	}
	_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", w.daemon, w.thread))
	return !errors.Is(err, os.ErrNotExist)
}

// dies reports whether the daemon dies. The kernel sends its signal a moment
// before the thread is gone; anybody may send it at any time.
func (w *watchman) dies() bool {
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if !w.alive() {
			return true
		}
	}
	return false
}

// freeAll frees the mounts, each by itself: none waits for another.
func (w *watchman) freeAll() {
	done := make(chan struct{})
	for _, m := range w.mounts {
		go func() {
			m.free()
			done <- struct{}{}
		}()
	}
	late := time.After(30 * time.Second)
	for range w.mounts {
		select {
		case <-done:
		case <-late:
			return
		}
	}
}

// free ends the connection, so that nothing waits for the daemon any more. The
// mount stays in the tree, dead: what is written to its path must fail and not
// land in the directory below.
func (m *guardedMount) free() {
	if m.control != nil {
		if _, err := m.control.Write([]byte("1")); err == nil {
			return
		}
	}
	if !canUnmountDirectly() {
		return
	}
	_ = forceDown(m.Mountpoint, m.Mount, m.Minor)
}

// forceDown aborts the connection of the mount on dir if it still is that mount.
func forceDown(dir string, mount uint64, minor uint32) error {
	fd, at, err := openMount(dir)
	if err != nil {
		return err
	}
	// While this is open the mount is in use, and so stays.
	defer unix.Close(fd)
	if at.mount != mount || at.minor != minor {
		return unix.ESTALE
	}
	if err = unix.Unmount(fmt.Sprintf("/proc/self/fd/%d", fd), unix.MNT_FORCE); err == unix.EBUSY {
		err = nil
	}
	return err
}

// mountID names a mount of a file system.
type mountID struct {
	mount uint64 // unique since boot, where the kernel can say it
	minor uint32 // of the device
}

// openMount opens the mount on dir and identifies it, and asks no daemon for
// that. The descriptor is the caller's to close.
func openMount(dir string) (int, mountID, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, mountID{}, err
	}
	var st unix.Statx_t
	const flags = unix.AT_EMPTY_PATH | unix.AT_STATX_DONT_SYNC
	if err := unix.Statx(fd, "", flags, unix.STATX_MNT_ID|unix.STATX_MNT_ID_UNIQUE, &st); err != nil {
		unix.Close(fd)
		return -1, mountID{}, err
	}
	return fd, mountID{st.Mnt_id, st.Dev_minor}, nil
}

// abortFile is where writing aborts a FUSE connection; its owner may, where the
// system mounts it (fuse.rst, "Control filesystem").
func abortFile(minor uint32) string {
	return fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", minor)
}

// dropFiles closes the files that this process inherited: go-fuse opens its
// device without O_CLOEXEC, and a file in the mount for a moment. Whoever has the
// device open keeps the mount from ending with the daemon, and whoever has a file
// open keeps it from being unmounted. What the runtime has open is left alone.
func dropFiles() {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range list {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		fd, nerr := strconv.Atoi(e.Name())
		if err != nil || nerr != nil || fd <= 2 || !strings.HasPrefix(target, "/") ||
			strings.HasPrefix(target, "/sys/") || strings.HasPrefix(target, "/proc/") {
			continue
		}
		unix.Close(fd)
	}
}
