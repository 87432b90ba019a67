package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// limited is the program with a limit of open files.
func (h *house) limited(files int, args ...string) *exec.Cmd {
	h.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := h.command()
	cmd.Path = "/bin/sh"
	cmd.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, files), exe}, args...)
	return cmd
}

func TestTooFewDescriptorsAreRefused(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	before := h.snapshot()
	r := h.finish(h.limited(200, "mount", h.mkdir("mnt")))
	if r.code != exitFailed || !strings.Contains(r.stderr, "200 files") || !strings.Contains(r.stderr, "ulimit -n") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	if after := h.snapshot(); len(after) != len(before)+1 {
		t.Errorf("something was made: %v", after)
	}
}

func TestIdleConnectionsTakeNothingFromTheStore(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir := h.mkdir("mnt")
	if r := h.finish(h.limited(256, "mount", dir)); r.code != 0 {
		t.Fatal(r.stderr)
	}
	s := h.mustStatus()
	addr := strings.TrimPrefix(s.Endpoint, "https://")
	for range 300 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	// More than a log and a memtable take, so that new files are needed.
	text := bytes.Repeat([]byte("x"), 8<<10)
	if err := os.Mkdir(filepath.Join(dir, "photos"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 2500 {
		if err := os.WriteFile(filepath.Join(dir, "photos", fmt.Sprint(i)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h.ok("status")
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID))
	if err != nil || len(open) > 200 {
		t.Errorf("%d descriptors are open (%v)", len(open), err)
	}
	h.ok("umount", dir)
}
