package mount

import (
	"context"
	"fmt"
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
	stands := make(map[string]bool)
	for i := range table {
		stands[table[i].Device] = true
	}
	for _, s := range d.served {
		if s.overlaps(bucket) && !stands[s.device()] {
			return s, nil
		}
	}
	return nil, nil
}
