package fs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tmpfile opens a file without a name.
func tmpfile(t testing.TB, dir string, flags int) *os.File {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC|flags, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "tmpfile")
	t.Cleanup(func() { f.Close() })
	return f
}

// link gives an open file a name.
func link(f *os.File, name string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
}

func TestFileWithoutANameGetsOne(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		f := tmpfile(t, m.dir, 0)
		body := bytes.Repeat([]byte("content "), 40_000)
		if _, err := f.Write(body); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Nlink != 0 || st.Size != int64(len(body)) || st.Mode != unix.S_IFREG|0o640 {
			t.Errorf("%d links, %d bytes, mode %#o, %v", st.Nlink, st.Size, st.Mode, err)
		}
		if names, err := os.ReadDir(m.dir); err != nil || len(names) != 0 {
			t.Errorf("names %v, %v", names, err)
		}
		if err := link(f, m.path("file")); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "link to a name that is taken", link(f, m.path("file")), syscall.EEXIST)
		if st := stat(t, m.path("file")); st.Nlink != 1 {
			t.Errorf("%d links", st.Nlink)
		}
		if got := m.get(t, "file"); !bytes.Equal(got, body) {
			t.Errorf("S3 gets %d bytes, not %d", len(got), len(body))
		}
		if _, err := f.WriteAt([]byte("CONTENT"), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		copy(body, "CONTENT")
		if got := m.get(t, "file"); !bytes.Equal(got, body) {
			t.Error("S3 does not get what was written behind the link")
		}
		dropCaches(t)
		wantContent(t, m.path("file"), string(body))
	})
}

func TestFileWithoutANameStaysNameless(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		alone := tmpfile(t, m.dir, unix.O_EXCL)
		wantErr(t, "link of one opened with O_EXCL", link(alone, m.path("alone")), syscall.ENOENT)
		again := tmpfile(t, m.dir, 0)
		if err := link(again, m.path("again")); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(m.path("again")); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "link of one that had a name", link(again, m.path("more")), syscall.ENOENT)
		for _, f := range []*os.File{alone, again} {
			if _, err := f.WriteString("kept"); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(f); err != nil || string(got) != "kept" {
				t.Errorf("reads %q, %v", got, err)
			}
		}
	})
}
