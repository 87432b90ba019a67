package integration

import (
	"errors"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// syncfs makes the file system that f lies on durable.
func syncfs(f *os.File) error { return unix.Syncfs(int(f.Fd())) }

// isErrno reports whether err is the system's error want.
func isErrno(err error, want syscall.Errno) bool { return errors.Is(err, want) }

// mincore tells which pages of a mapping are in memory: bit 0 of each byte.
func mincore(m []byte, pages []byte) error {
	_, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
