package crypto

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/cofferfs/coffer/crypto/secret"
	"pgregory.net/rapid"
)

func pageCipher(t testing.TB, k *secret.Key, salt [32]byte, kind byte, number uint64) *PageCipher {
	t.Helper()
	c, err := NewPageCipher(k, salt, kind, number)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The vector pins what is on disk: derivation label, nonce layout and tag.
func TestPageKnownAnswer(t *testing.T) {
	raw := make([]byte, secret.Size)
	for i := range raw {
		raw[i] = byte(i)
	}
	k, err := secret.New(raw)
	if err != nil {
		t.Fatal(err)
	}
	var salt [32]byte
	for i := range salt {
		salt[i] = byte(0x80 + i)
	}
	c := pageCipher(t, k, salt, 3, 42)
	got := hex.EncodeToString(c.Seal(nil, []byte("metadata page"), []byte("aad"), 7))
	const want = "a7fcd189504fd0efe07e0cc1f9ec9fd747122bc98ad135b6ea478c731d"
	if got != want {
		t.Fatalf("sealed page is %s, want %s", got, want)
	}
}

func TestPageOpensOnlyWhereItWasSealed(t *testing.T) {
	k, other := secret.Random(), secret.Random()
	var salt, salt2 [32]byte
	rand.Read(salt[:])
	rand.Read(salt2[:])
	c := pageCipher(t, k, salt, 1, 9)
	plain, aad := []byte("page"), []byte("header")
	sealed := c.Seal(nil, plain, aad, 5)
	if got, err := c.Open(nil, sealed, aad, 5); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("open: %q, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"other counter":   func() ([]byte, error) { return c.Open(nil, sealed, aad, 6) },
		"other aad":       func() ([]byte, error) { return c.Open(nil, sealed, []byte("headex"), 5) },
		"no aad":          func() ([]byte, error) { return c.Open(nil, sealed, nil, 5) },
		"other kind":      func() ([]byte, error) { return pageCipher(t, k, salt, 2, 9).Open(nil, sealed, aad, 5) },
		"other number":    func() ([]byte, error) { return pageCipher(t, k, salt, 1, 10).Open(nil, sealed, aad, 5) },
		"other salt":      func() ([]byte, error) { return pageCipher(t, k, salt2, 1, 9).Open(nil, sealed, aad, 5) },
		"other store key": func() ([]byte, error) { return pageCipher(t, other, salt, 1, 9).Open(nil, sealed, aad, 5) },
		"cut":             func() ([]byte, error) { return c.Open(nil, sealed[:len(sealed)-1], aad, 5) },
		"shorter than tag": func() ([]byte, error) {
			return c.Open(nil, sealed[:PageOverhead-1], aad, 5)
		},
		"empty": func() ([]byte, error) { return c.Open(nil, nil, aad, 5) },
	} {
		if got, err := open(); !errors.Is(err, ErrPage) || got != nil {
			t.Errorf("%s: got %q, %v; want ErrPage", name, got, err)
		}
	}
}

func TestPageRoundTripAndEveryFlipIsRefused(t *testing.T) {
	k := secret.Random()
	rapid.Check(t, func(t *rapid.T) {
		var salt [32]byte
		copy(salt[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "salt"))
		c, err := NewPageCipher(k, salt, rapid.Byte().Draw(t, "kind"), rapid.Uint64().Draw(t, "number"))
		if err != nil {
			t.Fatal(err)
		}
		plain := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "plain")
		aad := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "aad")
		counter := rapid.Uint64().Draw(t, "counter")
		prefix := []byte("kept")
		out := c.Seal(append([]byte(nil), prefix...), plain, aad, counter)
		if !bytes.HasPrefix(out, prefix) || len(out) != len(prefix)+len(plain)+PageOverhead {
			t.Fatalf("sealed %d bytes into %d", len(plain), len(out))
		}
		sealed := out[len(prefix):]
		got, err := c.Open(nil, sealed, aad, counter)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("open: %v", err)
		}
		bit := rapid.IntRange(0, len(sealed)*8-1).Draw(t, "bit")
		sealed[bit/8] ^= 1 << (bit % 8)
		if _, err := c.Open(nil, sealed, aad, counter); !errors.Is(err, ErrPage) {
			t.Fatalf("flipped bit %d: %v", bit, err)
		}
	})
}

func BenchmarkPageSeal4K(b *testing.B) {
	c := pageCipher(b, secret.Random(), [32]byte{}, 1, 1)
	plain, dst := make([]byte, 4096), make([]byte, 0, 4096+PageOverhead)
	b.SetBytes(4096)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		dst = c.Seal(dst[:0], plain, nil, uint64(i))
	}
}
