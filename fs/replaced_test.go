package fs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// version is a content that tells whether it is whole.
func version(i int) string {
	return strings.Repeat(fmt.Sprintf("%08d", i), 1+i%3*2000)
}

func whole(b []byte) error {
	if len(b) < 8 || len(b)%8 != 0 || !bytes.Equal(b, bytes.Repeat(b[:8], len(b)/8)) {
		return fmt.Errorf("a mixture of %d bytes", len(b))
	}
	return nil
}

// replacers put one content after the other at a name. With gone the name is absent
// in between.
var replacers = []struct {
	name string
	gone bool
	do   func(t *testing.T, m *mounted, content string)
}{
	{"put", false, func(t *testing.T, m *mounted, content string) { m.put(t, "dir/key", content) }},
	{"delete and put", true, func(t *testing.T, m *mounted, content string) {
		m.del(t, "dir/key")
		m.put(t, "dir/key", content)
	}},
	{"rename", false, func(t *testing.T, m *mounted, content string) {
		write(t, m.path("dir/new"), content)
		if err := os.Rename(m.path("dir/new"), m.path("dir/key")); err != nil {
			t.Error(err)
		}
	}},
	{"unlink and rename", true, func(t *testing.T, m *mounted, content string) {
		if err := os.Remove(m.path("dir/key")); err != nil {
			t.Error(err)
		}
		write(t, m.path("dir/new"), content)
		if err := os.Rename(m.path("dir/new"), m.path("dir/key")); err != nil {
			t.Error(err)
		}
	}},
}

// users are what programs do with a file.
var users = []struct {
	name string
	do   func(path string) error
}{
	{"read", func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		b := make([]byte, 64<<10)
		n, err := f.Read(b)
		if err != nil {
			return err
		}
		st, err := f.Stat()
		if err != nil {
			return err
		}
		if st.Size() != int64(n) {
			return fmt.Errorf("fstat says %d bytes, there are %d", st.Size(), n)
		}
		return whole(b[:n])
	}},
	{"stat", func(path string) error {
		var st unix.Stat_t
		return unix.Stat(path, &st)
	}},
	{"xattr", func(path string) error {
		var b [64]byte
		_, err := unix.Getxattr(path, "user.none", b[:])
		if errors.Is(err, unix.ENODATA) {
			err = nil
		}
		return err
	}},
	{"chmod", func(path string) error { return os.Chmod(path, 0o755) }},
	{"access", func(path string) error { return unix.Access(path, unix.R_OK) }},
	{"append", func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		return f.Close()
	}},
}

// What replaces a file beside a program that uses it is no failure of the program.
func TestReplacedFilesCanBeUsed(t *testing.T) {
	const workers = 4
	for _, r := range replacers {
		t.Run(r.name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, m *mounted) {
				m.put(t, "dir/key", version(0))
				m.put(t, "dir/other", "keeps the directory")
				var stop atomic.Bool
				var rounds atomic.Int64
				var wg sync.WaitGroup
				var mu sync.Mutex // guards failures
				failures := make(map[string]int)
				for range workers {
					wg.Go(func() {
						for ; !stop.Load(); rounds.Add(1) {
							for _, u := range users {
								err := u.do(m.path("dir/key"))
								if err == nil || r.gone && errors.Is(err, syscall.ENOENT) {
									continue
								}
								mu.Lock()
								failures[u.name+": "+err.Error()]++
								mu.Unlock()
							}
						}
					})
				}
				for i := range 80 {
					r.do(t, m, version(i))
				}
				stop.Store(true)
				wg.Wait()
				for what, n := range failures {
					t.Errorf("%d times of %d: %s", n, rounds.Load(), what)
				}
			})
		})
	}
}
