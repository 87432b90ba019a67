package sealedfs

import "github.com/cockroachdb/pebble/v2/vfs"

// readAhead is how much of a log is read at a time, in bytes, and what a reader
// of one keeps.
const readAhead = 64 << 10

// aheadReader serves small reads at rising offsets of a file that does not
// change from a few large ones: the frames of small synced writes have some
// hundred bytes, and opening a store reads up to several ten MiB of them.
type aheadReader struct {
	base vfs.File
	off  int64 // of buf in the file
	buf  []byte
}

// ReadAt implements io.ReaderAt.
func (r *aheadReader) ReadAt(p []byte, off int64) (int, error) {
	if len(p) > readAhead/2 {
		return r.base.ReadAt(p, off)
	}
	if n, ok := r.held(p, off); ok {
		return n, nil
	}
	if r.buf == nil {
		r.buf = make([]byte, 0, readAhead)
	}
	n, err := r.base.ReadAt(r.buf[:readAhead], off)
	r.off, r.buf = off, r.buf[:n]
	if n, ok := r.held(p, off); ok {
		return n, nil
	}
	return copy(p, r.buf), err
}

// held copies what is at off if all of it is in memory.
func (r *aheadReader) held(p []byte, off int64) (int, bool) {
	at := off - r.off
	if at < 0 || at > int64(len(r.buf))-int64(len(p)) {
		return 0, false
	}
	return copy(p, r.buf[at:]), true
}
