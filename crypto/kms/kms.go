// Package kms is the contract of a key service: it holds external keys (EK)
// that never leave it, makes data keys (DEK) under them, and unseals those.
//
// Drivers: the built-in keystore (Builtin). Every driver passes kmstest.
//
// Formats on disk: the keystore in keystore.go, its sealed data keys in
// datakey.go, key files in keyfile.go. Each begins with its version.
package kms

import (
	"context"
	"time"

	"github.com/cofferfs/coffer/crypto/secret"
)

// KeyID names an EK: 1 to 128 bytes of [A-Za-z0-9._-], not starting with a
// dot. The same name can have several versions.
type KeyID string

// Validate returns ErrBadID for anything but a name as described above.
func (id KeyID) Validate() error {
	if len(id) == 0 || len(id) > 128 || id[0] == '.' {
		return ErrBadID
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return ErrBadID
		}
	}
	return nil
}

// Context is authenticated with a sealed data key: unsealing needs the very
// same pairs. Keys and values are arbitrary strings.
type Context map[string]string

// DataKey is a fresh data key together with its sealed form.
// The caller owns Plain and wipes it.
type DataKey struct {
	Plain   *secret.Key
	Sealed  []byte // opaque to everyone but the key service
	KeyID   KeyID
	Version uint32
}

// State is what an EK may be used for.
type State uint8

// These values are on disk.
const (
	StateEnabled         State = 1
	StateDisabled        State = 2 // neither makes nor unseals
	StatePendingDeletion State = 3 // as disabled, until it is erased
)

// KeyInfo describes an EK without its bytes.
type KeyInfo struct {
	ID       KeyID
	State    State
	Versions uint32 // newest version; the first is 1
	Created  time.Time
}

// Service is a key service. All methods may be called concurrently.
type Service interface {
	// GenerateDataKey makes a random 256-bit key and seals it under the newest
	// version of id. Errors: ErrNotFound, ErrDisabled, ErrPendingDeletion,
	// ErrUnavailable.
	GenerateDataKey(ctx context.Context, id KeyID, kc Context) (DataKey, error)
	// Decrypt unseals what GenerateDataKey sealed. Errors: those above, and
	// ErrTampered when sealed or kc is not what it was (or ErrNotFound, when
	// the damage makes it name a key that is not there), and ErrVersion. The
	// caller owns the returned key and wipes it.
	Decrypt(ctx context.Context, sealed []byte, kc Context) (*secret.Key, error)
	// Describe returns one EK. Errors: ErrNotFound, ErrUnavailable.
	Describe(ctx context.Context, id KeyID) (KeyInfo, error)
	// Close wipes what is held in memory. It is idempotent.
	Close() error
}
