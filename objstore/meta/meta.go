// Package meta is the contract of coffer's metadata store: an ordered,
// transactional key-value store with snapshot reads, serialisable
// read-write transactions and a durability barrier.
//
// What it promises: Updates are serialisable, phantoms included, and their
// order of commit is the history. After a crash the store holds a prefix of
// that history, and at least everything that a returned Sync covered.
//
// What the caller must do: treat every slice that comes out as read-only and
// valid only until the function given to View or Update returns, and pass in
// slices that it does not change until that function returned. A Reader, a
// Txn and what they returned must not be used after that. The functions must
// not call Update, Sync or Close of the same store: with one writer at a time
// they would wait for themselves.
//
// Drivers: pebblekv (embedded). Every driver passes metatest.
package meta

import (
	"context"
	"errors"
	"iter"
)

// Limits every driver accepts at least; beyond them Update may return
// ErrTooLarge.
const (
	MaxKeySize   = 4 << 10   // bytes
	MaxValueSize = 256 << 10 // bytes
	MaxTxnBytes  = 16 << 20  // sum of keys and values set in one Update
)

var (
	// ErrNotFound is returned by Get for an absent key.
	ErrNotFound = errors.New("meta: key not found")
	// ErrConflict is returned by a driver's commit to itself: Update retries.
	// A caller sees it only when retries were exhausted.
	ErrConflict = errors.New("meta: transaction conflict")
	// ErrCorrupt marks bytes that failed authentication or decoding. It is
	// never reported as ErrNotFound or as an end of iteration.
	ErrCorrupt = errors.New("meta: corrupt")
	// ErrReadOnly is returned by Update, Sync and Close after a failed write to
	// stable storage turned the store read-only; the first cause is wrapped
	// with it, and what was not covered by a Sync before may be lost. Reads go
	// on. It is also returned by the Update of a store that was opened
	// read-only, whose Sync has nothing to do.
	ErrReadOnly = errors.New("meta: read-only")
	// ErrNoSpace is returned by Update when the disk is full or about to be.
	// The Update had no effect and the store stays usable: reads go on, so do
	// Updates that delete as long as they can, and all do when there is room.
	// From Sync it tells that what was committed is not durable yet; nothing is lost, and a
	// later one may succeed. From Close it tells that it is lost.
	ErrNoSpace = errors.New("meta: no space left")
	// ErrTooLarge is returned by an Update that set a key, a value or a sum of
	// them beyond the limits. It had no effect.
	ErrTooLarge = errors.New("meta: too large")
	// ErrEmptyKey is returned by an Update that set or deleted the empty key,
	// which no store holds. It had no effect.
	ErrEmptyKey = errors.New("meta: empty key")
	// ErrClosed is returned by any use after Close.
	ErrClosed = errors.New("meta: closed")
)

// Store is an ordered transactional key-value store. All methods may be
// called concurrently.
type Store interface {
	// View runs fn over one snapshot of all Updates that returned before it.
	View(ctx context.Context, fn func(Reader) error) error
	// Update runs fn and commits what it set and deleted, all or nothing. When
	// fn returns an error nothing is changed and Update returns that error.
	// fn may run again after ErrConflict and must have no other effect. When
	// ctx is done before the commit, nothing is changed; the commit itself is
	// not interrupted. A committed Update is visible to every View and Update that starts
	// after it returned; it is durable only after Sync.
	Update(ctx context.Context, fn func(Txn) error) error
	// Sync returns when all Updates that returned before it are durable.
	// Concurrent calls share one barrier. It does not wait for room on a full disk.
	Sync(ctx context.Context) error
	// Close waits for calls in progress, makes everything durable and releases
	// the store. An error tells that the first did not happen. It is idempotent.
	Close() error
}

// Reader reads one consistent state. It is used by one goroutine at a time.
type Reader interface {
	// Get returns the value of key or ErrNotFound.
	Get(key []byte) ([]byte, error)
	// GetMany returns the values of keys in their order, nil for the absent.
	// An empty value that is present is a non-nil empty slice.
	GetMany(keys [][]byte) ([][]byte, error)
	// Scan iterates over a range in key order, backwards if r.Reverse. It
	// sees what was set and deleted before the iteration began, so that a
	// Txn may set and delete while it scans. A failure ends the iteration with
	// one last step whose error is not nil.
	Scan(r Range) iter.Seq2[Pair, error]
}

// Releaser is a Reader that can give its snapshot up before the function given to
// View returns: as long as there is one, the store keeps what was overwritten and
// deleted since.
type Releaser interface {
	// Release gives the snapshot up. What was read stays valid as it would have;
	// reading anything else fails. In an Update it does nothing.
	Release()
}

// Txn reads its own writes. Within one Update later calls win over earlier
// ones; deleting what is absent is no error. A nil value is an empty one.
type Txn interface {
	Reader
	Set(key, value []byte)
	Delete(key []byte)
}

// Range is the keys k with Start <= k < End. A nil End means no upper bound.
type Range struct {
	Start, End []byte
	Reverse    bool
}

// Pair is one key and its value, valid until the next step of the iteration.
type Pair struct {
	Key, Value []byte
}

// Prefix is the range of all keys that begin with p.
func Prefix(p []byte) Range {
	return Range{Start: p, End: PrefixEnd(p)}
}

// PrefixEnd returns the smallest key greater than every key that begins with
// p, or nil when there is none (p is empty or all 0xff).
func PrefixEnd(p []byte) []byte {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0xff {
			end := append([]byte(nil), p[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}
