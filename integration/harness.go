package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// program is the path of the binary under test; TestMain builds it.
var program string

// Status is what `coffer status --json` promises, as far as tests look at it.
type Status struct {
	Running  bool   `json:"running"`
	PID      int    `json:"pid"`
	Store    string `json:"store"`
	Endpoint string `json:"endpoint"`
	HTTP     string `json:"http_endpoint"`
	ReadOnly bool   `json:"read_only"`
	Mounts   []struct {
		Mountpoint string `json:"mountpoint"`
		Bucket     string `json:"bucket"`
		Cache      string `json:"cache"`
	} `json:"mounts"`
	LogFile      string `json:"log_file"`
	CABundle     string `json:"ca_bundle"`
	SegmentBytes int64  `json:"segment_bytes"`
	LiveBytes    int64  `json:"live_bytes"`
	OpenFiles    int    `json:"open_files"`
	Corruptions  uint64 `json:"corruptions"`
}

// House is a store with all the places coffer writes to, below one directory,
// for one test. It is not safe for concurrent use unless a method says so.
type House struct {
	t   testing.TB
	Dir string
	env []string
}

// NewHouse makes an empty house below parent; an empty parent is the system's
// directory for temporary files.
func NewHouse(t testing.TB, parent ...string) *House {
	t.Helper()
	base := ""
	if len(parent) > 0 {
		base = parent[0]
	}
	dir, err := os.MkdirTemp(base, "coffer-it-")
	if err != nil {
		t.Fatal(err)
	}
	h := &House{t: t, Dir: dir}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(v, "COFFER_") || strings.HasPrefix(v, "XDG_") || strings.HasPrefix(v, "AWS_") ||
			strings.HasSuffix(strings.ToLower(name), "_proxy") {
			continue
		}
		h.env = append(h.env, v)
	}
	h.env = append(h.env, "HOME="+dir, "XDG_CONFIG_HOME="+h.Path("config"), "XDG_STATE_HOME="+h.Path("state"),
		"XDG_DATA_HOME="+h.Path("share"), "COFFER_STORE="+h.Path("store"), "COFFER_LISTEN=127.0.0.1:0")
	t.Cleanup(h.leave)
	return h
}

// Path is a path below the house.
func (h *House) Path(name string) string { return filepath.Join(h.Dir, name) }

// Mkdir makes a directory below the house and returns its path.
func (h *House) Mkdir(name string) string {
	h.t.Helper()
	if err := os.MkdirAll(h.Path(name), 0o755); err != nil {
		h.t.Fatal(err)
	}
	return h.Path(name)
}

// Result is what a run of a program left.
type Result struct {
	Code           int
	Stdout, Stderr string
}

func (r Result) String() string { return fmt.Sprintf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr) }

// patience is how long a command, or what the tests wait for, may take: a daemon that
// ends in order takes a minute where it has to, and a disk that is busy with others'
// files takes long over an fsync.
const patience = 3 * time.Minute

// Exec runs a program with the house's environment and extra variables. It is
// safe for concurrent use.
func (h *House) Exec(env []string, name string, args ...string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append([]string(nil), h.env...), env...)
	cmd.Dir = h.Dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return Result{Code: -1, Stderr: err.Error()}
	}
	return Result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// Coffer runs the program under test.
func (h *House) Coffer(args ...string) Result { return h.Exec(nil, program, args...) }

// OK runs the program under test, fails the test unless it ends with 0, and
// returns its standard output.
func (h *House) OK(args ...string) string {
	h.t.Helper()
	r := h.Coffer(args...)
	if r.Code != 0 {
		h.t.Fatalf("coffer %s: %v", strings.Join(args, " "), r)
	}
	return r.Stdout
}

// Mount mounts all buckets on the directory mnt of the house, with more flags,
// and returns it. It makes the store, or starts a daemon on the one there is.
func (h *House) Mount(flags ...string) string {
	h.t.Helper()
	NeedFUSE(h.t)
	dir := h.Path("mnt")
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		// A dead daemon's mount answers with ENOTCONN: coffer cleans it up.
		if !errors.Is(err, syscall.ENOTCONN) {
			h.t.Fatal(err)
		}
	}
	h.OK(append([]string{"mount", dir}, flags...)...)
	h.Status()
	return dir
}

