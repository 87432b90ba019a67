package iam

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
)

// NewKeyPair makes an access key in the shape of AWS's own, 20 and 40
// characters, since some clients insist on it. The secret has 240 random bits.
// prefix has 6 characters.
func NewKeyPair(prefix string) (id, secret string) {
	var b [9]byte // 15 characters, of which 14 are used
	var sec [30]byte
	rand.Read(b[:])
	rand.Read(sec[:])
	defer clear(sec[:])
	return prefix + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])[:14],
		base64.RawURLEncoding.EncodeToString(sec[:])
}

// Prefixes of access key ids.
const (
	KeyPrefix        = "COFFER"
	sessionKeyPrefix = "COFTMP"
)

// UserSecret returns the secret of a user's access key that is in force, lent, or
// ErrUnknownKey.
func (s *Service) UserSecret(keyID string) ([]byte, error) {
	k, ok := s.users.Load().keys[keyID]
	if !ok {
		return nil, ErrUnknownKey
	}
	return k.secret, nil
}

// UserPrincipal is who holds a user's access key, or ErrUnknownKey.
func (s *Service) UserPrincipal(keyID string) (*Principal, error) {
	k, ok := s.users.Load().keys[keyID]
	if !ok {
		return nil, ErrUnknownKey
	}
	return &Principal{user: k.user}, nil
}
