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
	"fmt"
	"slices"
	"time"

	"github.com/cofferfs/coffer/crypto/secret"
)

// KeyID names an EK: 1 to 128 bytes of [A-Za-z0-9._-], not starting with a
// dot. The same name can have several versions. Names that begin with "aws-"
// are of keys that the service makes itself.
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

// String names the state as a message to people and AWS would.
func (s State) String() string {
	switch s {
	case StateEnabled:
		return "enabled"
	case StateDisabled:
		return "disabled"
	case StatePendingDeletion:
		return "pending deletion"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// KeyInfo describes an EK without its bytes.
type KeyInfo struct {
	ID       KeyID
	State    State
	Versions uint32 // newest version; the first is 1
	Created  time.Time
	// DeleteAt is when an EK that waits for its deletion is erased; zero: never,
	// unless it is erased by hand.
	DeleteAt time.Time
	Aliases  []Alias // in ascending order
}

// IsManaged reports whether the service made the key by itself.
func (k *KeyInfo) IsManaged() bool { return slices.ContainsFunc(k.Aliases, Alias.IsManaged) }

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
	// Resolve returns the EK that r names, whatever its state. That of the alias
	// ManagedS3 is made if it is missing. Errors: as Describe, and what keeps the
	// managed key from being made.
	Resolve(ctx context.Context, r Ref) (KeyInfo, error)
	// Close wipes what is held in memory. It is idempotent.
	Close() error
}

// Grace periods of deletions, as AWS KMS has them.
const (
	MinGrace     = 7 * 24 * time.Hour
	MaxGrace     = 30 * 24 * time.Hour
	DefaultGrace = 30 * 24 * time.Hour
)

// Admin is what a key service offers besides, whose keys are managed through
// coffer: an optional interface. Of a key that the service made itself (see
// ManagedS3), Rotate alone can be asked; the others return ErrManaged.
type Admin interface {
	Service
	// List returns all keys in the order of their names. Error: ErrUnavailable.
	List(ctx context.Context) ([]KeyInfo, error)
	// Create makes an EK with one version. Errors: ErrBadID, ErrExists (the name
	// or an alias is taken), ErrFull, ErrUnavailable.
	Create(ctx context.Context, id KeyID, aliases ...Alias) error
	// Rotate gives an EK a new version, under which data keys are made from then
	// on. Older versions go on unsealing. Errors: ErrNotFound, ErrDisabled,
	// ErrPendingDeletion, ErrFull, ErrUnavailable.
	Rotate(ctx context.Context, id KeyID) error
	// Disable stops an EK from making and unsealing data keys. Disabling twice
	// is no error. Errors: ErrNotFound, ErrPendingDeletion, ErrUnavailable.
	Disable(ctx context.Context, id KeyID) error
	// Enable undoes Disable. Errors: as Disable.
	Enable(ctx context.Context, id KeyID) error
	// ScheduleDeletion locks an EK as Disable does, and has it erased at a time;
	// again: at another time. Errors: ErrNotFound, ErrUnavailable.
	ScheduleDeletion(ctx context.Context, id KeyID, at time.Time) error
	// CancelDeletion leaves the EK disabled. Errors: ErrNotFound, ErrNotPending,
	// ErrUnavailable.
	CancelDeletion(ctx context.Context, id KeyID) error
	// EraseDue erases the EKs whose time has come at now, for ever: what only
	// they could open is lost. It returns which, also with an error. A service
	// that does so by itself does nothing.
	EraseDue(ctx context.Context, now time.Time) ([]KeyID, error)
}

// Rewrapper is what a key service offers that moves a sealed data key to the
// newest version of its EK: an optional interface.
type Rewrapper interface {
	// Rewrap unseals as Decrypt does and seals anew. It returns nil if that would
	// change nothing, since sealed is under the newest version. Errors: as Decrypt.
	Rewrap(ctx context.Context, sealed []byte, kc Context) ([]byte, error)
}
