package crypto

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferfs/coffer/crypto/secret"
)

func bindings(t *rapid.T, label string) Binding {
	return Binding{
		Domain: Domain(rapid.StringN(1, 60, 255).Draw(t, label+" domain")),
		Fields: rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 0, 4).Draw(t, label+" fields"),
	}
}

func TestDeriveIsHKDF(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parent := secret.Random()
		salt := rapid.SampledFrom([][]byte{nil, make([]byte, 32), bytes.Repeat([]byte{7}, 32)}).Draw(t, "salt")
		b := bindings(t, "b")
		p := rapid.SampledFrom([]purpose{purposeSealKey, purposeSealBytes, purposeCompact, purposeMAC}).Draw(t, "purpose")
		want, err := hkdf.Key(sha256.New, parent.Bytes(), salt, string(p)+string(b.append(nil)), 64)
		if err != nil {
			t.Fatal(err)
		}
		var key, commitment, alone [32]byte
		derivePair(&key, &commitment, parent, salt, p, b)
		derive(&alone, parent, salt, p, b)
		if key != [32]byte(want) || commitment != [32]byte(want[32:]) || alone != key {
			t.Fatalf("derived %x %x and %x, HKDF = %x", key, commitment, alone, want)
		}
		m := hmac.New(sha256.New, want[:32])
		m.Write(salt)
		if got := MAC(parent, b, salt); p == purposeMAC && salt == nil && !bytes.Equal(got[:], m.Sum(nil)) {
			t.Fatal("MAC is not HMAC under the derived key")
		}
	})
}

func TestBindingsDoNotCollide(t *testing.T) {
	f := func(s ...string) (b [][]byte) {
		for _, s := range s {
			b = append(b, []byte(s))
		}
		return b
	}
	seen := map[string]int{}
	for i, b := range []Binding{
		{"a", nil}, {"a", f("")}, {"a", f("", "")}, {"a", f("b")}, {"ab", nil}, {"a", f("b", "")}, {"a", f("", "b")},
		{"a", f("bc")}, {"a", f("b", "c")}, {"a", f("bc", "")}, {"ab", f("c")}, {"a", f("\x00")}, {"a", f("\x00\x00\x00\x01b")},
		{"a\x00", nil}, {"a\x01\x00\x00\x00\x00", nil},
	} {
		enc := string(b.append(nil))
		if j, ok := seen[enc]; ok {
			t.Errorf("bindings %d and %d have the same bytes", i, j)
		}
		seen[enc] = i
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := bindings(t, "a"), bindings(t, "b")
		same := a.Domain == b.Domain && len(a.Fields) == len(b.Fields)
		for i := 0; same && i < len(a.Fields); i++ {
			same = bytes.Equal(a.Fields[i], b.Fields[i])
		}
		if bytes.Equal(a.append(nil), b.append(nil)) != same {
			t.Fatalf("%v and %v", a, b)
		}
	})
}

func TestMACRefusesAnythingElse(t *testing.T) {
	key, b := secret.Random(), Bind(DomainSuperblock, []byte("store"))
	mac := MAC(key, b, []byte("message"))
	if err := VerifyMAC(key, b, []byte("message"), mac[:]); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"message": VerifyMAC(key, b, []byte("massage"), mac[:]),
		"key":     VerifyMAC(secret.Random(), b, []byte("message"), mac[:]),
		"domain":  VerifyMAC(key, Bind(DomainETag, []byte("store")), []byte("message"), mac[:]),
		"field":   VerifyMAC(key, Bind(DomainSuperblock, []byte("other")), []byte("message"), mac[:]),
		"cut":     VerifyMAC(key, b, []byte("message"), mac[:31]),
		"empty":   VerifyMAC(key, b, []byte("message"), nil),
		"longer":  VerifyMAC(key, b, []byte("message"), append(mac[:], 0)),
	} {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
