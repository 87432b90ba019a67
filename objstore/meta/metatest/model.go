package metatest

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/cofferfs/coffer/objstore/meta"
)

// Model is a meta.Store in memory: a sorted slice that is copied for each
// Update. It is a real store, and the reference that the others are compared
// with. Sync has nothing to do.
type Model struct {
	writer sync.Mutex // held while an Update runs

	mu     sync.Mutex // guards the fields below
	pairs  []meta.Pair
	closed bool
}

var _ meta.Store = (*Model)(nil)

// NewModel returns an empty store.
func NewModel() *Model { return &Model{} }

// Clone returns a store with the same contents, open in any case.
func (m *Model) Clone() *Model {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Model{pairs: m.pairs}
}

func (m *Model) state() ([]meta.Pair, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, meta.ErrClosed
	}
	return m.pairs, nil
}

// View implements meta.Store.
func (m *Model) View(ctx context.Context, fn func(meta.Reader) error) error {
	pairs, err := m.state()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return fn(&modelTxn{pairs: pairs})
}

// Update implements meta.Store.
func (m *Model) Update(ctx context.Context, fn func(meta.Txn) error) error {
	m.writer.Lock()
	defer m.writer.Unlock()
	pairs, err := m.state()
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t := &modelTxn{pairs: pairs}
	if err := fn(t); err != nil {
		return err
	}
	if t.err != nil {
		return t.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pairs = t.pairs
	return nil
}

// Sync implements meta.Store.
func (m *Model) Sync(context.Context) error {
	_, err := m.state()
	return err
}

// Close implements meta.Store.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// modelTxn never changes a slice of pairs in place: others may be reading it.
type modelTxn struct {
	pairs []meta.Pair
	size  int
	err   error // why it cannot be committed
}

func (t *modelTxn) find(key []byte) (int, bool) {
	return slices.BinarySearchFunc(t.pairs, key, func(p meta.Pair, key []byte) int {
		return bytes.Compare(p.Key, key)
	})
}

func (t *modelTxn) Get(key []byte) ([]byte, error) {
	i, ok := t.find(key)
	if !ok {
		return nil, meta.ErrNotFound
	}
	return t.pairs[i].Value, nil
}

func (t *modelTxn) GetMany(keys [][]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		if j, ok := t.find(key); ok {
			values[i] = t.pairs[j].Value
		}
	}
	return values, nil
}

func (t *modelTxn) Scan(r meta.Range) iter.Seq2[meta.Pair, error] {
	return func(yield func(meta.Pair, error) bool) {
		start, _ := t.find(r.Start)
		end := len(t.pairs)
		if r.End != nil {
			end, _ = t.find(r.End)
		}
		if start >= end {
			return
		}
		found := slices.Clone(t.pairs[start:end])
		if r.Reverse {
			slices.Reverse(found)
		}
		for _, p := range found {
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (t *modelTxn) Set(key, value []byte) {
	if !t.fits(key, value) {
		return
	}
	p := meta.Pair{Key: bytes.Clone(key), Value: append([]byte{}, value...)}
	i, ok := t.find(key)
	pairs := slices.Clone(t.pairs)
	if ok {
		pairs[i] = p
	} else {
		pairs = slices.Insert(pairs, i, p)
	}
	t.pairs = pairs
}

func (t *modelTxn) Delete(key []byte) {
	if !t.fits(key, nil) {
		return
	}
	if i, ok := t.find(key); ok {
		t.pairs = slices.Delete(slices.Clone(t.pairs), i, i+1)
	}
}

func (t *modelTxn) fits(key, value []byte) bool {
	t.size += len(key) + len(value)
	switch {
	case t.err != nil:
	case len(key) == 0:
		t.err = meta.ErrEmptyKey
	case len(key) > meta.MaxKeySize || len(value) > meta.MaxValueSize || t.size > meta.MaxTxnBytes:
		t.err = meta.ErrTooLarge
	}
	return t.err == nil
}
