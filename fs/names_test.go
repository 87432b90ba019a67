package fs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0644); err != nil {
		t.Fatal(err)
	}
}

func wantContent(t testing.TB, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s: %.40q, %v; want %.40q", path, got, err, want)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func stat(t testing.TB, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	return st
}

func rename2(old, new string, flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, old, unix.AT_FDCWD, new, flags)
}

func TestRenameFlags(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		a, b, c := m.path("a"), m.path("b"), m.path("c")
		write(t, a, "A")
		write(t, b, "B")
		wantErr(t, "NOREPLACE onto a name", rename2(a, b, unix.RENAME_NOREPLACE), syscall.EEXIST)
		wantErr(t, "EXCHANGE with nothing", rename2(a, c, unix.RENAME_EXCHANGE), syscall.ENOENT)
		wantErr(t, "both flags", rename2(a, b, unix.RENAME_EXCHANGE|unix.RENAME_NOREPLACE), syscall.EINVAL)
		wantContent(t, a, "A")
		wantContent(t, b, "B")
		if err := rename2(a, b, unix.RENAME_EXCHANGE); err != nil {
			t.Fatal(err)
		}
		wantContent(t, a, "B")
		wantContent(t, b, "A")
		if err := rename2(a, c, unix.RENAME_NOREPLACE); err != nil {
			t.Fatal(err)
		}
		wantContent(t, c, "B")

		d := m.path("dir")
		if err := os.MkdirAll(d+"/sub", 0755); err != nil {
			t.Fatal(err)
		}
		if err := rename2(d, b, unix.RENAME_EXCHANGE); err != nil {
			t.Fatalf("exchange a directory with a file: %v", err)
		}
		wantContent(t, d, "A")
		if st := stat(t, b+"/sub"); st.Mode&unix.S_IFMT != unix.S_IFDIR {
			t.Error("the directory did not move")
		}
	})
}

func TestRenameRules(t *testing.T) {
	m := mountBucket(t, Options{})
	file, empty, full := m.path("file"), m.path("empty"), m.path("full")
	write(t, file, "x")
	if err := os.Mkdir(empty, 0755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(full+"/below", 0755); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "file onto directory", unix.Rename(file, empty), syscall.EISDIR)
	wantErr(t, "directory onto file", unix.Rename(empty, file), syscall.ENOTDIR)
	wantErr(t, "directory onto one with entries", unix.Rename(empty, full), syscall.ENOTEMPTY)
	wantErr(t, "directory below itself", unix.Rename(full, full+"/below/x"), syscall.EINVAL)
	wantErr(t, "nothing", unix.Rename(m.path("absent"), file), syscall.ENOENT)
	wantErr(t, "rmdir of one with entries", unix.Rmdir(full), syscall.ENOTEMPTY)
	wantErr(t, "rmdir of a file", unix.Rmdir(file), syscall.ENOTDIR)
	wantErr(t, "unlink of a directory", unix.Unlink(empty), syscall.EISDIR)
	if err := unix.Rename(full, empty); err != nil {
		t.Errorf("directory onto an empty one: %v", err)
	}
	if st := stat(t, empty+"/below"); st.Nlink != 2 {
		t.Errorf("a directory has %d links", st.Nlink)
	}
	if st := stat(t, empty); st.Nlink != 3 {
		t.Errorf("a directory with one directory has %d links", st.Nlink)
	}
}

func TestRenameOverOpenFileKeepsReader(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		write(t, m.path("old"), "old content")
		f, err := os.Open(m.path("old"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		write(t, m.path("new"), "new")
		if err := os.Rename(m.path("new"), m.path("old")); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f); err != nil || string(got) != "old content" {
			t.Errorf("the open file has %q, %v", got, err)
		}
		wantContent(t, m.path("old"), "new")
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Nlink != 0 {
			t.Errorf("fstat of the replaced file: %d links, %v", st.Nlink, err)
		}
	})
}

