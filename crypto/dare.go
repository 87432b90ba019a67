package crypto

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/minio/sio"

	"github.com/cofferfs/coffer/crypto/secret"
)

// PlainSize counts bytes of plaintext.
type PlainSize int64

// CipherSize counts bytes of a DARE stream.
type CipherSize int64

const (
	// MaxExtent is the largest plaintext of one stream, in bytes.
	MaxExtent PlainSize = 4 << 20
	// PackagePlain is the plaintext of every package but the last, in bytes.
	PackagePlain PlainSize = 64 << 10
	// PackageCipher is the size of such a package in the stream.
	PackageCipher = CipherSize(PackagePlain) + packageOverhead

	packageHeader   = 16
	packageOverhead = packageHeader + tagSize
	dareVersion     = 0x20
	dareAESGCM      = 0x00
	dareFinal       = 0x80 // top bit of a header's nonce
)

// Nonce is the base nonce of a stream, its top bit zero. It is not secret but
// must come from an authenticated place when packages are read by position:
// see Extent.Base.
type Nonce [12]byte

// cipherSuites is only read.
var cipherSuites = []byte{sio.AES_256_GCM}

// EncryptedSize is the length of the stream for n bytes of plaintext.
func EncryptedSize(n PlainSize) CipherSize {
	if n <= 0 {
		return 0
	}
	packages := (n + PackagePlain - 1) / PackagePlain
	return CipherSize(n) + CipherSize(packages)*packageOverhead
}

// Encrypt appends the DARE 2.0 stream of plain to dst, which is reallocated
// only if its capacity is below len(dst)+EncryptedSize(len(plain)). dst must
// not overlap plain. It spends key, which must come fresh from secret.Random:
// a key encrypts one stream, ever. Errors: ErrSize (plain is empty or longer
// than MaxExtent; the empty stream has no bytes and so no authenticity),
// ErrKeySpent. On an error dst is not changed within its length.
func Encrypt(dst []byte, key *secret.Key, plain []byte) (stream []byte, base Nonce, err error) {
	if len(plain) == 0 || PlainSize(len(plain)) > MaxExtent {
		return nil, base, fmt.Errorf("encrypt %d bytes: %w", len(plain), ErrSize)
	}
	if !key.Spend() {
		return nil, base, ErrKeySpent
	}
	start := len(dst)
	size := int(EncryptedSize(PlainSize(len(plain))))
	sink := appender{b: slices.Grow(dst, size)}
	w, err := sio.EncryptWriter(&sink, sio.Config{
		MinVersion:   sio.Version20,
		MaxVersion:   sio.Version20,
		CipherSuites: cipherSuites,
		Key:          key.Bytes(),
	})
	if err != nil {
		return nil, base, fmt.Errorf("encrypt: %w", err)
	}
	if _, err = w.Write(plain); err != nil {
		w.Close()
		return nil, base, fmt.Errorf("encrypt: %w", err)
	}
	if err = w.Close(); err != nil {
		return nil, base, fmt.Errorf("encrypt: %w", err)
	}
	if len(sink.b) != start+size {
		return nil, base, fmt.Errorf("encrypt: stream has %d bytes, want %d", len(sink.b)-start, size)
	}
	copy(base[:], sink.b[start+4:])
	base[0] &^= dareFinal
	return sink.b, base, nil
}

// appender is the io.Writer of Encrypt. It never fails.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// Decrypt appends the plaintext of a whole stream to dst. plainLen is the
// authenticated length: stream must be exactly what Encrypt made of so many
// bytes. dst must not overlap stream. Errors: ErrSize, ErrCorrupt. On an error
// no plaintext is left behind in dst.
func Decrypt(dst []byte, key *secret.Key, base Nonce, plainLen PlainSize, stream []byte) ([]byte, error) {
	if CipherSize(len(stream)) != EncryptedSize(plainLen) {
		return nil, fmt.Errorf("decrypt: stream of %d bytes, want %d: %w", len(stream), EncryptedSize(plainLen), ErrCorrupt)
	}
	return DecryptPackages(dst, key, base, plainLen, 0, stream)
}

