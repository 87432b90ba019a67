package kms

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cofferfs/coffer/crypto/secret"
)

// The keystore, versions 1 and 2 (big endian):
//
//	  0   8  magic "COFFERKS"
//	  8   2  version
//	 10   1  unlock kind: 1 key file, 2 passphrase
//	 11   1  Argon2id threads, 1 to 16      \
//	 12   4  Argon2id memory in KiB         | all zero for a key file
//	 16   4  Argon2id passes, 1 to 16       |
//	 20  32  Argon2id salt                  /
//	 52  32  salt of this sealing, new at every change
//	 84  32  commitment to the key of this sealing
//	116   4  length of what follows the header
//	120  16  check: the first bytes of SHA-256 of bytes 0 to 119
//	136   n  ciphertext of the body, and its 16-byte tag
//
// The root key is the key file's, or Argon2id's of the passphrase. It and the
// salt of the sealing give the AES-256-GCM key and the commitment. The header
// is associated data. Its check has no key: it tells damage from a wrong key or
// passphrase for honest files, and an attacker who adjusts it gains a refusal
// with another name. An older keystore put in place of a newer one is whole and
// opens: it lacks later keys and versions, whose data keys are then not found.
//
// The body:
//
//	4  number of keys, at most maxKeys; then for each, in ascending order of names:
//	   1  length of the name, n name, 16 serial, 1 state
//	   8  time of creation, nanoseconds since 1970
//	   4  number of versions, 1 to maxVersions; 32 for each, oldest first
//	   and in version 2:
//	   8  time of deletion, nanoseconds since 1970; 0: none, as always unless
//	      the state is pending deletion
//	   1  number of aliases, at most maxAliases; for each, in ascending order,
//	      1 length, n alias, which no other key has
//
// Version 2 is written only for what version 1 cannot say, so that an older
// coffer opens all others.
const (
	keystoreMagic = "COFFERKS"
	keystoreV1    = 1
	keystoreV2    = 2

	offKind   = 10
	offSalt   = 52
	offCommit = 84
	offLength = 116
	offCheck  = 120
	headerLen = 136
	checkLen  = 16

	keystoreInfo = "coffer v1 kms keystore\x00"

	maxKeys     = 1 << 14
	maxVersions = 1 << 12
	maxAliases  = 50
	// maxBody bounds the body, in bytes: 16 MiB is some 200,000 versions.
	maxBody = 16 << 20
)

// ek is one external key. It is not changed once it is in a Builtin's map:
// a change makes another.
type ek struct {
	serial   [16]byte
	state    State
	created  time.Time
	versions []*secret.Key // version n is versions[n-1]
	deleteAt time.Time     // zero: no time is set
	aliases  []Alias       // ascending
}

type ekSet map[KeyID]*ek

func (s ekSet) wipe() {
	for _, e := range s {
		for _, k := range e.versions {
			k.Wipe()
		}
	}
}

// aliases is an index of the aliases of all keys.
func (s ekSet) aliases() map[Alias]KeyID {
	index := map[Alias]KeyID{}
	for id, e := range s {
		for _, a := range e.aliases {
			index[a] = id
		}
	}
	return index
}

// version is the oldest version of the keystore that can say what s holds.
func (s ekSet) version() uint16 {
	for _, e := range s {
		if !e.deleteAt.IsZero() || len(e.aliases) > 0 {
			return keystoreV2
		}
	}
	return keystoreV1
}

// sealKeystore returns the bytes of a keystore that holds set.
func sealKeystore(kind UnlockKind, p rootParams, root *secret.Key, set ekSet) ([]byte, error) {
	version := set.version()
	body, err := set.encode(version)
	if err != nil {
		return nil, err
	}
	defer clear(body)
	out := make([]byte, headerLen, headerLen+len(body)+tagSize)
	copy(out, keystoreMagic)
	binary.BigEndian.PutUint16(out[8:], version)
	out[offKind] = byte(kind)
	out[11] = p.argon.threads
	binary.BigEndian.PutUint32(out[12:], p.argon.memoryKiB)
	binary.BigEndian.PutUint32(out[16:], p.argon.passes)
	copy(out[20:], p.salt[:])
	rand.Read(out[offSalt:offCommit])
	s := newSealer(root, out[offSalt:offCommit], keystoreInfo+string(out[:offSalt]))
	defer clear(s[:])
	copy(out[offCommit:], s.commitment())
	binary.BigEndian.PutUint32(out[offLength:], uint32(len(body)+tagSize))
	check := sha256.Sum256(out[:offCheck])
	copy(out[offCheck:headerLen], check[:checkLen])
	return s.seal(out, body), nil
}

