package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFirstMountMakesAStoreAndSaysSo(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	out := h.ok("mount", h.mkdir("mnt"))
	keys, _ := filepath.Glob(h.path("config/coffer/keys/*.key"))
	if len(keys) != 1 {
		t.Fatalf("key files: %v", keys)
	}
	for _, want := range []string{h.path("store"), keys[0], "loses the data", "coffer env --store", "aws s3 ls", h.path("mnt")} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
	for path, mode := range map[string]os.FileMode{
		keys[0]: 0o600, filepath.Dir(keys[0]): 0o700, h.path("store"): 0o700,
		h.path("store/run"): 0o700, h.path("store/run/admin.sock"): 0o600,
		h.path("store/superblock"): 0o600, h.path("store/keystore"): 0o600,
		h.path("store/superblock.copy"): 0o600, h.path("store/keystore.copy"): 0o600,
	} {
		st, err := os.Stat(path)
		if err != nil {
			t.Error(err)
		} else if st.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, want %v", path, st.Mode().Perm(), mode)
		}
	}
	s := h.mustStatus()
	if !s.Running || s.PID == 0 || s.Store != h.path("store") || len(s.Mounts) != 1 || s.Mounts[0].Mountpoint != h.path("mnt") {
		t.Errorf("status: %+v", s)
	}
	if u, err := url.Parse(s.Endpoint); err != nil || u.Scheme != "https" || u.Hostname() != "127.0.0.1" || u.Port() == "0" {
		t.Errorf("endpoint %q", s.Endpoint)
	}
	env := h.ok("env")
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT_URL=" + s.Endpoint, "AWS_CA_BUNDLE"} {
		if !strings.Contains(env, "export "+name) {
			t.Errorf("env lacks %s:\n%s", name, env)
		}
	}
	if lines := strings.Split(strings.TrimSpace(env), "\n"); len(lines) != 6 {
		t.Errorf("env has %d lines", len(lines))
	}
}

func TestUmountOfTheLastMountEndsTheDaemon(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir := h.mkdir("mnt")
	h.ok("mount", dir)
	first := h.mustStatus()
	h.ok("umount", dir)
	if mounted(dir) {
		t.Error("still mounted")
	}
	if alive(first.PID) {
		t.Error("the daemon lives on after umount returned")
	}
	if r := h.coffer("status"); r.code != exitNotRunning {
		t.Errorf("status: exit code %d\n%s", r.code, r.stderr)
	}
	if out := h.ok("mount", dir); strings.Contains(out, "made a store") {
		t.Errorf("made the store anew:\n%s", out)
	}
	if s := h.mustStatus(); s.StoreID != first.StoreID {
		t.Error("another store")
	}
}

func TestFurtherMountsAskTheRunningDaemon(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	a, b, c := h.mkdir("a"), h.mkdir("b"), h.mkdir("c")
	h.ok("mount", "--bucket", "first", a)
	pid := h.mustStatus().PID
	h.ok("mount", "--bucket", "second", b)
	h.ok("mount", "--bucket", "second", c, "--read-only")
	s := h.mustStatus()
	if s.PID != pid || len(s.Mounts) != 3 {
		t.Fatalf("status: %+v", s)
	}
	h.refused(exitFailed, []string{"mount", "--bucket", "third", b}, "already")
	h.ok("umount", a)
	h.ok("umount", b)
	if s := h.mustStatus(); s.PID != pid || len(s.Mounts) != 1 {
		t.Fatalf("status: %+v", s)
	}
	h.ok("umount", c)
}

