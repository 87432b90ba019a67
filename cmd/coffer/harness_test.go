package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferfs/coffer/mount"
)

// patience is how long a process may take before a test gives it up: machines
// that are busy with other disks' work take long over an fsync.
const patience = 3 * time.Minute

// asProgram makes the test binary be the program: the tests run it as people
// do, in processes of its own.
const asProgram = "COFFER_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// house is a directory with a store, mount points and all the places that
// coffer writes to, for one test.
type house struct {
	t   *testing.T
	dir string
	env []string
}

// newHouse makes one. The test runs beside others: mostly it waits for disks.
func newHouse(t *testing.T) *house {
	t.Helper()
	t.Parallel()
	dir, err := os.MkdirTemp("", "coffer")
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, dir: dir}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "COFFER_") && !strings.HasPrefix(v, "XDG_") {
			h.env = append(h.env, v)
		}
	}
	h.env = append(h.env, asProgram+"=1", "HOME="+dir,
		"XDG_CONFIG_HOME="+h.path("config"), "XDG_STATE_HOME="+h.path("state"), "XDG_DATA_HOME="+h.path("share"),
		"COFFER_STORE="+h.path("store"), "COFFER_LISTEN=127.0.0.1:0")
	t.Cleanup(h.leave)
	return h
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

// mkdir makes a directory and returns its path.
func (h *house) mkdir(name string) string {
	h.t.Helper()
	if err := os.MkdirAll(h.path(name), 0o755); err != nil {
		h.t.Fatal(err)
	}
	return h.path(name)
}

func (h *house) write(name, text string) string {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return h.path(name)
}

// leave ends what the test left running, and fails it if a mount stays.
func (h *house) leave() {
	if s, err := h.status(); err == nil && s.PID != 0 {
		h.endProcess(s.PID, syscall.SIGTERM)
	}
	table, _ := os.ReadFile("/proc/self/mountinfo")
	for _, line := range strings.Split(string(table), "\n") {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], h.dir+"/") {
			h.t.Errorf("mount left behind: %s", line)
			_ = syscall.Unmount(f[4], syscall.MNT_DETACH)
		}
	}
	if h.t.Failed() {
		logs, _ := filepath.Glob(h.path("state/coffer/*.log"))
		for _, l := range logs {
			text, _ := os.ReadFile(l)
			h.t.Logf("%s:\n%s", l, text)
		}
	}
	os.RemoveAll(h.dir)
}

// endProcess sends a signal and waits until the process is gone.
func (h *house) endProcess(pid int, sig syscall.Signal) {
	h.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		h.t.Errorf("kill %d: %v", pid, err)
		return
	}
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if !alive(pid) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	h.t.Errorf("process %d does not end", pid)
}

// alive reports whether a process is more than a zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

// result is what a run of the program left.
type result struct {
	code           int
	stdout, stderr string
}

func (h *house) command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "coffer"
	cmd.Env = h.env
	cmd.Dir = h.dir
	return cmd
}

// coffer runs the program.
func (h *house) coffer(args ...string) result {
	h.t.Helper()
	return h.finish(h.command(args...))
}

func (h *house) finish(cmd *exec.Cmd) result {
	h.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// ok runs the program and fails the test if it fails. It returns its output.
func (h *house) ok(args ...string) string {
	h.t.Helper()
	r := h.coffer(args...)
	if r.code != 0 {
		h.t.Fatalf("coffer %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// refused runs the program and fails the test unless it ends with code, says
// every one of words on standard error, and changes nothing in the house.
func (h *house) refused(code int, args []string, words ...string) {
	h.t.Helper()
	before := h.snapshot()
	r := h.coffer(args...)
	if r.code != code {
		h.t.Errorf("coffer %s: exit code %d, want %d\n%s", strings.Join(args, " "), r.code, code, r.stderr)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			h.t.Errorf("coffer %s: does not say %q:\n%s", strings.Join(args, " "), w, r.stderr)
		}
	}
	if !strings.HasPrefix(r.stderr, "coffer: ") || strings.Count(r.stderr, "\n") > 2 {
		h.t.Errorf("coffer %s: not one line and a hint:\n%s", strings.Join(args, " "), r.stderr)
	}
	after := h.snapshot()
	for name, was := range before {
		if after[name] != was {
			h.t.Errorf("coffer %s: changed %s", strings.Join(args, " "), name)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			h.t.Errorf("coffer %s: made %s", strings.Join(args, " "), name)
		}
	}
}

// snapshot is a hash of mode and content of everything in the house, but for
// the lock, which a refused process may have held, and logs.
func (h *house) snapshot() map[string]string {
	h.t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == h.path("state") {
			return filepath.SkipDir
		}
		if path == h.path("store/lock") {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum := info.Mode().String()
		if d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum += fmt.Sprintf(" %x", sha256.Sum256(text))
		}
		files[path] = sum
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return files
}

// status asks the daemon.
func (h *house) status() (mount.Status, error) {
	h.t.Helper()
	var s mount.Status
	r := h.coffer("status", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		return s, fmt.Errorf("%w: %s%s", err, r.stdout, r.stderr)
	}
	return s, nil
}

func (h *house) mustStatus() mount.Status {
	h.t.Helper()
	s, err := h.status()
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// log is what daemons in the background have logged.
func (h *house) log() string {
	h.t.Helper()
	var text []byte
	logs, _ := filepath.Glob(h.path("state/coffer/*.log"))
	for _, l := range logs {
		b, err := os.ReadFile(l)
		if err != nil {
			h.t.Fatal(err)
		}
		text = append(text, b...)
	}
	return string(text)
}

// mounted reports whether a coffer mount stands on dir.
func mounted(dir string) bool {
	table, _ := os.ReadFile("/proc/self/mountinfo")
	return strings.Contains(string(table), " "+dir+" ")
}

// needFUSE skips a test where nothing can be mounted.
func needFUSE(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	f.Close()
}
