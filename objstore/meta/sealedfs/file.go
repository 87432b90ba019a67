package sealedfs

import (
	"github.com/cockroachdb/pebble/v2/vfs"
)

// fileInfo reports a file's plaintext size.
type fileInfo struct {
	vfs.FileInfo
	size int64
}

func (fi fileInfo) Size() int64 { return fi.size }

// fd returns the descriptor below. Where there is none (files in memory) it
// makes one up: InvalidFd would make Pebble turn every hint to start
// writeback into a full sync. Nothing of Pebble's uses it as a descriptor.
func fd(base vfs.File) uintptr {
	if fd := base.Fd(); fd != vfs.InvalidFd {
		return fd
	}
	return noFd
}

const noFd = vfs.InvalidFd - 1

// noWrite is the half of vfs.File that readers do not have.
type noWrite struct{}

func (noWrite) Write([]byte) (int, error)          { return 0, errUnsupported }
func (noWrite) WriteAt([]byte, int64) (int, error) { return 0, errUnsupported }
func (noWrite) Preallocate(int64, int64) error     { return nil }
func (noWrite) Sync() error                        { return nil }
func (noWrite) SyncData() error                    { return nil }
func (noWrite) SyncTo(int64) (bool, error)         { return false, nil }

// nullFile takes the place of a log, manifest, marker or options file created
// after the FS froze.
type nullFile struct{ size int64 }

func (f *nullFile) Write(p []byte) (int, error)        { f.size += int64(len(p)); return len(p), nil }
func (f *nullFile) WriteAt([]byte, int64) (int, error) { return 0, errUnsupported }
func (f *nullFile) Read([]byte) (int, error)           { return 0, ErrFrozen }
func (f *nullFile) ReadAt([]byte, int64) (int, error)  { return 0, ErrFrozen }
func (f *nullFile) Close() error                       { return nil }
func (f *nullFile) Sync() error                        { return nil }
func (f *nullFile) SyncData() error                    { return nil }
func (f *nullFile) SyncTo(int64) (bool, error)         { return false, nil }
func (f *nullFile) Preallocate(int64, int64) error     { return nil }
func (f *nullFile) Prefetch(int64, int64) error        { return nil }
func (f *nullFile) Fd() uintptr                        { return noFd }
func (f *nullFile) Stat() (vfs.FileInfo, error)        { return nil, ErrFrozen }

// markerFile is one of Pebble's empty files: nothing can be written to it.
type markerFile struct{ vfs.File }

func (markerFile) Write([]byte) (int, error)          { return 0, errUnsupported }
func (markerFile) WriteAt([]byte, int64) (int, error) { return 0, errUnsupported }

// dir syncs a directory.
type dir struct {
	vfs.File
	fs    *FS
	name  string
	store bool // it is Options.Dir
}

func (d dir) Sync() error     { return d.fs.syncDir(d) }
func (d dir) SyncData() error { return d.fs.syncDir(d) }
