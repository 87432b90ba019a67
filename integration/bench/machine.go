package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errNotRoot: the kernel's caches are root's to drop.
var errNotRoot = errors.New("only root can drop the kernel's caches")

// dropCaches makes the kernel forget all clean pages, names and attributes.
func (s *stage) dropCaches(context.Context) error {
	if err := syncDir(s.work); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		return fmt.Errorf("%w: %w", errNotRoot, err)
	}
	return nil
}

// syncDir writes the file system of dir back, so that the next contestant does
// not pay for the one before.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

// rest waits until the servers have nothing more to do for what was asked of
// them, at most settle: garbage that coffer collects is not to slow others.
func (s *stage) rest(ctx context.Context) error {
	if err := syncDir(s.work); err != nil {
		return err
	}
	const step = 100 * time.Millisecond
	end := time.Now().Add(s.c.settle)
	for last := s.ticks(); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(step):
		}
		now := s.ticks()
		if now-last <= 1 { // a tick is 10 ms
			return nil
		}
		last = now
	}
	return ctx.Err()
}

// ticks is the CPU time that the servers have used, in clock ticks.
func (s *stage) ticks() int {
	sum := 0
	for _, pid := range s.pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid()))
		if err != nil {
			continue
		}
		// Behind the name, which can hold anything: utime and stime are fields
		// 14 and 15 of proc_pid_stat(5).
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) < 13 {
			continue
		}
		for _, v := range f[11:13] {
			n, _ := strconv.Atoi(v)
			sum += n
		}
	}
	return sum
}

// machine says where the figures come from.
type machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMiB  uint64 `json:"memory_mib"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"file_system"` // type and mount options of the work directory
	Go         string `json:"go"`
	Peers      string `json:"peers"`
	Load       string `json:"load_before"`
	LoadAfter  string `json:"load_after"`
	Time       string `json:"time"`
}

func describe(ctx context.Context, dir string) machine {
	m := machine{
		CPU:        cpuModel(),
		Cores:      runtime.NumCPU(),
		Go:         runtime.Version(),
		FileSystem: fileSystem(dir),
		Load:       loadAverage(),
		Time:       time.Now().Format(time.RFC3339),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.MemoryMiB = uint64(info.Totalram) * uint64(info.Unit) >> 20
	}
	var peers []string
	for _, p := range []string{nameGocryptfs, nameS3fs} {
		if _, err := exec.LookPath(p); err != nil {
			peers = append(peers, p+" is not installed")
			continue
		}
		out, err := command(ctx, nil, p, "--version")
		if err == nil {
			line, _, _ := strings.Cut(out, "\n")
			peers = append(peers, line)
		}
	}
	m.Peers = strings.Join(peers, "; ")
	return m
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// fileSystem is the type and the options of the mount that dir lies in.
func fileSystem(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "?"
	}
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "?"
	}
	best, found := "", "?"
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		if at := strings.TrimSuffix(f[1], "/"); (dir == f[1] || strings.HasPrefix(dir, at+"/")) && len(f[1]) >= len(best) {
			best, found = f[1], fmt.Sprintf("%s on %s (%s)", f[2], f[0], f[3])
		}
	}
	return found
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], " ")
}
