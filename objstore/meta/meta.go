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
// slices that it does not change until that function returned.
//
// Drivers: pebblekv (embedded). Every driver passes metatest.
package meta

import (
	"context"
	"errors"
	"iter"
)

// Limits every driver accepts at least.
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
	// ErrReadOnly is returned by Update and Sync after a failed write to
	// stable storage turned the store read-only, and by stores opened so.
	ErrReadOnly = errors.New("meta: read-only")
	// ErrNoSpace is returned by Update and Sync when the disk is full. The
	// store stays usable; the Update had no effect.
	ErrNoSpace = errors.New("meta: no space left")
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
	// fn may run again after ErrConflict and must have no other effect.
	// A committed Update is visible to every View and Update that starts
	// after it returned; it is durable only after Sync.
	Update(ctx context.Context, fn func(Txn) error) error
	// Sync returns when all Updates that returned before it are durable.
	// Concurrent calls share one barrier.
	Sync(ctx context.Context) error
	// Close makes everything durable and releases the store. It is idempotent.
	Close() error
}

// Reader reads one consistent state. It is used by one goroutine at a time.
type Reader interface {
	// Get returns the value of key or ErrNotFound.
	Get(key []byte) ([]byte, error)
	// GetMany returns the values of keys in their order, nil for the absent.
	// An empty value that is present is a non-nil empty slice.
	GetMany(keys [][]byte) ([][]byte, error)
	// Scan iterates over a range in key order. A failure ends the iteration
	// with one last step whose error is not nil.
	Scan(r Range) iter.Seq2[Pair, error]
}

// Txn reads its own writes.
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
