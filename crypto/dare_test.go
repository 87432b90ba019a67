package crypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/minio/sio"
	"pgregory.net/rapid"

	"github.com/cofferfs/coffer/crypto/secret"
)

const packagePlain, packageCipher = int(PackagePlain), int(PackageCipher)

// sizes are the plaintext lengths around every boundary, and one that is none.
var sizes = []int{
	1, 2, 15, 16, 17, 4095, 4096, packagePlain - 1, packagePlain, packagePlain + 1,
	2*packagePlain - 1, 2 * packagePlain, 2*packagePlain + 1, 5*packagePlain/2 + 3,
	int(MaxExtent) - packagePlain, int(MaxExtent) - 1, int(MaxExtent),
}

func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8 + i>>16)
	}
	return p
}

func sioConfig(key []byte) sio.Config {
	return sio.Config{
		MinVersion:   sio.Version20,
		MaxVersion:   sio.Version20,
		CipherSuites: []byte{sio.AES_256_GCM},
		Key:          key,
	}
}

// encode writes a stream from the text of the DARE 2.0 specification, without
// sio: a second opinion for the tests, and the measure of what sio costs.
func encode(dst []byte, key *secret.Key, base Nonce, plain []byte) []byte {
	aead := newGCM(key.Bytes())
	base[0] &^= 0x80
	var h struct{ header, nonce [16]byte }
	for seq := uint32(0); len(plain) > 0; seq++ {
		n := min(len(plain), packagePlain)
		h.header = [16]byte{0: 0x20, 1: 0}
		binary.LittleEndian.PutUint16(h.header[2:], uint16(n-1))
		copy(h.header[4:], base[:])
		if n == len(plain) {
			h.header[4] |= 0x80
		}
		copy(h.nonce[:12], h.header[4:])
		binary.LittleEndian.PutUint32(h.nonce[8:], binary.LittleEndian.Uint32(h.nonce[8:])^seq)
		dst = append(dst, h.header[:]...)
		dst = aead.Seal(dst, h.nonce[:12], plain[:n], h.header[:4])
		plain = plain[n:]
	}
	return dst
}

type stream struct {
	key    *secret.Key
	base   Nonce
	plain  []byte
	cipher []byte
}

func newStream(t testing.TB, plain []byte) stream {
	t.Helper()
	s := stream{key: secret.Random(), plain: plain}
	var err error
	if s.cipher, s.base, err = Encrypt(nil, s.key, plain); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s stream) len() PlainSize { return PlainSize(len(s.plain)) }

// decryptPackages is DecryptPackages and OpenPackages, which must agree.
func decryptPackages(dst []byte, key *secret.Key, base Nonce, plainLen PlainSize, first int, packages []byte) ([]byte, error) {
	inPlace := bytes.Clone(packages)
	list, err2 := OpenPackages([][]byte{{'x'}}, key, base, plainLen, first, inPlace)
	start := len(dst)
	dst, err := DecryptPackages(dst, key, base, plainLen, first, packages)
	switch {
	case (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error():
		panic(fmt.Sprintf("in place: %v; otherwise: %v", err2, err))
	case err == nil && !bytes.Equal(bytes.Join(list[1:], nil), dst[start:]):
		panic("another plaintext in place")
	case err == nil && &list[1][0] != &inPlace[packageHeader]:
		panic("not in place")
	case err != nil && list != nil:
		panic("plaintext in place, and an error")
	case err != nil && !bytes.Equal(inPlace, packages) && bytes.Count(inPlace, []byte{0}) != len(inPlace):
		panic("something is left in place after an error")
	}
	return dst, err
}

func TestDecryptReturnsWhatWasEncrypted(t *testing.T) {
	for _, n := range sizes {
		s := newStream(t, pattern(n))
		if got := EncryptedSize(PlainSize(n)); CipherSize(len(s.cipher)) != got {
			t.Errorf("%d bytes: stream has %d, EncryptedSize says %d", n, len(s.cipher), got)
		}
		if want, _ := sio.EncryptedSize(uint64(n)); uint64(len(s.cipher)) != want {
			t.Errorf("%d bytes: stream has %d, sio says %d", n, len(s.cipher), want)
		}
		if bytes.Contains(s.cipher, s.plain[:min(n, 32)]) && n >= 16 {
			t.Errorf("%d bytes: plaintext in the stream", n)
		}
		got, err := Decrypt([]byte("abc"), s.key, s.base, s.len(), s.cipher)
		if err != nil || string(got[:3]) != "abc" || !bytes.Equal(got[3:], s.plain) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestEncryptAppendsInPlaceWhenThereIsRoom(t *testing.T) {
	for _, n := range []int{1, 4096, packagePlain + 1} {
		size := 3 + int(EncryptedSize(PlainSize(n)))
		dst := append(make([]byte, 0, size), "abc"...)
		out, base, err := Encrypt(dst, secret.Random(), pattern(n))
		if err != nil || len(out) != size || string(out[:3]) != "abc" {
			t.Fatalf("%d bytes: %d, %v", n, len(out), err)
		}
		if &out[0] != &dst[0] {
			t.Errorf("%d bytes: reallocated", n)
		}
		if base[0]&0x80 != 0 {
			t.Errorf("base nonce %x has the final bit", base)
		}
	}
}

func TestEncryptAndSioAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := drawPlain(t)
		key := secret.Random()
		cipher, base, err := Encrypt(nil, key, plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := sio.DecryptBuffer(nil, cipher, sioConfig(key.Bytes())); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("sio does not read what Encrypt wrote: %v", err)
		}
		if !bytes.Equal(encode(nil, key, base, plain), cipher) {
			t.Fatal("the stream is not what the specification says")
		}
	})
}

func TestDecryptAndSioAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := drawPlain(t)
		key := secret.Random()
		nonce := [12]byte(rapid.SliceOfN(rapid.Byte(), 12, 12).Draw(t, "nonce"))
		cfg := sioConfig(key.Bytes())
		cfg.Nonce = &nonce
		var buf bytes.Buffer
		if _, err := sio.Encrypt(&buf, bytes.NewReader(plain), cfg); err != nil {
			t.Fatal(err)
		}
		got, err := Decrypt(nil, key, Nonce(nonce), PlainSize(len(plain)), buf.Bytes())
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("Decrypt does not read what sio wrote: %v", err)
		}
		off := rapid.IntRange(0, len(plain)-1).Draw(t, "off")
		n := rapid.IntRange(1, len(plain)-off).Draw(t, "n")
		if got := readRange(t, key, Nonce(nonce), len(plain), off, n, buf.Bytes()); !bytes.Equal(got, plain[off:off+n]) {
			t.Fatalf("range %d+%d is wrong", off, n)
		}
	})
}

// drawPlain draws a plaintext of up to some packages.
func drawPlain(t *rapid.T) []byte {
	n := rapid.OneOf(
		rapid.IntRange(1, 300),
		rapid.SampledFrom(sizes[:len(sizes)-3]),
		rapid.IntRange(1, 4*packagePlain),
	).Draw(t, "size")
	return pattern(n)
}

func readRange(t interface{ Fatal(...any) }, key *secret.Key, base Nonce, plainLen, off, n int, cipher []byte) []byte {
	first, cOff, cLen, err := PackageRange(PlainSize(plainLen), PlainSize(off), PlainSize(n))
	if err != nil {
		t.Fatal(err)
	}
	got, err := decryptPackages(nil, key, base, PlainSize(plainLen), first, cipher[cOff:cOff+cLen])
	if err != nil {
		t.Fatal(err)
	}
	skip := off - first*packagePlain
	return got[skip : skip+n]
}

// vectors were made by sio v0.4.1: key 00 01 .. 1f, nonce a0 a1 .. ab (whose
// final bit a stream clears), plaintext pattern(n). They never change.
var vectors = []struct {
	n      int
	sha256 string
}{
	{1, "c5900906f0706f93dd2a732602c15dbb9bd6395f43961087e15727cd17cf7b2a"},
	{4096, "b83b49befc1ee48a6c3fc2f38f97cf25923f4c7ef9edb6b7405e1c049e8782a4"},
	{packagePlain, "329e002b6be33c1199f2b93b6e1e27513ac1db74e6993acabbe849114f29f759"},
	{packagePlain + 1, "92d53969bee1c2ac84e67c88f8e06fa4c1ecb065c372b19ec19b7f078470008a"},
	{5*packagePlain/2 + 3, "1fce72d448558dc336725dcebc3c95cd1beb8f58f3b9f48e11b851c78d0fb0cc"},
	{int(MaxExtent), "722392f122861732373c6d28db4b3dbb3f422f6bfb2ee49f0b82ce90b2e20790"},
}

func vectorKey(t testing.TB) (*secret.Key, Nonce) {
	k := make([]byte, 32)
	for i := range k {
		k[i] = byte(i)
	}
	key, err := secret.New(k)
	if err != nil {
		t.Fatal(err)
	}
	var nonce Nonce
	for i := range nonce {
		nonce[i] = byte(0xa0 + i)
	}
	return key, nonce
}

func TestKnownStreams(t *testing.T) {
	key, nonce := vectorKey(t)
	for _, v := range vectors {
		plain := pattern(v.n)
		cfg := sioConfig(key.Bytes())
		cfg.Nonce = (*[12]byte)(&nonce)
		var buf bytes.Buffer
		if _, err := sio.Encrypt(&buf, bytes.NewReader(plain), cfg); err != nil {
			t.Fatal(err)
		}
		for by, stream := range map[string][]byte{"sio": buf.Bytes(), "specification": encode(nil, key, nonce, plain)} {
			sum := sha256.Sum256(stream)
			if got := hex.EncodeToString(sum[:]); got != v.sha256 {
				t.Errorf("%d bytes by %s: %s, want %s", v.n, by, got, v.sha256)
			}
		}
		if got, err := Decrypt(nil, key, nonce, PlainSize(v.n), buf.Bytes()); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %v", v.n, err)
		}
	}
}

