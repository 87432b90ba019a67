package crypto

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
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
	size := 0
	if PlainSize(len(plain)) <= MaxExtent {
		size = int(EncryptedSize(PlainSize(len(plain))))
	}
	out := appender{b: slices.Grow(dst, size)}
	if base, err = EncryptTo(&out, key, plain); err != nil {
		return nil, base, err
	}
	return out.b, base, nil
}

// appender is the io.Writer of Encrypt. It never fails.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// EncryptTo is Encrypt with the stream written to w, one package at a time. Its
// errors are those of Encrypt, and those of w: after one of these w has a part
// of the stream, and the key is spent.
func EncryptTo(w io.Writer, key *secret.Key, plain []byte) (base Nonce, err error) {
	if len(plain) == 0 || PlainSize(len(plain)) > MaxExtent {
		return base, fmt.Errorf("encrypt %d bytes: %w", len(plain), ErrSize)
	}
	if !key.Spend() {
		return base, ErrKeySpent
	}
	sink := packageSink{w: w}
	enc, err := sio.EncryptWriter(&sink, sio.Config{
		MinVersion:   sio.Version20,
		MaxVersion:   sio.Version20,
		CipherSuites: cipherSuites,
		Key:          key.Bytes(),
	})
	if err != nil {
		return base, fmt.Errorf("encrypt: %w", err)
	}
	_, err = enc.Write(plain)
	if cerr := enc.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return base, fmt.Errorf("encrypt: %w", err)
	}
	if size := EncryptedSize(PlainSize(len(plain))); sink.n != size {
		return base, fmt.Errorf("encrypt: stream has %d bytes, want %d", sink.n, size)
	}
	base = Nonce(sink.header[4:])
	base[0] &^= dareFinal
	return base, nil
}

// packageSink passes a stream on, and keeps its first header.
type packageSink struct {
	w      io.Writer
	n      CipherSize
	header [packageHeader]byte
}

func (k *packageSink) Write(p []byte) (int, error) {
	if k.n < packageHeader {
		copy(k.header[k.n:], p)
	}
	n, err := k.w.Write(p)
	k.n += CipherSize(n)
	return n, err
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
	p, n, err := newPackages(key, base, plainLen, first, packages)
	if err != nil {
		return nil, err
	}
	start := len(dst)
	dst = slices.Grow(dst, int(n))
	for len(packages) > 0 {
		text, rest := p.cut(packages)
		if dst, err = p.open(dst, packages[:packageHeader], text); err != nil {
			clear(dst[start : start+int(n)])
			return nil, err
		}
		packages = rest
	}
	return dst, nil
}

// OpenPackages is DecryptPackages in the place of the packages. It appends the
// plaintext of each to list: parts of packages, in order. On an error the
// packages are cleared.
func OpenPackages(list [][]byte, key *secret.Key, base Nonce, plainLen PlainSize, first int, packages []byte) ([][]byte, error) {
	p, _, err := newPackages(key, base, plainLen, first, packages)
	if err != nil {
		return nil, err
	}
	all := packages
	for len(packages) > 0 {
		text, rest := p.cut(packages)
		plain, err := p.open(text[:0], packages[:packageHeader], text)
		if err != nil {
			clear(all)
			return nil, err
		}
		list, packages = append(list, plain), rest
	}
	return list, nil
}

// packageReader decrypts consecutive packages.
type packageReader struct {
	aead cipher.AEAD
	base Nonce
	rest PlainSize // of the stream, from here on
	seq  uint32
	// What each package is compared with; they escape through the AEAD interface.
	header [packageHeader]byte
	nonce  [12]byte
}

// newPackages also returns the length of the packages' plaintext. Its errors are
// those of DecryptPackages.
func newPackages(key *secret.Key, base Nonce, plainLen PlainSize, first int, packages []byte) (*packageReader, PlainSize, error) {
	if plainLen <= 0 || plainLen > MaxExtent || first < 0 || PlainSize(first) > (plainLen-1)/PackagePlain {
		return nil, 0, fmt.Errorf("decrypt package %d of %d bytes: %w", first, plainLen, ErrSize)
	}
	n, err := packagesPlain(plainLen, first, CipherSize(len(packages)))
	if err != nil {
		return nil, 0, err
	}
	base[0] &^= dareFinal
	return &packageReader{aead: newGCM(key.Bytes()), base: base, rest: plainLen - PlainSize(first)*PackagePlain, seq: uint32(first)}, n, nil
}

// cut returns the ciphertext of the first of the packages, with its tag, and the
// packages behind it.
func (p *packageReader) cut(packages []byte) (text, rest []byte) {
	end := packageOverhead + int(min(p.rest, PackagePlain))
	return packages[packageHeader:end], packages[end:]
}

// open decrypts one package behind dst, which may be the beginning of text.
// Error: ErrCorrupt; dst is returned all the same then, and holds no plaintext.
func (p *packageReader) open(dst, header, text []byte) ([]byte, error) {
	p.rest -= PlainSize(len(text) - tagSize)
	p.header = [packageHeader]byte{0: dareVersion, 1: dareAESGCM}
	binary.LittleEndian.PutUint16(p.header[2:], uint16(len(text)-tagSize-1))
	copy(p.header[4:], p.base[:])
	if p.rest == 0 {
		p.header[4] |= dareFinal
	}
	copy(p.nonce[:], p.header[4:])
	binary.LittleEndian.PutUint32(p.nonce[8:], binary.LittleEndian.Uint32(p.nonce[8:])^p.seq)
	if bytes.Equal(header, p.header[:]) {
		if out, err := p.aead.Open(dst, p.nonce[:], text, p.header[:4]); err == nil {
			p.seq++
			return out, nil
		}
	}
	return dst, fmt.Errorf("decrypt package %d: %w", p.seq, ErrCorrupt)
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
