package localdata

import (
	"io"
	"time"
)

// FS is the directory that holds the segments, as the store sees it. OS gives
// the real one; datatest.CrashFS is one that forgets what was not synced.
//
// Errors of the methods wrap syscall errors: ENOSPC and EDQUOT mean that the
// disk is full, ENOENT that a file is absent, EEXIST that a name is taken.
// All methods may be called concurrently.
type FS interface {
	// Create makes an empty file, which must not exist, for reading and writing.
	Create(name string) (File, error)
	// OpenRead opens a file for reading.
	OpenRead(name string) (File, error)
	// List returns what is in the directory.
	List() ([]Entry, error)
	// Remove deletes a file. Open Files of it stay usable.
	Remove(name string) error
	// SyncDir makes the names of created files durable.
	SyncDir() error
	// FreeSpace returns how many bytes can still be written.
	FreeSpace() (uint64, error)
}

// Entry is one file of an FS.
type Entry struct {
	Name     string
	Size     int64
	Modified time.Time
	Regular  bool
}

// File is one open file. All methods may be called concurrently, Close once.
//
// The store aligns every transfer: p starts at a multiple of data.Block in
// memory, and len(p) and off are multiples of data.Block.
type File interface {
	io.ReaderAt // an implementation may stop short at the end of the file
	io.WriterAt
	io.Closer
	// Sync makes everything written before it durable, with the file's size,
	// but not its name.
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
}

// CachedReader is a File that can read through the kernel's page cache, with no
// alignment. For a read of one DARE package that is worth it: it needs no bounce
// buffer, a small read in it needs the whole package of which the next one may
// need another part, and the S3 door has no other cache. It is asked for sealed
// segments only: what is written past the page cache could be missing in it.
type CachedReader interface {
	// ReadCachedAt is ReadAt. ErrUnsupported: not for this file.
	ReadCachedAt(p []byte, off int64) (int, error)
}

// Preallocator is a File that can have room set aside for it. The room reads
// as zeros. It serves speed and an early "disk full" only; correctness never
// depends on it.
type Preallocator interface {
	// Preallocate sets aside n bytes at off and makes the file at least off+n
	// long. An error that is EOPNOTSUPP means that this cannot be done here.
	Preallocate(off, n int64) error
}
