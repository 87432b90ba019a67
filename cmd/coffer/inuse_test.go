package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMountBelowAnotherIsNamedAsItsUser(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir := h.mkdir("mnt")
	h.ok("mount", dir)
	below := h.mkdir("mnt/bucket/below")
	h.ok("mount", "--bucket", "another", below)
	h.refused(exitFailed, []string{"umount", dir}, "in use by the mount on", below)
	h.ok("umount", below)
	h.ok("umount", dir)
}

func TestProcessesAreNamedAsTheProgram(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir := h.mkdir("mnt")
	h.ok("mount", dir)
	daemon := h.mustStatus().PID
	h.await(func() bool { // daemon and guard
		pids := []string{fmt.Sprint(daemon)}
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", daemon))
		for _, path := range threads {
			text, _ := os.ReadFile(path)
			pids = append(pids, strings.Fields(string(text))...)
		}
		for _, pid := range pids {
			if comm, _ := os.ReadFile("/proc/" + pid + "/comm"); string(comm) != "coffer\n" {
				return false
			}
		}
		return len(pids) == 2
	})
	h.ok("umount", dir)
}
