package pebblekv

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// memFS is Pebble's file system in memory, with files that grow at once: it
// adds what WriteAt writes behind the end byte by byte, which took most of the time of
// these tests under the race detector.
type memFS struct{ vfs.FS }

func (fs memFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	return &memFile{File: f}, nil
}

// memFile is a file that was created. It is written through this alone.
type memFile struct {
	vfs.File
	size int64
}

func (f *memFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.size += int64(n)
	return n, err
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if hole := off - f.size; hole > 0 {
		if _, err := f.Write(make([]byte, hole)); err != nil {
			return 0, err
		}
	}
	inside := min(int(f.size-off), len(p))
	if n, err := f.File.WriteAt(p[:inside], off); err != nil || inside == len(p) {
		return n, err
	}
	n, err := f.Write(bytes.Clone(p[inside:])) // which changes what it is given
	return inside + n, err
}
