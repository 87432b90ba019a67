package mount

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnmountOfAFailedStoreGoesOnWhenRepeated: where nothing can be stored any more,
// unmounting says so once, and then leaves nobody with a mount that cannot be removed.
func TestUnmountOfAFailedStoreGoesOnWhenRepeated(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount without a helper")
	}
	c := testConfig(t)
	mustInit(t, c)
	d, _, err := StartDaemon(t.Context(), c, discard())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(make(chan os.Signal)) }()
	t.Cleanup(func() {
		d.Stop("the test ends")
		if err := <-done; err == nil {
			t.Error("the daemon ended well")
		}
	})
	dir := t.TempDir()
	if _, err := d.Mount(t.Context(), MountRequest{Mountpoint: dir, Bucket: "bucket"}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	breakFiles(t, c.path(nameData))
	if _, err := f.WriteAt(make([]byte, 1<<20), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err == nil {
		t.Fatal("a sync of what could not be written")
	}
	_ = f.Close()
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o755); !errors.Is(err, unix.EROFS) {
		t.Errorf("a directory after that: %v", err)
	}
	if s := d.Status(t.Context()); s.Failed == "" {
		t.Error("the status does not say that the store has failed")
	}
	if _, err := RunUser(t.Context(), c, UserRequest{Action: UserAdd, User: "alice"}); err == nil || !strings.Contains(err.Error(), "has failed") {
		t.Errorf("a user after that: %v", err)
	}
	if err := d.Unmount(t.Context(), dir); err == nil || len(d.mountList()) != 1 {
		t.Fatalf("unmount: %v, and the mounts are %+v", err, d.mountList())
	}
	if err := d.Unmount(t.Context(), dir); err == nil || len(d.mountList()) != 0 {
		t.Errorf("unmount once more: %v, and the mounts are %+v", err, d.mountList())
	}
}

// breakFiles has this process write no more to the files below dir that it has open.
func breakFiles(t *testing.T, dir string) {
	t.Helper()
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range open {
		path, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil || !strings.HasPrefix(path, dir+"/") {
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(null, fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
}
