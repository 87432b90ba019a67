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
// # What stands in a segment
//
// Appended runs stand in the order in which their places were given out, from
// SegmentInfo.Start on. Runs appended between two barriers follow each other
// without a gap. Before a run, after a barrier, and at the end of a segment
// there can be padding: zeros, up to the next multiple of Block, and at the
// end any number of whole blocks of zeros. An Append that failed has left nothing,
// or as many bytes as it was asked for. A caller that frames its runs can
// so walk a segment without metadata: where no frame begins, the next one can
// only begin at the next multiple of Block. In a segment that was active when
// the machine stopped, runs that were not synced can be missing, torn or
// zeros, in any order.
//
// # Errors
//
// The errors below are matched with errors.Is. Any other error is a failure of
// the environment (a read error of the disk, too many open files) and says
// nothing about what is stored: the call can be repeated.
//
// Drivers: localdata. Every driver passes datatest.
package data

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

const (
	// MaxAppend is the largest p that Append takes, in bytes.
	MaxAppend = 8 << 20
	// Block is the unit, in bytes, to which the end of a synced group is padded.
	Block = 4096
)

var (
	// ErrNotFound is returned for a segment that does not exist.
	ErrNotFound = errors.New("data: segment not found")
	// ErrCorrupt marks a segment that is too short for a location, or whose
	// header is wrong. A read error of the device is not ErrCorrupt.
	ErrCorrupt = errors.New("data: corrupt")
	// ErrNoSpace is returned by Append and Sync when the disk is full, or so
	// full that the reserve would be touched. The store stays usable, bytes
	// covered by an earlier Sync are safe, and no byte of a returned Append is
	// given up: such bytes can still be read, and the next Sync that returns
	// nil has made them durable too.
	ErrNoSpace = errors.New("data: no space left")
	// ErrFailed is returned for ever by Append, Sync and Close after a write
	// to stable storage failed for another reason than ErrNoSpace: what was not
	// synced may be lost, and a retry could hide that. Reads go on.
	ErrFailed = errors.New("data: writing failed, store is read-only")
	// ErrReadOnly is returned by Append and Remove of a store that was opened
	// for reading only. Its Sync has nothing to do and returns nil.
	ErrReadOnly = errors.New("data: opened read-only")
	// ErrNotSealed is returned by Remove for a segment that still takes
	// appends or holds appends that are not yet durable.
	ErrNotSealed = errors.New("data: segment is not sealed")
	// ErrTooLarge is returned by Append for more than MaxAppend bytes.
	ErrTooLarge = errors.New("data: append too large")
	// ErrClosed is returned by any use after Close.
	ErrClosed = errors.New("data: closed")
)

// SegmentID is a random 128-bit name, never reused.
type SegmentID [16]byte

// String returns the id as 32 lower-case hexadecimal digits.
func (id SegmentID) String() string { return hex.EncodeToString(id[:]) }

// Location says where an appended run of bytes stands. Offset and Length are
// in bytes; Length is that of the appended slice. The zero Location is that of
// an empty run.
type Location struct {
	Segment SegmentID
	Offset  uint64
	Length  uint32
}

func (l Location) String() string {
	return fmt.Sprintf("%v+%d:%d", l.Segment, l.Offset, l.Length)
}

// SegmentInfo describes one segment. Sealed segments take no more appends and
// hold nothing that is not durable.
type SegmentInfo struct {
	ID       SegmentID
	Start    uint64 // offset of the first byte that can belong to a run
	Size     uint64 // bytes, with header and padding: no run ends beyond it
	Sealed   bool
	Modified time.Time // of the last append; of the file where that is not known
}

// Store holds segments. All methods may be called concurrently.
//
// A ctx is honoured while a call waits for its turn. Once an Append has been
// given its place, and once a barrier has begun, they run to their end.
type Store interface {
	// Append adds p to the active segment and returns its location. The bytes
	// can be read at once, but are durable only after Sync; until then they may
	// be staged in memory. p belongs to the caller again when Append returns,
	// and is only read. An empty p gets the zero Location and stores nothing.
	// After an error nothing of p can be referred to.
	//
	// Errors: ErrNoSpace, ErrFailed, ErrReadOnly, ErrTooLarge, ErrClosed.
	Append(ctx context.Context, p []byte) (Location, error)
	// ReadAt fills p with the bytes that stand off bytes after the start of l:
	// all of p or an error, after which p holds anything. off+len(p) is at most
	// l.Length. An empty p is filled without looking for the segment.
	//
	// Errors: ErrNotFound, ErrCorrupt, ErrClosed.
	ReadAt(ctx context.Context, l Location, p []byte, off int64) error
	// Sync returns when all bytes whose Append returned before it are durable.
	// Concurrent calls share one barrier. With nothing appended it is free.
	//
	// Errors: ErrNoSpace, ErrFailed, ErrClosed.
	Sync(ctx context.Context) error
	// Segments iterates over all segments, in no particular order. Segments
	// made or removed meanwhile may or may not be seen. A failure ends the
	// iteration with one last step whose error is not nil.
	Segments(ctx context.Context) iter.Seq2[SegmentInfo, error]
	// Remove deletes a sealed segment. Removing one that is absent is no error.
	// Reads that are under way may still succeed. The removal need not be
	// durable: after a crash the segment can be there again.
	//
	// Errors: ErrNotSealed, ErrReadOnly, ErrClosed.
	Remove(ctx context.Context, id SegmentID) error
	// Close makes everything durable, seals the active segment and releases
	// the store, after waiting for calls under way. It is idempotent: later
	// calls return what the first one did. When it fails, what was not synced
	// may be lost.
	Close() error
}

// BlockReader is a Store that reads much with less work when it may choose where
// in the memory the bytes come to stand.
type BlockReader interface {
	// ReadBlocks reads as ReadAt does, n bytes, into buf, which holds n or more
	// of them, and returns the part of buf where they are. It changes anything in
	// buf. Three times Block more than n is room enough for it to work best.
	ReadBlocks(ctx context.Context, l Location, buf []byte, n int, off int64) ([]byte, error)
}

// Sparer is a Store that keeps room for what makes more of it.
type Sparer interface {
	// AppendSpare is Append for bytes that stand elsewhere too and are about to be
	// removed there. It may use room that Append leaves alone.
	AppendSpare(ctx context.Context, p []byte) (Location, error)
}

// Filler is a Store that takes a run while it is made, so that there need not be
// another copy of it.
type Filler interface {
	// AppendFrom adds a run of n bytes (1 to MaxAppend), as Append does. fill
	// writes them to w, in order and in pieces of any size, all of them and no
	// more; it should not wait for anything, since a barrier waits for it. It is
	// called once, or not at all where AppendFrom fails before.
	//
	// Errors: those of Append, and that of fill. After one nothing of the run can
	// be referred to; when it is that of fill, what fill wrote and zeros stand in
	// its place.
	AppendFrom(ctx context.Context, n int, fill func(w io.Writer) error) (Location, error)
}

// Sealer is a Store that can be told to append elsewhere, so that an active segment in
// which little is left can be compacted or removed like any other.
type Sealer interface {
	// Seal makes a segment durable and seals it, if it takes appends: the next one goes to
	// a segment of its own. For any other segment nothing is done.
	//
	// Errors: those of Sync, ErrReadOnly.
	Seal(ctx context.Context, id SegmentID) error
}
