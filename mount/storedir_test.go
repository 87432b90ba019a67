package mount

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A pipe would make whoever opens it wait, a device could be read for ever.
func TestSmallFilesOfAStoreAreRegular(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"device": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		c := &Config{Store: t.TempDir()}
		for _, file := range []string{nameSuperblock, nameKeystore, nameLock} {
			if err := put(c.path(file)); err != nil {
				t.Fatal(err)
			}
			// With a writer, opening a pipe does not wait.
			if p, err := os.OpenFile(c.path(file), os.O_RDWR|syscall.O_NONBLOCK, 0); err == nil {
				defer p.Close()
				if _, err := p.WriteString("1\n"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := readSuperblock(c); !errors.Is(err, errNotRegular) {
			t.Errorf("%s for the superblock: %v", name, err)
		}
		if _, err := readKeystore(c); !errors.Is(err, errNotRegular) {
			t.Errorf("%s for the keystore: %v", name, err)
		}
		if pid := lockHolder(filepath.Clean(c.Store)); pid != 0 {
			t.Errorf("%s for the lock: held by %d", name, pid)
		}
	}
}