// Umount removes the mount that Mount made, which ends its daemon.
func (h *House) Umount() {
	h.t.Helper()
	h.OK("umount", h.Path("mnt"))
}

// Serve starts a daemon without a mount and waits until it answers.
func (h *House) Serve(flags ...string) {
	h.t.Helper()
	if r := h.TryServe(flags...); r != nil {
		h.t.Fatalf("coffer serve ended: %v\n%s", r, h.Logs())
	}
}

// TryServe is Serve for a daemon that may refuse to start: it returns what that said,
// nil for one that answers.
func (h *House) TryServe(flags ...string) *Result {
	h.t.Helper()
	cmd := exec.Command(program, append([]string{"serve"}, flags...)...)
	cmd.Env, cmd.Dir = h.env, h.Dir
	if err := os.MkdirAll(h.Path("state"), 0o755); err != nil {
		h.t.Fatal(err)
	}
	log, err := os.OpenFile(h.Path("state/serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	before, err := log.Seek(0, io.SeekEnd)
	if err == nil {
		err = cmd.Start()
	}
	log.Close()
	if err != nil {
		h.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // ProcessState tells
	}()
	var refused *Result
	h.Await("the daemon", func() bool {
		select {
		case <-ended:
			said, err := os.ReadFile(h.Path("state/serve.log"))
			if err != nil {
				h.t.Fatal(err)
			}
			refused = &Result{Code: cmd.ProcessState.ExitCode(), Stderr: string(said[before:])}
			return true
		default:
		}
		s, err := h.TryStatus()
		return err == nil && s.Running && s.PID == cmd.Process.Pid
	})
	return refused
}

// TryStatus asks the program for its status.
func (h *House) TryStatus() (Status, error) {
	var s Status
	r := h.Coffer("status", "--json")
	if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil {
		return s, fmt.Errorf("status: %w: %v", err, r)
	}
	return s, nil
}

// Status is TryStatus for a store that has to have a daemon.
func (h *House) Status() Status {
	h.t.Helper()
	s, err := h.TryStatus()
	if err != nil {
		h.t.Fatal(err)
	}
	if !s.Running {
		h.t.Fatalf("no daemon runs; its log:\n%s", h.Logs())
	}
	return s
}

// Signal sends a signal to the daemon and waits until the process is gone.
func (h *House) Signal(sig syscall.Signal) {
	h.t.Helper()
	h.end(h.Status().PID, sig)
}

// end sends a signal to a daemon of this house and waits until the process is gone.
func (h *House) end(pid int, sig syscall.Signal) {
	h.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		h.t.Errorf("kill %d: %v", pid, err)
		return
	}
	for deadline := time.Now().Add(patience); alive(pid); {
		if time.Now().After(deadline) {
			h.t.Errorf("process %d does not end after %v; its threads:\n%s", pid, sig, threads(pid))
			h.abortConnections()
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// threads tells what the threads of a process wait for in the kernel.
func threads(pid int) string {
	var b strings.Builder
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, task := range tasks {
		stat, _ := os.ReadFile(task + "/stat")
		stack, _ := os.ReadFile(task + "/stack")
		fmt.Fprintf(&b, "%.60s\n%s", stat, stack)
	}
	return b.String()
}

// alive reports whether a process is there and more than a zombie. One whose
// first thread is a zombie can still have others that are about to end.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	if !bytes.Contains(stat, []byte(") Z ")) {
		return true
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && len(threads) > 1
}

// Await polls a condition of the world outside this process.
func (h *House) Await(what string, cond func() bool) { h.t.Helper(); await(h.t, what, cond) }

func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Logs is the text of all daemons' logs.
func (h *House) Logs() string {
	var b strings.Builder
	for _, pattern := range []string{"state/coffer/*.log*", "state/*.log"} {
		files, _ := filepath.Glob(h.Path(pattern))
		for _, f := range files {
			text, _ := os.ReadFile(f)
			b.Write(text)
		}
	}
	return b.String()
}

// leave takes down what is left, and fails the test for what should not be.
func (h *House) leave() {
	for _, pid := range h.processes() {
		h.end(pid, syscall.SIGTERM)
	}
	for _, dir := range mountsBelow(h.Dir) {
		h.t.Errorf("mount left behind: %s", dir)
		if syscall.Unmount(dir, 0) != nil {
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
	}
	for _, pid := range h.processes() {
		h.t.Errorf("process left behind: %d", pid)
		h.end(pid, syscall.SIGKILL)
	}
	for _, pid := range h.guards() {
		if n := listening(pid); n > 0 {
			h.t.Errorf("process %d, a guard, has %d ports open", pid, n)
		}
	}
	logs := h.Logs()
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if strings.Contains(logs, bad) {
			h.t.Errorf("the daemon's log says %q", bad)
		}
	}
	if h.t.Failed() {
		if len(logs) > 32<<10 {
			logs = logs[:16<<10] + "\n[...]\n" + logs[len(logs)-16<<10:]
		}
		h.t.Logf("logs of the daemons:\n%s", logs)
		if os.Getenv("COFFER_KEEP") != "" {
			h.t.Logf("kept %s", h.Dir)
			return
		}
	}
	os.RemoveAll(h.Dir)
}

// abortConnections ends what waits for daemons of this house that do not
// answer, so that a failed test does not hang.
func (h *House) abortConnections() {
	for _, dir := range mountsBelow(h.Dir) {
		_ = unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	}
}

// processes are the daemons of this house: processes that run the program
// under test with the house's store in their environment.
func (h *House) processes() []int { return h.running(false) }

// guards are the processes that the daemons of this house have beside them. They end
// with their daemons, a moment later.
func (h *House) guards() []int { return h.running(true) }

func (h *House) running(guards bool) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		pid, err := strconv.Atoi(filepath.Base(p))
		if err != nil || !alive(pid) {
			continue
		}
		exe, err := os.Readlink(p + "/exe")
		if err != nil || exe != program {
			continue
		}
		if args, _ := os.ReadFile(p + "/cmdline"); bytes.HasSuffix(args, []byte("\x00guard\x00")) != guards {
			continue
		}
		env, _ := os.ReadFile(p + "/environ")
		if bytes.Contains(env, []byte("COFFER_STORE="+h.Dir+"/")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// listening counts the TCP ports that a process listens on. To ask a port itself would
// be to ask whoever has its number by now.
func listening(pid int) (n int) {
	sockets := map[string]bool{}
	for _, name := range []string{"tcp", "tcp6"} {
		table, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" { // TCP_LISTEN
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, f := range files {
		if target, err := os.Readlink(f); err == nil && sockets[target] {
			n++
		}
	}
	return n
}

// mountsBelow are the mount points at and below dir, deepest first.
func mountsBelow(dir string) (found []string) {
	table, _ := os.ReadFile("/proc/self/mountinfo")
	for _, line := range strings.Split(string(table), "\n") {
		f := strings.Fields(line)
		if len(f) > 4 && (f[4] == dir || strings.HasPrefix(f[4], dir+"/")) {
			found = append([]string{f[4]}, found...)
		}
	}
	return found
}

// Admin is an HTTP client of the daemon's admin socket; the host of a URL does
// not matter.
func (h *House) Admin() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", h.Path("store/run/admin.sock"))
		},
	}}
}

// missing skips a test that lacks something of the machine, or fails it where
// everything is supposed to be there.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("COFFER_REQUIRE") != "" {
		t.Fatalf("COFFER_REQUIRE is set: "+format, args...)
	}
	t.Skipf(format, args...)
}

// NeedFUSE skips where nothing can be mounted.
func NeedFUSE(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		missing(t, "no FUSE here, the mount is not tested: %v", err)
		return
	}
	f.Close()
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("fusermount3"); err != nil {
			missing(t, "fusermount3 is not installed (package fuse3), the mount is not tested")
		}
	}
}

// NeedRoot skips what only root can do.
func NeedRoot(t testing.TB, what string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("needs root: %s", what)
	}
}

// long reports whether the long forms of the tests were asked for.
func long() bool { return os.Getenv("COFFER_LONG") != "" }

// seed is the seed of a randomised test; it is printed.
func seed(t testing.TB) int64 {
	t.Helper()
	n := time.Now().UnixNano()
	if s := os.Getenv("COFFER_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseInt(s, 10, 64); err != nil {
			t.Fatalf("COFFER_SEED: %v", err)
		}
	}
	t.Logf("seed: COFFER_SEED=%d", n)
	return n
}
