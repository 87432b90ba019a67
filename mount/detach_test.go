package mount

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deadMount leaves a mount on a directory whose daemon was killed, and returns
// it with the directory in which the kernel lists connections that live.
func deadMount(t *testing.T) (dir string, connection string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts directly, which is root's")
	}
	connections := t.TempDir()
	if err := unix.Mount("none", connections, "fusectl", 0, ""); err != nil {
		t.Skipf("no list of connections: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(connections, unix.MNT_DETACH) })
	dir = t.TempDir()
	t.Cleanup(func() {
		for unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH) == nil {
		}
	})
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), hangEnv+"="+dir, hangEnv+"_UNGUARDED=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("mounted\n"))); err != nil {
		_ = cmd.Wait()
		t.Skip("no FUSE")
	}
	fd, at, err := openMount(dir)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if !isDead(dir) {
		t.Fatal("the mount of a killed daemon is not dead")
	}
	return dir, filepath.Join(connections, fmt.Sprint(at.minor))
}

func TestWhoDetachesADeadMountDoesNotWaitForItsEnd(t *testing.T) {
	dir, connection := deadMount(t)
	exists := func() bool {
		_, err := os.Stat(connection)
		return err == nil
	}
	err := detach(dir, func() error {
		if err := unmountPath(dir, true); err != nil {
			return err
		}
		if isDead(dir) {
			t.Error("the mount is in the tree still")
		}
		if !exists() {
			t.Error("the file system ended with its mount, while the caller waited")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); exists(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file system does not end")
		}
	}
}

func TestDetachThatFailsLeavesTheMount(t *testing.T) {
	dir, _ := deadMount(t)
	if err := detach(dir, func() error { return errBusy }); err != errBusy {
		t.Errorf("error %v", err)
	}
	if !isDead(dir) {
		t.Error("the mount is gone")
	}
}

func TestLeftFileIsClosed(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	leave(w)
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		t.Errorf("read %q, %v", b, err)
	}
}