func TestUnlinkedFileGoesOnUntilClosed(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		f, err := os.OpenFile(m.path("file"), os.O_RDWR|os.O_CREATE, 0644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("before "); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(m.path("file")); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("after"); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Error(err)
		}
		got := make([]byte, 20)
		n, _ := f.ReadAt(got, 0)
		if string(got[:n]) != "before after" {
			t.Errorf("read %q", got[:n])
		}
		if err := f.Truncate(3); err != nil {
			t.Error(err)
		}
		if fi, err := f.Stat(); err != nil || fi.Size() != 3 {
			t.Errorf("stat: %v, %v", fi, err)
		}
		_, err = os.Stat(m.path("file"))
		wantErr(t, "the name", err, syscall.ENOENT)
	})
}

func TestRemovedDirectoryThatIsOpen(t *testing.T) {
	m := mountBucket(t, Options{})
	if err := os.Mkdir(m.path("dir"), 0750); err != nil {
		t.Fatal(err)
	}
	d, err := os.Open(m.path("dir"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.Remove(m.path("dir")); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(d.Fd()), &st); err != nil || st.Nlink != 0 || st.Mode != unix.S_IFDIR|0750 {
		t.Errorf("fstat: mode %o, %d links, %v", st.Mode, st.Nlink, err)
	}
	if names, err := d.Readdirnames(-1); err != nil && !errors.Is(err, syscall.ENOENT) || len(names) != 0 {
		t.Errorf("readdir: %v, %v", names, err)
	}
	_, err = unix.Openat(int(d.Fd()), "file", unix.O_CREAT|unix.O_WRONLY, 0644)
	wantErr(t, "create in it", err, syscall.ENOENT)
}

func TestHardLinks(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		a, b := m.path("a"), m.path("dir/b")
		if err := os.Mkdir(m.path("dir"), 0755); err != nil {
			t.Fatal(err)
		}
		write(t, a, "content")
		if err := os.Link(a, b); err != nil {
			t.Fatal(err)
		}
		sa, sb := stat(t, a), stat(t, b)
		if sa.Ino != sb.Ino || sa.Nlink != 2 || sb.Nlink != 2 {
			t.Errorf("inodes %d and %d with %d and %d links", sa.Ino, sb.Ino, sa.Nlink, sb.Nlink)
		}
		f, err := os.OpenFile(b, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(" more")
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		wantContent(t, a, "content more")
		if err := unix.Rename(a, b); err != nil { // two names of one file: nothing happens (POSIX)
			t.Error(err)
		}
		if st := stat(t, a); st.Nlink != 2 {
			t.Errorf("%d links after a rename between them", st.Nlink)
		}
		if err := os.Remove(a); err != nil {
			t.Fatal(err)
		}
		if st := stat(t, b); st.Nlink != 1 {
			t.Errorf("%d links after one went", st.Nlink)
		}
		wantContent(t, b, "content more")
		wantErr(t, "link of a directory", os.Link(m.path("dir"), m.path("x")), syscall.EPERM)
		wantErr(t, "link onto a name", os.Link(b, m.path("dir")), syscall.EEXIST)
	})
}

func TestNames(t *testing.T) {
	m := mountBucket(t, Options{})
	long := strings.Repeat("n", 255)
	names := []string{
		long, "\xff\xfe not UTF-8 \x80", "a b\tc\nd", "-rf", "*?[x]", "ünïcödé", "\x01", "a:b", "%2F", "~", "trailing ", ".hidden", "...",
	}
	for _, n := range names {
		write(t, m.path("")+"/"+n, n)
	}
	ents, err := os.ReadDir(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range ents {
		got = append(got, e.Name())
	}
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("readdir has %q", got)
	}
	for _, n := range names {
		wantContent(t, m.dir+"/"+n, n)
		if err := os.Remove(m.dir + "/" + n); err != nil {
			t.Error(err)
		}
	}
	for _, n := range []string{long + "n", strings.Repeat("é", 128)} {
		wantErr(t, "create of a long name", os.WriteFile(m.dir+"/"+n, nil, 0644), syscall.ENAMETOOLONG)
		_, err := os.Stat(m.dir + "/" + n)
		wantErr(t, "stat of a long name", err, syscall.ENAMETOOLONG)
		wantErr(t, "mkdir of a long name", os.Mkdir(m.dir+"/"+n, 0755), syscall.ENAMETOOLONG)
	}
}