func TestKeyEncryptsOneStreamEver(t *testing.T) {
	key := secret.Random()
	if _, _, err := Encrypt(nil, key, []byte("one")); err != nil {
		t.Fatal(err)
	}
	stored, err := secret.New(key.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	e := Extent{PlainLen: 3, Suite: SuiteDARE20}
	opened, err := OpenExtentKey(key, e, SealExtentKey(key, e, key))
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]*secret.Key{"spent": key, "copied": stored, "opened": opened} {
		if out, _, err := Encrypt(nil, k, []byte("two")); !errors.Is(err, ErrKeySpent) || out != nil {
			t.Errorf("%s key: %v", name, err)
		}
	}
}

func TestSizesOutOfRangeAreRefused(t *testing.T) {
	key := secret.Random()
	for _, n := range []int{0, int(MaxExtent) + 1} {
		if _, _, err := Encrypt(nil, key, make([]byte, n)); !errors.Is(err, ErrSize) {
			t.Errorf("Encrypt %d bytes: %v", n, err)
		}
	}
	if !key.Spend() {
		t.Error("a refused Encrypt spent the key")
	}
	for _, n := range []PlainSize{0, -1, MaxExtent + 1, 1 << 62, -1 << 63} {
		for _, cipher := range [][]byte{nil, make([]byte, 33)} {
			if got, err := Decrypt(nil, key, Nonce{}, n, cipher); err == nil || got != nil {
				t.Errorf("Decrypt %d bytes: no error", n)
			}
			if got, err := decryptPackages(nil, key, Nonce{}, n, 0, cipher); !errors.Is(err, ErrSize) || got != nil {
				t.Errorf("DecryptPackages of %d bytes: %v", n, err)
			}
		}
	}
	for _, first := range []int{-1, 2, 1 << 40, -1 << 62} {
		if _, err := decryptPackages(nil, key, Nonce{}, 2*PackagePlain, first, make([]byte, packageCipher)); !errors.Is(err, ErrSize) {
			t.Errorf("DecryptPackages from %d: %v", first, err)
		}
	}
}

func TestPackageRange(t *testing.T) {
	const pp, pc = PackagePlain, PackageCipher
	for _, test := range []struct {
		plainLen, off, n PlainSize
		first            int
		cOff, cLen       CipherSize
	}{
		{1, 0, 1, 0, 0, 33},
		{4096, 100, 10, 0, 0, 4128},
		{pp, 0, pp, 0, 0, pc},
		{pp + 1, 0, pp, 0, 0, pc},
		{pp + 1, pp, 1, 1, pc, 33},
		{pp + 1, pp - 1, 2, 0, 0, pc + 33},
		{MaxExtent, pp, pp, 1, pc, pc},
		{MaxExtent, pp - 1, 1, 0, 0, pc},
		{MaxExtent, pp, 1, 1, pc, pc},
		{MaxExtent, 2*pp - 1, 2, 1, pc, 2 * pc},
		{MaxExtent, 0, MaxExtent, 0, 0, 64 * pc},
		{MaxExtent, MaxExtent - 1, 1, 63, 63 * pc, pc},
	} {
		first, cOff, cLen, err := PackageRange(test.plainLen, test.off, test.n)
		if err != nil || first != test.first || cOff != test.cOff || cLen != test.cLen {
			t.Errorf("PackageRange(%d, %d, %d) = %d, %d, %d, %v; want %d, %d, %d", test.plainLen, test.off, test.n,
				first, cOff, cLen, err, test.first, test.cOff, test.cLen)
		}
	}
	for _, bad := range [][3]PlainSize{
		{0, 0, 1}, {1, 0, 0}, {1, 0, 2}, {1, 1, 1}, {1, 2, 1}, {1, -1, 1}, {10, 5, -1}, {10, 5, 1 << 62},
		{MaxExtent + 1, 0, 1}, {-1, 0, 1}, {10, 1<<63 - 1, 1<<63 - 1},
	} {
		if _, _, _, err := PackageRange(bad[0], bad[1], bad[2]); !errors.Is(err, ErrSize) {
			t.Errorf("PackageRange%v: %v", bad, err)
		}
	}
}

func TestRangesAroundPackageBoundaries(t *testing.T) {
	n := 3*packagePlain + 100
	s := newStream(t, pattern(n))
	points := []int{0, 1, packagePlain - 1, packagePlain, packagePlain + 1, 2 * packagePlain, 3*packagePlain - 1, 3 * packagePlain, n - 1, n}
	for _, from := range points {
		for _, to := range points {
			if from >= to {
				continue
			}
			if got := readRange(t, s.key, s.base, n, from, to-from, s.cipher); !bytes.Equal(got, s.plain[from:to]) {
				t.Errorf("range %d to %d is wrong", from, to)
			}
		}
	}
}
