package mount

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

// mountOne starts a daemon and mounts a bucket.
func mountOne(t *testing.T) (d *Daemon, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount over mounts, bind and unmount lazily")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip(err)
	}
	c := testConfig(t)
	mustInit(t, c)
	d, _ = startDaemon(t, c)
	dir = t.TempDir()
	if _, err := d.Mount(t.Context(), MountRequest{Mountpoint: dir, Bucket: "bucket"}); err != nil {
		t.Fatal(err)
	}
	return d, dir
}

func TestMountOfABucketThatWasRemovedIsUnmounted(t *testing.T) {
	d, dir := mountOne(t)
	if err := d.store.engine.DeleteBucket(t.Context(), objstore.S3Caller("test"), "bucket"); err != nil {
		t.Fatal(err)
	}
	if err := d.store.engine.WaitWatchers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := RunUmount(t.Context(), dir, func(string) {}); err != nil {
		t.Error(err)
		unix.Unmount(dir, unix.MNT_DETACH)
	}
}

func TestRefusedMountMakesNoBucket(t *testing.T) {
	d, dir := mountOne(t)
	all := t.TempDir()
	if err := d.Unmount(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Mount(t.Context(), MountRequest{Mountpoint: all}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Mount(t.Context(), MountRequest{Mountpoint: dir, Bucket: "fresh", Cache: CacheWriteback}); err == nil {
		t.Fatal("two mounts of the same files have the writeback cache")
	}
	if _, err := d.store.engine.HeadBucket(t.Context(), objstore.S3Caller("test"), "fresh"); !objstore.IsKind(err, objstore.KindNoSuchBucket) {
		t.Errorf("the bucket was made: %v", err)
	}
}

// A daemon that ends has all that was written, also by who goes on in a mount that
// stands nowhere any more.
func TestPagesOfAMountThatStandsNowhereAreHandedOver(t *testing.T) {
	d, dir := mountOne(t)
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d.mountsMu.Lock()
	p := d.find(dir)
	d.mountsMu.Unlock()
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("dirty"), 200_000)
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := d.flushMount(t.Context(), p); err != nil {
		t.Error(err)
	}
	a, err := d.store.engine.Lookup(t.Context(), p.of.root, "file")
	if err != nil || a.Size != int64(len(text)) {
		t.Errorf("the store has %d bytes of %d, %v", a.Size, len(text), err)
	}
}

func TestWhatOthersMountOverAMountStays(t *testing.T) {
	d, dir := mountOne(t)
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Skip(err)
	}
	theirs := filepath.Join(dir, "theirs")
	if err := os.WriteFile(theirs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.unmountAll(t.Context(), flushTimeout, unmountTimeout)
	if _, err := os.Stat(theirs); err != nil {
		t.Error(err)
		return
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Unmount(t.Context(), dir); err != nil {
		t.Error(err)
	}
}

// keepEnv makes the test binary a process that keeps a mount; see keepMount.
const keepEnv = "COFFER_TEST_KEEP"

// keepMount runs in a mount namespace of its own, which has a copy of the mount on
// dir, and of no other one: those of other tests end when they are unmounted. It says
// when it is ready, and returns when it is not needed any more.
func keepMount(dir string) error {
	table, err := mountTable()
	if err != nil {
		return err
	}
	for i := range table {
		if e := &table[i]; e.isOurs() && e.Mountpoint != dir {
			_ = unix.Unmount(e.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func TestUnmountDoesNotWaitForOtherNamespaces(t *testing.T) {
	d, dir := mountOne(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), keepEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	if err := d.Unmount(t.Context(), dir); CodeOf(err) != CodeBusy {
		t.Errorf("while another namespace has it: %v", err)
	}
	if table, err := mountTable(); err != nil || findMount(table, dir) != nil {
		t.Errorf("it is mounted still, %v", err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// A file in a message between two processes is open, though no process shows it.
func TestMountIsNotDemotedUnderAHiddenUser(t *testing.T) {
	d, dir := mountOne(t)
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = unix.Sendmsg(pair[0], []byte{1}, unix.UnixRights(int(f.Fd())), nil, 0)
	f.Close()
	if err != nil {
		t.Error(err)
	}
	all := t.TempDir()
	if _, err := d.Mount(t.Context(), MountRequest{Mountpoint: all}); CodeOf(err) != CodeBusy {
		t.Errorf("mounting all buckets beside it gave %v", err)
	}
	unix.Close(pair[0])
	unix.Close(pair[1])
	if _, err := d.Mount(t.Context(), MountRequest{Mountpoint: all}); err != nil {
		t.Error(err)
	}
}
