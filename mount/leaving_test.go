package mount

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A mount that umount(8) has removed is still served for a moment, or, after
// umount -l, as long as a program uses it. A second mount must not take the path
// where it stood for it: that is a directory in the clear.
func TestMountWaitsForOneThatIsLeaving(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can unmount lazily and bind")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip(err)
	}
	for _, where := range [...]string{"there", "elsewhere"} {
		for _, bucket := range [...]string{"", "bucket"} {
			c := testConfig(t)
			mustInit(t, c)
			d, stop := startDaemon(t, c)
			first := t.TempDir()
			second := first
			if where == "elsewhere" {
				second = t.TempDir()
			}
			mount := func(ctx context.Context, dir string) error {
				_, err := d.Mount(ctx, MountRequest{Mountpoint: dir, Bucket: bucket})
				return err
			}
			if err := mount(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			user, err := os.Open(first)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Unmount(first, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
			impatient, cancel := context.WithCancel(t.Context())
			cancel()
			if err := mount(impatient, second); CodeOf(err) != CodeBusy {
				t.Errorf("%s, bucket %q: while it is in use: %v", where, bucket, err)
			}
			if table, err := mountTable(); err != nil || findMount(table, second) != nil {
				t.Errorf("%s, bucket %q: something was mounted, %v", where, bucket, err)
				unix.Unmount(second, unix.MNT_DETACH)
			}
			done := make(chan error)
			go func() { done <- mount(t.Context(), second) }()
			begun := time.Now()
			user.Close()
			err = <-done
			// A kernel that is busy with others' disks may take longer than anybody waits.
			for CodeOf(err) == CodeBusy && time.Since(begun) > leavingTime && time.Since(begun) < patience {
				err = mount(t.Context(), second)
			}
			if err != nil {
				t.Errorf("%s, bucket %q: %v", where, bucket, err)
			}
			var st unix.Statfs_t
			if err := unix.Statfs(second, &st); err != nil || st.Type != unix.FUSE_SUPER_MAGIC {
				t.Errorf("%s, bucket %q: a file system of type %x is mounted, %v", where, bucket, st.Type, err)
			}
			stop()
		}
	}
}

// The kernel gives the number of a file system that has ended to the next one.
func TestMountThatEndedIsNotTakenForAnother(t *testing.T) {
	d, dir := mountOne(t)
	d.mountsMu.Lock() // before it is free the daemon does not learn of the end
	defer d.mountsMu.Unlock()
	s := d.find(dir).of
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	s.fs.Wait()
	for n := 0; ; n++ {
		other := t.TempDir()
		if err := unix.Mount("none", other, "tmpfs", 0, ""); err != nil {
			t.Skip(err)
		}
		defer unix.Unmount(other, unix.MNT_DETACH)
		var st unix.Stat_t
		if err := unix.Stat(other, &st); err != nil {
			t.Fatal(err)
		}
		if uint64(st.Dev) == s.fs.Device() {
			break
		}
		if n == 100 {
			t.Skip("nobody is given the number")
		}
	}
	if got, err := d.leaving("bucket"); got != s || err != nil {
		t.Errorf("%v, %v; want the one that has ended", got, err)
	}
	if users := showsTo(s, maxUsers); len(users) > 0 {
		t.Errorf("%q have it", users)
	}
}

// What is mounted over a mount is not shown in its place.
func TestMountDoesNotBindWhatCoversAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount over a mount and bind")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip(err)
	}
	c := testConfig(t)
	mustInit(t, c)
	d, _ := startDaemon(t, c)
	first, second := t.TempDir(), t.TempDir()
	if _, err := d.Mount(t.Context(), MountRequest{Mountpoint: first}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", first, "tmpfs", 0, ""); err != nil {
		t.Skip(err)
	}
	if err := os.Mkdir(filepath.Join(first, "in-the-clear"), 0o700); err != nil {
		t.Error(err)
	}
	_, err := d.Mount(t.Context(), MountRequest{Mountpoint: second})
	if CodeOf(err) != CodeBusy {
		t.Errorf("mounting gave %v", err)
	}
	if table, err := mountTable(); err != nil || findMount(table, second) != nil {
		t.Errorf("something was mounted, %v", err)
		unix.Unmount(second, unix.MNT_DETACH)
	}
	if err := unix.Unmount(first, 0); err != nil {
		t.Error(err)
	}
}