// parseHeader checks everything about b that needs no key.
// Errors: ErrCorrupt, ErrVersion.
func parseHeader(b []byte) (UnlockKind, rootParams, error) {
	var p rootParams
	if len(b) < 10 || string(b[:8]) != keystoreMagic {
		return 0, p, fmt.Errorf("not a keystore: %w", ErrCorrupt)
	}
	if v := binary.BigEndian.Uint16(b[8:]); v != keystoreV1 && v != keystoreV2 {
		return 0, p, fmt.Errorf("keystore has version %d, this build knows %d and %d: %w", v, keystoreV1, keystoreV2, ErrVersion)
	}
	if len(b) < headerLen+tagSize || len(b) > headerLen+maxBody+tagSize {
		return 0, p, fmt.Errorf("keystore of %d bytes: %w", len(b), ErrCorrupt)
	}
	check := sha256.Sum256(b[:offCheck])
	if !bytes.Equal(check[:checkLen], b[offCheck:headerLen]) {
		return 0, p, fmt.Errorf("keystore header: %w", ErrCorrupt)
	}
	if int64(binary.BigEndian.Uint32(b[offLength:])) != int64(len(b)-headerLen) {
		return 0, p, fmt.Errorf("keystore is cut or has bytes after its end: %w", ErrCorrupt)
	}
	kind := UnlockKind(b[offKind])
	p.argon.threads = b[11]
	p.argon.memoryKiB = binary.BigEndian.Uint32(b[12:])
	p.argon.passes = binary.BigEndian.Uint32(b[16:])
	copy(p.salt[:], b[20:])
	switch {
	case kind == UnlockKeyFile && p == rootParams{}:
	case kind == UnlockPassphrase && p.argon.valid():
	case kind == UnlockKeyFile, kind == UnlockPassphrase:
		return 0, p, fmt.Errorf("keystore header has parameters out of range: %w", ErrCorrupt)
	default:
		return 0, p, fmt.Errorf("keystore wants unlock kind %d: %w", kind, ErrVersion)
	}
	return kind, p, nil
}

// openBody opens the body of a keystore whose header parseHeader accepted.
// Errors: ErrWrongKey, ErrCorrupt.
func openBody(b []byte, root *secret.Key) (ekSet, error) {
	s := newSealer(root, b[offSalt:offCommit], keystoreInfo+string(b[:offSalt]))
	defer clear(s[:])
	body, err := s.open(b[offCommit:offLength], b[:headerLen], b[headerLen:])
	if errors.Is(err, errCommitment) {
		return nil, ErrWrongKey
	}
	if err != nil {
		return nil, fmt.Errorf("keystore body: %w", ErrCorrupt)
	}
	defer clear(body)
	set, err := parseBody(body, binary.BigEndian.Uint16(b[8:]))
	if err != nil {
		set.wipe()
		return nil, err
	}
	return set, nil
}

// encode writes the body of a version. Error: ErrFull.
func (s ekSet) encode(version uint16) ([]byte, error) {
	size := 4
	for id, e := range s {
		size += 1 + len(id) + 16 + 1 + 8 + 4 + secret.Size*len(e.versions) + 8 + 1
		for _, a := range e.aliases {
			size += 1 + len(a)
		}
		if len(e.versions) > maxVersions {
			return nil, fmt.Errorf("key %q has %d versions: %w", id, len(e.versions), ErrFull)
		}
	}
	if len(s) > maxKeys || size > maxBody {
		return nil, ErrFull
	}
	out := make([]byte, 0, size)
	out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
	for _, id := range slices.Sorted(maps.Keys(s)) {
		e := s[id]
		out = append(out, byte(len(id)))
		out = append(out, id...)
		out = append(out, e.serial[:]...)
		out = append(out, byte(e.state))
		out = binary.BigEndian.AppendUint64(out, uint64(e.created.UnixNano()))
		out = binary.BigEndian.AppendUint32(out, uint32(len(e.versions)))
		for _, k := range e.versions {
			out = append(out, k.Bytes()...)
		}
		if version >= keystoreV2 {
			out = e.appendV2(out)
		}
	}
	return out, nil
}

