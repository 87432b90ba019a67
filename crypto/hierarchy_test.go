package crypto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/cofferfs/coffer/crypto/secret"
)

func id(b byte) (id [16]byte) {
	for i := range id {
		id[i] = b
	}
	return id
}

var testExtent = Extent{ChunkID: id(3), ExtentID: id(4), PlainLen: 4096, Suite: SuiteDARE20, Base: Nonce{5, 6}}

func TestWalkFromDataKeyToPlaintext(t *testing.T) {
	dek, oek, chunk, key := secret.Random(), secret.Random(), secret.Random(), secret.Random()
	plain := pattern(4096)
	cipher, base, err := Encrypt(nil, key, plain)
	if err != nil {
		t.Fatal(err)
	}
	e := testExtent
	e.Base = base
	sealedObject := SealObjectKey(dek, 1, id(1), id(2), oek)
	sealedChunk := SealChunkKey(oek, id(2), id(3), chunk)
	sealedExtent := SealExtentKey(chunk, e, key)

	gotOEK, err := OpenObjectKey(dek, 1, id(1), id(2), sealedObject)
	if err != nil {
		t.Fatal(err)
	}
	gotChunk, err := OpenChunkKey(gotOEK, id(2), id(3), sealedChunk)
	if err != nil {
		t.Fatal(err)
	}
	gotKey, err := OpenExtentKey(gotChunk, e, sealedExtent)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decrypt(nil, gotKey, e.Base, e.PlainLen, cipher)
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatal(err)
	}
}

func TestObjectKeyIsBoundToItsPlace(t *testing.T) {
	dek := secret.Random()
	sealed := SealObjectKey(dek, 1, id(1), id(2), secret.Random())
	for name, open := range map[string]func() (*secret.Key, error){
		"parent":  func() (*secret.Key, error) { return OpenObjectKey(secret.Random(), 1, id(1), id(2), sealed) },
		"mode":    func() (*secret.Key, error) { return OpenObjectKey(dek, 2, id(1), id(2), sealed) },
		"store":   func() (*secret.Key, error) { return OpenObjectKey(dek, 1, id(9), id(2), sealed) },
		"content": func() (*secret.Key, error) { return OpenObjectKey(dek, 1, id(1), id(9), sealed) },
		"swapped": func() (*secret.Key, error) { return OpenObjectKey(dek, 1, id(2), id(1), sealed) },
	} {
		if k, err := open(); !errors.Is(err, ErrWrongKey) || k != nil {
			t.Errorf("other %s: %v", name, err)
		}
	}
}

func TestChunkKeyIsBoundToItsPlace(t *testing.T) {
	oek := secret.Random()
	sealed := SealChunkKey(oek, id(2), id(3), secret.Random())
	for name, open := range map[string]func() (*secret.Key, error){
		"parent":  func() (*secret.Key, error) { return OpenChunkKey(secret.Random(), id(2), id(3), sealed) },
		"content": func() (*secret.Key, error) { return OpenChunkKey(oek, id(9), id(3), sealed) },
		"chunk":   func() (*secret.Key, error) { return OpenChunkKey(oek, id(2), id(9), sealed) },
	} {
		if k, err := open(); !errors.Is(err, ErrCorrupt) || k != nil {
			t.Errorf("other %s: %v", name, err)
		}
	}
}

func TestExtentKeyIsBoundToAllThatIsSaidOfTheExtent(t *testing.T) {
	chunk := secret.Random()
	sealed := SealExtentKey(chunk, testExtent, secret.Random())
	if k, err := OpenExtentKey(secret.Random(), testExtent, sealed); !errors.Is(err, ErrCorrupt) || k != nil {
		t.Errorf("other parent: %v", err)
	}
	for name, change := range map[string]func(*Extent){
		"chunk":  func(e *Extent) { e.ChunkID[15]++ },
		"extent": func(e *Extent) { e.ExtentID[0]++ },
		"length": func(e *Extent) { e.PlainLen++ },
		"base":   func(e *Extent) { e.Base[11] ^= 1 },
		"ids":    func(e *Extent) { e.ChunkID, e.ExtentID = e.ExtentID, e.ChunkID },
		"suite":  func(e *Extent) { e.Suite = SuiteTwoLayers },
	} {
		e := testExtent
		change(&e)
		if k, err := OpenExtentKey(chunk, e, sealed); !errors.Is(err, ErrCorrupt) || k != nil {
			t.Errorf("other %s: %v", name, err)
		}
	}
	for _, suite := range []Suite{0, 3, 255} {
		e := testExtent
		e.Suite = suite
		if k, err := OpenExtentKey(chunk, e, sealed); !errors.Is(err, ErrVersion) || k != nil {
			t.Errorf("suite %d: %v", suite, err)
		}
	}
}

