package engine

import (
	"context"
	"slices"
	"sort"
	"sync"

	"github.com/cofferfs/coffer/objstore/extent"
)

// Bounds of what is remembered of maps.
const (
	windowsPerNode = 16
	windowSpans    = 64       // spans of one window; a chunk with more is looked up each time
	allSpans       = 64 << 10 // spans in memory, over all open files; one takes about 450 bytes
)

// mapWindows remembers the maps of an open file's chunks that were read last: a
// read that hits takes no snapshot and no look-up. A window stands for as long
// as no commit changed the file (version) and no extent was moved by compaction
// (extent.Store.Moves).
type mapWindows struct {
	s *Store

	mu      sync.Mutex // guards the fields below
	version uint64     // counts changes of the file's maps
	list    []window
	next    int // to be replaced
}

type window struct {
	start, end int64
	moves      uint64
	spans      []extent.Span // cover start to end; nil: there are too many
}

// changed forgets everything. It is called after each commit that may have
// changed maps, before anyone can read what was committed.
func (w *mapWindows) changed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	w.forget()
}

func (w *mapWindows) forget() {
	for _, v := range w.list {
		w.s.windowed.Add(-int64(len(v.spans)))
	}
	w.list, w.next = nil, 0
}

// find returns the window that covers off, and the version to give to keep.
func (w *mapWindows) find(off int64, moves uint64) (v window, ok bool, version uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.list {
		if v.start <= off && off < v.end && v.moves == moves {
			return v, true, w.version
		}
	}
	return window{}, false, w.version
}

// keep remembers a window that was looked up after find returned version.
func (w *mapWindows) keep(v window, version uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.version != version || w.s.windowed.Load() > allSpans {
		return
	}
	w.s.windowed.Add(int64(len(v.spans)))
	if len(w.list) < windowsPerNode {
		w.list = append(w.list, v)
		return
	}
	w.s.windowed.Add(-int64(len(w.list[w.next].spans)))
	w.list[w.next] = v
	w.next = (w.next + 1) % windowsPerNode
}

// spans returns what covers size bytes of a content at off. The caller holds a
// pin, which it took before, and layoutMu.
func (n *node) spans(ctx context.Context, k extent.Content, off, size int64) ([]extent.Span, error) {
	moves := n.s.extents.Moves()
	v, ok, version := n.windows.find(off, moves)
	if ok && off+size <= v.end && v.spans != nil {
		return sliceSpans(v.spans, off, size), nil
	}
	var list []extent.Span
	err := n.s.view(ctx, "read", n.name(), func(r reader) (err error) {
		if !ok {
			v = window{moves: moves}
			if v.start, v.end, err = extent.Bounds(r, k, off); err != nil {
				return err
			}
			if v.spans, err = n.s.extents.Spans(r, k, v.start, v.end-v.start, windowSpans+1); err != nil {
				return err
			}
			if last := len(v.spans) - 1; last < 0 || last >= windowSpans || v.spans[last].Off+v.spans[last].Len < v.end || slices.ContainsFunc(v.spans, carries) {
				v.spans = nil
			}
		}
		if v.spans != nil && off+size <= v.end {
			list = sliceSpans(v.spans, off, size)
			return nil
		}
		list, err = n.s.extents.Spans(r, k, off, size, 0)
		return err
	})
	if err == nil && !ok {
		n.windows.keep(v, version)
	}
	return list, err
}

// carries reports whether a span holds bytes of its own.
func carries(sp extent.Span) bool { return sp.Logged() }

// sliceSpans cuts size bytes at off out of spans that cover them.
func sliceSpans(spans []extent.Span, off, size int64) []extent.Span {
	i := sort.Search(len(spans), func(i int) bool { return spans[i].Off+spans[i].Len > off })
	var list []extent.Span
	for end := off + size; off < end; i++ {
		sp := spans[i].Slice(off, end)
		list = append(list, sp)
		off = sp.Off + sp.Len
	}
	return list
}
