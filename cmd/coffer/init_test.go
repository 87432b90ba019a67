package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// A key file that cannot be made left a directory with a lock in it.
func TestInitThatFailsLeavesNothing(t *testing.T) {
	h := newHouse(t)
	file, empty := h.write("file", "x"), h.mkdir("empty")
	// A temporary file beside it has a name that is longer, too long.
	long := h.path(strings.Repeat("k", 250))
	for _, cmd := range [][]string{{"init"}, {"serve"}} {
		for _, store := range []string{h.path("a/b/c"), empty} {
			h.refused(exitFailed, append(cmd, "--store", store, "--key-file", file+"/key"), "not a directory")
			h.refused(exitFailed, append(cmd, "--store", store, "--key-file", long), "key file", "--key-file")
			if _, err := os.Lstat(store + "/lock"); err == nil {
				t.Errorf("%s %s: a lock is left", cmd[0], store)
			}
		}
	}
	h.env = append(h.env, "XDG_CONFIG_HOME="+file)
	h.refused(exitFailed, []string{"init"}, "key file", "--key-file")
	h.env = append(h.env, "XDG_CONFIG_HOME=relative", "HOME=")
	if os.Geteuid() != 0 {
		h.refused(exitFailed, []string{"init"}, "XDG_CONFIG_HOME")
	}
}

func TestInitWithoutRoomLeavesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a small disk")
	}
	h := newHouse(t)
	disk := h.mkdir("disk")
	for size, fits := range map[string]bool{"size=64m": false, "size=66m": true} {
		if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, size); err != nil {
			t.Fatal(err)
		}
		cmd := []string{"init", "--store", disk + "/store", "--key-file", disk + "/key"}
		if fits {
			h.ok(cmd...)
		} else {
			h.refused(exitFailed, cmd, "needs 65 MiB", "--store")
		}
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}
}