func TestOneLevelDoesNotOpenAsAnother(t *testing.T) {
	// The same parent and the same ids at two levels.
	parent, k := secret.Random(), secret.Random()
	chunk := SealChunkKey(parent, id(1), id(1), k)
	if _, err := OpenExtentKey(parent, testExtent, chunk); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a chunk key opens as an extent key: %v", err)
	}
	fields := testExtent.binding().Fields
	if _, err := OpenKeyCompact(parent, Bind(domainChunkKey, fields...), SealExtentKey(parent, testExtent, k)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an extent key opens as a chunk key: %v", err)
	}
}

// knownSeals are seals of version 1, which open for ever. Parent is the key
// 00 01 .. 1f. They were checked against an implementation in another language.
var knownSeals = []struct {
	name, sealed, plain string
	open                func(parent *secret.Key, sealed []byte) ([]byte, error)
}{
	{"object key", "01011af08caa7ace9314ae81e07b968b08097f3fe68323edadbe6a727d86ed7f64c3bcacb109374d4f93d8f4375c1207e6fea101cd0d7c66cfed87ea9e7dd12602f3db103c2bb2dab286a222f1a515b88bf9ef1de31ceeb6d7f6c335ebff91ddabfd8905677f1f0401a452c6d51251c93804", string(pattern(32)),
		func(parent *secret.Key, sealed []byte) ([]byte, error) {
			return keyBytes(OpenObjectKey(parent, 1, id(1), id(2), sealed))
		}},
	{"chunk key", "0122dd067d8d770148fdd916959da00d372aa1a765d2fed7e2803bc72699876ed5d201879f7da2c227f07c944ed503d41443489d6c6b0015e06ebaff5e34b794a996d568046f3a1d9c859c6fc248aa7f91", string(pattern(32)),
		func(parent *secret.Key, sealed []byte) ([]byte, error) {
			return keyBytes(OpenChunkKey(parent, id(2), id(3), sealed))
		}},
	{"extent key", "01c90f50e3651d37e78c2e1621c09d8d6b35bb7a393d5ffd88a5587bcf2bfde7fa447536bf146459010e944aeb0eb352082130878165c61037736d7ef2543329ec4b18d3ee0a8e5adba69ce18b8d8b630f", string(pattern(32)),
		func(parent *secret.Key, sealed []byte) ([]byte, error) {
			return keyBytes(OpenExtentKey(parent, testExtent, sealed))
		}},
	{"bytes", "01017d0c4263fa5911dec5b424f20d99b190243fcfe00796a6db0494629c5ae28b33aaab66b945a3eacb887bd7e33ddcfae7a6056bb2e288a9a0de1c448b663c0ea49f0ffd78b34b1e62a7744d953a5e42898cc0b88eb1e6e5fb", "a secret",
		func(parent *secret.Key, sealed []byte) ([]byte, error) {
			return OpenBytes(parent, testBinding, sealed)
		}},
}

func TestKnownSeals(t *testing.T) {
	parent, _ := vectorKey(t)
	for _, v := range knownSeals {
		sealed, err := hex.DecodeString(v.sealed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.open(parent, sealed); err != nil || string(got) != v.plain {
			t.Errorf("%s: %x, %v", v.name, got, err)
		}
	}
	mac := MAC(parent, Bind(DomainSuperblock, []byte("store")), []byte("message"))
	if got := hex.EncodeToString(mac[:]); got != "255343a4de6b10f61916dbe53043f0a7bc7e566abf714e639334761cc58351e0" {
		t.Errorf("MAC = %s", got)
	}
}

// FuzzOpen checks that nothing opens but what was sealed, byte for byte.
func FuzzOpen(f *testing.F) {
	parent, _ := vectorKey(f)
	for _, v := range knownSeals {
		sealed, err := hex.DecodeString(v.sealed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed)
		f.Add(sealed[:len(sealed)-1])
	}
	f.Add([]byte{})
	f.Add([]byte{sealVersion, sealAlg})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		for _, v := range knownSeals {
			got, err := v.open(parent, sealed)
			if err == nil {
				if hex.EncodeToString(sealed) != v.sealed {
					t.Fatalf("%s opened what nobody sealed", v.name)
				}
				continue
			}
			known := errors.Is(err, ErrWrongKey) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion)
			if got != nil || !known {
				t.Fatalf("%s: %v", v.name, err)
			}
		}
	})
}
