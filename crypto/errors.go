package crypto

import "errors"

var (
	// ErrWrongKey: the sealed bytes were not made under this key and binding.
	// It comes from the stored commitment, before anything is decrypted.
	// Damage to the salt or the commitment itself looks the same; where the key
	// was not given by a person, treat it as ErrCorrupt.
	ErrWrongKey = errors.New("crypto: wrong key")
	// ErrCorrupt: the bytes are not what was sealed or encrypted, or do not
	// belong where they were found.
	ErrCorrupt = errors.New("crypto: corrupt")
	// ErrVersion: the bytes are of a format or algorithm this build does not know.
	ErrVersion = errors.New("crypto: unknown format version")
	// ErrSize: a plaintext length or range outside of what a stream can hold.
	ErrSize = errors.New("crypto: size out of range")
	// ErrKeySpent: the key was not made for this stream, or has encrypted one
	// already. See secret.Key.Spend.
	ErrKeySpent = errors.New("crypto: key cannot encrypt another stream")
)
