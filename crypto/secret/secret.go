// Package secret holds key bytes that wipe themselves and never print.
package secret

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
)

// Size is the length of every key in bytes (256 bit).
const Size = 32

// processKey keys the fingerprints: they tell keys apart within one process
// and say nothing about the key to anyone else.
var processKey = func() (k [Size]byte) {
	// crypto/rand.Read never returns an error (Go 1.24).
	rand.Read(k[:])
	return k
}()

// Key is 256 bits of key material. The zero Key must not be used; make one
// with New, Random or Take, or make it one with Hold. A Key is wiped by Wipe, and by a
// finaliser when it was forgotten, but for one of Hold or HoldRandom. Methods may be
// called concurrently, Wipe may not run beside them.
type Key struct {
	b     [Size]byte
	wiped bool
	held  bool // by Hold or HoldRandom
	fresh atomic.Bool
}

// New copies b, which must have Size bytes.
func New(b []byte) (*Key, error) {
	if len(b) != Size {
		return nil, fmt.Errorf("secret: key has %d bytes, want %d", len(b), Size)
	}
	k := &Key{}
	copy(k.b[:], b)
	runtime.SetFinalizer(k, (*Key).Wipe)
	return k, nil
}

// Take is New, and wipes b.
func Take(b []byte) (*Key, error) {
	defer clear(b)
	return New(b)
}

// Hold makes the zero Key, which is part of something larger, the key b, and wipes
// b, which must have Size bytes. The caller must wipe k, whatever happens: no finaliser
// does it, since that would take more time than all else about a key. It panics if k is
// or was a key.
func (k *Key) Hold(b []byte) {
	defer clear(b)
	if len(b) != Size || k.held || k.wiped {
		panic("secret: a key of another size, or in the place of another one")
	}
	copy(k.b[:], b)
	k.held = true
}

// HoldRandom is Hold of a key that Random would make.
func (k *Key) HoldRandom() {
	if k.held || k.wiped {
		panic("secret: a key in the place of another one")
	}
	rand.Read(k.b[:])
	k.fresh.Store(true)
	k.held = true
}

// Random makes a key from the system's random source.
func Random() *Key {
	k := &Key{}
	rand.Read(k.b[:])
	k.fresh.Store(true)
	runtime.SetFinalizer(k, (*Key).Wipe)
	return k
}

// Clone returns a copy, to be wiped by itself.
func (k *Key) Clone() *Key {
	c, err := New(k.Bytes())
	if err != nil {
		panic("secret: a key has the size of a key: " + err.Error())
	}
	return c
}

// Spend reports whether k was made by Random and never spent before, and
// spends it. Whoever encrypts a stream under a key spends it first: so no key can
// encrypt two streams, and one that came out of storage none.
func (k *Key) Spend() bool {
	return k.fresh.CompareAndSwap(true, false)
}

// Bytes lends the key's bytes. They stay the Key's: the caller neither changes
// nor keeps them, and does not let k go before it is done (runtime.KeepAlive).
// Only crypto and kms may call it. It panics on a wiped key: using one would
// encrypt under zeroes.
func (k *Key) Bytes() []byte {
	if k.wiped {
		panic("secret: use of a wiped key")
	}
	return k.b[:]
}

// Wipe overwrites the key. It is idempotent.
func (k *Key) Wipe() {
	if k == nil {
		return
	}
	clear(k.b[:])
	k.wiped = true
}

// Equal compares in constant time.
func (k *Key) Equal(o *Key) bool {
	return subtle.ConstantTimeCompare(k.Bytes(), o.Bytes()) == 1
}

// Fingerprint tells keys of this process apart: it is keyed at random per
// process, so it cannot be used to test a guess.
func (k *Key) Fingerprint() string {
	if k == nil || k.wiped {
		return "wiped"
	}
	m := hmac.New(sha256.New, processKey[:])
	m.Write(k.b[:])
	return hex.EncodeToString(m.Sum(nil)[:6])
}

// String, GoString, Format and LogValue print the fingerprint, whatever the verb.
func (k *Key) String() string             { return "key:" + k.Fingerprint() }
func (k *Key) GoString() string           { return k.String() }
func (k *Key) Format(s fmt.State, _ rune) { fmt.Fprint(s, k.String()) }
func (k *Key) LogValue() slog.Value       { return slog.StringValue(k.String()) }

// MarshalText refuses: a key is never part of a document.
func (k *Key) MarshalText() ([]byte, error) {
	return nil, fmt.Errorf("secret: a key cannot be marshalled")
}
