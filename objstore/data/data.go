// Package data is the contract of coffer's data store: immutable bytes in
// large append-only segments. It knows nothing of keys, names or metadata.
//
// What it promises: bytes under a returned Location never change, and after a
// returned Sync they survive a crash. A synced block of the underlying device
// is never written again.
//
// What the caller must do: remember Locations, keep whoever reads from a
// segment from having it removed, and authenticate what it reads (a driver
// need not notice altered bytes).
//
// Drivers: localdata. Every driver passes datatest.
package data

import (
	"context"
	"errors"
	"iter"
	"time"
)

// MaxAppend is the largest p that Append takes, in bytes.
const MaxAppend = 8 << 20

var (
	// ErrNotFound is returned for a segment that does not exist.
	ErrNotFound = errors.New("data: segment not found")
	// ErrCorrupt marks a segment that is too short for a location, or whose
	// header is wrong.
	ErrCorrupt = errors.New("data: corrupt")
	// ErrNoSpace is returned by Append and Sync when the disk is full. The
	// store stays usable; bytes covered by an earlier Sync are safe.
	ErrNoSpace = errors.New("data: no space left")
	// ErrFailed is returned for ever by Append and Sync after a write to
	// stable storage failed for another reason than ErrNoSpace: what was not
	// synced may be lost, and a retry could hide that.
	ErrFailed = errors.New("data: writing failed, store is read-only")
	// ErrClosed is returned by any use after Close.
	ErrClosed = errors.New("data: closed")
)

// SegmentID is a random 128-bit name, never reused.
type SegmentID [16]byte

// Location says where an appended run of bytes stands. Offset and Length are
// in bytes; Length is that of the appended slice.
type Location struct {
	Segment SegmentID
	Offset  uint64
	Length  uint32
}

// SegmentInfo describes one segment. Size is in bytes on the device,
// with padding. Sealed segments take no more appends.
type SegmentInfo struct {
	ID       SegmentID
	Size     uint64
	Sealed   bool
	Modified time.Time
}

// Store holds segments. All methods may be called concurrently.
type Store interface {
	// Append adds p to the active segment and returns its location. The bytes
	// can be read at once, but are durable only after Sync; until then they may
	// be staged in memory. p belongs to the caller again when Append returns.
	Append(ctx context.Context, p []byte) (Location, error)
	// ReadAt fills p with the bytes that stand off bytes after the start of l:
	// all of p or an error. off+len(p) is at most l.Length.
	ReadAt(ctx context.Context, l Location, p []byte, off int64) error
	// Sync returns when all bytes whose Append returned before it are durable.
	// Concurrent calls share one barrier. With nothing appended it is free.
	Sync(ctx context.Context) error
	// Segments iterates over all segments, in no particular order.
	Segments(ctx context.Context) iter.Seq2[SegmentInfo, error]
	// Remove deletes a sealed segment. Removing one that is absent is no error.
	Remove(ctx context.Context, id SegmentID) error
	// Close makes everything durable, seals the active segment and releases
	// the store. It is idempotent.
	Close() error
}
