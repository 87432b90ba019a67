package fs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

// openPath opens what a path is of without opening it, as a bind mount has it.
func openPath(t *testing.T, path string, flags int) (fd int, via string) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd, fmt.Sprintf("/proc/self/fd/%d", fd)
}

func (m *mounted) renameKey(t *testing.T, from, to string) {
	t.Helper()
	if err := m.store.RenameObject(t.Context(), s3, objstore.RenameRequest{Bucket: testBucket, SrcKey: from, DstKey: to}); err != nil {
		t.Fatal(err)
	}
	if err := m.store.WaitWatchers(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// awaitGone returns when the store has nothing left of an inode.
func (m *mounted) awaitGone(t *testing.T, ino uint64) {
	t.Helper()
	for {
		_, err := m.store.GetAttr(t.Context(), objstore.InodeID(ino))
		if objstore.IsKind(err, objstore.KindStale) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// Whoever has a file by a descriptor of O_PATH or a bind mount has it as it was, as on
// other file systems, until nobody has it any more.
func TestFileThatAnotherDoorTakesStaysForItsUsers(t *testing.T) {
	takers := map[string]func(t *testing.T, m *mounted){
		"put":         func(t *testing.T, m *mounted) { m.put(t, "key", "new") },
		"delete":      func(t *testing.T, m *mounted) { m.del(t, "key") },
		"rename over": func(t *testing.T, m *mounted) { m.put(t, "other", "new"); m.renameKey(t, "other", "key") },
	}
	eachMode(t, func(t *testing.T, m *mounted) {
		for name, take := range takers {
			for _, old := range []string{"old", strings.Repeat("old content", 100_000)} { // inline, and in segments
				m.put(t, "key", old)
				fd, via := openPath(t, m.path("key"), 0)
				ino := stat(t, m.path("key")).Ino
				take(t, m)
				if got, err := os.ReadFile(via); err != nil || string(got) != old {
					t.Errorf("%s: %d bytes, %v", name, len(got), err)
				}
				var st unix.Stat_t
				if err := unix.Fstat(fd, &st); err != nil || st.Nlink != 0 || st.Size != int64(len(old)) {
					t.Errorf("%s: %d links, %d bytes, %v", name, st.Nlink, st.Size, err)
				}
				if err := unix.Close(fd); err != nil {
					t.Error(err)
				}
				m.awaitGone(t, ino)
			}
		}
	})
}

// A LOOKUP can be answered before the FORGET of what the kernel was told earlier is read.
// The kernel has the inode then, and forgets it once more.
func TestForgetThatALookupOvertakesLeavesTheInode(t *testing.T) {
	m := mountBucket(t, Options{})
	w := &walker{t, m, 1 << 30}
	for _, told := range []int{1, 2, 3} { // before the FORGET
		m.put(t, "key", "old")
		for range told + 1 {
			w.find("key")
		}
		node := w.find("key")
		m.m.fs.Forget(node, uint64(told))
		m.del(t, "key")
		if got, st := w.read(node); st != fuse.OK || got != "old" {
			t.Errorf("told %d times: %q, %v", told, got, st)
		}
		m.m.fs.Forget(node, 2)
		m.awaitGone(t, node)
	}
}

// The counts of what the kernel was told are its own: told of an inode over and over, it
// forgets it with one FORGET, and nothing stays behind.
func TestNothingIsKnownOfWhatIsForgotten(t *testing.T) {
	var k known
	for _, told := range []int{1, 2, manyTimes - 1, manyTimes, manyTimes + 1, 1000} {
		for ino := objstore.InodeID(30); ino < 35; ino++ { // of two groups
			for range told {
				k.add(ino)
			}
		}
		for ino := objstore.InodeID(30); ino < 35; ino++ {
			if told > 1 && told < manyTimes {
				if k.forget(ino, uint64(told)-1); !k.has(ino) {
					t.Errorf("told %d times, %d is forgotten with one less", told, ino)
				}
				k.forget(ino, 1)
			} else {
				k.forget(ino, uint64(told))
			}
			if k.has(ino) {
				t.Errorf("told %d times, %d is known after its FORGET", told, ino)
			}
			if next := ino + 1; next < 35 && !k.has(next) {
				t.Errorf("told %d times, %d went with its neighbour", told, next)
			}
		}
		k.forget(30, 1) // of which the kernel was not told
	}
	for i := range k.shards {
		if n := len(k.shards[i].counts); n > 0 {
			t.Errorf("shard %d has %d groups left", i, n)
		}
	}
}

func TestSymlinkThatAnotherMountRemovesStaysForItsUsers(t *testing.T) {
	m := mountBucket(t, Options{})
	other := mountStore(t, m.store, Options{Root: m.root})
	if err := os.Symlink("target", m.path("link")); err != nil {
		t.Fatal(err)
	}
	fd, _ := openPath(t, m.path("link"), unix.O_NOFOLLOW)
	defer unix.Close(fd)
	if err := os.Remove(other.path("link")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := unix.Readlinkat(fd, "", b)
	if err != nil || string(b[:n]) != "target" {
		t.Errorf("%q, %v", b[:max(n, 0)], err)
	}
}

// Whoever stands in a directory that was removed finds it empty (POSIX rmdir), whoever
// removed it.
func TestRemovedDirectoryIsEmptyForThoseInIt(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		for name, remove := range map[string]func(t *testing.T){
			"delete of the last key": func(t *testing.T) { m.put(t, "dir/key", "x"); m.del(t, "dir/"); m.del(t, "dir/key") },
			"rmdir": func(t *testing.T) {
				if err := os.Remove(m.path("dir")); err != nil {
					t.Fatal(err)
				}
			},
			"prefix renamed over it": func(t *testing.T) { m.put(t, "new/key", "x"); m.renameKey(t, "new/", "dir/") },
		} {
			if err := os.MkdirAll(m.path("dir"), 0o751); err != nil {
				t.Fatal(err)
			}
			fd, via := openPath(t, m.path("dir"), unix.O_DIRECTORY)
			remove(t)
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil || st.Nlink != 0 || st.Mode != unix.S_IFDIR|0o751 {
				t.Errorf("%s: fstat: %d links, mode %o, %v", name, st.Nlink, st.Mode, err)
			}
			// The kernel has no reading of a removed directory; readdir(3) takes that for its end.
			if names, err := os.ReadDir(via); err != nil && !errors.Is(err, unix.ENOENT) || len(names) != 0 {
				t.Errorf("%s: readdir: %v, %v", name, names, err)
			}
			wantErr(t, name+": mkdir", unix.Mkdirat(fd, "sub", 0o755), unix.ENOENT)
			_, err := unix.Openat(fd, "file", unix.O_RDWR|unix.O_CREAT, 0o644)
			wantErr(t, name+": create", err, unix.ENOENT)
			if err := unix.Close(fd); err != nil {
				t.Error(err)
			}
			if err := os.RemoveAll(m.path("dir")); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestOpenPipeHasAttributesWhenItsNameIsGone: as every open file has, whether its name
// was removed or another file took it.
func TestOpenPipeHasAttributesWhenItsNameIsGone(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		for name, drop := range map[string]func(path string) error{
			"removed": os.Remove,
			"replaced": func(path string) error {
				write(t, path+".new", "file")
				return os.Rename(path+".new", path)
			},
		} {
			if err := unix.Mkfifo(m.path(name), 0o640); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(m.path(name), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := drop(m.path(name)); err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode != unix.S_IFIFO|0o640 || st.Nlink != 0 {
				t.Errorf("%s: mode %o, %d links, %v", name, st.Mode, st.Nlink, err)
			}
		}
	})
}
