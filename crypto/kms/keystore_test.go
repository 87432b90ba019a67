package kms

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cofferfs/coffer/crypto/secret"
)

// cheap is a passphrase that takes no time.
func cheap(passphrase string) Unlocker {
	return passphraseUnlock{[]byte(passphrase), argonParams{memoryKiB: 8, passes: 1, threads: 1}}
}

var (
	bg   = context.Background()
	past = time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
)

func noSave([]byte) error { return errors.New("not to be saved") }

// keystoreBytes makes a keystore with the EKs "a" (three versions) and "b"
// (disabled).
func keystoreBytes(t testing.TB, u Unlocker) []byte {
	t.Helper()
	var saved []byte
	b, err := NewKeystore(u, func(p []byte) error { saved = p; return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := errors.Join(b.Create(bg, "a"), b.Rotate(bg, "a"), b.Rotate(bg, "a"), b.Create(bg, "b"), b.Disable(bg, "b")); err != nil {
		t.Fatal(err)
	}
	return saved
}

func refusedStore(t *testing.T, what string, b []byte, u Unlocker, want ...error) {
	t.Helper()
	s, err := OpenKeystore(b, u, noSave)
	if s != nil {
		t.Fatalf("%s: opened", what)
	}
	if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
}

// recheck gives a changed header its check again, as an attacker would.
func recheck(b []byte) []byte {
	sum := sha256.Sum256(b[:offCheck])
	copy(b[offCheck:headerLen], sum[:checkLen])
	return b
}

func TestWrongKeyIsToldFromDamage(t *testing.T) {
	key := secret.Random()
	for _, test := range []struct{ right, wrong, kind Unlocker }{
		{KeyFileUnlock(key), KeyFileUnlock(secret.Random()), cheap("x")},
		{cheap("open sesame"), cheap("open sesame "), KeyFileUnlock(key)},
	} {
		b := keystoreBytes(t, test.right)
		if kind, err := KeystoreUnlockKind(b); err != nil || kind != test.right.Kind() {
			t.Fatalf("KeystoreUnlockKind = %v, %v", kind, err)
		}
		refusedStore(t, "wrong key", b, test.wrong, ErrWrongKey)
		refusedStore(t, "wrong kind", b, test.kind, ErrWrongKey)
		for i := range b {
			for bit := range 8 {
				c := bytes.Clone(b)
				c[i] ^= 1 << bit
				want := ErrCorrupt
				if i == 8 || i == 9 {
					want = ErrVersion
				}
				refusedStore(t, fmt.Sprintf("byte %d, bit %d", i, bit), c, test.right, want)
			}
		}
		for n := range b {
			refusedStore(t, fmt.Sprint("cut to ", n), b[:n], test.right, ErrCorrupt)
		}
		refusedStore(t, "longer", append(bytes.Clone(b), 0), test.right, ErrCorrupt)
		if s, err := OpenKeystore(b, test.right, noSave); err != nil {
			t.Fatal(err)
		} else {
			s.Close()
		}
	}
}

func TestForgedHeaderNeverOpens(t *testing.T) {
	key := secret.Random()
	b := keystoreBytes(t, cheap("p"))
	for i := offKind; i < offCheck; i++ {
		c := bytes.Clone(b)
		c[i] ^= 1
		// Costs that the forger asks for are not worth waiting for.
		if _, p, err := parseHeader(recheck(c)); err == nil && (p.argon.memoryKiB > 1<<12 || p.argon.passes > 4) {
			continue
		}
		refusedStore(t, fmt.Sprint("byte ", i), c, cheap("p"), ErrCorrupt, ErrWrongKey, ErrVersion)
	}
	// A body from another keystore of the same key, or from an older state of
	// this one, does not fit another header.
	x, y := keystoreBytes(t, KeyFileUnlock(key)), keystoreBytes(t, KeyFileUnlock(key))
	refusedStore(t, "body swapped", append(bytes.Clone(x[:headerLen]), y[headerLen:]...), KeyFileUnlock(key), ErrCorrupt)
}

func TestHeaderBoundsWhatItAsksFor(t *testing.T) {
	b := keystoreBytes(t, cheap("p"))
	set := func(off int, v uint32) func([]byte) {
		return func(b []byte) { binary.BigEndian.PutUint32(b[off:], v) }
	}
	for name, change := range map[string]func([]byte){
		"no threads":     func(b []byte) { b[11] = 0 },
		"17 threads":     func(b []byte) { b[11] = 17 },
		"no memory":      set(12, 0),
		"7 KiB":          set(12, 7),
		"over 1 GiB":     set(12, 1<<20+1),
		"4 TiB":          set(12, 1<<32-1),
		"no passes":      set(16, 0),
		"17 passes":      set(16, 17),
		"endless passes": set(16, 1<<32-1),
		"key file kind":  func(b []byte) { b[offKind] = byte(UnlockKeyFile) },
		"length":         set(offLength, 1<<32-1),
	} {
		c := bytes.Clone(b)
		change(c)
		if _, err := KeystoreUnlockKind(recheck(c)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		refusedStore(t, name, c, cheap("p"), ErrCorrupt)
	}
	for _, kind := range []byte{0, 3, 255} {
		c := bytes.Clone(b)
		c[offKind] = kind
		if _, err := KeystoreUnlockKind(recheck(c)); !errors.Is(err, ErrVersion) {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
	for _, p := range []argonParams{{8, 1, 1}, {128, 1, 16}, {1 << 20, 16, 16}, defaultArgon} {
		if !p.valid() {
			t.Errorf("%+v is refused", p)
		}
	}
	big := append(bytes.Clone(b), make([]byte, maxBody)...)
	binary.BigEndian.PutUint32(big[offLength:], uint32(len(big)-headerLen))
	if _, err := KeystoreUnlockKind(recheck(big)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("larger than any keystore: %v", err)
	}
}

func TestEverySaveIsSealedAnew(t *testing.T) {
	key := secret.Random()
	var saves [][]byte
	b, err := NewKeystore(KeyFileUnlock(key), func(p []byte) error { saves = append(saves, p); return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := errors.Join(b.Create(bg, "a"), b.Disable(bg, "a"), b.Disable(bg, "a")); err != nil {
		t.Fatal(err)
	}
	for i, x := range saves {
		for _, y := range saves[:i] {
			if bytes.Equal(x[offSalt:offCommit], y[offSalt:offCommit]) {
				t.Error("two saves share a salt")
			}
		}
		if bytes.Contains(x, key.Bytes()[:8]) || bytes.Contains(x, b.keys["a"].versions[0].Bytes()[:8]) {
			t.Error("a key in the clear")
		}
	}
}

func TestChangeOfUnlock(t *testing.T) {
	oldKey, newKey := secret.Random(), secret.Random()
	var saved []byte
	b, err := NewKeystore(KeyFileUnlock(oldKey), func(p []byte) error { saved = p; return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Create(bg, "a"); err != nil {
		t.Fatal(err)
	}
	dk, err := b.GenerateDataKey(t.Context(), "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	last := Unlocker(KeyFileUnlock(oldKey))
	for _, u := range []Unlocker{KeyFileUnlock(newKey), cheap("one"), cheap("two"), KeyFileUnlock(oldKey)} {
		if err := b.ChangeUnlock(u); err != nil {
			t.Fatal(err)
		}
		refusedStore(t, "former unlock", saved, last, ErrWrongKey)
		again, err := OpenKeystore(saved, u, noSave)
		if err != nil {
			t.Fatal(err)
		}
		if k, err := again.Decrypt(t.Context(), dk.Sealed, nil); err != nil || !k.Equal(dk.Plain) {
			t.Fatal(err)
		}
		again.Close()
		last = u
		if err := b.Rotate(bg, "a"); err != nil { // later saves are under the new one
			t.Fatal(err)
		}
	}
}

func TestPassphraseOfNoOrTooManyBytesIsRefused(t *testing.T) {
	for _, n := range []int{0, MaxPassphrase + 1} {
		if b, err := NewKeystore(cheap(string(make([]byte, n))), noSave); err == nil || b != nil {
			t.Errorf("%d bytes are taken", n)
		}
	}
}

func TestBodyIsReadOneWayOnly(t *testing.T) {
	one := func(name string, state State, versions int) []byte {
		b, err := ekSet{KeyID(name): {state: state, versions: slices.Repeat([]*secret.Key{secret.Random()}, versions)}}.encode(keystoreV1)
		if err != nil {
			t.Fatal(err)
		}
		return b[4:]
	}
	body := func(count uint32, keys ...[]byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, count), bytes.Join(keys, nil)...)
	}
	a, b := one("a", StateEnabled, 2), one("b", StateDisabled, 1)
	if set, err := parseBody(body(2, a, b), keystoreV1); err != nil || len(set) != 2 {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"bytes after its end": body(2, a, b, []byte{0}),
		"key after its end":   body(1, a, b),
		"key missing":         body(3, a, b),
		"wrong order":         body(2, b, a),
		"same name":           body(2, a, a),
		"no name":             body(1, one("", StateEnabled, 1)),
		"bad name":            body(1, one("a/b", StateEnabled, 1)),
		"state 0":             body(1, one("a", 0, 1)),
		"state 4":             body(1, one("a", 4, 1)),
		"no version":          body(1, one("a", StateEnabled, 0)),
		"count":               body(maxKeys+1, a),
	} {
		if _, err := parseBody(bad, keystoreV1); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	whole := body(2, a, b)
	for n := range whole {
		if _, err := parseBody(whole[:n], keystoreV1); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
}

func TestBodyOfVersion2IsReadOneWayOnly(t *testing.T) {
	make := func(name KeyID, e ek) []byte {
		e.versions = []*secret.Key{secret.Random()}
		b, err := ekSet{name: &e}.encode(keystoreV2)
		if err != nil {
			t.Fatal(err)
		}
		return b[4:]
	}
	body := func(count uint32, keys ...[]byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, count), bytes.Join(keys, nil)...)
	}
	a := make("a", ek{state: StatePendingDeletion, deleteAt: past, aliases: []Alias{"p", "q"}})
	b := make("b", ek{state: StateEnabled})
	whole := body(2, a, b)
	set, err := parseBody(whole, keystoreV2)
	if err != nil || !set["a"].deleteAt.Equal(past) || !slices.Equal(set["a"].aliases, []Alias{"p", "q"}) || !set["b"].deleteAt.IsZero() {
		t.Fatal(set, err)
	}
	var many []Alias
	for i := range maxAliases + 1 {
		many = append(many, Alias(fmt.Sprintf("a%03d", i)))
	}
	if _, err := parseBody(body(1, make("a", ek{state: StateEnabled, aliases: many[:maxAliases]})), keystoreV2); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string][]byte{
		"version 1":              body(1, a[:len(a)-13]),
		"enabled, yet to delete": body(1, make("a", ek{state: StateEnabled, deleteAt: past})),
		"aliases out of order":   body(1, make("a", ek{state: StateEnabled, aliases: []Alias{"q", "p"}})),
		"alias twice":            body(1, make("a", ek{state: StateEnabled, aliases: []Alias{"p", "p"}})),
		"alias of two keys":      body(2, a, make("b", ek{state: StateEnabled, aliases: []Alias{"q"}})),
		"alias of no bytes":      body(1, make("a", ek{state: StateEnabled, aliases: []Alias{""}})),
		"bad alias":              body(1, make("a", ek{state: StateEnabled, aliases: []Alias{"x y"}})),
		"too many aliases":       body(1, make("a", ek{state: StateEnabled, aliases: many})),
	} {
		if _, err := parseBody(bad, keystoreV2); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range whole {
		if _, err := parseBody(whole[:n], keystoreV2); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
}

func TestErasedAndClosedKeysAreWiped(t *testing.T) {
	b, err := NewKeystore(KeyFileUnlock(secret.Random()), func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Create(bg, "a"), b.Rotate(bg, "a"), b.Create(bg, "b"), b.ScheduleDeletion(bg, "a", past)); err != nil {
		t.Fatal(err)
	}
	root, other := b.root, b.keys["b"].versions
	erased := b.keys["a"].versions
	if err := b.erase("a", func(*ek) bool { return true }); err != nil {
		t.Fatal(err)
	}
	wiped := func(keys ...*secret.Key) bool {
		return !slices.ContainsFunc(keys, func(k *secret.Key) bool { return k.String() != "key:wiped" })
	}
	if !wiped(erased...) || wiped(other...) {
		t.Error("Erase left keys, or wiped others")
	}
	if err := b.ChangeUnlock(KeyFileUnlock(secret.Random())); err != nil {
		t.Fatal(err)
	}
	if !wiped(root) {
		t.Error("ChangeUnlock left the former root key")
	}
	root = b.root
	b.Close()
	if !wiped(append(other, root)...) {
		t.Error("Close left keys")
	}
}

func TestFullKeystoreRefusesMore(t *testing.T) {
	key := secret.Random()
	versions := slices.Repeat([]*secret.Key{key}, maxVersions)
	set := ekSet{"a": {state: StateEnabled, versions: versions}}
	if _, err := set.encode(keystoreV1); err != nil {
		t.Fatal(err)
	}
	set["a"].versions = append(versions, key)
	if _, err := set.encode(keystoreV1); !errors.Is(err, ErrFull) {
		t.Errorf("one version more: %v", err)
	}
	set["a"].versions = versions
	for i := range maxBody / (maxVersions * secret.Size) {
		set[KeyID(fmt.Sprint("k", i))] = set["a"]
	}
	if _, err := set.encode(keystoreV1); !errors.Is(err, ErrFull) {
		t.Errorf("more bytes: %v", err)
	}
	set = ekSet{}
	for i := range maxKeys + 1 {
		set[KeyID(fmt.Sprint(i))] = &ek{state: StateEnabled, versions: []*secret.Key{key}}
	}
	if _, err := set.encode(keystoreV1); !errors.Is(err, ErrFull) {
		t.Errorf("more keys: %v", err)
	}
}

// TestKnownKeystores opens keystores of version 1 for ever.
func TestKnownKeystores(t *testing.T) {
	key, _ := knownStore(t)
	sealed, err := os.ReadFile("testdata/v1.datakey")
	if err != nil {
		t.Fatal(err)
	}
	for name, u := range map[string]Unlocker{
		"testdata/v1.keyfile.keystore":    KeyFileUnlock(key),
		"testdata/v1.passphrase.keystore": PassphraseUnlock([]byte("correct horse battery staple")),
	} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := OpenKeystore(b, u, noSave)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		created := time.Date(2026, 11, 20, 12, 0, 0, 42, time.UTC)
		want := []KeyInfo{
			{ID: "bucket-1", State: StateEnabled, Versions: 3, Created: created},
			{ID: "old", State: StatePendingDeletion, Versions: 1, Created: created},
			{ID: "store", State: StateEnabled, Versions: 1, Created: created},
		}
		if got, err := s.List(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		k, err := s.Decrypt(t.Context(), sealed, Context{"purpose": "test", "store": "x"})
		if err != nil || !bytes.Equal(k.Bytes(), bytes.Repeat([]byte{0x42}, 32)) {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
}

// TestKnownKeystoreOfVersion2 opens a keystore of version 2 for ever.
func TestKnownKeystoreOfVersion2(t *testing.T) {
	key, _ := knownStore(t)
	b, err := os.ReadFile("testdata/v2.keyfile.keystore")
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenKeystore(b, KeyFileUnlock(key), noSave)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first := time.Date(2026, 11, 20, 12, 0, 0, 42, time.UTC)
	then := time.Date(2026, 11, 21, 12, 0, 0, 42, time.UTC)
	want := []KeyInfo{
		{ID: "aws-s3", State: StateEnabled, Versions: 1, Created: then, Aliases: []Alias{ManagedS3}},
		{ID: "bucket-1", State: StateEnabled, Versions: 3, Created: first},
		{ID: "old", State: StatePendingDeletion, Versions: 1, Created: first},
		{
			ID: "photos", State: StatePendingDeletion, Versions: 1, Created: then,
			DeleteAt: time.Date(2026, 12, 21, 12, 0, 0, 7, time.UTC), Aliases: []Alias{"2026/photos", "photos"},
		},
		{ID: "store", State: StateEnabled, Versions: 1, Created: first},
	}
	if got, err := s.List(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if k, err := s.Resolve(t.Context(), Ref{Alias: "2026/photos"}); err != nil || k.ID != "photos" {
		t.Errorf("%v, %v", k, err)
	}
}

// knownStore reads the keystore of version 1 that a key file opens.
func knownStore(t testing.TB) (*secret.Key, []byte) {
	t.Helper()
	text, err := os.ReadFile("testdata/v1.keyfile")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKeyFile(text)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("testdata/v1.keyfile.keystore")
	if err != nil {
		t.Fatal(err)
	}
	return key, b
}
