package localdata

import (
	"sync"
	"unsafe"

	"github.com/cofferfs/coffer/objstore/data"
)

// alignedBytes returns n bytes that start at a multiple of data.Block.
func alignedBytes(n int) []byte {
	b := make([]byte, n+data.Block-1)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (data.Block - 1)
	return b[skip : skip+n : skip+n]
}

func isAligned(p []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(p)))&(data.Block-1) == 0
}

func roundDown(n int64) int64 { return n &^ (data.Block - 1) }
func roundUp(n int64) int64   { return roundDown(n + data.Block - 1) }

const (
	// A small read is up to one DARE package (64 KiB and its overhead) that
	// straddles a block on either side.
	smallReadBytes = 128 << 10
	largeReadBytes = 512<<10 + data.Block // measured: less or more is slower
	// largeReads bounds how many large reads transfer at a time.
	largeReads = 16
)

// bouncePool lends aligned buffers for reads whose own memory is not aligned.
// At most largeReads large buffers exist; there is a small one for each
// concurrent small read.
type bouncePool struct {
	small sync.Pool
	large sync.Pool
	slots chan struct{}
}

func newBouncePool() *bouncePool {
	return &bouncePool{slots: make(chan struct{}, largeReads)}
}

// get returns a buffer of at least smallReadBytes, and larger where n asks for
// more. The caller gives it back with put.
func (p *bouncePool) get(n int64) *[]byte {
	if n <= smallReadBytes {
		if b, ok := p.small.Get().(*[]byte); ok {
			return b
		}
		b := alignedBytes(smallReadBytes)
		return &b
	}
	p.slots <- struct{}{}
	if b, ok := p.large.Get().(*[]byte); ok {
		return b
	}
	b := alignedBytes(largeReadBytes)
	return &b
}

func (p *bouncePool) put(b *[]byte) {
	if len(*b) == smallReadBytes {
		p.small.Put(b)
		return
	}
	p.large.Put(b)
	<-p.slots
}
