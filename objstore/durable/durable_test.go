package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteFileAtomicReplacesContentAndMode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "superblock")
	for _, want := range [][]byte{[]byte("first"), {}, bytes.Repeat([]byte("x"), 1<<20), []byte("last")} {
		if err := WriteFileAtomic(path, want, 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read %d bytes, %v, want %d bytes", len(got), err, len(want))
		}
		st, _ := os.Stat(path)
		if st.Mode().Perm() != 0o640 {
			t.Fatalf("mode %v, want 0640", st.Mode())
		}
	}
	if n := names(t, dir); len(n) != 1 {
		t.Fatalf("files left: %q", n)
	}
}

func TestFailedWriteFileAtomicKeepsOldContent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	// A directory that is not empty cannot be replaced by rename.
	if err := os.MkdirAll(filepath.Join(path, "inside"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFileAtomic(path, []byte("x"), 0o600); err == nil {
		t.Fatal("replaced a directory")
	}
	if n := names(t, dir); len(n) != 1 || n[0] != "taken" {
		t.Fatalf("files left: %q", n)
	}
	if err := WriteFileAtomic(filepath.Join(dir, "none", "f"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("missing directory: %v", err)
	}
}

// TestWriteFilesAtomicReplacesInOrder: a path that cannot be replaced keeps those after
// it as they were; one that cannot be prepared keeps all.
func TestWriteFilesAtomicReplacesInOrder(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	holds := func(want map[string]string) {
		t.Helper()
		for name, text := range want {
			if got, err := os.ReadFile(at(name)); err != nil || string(got) != text {
				t.Errorf("%s is %q, %v, want %q", name, got, err, text)
			}
		}
		if n := names(t, dir); len(n) != len(want)+1 {
			t.Errorf("files left: %q", n)
		}
	}
	if err := os.MkdirAll(at("taken/inside"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFilesAtomic([]byte("one"), 0o640, at("a"), at("b")); err != nil {
		t.Fatal(err)
	}
	holds(map[string]string{"a": "one", "b": "one"})
	if st, _ := os.Stat(at("b")); st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, want 0640", st.Mode())
	}
	// A directory that is not empty cannot be replaced.
	if err := WriteFilesAtomic([]byte("two"), 0o600, at("a"), at("taken"), at("b")); err == nil {
		t.Error("replaced a directory")
	}
	holds(map[string]string{"a": "two", "b": "one"})
	if err := WriteFilesAtomic([]byte("three"), 0o600, at("a"), at("none/c"), at("b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	holds(map[string]string{"a": "two", "b": "one"})
}

func TestCreateExclusiveNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := CreateExclusive(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CreateExclusive(path, []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second create: %v, want ErrExist", err)
	}
	got, _ := os.ReadFile(path)
	if string(got) != "one" {
		t.Fatalf("content %q, want the first", got)
	}
	if n := names(t, dir); len(n) != 1 {
		t.Fatalf("files left: %q", n)
	}
}

func TestRemoveTempDeletesOnlyLeftovers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	keep := []string{"key", ".key..tmp", ".key.1", ".other.1.tmp", "key.1.tmp"}
	for _, n := range append([]string{".key.1.tmp", ".key.abc.tmp"}, keep...) {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveTemp(path); err != nil {
		t.Fatal(err)
	}
	if n := names(t, dir); len(n) != len(keep) {
		t.Fatalf("left %q, want %q", n, keep)
	}
}

func TestMkdirAllMakesEveryLevel(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	st, err := os.Stat(path)
	if err != nil || !st.IsDir() || st.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", st, err)
	}
	file := filepath.Join(dir, "file")
	os.WriteFile(file, nil, 0o600)
	if err := MkdirAll(file, 0o700); err == nil {
		t.Fatal("a file passed for a directory")
	}
	if err := MkdirAll(filepath.Join(file, "x"), 0o700); err == nil {
		t.Fatal("made a directory below a file")
	}
}

func TestLockIsExclusiveAndNamesItsHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := LockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockFile(path)
	var held *LockedError
	if !errors.As(err, &held) || !errors.Is(err, ErrLocked) {
		t.Fatalf("second lock: %v", err)
	}
	if held.PID != os.Getpid() || held.Path != path {
		t.Fatalf("holder %+v, want pid %d", held, os.Getpid())
	}
	for range 2 {
		if err := l.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
	again, err := LockFile(path)
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	again.Unlock()
}

func TestLockIgnoresWhatACrashLeft(t *testing.T) {
	for _, content := range []string{"", "999999\n", "no pid", strings.Repeat("9", 1000)} {
		path := filepath.Join(t.TempDir(), "lock")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := LockFile(path)
		if err != nil {
			t.Fatalf("content %.10q: %v", content, err)
		}
		l.Unlock()
	}
}

func TestLockEndsWithItsProcess(t *testing.T) {
	if path := os.Getenv("COFFER_TEST_LOCK"); path != "" {
		if _, err := LockFile(path); err != nil {
			t.Fatal(err)
		}
		os.Exit(0)
	}
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithItsProcess$")
	cmd.Env = append(os.Environ(), "COFFER_TEST_LOCK="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l, err := LockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Unlock()
}

// Between the removal of a lock's file and the next open two processes could each
// lock a file of that name.
func TestRemovedLockIsNobodysTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var holders, had atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				l, err := LockFile(path)
				if errors.Is(err, ErrLocked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				had.Add(1)
				if n := holders.Add(1); n != 1 || !l.stands(path) {
					t.Errorf("%d hold the lock, which is of the file there: %v", n, l.stands(path))
				}
				holders.Add(-1)
				if err := l.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if _, err := os.Lstat(path); had.Load() == 0 || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("locked %d times, in the end %v", had.Load(), err)
	}
}
