package kms

import "errors"

var (
	// ErrNotFound: no EK of that name, or not that version of it.
	ErrNotFound = errors.New("kms: key not found")
	// ErrExists: an EK of that name exists already.
	ErrExists = errors.New("kms: key exists")
	// ErrDisabled: the EK is disabled.
	ErrDisabled = errors.New("kms: key is disabled")
	// ErrPendingDeletion: the EK waits for its deletion.
	ErrPendingDeletion = errors.New("kms: key is pending deletion")
	// ErrTampered: a sealed key or its context is not what it was.
	ErrTampered = errors.New("kms: sealed key or context altered")
	// ErrWrongKey: the keystore does not open with this key file or passphrase.
	ErrWrongKey = errors.New("kms: wrong key file or passphrase")
	// ErrCorrupt: the keystore is damaged.
	ErrCorrupt = errors.New("kms: keystore is damaged")
	// ErrVersion: the keystore is of a newer format.
	ErrVersion = errors.New("kms: keystore has a newer format")
	// ErrUnavailable: the key service did not answer.
	ErrUnavailable = errors.New("kms: key service unavailable")
)
