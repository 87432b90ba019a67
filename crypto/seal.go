package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"

	"github.com/cofferfs/coffer/crypto/secret"
)

// On disk.
const (
	sealVersion = 1 // first byte of every sealed form
	sealAlg     = 1 // HKDF-SHA256, AES-256-GCM, commitment of 32 bytes

	saltSize   = 32
	commitSize = 32
	tagSize    = 16

	sealHeader    = 2 + saltSize + commitSize
	compactHeader = 1 + saltSize

	// SealOverhead is what SealBytes adds, in bytes.
	SealOverhead = sealHeader + tagSize
	// SealedKeySize is the length of a sealed key in bytes.
	SealedKeySize = SealOverhead + secret.Size
	// CompactKeySize is the length of a compactly sealed key in bytes.
	CompactKeySize = compactHeader + secret.Size + tagSize
)

// zeroNonce serves every seal: the AES key is derived from a fresh salt and
// seals once, so there is no second nonce to tell it from.
var zeroNonce [12]byte

// SealKey seals child under parent, bound to b. The result has SealedKeySize
// bytes and tells a wrong key from damage.
func SealKey(parent *secret.Key, b Binding, child *secret.Key) []byte {
	return seal(parent, purposeSealKey, b, child.Bytes())
}

// OpenKey opens what SealKey made. Errors: ErrWrongKey, ErrCorrupt, ErrVersion.
// The caller owns the key and wipes it.
func OpenKey(parent *secret.Key, b Binding, sealed []byte) (*secret.Key, error) {
	plain, err := open(parent, purposeSealKey, b, sealed)
	if err != nil {
		return nil, err
	}
	if len(plain) != secret.Size {
		clear(plain)
		return nil, ErrCorrupt
	}
	return secret.Take(plain)
}

// SealBytes seals a small string of bytes under parent, bound to b. Its length
// shows: the result is SealOverhead longer.
func SealBytes(parent *secret.Key, b Binding, plain []byte) []byte {
	return seal(parent, purposeSealBytes, b, plain)
}

// OpenBytes opens what SealBytes made. Errors: ErrWrongKey, ErrCorrupt,
// ErrVersion. The result belongs to the caller, who clears it if it is secret.
func OpenBytes(parent *secret.Key, b Binding, sealed []byte) ([]byte, error) {
	return open(parent, purposeSealBytes, b, sealed)
}

// seal writes
//
//	 0   1  version
//	 1   1  algorithm
//	 2  32  salt
//	34  32  commitment
//	66   n  ciphertext
//	 +  16  tag
//
// Everything before the ciphertext is the AEAD's associated data.
func seal(parent *secret.Key, p purpose, b Binding, plain []byte) []byte {
	out := make([]byte, sealHeader, SealOverhead+len(plain))
	out[0], out[1] = sealVersion, sealAlg
	salt := out[2 : 2+saltSize]
	rand.Read(salt)
	var k [secret.Size]byte
	defer clear(k[:])
	derivePair(&k, (*[commitSize]byte)(out[2+saltSize:]), parent, salt, p, b)
	return newGCM(k[:]).Seal(out, zeroNonce[:], plain, out[:sealHeader])
}

func open(parent *secret.Key, p purpose, b Binding, sealed []byte) ([]byte, error) {
	if len(sealed) < 2 {
		return nil, ErrCorrupt
	}
	if sealed[0] != sealVersion || sealed[1] != sealAlg {
		return nil, ErrVersion
	}
	if len(sealed) < SealOverhead {
		return nil, ErrCorrupt
	}
	var k, commitment [32]byte
	defer clear(k[:])
	derivePair(&k, &commitment, parent, sealed[2:2+saltSize], p, b)
	if subtle.ConstantTimeCompare(commitment[:], sealed[2+saltSize:sealHeader]) != 1 {
		return nil, ErrWrongKey
	}
	plain, err := newGCM(k[:]).Open(nil, zeroNonce[:], sealed[sealHeader:], sealed[:sealHeader])
	if err != nil {
		return nil, ErrCorrupt
	}
	return plain, nil
}

// SealKeyCompact is SealKey without commitment, CompactKeySize bytes:
//
//	 0   1  version
//	 1  32  salt
//	33  32  ciphertext
//	65  16  tag
//
// It is for keys below the object key. Their parent is never chosen by a
// person: it came out of a committed seal, so there is one candidate and no
// wrong key to tell from damage, and nobody who could offer two keys for one
// seal without holding both already.
func SealKeyCompact(parent *secret.Key, b Binding, child *secret.Key) []byte {
	out := make([]byte, compactHeader, CompactKeySize)
	out[0] = sealVersion
	rand.Read(out[1:])
	var k [secret.Size]byte
	defer clear(k[:])
	derive(&k, parent, out[1:], purposeCompact, b)
	return newGCM(k[:]).Seal(out, zeroNonce[:], child.Bytes(), out[:compactHeader])
}

// OpenKeyCompact opens what SealKeyCompact made. Errors: ErrCorrupt,
// ErrVersion. The caller owns the key and wipes it.
func OpenKeyCompact(parent *secret.Key, b Binding, sealed []byte) (*secret.Key, error) {
	if len(sealed) == 0 {
		return nil, ErrCorrupt
	}
	if sealed[0] != sealVersion {
		return nil, ErrVersion
	}
	if len(sealed) != CompactKeySize {
		return nil, ErrCorrupt
	}
	var k [secret.Size]byte
	defer clear(k[:])
	derive(&k, parent, sealed[1:compactHeader], purposeCompact, b)
	plain, err := newGCM(k[:]).Open(nil, zeroNonce[:], sealed[compactHeader:], sealed[:compactHeader])
	if err != nil {
		return nil, ErrCorrupt
	}
	return secret.Take(plain)
}

// newGCM takes 32 bytes; it cannot fail for them.
func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("crypto: AES refused a key: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("crypto: GCM refused AES: " + err.Error())
	}
	return aead
}
