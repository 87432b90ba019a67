package kms

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	"github.com/cofferfs/coffer/crypto/secret"
)

// Both sealed forms of this package end the same way: an AES-256-GCM key and a
// commitment are derived by HKDF-SHA256 from a parent key and a fresh salt, the
// commitment is stored, and the AEAD, whose nonce can be constant since its key
// seals once, covers all that stands before the ciphertext. Package crypto does
// the same for the levels below; kms is a leaf beside it and cannot use it.
const (
	saltSize   = 32
	commitSize = 32
	tagSize    = 16
)

var (
	zeroNonce [12]byte

	errCommitment = errors.New("commitment does not match")
	errTag        = errors.New("authentication failed")
)

// sealer is a derived key pair. The caller clears it.
type sealer [32 + commitSize]byte

func newSealer(parent *secret.Key, salt []byte, info string) *sealer {
	k, err := hkdf.Key(sha256.New, parent.Bytes(), salt, info, 32+commitSize)
	if err != nil {
		panic("kms: HKDF refused a fixed length: " + err.Error())
	}
	return (*sealer)(k)
}

func (s *sealer) commitment() []byte { return s[32:] }

// seal appends ciphertext and tag of plain to head, which is authenticated.
func (s *sealer) seal(head, plain []byte) []byte {
	return s.aead().Seal(head, zeroNonce[:], plain, head)
}

// open compares the commitment first: errCommitment says that the key is
// another one, errTag that the key is right and the bytes are not.
func (s *sealer) open(commitment, head, ct []byte) ([]byte, error) {
	if subtle.ConstantTimeCompare(s.commitment(), commitment) != 1 {
		return nil, errCommitment
	}
	plain, err := s.aead().Open(nil, zeroNonce[:], ct, head)
	if err != nil {
		return nil, errTag
	}
	return plain, nil
}

func (s *sealer) aead() cipher.AEAD {
	block, err := aes.NewCipher(s[:32])
	if err != nil {
		panic("kms: AES refused a key: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("kms: GCM refused AES: " + err.Error())
	}
	return aead
}
