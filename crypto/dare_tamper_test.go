package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cofferfs/coffer/crypto/secret"
)

// refused checks that cipher does not decrypt and leaves nothing behind.
func (s stream) refused(t testing.TB, what string, cipher []byte) {
	t.Helper()
	buf := bytes.Repeat([]byte{0xee}, 3+len(s.plain))
	got, err := Decrypt(buf[:3], s.key, s.base, s.len(), cipher)
	if !errors.Is(err, ErrCorrupt) || got != nil {
		t.Fatalf("%s: %d bytes, %v; want ErrCorrupt", what, len(got), err)
	}
	noPlain(t, what, buf)
	if len(cipher) == len(s.cipher) {
		if _, err := decryptPackages(nil, s.key, s.base, s.len(), 0, cipher); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%s: %v; want ErrCorrupt", what, err)
		}
	}
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
	if got, err := decryptPackages(nil, s.key, s.base, 3*PackagePlain, 0, s.cipher); !errors.Is(err, ErrCorrupt) || got != nil {
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
				if got, err := decryptPackages(nil, s.key, s.base, s.len(), i, one); !errors.Is(err, ErrCorrupt) || got != nil {
					t.Errorf("package %d alone at %d: %v", j, i, err)
				}
				// With the header's nonce adjusted so that the AEAD nonce is again
				// that of the old position: only the base nonce tells.
				one[4+8] ^= byte(i) ^ byte(j)
				if got, err := decryptPackages(nil, s.key, s.base, s.len(), i, one); !errors.Is(err, ErrCorrupt) || got != nil {
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
	if _, err := decryptPackages(buf[:3], s.key, s.base, s.len(), 1, c[packageCipher:3*packageCipher]); !errors.Is(err, ErrCorrupt) {
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
		if got, err := decryptPackages(nil, s.key, s.base, s.len(), bad[0], c); !errors.Is(err, ErrCorrupt) || got != nil {
			t.Errorf("%d bytes from package %d: %v", bad[1], bad[0], err)
		}
	}
}

// FuzzDecryptPackages checks that whatever decrypts is the plaintext that
// stands at that place, and that the end is where it was. A wrong length, which has
// been authenticated and so is not, shows in the last package alone.
func FuzzDecryptPackages(f *testing.F) {
	key, base := vectorKey(f)
	plain := pattern(2*packagePlain + 10)
	good := encode(nil, key, base, plain)
	f.Add(int64(len(plain)), 0, good)
	f.Add(int64(len(plain)), 1, good[packageCipher:])
	f.Add(int64(len(plain)), 2, good[2*packageCipher:])
	f.Add(int64(packagePlain), 0, good[:packageCipher])
	f.Add(int64(10), 0, good[2*packageCipher:])
	f.Add(int64(packagePlain)+71, 0, good[:packageCipher])
	f.Add(int64(0), 0, []byte{})
	f.Add(int64(-1), -1, []byte{0x20})
	f.Fuzz(func(t *testing.T, plainLen int64, first int, cipher []byte) {
		got, err := decryptPackages(nil, key, base, PlainSize(plainLen), first, cipher)
		if err != nil {
			if got != nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrSize) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			return
		}
		if first*packagePlain > len(plain) || !bytes.HasPrefix(plain[first*packagePlain:], got) {
			t.Fatal("wrong data")
		}
		if end := int64(first*packagePlain + len(got)); (end == plainLen) != (end == int64(len(plain))) {
			t.Fatalf("%d bytes from package %d are the end of %d and of %d", len(got), first, plainLen, len(plain))
		}
	})
}
