package extent

import (
	"errors"
	"fmt"
	"io"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore/record"
)

// Keys open a content, a chunk or an extent: one key, or one for each of two
// layers of encryption (DSSE-KMS). The layers know nothing of each other: no key
// of one is sealed under a key of the other.
type Keys struct {
	Inner *secret.Key // of the only layer, or of that next to the plaintext
	Outer *secret.Key // of the second layer; nil: there is none
}

// One is the Keys of a single layer.
func One(k *secret.Key) *Keys { return &Keys{Inner: k} }

// newKeys makes the keys of a chunk or an extent.
func newKeys(two bool) *Keys {
	k := One(secret.Random())
	if two {
		k.Outer = secret.Random()
	}
	return k
}

// Clone returns a copy, which is wiped apart from k.
func (k *Keys) Clone() *Keys {
	c := One(k.Inner.Clone())
	if k.Two() {
		c.Outer = k.Outer.Clone()
	}
	return c
}

// passingKeys are the keys of an extent, for whoever makes and wipes them in one
// function: without finalisers, each of which takes as long as the random source.
type passingKeys struct {
	keys         Keys
	inner, outer secret.Key
}

// make makes the keys. It is called once.
func (k *passingKeys) make(two bool) *Keys {
	k.inner.HoldRandom()
	k.keys.Inner = &k.inner
	if two {
		k.outer.HoldRandom()
		k.keys.Outer = &k.outer
	}
	return &k.keys
}

// Two reports whether there are two layers.
func (k *Keys) Two() bool { return k != nil && k.Outer != nil }

// Wipe overwrites the keys. It is idempotent; nil has none.
func (k *Keys) Wipe() {
	if k != nil {
		k.Inner.Wipe()
		k.Outer.Wipe()
	}
}

func (k *Keys) suite() coffercrypto.Suite {
	if k.Two() {
		return coffercrypto.SuiteTwoLayers
	}
	return coffercrypto.SuiteDARE20
}

// errLayers is a mistake of the caller: contents of one and of two layers share
// nothing.
var errLayers = errors.New("extent: another number of layers of encryption")

// errOuter: a record has one key where two layers need two, or the reverse.
var errOuter = fmt.Errorf("%w: keys of another number of layers", record.ErrCorrupt)

// maxTwoLayers is the largest plaintext of an extent of two layers, in bytes: the
// inner stream must be one that the outer can hold.
const maxTwoLayers = (record.MaxExtent / packageStored) * packagePlain

// MaxPlain is the largest plaintext of an extent, in bytes.
func MaxPlain(two bool) int {
	if two {
		return maxTwoLayers
	}
	return record.MaxExtent
}

// storedPlain is the plaintext length of the stream that is stored for size
// bytes: with two layers that of the inner stream.
func storedPlain(s coffercrypto.Suite, size uint32) uint32 {
	if s == coffercrypto.SuiteTwoLayers {
		return uint32(coffercrypto.EncryptedSize(coffercrypto.PlainSize(size)))
	}
	return size
}

// stored is storedPlain of an extent.
func stored(x *record.Extent) uint32 { return storedPlain(coffercrypto.Suite(x.Suite), x.PlainLen) }

// streamSize is the length of the stream that is stored for size bytes.
func streamSize(s coffercrypto.Suite, size uint32) int {
	return int(coffercrypto.EncryptedSize(coffercrypto.PlainSize(storedPlain(s, size))))
}

// packagesOf says which packages of the stored stream hold n bytes of an extent's
// plaintext at off.
func packagesOf(x *record.Extent, off, n uint32) (first, last uint32, err error) {
	if coffercrypto.Suite(x.Suite) != coffercrypto.SuiteTwoLayers {
		return off / packagePlain, (off + n - 1) / packagePlain, nil
	}
	_, start, size, err := coffercrypto.PackageRange(coffercrypto.PlainSize(x.PlainLen), coffercrypto.PlainSize(off), coffercrypto.PlainSize(n))
	if err != nil {
		return 0, 0, fmt.Errorf("%w: map entry leaves its extent", record.ErrCorrupt)
	}
	return uint32(start / packagePlain), uint32((start + size - 1) / packagePlain), nil
}

