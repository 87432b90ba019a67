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

// The keystore, version 1 (big endian):
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
const (
	keystoreMagic   = "COFFERKS"
	keystoreVersion = 1

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
}

type ekSet map[KeyID]*ek

func (s ekSet) wipe() {
	for _, e := range s {
		for _, k := range e.versions {
			k.Wipe()
		}
	}
}

// sealKeystore returns the bytes of a keystore that holds set.
func sealKeystore(kind UnlockKind, p rootParams, root *secret.Key, set ekSet) ([]byte, error) {
	body, err := set.encode()
	if err != nil {
		return nil, err
	}
	defer clear(body)
	out := make([]byte, headerLen, headerLen+len(body)+tagSize)
	copy(out, keystoreMagic)
	binary.BigEndian.PutUint16(out[8:], keystoreVersion)
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
	if v := binary.BigEndian.Uint16(b[8:]); v != keystoreVersion {
		return 0, p, fmt.Errorf("keystore has version %d, this build knows %d: %w", v, keystoreVersion, ErrVersion)
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
	set, err := parseBody(body)
	if err != nil {
		set.wipe()
		return nil, err
	}
	return set, nil
}

// encode writes the body. Error: ErrFull.
func (s ekSet) encode() ([]byte, error) {
	size := 4
	for id, e := range s {
		size += 1 + len(id) + 16 + 1 + 8 + 4 + secret.Size*len(e.versions)
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
	}
	return out, nil
}

// parseBody reads what encode wrote, and nothing else. Error: ErrCorrupt; the
// keys read so far are returned with it, to be wiped.
func parseBody(b []byte) (ekSet, error) {
	set := ekSet{}
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
	}
	if len(b) != 0 {
		return bad("bytes after its end")
	}
	return set, nil
}
