package fs

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Whoever stands in a directory that another door moves stands at the new path, and what
// is below it goes with it.
func TestDirectoryThatMovesHasItsNewPath(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		m.put(t, "dir/sub/key", "x")
		m.put(t, "a/b/key", "keeps the directory")
		dir, dirPath := openPath(t, m.path("dir"), unix.O_DIRECTORY)
		defer unix.Close(dir)
		sub, subPath := openPath(t, m.path("dir/sub"), unix.O_DIRECTORY)
		defer unix.Close(sub)
		at := "dir"
		for _, to := range []string{"dir2", "a/dir", "a/b/dir", "dir", "made/by/it/dir", "made/by/it2/dir"} {
			// The kernel knows that it is not there.
			if _, err := os.Stat(m.path(to)); !os.IsNotExist(err) {
				t.Fatal(err)
			}
			m.renameKey(t, at+"/", to+"/")
			at = to
			for via, want := range map[string]string{dirPath: m.path(at), subPath: m.path(at + "/sub")} {
				if link, err := os.Readlink(via); err != nil || link != want {
					t.Errorf("moved to %s: the path is %q, %v", to, link, err)
				}
			}
			for i, fd := range []int{dir, sub} {
				if err := unix.Mkdirat(fd, fmt.Sprint("new-", len(at), i), 0o755); err != nil {
					t.Errorf("moved to %s: mkdir: %v", to, err)
				}
			}
			wantContent(t, m.path(at+"/sub/key"), "x")
		}
	})
}

func TestDirectoriesThatAnotherMountExchangesHaveTheirNewPaths(t *testing.T) {
	m := mountBucket(t, Options{})
	other := mountStore(t, m.store, Options{Root: m.root})
	via := make(map[string]string)
	for _, name := range []string{"one", "two"} {
		if err := os.MkdirAll(m.path(name+"/dir"), 0o755); err != nil {
			t.Fatal(err)
		}
		fd, path := openPath(t, m.path(name+"/dir"), unix.O_DIRECTORY)
		defer unix.Close(fd)
		via[name] = path
	}
	if err := rename2(other.path("one/dir"), other.path("two/dir"), unix.RENAME_EXCHANGE); err != nil {
		t.Fatal(err)
	}
	if err := m.store.WaitWatchers(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, now := range map[string]string{"one": "two", "two": "one"} {
		if link, err := os.Readlink(via[name]); err != nil || link != m.path(now+"/dir") {
			t.Errorf("%s/dir is %q, %v", name, link, err)
		}
	}
}

// What is mounted in a directory stays mounted when another door moves that.
func TestMountInADirectoryMovesWithIt(t *testing.T) {
	m := mountBucket(t, Options{})
	m.put(t, "dir/sub/key", "x")
	if err := unix.Mount("none", m.path("dir/sub"), "tmpfs", 0, ""); err != nil {
		t.Skipf("needs root: %v", err)
	}
	defer func() {
		for _, at := range []string{"dir/sub", "moved/sub"} {
			_ = unix.Unmount(m.path(at), unix.MNT_DETACH)
		}
	}()
	write(t, m.path("dir/sub/file"), "in the other file system")
	m.renameKey(t, "dir/", "moved/")
	wantContent(t, m.path("moved/sub/file"), "in the other file system")
}
