package crypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
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

// refused checks that cipher does not decrypt and leaves nothing behind.
func (s stream) refused(t testing.TB, what string, cipher []byte) {
	t.Helper()
	buf := bytes.Repeat([]byte{0xee}, 3+len(s.plain))
	got, err := Decrypt(buf[:3], s.key, s.base, s.len(), cipher)
	if !errors.Is(err, ErrCorrupt) || got != nil {
		t.Fatalf("%s: %d bytes, %v; want ErrCorrupt", what, len(got), err)
	}
	noPlain(t, what, buf)
}

// noPlain checks that buf is as it was (0xee) or cleared beyond its 3 bytes.
func noPlain(t testing.TB, what string, buf []byte) {
	t.Helper()
	for i, c := range buf {
		if c != 0xee && (c != 0 || i < 3) {
			t.Fatalf("%s: byte %d of dst was left as %#x", what, i, c)
		}
	}
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
	got, err := DecryptPackages(nil, key, base, PlainSize(plainLen), first, cipher[cOff:cOff+cLen])
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
			if got, err := DecryptPackages(nil, key, Nonce{}, n, 0, cipher); !errors.Is(err, ErrSize) || got != nil {
				t.Errorf("DecryptPackages of %d bytes: %v", n, err)
			}
		}
	}
	for _, first := range []int{-1, 2, 1 << 40, -1 << 62} {
		if _, err := DecryptPackages(nil, key, Nonce{}, 2*PackagePlain, first, make([]byte, packageCipher)); !errors.Is(err, ErrSize) {
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

func TestAnyFlippedBitIsRefused(t *testing.T) {
	s := newStream(t, pattern(200))
	for i := range s.cipher {
		for bit := range 8 {
			b := bytes.Clone(s.cipher)
			b[i] ^= 1 << bit
			s.refused(t, fmt.Sprintf("byte %d, bit %d", i, bit), b)
		}
	}
	s = newStream(t, pattern(2*packagePlain+50))
	flip := func(i int) {
		b := bytes.Clone(s.cipher)
		b[i] ^= 1 << rand.IntN(8)
		s.refused(t, fmt.Sprint("byte ", i), b)
	}
	for p := range 3 { // all headers and tags
		start := p * packageCipher
		end := min(start+packageCipher, len(s.cipher))
		for i := range 16 {
			flip(start + i)
			flip(end - 1 - i)
		}
	}
	for range 50 {
		flip(rand.IntN(len(s.cipher)))
	}
}

func TestAnyTruncationOrExtensionIsRefused(t *testing.T) {
	s := newStream(t, pattern(100))
	for n := range s.cipher {
		s.refused(t, fmt.Sprint("cut to ", n), s.cipher[:n])
		s.refused(t, fmt.Sprint("cut before ", n+1), s.cipher[n+1:])
	}
	s.refused(t, "longer", append(bytes.Clone(s.cipher), 0))
	s.refused(t, "twice", append(bytes.Clone(s.cipher), s.cipher...))
	s = newStream(t, pattern(3*packagePlain))
	for _, n := range []int{0, 1, packageCipher - 1, packageCipher, packageCipher + 1, 2 * packageCipher, 3*packageCipher - 1} {
		s.refused(t, fmt.Sprint("cut to ", n), s.cipher[:n])
	}
}

func TestWrongLengthIsRefused(t *testing.T) {
	// The authenticated length says what must be there, whatever the stream says.
	s := newStream(t, pattern(2*packagePlain))
	for _, n := range []PlainSize{1, PackagePlain, 2*PackagePlain - 1, 2*PackagePlain + 1, 3 * PackagePlain} {
		if got, err := Decrypt(nil, s.key, s.base, n, s.cipher); !errors.Is(err, ErrCorrupt) || got != nil {
			t.Errorf("as %d bytes: %v", n, err)
		}
	}
	// A stream cut at a package boundary under a length that fits it: the
	// package before the cut is not final.
	if got, err := Decrypt(nil, s.key, s.base, PackagePlain, s.cipher[:packageCipher]); !errors.Is(err, ErrCorrupt) || got != nil {
		t.Errorf("cut with fitting length: %v", err)
	}
	// And a whole stream under a longer length.
	if got, err := DecryptPackages(nil, s.key, s.base, 3*PackagePlain, 0, s.cipher); !errors.Is(err, ErrCorrupt) || got != nil {
		t.Errorf("final package before the end: %v", err)
	}
}

func TestAnyPackageFromElsewhereIsRefused(t *testing.T) {
	s := newStream(t, pattern(4*packagePlain))
	pkg := func(c []byte, i int) []byte { return c[i*packageCipher : (i+1)*packageCipher] }
	other := newStream(t, s.plain)
	// The worst stranger: another stream under the very same key.
	base := s.base
	base[5] ^= 1
	same := stream{key: s.key, base: base, plain: s.plain, cipher: encode(nil, s.key, base, s.plain)}
	for i := range 4 {
		for j := range 4 {
			if i != j {
				c := bytes.Clone(s.cipher)
				copy(pkg(c, i), pkg(s.cipher, j))
				s.refused(t, fmt.Sprintf("package %d at %d", j, i), c)
				copy(pkg(c, j), pkg(s.cipher, i))
				s.refused(t, fmt.Sprintf("packages %d and %d swapped", j, i), c)
				one := bytes.Clone(pkg(s.cipher, j))
				if got, err := DecryptPackages(nil, s.key, s.base, s.len(), i, one); !errors.Is(err, ErrCorrupt) || got != nil {
					t.Errorf("package %d alone at %d: %v", j, i, err)
				}
				// With the header's nonce adjusted so that the AEAD nonce is again
				// that of the old position: only the base nonce tells.
				one[4+8] ^= byte(i) ^ byte(j)
				if got, err := DecryptPackages(nil, s.key, s.base, s.len(), i, one); !errors.Is(err, ErrCorrupt) || got != nil {
					t.Errorf("package %d alone at %d, nonce adjusted: %v", j, i, err)
				}
			}
			for _, o := range []stream{other, same} {
				c := bytes.Clone(s.cipher)
				copy(pkg(c, i), pkg(o.cipher, j))
				s.refused(t, fmt.Sprintf("foreign package %d at %d", j, i), c)
			}
		}
	}
	s.refused(t, "foreign stream", other.cipher)
	s.refused(t, "foreign stream, same key", same.cipher)
	if got, err := Decrypt(nil, secret.Random(), s.base, s.len(), s.cipher); !errors.Is(err, ErrCorrupt) || got != nil {
		t.Errorf("wrong key: %v", err)
	}
	if got, err := Decrypt(nil, s.key, base, s.len(), s.cipher); !errors.Is(err, ErrCorrupt) || got != nil {
		t.Errorf("wrong base: %v", err)
	}
}

func TestLateFailureLeavesNoPlaintext(t *testing.T) {
	s := newStream(t, pattern(3*packagePlain+7))
	c := bytes.Clone(s.cipher)
	c[len(c)-1] ^= 1
	s.refused(t, "last byte", c)
	buf := bytes.Repeat([]byte{0xee}, 3+3*packagePlain)
	c[2*packageCipher+20] ^= 1
	if _, err := DecryptPackages(buf[:3], s.key, s.base, s.len(), 1, c[packageCipher:3*packageCipher]); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	noPlain(t, "second of two packages", buf)
}

func TestPartialPackagesAreRefused(t *testing.T) {
	s := newStream(t, pattern(3*packagePlain+100))
	for _, bad := range [][2]int{
		{0, 0}, {0, 1}, {0, packageCipher - 1}, {0, packageCipher + 1}, {0, 2*packageCipher + 132},
		{2, packageCipher + 131}, {2, packageCipher + 133}, {3, 0}, {3, 131}, {3, 133}, {3, packageCipher},
	} {
		c := append(bytes.Clone(s.cipher), make([]byte, packageCipher)...)[bad[0]*packageCipher:][:bad[1]]
		if got, err := DecryptPackages(nil, s.key, s.base, s.len(), bad[0], c); !errors.Is(err, ErrCorrupt) || got != nil {
			t.Errorf("%d bytes from package %d: %v", bad[1], bad[0], err)
		}
	}
}

// FuzzDecryptPackages checks that whatever decrypts is the plaintext that
// stands at that place.
func FuzzDecryptPackages(f *testing.F) {
	key, base := vectorKey(f)
	plain := pattern(2*packagePlain + 10)
	good := encode(nil, key, base, plain)
	f.Add(int64(len(plain)), 0, good)
	f.Add(int64(len(plain)), 1, good[packageCipher:])
	f.Add(int64(len(plain)), 2, good[2*packageCipher:])
	f.Add(int64(packagePlain), 0, good[:packageCipher])
	f.Add(int64(10), 0, good[2*packageCipher:])
	f.Add(int64(0), 0, []byte{})
	f.Add(int64(-1), -1, []byte{0x20})
	f.Fuzz(func(t *testing.T, plainLen int64, first int, cipher []byte) {
		got, err := DecryptPackages(nil, key, base, PlainSize(plainLen), first, cipher)
		if err != nil {
			if got != nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrSize) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			return
		}
		if plainLen != int64(len(plain)) || !bytes.HasPrefix(plain[first*packagePlain:], got) {
			t.Fatal("wrong data")
		}
	})
}
