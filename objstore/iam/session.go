package iam

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"sync"
	"time"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/policy"
)

// Sessions are temporary credentials of STS. Nothing of one is kept: the token
// that its holder sends with each request is the session, sealed under a key of
// the store, with its secret, its end and its policy in it. It is in force for
// as long as the access key that it was made with.

// settingSessionKey holds the key that session tokens are sealed under. It is
// made with the first token.
const settingSessionKey = "sts/key"

// Errors of credentials.
var (
	ErrUnknownKey   = errors.New("iam: unknown access key id")
	ErrInvalidToken = errors.New("iam: session token is malformed or of another key")
	ErrExpiredToken = errors.New("iam: session token has expired")
)

// Limits of sessions.
const (
	maxToken         = 12 << 10 // bytes
	MaxSessionPolicy = 2048     // characters (STS, AssumeRole)
)

// session is what a token holds. Its fields are in tokens.
type session struct {
	KeyID   string    `json:"k"`
	Secret  string    `json:"s"`
	Parent  string    `json:"p"` // access key id that it was made with
	Root    bool      `json:"r,omitempty"`
	Role    string    `json:"o,omitempty"` // of AssumeRole
	Name    string    `json:"n,omitempty"` // of AssumeRole
	Begun   time.Time `json:"b,omitzero"`  // zero in tokens of before it was kept
	Expires time.Time `json:"e"`
	Policy  string    `json:"d,omitempty"`

	policy *policy.Policy
}

// tokenKey is the key of the tokens.
type tokenKey struct {
	mu  sync.Mutex
	key *secret.Key // guarded by mu; nil: not read yet
}

// maxSessions bounds the sessions that are kept.
const maxSessions = 1024

// Credentials are what the holder of a session that was just made is given.
type Credentials struct {
	KeyID, Secret, Token string
	Expires              time.Time
	ARN, ID              string // of the session
}

// SessionRequest asks for a session.
type SessionRequest struct {
	// KeyID is the access key that the request was signed with: the session ends
	// with it.
	KeyID string
	// Role and Name, for AssumeRole; both empty for GetSessionToken.
	Role, Name string
	// Policy narrows the session down; empty: it may what its principal may.
	Policy string
	// Duration is the session's life.
	Duration time.Duration
}

// BeginSession makes a session for p, which must not be in one itself unless
// that one began with GetSessionToken. KindMalformedPolicy, KindAccessDenied.
func (s *Service) BeginSession(ctx context.Context, p *Principal, req SessionRequest) (Credentials, error) {
	const op = "begin session"
	n := &session{Parent: req.KeyID, Root: p.root, Role: req.Role, Name: req.Name, Policy: req.Policy}
	switch {
	case p.Anonymous():
		return Credentials{}, objstore.E(objstore.KindAccessDenied, op, "", "Access Denied")
	case p.session != nil && (p.session.Role != "" || req.Role == ""):
		return Credentials{}, objstore.E(objstore.KindAccessDenied, op, "", "Cannot call GetSessionToken with session credentials")
	case p.session != nil:
		n.Parent = p.session.Parent
	}
	if req.Policy != "" {
		if _, err := policy.Parse([]byte(req.Policy), policy.Identity); err != nil {
			return Credentials{}, malformedPolicy(op, "", err)
		}
	}
	n.KeyID, n.Secret = NewKeyPair(sessionKeyPrefix)
	n.Begun = s.now().UTC().Truncate(time.Second)
	n.Expires = n.Begun.Add(req.Duration)
	if p.session != nil && p.session.Expires.Before(n.Expires) {
		n.Expires = p.session.Expires
	}
	key, err := s.sessionKey(ctx, true)
	if err != nil {
		return Credentials{}, err
	}
	text, err := json.Marshal(n)
	if err != nil {
		return Credentials{}, objstore.Wrap(objstore.KindInternal, op, "", err)
	}
	defer clear(text)
	token := base64.RawURLEncoding.EncodeToString(coffercrypto.SealBytes(key, s.sessionBinding(), text))
	held := &Principal{root: p.root, user: p.user, session: n}
	return Credentials{KeyID: n.KeyID, Secret: n.Secret, Token: token, Expires: n.Expires, ARN: held.SessionARN(), ID: held.UserID()}, nil
}

func (s *Service) sessionBinding() coffercrypto.Binding {
	id := s.store.ID()
	return coffercrypto.Bind(coffercrypto.DomainSession, id[:])
}

// sessionKey returns the key of the tokens, lent; KindNotFound if there is none
// and it is not to be made.
func (s *Service) sessionKey(ctx context.Context, create bool) (*secret.Key, error) {
	c := &s.tokenKey
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.key != nil {
		return c.key, nil
	}
	b, err := s.store.Setting(ctx, settingSessionKey)
	if objstore.IsKind(err, objstore.KindNotFound) && create {
		b = make([]byte, secret.Size)
		rand.Read(b)
		err = s.store.SetSetting(ctx, settingSessionKey, b)
	}
	if err != nil {
		clear(b)
		return nil, err
	}
	key, err := secret.Take(b)
	if err != nil {
		return nil, objstore.Wrap(objstore.KindCorrupt, "session key", "", err)
	}
	c.key = key
	return key, nil
}

// openSession opens a token. It does not look whether the session is in force.
func (s *Service) openSession(ctx context.Context, keyID, token string) (*session, error) {
	if len(token) > maxToken {
		return nil, ErrInvalidToken
	}
	name := sha256.Sum256([]byte(token))
	n := s.sessions.get(name)
	if n == nil {
		sealed, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			return nil, ErrInvalidToken
		}
		key, err := s.sessionKey(ctx, false)
		if objstore.IsKind(err, objstore.KindNotFound) {
			return nil, ErrInvalidToken
		}
		if err != nil {
			return nil, err
		}
		text, err := coffercrypto.OpenBytes(key, s.sessionBinding(), sealed)
		if err != nil {
			return nil, ErrInvalidToken
		}
		defer clear(text)
		n = &session{}
		if err := json.Unmarshal(text, n); err != nil {
			return nil, ErrInvalidToken
		}
		if n.Policy != "" {
			if n.policy, err = policy.Parse([]byte(n.Policy), policy.Identity); err != nil {
				return nil, ErrInvalidToken
			}
		}
		s.sessions.put(name, n)
	}
	if n.KeyID != keyID {
		return nil, ErrInvalidToken
	}
	return n, nil
}

// SessionPrincipal opens a session token: who holds it, and the session's
// secret, which is lent. isRoot tells the access keys of the store itself.
// ErrInvalidToken: it is none of this store's, belongs to another access key, or
// the key that it was made with is no longer in force; ErrExpiredToken.
func (s *Service) SessionPrincipal(ctx context.Context, keyID, token string, isRoot func(keyID string) bool) (*Principal, []byte, error) {
	n, err := s.openSession(ctx, keyID, token)
	if err != nil {
		return nil, nil, err
	}
	if !s.now().Before(n.Expires) {
		return nil, nil, ErrExpiredToken
	}
	p := &Principal{session: n}
	if n.Root {
		if !isRoot(n.Parent) {
			return nil, nil, ErrInvalidToken
		}
		p.root = true
		return p, []byte(n.Secret), nil
	}
	k, ok := s.users.Load().keys[n.Parent]
	if !ok {
		return nil, nil, ErrInvalidToken
	}
	p.user = k.user
	return p, []byte(n.Secret), nil
}
