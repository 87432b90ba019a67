package kms

import "errors"

var (
	// ErrNotFound: no EK of that name, or not that version of it.
	ErrNotFound = errors.New("kms: key not found")
	// ErrExists: an EK of that name, or that alias, exists already.
	ErrExists = errors.New("kms: key exists")
	// ErrDisabled: the EK is disabled.
	ErrDisabled = errors.New("kms: key is disabled")
	// ErrPendingDeletion: the EK waits for its deletion.
	ErrPendingDeletion = errors.New("kms: key is pending deletion")
	// ErrNotPending: the EK does not wait for its deletion.
	ErrNotPending = errors.New("kms: key is not pending deletion")
	// ErrManaged: the service made the EK itself; that cannot be asked of it.
	ErrManaged = errors.New("kms: key is managed by the key service")
	// ErrTampered: a sealed key or its context is not what it was.
	ErrTampered = errors.New("kms: sealed key or context altered")
	// ErrWrongKey: the keystore does not open with this key file or passphrase.
	ErrWrongKey = errors.New("kms: wrong key file or passphrase")
	// ErrCorrupt: the keystore is damaged.
	ErrCorrupt = errors.New("kms: keystore is damaged")
	// ErrVersion: a keystore, key file or sealed key is of a format this build
	// does not know.
	ErrVersion = errors.New("kms: unknown format version")
	// ErrKeyFile: a key file or passphrase file is damaged, or is none.
	ErrKeyFile = errors.New("kms: key file is damaged")
	// ErrBadID: not a name that a key can have.
	ErrBadID = errors.New("kms: invalid key id")
	// ErrFull: the keystore cannot hold another key or version.
	ErrFull = errors.New("kms: keystore is full")
	// ErrUnavailable: the key service did not answer.
	ErrUnavailable = errors.New("kms: key service unavailable")
)
