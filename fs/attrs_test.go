package fs

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

func TestTimesInNanoseconds(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		p := m.path("file")
		write(t, p, "x")
		for _, ts := range [][2]unix.Timespec{
			{{Sec: 1, Nsec: 1}, {Sec: 2, Nsec: 999999999}},
			{{Sec: -1, Nsec: 5}, {Sec: -100000, Nsec: 123456789}},
			{{Sec: 4102444800, Nsec: 7}, {Sec: 9000000000, Nsec: 8}},
		} {
			if err := unix.UtimesNanoAt(unix.AT_FDCWD, p, ts[:], 0); err != nil {
				t.Fatal(err)
			}
			st := stat(t, p)
			if st.Atim != ts[0] || st.Mtim != ts[1] {
				t.Errorf("set %v, got %v %v", ts, st.Atim, st.Mtim)
			}
		}
		before := stat(t, p)
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_NOW}}, 0); err != nil {
			t.Fatal(err)
		}
		st := stat(t, p)
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
			t.Fatal(err)
		}
		if st.Atim != before.Atim || st.Mtim.Sec < now.Sec-600 || st.Mtim.Sec > now.Sec+1 {
			t.Errorf("UTIME_OMIT and UTIME_NOW gave %v %v", st.Atim, st.Mtim)
		}
	})
}

func TestTimesSetOnAnOpenFileStay(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		p := m.path("file")
		f, err := os.Create(p)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("dirty")
		want := unix.Timespec{Sec: 1234567890, Nsec: 987654321}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{want, want}, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if st := stat(t, p); st.Mtim != want {
			t.Errorf("mtime %v in the kernel, want %v", st.Mtim, want)
		}
		dropCaches(t)
		if st := stat(t, p); st.Mtim != want || st.Size != 5 {
			t.Errorf("mtime %v, size %d in the store, want %v, 5", st.Mtim, st.Size, want)
		}
	})
}

// dropCaches makes the kernel forget what it can of names and attributes.
func dropCaches(t testing.TB) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
		t.Logf("caches stay: %v", err)
	}
}

func TestModesAndOwners(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		old := syscall.Umask(027)
		write(t, m.path("masked"), "")
		os.Mkdir(m.path("dir"), 0777)
		syscall.Umask(old)
		if st := stat(t, m.path("masked")); st.Mode&07777 != 0640 {
			t.Errorf("umask 027: file has %o", st.Mode)
		}
		if st := stat(t, m.path("dir")); st.Mode&07777 != 0750 {
			t.Errorf("umask 027: directory has %o", st.Mode)
		}
		for _, mode := range []uint32{0, 0777, 04755, 02755, 01777, 07777} {
			if err := unix.Chmod(m.path("masked"), mode); err != nil {
				t.Fatal(err)
			}
			if st := stat(t, m.path("masked")); st.Mode&07777 != mode {
				t.Errorf("chmod %o gave %o", mode, st.Mode)
			}
		}
		if os.Geteuid() != 0 {
			return
		}
		if err := unix.Chown(m.path("masked"), 1234, 5678); err != nil {
			t.Fatal(err)
		}
		if st := stat(t, m.path("masked")); st.Uid != 1234 || st.Gid != 5678 || st.Mode&06000 != 0 {
			t.Errorf("chown gave %d:%d, mode %o (setuid and setgid go)", st.Uid, st.Gid, st.Mode)
		}
		if err := unix.Chown(m.path("masked"), -1, 99); err != nil {
			t.Fatal(err)
		}
		if st := stat(t, m.path("masked")); st.Uid != 1234 || st.Gid != 99 {
			t.Errorf("chgrp gave %d:%d", st.Uid, st.Gid)
		}
		unix.Chmod(m.path("dir"), 02775)
		unix.Chown(m.path("dir"), -1, 4321)
		write(t, m.path("dir/file"), "")
		os.Mkdir(m.path("dir/sub"), 0755)
		if st := stat(t, m.path("dir/file")); st.Gid != 4321 {
			t.Errorf("a file in a setgid directory has group %d", st.Gid)
		}
		if st := stat(t, m.path("dir/sub")); st.Gid != 4321 || st.Mode&02000 == 0 {
			t.Errorf("a directory in a setgid directory has group %d, mode %o", st.Gid, st.Mode)
		}
	})
}

