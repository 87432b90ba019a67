package crypto

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/cofferfs/coffer/crypto/secret"
)

var testBinding = Bind(DomainChecksum, []byte("content"), []byte{1})

// sealedForm is one of the three sealed forms, over bytes.
type sealedForm struct {
	name    string
	commits bool
	header  int // bytes of version and algorithm
	seal    func(parent *secret.Key, b Binding, plain []byte) []byte
	open    func(parent *secret.Key, b Binding, sealed []byte) ([]byte, error)
}

var sealedForms = []sealedForm{
	{"key", true, 2, func(p *secret.Key, b Binding, plain []byte) []byte {
		k, _ := secret.New(plain)
		return SealKey(p, b, k)
	}, func(p *secret.Key, b Binding, sealed []byte) ([]byte, error) {
		return keyBytes(OpenKey(p, b, sealed))
	}},
	{"compact key", false, 1, func(p *secret.Key, b Binding, plain []byte) []byte {
		k, _ := secret.New(plain)
		return SealKeyCompact(p, b, k)
	}, func(p *secret.Key, b Binding, sealed []byte) ([]byte, error) {
		return keyBytes(OpenKeyCompact(p, b, sealed))
	}},
	{"bytes", true, 2, SealBytes, OpenBytes},
}

func keyBytes(k *secret.Key, err error) ([]byte, error) {
	if k == nil {
		return nil, err
	}
	return bytes.Clone(k.Bytes()), err
}

func eachForm(t *testing.T, fn func(t *testing.T, f sealedForm, parent *secret.Key, plain, sealed []byte)) {
	for _, f := range sealedForms {
		t.Run(f.name, func(t *testing.T) {
			parent, plain := secret.Random(), pattern(32)
			sealed := f.seal(parent, testBinding, plain)
			fn(t, f, parent, plain, sealed)
			if got, err := f.open(parent, testBinding, sealed); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("open: %v", err)
			}
		})
	}
}

func TestSealedSizesAreAsDocumented(t *testing.T) {
	if SealedKeySize != 114 || CompactKeySize != 81 || SealOverhead != 82 {
		t.Fatal("sizes on disk changed")
	}
	parent, k := secret.Random(), secret.Random()
	if n := len(SealKey(parent, testBinding, k)); n != SealedKeySize {
		t.Errorf("SealKey gives %d bytes", n)
	}
	if n := len(SealKeyCompact(parent, testBinding, k)); n != CompactKeySize {
		t.Errorf("SealKeyCompact gives %d bytes", n)
	}
	if n := len(SealBytes(parent, testBinding, make([]byte, 5))); n != SealOverhead+5 {
		t.Errorf("SealBytes gives %d bytes", n)
	}
}

func TestEverySealIsFresh(t *testing.T) {
	eachForm(t, func(t *testing.T, f sealedForm, parent *secret.Key, plain, sealed []byte) {
		again := f.seal(parent, testBinding, plain)
		for i := f.header; i+16 <= len(sealed); i++ {
			if bytes.Contains(again, sealed[i:i+16]) {
				t.Fatalf("two seals share 16 bytes at %d", i)
			}
		}
		if bytes.Contains(sealed, plain[:8]) || bytes.Contains(sealed, parent.Bytes()[:8]) {
			t.Fatal("key bytes in the clear")
		}
	})
}

func TestWrongKeyAndDamageAreToldApart(t *testing.T) {
	eachForm(t, func(t *testing.T, f sealedForm, parent *secret.Key, plain, sealed []byte) {
		wrong := ErrCorrupt
		if f.commits {
			wrong = ErrWrongKey
		}
		refused := func(what string, parent *secret.Key, b Binding, sealed []byte, want error) {
			t.Helper()
			if got, err := f.open(parent, b, sealed); !errors.Is(err, want) || got != nil {
				t.Errorf("%s: %d bytes, %v; want %v", what, len(got), err, want)
			}
		}
		refused("wrong key", secret.Random(), testBinding, sealed, wrong)
		for name, b := range map[string]Binding{
			"domain":       Bind(DomainETag, testBinding.Fields...),
			"field":        Bind(DomainChecksum, []byte("another"), []byte{1}),
			"fields cut":   Bind(DomainChecksum, []byte("content")),
			"fields more":  Bind(DomainChecksum, []byte("content"), []byte{1}, nil),
			"fields moved": Bind(DomainChecksum, []byte{1}, []byte("content")),
			"fields fused": Bind(DomainChecksum, []byte("content\x01")),
		} {
			refused(name, parent, b, sealed, wrong)
		}
		for i := range sealed {
			for bit := range 8 {
				b := bytes.Clone(sealed)
				b[i] ^= 1 << bit
				want := ErrCorrupt
				if i < f.header {
					want = ErrVersion
				} else if f.commits && i < sealHeader {
					want = ErrWrongKey
				}
				refused(fmt.Sprintf("byte %d, bit %d", i, bit), parent, testBinding, b, want)
			}
		}
		for n := range sealed {
			refused(fmt.Sprint("cut to ", n), parent, testBinding, sealed[:n], ErrCorrupt)
		}
		refused("longer", parent, testBinding, append(bytes.Clone(sealed), 0), ErrCorrupt)
		refused("nothing", parent, testBinding, nil, ErrCorrupt)
	})
}

func TestOneFormDoesNotOpenAsAnother(t *testing.T) {
	eachForm(t, func(t *testing.T, f sealedForm, parent *secret.Key, plain, sealed []byte) {
		for _, other := range sealedForms {
			if other.name == f.name {
				continue
			}
			if got, err := other.open(parent, testBinding, sealed); err == nil || got != nil {
				t.Errorf("a sealed %s opens as %s", f.name, other.name)
			}
		}
	})
}

func TestAnyBytesSealUnderAnyBinding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 1000).Draw(t, "plain")
		b := bindings(t, "binding")
		parent := secret.Random()
		sealed := SealBytes(parent, b, plain)
		got, err := OpenBytes(parent, b, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatal(err)
		}
		other := bindings(t, "other")
		if bytes.Equal(other.append(nil), b.append(nil)) {
			return
		}
		if got, err := OpenBytes(parent, other, sealed); !errors.Is(err, ErrWrongKey) || got != nil {
			t.Fatal(err)
		}
	})
}
