package mount

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/meta"
)

// TestDataLeaveRoomToDelete: however often writes are tried on a small disk that is
// full, what they append does not take the room that removing something needs.
func TestDataLeaveRoomToDelete(t *testing.T) {
	c := testConfig(t)
	disk := t.TempDir()
	if err := unix.Mount("coffer-test", disk, "tmpfs", 0, "size=220m"); err != nil {
		t.Skipf("no tmpfs here: %v", err)
	}
	defer unix.Unmount(disk, unix.MNT_DETACH)
	c.Store = filepath.Join(disk, "store")
	mustInit(t, c)
	s, err := open(t, c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	body := make([]byte, 1<<20)
	for i := range 3 {
		for err = nil; err == nil; {
			_, err = s.data.Append(t.Context(), body)
		}
		if !errors.Is(err, data.ErrNoSpace) {
			t.Fatal(err)
		}
		// The first one gives up the reserve of the metadata, which is room again.
		err := s.meta.Update(t.Context(), func(x meta.Txn) error {
			x.Delete(fmt.Appendf(nil, "no such key %d", i))
			return nil
		})
		if err != nil {
			t.Errorf("deletion %d: %v", i, err)
		}
	}
}
