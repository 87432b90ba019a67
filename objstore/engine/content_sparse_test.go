package engine

import (
	"bytes"
	"fmt"
	"maps"
)

// sparse is the model of a content: bytes without memory for holes.
type sparse struct {
	size  int64
	pages map[int64]*[sparsePage]byte // never changed in place
}

const sparsePage = 4096

func newSparse() *sparse { return &sparse{pages: make(map[int64]*[sparsePage]byte)} }

func (m *sparse) clone() *sparse { return &sparse{m.size, maps.Clone(m.pages)} }

// put stores p at off; a nil p with n stores zeroes.
func (m *sparse) put(p []byte, off int64) {
	for i := 0; i < len(p); {
		no, at := (off+int64(i))/sparsePage, (off+int64(i))%sparsePage
		page := new([sparsePage]byte)
		if was := m.pages[no]; was != nil {
			*page = *was
		}
		i += copy(page[at:], p[i:])
		m.pages[no] = page
	}
	if len(p) > 0 {
		m.size = max(m.size, off+int64(len(p)))
	}
}

// zero clears n bytes at off, within the size.
func (m *sparse) zero(off, n int64) {
	end := min(off+n, m.size)
	for no, was := range m.pages {
		lo, hi := max(off, no*sparsePage), min(end, (no+1)*sparsePage)
		if lo >= hi {
			continue
		}
		page := *was
		clear(page[lo-no*sparsePage : hi-no*sparsePage])
		m.pages[no] = &page
	}
}

func (m *sparse) truncate(size int64) {
	if size < m.size {
		m.zero(size, m.size-size)
	}
	m.size = size
}

// read returns up to n bytes at off.
func (m *sparse) read(off int64, n int) []byte {
	p := make([]byte, max(min(int64(n), m.size-off), 0))
	for i := 0; i < len(p); {
		no, at := (off+int64(i))/sparsePage, (off+int64(i))%sparsePage
		step := min(len(p)-i, int(sparsePage-at))
		if page := m.pages[no]; page != nil {
			copy(p[i:i+step], page[at:])
		}
		i += step
	}
	return p
}

// data returns the ranges that may hold something else than zeroes.
func (m *sparse) data() (list [][2]int64) {
	for no := range m.pages {
		list = append(list, [2]int64{no * sparsePage, min((no+1)*sparsePage, m.size)})
	}
	return list
}

// zeroes reports whether [lo, hi) reads as zeroes.
func (m *sparse) zeroes(lo, hi int64) bool {
	for no, page := range m.pages {
		from, to := max(lo, no*sparsePage), min(hi, (no+1)*sparsePage)
		for i := from; i < to; i++ {
			if page[i-no*sparsePage] != 0 {
				return false
			}
		}
	}
	return true
}

// diff compares with what read returns for a range, and returns what differs.
func (m *sparse) diff(size int64, read func(off int64, n int) ([]byte, error)) error {
	if size != m.size {
		return fmt.Errorf("size is %d, want %d", size, m.size)
	}
	seen := make(map[int64]bool)
	check := func(off int64, n int) error {
		got, err := read(off, n)
		if err != nil {
			return err
		}
		want := m.read(off, n)
		if len(got) != len(want) {
			return fmt.Errorf("%d bytes at %d, want %d", len(got), off, len(want))
		}
		if bytes.Equal(got, want) { // the race detector looks at each byte of the loop
			return nil
		}
		for i := range got {
			if got[i] != want[i] {
				return fmt.Errorf("byte %d is %#x, want %#x", off+int64(i), got[i], want[i])
			}
		}
		return nil
	}
	const window = 1 << 20
	for no := range m.pages {
		if at := no * sparsePage / window * window; !seen[at] {
			seen[at] = true
			if err := check(at, window); err != nil {
				return err
			}
		}
	}
	for _, off := range []int64{0, m.size / 2, max(m.size-1000, 0)} {
		if err := check(off, 5000); err != nil {
			return err
		}
	}
	return nil
}