// appendV2 writes what version 2 adds to a key.
func (e *ek) appendV2(out []byte) []byte {
	at := uint64(0)
	if !e.deleteAt.IsZero() {
		at = uint64(e.deleteAt.UnixNano())
	}
	out = binary.BigEndian.AppendUint64(out, at)
	out = append(out, byte(len(e.aliases)))
	for _, a := range e.aliases {
		out = append(out, byte(len(a)))
		out = append(out, a...)
	}
	return out
}

// parseBody reads what encode wrote, and nothing else. Error: ErrCorrupt; the
// keys read so far are returned with it, to be wiped.
func parseBody(b []byte, version uint16) (ekSet, error) {
	set, aliases := ekSet{}, map[Alias]bool{}
	bad := func(what string) (ekSet, error) {
		return set, fmt.Errorf("keystore body: %s: %w", what, ErrCorrupt)
	}
	take := func(n int) []byte {
		if n > len(b) {
			return nil
		}
		part := b[:n]
		b = b[n:]
		return part
	}
	head := take(4)
	if head == nil || binary.BigEndian.Uint32(head) > maxKeys {
		return bad("number of keys")
	}
	last := KeyID("")
	for range binary.BigEndian.Uint32(head) {
		n := take(1)
		if n == nil {
			return bad("cut")
		}
		name := take(int(n[0]))
		fixed := take(16 + 1 + 8 + 4)
		if name == nil || fixed == nil {
			return bad("cut")
		}
		id := KeyID(name)
		if id.Validate() != nil || id <= last {
			return bad("names")
		}
		last = id
		e := &ek{
			serial:  [16]byte(fixed),
			state:   State(fixed[16]),
			created: time.Unix(0, int64(binary.BigEndian.Uint64(fixed[17:]))).UTC(),
		}
		if e.state < StateEnabled || e.state > StatePendingDeletion {
			return bad("state")
		}
		versions := binary.BigEndian.Uint32(fixed[25:])
		if versions == 0 || versions > maxVersions {
			return bad("number of versions")
		}
		set[id] = e
		for range versions {
			k, err := secret.New(take(secret.Size))
			if err != nil {
				return bad("cut")
			}
			e.versions = append(e.versions, k)
		}
		if version < keystoreV2 {
			continue
		}
		if what := e.parseV2(take, aliases); what != "" {
			return bad(what)
		}
	}
	if len(b) != 0 {
		return bad("bytes after its end")
	}
	return set, nil
}

// parseV2 reads what appendV2 wrote, with aliases that are not in taken, and
// puts them there. It returns what is wrong, or "".
func (e *ek) parseV2(take func(int) []byte, taken map[Alias]bool) string {
	fixed := take(8 + 1)
	if fixed == nil {
		return "cut"
	}
	if at := binary.BigEndian.Uint64(fixed); at != 0 {
		e.deleteAt = time.Unix(0, int64(at)).UTC()
		if e.state != StatePendingDeletion {
			return "time of deletion"
		}
	}
	if fixed[8] > maxAliases {
		return "number of aliases"
	}
	for range fixed[8] {
		n := take(1)
		if n == nil {
			return "cut"
		}
		text := take(int(n[0]))
		if text == nil {
			return "cut"
		}
		a := Alias(text)
		if a.Validate() != nil || taken[a] || len(e.aliases) > 0 && a <= e.aliases[len(e.aliases)-1] {
			return "aliases"
		}
		taken[a] = true
		e.aliases = append(e.aliases, a)
	}
	return ""
}
