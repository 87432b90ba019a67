package record

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func testMAC(body []byte) [32]byte {
	m := hmac.New(sha256.New, []byte("k"))
	m.Write(body)
	return [32]byte(m.Sum(nil))
}

func testSuperblock() *Superblock {
	return &Superblock{
		StoreID: [16]byte{1, 2, 3}, Initialised: true, Epoch: 7, Created: 1234567890,
		Keys: []StoreKey{{ID: 9, Sealed: []byte("sealed key")}, {ID: 8, Sealed: []byte("x")}},
	}
}

func TestSuperblockComesBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Superblock{
			StoreID:     [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")),
			Initialised: rapid.Bool().Draw(t, "init"),
			Epoch:       rapid.Uint64().Draw(t, "epoch"),
		}
		for i := range rapid.IntRange(1, MaxStoreKeys).Draw(t, "keys") {
			s.Keys = append(s.Keys, StoreKey{ID: uint32(i), Sealed: rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "sealed")})
		}
		b := AppendSuperblock([]byte("before"), s, testMAC)[6:]
		got, body, mac, err := ParseSuperblock(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Fatalf("got %+v, want %+v", got, s)
		}
		if want := testMAC(body); !bytes.Equal(mac, want[:]) {
			t.Fatal("the MAC does not cover the body")
		}
	})
}

func TestSuperblockDetectsEveryFlippedBit(t *testing.T) {
	b := AppendSuperblock(nil, testSuperblock(), testMAC)
	for i := range len(b) * 8 {
		c := bytes.Clone(b)
		c[i/8] ^= 1 << (i % 8)
		_, _, _, err := ParseSuperblock(c)
		var newer *NewerFormatError
		if !errors.Is(err, ErrSuperblock) && !errors.As(err, &newer) {
			t.Fatalf("bit %d of byte %d: %v", i%8, i/8, err)
		}
	}
}

func TestSuperblockDetectsEveryCut(t *testing.T) {
	b := AppendSuperblock(nil, testSuperblock(), testMAC)
	for n := range b {
		if _, _, _, err := ParseSuperblock(b[:n]); !errors.Is(err, ErrSuperblock) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, _, _, err := ParseSuperblock(append(bytes.Clone(b), 0)); !errors.Is(err, ErrSuperblock) {
		t.Fatalf("a byte too many: %v", err)
	}
}

func TestSuperblockOfNewerVersionIsNamed(t *testing.T) {
	b := AppendSuperblock(nil, testSuperblock(), testMAC)
	binary.BigEndian.PutUint16(b[8:], FormatVersion+1)
	_, _, _, err := ParseSuperblock(b)
	var newer *NewerFormatError
	if !errors.As(err, &newer) || newer.Version != FormatVersion+1 {
		t.Fatalf("got %v", err)
	}
}

func FuzzParseSuperblock(f *testing.F) {
	f.Add(AppendSuperblock(nil, testSuperblock(), testMAC))
	f.Add([]byte(superblockMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, body, mac, err := ParseSuperblock(b)
		if err != nil {
			return
		}
		again := AppendSuperblock(nil, s, func(p []byte) [32]byte {
			if !bytes.Equal(p, body) {
				t.Fatal("another body")
			}
			return [32]byte(mac)
		})
		if !bytes.Equal(again, b) {
			t.Fatal("two encodings of one superblock")
		}
	})
}
