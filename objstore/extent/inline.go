package extent

import (
	"fmt"
	"slices"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/objstore/record"
)

// MaxInline is the largest content whose data is kept in one metadata record,
// in bytes: below it a file is written and made durable with the log alone.
const MaxInline = 16 << 10

// SealInline encrypts a small content's data, 1 to MaxInline bytes, as an
// extent of its own under the object key.
func SealInline(c Content, plain []byte) (*record.Inline, error) {
	return sealInline(make([]byte, 0, streamSize(c.OEK.suite(), uint32(len(plain)))), c, plain)
}

// AppendInline appends what SealInline makes, encoded, to dst. It allocates no
// memory for it when dst has room for plain twice and 1 KiB more.
func AppendInline(dst []byte, c Content, plain []byte) ([]byte, error) {
	// The stream is made behind where its copy in the record will end.
	const head = 384 // more than the record's other fields take
	size := streamSize(c.OEK.suite(), uint32(len(plain)))
	dst = slices.Grow(dst, head+2*size)
	behind := len(dst) + head + size
	n, err := sealInline(dst[behind:behind], c, plain)
	if err != nil {
		return dst, err
	}
	return n.Append(dst), nil
}

// sealInline is SealInline with a place for the stream.
func sealInline(stream []byte, c Content, plain []byte) (*record.Inline, error) {
	var keys passingKeys
	p := Piece{id: newID(), key: keys.make(c.OEK.Two()), size: uint32(len(plain))}
	defer p.key.Wipe()
	stream, err := p.encrypt(stream, plain)
	if err != nil {
		return nil, err
	}
	n := &record.Inline{
		PlainLen: p.size, Suite: byte(p.key.suite()), Extent: p.id,
		Stream: stream, Base: p.base, OuterBase: p.outerBase,
	}
	n.Sealed, n.Outer = sealExtent(record.ChunkID(c.Bound), c.OEK, n.Extent, inlineExtent(n), p.key)
	return n, nil
}

// OpenInline decrypts a small content's data behind dst.
func OpenInline(dst []byte, c Content, n *record.Inline) ([]byte, error) {
	x := inlineExtent(n)
	key, err := unsealExtent(record.ChunkID(c.Bound), c.OEK, n.Extent, x, n.Sealed, n.Outer)
	if err != nil {
		return dst, fmt.Errorf("open inline data: %w", err)
	}
	defer key.Wipe()
	stream := n.Stream
	if key.Two() {
		if stream, err = coffercrypto.Decrypt(nil, key.Outer, n.OuterBase, coffercrypto.PlainSize(stored(x)), stream); err != nil {
			return dst, err
		}
	}
	return coffercrypto.Decrypt(dst, key.Inner, n.Base, coffercrypto.PlainSize(n.PlainLen), stream)
}

// inlineExtent is the extent that a small content's data are. Its key is bound
// to the content in the place of a chunk.
func inlineExtent(n *record.Inline) *record.Extent {
	return &record.Extent{PlainLen: n.PlainLen, Suite: n.Suite, Base: n.Base, OuterBase: n.OuterBase}
}
