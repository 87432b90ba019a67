package extent

import (
	"fmt"
	"slices"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore/record"
)

// MaxInline is the largest content whose data is kept in one metadata record,
// in bytes: below it a file is written and made durable with the log alone.
const MaxInline = 16 << 10

// SealInline encrypts a small content's data, 1 to MaxInline bytes, as an
// extent of its own under the object key.
func SealInline(c Content, plain []byte) (*record.Inline, error) {
	return sealInline(make([]byte, 0, coffercrypto.EncryptedSize(coffercrypto.PlainSize(len(plain)))), c, plain)
}

// AppendInline appends what SealInline makes, encoded, to dst. It allocates no
// memory for it when dst has room for plain twice and 1 KiB more.
func AppendInline(dst []byte, c Content, plain []byte) ([]byte, error) {
	// The stream is made behind where its copy in the record will end.
	const head = 256 // more than the record's other fields take
	size := int(coffercrypto.EncryptedSize(coffercrypto.PlainSize(len(plain))))
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
	n := &record.Inline{PlainLen: uint32(len(plain)), Suite: byte(coffercrypto.SuiteDARE20), Extent: newID()}
	key := secret.Random()
	defer key.Wipe()
	stream, base, err := coffercrypto.Encrypt(stream, key, plain)
	if err != nil {
		return nil, fmt.Errorf("encrypt inline data: %w", err)
	}
	n.Stream, n.Base = stream, base
	n.Sealed = coffercrypto.SealExtentKey(c.OEK.Inner, inlineBound(c, n), key)
	return n, nil
}

// OpenInline decrypts a small content's data behind dst.
func OpenInline(dst []byte, c Content, n *record.Inline) ([]byte, error) {
	key, err := coffercrypto.OpenExtentKey(c.OEK.Inner, inlineBound(c, n), n.Sealed)
	if err != nil {
		return dst, fmt.Errorf("open inline data: %w", err)
	}
	defer key.Wipe()
	return coffercrypto.Decrypt(dst, key, n.Base, coffercrypto.PlainSize(n.PlainLen), n.Stream)
}

// inlineBound binds the key to the content in the place of a chunk.
func inlineBound(c Content, n *record.Inline) coffercrypto.Extent {
	return boundOf(record.ChunkID(c.Bound), n.Extent, &record.Extent{PlainLen: n.PlainLen, Suite: n.Suite, Base: n.Base})
}