func TestSymlinks(t *testing.T) {
	m := mountBucket(t, Options{})
	for _, target := range []string{"x", "../../up", "/abs/olute", strings.Repeat("d/", 2047) + "e", "\xff"} {
		l := m.path("link")
		if err := os.Symlink(target, l); err != nil {
			t.Fatalf("%d bytes: %v", len(target), err)
		}
		if got, err := os.Readlink(l); err != nil || got != target {
			t.Errorf("readlink of %d bytes: %d, %v", len(target), len(got), err)
		}
		if st := stat(t, l); st.Size != int64(len(target)) || st.Mode != unix.S_IFLNK|0777 {
			t.Errorf("size %d of %d, mode %o", st.Size, len(target), st.Mode)
		}
		if err := os.Remove(l); err != nil {
			t.Fatal(err)
		}
	}
	write(t, m.path("file"), "through")
	if err := os.Symlink("file", m.path("l")); err != nil {
		t.Fatal(err)
	}
	wantContent(t, m.path("l"), "through")
	if err := os.Symlink("loop", m.path("loop")); err != nil {
		t.Fatal(err)
	}
	_, err := os.Stat(m.path("loop"))
	wantErr(t, "a loop", err, syscall.ELOOP)
}

func TestSpecialFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	m := mountBucket(t, Options{})
	for _, c := range []struct {
		name string
		mode uint32
		dev  uint64
	}{{"fifo", unix.S_IFIFO | 0640, 0}, {"sock", unix.S_IFSOCK | 0600, 0}, {"chr", unix.S_IFCHR | 0666, unix.Mkdev(1, 3)}, {"blk", unix.S_IFBLK | 0600, unix.Mkdev(259, 1<<19)}, {"reg", unix.S_IFREG | 0644, 0}} {
		if err := unix.Mknod(m.path(c.name), c.mode, int(c.dev)); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if st := stat(t, m.path(c.name)); st.Mode != c.mode&^022 || st.Rdev != c.dev {
			t.Errorf("%s: mode %o, device %x", c.name, st.Mode, st.Rdev)
		}
	}
}

func TestDirectoryReadWhileItChanges(t *testing.T) {
	const files = 2500 // more than the engine keeps of a directory, and than one READDIR takes
	m := mountBucket(t, Options{})
	for i := range files {
		f, err := os.Create(m.path(fmt.Sprintf("stays-%05d", i)))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			n := m.path(fmt.Sprintf("stays-%05d-comes-and-goes", i*7919%files))
			os.WriteFile(n, nil, 0644)
			os.Remove(n)
		}
	})
	for range 12 {
		d, err := os.Open(m.dir)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]int)
		for {
			names, err := d.Readdirnames(100)
			for _, n := range names {
				seen[n]++
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		d.Close()
		for i := range files {
			if n := seen[fmt.Sprintf("stays-%05d", i)]; n != 1 {
				t.Fatalf("entry %d was seen %d times", i, n)
			}
		}
	}
	close(stop)
	wg.Wait()

	// rm -rf reads and removes by turns.
	d, err := os.Open(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	for {
		names, err := d.Readdirnames(50)
		for _, n := range names {
			if err := os.Remove(m.path(n)); err != nil {
				t.Fatal(err)
			}
		}
		if err != nil {
			break
		}
	}
	d.Close()
	if ents, err := os.ReadDir(m.dir); err != nil || len(ents) != 0 {
		t.Errorf("%d entries are left, %v", len(ents), err)
	}
}
