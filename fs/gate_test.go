package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// gated covers a mount with one that is gated, has programs come, and returns when
// one of them waits. arrived returns when all of them are through, and wants them in at.
func gated(t *testing.T, below *mounted) (cover *Mounted, arrived func(at *Mounted)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounting over a mount")
	}
	write(t, below.path("f"), "old")
	cover, err := Mount(below.dir, below.store, Options{Root: below.root, Origin: lastOrigin.Add(1), Gated: true})
	if err != nil {
		t.Fatal(err)
	}
	comers := []func() (int, error){
		func() (int, error) { return unix.Open(below.path("f"), unix.O_WRONLY|unix.O_TRUNC, 0) },
		func() (int, error) { return unix.Open(below.path("new"), unix.O_CREAT|unix.O_WRONLY, 0644) },
		func() (int, error) { return unix.Open(below.dir, unix.O_DIRECTORY, 0) },
		func() (int, error) { return unix.Open(below.path("new"), unix.O_CREAT|unix.O_RDWR, 0644) },
	}
	type result struct {
		fd  int
		err error
	}
	results := make(chan result, len(comers))
	for _, c := range comers {
		go func() { fd, err := c(); results <- result{fd, err} }()
	}
	awaitRequest(t, cover)
	return cover, func(at *Mounted) {
		t.Helper()
		for range comers {
			r := <-results
			var st unix.Stat_t
			if err := errors.Join(r.err, unix.Fstat(r.fd, &st)); err != nil || uint64(st.Dev) != at.Device() {
				t.Errorf("came to device %d, %v; want %d", st.Dev, err, at.Device())
			}
			if r.err == nil {
				unix.Close(r.fd)
			}
		}
	}
}

// awaitRequest returns when the kernel waits for the answer to a request of m.
func awaitRequest(t *testing.T, m *Mounted) {
	t.Helper()
	connections := t.TempDir()
	if err := unix.Mount("none", connections, "fusectl", 0, ""); err != nil {
		t.Skipf("no list of connections: %v", err)
	}
	defer unix.Unmount(connections, unix.MNT_DETACH)
	path := filepath.Join(connections, fmt.Sprint(unix.Minor(m.Device())), "waiting")
	for {
		n, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(string(n)) != "0" {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestWhoeverComesToARefusedMountIsSentBelow: what programs do meanwhile they do in
// the mount below, whose cache would not hear of what happens in another one.
func TestWhoeverComesToARefusedMountIsSentBelow(t *testing.T) {
	below := mountBucket(t, Options{Writeback: true})
	cover, arrived := gated(t, below)
	// Returns when the mounts were told, of a directory somebody waits in.
	below.put(t, "g", "content")
	if err := unix.Unmount(below.dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	cover.Refuse()
	arrived(below.m)
	cover.Wait()
	wantContent(t, below.path("g"), "content")
	wantContent(t, below.path("f"), "")
}

func TestWhoeverComesToAGatedMountIsAdmitted(t *testing.T) {
	below := mountBucket(t, Options{Writeback: true})
	cover, arrived := gated(t, below)
	below.put(t, "g", "content")
	if err := cover.Admit(); err != nil {
		t.Error(err)
	}
	arrived(cover)
	wantContent(t, below.path("g"), "content")
	below.del(t, "g")
	if _, err := os.Stat(below.path("g")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("deleted: %v", err)
	}
	if err := unmount(cover); err != nil {
		t.Error(err)
	}
}