// as runs a shell command as an unprivileged user.
func as(t *testing.T, uid uint32, dir, script string) error {
	t.Helper()
	c := shell(dir, script)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// asUser calls fn with the rights that a user has to files.
func asUser(uid int, fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with its goroutine
		if err := unix.Setfsuid(uid); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

func TestPermissionsAreEnforced(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	m := mountBucket(t, Options{AllowOther: true})
	os.Chmod(m.dir, 0755)
	write(t, m.path("secret"), "s")
	os.Chmod(m.path("secret"), 0600)
	write(t, m.path("open"), "o")
	if err := as(t, 4711, m.dir, "cat open"); err != nil {
		t.Error(err)
	}
	for _, script := range []string{"cat secret", "echo x > open", "rm open", "mkdir d", "chmod 777 open", "mv open p"} {
		if err := as(t, 4711, m.dir, script+" 2>/dev/null"); err == nil {
			t.Errorf("%s was allowed", script)
		}
	}
	private := mountStore(t, m.store, Options{Root: m.root})
	if err := as(t, 4711, "/", "ls "+private.dir); err == nil {
		t.Error("another user sees a mount without allow_other")
	}
}

func TestWhatOthersChangeLosesSetuid(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, writeback := range [...]bool{false, true} {
		m := mountBucket(t, Options{AllowOther: true, Writeback: writeback})
		os.Chmod(m.dir, 0755)
		p := m.path("file")
		for _, c := range [...]struct {
			uid    uint32
			script string
			keeps  bool
		}{
			{4711, "dd if=/dev/zero of=file bs=4096 count=1 conv=notrunc", false},
			{4711, "dd if=/dev/zero of=file bs=4096 count=1 conv=notrunc oflag=direct", false},
			{4711, "dd if=/dev/zero of=file bs=4096 seek=2 count=1 conv=notrunc oflag=direct", false},
			{4711, "echo shorter > file", false},
			{4711, "truncate -s 100 file", false},
			{4711, "fallocate -l 100000 file", false},
			{4711, "fallocate -p -o 0 -l 4096 file", false},
			{0, "dd if=/dev/zero of=file bs=4096 count=1 conv=notrunc oflag=direct", true},
			{0, "fallocate -p -o 0 -l 4096 file", true},
		} {
			write(t, p, strings.Repeat("x", 8192))
			if err := errors.Join(os.Chown(p, 4711, 4711), unix.Chmod(p, 06777)); err != nil {
				t.Fatal(err)
			}
			stat(t, p) // the kernel knows the mode
			if err := as(t, c.uid, m.dir, c.script); err != nil {
				t.Error(err)
			}
			want := uint32(0777)
			if c.keeps {
				want = 06777
			}
			// Asked for the mode alone, the kernel does not ask us for what else changed.
			var st unix.Statx_t
			if err := unix.Statx(unix.AT_FDCWD, p, 0, unix.STATX_MODE, &st); err != nil || uint32(st.Mode)&07777 != want {
				t.Errorf("writeback %v, user %d: %s: mode %o in the kernel, want %o, %v", writeback, c.uid, c.script, st.Mode&07777, want, err)
			}
			if a, err := m.store.Lookup(t.Context(), m.root, "file"); err != nil || a.Mode != want {
				t.Errorf("writeback %v, user %d: %s: mode %o in the store, want %o, %v", writeback, c.uid, c.script, a.Mode, want, err)
			}
		}
	}
}

// To root in a mount of its own permission bits say one thing only.
func TestAccessTellsRootWhatIsAProgram(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("about root")
	}
	eachMode(t, func(t *testing.T, m *mounted) {
		p := m.path("file")
		write(t, p, "#!/bin/sh\n")
		for mode, program := range map[os.FileMode]bool{0: false, 0o644: false, 0o001: true, 0o755: true} {
			if err := os.Chmod(p, mode); err != nil {
				t.Fatal(err)
			}
			if err := unix.Access(p, unix.R_OK|unix.W_OK); err != nil {
				t.Errorf("%v: read and write: %v", mode, err)
			}
			if err := unix.Access(p, unix.X_OK); (err == nil) != program {
				t.Errorf("%v: execute: %v", mode, err)
			}
			if f, err := os.OpenFile(p, os.O_RDWR, 0); err != nil {
				t.Errorf("%v: open: %v", mode, err)
			} else {
				f.Close()
			}
		}
		d := m.path("dir")
		if err := os.Mkdir(d, 0); err != nil {
			t.Fatal(err)
		}
		if err := unix.Access(d, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
			t.Errorf("a directory: %v", err)
		}
		write(t, d+"/f", "x")
	})
}

func TestWriteTakesPrivilegesAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, wb := range []bool{false, true} {
		m := mountBucket(t, Options{AllowOther: true, Writeback: wb})
		for name, script := range map[string]string{"write": "echo x >> f", "truncate": ": > f", "shrink": "truncate -s 1 f"} {
			p := m.path("f")
			os.Remove(p)
			write(t, p, "content")
			if err := unix.Chmod(p, 06777); err != nil {
				t.Fatal(err)
			}
			capability := []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
			if err := unix.Setxattr(p, "security.capability", capability, 0); err != nil {
				t.Fatal(err)
			}
			stat(t, p)
			if err := as(t, 4711, m.dir, script); err != nil {
				t.Fatal(err)
			}
			if st := stat(t, p); st.Mode&06000 != 0 {
				t.Errorf("writeback %v: %s by another user left mode %o", wb, name, st.Mode&07777)
			}
			if n, err := unix.Getxattr(p, "security.capability", nil); err != syscall.ENODATA {
				t.Errorf("writeback %v: %s left capabilities: %d bytes, %v", wb, name, n, err)
			}
		}
	}
}