// encrypt appends the stream of a piece to dst, which does not overlap plain.
func (p *Piece) encrypt(dst, plain []byte) ([]byte, error) {
	out := appender{dst}
	err := p.encryptTo(&out, plain)
	return out.b, err
}

// appender is a Writer that never fails.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// encryptTo writes the stream of a piece to w.
func (p *Piece) encryptTo(w io.Writer, plain []byte) (err error) {
	if !p.key.Two() {
		p.base, err = coffercrypto.EncryptTo(w, p.key.Inner, plain)
	} else {
		err = p.encryptTwice(w, plain)
	}
	if err != nil {
		return fmt.Errorf("encrypt extent: %w", err)
	}
	return nil
}

func (p *Piece) encryptTwice(w io.Writer, plain []byte) (err error) {
	if len(plain) > maxTwoLayers {
		return coffercrypto.ErrSize
	}
	buf := streams.Get().(*[]byte)
	defer streams.Put(buf)
	var inner []byte
	if inner, p.base, err = coffercrypto.Encrypt((*buf)[:0], p.key.Inner, plain); err == nil {
		p.outerBase, err = coffercrypto.EncryptTo(w, p.key.Outer, inner)
	}
	return err
}

func sealChunk(c Content, id record.ChunkID, key *Keys) (inner, outer []byte) {
	if key.Two() {
		outer = coffercrypto.SealChunkKey(c.OEK.Outer, c.Bound, id, key.Outer)
	}
	return coffercrypto.SealChunkKey(c.OEK.Inner, c.Bound, id, key.Inner), outer
}

func openChunk(c Content, ref *record.ChunkRef) (*Keys, error) {
	if c.OEK.Two() != (len(ref.Outer) > 0) {
		return nil, errOuter
	}
	inner, err := coffercrypto.OpenChunkKey(c.OEK.Inner, c.Bound, ref.Chunk, ref.Sealed)
	if err != nil || !c.OEK.Two() {
		return One(inner), err
	}
	outer, err := coffercrypto.OpenChunkKey(c.OEK.Outer, c.Bound, ref.Chunk, ref.Outer)
	if err != nil {
		inner.Wipe()
		return nil, err
	}
	return &Keys{inner, outer}, nil
}

// sealExtent seals the keys of an extent under those of a chunk, or of a content.
func sealExtent(chunk record.ChunkID, parent *Keys, id record.ExtentID, x *record.Extent, key *Keys) (inner, outer []byte) {
	in, out := bounds(chunk, id, x)
	if key.Two() {
		outer = coffercrypto.SealExtentKey(parent.Outer, out, key.Outer)
	}
	return coffercrypto.SealExtentKey(parent.Inner, in, key.Inner), outer
}

// unsealExtent opens what sealExtent made.
func unsealExtent(chunk record.ChunkID, parent *Keys, id record.ExtentID, x *record.Extent, sealed, sealedOuter []byte) (*Keys, error) {
	two := coffercrypto.Suite(x.Suite) == coffercrypto.SuiteTwoLayers
	if two != parent.Two() || two != (len(sealedOuter) > 0) {
		return nil, errOuter
	}
	in, out := bounds(chunk, id, x)
	inner, err := coffercrypto.OpenExtentKey(parent.Inner, in, sealed)
	if err != nil || !two {
		return One(inner), err
	}
	outer, err := coffercrypto.OpenExtentKey(parent.Outer, out, sealedOuter)
	if err != nil {
		inner.Wipe()
		return nil, err
	}
	return &Keys{inner, outer}, nil
}

// bounds is what the keys of the two layers of an extent are bound to.
func bounds(chunk record.ChunkID, id record.ExtentID, x *record.Extent) (inner, outer coffercrypto.Extent) {
	inner = coffercrypto.Extent{
		ChunkID: chunk, ExtentID: id, PlainLen: coffercrypto.PlainSize(x.PlainLen),
		Suite: coffercrypto.Suite(x.Suite), Base: x.Base,
	}
	outer = inner
	outer.Base = x.OuterBase
	return inner, outer
}
