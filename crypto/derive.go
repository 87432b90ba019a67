package crypto

import (
	"crypto/hkdf"
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

// derive is HKDF-SHA256 (RFC 5869) of parent with info = purpose || binding.
// The result is key material: the caller clears it.
func derive(parent *secret.Key, salt []byte, p purpose, b Binding, n int) []byte {
	info := make([]byte, 0, 192)
	info = b.append(append(info, p...))
	out, err := hkdf.Key(sha256.New, parent.Bytes(), salt, string(info), n)
	if err != nil {
		panic("crypto: HKDF refused a fixed length: " + err.Error())
	}
	return out
}

// MAC authenticates msg under a key derived from parent and b: for what may be
// read but not changed (the superblock) and for keyed fingerprints and ETags.
func MAC(parent *secret.Key, b Binding, msg []byte) [32]byte {
	k := derive(parent, nil, purposeMAC, b, sha256.Size)
	defer clear(k)
	m := hmac.New(sha256.New, k)
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
