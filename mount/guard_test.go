package mount

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// patience is how long something may take before a test gives it up: the kernel ends a
// file system when the disks of others let it, which took half a minute once.
const patience = 3 * time.Minute

// hangEnv makes the test binary a daemon that hangs; see hangingDaemon.
const hangEnv = "COFFER_TEST_HANG"

func TestMain(m *testing.M) {
	hang, keep := os.Getenv(hangEnv), os.Getenv(keepEnv)
	switch {
	case IsGuard():
		os.Exit(RunGuard())
	case hang != "":
		fmt.Fprintln(os.Stderr, hangingDaemon(hang))
		os.Exit(1)
	case keep != "":
		if err := keepMount(keep); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	unix.Umask(0o022) // tests expect the modes that it leaves
	os.Exit(m.Run())
}

// neverRead is a file whose reads are never answered.
type neverRead struct {
	gofs.Inode
	reading chan struct{}
}

func (n *neverRead) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Size = 1 << 20
	return 0
}

func (n *neverRead) Open(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, 0
}

func (n *neverRead) Read(context.Context, gofs.FileHandle, []byte, int64) (fuse.ReadResult, syscall.Errno) {
	n.reading <- struct{}{}
	select {}
}

// hangingDaemon serves a file on dir whose reads hang, and once one does tells
// the kernel to drop the page that is being read, which waits for the read.
func hangingDaemon(dir string) error {
	n := &neverRead{reading: make(chan struct{}, 16)}
	root := &gofs.Inode{}
	_, err := gofs.Mount(dir, root, &gofs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "hang", Name: "cofferhang"},
		OnAdd: func(ctx context.Context) {
			root.AddChild("f", root.NewPersistentInode(ctx, n, gofs.StableAttr{Mode: unix.S_IFREG, Ino: 2}), true)
		},
	})
	if err != nil {
		return err
	}
	var g *guard
	if os.Getenv(hangEnv+"_UNGUARDED") == "" {
		g = startGuard(slog.Default())
	}
	g.add(dir)
	fmt.Println("mounted")
	<-n.reading
	fmt.Println("reading")
	n.NotifyContent(0, 0)
	return fmt.Errorf("the notice did not hang")
}

// threadsIn counts the threads of a process in a state.
func threadsIn(pid int, state string) int {
	list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	n := 0
	for _, name := range list {
		stat, _ := os.ReadFile(name)
		if _, rest, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(rest, state) {
			n++
		}
	}
	return n
}

// A daemon that is killed while it waits for itself ends all the same, and so
// does who reads from it.
func TestGuardFreesAHungDaemon(t *testing.T) {
	// A guard that still starts when the daemon dies, and one that waits.
	t.Run("early", func(t *testing.T) { testGuardFrees(t, false) })
	t.Run("late", func(t *testing.T) { testGuardFrees(t, true) })
}

func testGuardFrees(t *testing.T, late bool) {
	if os.Geteuid() != 0 {
		t.Skip("mounts directly, which is root's")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("no FUSE")
	}
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), hangEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH) == nil {
		}
		_ = cmd.Wait()
	})
	line := func(want string) {
		t.Helper()
		b := make([]byte, len(want)+1)
		if _, err := io.ReadFull(out, b); err != nil || string(b) != want+"\n" {
			t.Fatalf("the daemon said %q, %v", b, err)
		}
	}
	line("mounted")
	var at mountID
	fd, at, err := openMount(dir)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	read := make(chan error, 1)
	go func() {
		f, err := os.Open(dir + "/f")
		if err == nil {
			_, err = f.Read(make([]byte, 10))
			f.Close()
		}
		read <- err
	}()
	line("reading")
	for deadline := time.Now().Add(20 * time.Second); threadsIn(cmd.Process.Pid, "D") == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Skip("this kernel does not make the notice wait")
		}
	}
	if late {
		guardOf(t, cmd.Process.Pid, 0)
		time.Sleep(20 * time.Millisecond)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !isDying(cmd.Process.Pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a killed daemon is not seen dying")
		}
	}
	if !ended(cmd.Process.Pid, patience) {
		t.Fatal("the killed daemon did not end")
	}
	select {
	case err := <-read:
		if err == nil {
			t.Error("a read succeeded that nobody answered")
		}
	case <-time.After(patience):
		t.Fatal("a reader hangs")
	}
	_ = cmd.Wait()
	// What is written there now must not land in the directory below.
	if fd, now, err := openMount(dir); err != nil || now != at {
		t.Errorf("the dead mount is gone: %v", err)
	} else {
		unix.Close(fd)
	}
	if err := os.WriteFile(dir+"/x", nil, 0o600); err == nil {
		t.Error("a dead mount takes a file")
	}
}

// ignores reports whether a process ignores a signal.
func ignores(pid int, sig syscall.Signal) bool {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "\nSigIgn:\t")
	var set uint64
	fmt.Sscanf(rest, "%x", &set)
	return set&(1<<(sig-1)) != 0
}

// guardOf returns the guard of a process that listens, and is not the one named.
func guardOf(t *testing.T, pid, not int) int {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, name := range lists {
			text, _ := os.ReadFile(name)
			for _, field := range strings.Fields(string(text)) {
				var pid int
				fmt.Sscan(field, &pid)
				args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				if pid != not && strings.HasSuffix(string(args), "\x00guard\x00") && ignores(pid, unix.SIGTERM) {
					return pid
				}
			}
		}
	}
	t.Fatal("there is no guard")
	return 0
}

func TestGuardIsReplacedWhenItDies(t *testing.T) {
	g := startGuard(slog.New(slog.DiscardHandler))
	defer g.close()
	first := guardOf(t, os.Getpid(), 0)
	if err := unix.Kill(first, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(first, guardSignal); err != nil { // its daemon lives
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	if got := guardOf(t, os.Getpid(), 0); got != first {
		t.Error("a guard ended by a signal that it should take no notice of")
	}
	if err := unix.Kill(first, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	guardOf(t, os.Getpid(), first)
}
