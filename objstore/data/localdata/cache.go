package localdata

import (
	"container/list"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/cofferfs/coffer/objstore/data"
)

// handle is an open segment file, shared by whoever reads from it. It is
// closed when the last reference is given back.
type handle struct {
	id   data.SegmentID
	file File
	size int64 // meaningful for sealed segments only
	refs atomic.Int32
}

func newHandle(id data.SegmentID, f File, size int64) *handle {
	h := &handle{id: id, file: f, size: size}
	h.refs.Store(1)
	return h
}

// acquire adds a reference. The caller makes sure that there is one already.
func (h *handle) acquire() *handle {
	h.refs.Add(1)
	return h
}

func (h *handle) release() {
	if h.refs.Add(-1) == 0 {
		h.file.Close() // nothing is written through it any more
	}
}

// handleCache keeps the most recently used handles of sealed segments open.
type handleCache struct {
	fs    FS
	limit int // how many handles are kept; more are open while reads use them

	// mu guards the fields below. The cache owns one reference to each handle.
	mu       sync.Mutex
	byID     map[data.SegmentID]*list.Element // of *handle
	recent   *list.List                       // front is the latest
	removals uint64                           // counts forget
}

func newHandleCache(fs FS, limit int) *handleCache {
	return &handleCache{fs: fs, limit: limit, byID: make(map[data.SegmentID]*list.Element), recent: list.New()}
}

// get returns an open handle, which the caller releases. It opens the file
// and checks its header where that has not been done yet.
func (c *handleCache) get(id data.SegmentID, scratch *bouncePool) (*handle, error) {
	c.mu.Lock()
	if e, ok := c.byID[id]; ok {
		c.recent.MoveToFront(e)
		h := e.Value.(*handle).acquire()
		c.mu.Unlock()
		return h, nil
	}
	removals := c.removals
	c.mu.Unlock()

	h, err := c.open(id, scratch)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byID[id]; ok {
		h.release() // somebody was faster
		return e.Value.(*handle).acquire(), nil
	}
	if c.removals != removals {
		// It may have been this segment that was removed: keeping it open
		// would keep its room taken. The next reader tries again.
		return h, nil
	}
	c.insertLocked(h.acquire())
	return h, nil
}

func (c *handleCache) open(id data.SegmentID, scratch *bouncePool) (*handle, error) {
	f, err := c.fs.OpenRead(id.String())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %v", data.ErrNotFound, id)
	}
	if err != nil {
		return nil, fmt.Errorf("data: segment %v: %w", id, err)
	}
	buf := scratch.get(headerBytes)
	defer scratch.put(buf)
	head := (*buf)[:headerBytes]
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		f.Close()
		return nil, fmt.Errorf("data: segment %v: %w", id, err)
	}
	if err := checkHeader(head[:n], id); err != nil {
		f.Close()
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("data: segment %v: %w", id, err)
	}
	return newHandle(id, f, size), nil
}

// adopt takes over the caller's reference to the handle of a segment that has
// just been sealed.
func (c *handleCache) adopt(h *handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byID[h.id]; ok {
		h.release()
		return
	}
	c.insertLocked(h)
}

func (c *handleCache) insertLocked(h *handle) {
	c.byID[h.id] = c.recent.PushFront(h)
	for c.recent.Len() > c.limit {
		c.dropLocked(c.recent.Back())
	}
}

func (c *handleCache) dropLocked(e *list.Element) {
	h := c.recent.Remove(e).(*handle)
	delete(c.byID, h.id)
	h.release()
}

// forget drops the handle of a removed segment.
func (c *handleCache) forget(id data.SegmentID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removals++
	if e, ok := c.byID[id]; ok {
		c.dropLocked(e)
	}
}

func (c *handleCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.recent.Len() > 0 {
		c.dropLocked(c.recent.Back())
	}
}
