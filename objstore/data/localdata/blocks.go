package localdata

import (
	"context"
	"fmt"
	"math"
	"unsafe"

	"github.com/cofferfs/coffer/objstore/data"
)

var _ data.BlockReader = (*Store)(nil)

// ReadBlocks implements data.BlockReader: what is much, and in a file, is
// transferred with the blocks that it lies in to where they fit into buf. ReadAt
// has to copy it from there.
func (s *Store) ReadBlocks(ctx context.Context, l data.Location, buf []byte, n int, off int64) ([]byte, error) {
	plain := func() ([]byte, error) { return buf[:n], s.ReadAt(ctx, l, buf[:n], off) }
	if n <= smallReadBytes || off < 0 || int64(n) > int64(l.Length)-off || l.Offset < headerBytes || l.Offset > math.MaxInt64-math.MaxUint32 {
		return plain()
	}
	at := int64(l.Offset) + off
	skip := int(at - roundDown(at))
	blocks := int(roundUp(int64(skip + n)))
	first := -int(uintptr(unsafe.Pointer(unsafe.SliceData(buf)))) & (data.Block - 1)
	if len(buf) < first+blocks {
		return plain()
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	h, err := s.whole(l, at, n)
	if h == nil {
		s.life.RUnlock()
		if err != nil {
			return nil, err
		}
		return plain()
	}
	defer s.life.RUnlock()
	defer h.release()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.stats.reads.Add(1)
	s.stats.readBytes.Add(uint64(n))
	if err := readFull(h, buf[first:first+blocks], at-int64(skip), skip+n); err != nil {
		return nil, err
	}
	return buf[first+skip : first+skip+n], nil
}

// whole returns the file that holds all of n bytes from offset at on, nil when
// some of them are in a stage only.
func (s *Store) whole(l data.Location, at int64, n int) (*handle, error) {
	s.mu.Lock()
	if g, ok := s.unsealed[l.Segment]; ok {
		defer s.mu.Unlock()
		if at+int64(n) > g.end {
			return nil, nil // ReadAt says what is wrong
		}
		for _, b := range s.live {
			if b.seg == g && b.start < at+int64(n) && at < b.start+int64(b.n) {
				return nil, nil
			}
		}
		return g.h.acquire(), nil
	}
	s.mu.Unlock()
	h, err := s.cache.get(l.Segment, s.bounces)
	if err == nil && at+int64(n) > h.size {
		h.release()
		err = fmt.Errorf("%w: segment %v ends at %d, location is %v", data.ErrCorrupt, l.Segment, h.size, l)
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}