func TestXattrLimits(t *testing.T) {
	m := mountBucket(t, Options{})
	p := m.path("file")
	write(t, p, "")
	for _, n := range []int{0, 1, 4096, 60000} {
		v := bytes.Repeat([]byte{7}, n)
		if err := unix.Setxattr(p, "user.v", v, 0); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		buf := make([]byte, 65536)
		got, err := unix.Getxattr(p, "user.v", buf)
		if err != nil || !bytes.Equal(buf[:got], v) {
			t.Errorf("%d bytes: %d, %v", n, got, err)
		}
		if n > 1 {
			_, err = unix.Getxattr(p, "user.v", buf[:n-1])
			wantErr(t, "a buffer one too small", err, syscall.ERANGE)
		}
	}
	wantErr(t, "more than fits", unix.Setxattr(p, "user.w", make([]byte, 10000), 0), syscall.ENOSPC)
	wantErr(t, "CREATE of one that is there", unix.Setxattr(p, "user.v", nil, unix.XATTR_CREATE), syscall.EEXIST)
	wantErr(t, "REPLACE of one that is not", unix.Setxattr(p, "user.x", nil, unix.XATTR_REPLACE), syscall.ENODATA)
	wantErr(t, "remove of one that is not", unix.Removexattr(p, "user.x"), syscall.ENODATA)
	if err := unix.Setxattr(p, "user.v", []byte("short"), unix.XATTR_REPLACE); err != nil {
		t.Error(err)
	}
	longest := "user." + strings.Repeat("n", 250)
	if err := unix.Setxattr(p, longest, []byte("v"), unix.XATTR_CREATE); err != nil {
		t.Errorf("name of 255 bytes: %v", err)
	}
	if os.Geteuid() == 0 {
		if err := unix.Setxattr(p, "trusted.t", []byte("t"), 0); err != nil {
			t.Error(err)
		}
	}
	buf := make([]byte, 4096)
	n, err := unix.Listxattr(p, buf)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	for _, want := range []string{"user.v", longest} {
		if !slices.Contains(names, want) {
			t.Errorf("listxattr has %.80q", names)
		}
	}
	_, err = unix.Getxattr(p, "system.posix_acl_access", buf)
	wantErr(t, "ACLs", err, syscall.EOPNOTSUPP)
	if err := unix.Setxattr(m.dir, "user.dir", []byte("d"), 0); err != nil {
		t.Errorf("on a directory: %v", err)
	}
}

