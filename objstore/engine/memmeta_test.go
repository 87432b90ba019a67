package engine

import (
	"bytes"
	"context"
	"iter"
	"sort"
	"sync"

	"github.com/cofferfs/coffer/objstore/meta"
)

// memMeta is a metadata store in memory: transactions one after the other, with
// an undo log. It scribbles over every slice that it lent when the slice is no
// longer valid, and counts what was read.
type memMeta struct {
	mu    sync.RWMutex
	keys  []string // ascending
	vals  map[string][]byte
	steps int // keys that were read, by Get or Scan
}

func newMemMeta() *memMeta { return &memMeta{vals: make(map[string][]byte)} }

func (m *memMeta) View(ctx context.Context, fn func(meta.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock() // steps are counted
	defer m.mu.Unlock()
	t := &memTxn{m: m}
	defer t.release()
	return fn(t)
}

func (m *memMeta) Update(ctx context.Context, fn func(meta.Txn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &memTxn{m: m}
	defer t.release()
	err := fn(t)
	if err != nil {
		for i := len(t.undo) - 1; i >= 0; i-- {
			m.put(t.undo[i].key, t.undo[i].val)
		}
	}
	return err
}

func (m *memMeta) Sync(ctx context.Context) error { return ctx.Err() }
func (m *memMeta) Close() error                   { return nil }

// put sets a value; nil deletes.
func (m *memMeta) put(key string, val []byte) {
	_, has := m.vals[key]
	i := sort.SearchStrings(m.keys, key)
	switch {
	case val == nil && has:
		m.keys = append(m.keys[:i], m.keys[i+1:]...)
		delete(m.vals, key)
	case val != nil && !has:
		m.keys = append(m.keys, "")
		copy(m.keys[i+1:], m.keys[i:])
		m.keys[i] = key
		fallthrough
	case val != nil:
		m.vals[key] = val
	}
}

type memTxn struct {
	m    *memMeta
	undo []memUndo
	lent [][]byte
}

type memUndo struct {
	key string
	val []byte
}

func (t *memTxn) lend(v []byte) []byte {
	c := append([]byte{}, v...)
	t.lent = append(t.lent, c)
	return c
}

func (t *memTxn) release() {
	for _, b := range t.lent {
		scribble(b)
	}
}

func scribble(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}

func (t *memTxn) Get(key []byte) ([]byte, error) {
	t.m.steps++
	v, ok := t.m.vals[string(key)]
	if !ok {
		return nil, meta.ErrNotFound
	}
	return t.lend(v), nil
}

func (t *memTxn) GetMany(keys [][]byte) ([][]byte, error) {
	vals := make([][]byte, len(keys))
	for i, k := range keys {
		t.m.steps++
		if v, ok := t.m.vals[string(k)]; ok {
			vals[i] = t.lend(v)
		}
	}
	return vals, nil
}

func (t *memTxn) Scan(r meta.Range) iter.Seq2[meta.Pair, error] {
	return func(yield func(meta.Pair, error) bool) {
		start, end := string(r.Start), string(r.End)
		bounded := r.End != nil
		for {
			i := sort.SearchStrings(t.m.keys, start)
			if r.Reverse {
				i = len(t.m.keys)
				if bounded {
					i = sort.SearchStrings(t.m.keys, end)
				}
				i--
			}
			if i < 0 || i >= len(t.m.keys) || t.m.keys[i] < start || bounded && t.m.keys[i] >= end {
				return
			}
			t.m.steps++
			key := t.m.keys[i]
			p := meta.Pair{Key: []byte(key), Value: bytes.Clone(t.m.vals[key])}
			more := yield(p, nil)
			scribble(p.Key)
			scribble(p.Value)
			if !more {
				return
			}
			if r.Reverse {
				end, bounded = key, true
			} else {
				start = key + "\x00"
			}
		}
	}
}

func (t *memTxn) Set(key, value []byte) { t.write(string(key), append([]byte{}, value...)) }
func (t *memTxn) Delete(key []byte)     { t.write(string(key), nil) }

func (t *memTxn) write(key string, val []byte) {
	t.undo = append(t.undo, memUndo{key, t.m.vals[key]})
	t.m.put(key, val)
}
