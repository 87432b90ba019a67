package integration

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// syncfs makes the file system that f lies on durable.
func syncfs(f *os.File) error { return unix.Syncfs(int(f.Fd())) }

// isErrno reports whether err is the system's error want.
func isErrno(err error, want syscall.Errno) bool { return errors.Is(err, want) }
