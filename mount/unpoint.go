package mount

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unmountPoint unmounts p, and nothing that somebody has mounted over it. One that
// umount(8) has removed is no error.
func unmountPoint(p *mountPoint, lazy bool) error {
	device := p.of.device()
	if fd, at, err := openMount(p.Mountpoint); err == nil {
		unix.Close(fd)
		if at.minor != unix.Minor(p.of.fs.Device()) {
			table, err := mountTable()
			if err != nil {
				return err
			}
			for i := range table {
				if table[i].Mountpoint == p.Mountpoint && table[i].Device == device {
					return fmt.Errorf("something else is mounted over %q: unmount that first", p.Mountpoint)
				}
			}
			return nil
		}
	}
	err := unmountPath(p.Mountpoint, lazy)
	if table, terr := mountTable(); err != nil && terr == nil && findMount(table, p.Mountpoint) == nil {
		return nil
	}
	return err
}

// device is how the kernel's tables call s.
func (s *served) device() string {
	dev := s.fs.Device()
	return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
}

// elsewherePause is how often awaitEnd looks whether s is shown elsewhere.
const elsewherePause = 2 * time.Second

// awaitEnd waits for the end of s, which was unmounted on dir. A process that has a
// mount namespace of its own (unshare(1), a container) may have a copy of the mount,
// and keep it for as long as it lives: nobody waits for that. Error: a Problem with
// CodeBusy.
func (s *served) awaitEnd(ctx context.Context, dir string) error {
	t := time.NewTicker(elsewherePause)
	defer t.Stop()
	for {
		select {
		case <-s.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if s.fs.Ended() {
			continue
		}
		if users := showsTo(s, maxUsers); len(users) > 0 {
			return &Problem{
				Err:  fmt.Errorf("%q was unmounted, but %s in another mount namespace can still use it", dir, strings.Join(users, ", ")),
				Hint: "everything written so far is safe; the daemon serves them until they end", Code: CodeBusy,
			}
		}
	}
}

// showsTo names processes, max at most, that have s mounted.
func showsTo(s *served, max int) (found []string) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		text, err := os.ReadFile(p + "/mountinfo")
		if err != nil {
			continue
		}
		if table, err := parseMountTable(bytes.NewReader(text)); err != nil || !s.standsIn(table) {
			continue
		}
		name, _ := os.ReadFile(p + "/comm")
		if found = append(found, fmt.Sprintf("%s (%s)", strings.TrimSpace(string(name)), filepath.Base(p))); len(found) == max {
			break
		}
	}
	return found
}
