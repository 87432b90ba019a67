package mount

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// leavingTime bounds how long a mount waits for one of the same files that is
// about to end.
const leavingTime = 10 * time.Second

// awaitLeaving waits until the file systems have ended that share files with
// bucket and stand nowhere any more: umount(8) comes back before the kernel tells
// us, and after umount -l programs may still use them. Until then there is
// nothing of them that could be shown elsewhere or covered, and the path where
// they stood leads to the directory below, which is no part of the store.
// mountsMu is held, and let go of meanwhile. Error: a Problem with CodeBusy.
func (d *Daemon) awaitLeaving(ctx context.Context, bucket string) error {
	late := time.NewTimer(leavingTime)
	defer late.Stop()
	for {
		s, err := d.leaving(bucket)
		if s == nil || err != nil {
			return err
		}
		d.mountsMu.Unlock()
		ended := false
		select {
		case <-s.done:
			ended = true
		case <-late.C:
		case <-ctx.Done():
		}
		d.mountsMu.Lock()
		if !ended {
			return &Problem{
				Err:  fmt.Errorf("the same files were mounted on %q and are still in use there, though it was unmounted", s.fs.Dir()),
				Hint: "end what uses them and try again", Code: CodeBusy,
			}
		}
	}
}

// leaving returns a file system that shares files with bucket and is in the
// kernel's table no more, or nil. mountsMu is held.
func (d *Daemon) leaving(bucket string) (*served, error) {
	table, err := mountTable()
	if err != nil {
		return nil, err
	}
	for _, s := range d.served {
		if s.overlaps(bucket) && (s.fs.Ended() || !s.standsIn(table)) {
			return s, nil
		}
	}
	return nil, nil
}

// standsIn reports whether a table of the kernel's has s. The number of a file system
// that has ended soon is another one's, as a rule before the daemon is done with it.
func (s *served) standsIn(table []mountEntry) bool {
	device := s.device()
	return slices.ContainsFunc(table, func(e mountEntry) bool { return e.Device == device && e.store() == s.store })
}
