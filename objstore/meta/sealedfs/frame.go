package sealedfs

import (
	"encoding/binary"

	"github.com/cofferfs/coffer/crypto"
)

const (
	// MaxFrame bounds the content of a log frame in bytes. On disk: a reader
	// allocates up to this.
	MaxFrame = 8 << 20

	// MaxLog bounds the length of a log or manifest in bytes: reading it looks at all
	// of it. Pebble begins a new log with each memtable, and a new manifest far earlier.
	MaxLog = 1 << 30

	frameHeader   = 24 // on disk
	frameOverhead = frameHeader + tagSize
)

// frameType is on disk.
type frameType byte

const (
	frameData   frameType = 1 // what Pebble wrote
	frameMark   frameType = 2 // nothing: carries its synced field
	frameAnchor frameType = 3 // an anchor
	frameFinal  frameType = 4 // an anchor and the successor's number (8 bytes), 0 for none
)

// frame is the header of a log frame.
type frame struct {
	length uint32
	typ    frameType
	index  uint64
	synced uint64
}

// appendFrame seals content as one frame and appends it to dst.
func appendFrame(dst []byte, c *crypto.PageCipher, typ frameType, index, synced uint64, content []byte) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(content)))
	dst = append(dst, byte(typ), 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, index)
	dst = binary.BigEndian.AppendUint64(dst, synced)
	return c.Seal(dst, content, dst[start:], index)
}

// maxIndex bounds the index of a frame. It keeps a search through damaged
// bytes from taking many of them for a frame.
const maxIndex = 1<<32 - 1

// parseFrame reads a frame's header, if b can begin with one. It
// authenticates nothing.
func parseFrame(b []byte) (f frame, ok bool) {
	if len(b) < frameHeader {
		return frame{}, false
	}
	f = frame{
		length: binary.BigEndian.Uint32(b),
		typ:    frameType(b[4]),
		index:  binary.BigEndian.Uint64(b[8:]),
		synced: binary.BigEndian.Uint64(b[16:]),
	}
	ok = f.length <= MaxFrame && f.typ >= frameData && f.typ <= frameFinal &&
		b[5] == 0 && b[6] == 0 && b[7] == 0 && f.index > 0 && f.index <= maxIndex
	return f, ok
}
