package integration

import (
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestAMountThatIsRefusedIsNoticedByNobody: programs go on in the mount that they
// use, all the time. Its writeback cache would not hear of what they did elsewhere.
func TestAMountThatIsRefusedIsNoticedByNobody(t *testing.T) {
	NeedRoot(t, "mounting over mounts")
	h := NewHouse(t)
	// Who shares its cache would share its key.
	mnt := h.Mount("--sse-c-key", h.newCustomerKey(13).file)
	if err := os.Mkdir(mnt+"/box", 0755); err != nil {
		t.Fatal(err)
	}
	used, err := os.Create(mnt + "/box/used")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	device := func() uint64 {
		var st syscall.Stat_t
		if err := syscall.Stat(mnt, &st); err != nil {
			t.Error(err)
		}
		return uint64(st.Dev)
	}
	own := device()
	stop := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if d := device(); d != own {
				t.Errorf("device %d was in the place of %d", d, own)
				return
			}
		}
	})
	second := h.Mkdir("second")
	for range 5 {
		if r := h.Coffer("mount", second); r.Code != 1 || !strings.Contains(r.Stderr, "in use by") {
			t.Errorf("%v", r)
		}
	}
	close(stop)
	looking.Wait()

	// With nobody in it, it makes way.
	if err := used.Close(); err != nil {
		t.Fatal(err)
	}
	h.OK("mount", second)
	if err := os.WriteFile(second+"/box/f", []byte("text"), 0644); err != nil {
		t.Fatal(err)
	}
	holds(t, mnt+"/box/f", []byte("text"))
	h.OK("umount", second)
	h.Umount()
}
