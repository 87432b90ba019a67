package crypto

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"runtime"

	"github.com/cofferfs/coffer/crypto/secret"
)

const (
	// PageOverhead is the number of bytes that Seal adds: a GCM tag. On disk.
	PageOverhead = 16

	// pageDomain separates the keys of metadata files from every other key
	// derived from a store key. On disk.
	pageDomain = "coffer/page/v1"
)

// ErrPage is returned by PageCipher.Open for bytes that were not sealed by the
// same cipher with the same counter and additional data.
var ErrPage = errors.New("crypto: page does not authenticate")

// PageCipher seals the pages of one metadata file, each under a counter that
// its caller must never use twice: the nonce is the counter, so a second page
// under the same counter would give away the authentication key.
//
// The key belongs to one file: it is HKDF-SHA256 of the store key with the
// file's random salt, and with a label of four fields, each preceded by its length
// in two bytes, big endian: the domain, the kind of file (1 byte), its
// number (8 bytes, big endian). A page so opens only in the file, and at the
// place, for which it was sealed. Methods may be called concurrently.
type PageCipher struct {
	aead cipher.AEAD
}

// NewPageCipher derives the key of one file from the store's. storeKey is
// only read and stays the caller's; salt must be fresh random for each file
// that is written.
func NewPageCipher(storeKey *secret.Key, salt [32]byte, kind byte, number uint64) (*PageCipher, error) {
	label := appendField(nil, []byte(pageDomain))
	label = appendField(label, []byte{kind})
	label = appendField(label, binary.BigEndian.AppendUint64(nil, number))
	key, err := hkdf.Key(sha256.New, storeKey.Bytes(), salt[:], string(label), secret.Size)
	runtime.KeepAlive(storeKey)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &PageCipher{aead: aead}, nil
}

// appendField appends one length-prefixed field of a derivation label.
func appendField(dst, field []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(field)))
	return append(dst, field...)
}

// Seal appends the sealed form of plain to dst and returns it: as many bytes
// as plain and PageOverhead more. aad is authenticated and not stored. plain
// may be dst[len(dst):len(dst)+len(plain)] and must not overlap it otherwise.
func (c *PageCipher) Seal(dst, plain, aad []byte, counter uint64) []byte {
	nonce := pageNonce(counter)
	return c.aead.Seal(dst, nonce[:], plain, aad)
}

// Open appends the plaintext of sealed to dst and returns it, or ErrPage; on
// failure nothing of the plaintext is left in dst. Overlap is as for Seal.
func (c *PageCipher) Open(dst, sealed, aad []byte, counter uint64) ([]byte, error) {
	nonce := pageNonce(counter)
	out, err := c.aead.Open(dst, nonce[:], sealed, aad)
	if err != nil {
		return nil, ErrPage
	}
	return out, nil
}

// pageNonce is four zero bytes and the counter, big endian.
func pageNonce(counter uint64) (n [12]byte) {
	binary.BigEndian.PutUint64(n[4:], counter)
	return n
}
