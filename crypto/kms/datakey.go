package kms

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/cofferfs/coffer/crypto/secret"
)

// A data key sealed by the built-in key service (big endian):
//
//	 0   1  version, 1
//	 1   1  algorithm, 1: HKDF-SHA256, AES-256-GCM, commitment
//	 2   4  version of the EK
//	 6  16  serial of the EK: random, so that a key made anew under an old name
//	        is told from the old one
//	22   1  length of the EK's name, 1 to 128
//	23   n  name
//	 +  32  salt
//	 +  32  commitment
//	 +  32  ciphertext
//	 +  16  tag
//
// Authenticated: everything before the ciphertext, as associated data, and the
// context, as part of the derivation's info.
const (
	dataKeyVersion = 1
	dataKeyAlg     = 1
	dataKeyFixed   = 23
	dataKeyTail    = saltSize + commitSize + secret.Size + tagSize

	dataKeyInfo = "coffer v1 kms data key\x00"
)

// dataKeyHead is what a sealed data key says about itself.
type dataKeyHead struct {
	id      KeyID
	serial  [16]byte
	version uint32
}

func sealDataKey(ek *secret.Key, h dataKeyHead, kc Context, key *secret.Key) []byte {
	out := make([]byte, 0, dataKeyFixed+len(h.id)+dataKeyTail)
	out = append(out, dataKeyVersion, dataKeyAlg)
	out = binary.BigEndian.AppendUint32(out, h.version)
	out = append(out, h.serial[:]...)
	out = append(out, byte(len(h.id)))
	out = append(out, h.id...)
	salt := out[len(out) : len(out)+saltSize]
	rand.Read(salt)
	out = out[:len(out)+saltSize]
	s := newSealer(ek, salt, dataKeyInfo+string(kc.encode()))
	defer clear(s[:])
	out = append(out, s.commitment()...)
	return s.seal(out, key.Bytes())
}

// parseDataKey reads the head of a sealed data key and checks its length.
// Errors: ErrTampered, ErrVersion.
func parseDataKey(sealed []byte) (dataKeyHead, error) {
	var h dataKeyHead
	if len(sealed) < 2 {
		return h, fmt.Errorf("sealed key of %d bytes: %w", len(sealed), ErrTampered)
	}
	if sealed[0] != dataKeyVersion || sealed[1] != dataKeyAlg {
		return h, fmt.Errorf("sealed key has version %d, algorithm %d: %w", sealed[0], sealed[1], ErrVersion)
	}
	if len(sealed) < dataKeyFixed || len(sealed) != dataKeyFixed+int(sealed[22])+dataKeyTail {
		return h, fmt.Errorf("sealed key of %d bytes: %w", len(sealed), ErrTampered)
	}
	h.version = binary.BigEndian.Uint32(sealed[2:])
	h.serial = [16]byte(sealed[6:22])
	h.id = KeyID(sealed[dataKeyFixed : len(sealed)-dataKeyTail])
	if h.id.Validate() != nil || h.version == 0 {
		return h, fmt.Errorf("sealed key names no key: %w", ErrTampered)
	}
	return h, nil
}

// openDataKey opens what parseDataKey accepted. Error: ErrTampered.
func openDataKey(ek *secret.Key, sealed []byte, kc Context) (*secret.Key, error) {
	tail := len(sealed) - dataKeyTail
	commitment := tail + saltSize
	ct := commitment + commitSize
	s := newSealer(ek, sealed[tail:commitment], dataKeyInfo+string(kc.encode()))
	defer clear(s[:])
	plain, err := s.open(sealed[commitment:ct], sealed[:ct], sealed[ct:])
	if err != nil {
		return nil, ErrTampered
	}
	return secret.Take(plain)
}

// encode lists the pairs in the order of their keys, every part prefixed with
// its length, so that two contexts have the same bytes only if they are equal.
func (c Context) encode() []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(c)))
	for _, k := range slices.Sorted(maps.Keys(c)) {
		for _, s := range [2]string{k, c[k]} {
			out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
			out = append(out, s...)
		}
	}
	return out
}
