package kms

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/cofferfs/coffer/crypto/secret"
)

// FuzzOpenKeystore checks that nothing opens but what was saved, byte for byte.
func FuzzOpenKeystore(f *testing.F) {
	key, good := knownStore(f)
	f.Add(good)
	f.Add(good[:headerLen])
	f.Add(keystoreBytes(f, cheap("p")))
	f.Add([]byte(keystoreMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := OpenKeystore(b, KeyFileUnlock(key), noSave)
		if err == nil {
			if !bytes.Equal(b, good) {
				t.Fatal("opened what nobody saved")
			}
			s.Close()
			return
		}
		if s != nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrWrongKey) && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
	})
}

// FuzzParseBody reaches what lies behind the seal.
func FuzzParseBody(f *testing.F) {
	for _, set := range []ekSet{
		{},
		{"a": {state: StateEnabled, created: time.Unix(1, 2), versions: []*secret.Key{secret.Random()}}},
		{
			"a": {state: StateDisabled, versions: []*secret.Key{secret.Random(), secret.Random()}},
			"b": {state: StatePendingDeletion, versions: []*secret.Key{secret.Random()}},
		},
		{"a": {state: StatePendingDeletion, deleteAt: past, aliases: []Alias{"p", "q/r"}, versions: []*secret.Key{secret.Random()}}},
	} {
		for _, version := range []uint16{keystoreV1, keystoreV2} {
			b, err := set.encode(version)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, version == keystoreV2)
		}
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, true)
	f.Fuzz(func(t *testing.T, b []byte, second bool) {
		version := uint16(keystoreV1)
		if second {
			version = keystoreV2
		}
		set, err := parseBody(b, version)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if again, err := set.encode(version); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("does not round-trip: %v", err)
		}
	})
}

// FuzzDecrypt checks that nothing unseals but what was sealed, byte for byte.
func FuzzDecrypt(f *testing.F) {
	key, keystore := knownStore(f)
	s, err := OpenKeystore(keystore, KeyFileUnlock(key), noSave)
	if err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile("testdata/v1.datakey")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:dataKeyFixed])
	f.Add([]byte{dataKeyVersion, dataKeyAlg})
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := s.Decrypt(t.Context(), b, Context{"purpose": "test", "store": "x"})
		if (err == nil) != bytes.Equal(b, good) || (k == nil) == (err == nil) {
			t.Fatalf("%v", err)
		}
	})
}