func TestSecondMountOfTheSameFilesIsCoherent(t *testing.T) {
	needFUSE(t)
	if os.Geteuid() != 0 {
		t.Skip("binding a mount needs root")
	}
	h := newHouse(t)
	a, b, c := h.mkdir("a"), h.mkdir("b"), h.mkdir("c")
	h.ok("mount", a)
	h.ok("mount", b)
	if err := os.Mkdir(filepath.Join(a, "photos"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.ok("mount", "--bucket", "photos", c)
	dirs := []string{a + "/photos", b + "/photos", c}
	for round := range 3 {
		for i, dir := range dirs {
			text := fmt.Sprintf("%d %d%s", round, i, strings.Repeat("x", 10*round))
			f, err := os.OpenFile(filepath.Join(dir, "f"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString(text); err != nil {
				t.Fatal(err)
			}
			f.Close()
			want, _ := os.ReadFile(filepath.Join(dir, "f"))
			for _, other := range dirs {
				got, err := os.ReadFile(filepath.Join(other, "f"))
				if err != nil || string(got) != string(want) || !strings.HasSuffix(string(got), text) {
					t.Fatalf("%s shows %q, want %q (%v)", other, got, want, err)
				}
			}
		}
	}
	// The first one is gone, what shares its file system stays.
	h.ok("umount", a)
	if _, err := os.ReadFile(filepath.Join(c, "f")); err != nil {
		t.Error(err)
	}
	h.ok("umount", c)
	h.ok("umount", b)
}

func TestWhatAnUmountReturnedForIsThere(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir := h.mkdir("mnt")
	h.ok("mount", "--bucket", "docs", dir)
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.ok("umount", dir)
	h.ok("mount", "--bucket", "docs", dir)
	if got, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBusyMountStaysAndNamesItsUser(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir := h.mkdir("mnt")
	h.ok("mount", dir)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := h.coffer("umount", dir)
	if r.code != exitFailed || !strings.Contains(r.stderr, "in use") || !strings.Contains(r.stderr, fmt.Sprint(os.Getpid())) {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	if !mounted(dir) {
		t.Error("unmounted all the same")
	}
	f.Close()
	h.ok("umount", dir)
}

func TestSignalsShutDownCleanly(t *testing.T) {
	needFUSE(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			h := newHouse(t)
			a, b := h.mkdir("a"), h.mkdir("b")
			h.ok("mount", "--bucket", "first", a)
			h.ok("mount", "--bucket", "second", b)
			h.endProcess(h.mustStatus().PID, sig)
			if mounted(a) || mounted(b) {
				t.Error("still mounted")
			}
			left, _ := filepath.Glob(h.path("store/run/*"))
			if !slices.Equal(left, []string{h.path("store/run/ca.pem")}) {
				t.Errorf("left in the run directory: %v", left)
			}
			h.ok("mount", a)
			h.ok("umount", a)
		})
	}
}

func TestSIGTERMWithABusyMountTakesItOutOfTheTree(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir := h.mkdir("mnt")
	h.ok("mount", dir)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h.endProcess(h.mustStatus().PID, syscall.SIGTERM)
	if mounted(dir) {
		t.Error("still mounted")
	}
	f.Close()
	h.ok("mount", dir)
	h.ok("umount", dir)
}

func TestDeadDaemonsMountIsCleanedUp(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir, link := h.mkdir("mnt"), h.path("link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, next := range [][]string{{"mount", dir}, {"mount", link}, {"umount", dir}, {"umount", link}} {
		if !mounted(dir) {
			h.ok("mount", dir)
		}
		h.endProcess(h.mustStatus().PID, syscall.SIGKILL)
		if !mounted(dir) {
			t.Fatal("the kernel removed the mount by itself")
		}
		h.ok(next...)
		if _, err := os.ReadDir(dir); err != nil {
			t.Errorf("after %v: %v", next, err)
		}
		if next[0] == "umount" && mounted(dir) {
			t.Errorf("after %v: still mounted", next)
		}
	}
}

func TestForegroundStaysUntilTheMountIsGone(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir := h.mkdir("mnt")
	for _, end := range []string{"umount", "signal"} {
		cmd := h.command("mount", "--foreground", dir)
		done := make(chan result, 1)
		go func() { done <- h.finish(cmd) }()
		h.await(func() bool { s, err := h.status(); return err == nil && len(s.Mounts) == 1 })
		if end == "umount" {
			h.ok("umount", dir)
		} else if err := syscall.Kill(h.mustStatus().PID, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if r := <-done; r.code != 0 || !strings.Contains(r.stdout, "mounted on") {
			t.Errorf("%s: exit code %d\n%s%s", end, r.code, r.stdout, r.stderr)
		}
		if mounted(dir) {
			t.Errorf("%s: still mounted", end)
		}
	}
}

func TestServeGoesOnWithoutMounts(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir := h.mkdir("mnt")
	done := make(chan result, 1)
	cmd := h.command("serve")
	go func() { done <- h.finish(cmd) }()
	h.await(func() bool { s, err := h.status(); return err == nil && s.Running })
	h.ok("mount", dir)
	h.ok("umount", dir)
	s := h.mustStatus()
	if !s.Running || len(s.Mounts) != 0 {
		t.Errorf("status: %+v", s)
	}
	h.refused(exitFailed, []string{"serve"}, "in use by process", fmt.Sprint(s.PID))
	if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.code != 0 || !strings.Contains(r.stdout, s.Endpoint) {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

func TestMountsThatStartTogetherShareADaemon(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	const n = 4
	done := make(chan result, n)
	for i := range n {
		cmd := h.command("mount", "--bucket", fmt.Sprintf("bucket%d", i), h.mkdir(fmt.Sprint("mnt", i)))
		go func() { done <- h.finish(cmd) }()
	}
	for range n {
		if r := <-done; r.code != 0 {
			t.Errorf("exit code %d\n%s", r.code, r.stderr)
		}
	}
	if s := h.mustStatus(); len(s.Mounts) != n {
		t.Errorf("status: %+v", s)
	}
}

// await polls a condition of another process.
func (h *house) await(cond func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			h.t.Fatal("waited in vain")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestReadOnlyMountChangesNothingInTheStore(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir, second := h.mkdir("mnt"), h.mkdir("second")
	h.ok("mount", "--bucket", "docs", dir)
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	// Killed, so that there is something to replay.
	h.endProcess(h.mustStatus().PID, syscall.SIGKILL)
	h.ok("umount", dir)
	before := h.snapshot()
	h.ok("mount", "--read-only", "--bucket", "docs", dir)
	if s := h.mustStatus(); !s.ReadOnly || !s.Mounts[0].ReadOnly {
		t.Errorf("status: %+v", s)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	for what, err := range map[string]error{
		"write":  os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o644),
		"mkdir":  os.Mkdir(filepath.Join(dir, "d"), 0o755),
		"unlink": os.Remove(filepath.Join(dir, "f")),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if r := h.coffer("mount", second); r.code != exitFailed || !strings.Contains(r.stderr, "read-only") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	h.ok("mount", "--read-only", second)
	h.ok("umount", second)
	h.ok("umount", dir)
	after := h.snapshot()
	for name, was := range before {
		if after[name] != was && !strings.HasPrefix(name, h.path("store/run")) {
			t.Errorf("%s was changed", name)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok && !strings.HasPrefix(name, h.path("store/run")) {
			t.Errorf("%s was made", name)
		}
	}
}

func TestKilledInitIsFinishedByTheNext(t *testing.T) {
	h := newHouse(t)
	for i := range 8 {
		store := h.path(fmt.Sprint("store", i))
		key := h.path(fmt.Sprint("key", i))
		cmd := h.command("init", "--store", store, "--key-file", key)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The moment is arbitrary; what is asserted holds for every moment.
		time.Sleep(time.Duration(i) * 9 * time.Millisecond)
		_ = cmd.Process.Kill()
		killed := cmd.Wait() != nil
		r := h.coffer("init", "--store", store, "--key-file", key)
		switch {
		case r.code == 0:
		case strings.Contains(r.stderr, "already"): // it was complete, or nearly
		default:
			t.Errorf("init killed (%v) after %d ms: exit code %d\n%s", killed, 9*i, r.code, r.stderr)
		}
		if r := h.coffer("init", "--store", store, "--key-file", key); !strings.Contains(r.stderr, "already") {
			t.Errorf("no store after all: %s", r.stderr)
		}
	}
}

func TestOverlappingMountTakesTheWritebackCacheAway(t *testing.T) {
	needFUSE(t)
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprintf("kill=%v", kill), func(t *testing.T) {
			h := newHouse(t)
			part, whole := h.mkdir("part"), h.mkdir("whole")
			h.ok("mount", "--bucket", "docs", part)
			if s := h.mustStatus(); s.Mounts[0].Cache != "writeback" {
				t.Fatalf("status: %+v", s)
			}
			file := filepath.Join(part, "f")
			if err := os.WriteFile(file, []byte("first"), 0o644); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r := h.coffer("mount", whole)
			if r.code != exitFailed || !strings.Contains(r.stderr, fmt.Sprint(os.Getpid())) || !strings.Contains(r.stderr, "through") {
				t.Errorf("over a mount in use: exit code %d\n%s", r.code, r.stderr)
			}
			if s := h.mustStatus(); len(s.Mounts) != 1 || s.Mounts[0].Cache != "writeback" {
				t.Errorf("status: %+v", s)
			}
			f.Close()
			h.ok("mount", whole)
			if s := h.mustStatus(); len(s.Mounts) != 2 || s.Mounts[0].Cache != "through" || s.Mounts[1].Cache != "through" {
				t.Errorf("status: %+v", s)
			}
			for i, name := range []string{file, filepath.Join(whole, "docs/f"), file} {
				a, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := fmt.Fprintf(a, " and %d", i); err != nil {
					t.Fatal(err)
				}
				if err := a.Close(); err != nil {
					t.Fatal(err)
				}
				want := "first and 0 and 1 and 2"[:len("first")+6*(i+1)]
				// One mount learns of the other's changes soon, not at once.
				for _, from := range []string{file, filepath.Join(whole, "docs/f")} {
					h.await(func() bool { got, err := os.ReadFile(from); return err == nil && string(got) == want })
				}
			}
			pid := h.mustStatus().PID
			if kill {
				h.endProcess(pid, syscall.SIGKILL)
				h.ok("umount", part)
				h.ok("umount", whole)
			} else {
				h.ok("umount", whole)
				h.ok("umount", part)
				if alive(pid) {
					t.Error("the daemon lives on")
				}
			}
			if mounted(part) || mounted(whole) {
				t.Error("still mounted")
			}
		})
	}
}

func TestForegroundOutlivesWhoReadItsLog(t *testing.T) {
	needFUSE(t)
	h := newHouse(t)
	dir := h.mkdir("mnt")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := h.command("mount", "--foreground", dir)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	h.await(func() bool { return mounted(dir) })
	h.ok("umount", dir) // which is logged
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