// DecryptPackages appends the plaintext of whole consecutive packages to dst,
// the first of which is package number first of a stream of plainLen bytes of
// plaintext. It refuses packages that are cut, changed, from another stream or
// from another position of this one, and a final package anywhere but at the
// end. Errors and dst are as for Decrypt.
func DecryptPackages(dst []byte, key *secret.Key, base Nonce, plainLen PlainSize, first int, packages []byte) ([]byte, error) {
	if plainLen <= 0 || plainLen > MaxExtent || first < 0 || PlainSize(first) > (plainLen-1)/PackagePlain {
		return nil, fmt.Errorf("decrypt package %d of %d bytes: %w", first, plainLen, ErrSize)
	}
	n, err := packagesPlain(plainLen, first, CipherSize(len(packages)))
	if err != nil {
		return nil, err
	}
	start := len(dst)
	dst = slices.Grow(dst, int(n))
	aead := newGCM(key.Bytes())
	// One allocation for both: they escape through the AEAD interface.
	var h struct {
		header [packageHeader]byte
		nonce  [12]byte
	}
	base[0] &^= dareFinal
	rest := plainLen - PlainSize(first)*PackagePlain
	for seq := uint32(first); len(packages) > 0; seq++ {
		size := min(rest, PackagePlain)
		rest -= size
		end := packageOverhead + int(size)
		h.header = [packageHeader]byte{0: dareVersion, 1: dareAESGCM}
		binary.LittleEndian.PutUint16(h.header[2:], uint16(size-1))
		copy(h.header[4:], base[:])
		if rest == 0 {
			h.header[4] |= dareFinal
		}
		copy(h.nonce[:], h.header[4:])
		binary.LittleEndian.PutUint32(h.nonce[8:], binary.LittleEndian.Uint32(h.nonce[8:])^seq)
		out, err := []byte(nil), ErrCorrupt
		if bytes.Equal(packages[:packageHeader], h.header[:]) {
			out, err = aead.Open(dst, h.nonce[:], packages[packageHeader:end], h.header[:4])
		}
		if err != nil {
			clear(dst[start : start+int(n)])
			return nil, fmt.Errorf("decrypt package %d: %w", seq, ErrCorrupt)
		}
		dst, packages = out, packages[end:]
	}
	return dst, nil
}

// packagesPlain is the plaintext length of the whole packages, beginning with
// package number first, that size bytes of stream hold.
func packagesPlain(plainLen PlainSize, first int, size CipherSize) (PlainSize, error) {
	rest := plainLen - PlainSize(first)*PackagePlain
	if size == EncryptedSize(rest) {
		return rest, nil
	}
	if size == 0 || size > EncryptedSize(rest) || size%PackageCipher != 0 {
		return 0, fmt.Errorf("decrypt: %d bytes are not whole packages: %w", size, ErrCorrupt)
	}
	return PlainSize(size/PackageCipher) * PackagePlain, nil
}

// PackageRange says which packages hold the n bytes of plaintext at off, in a
// stream of plainLen bytes: the number of the first and where their bytes stand
// in the stream. What DecryptPackages makes of them begins with the plaintext
// at first*PackagePlain. Error: ErrSize (n is not positive or the range is not
// inside the stream).
func PackageRange(plainLen, off, n PlainSize) (first int, cipherOff, cipherLen CipherSize, err error) {
	if plainLen > MaxExtent || off < 0 || n <= 0 || off > plainLen || n > plainLen-off {
		return 0, 0, 0, fmt.Errorf("range %d+%d of %d bytes: %w", off, n, plainLen, ErrSize)
	}
	p := off / PackagePlain
	end := min((off+n+PackagePlain-1)/PackagePlain*PackagePlain, plainLen)
	cipherOff = CipherSize(p) * PackageCipher
	return int(p), cipherOff, EncryptedSize(end) - cipherOff, nil
}