// A user's cp -a would otherwise ask for attributes that it may not read.
func TestTrustedAttributesAreListedForRootAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	m := mountBucket(t, Options{AllowOther: true})
	p := m.path("file")
	write(t, p, "")
	for _, name := range []string{"trusted.t", "user.u"} {
		if err := unix.Setxattr(p, name, []byte("v"), 0); err != nil {
			t.Fatal(err)
		}
	}
	listed := func(uid int) string {
		buf := make([]byte, 4096)
		var n int
		err := asUser(uid, func() (err error) {
			n, err = unix.Listxattr(p, buf)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if got := listed(0); !strings.Contains(got, "trusted.t\x00") || !strings.Contains(got, "user.u\x00") {
		t.Errorf("root sees %q", got)
	}
	if got := listed(4711); strings.Contains(got, "trusted.") || !strings.Contains(got, "user.u\x00") {
		t.Errorf("another user sees %q", got)
	}
}

func TestStatfs(t *testing.T) {
	m := mountBucket(t, Options{})
	var st unix.Statfs_t
	if err := unix.Statfs(m.dir, &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks == 0 || st.Bfree > st.Blocks || st.Bavail > st.Bfree || st.Namelen != 255 {
		t.Errorf("%+v", st)
	}
}

// A file that is made and written within one tick of the kernel's clock has the
// time in our answer to CREATE that the kernel gives it, which then hands over
// none. The WRITE may come later, and must not leave its own time.
func TestMtimeIsTheKernelsWhereItHandsOverNone(t *testing.T) {
	sets := &counter{what: ": SETATTR n"}
	m := mountBucket(t, Options{Writeback: true, Debug: true, Logger: slog.New(slog.NewTextHandler(sets, nil))})
	const n = 40
	for round := range 50 {
		before := sets.n.Load()
		var files [n]*os.File
		for i := range files {
			f, err := os.Create(m.path(fmt.Sprintf("%d-%d", round, i)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString("written"); err != nil {
				t.Fatal(err)
			}
			files[i] = f
		}
		nextTick(t) // the pages are written back in a later one
		for i, f := range files {
			if i%2 == 0 {
				if err := f.Sync(); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			name := fmt.Sprintf("%d-%d", round, i)
			st := stat(t, m.path(name))
			a, err := m.store.Lookup(t.Context(), m.root, name)
			if err != nil {
				t.Fatal(err)
			}
			if want := objstore.Time(st.Mtim.Nano()); a.Mtime != want {
				t.Errorf("file %s: mtime %d in the kernel, %d in the store", name, want, a.Mtime)
			}
		}
		if sets.n.Load()-before < n {
			return
		}
		// A busy machine took more than a tick for each of them.
	}
	t.Error("the kernel handed over the times of every file of every round")
}

// nextTick waits for the clock that times of files are taken from.
func nextTick(t *testing.T) {
	for begun := tick(t); tick(t) == begun; {
		runtime.Gosched()
	}
}

func tick(t *testing.T) int64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}
