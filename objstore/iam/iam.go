// Package iam knows who may do what in a store: users with their access keys and
// policies, sessions of STS, the policies of buckets. Doors whose requests are
// somebody's ask it; the engine under it knows no users and looks into no policy.
//
// A request has a Principal, found by the access key or the token that it was
// signed with, and Authorize says whether it may do an Access. How policies are
// evaluated is package policy's. A Principal is as of one moment: what changes
// counts for the next request, and a change is durable when it counts.
//
// It keeps its records as sealed settings of the store: each user under
// iam/user/ and their name, as JSON (userRecord), and under sts/key the key that
// the tokens of sessions are sealed under. Sessions themselves are kept nowhere.
//
// It must not know requests of a protocol, signatures or listeners: secrets are
// lent to whoever verifies with them. It reaches data and metadata through the
// engine alone.
//
// Locks: Service.mu and tokenKey.mu are held while the engine is called, which takes
// neither.
package iam

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cofferfs/coffer/objstore/engine"
)

// Options say what a Service goes by.
type Options struct {
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Logger takes what an operator should see; nil: none.
	Logger *slog.Logger
}

// Service is the identities of an open store and what they may do. It needs no
// closing. All methods may be called concurrently.
type Service struct {
	store *engine.Store
	now   func() time.Time
	log   *slog.Logger

	mu       sync.Mutex                // one change of the users at a time
	users    atomic.Pointer[userTable] // replaced as a whole
	tokenKey tokenKey
	sessions bounded[[sha256.Size]byte, *session] // whose tokens were opened lately, by the token's digest
	policies bounded[string, *compiledPolicy]     // by bucket
}

// Open reads the users of a store, which stays the caller's. A store has one
// Service at a time: another one would not see its changes.
func Open(ctx context.Context, store *engine.Store, o Options) (*Service, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{store: store, now: o.Now, log: o.Logger}
	s.sessions.max, s.policies.max = maxSessions, maxPolicies
	if err := s.loadUsers(ctx); err != nil {
		return nil, err
	}
	return s, nil
}
