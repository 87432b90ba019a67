package crypto

import (
	"encoding/binary"
	"fmt"

	"github.com/cofferfs/coffer/crypto/secret"
)

// SealObjectKey seals a content's object key under a DEK or a customer's
// SSE-C key. mode is the encryption mode as the inode records it: a key sealed
// for one mode does not open for another.
func SealObjectKey(parent *secret.Key, mode byte, storeID, contentID [16]byte, oek *secret.Key) []byte {
	return SealKey(parent, objectBinding(mode, storeID, contentID), oek)
}

// OpenObjectKey opens what SealObjectKey made. Errors: ErrWrongKey (for SSE-C
// the customer's mistake, else damage), ErrCorrupt, ErrVersion. The caller owns
// the key and wipes it.
func OpenObjectKey(parent *secret.Key, mode byte, storeID, contentID [16]byte, sealed []byte) (*secret.Key, error) {
	k, err := OpenKey(parent, objectBinding(mode, storeID, contentID), sealed)
	if err != nil {
		return nil, fmt.Errorf("open object key: %w", err)
	}
	return k, nil
}

func objectBinding(mode byte, storeID, contentID [16]byte) Binding {
	return Bind(domainObjectKey, []byte{mode}, storeID[:], contentID[:])
}

// SealChunkKey seals the key of a chunk under the object key of a content that
// it is a part of. A chunk shared by several contents is sealed once under each
// object key. Where in the content it stands is not bound: a part of an upload
// is sealed before that is known, and Complete has no key.
func SealChunkKey(oek *secret.Key, contentID, chunkID [16]byte, key *secret.Key) []byte {
	return SealKeyCompact(oek, chunkBinding(contentID, chunkID), key)
}

// OpenChunkKey opens what SealChunkKey made. Errors: ErrCorrupt, ErrVersion.
// The caller owns the key and wipes it.
func OpenChunkKey(oek *secret.Key, contentID, chunkID [16]byte, sealed []byte) (*secret.Key, error) {
	k, err := OpenKeyCompact(oek, chunkBinding(contentID, chunkID), sealed)
	if err != nil {
		return nil, fmt.Errorf("open chunk key: %w", err)
	}
	return k, nil
}

func chunkBinding(contentID, chunkID [16]byte) Binding {
	return Bind(domainChunkKey, contentID[:], chunkID[:])
}

// Suite says how an extent's bytes are encrypted.
type Suite byte

// These values are on disk.
const (
	SuiteDARE20 Suite = 1 // one DARE 2.0 stream, AES-256-GCM
	// SuiteTwoLayers is a DARE 2.0 stream that holds another one (DSSE-KMS), each
	// under a key of its own. The keys of each layer are sealed under parents of
	// that layer only, up to a DEK of its own.
	SuiteTwoLayers Suite = 2
)

// Extent is what an extent's key is bound to: all that a reader must know
// about the stream before it trusts a byte of it.
type Extent struct {
	ChunkID  [16]byte
	ExtentID [16]byte
	PlainLen PlainSize // 1 to MaxExtent; authenticates the stream's end. With two layers: of the inner stream
	Suite    Suite
	// Base is the stream's base nonce, as Encrypt returned it; with two layers
	// that of the layer whose key it is. A package's
	// position is told by its nonce relative to Base alone, so Base has to be
	// authentic for packages to be read by position.
	Base Nonce
}

// SealExtentKey seals the key of one extent under its chunk's key, or under the
// object key where the chunk level is left out.
func SealExtentKey(parent *secret.Key, e Extent, key *secret.Key) []byte {
	return SealKeyCompact(parent, e.binding(), key)
}

// OpenExtentKey opens what SealExtentKey made. Errors: ErrCorrupt (also when
// any field of e is not what was sealed), ErrVersion (unknown suite). The key
// decrypts only; the caller owns it and wipes it.
func OpenExtentKey(parent *secret.Key, e Extent, sealed []byte) (*secret.Key, error) {
	if e.Suite != SuiteDARE20 && e.Suite != SuiteTwoLayers {
		return nil, fmt.Errorf("open extent key: suite %d: %w", e.Suite, ErrVersion)
	}
	k, err := OpenKeyCompact(parent, e.binding(), sealed)
	if err != nil {
		return nil, fmt.Errorf("open extent key: %w", err)
	}
	return k, nil
}

func (e *Extent) binding() Binding {
	tail := make([]byte, 0, 8+1)
	tail = binary.BigEndian.AppendUint64(tail, uint64(e.PlainLen))
	tail = append(tail, byte(e.Suite))
	return Bind(domainExtentKey, e.ChunkID[:], e.ExtentID[:], tail, e.Base[:])
}
