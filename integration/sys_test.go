package integration

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncfs makes the file system that f lies on durable.
func syncfs(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
