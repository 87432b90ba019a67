package sealedfs

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func diskFS(t *testing.T) (*FS, string) {
	dir := t.TempDir()
	fs, err := New(Options{Base: vfs.Default, Dir: dir, Keys: fixedKey(t), CurrentKey: 1})
	if err != nil {
		t.Fatal(err)
	}
	return fs, dir
}

// A pipe would make whoever opens it wait.
func TestWhatIsNoRegularFileIsCorrupt(t *testing.T) {
	fs, dir := diskFS(t)
	for name, put := range map[string]func(path string) error{
		"pipe":                  func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":             func(path string) error { return os.Mkdir(path, 0o700) },
		"symbolic link to zero": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		for _, file := range []string{"000001.log", "MANIFEST-000001", "000002.sst", "OPTIONS-000003", "SHUTDOWN-000001"} {
			path := filepath.Join(dir, file)
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			// With a writer, opening a pipe does not wait.
			if p, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0); err == nil {
				defer p.Close()
			}
			if _, err := fs.Open(path); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s in the place of %q: %v", name, file, err)
			}
			if _, err := fs.openDurable(path); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s in the place of %q: %v", name, file, err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A log that was made long, which costs nothing where it has no blocks, is not read to
// its end.
func TestLogOfAbsurdLengthIsCorrupt(t *testing.T) {
	fs, dir := diskFS(t)
	for _, file := range []string{"000001.log", "MANIFEST-000001"} {
		path := filepath.Join(dir, file)
		f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), os.Truncate(path, MaxLog)); err != nil {
			t.Fatal(err)
		}
		if r, err := fs.Open(path); err != nil {
			t.Error(err)
		} else {
			r.Close()
		}
		if err := os.Truncate(path, MaxLog+1); err != nil {
			t.Fatal(err)
		}
		if _, err := fs.Open(path); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: %v", file, err)
		}
	}
}

// Taking the lock empties its file, which may be a log that somebody renamed.
func TestLockEmptiesNoOtherFile(t *testing.T) {
	fs, dir := diskFS(t)
	path := filepath.Join(dir, "LOCK")
	for range 2 { // made, and found
		l, err := fs.Lock(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte("a log"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Lock(path); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another file is locked: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "a log" {
		t.Errorf("the file has %q now, %v", text, err)
	}
	if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Lock(path); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a pipe is locked: %v", err)
	}
}
