package fs

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

// What the kernel shows of a file that it writes is what is left when it forgets the
// file: programs that look for changes by ctime would find all files changed after a
// remount.
func TestTimesAreTheSameWhenTheKernelForgets(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		p, q := m.path("file"), m.path("other")
		big := strings.Repeat("x", 3<<20)
		slowly := func(f *os.File, sync bool) error {
			for range 3 {
				if _, err := f.WriteString(big); err != nil {
					return err
				}
				nextTick(t)
				if sync {
					if err := f.Sync(); err != nil {
						return err
					}
				}
				nextTick(t)
			}
			return f.Close()
		}
		open := func(flags int) *os.File {
			f, err := os.OpenFile(p, flags|os.O_CREATE, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		for _, c := range [...]struct {
			name string
			do   func() error
		}{
			{"write", func() error { return slowly(open(os.O_WRONLY), false) }},
			{"write again", func() error { return slowly(open(os.O_WRONLY), false) }},
			{"write and sync", func() error { return slowly(open(os.O_WRONLY|os.O_APPEND), true) }},
			{"write a little and sync", func() error {
				big = "small"
				return slowly(open(os.O_WRONLY|os.O_APPEND), true)
			}},
			{"truncate to nothing and write", func() error { return slowly(open(os.O_WRONLY|os.O_TRUNC), false) }},
			{"truncate", func() error { return os.Truncate(p, 100) }},
			{"write, chmod", func() error {
				f := open(os.O_WRONLY)
				f.WriteString("y")
				nextTick(t)
				return errors.Join(f.Chmod(0o600), slowly(f, false))
			}},
			{"chmod", func() error { return os.Chmod(p, 0o644) }},
			{"link", func() error { return os.Link(p, q) }},
			{"unlink", func() error { return os.Remove(q) }},
			{"rename", func() error { return errors.Join(os.Rename(p, q), os.Rename(q, p)) }},
			{"set an attribute", func() error { return unix.Setxattr(p, "user.a", []byte("b"), 0) }},
			{"set times", func() error { return os.Chtimes(p, time.Unix(1, 2), time.Unix(3, 4)) }},
			{"write, set times", func() error {
				f := open(os.O_WRONLY)
				f.WriteString("z")
				return errors.Join(os.Chtimes(p, time.Unix(5, 6), time.Unix(7, 8)), f.Close())
			}},
			{"write through a mapping", func() error {
				f := open(os.O_RDWR)
				b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				if err != nil {
					return err
				}
				nextTick(t)
				err = poke(&b[1], 'm')
				nextTick(t)
				return errors.Join(err, unix.Msync(b, unix.MS_SYNC), unix.Munmap(b), f.Close())
			}},
		} {
			for range 5 { // with luck all happens within one tick
				if err := c.do(); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				st := stat(t, p)
				flush(t, m.dir)
				a, err := m.store.Lookup(t.Context(), m.root, "file")
				if err != nil {
					t.Fatal(err)
				}
				if want := objstore.Time(st.Mtim.Nano()); a.Mtime != want {
					t.Fatalf("%s: mtime %d in the kernel, %d in the store", c.name, want, a.Mtime)
				}
				if want := objstore.Time(st.Ctim.Nano()); a.Ctime != want {
					t.Fatalf("%s: ctime %d in the kernel, %d in the store", c.name, want, a.Ctime)
				}
				nextTick(t)
				if c.name == "link" || c.name == "unlink" {
					break
				}
			}
		}
	})
}

// poke writes to memory that a file is mapped to. The kernel does it, in a call: a page
// fault would wait for this process, and keep it from answering. See childEnv.
func poke(p *byte, b byte) error {
	mem, err := os.OpenFile("/proc/self/mem", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	_, err = mem.WriteAt([]byte{b}, int64(uintptr(unsafe.Pointer(p))))
	return err
}

// The kernel leaves the times where truncate(2) does not change the size, and asks for
// setuid to be cleared all the same, by whoever is not root.
func TestTruncateToTheSameSizeBySomebodyElseLeavesTimes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	m := mountBucket(t, Options{AllowOther: true, Writeback: true})
	p := m.path("file")
	write(t, p, "content")
	if err := os.Chmod(p, 0o666); err != nil {
		t.Fatal(err)
	}
	before := stat(t, p)
	nextTick(t)
	if err := asUser(4711, func() error { return os.Truncate(p, 7) }); err != nil {
		t.Fatal(err)
	}
	flush(t, m.dir)
	a, err := m.store.Lookup(t.Context(), m.root, "file")
	if err != nil {
		t.Fatal(err)
	}
	if st := stat(t, p); st.Ctim != before.Ctim || a.Ctime != objstore.Time(st.Ctim.Nano()) {
		t.Errorf("ctime was %d, is %d in the kernel and %d in the store", before.Ctim.Nano(), st.Ctim.Nano(), a.Ctime)
	}
}

// flush makes the kernel hand over what it keeps of the files in dir.
func flush(t *testing.T, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		t.Fatal(err)
	}
}
