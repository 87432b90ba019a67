package crypto

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"

	"github.com/cofferfs/coffer/crypto/secret"
)

// purpose separates the constructions that derive from a parent key. The text
// is the head of HKDF's info and never changes.
type purpose string

const (
	purposeSealKey   purpose = "coffer v1 seal key\x00"
	purposeSealBytes purpose = "coffer v1 seal bytes\x00"
	purposeCompact   purpose = "coffer v1 seal key compact\x00"
	purposeMAC       purpose = "coffer v1 mac\x00"
)

// derivePair fills a 64-byte HKDF-SHA256 (RFC 5869) of parent with info =
// purpose || binding: an AES-256 key, and a commitment to parent, purpose and
// binding. The caller clears the key.
//
// It is written out over SHA-256 since it runs for each extent that is read or
// written: crypto/hkdf takes a dozen allocations and the larger part of the
// time of a seal. TestDeriveIsHKDF holds the two together.
func derivePair(key, commitment *[sha256.Size]byte, parent *secret.Key, salt []byte, p purpose, b Binding) {
	var stack [192]byte
	info := b.append(append(stack[:0], p...))
	var prk [sha256.Size]byte
	hmacSHA256(&prk, salt, parent.Bytes(), nil, nil)
	hmacSHA256(key, prk[:], nil, info, []byte{1})
	if commitment != nil {
		hmacSHA256(commitment, prk[:], key[:], info, []byte{2})
	}
	clear(prk[:])
}

// derive is the first half of derivePair: HKDF for 32 bytes.
func derive(key *[sha256.Size]byte, parent *secret.Key, salt []byte, p purpose, b Binding) {
	derivePair(key, nil, parent, salt, p, b)
}

// hmacSHA256 sets out to HMAC (RFC 2104) over x || y || z, for keys of at most a
// block. Of x only the first 32 bytes may be secret; y and z may not.
func hmacSHA256(out *[sha256.Size]byte, key, x, y, z []byte) {
	var stack [sha256.BlockSize + 256]byte
	buf := stack[:sha256.BlockSize]
	copy(buf, key)
	for i := range buf {
		buf[i] ^= 0x36
	}
	buf = append(append(append(buf, x...), y...), z...)
	inner := sha256.Sum256(buf)
	for i := range buf[:sha256.BlockSize] {
		buf[i] ^= 0x36 ^ 0x5c
	}
	buf = append(buf[:sha256.BlockSize], inner[:]...) // over x, the only secret part
	*out = sha256.Sum256(buf)
	clear(buf)
	clear(stack[:sha256.BlockSize+sha256.Size]) // where buf was before it grew
}

// MAC authenticates msg under a key derived from parent and b: for what may be
// read but not changed (the superblock).
func MAC(parent *secret.Key, b Binding, msg []byte) [32]byte {
	var k [sha256.Size]byte
	derive(&k, parent, nil, purposeMAC, b)
	defer clear(k[:])
	m := hmac.New(sha256.New, k[:])
	m.Write(msg)
	return [32]byte(m.Sum(nil))
}

// VerifyMAC compares in constant time. Error: ErrCorrupt.
func VerifyMAC(parent *secret.Key, b Binding, msg, mac []byte) error {
	want := MAC(parent, b, msg)
	if subtle.ConstantTimeCompare(want[:], mac) != 1 {
		return ErrCorrupt
	}
	return nil
}
