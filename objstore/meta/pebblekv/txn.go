package pebblekv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cofferfs/coffer/objstore/meta"
)

// View implements meta.Store.
func (s *Store) View(ctx context.Context, fn func(meta.Reader) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	r := newReader(s, nil)
	defer r.release()
	r.snapshot = s.db.NewSnapshot()
	r.from = r.snapshot
	defer r.Release()
	return fn(r)
}

// Update implements meta.Store.
func (s *Store) Update(ctx context.Context, fn func(meta.Txn) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if s.o.ReadOnly {
		return fmt.Errorf("%w: opened so", meta.ErrReadOnly)
	}
	select {
	case s.writer <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.writer }()
	if err := s.readOnly(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	batch := s.db.NewIndexedBatch()
	defer batch.Close()
	t := txn{reader: newReader(s, batch), batch: batch}
	defer t.release()
	if err := fn(&t); err != nil {
		return err
	}
	if t.err != nil {
		return t.err
	}
	if batch.Empty() {
		return nil
	}
	return s.commit(ctx, &t)
}

func (s *Store) commit(ctx context.Context, t *txn) error {
	// What is committed while the disk is full stays in memory: take no more of it.
	if err := s.retry(); err != nil {
		return err
	}
	if err := s.stall.wait(ctx, s); err != nil {
		return err
	}
	if err := s.space.admit(t.size, t.deletes > 0); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.readOnly(); err != nil {
		return err
	}
	// From here on there is no way back.
	fatal := s.log.fatal.Load()
	if err := s.db.Apply(t.batch, pebble.NoSync); err != nil {
		return s.mapError(err)
	}
	if s.log.fatal.Load() != fatal {
		return s.readOnly()
	}
	s.committed.Add(1)
	return nil
}

// source is what a reader reads: a snapshot, or a batch over the store.
type source interface {
	pebble.Reader
}

// reader implements meta.Reader.
type reader struct {
	s        *Store
	from     source
	snapshot *pebble.Snapshot // from, of a View that was not given up
	arena    []byte           // values handed out; valid until release
	large    []byte           // the first one over arenaMax; valid until release
}

const (
	// arenaSize is the size of the pieces in which values are copied out.
	arenaSize = 8 << 10
	// arenaMax is the largest value that goes into one.
	arenaMax = arenaSize / 4
	// largeMax is the largest value for which a reader has memory of its own,
	// once: the data of a small file, with what is stored beside them.
	largeMax = 20 << 10
)

var readerPool = sync.Pool{New: func() any { return &reader{arena: make([]byte, 0, arenaSize)} }}

func newReader(s *Store, from source) *reader {
	r := readerPool.Get().(*reader)
	r.s, r.from, r.arena, r.large = s, from, r.arena[:0], r.large[:0]
	return r
}

func (r *reader) release() {
	r.s, r.from = nil, nil
	readerPool.Put(r)
}

// Release implements meta.Releaser.
func (r *reader) Release() {
	if r.snapshot == nil {
		return
	}
	_ = r.snapshot.Close() // never fails
	r.snapshot, r.from = nil, released{}
}

// released is what is read from once the snapshot was given up.
type released struct{}

var errReleased = errors.New("pebblekv: read from a snapshot that was given up")

func (released) Get([]byte) ([]byte, io.Closer, error) { return nil, nil, errReleased }

func (released) NewIter(*pebble.IterOptions) (*pebble.Iterator, error) { return nil, errReleased }

func (released) NewIterWithContext(context.Context, *pebble.IterOptions) (*pebble.Iterator, error) {
	return nil, errReleased
}

func (released) Close() error { return nil }

// keep copies v to where it stays until release. The result is never nil.
func (r *reader) keep(v []byte) []byte {
	if len(v) > arenaMax {
		if len(v) > largeMax || len(r.large) > 0 {
			return bytes.Clone(v)
		}
		if r.large == nil {
			r.large = make([]byte, 0, largeMax)
		}
		r.large = append(r.large, v...)
		return r.large[:len(v):len(v)]
	}
	if len(r.arena)+len(v) > cap(r.arena) {
		r.arena = make([]byte, 0, arenaSize)
	}
	n := len(r.arena)
	r.arena = append(r.arena, v...)
	return r.arena[n:len(r.arena):len(r.arena)]
}

func (r *reader) Get(key []byte) ([]byte, error) {
	if len(key) == 0 {
		return nil, meta.ErrNotFound
	}
	v, closer, err := r.from.Get(key)
	if err != nil {
		if errors.Is(err, pebble.ErrNotFound) {
			return nil, meta.ErrNotFound
		}
		return nil, r.s.mapError(err)
	}
	kept := r.keep(v)
	if err := closer.Close(); err != nil {
		return nil, r.s.mapError(err)
	}
	return kept, nil
}

func (r *reader) GetMany(keys [][]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		v, err := r.Get(key)
		if err == meta.ErrNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

func (r *reader) Scan(rg meta.Range) iter.Seq2[meta.Pair, error] {
	return func(yield func(meta.Pair, error) bool) {
		if rg.End != nil && bytes.Compare(rg.Start, rg.End) >= 0 {
			return
		}
		bounds := pebble.IterOptions{UpperBound: rg.End}
		if len(rg.Start) > 0 {
			// Pebble's assertions do not expect an empty bound that is not nil.
			bounds.LowerBound = rg.Start
		}
		it, err := r.from.NewIter(&bounds)
		if err != nil {
			yield(meta.Pair{}, r.s.mapError(err))
			return
		}
		more, err := r.walk(it, rg.Reverse, yield)
		// Close repeats the error that ended the walk, so the first counts.
		if closeErr := it.Close(); err == nil {
			err = closeErr
		}
		if more && err != nil {
			yield(meta.Pair{}, r.s.mapError(err))
		}
	}
}

// walk yields what it finds; more is false when the caller wants no more.
func (r *reader) walk(it *pebble.Iterator, reverse bool, yield func(meta.Pair, error) bool) (more bool, err error) {
	first, next := it.First, it.Next
	if reverse {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; ok = next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return true, err
		}
		if !yield(meta.Pair{Key: it.Key(), Value: v}, nil) {
			return false, nil
		}
	}
	return true, it.Error()
}

// txn implements meta.Txn.
type txn struct {
	*reader
	batch   *pebble.Batch
	size    int // of keys and values set
	deletes int
	err     error // why it cannot be committed
}

func (t *txn) Set(key, value []byte) {
	if !t.fits(key, value) {
		return
	}
	if err := t.batch.Set(key, value, nil); err != nil && t.err == nil {
		t.err = t.s.mapError(err)
	}
}

func (t *txn) Delete(key []byte) {
	t.deletes++
	if !t.fits(key, nil) {
		return
	}
	if err := t.batch.Delete(key, nil); err != nil && t.err == nil {
		t.err = t.s.mapError(err)
	}
}

func (t *txn) fits(key, value []byte) bool {
	t.size += len(key) + len(value)
	if t.err == nil && len(key) == 0 {
		// Pebble's tables do not compare it as they should.
		t.err = meta.ErrEmptyKey
	}
	if t.err == nil && (len(key) > meta.MaxKeySize || len(value) > meta.MaxValueSize || t.size > meta.MaxTxnBytes) {
		t.err = fmt.Errorf("%w: key of %d, value of %d, sum of %d bytes", meta.ErrTooLarge, len(key), len(value), t.size)
	}
	return t.err == nil
}
