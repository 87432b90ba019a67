package kms

import (
	"fmt"

	"github.com/cofferfs/coffer/crypto/secret"
)

// UnlockKind says what opens a keystore.
type UnlockKind uint8

// These values are on disk.
const (
	UnlockKeyFile    UnlockKind = 1
	UnlockPassphrase UnlockKind = 2
)

// String names the kind as a message to people would.
func (k UnlockKind) String() string {
	switch k {
	case UnlockKeyFile:
		return "key file"
	case UnlockPassphrase:
		return "passphrase"
	}
	return fmt.Sprintf("unlock kind %d", uint8(k))
}

// Unlocker opens a keystore: KeyFileUnlock or PassphraseUnlock.
type Unlocker interface {
	Kind() UnlockKind
	// params are what a new keystore's header says about this way to unlock.
	params() rootParams
	// root makes the keystore's root key. The caller wipes it.
	root(p rootParams) (*secret.Key, error)
}

// rootParams is the part of a keystore's header that leads from what a person
// holds to the root key. For a key file all of it is zero.
type rootParams struct {
	argon argonParams
	salt  [32]byte
}

type keyFileUnlock struct{ key *secret.Key }

// KeyFileUnlock unlocks with the key of a key file. It borrows key while it is
// used and does not wipe it.
func KeyFileUnlock(key *secret.Key) Unlocker { return keyFileUnlock{key} }

func (keyFileUnlock) Kind() UnlockKind   { return UnlockKeyFile }
func (keyFileUnlock) params() rootParams { return rootParams{} }

func (u keyFileUnlock) root(rootParams) (*secret.Key, error) {
	return secret.New(u.key.Bytes())
}
