package fs

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhiteout(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		write(t, m.path("a"), "A")
		write(t, m.path("b"), "B")
		if err := os.Mkdir(m.path("dir"), 0755); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "with EXCHANGE", rename2(m.path("a"), m.path("b"), unix.RENAME_WHITEOUT|unix.RENAME_EXCHANGE), syscall.EINVAL)
		for _, name := range []string{"a", "dir"} {
			stat(t, m.path(name)) // the kernel has it
			if err := rename2(m.path(name), m.path("new "+name), unix.RENAME_WHITEOUT); err != nil {
				t.Fatal(err)
			}
			if st := stat(t, m.path(name)); st.Mode != unix.S_IFCHR || st.Rdev != 0 {
				t.Errorf("%s has mode %#o, device %d", name, st.Mode, st.Rdev)
			}
		}
		if err := rename2(m.path("b"), m.path("new a"), unix.RENAME_WHITEOUT); err != nil {
			t.Fatal(err)
		}
		wantContent(t, m.path("new a"), "B")
		if st := stat(t, m.path("b")); st.Mode != unix.S_IFCHR {
			t.Errorf("b has mode %#o", st.Mode)
		}
	})
}

// An overlay file system has a mount as its upper layer.
func TestOverlayOnAMount(t *testing.T) {
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 || !strings.Contains(string(known), "\toverlay\n") {
		t.Skip("overlays are mounted by root, by a kernel that has them")
	}
	m := mountBucket(t, Options{Writeback: true})
	low, at := t.TempDir(), t.TempDir()
	for _, dir := range []string{m.path("up"), m.path("work"), low + "/dir", low + "/gone"} {
		if err := os.Mkdir(dir, 0755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"/a", "/b", "/dir/c"} {
		write(t, low+name, "low")
	}
	o := "lowerdir=" + low + ",upperdir=" + m.path("up") + ",workdir=" + m.path("work")
	if err := unix.Mount("overlay", at, "overlay", 0, o); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-ec", "cd $0; rm a; mv b b2; rm -r gone dir; mkdir dir; echo new > dir/c; ls -R", at).CombinedOutput()
	if uerr := unix.Unmount(at, 0); uerr != nil {
		t.Error(uerr)
		unix.Unmount(at, unix.MNT_DETACH)
	}
	if want := ".:\nb2\ndir\n\n./dir:\nc\n"; err != nil || string(out) != want {
		t.Errorf("the overlay has %q, %v, not %q", out, err, want)
	}
	for _, name := range []string{"a", "b", "gone"} {
		if st := stat(t, m.path("up/"+name)); st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
			t.Errorf("%s has mode %#o, device %d", name, st.Mode, st.Rdev)
		}
	}
	if got := m.get(t, "up/b2"); string(got) != "low" {
		t.Errorf("S3 gets %q", got)
	}
}
