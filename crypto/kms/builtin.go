package kms

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cofferfs/coffer/crypto/secret"
)

// Builtin is the key service that keeps its keys in one sealed keystore. All
// methods may be called concurrently. After Close they return ErrUnavailable.
//
// It knows no files: a change hands the whole new keystore to the save function
// and takes effect when that returned without error. An EK does nothing but
// derive the keys that seal data keys.
type Builtin struct {
	save func([]byte) error
	now  func() time.Time

	// changes serialises changes, saving included, so that calls of the Service
	// never wait for a disk. It is taken before mu.
	changes sync.Mutex

	// mu guards the fields below; they change only with changes held too.
	mu     sync.RWMutex
	closed bool
	kind   UnlockKind
	params rootParams
	root   *secret.Key
	keys   ekSet
	// aliases leads to the names in keys.
	aliases map[Alias]KeyID
}

var (
	_ Admin     = (*Builtin)(nil)
	_ Rewrapper = (*Builtin)(nil)
)

// NewKeystore makes a keystore without keys that u unlocks, and saves it. Save
// is called for it and for every later change, one call at a time, with the
// whole keystore: when it returns nil those bytes must be durable, and a crash
// or an error must leave either them or the ones before. It may keep the slice.
func NewKeystore(u Unlocker, save func([]byte) error) (*Builtin, error) {
	b := newBuiltin(save)
	if err := b.ChangeUnlock(u); err != nil {
		return nil, err
	}
	return b, nil
}

// OpenKeystore opens the keystore that save was last given; see NewKeystore.
// Errors: ErrWrongKey (also when u is of the wrong kind), ErrCorrupt, ErrVersion.
func OpenKeystore(keystore []byte, u Unlocker, save func([]byte) error) (*Builtin, error) {
	kind, params, err := parseHeader(keystore)
	if err != nil {
		return nil, err
	}
	if u.Kind() != kind {
		return nil, fmt.Errorf("keystore opens with a %s, not a %s: %w", kind, u.Kind(), ErrWrongKey)
	}
	root, err := u.root(params)
	if err != nil {
		return nil, err
	}
	keys, err := openBody(keystore, root)
	if err != nil {
		root.Wipe()
		return nil, err
	}
	b := newBuiltin(save)
	b.kind, b.params, b.root, b.keys, b.aliases = kind, params, root, keys, keys.aliases()
	return b, nil
}

// KeystoreUnlockKind tells what opens a keystore. Errors: ErrCorrupt, ErrVersion.
func KeystoreUnlockKind(keystore []byte) (UnlockKind, error) {
	kind, _, err := parseHeader(keystore)
	return kind, err
}

func newBuiltin(save func([]byte) error) *Builtin {
	return &Builtin{save: save, now: time.Now, keys: ekSet{}}
}

// GenerateDataKey implements Service.
func (b *Builtin) GenerateDataKey(ctx context.Context, id KeyID, kc Context) (DataKey, error) {
	if err := ctx.Err(); err != nil {
		return DataKey{}, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	e, err := b.usable(id)
	if err != nil {
		return DataKey{}, fmt.Errorf("key %q: %w", id, err)
	}
	version := uint32(len(e.versions))
	plain := secret.Random()
	head := dataKeyHead{id: id, serial: e.serial, version: version}
	sealed := sealDataKey(e.versions[version-1], head, kc, plain)
	return DataKey{Plain: plain, Sealed: sealed, KeyID: id, Version: version}, nil
}

// Decrypt implements Service.
func (b *Builtin) Decrypt(ctx context.Context, sealed []byte, kc Context) (*secret.Key, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	head, err := parseDataKey(sealed)
	if err != nil {
		return nil, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	key, _, err := b.unseal(head, sealed, kc)
	return key, err
}

// Rewrap implements Rewrapper.
func (b *Builtin) Rewrap(ctx context.Context, sealed []byte, kc Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	head, err := parseDataKey(sealed)
	if err != nil {
		return nil, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	key, e, err := b.unseal(head, sealed, kc)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	newest := uint32(len(e.versions))
	if head.version == newest {
		return nil, nil
	}
	head.version = newest
	return sealDataKey(e.versions[newest-1], head, kc, key), nil
}

// unseal is Decrypt of what parseDataKey accepted; mu is held.
func (b *Builtin) unseal(head dataKeyHead, sealed []byte, kc Context) (*secret.Key, *ek, error) {
	e, err := b.find(head.id)
	if err == nil && (e.serial != head.serial || head.version > uint32(len(e.versions))) {
		err = ErrNotFound
	}
	if err == nil {
		err = e.state.refusal()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("key %q version %d: %w", head.id, head.version, err)
	}
	key, err := openDataKey(e.versions[head.version-1], sealed, kc)
	if err != nil {
		return nil, nil, fmt.Errorf("key %q version %d: %w", head.id, head.version, err)
	}
	return key, e, nil
}

// Describe implements Service.
func (b *Builtin) Describe(ctx context.Context, id KeyID) (KeyInfo, error) {
	if err := ctx.Err(); err != nil {
		return KeyInfo{}, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	e, err := b.find(id)
	if err != nil {
		return KeyInfo{}, fmt.Errorf("key %q: %w", id, err)
	}
	return e.info(id), nil
}

// Resolve implements Service.
func (b *Builtin) Resolve(ctx context.Context, r Ref) (KeyInfo, error) {
	if r.Alias == "" {
		return b.Describe(ctx, r.ID)
	}
	info, err := b.resolveAlias(ctx, r.Alias)
	if r.Alias != ManagedS3 || !errors.Is(err, ErrNotFound) {
		return info, err
	}
	err = b.create(ManagedS3Key, ManagedS3)
	if err != nil && !errors.Is(err, ErrExists) { // another call came first
		return KeyInfo{}, err
	}
	return b.resolveAlias(ctx, r.Alias)
}

// ManagedS3Key is the name of the key with the alias ManagedS3. It is on disk.
const ManagedS3Key KeyID = "aws-s3"

func (b *Builtin) resolveAlias(ctx context.Context, a Alias) (KeyInfo, error) {
	if err := ctx.Err(); err != nil {
		return KeyInfo{}, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	e, err := b.find(b.aliases[a])
	if err != nil {
		return KeyInfo{}, fmt.Errorf("alias %q: %w", a, err)
	}
	return e.info(b.aliases[a]), nil
}

// List implements Admin.
func (b *Builtin) List(ctx context.Context) ([]KeyInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return nil, ErrUnavailable
	}
	infos := make([]KeyInfo, 0, len(b.keys))
	for _, id := range slices.Sorted(maps.Keys(b.keys)) {
		infos = append(infos, b.keys[id].info(id))
	}
	return infos, nil
}

// Close wipes all keys. It waits for a change that is being saved.
func (b *Builtin) Close() error {
	b.changes.Lock()
	defer b.changes.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	b.keys.wipe()
	b.root.Wipe()
	b.keys, b.aliases, b.root = nil, nil, nil
	return nil
}

// find returns an EK whatever its state; mu or changes is held.
func (b *Builtin) find(id KeyID) (*ek, error) {
	if b.closed {
		return nil, ErrUnavailable
	}
	e := b.keys[id]
	if e == nil {
		return nil, ErrNotFound
	}
	return e, nil
}

func (b *Builtin) usable(id KeyID) (*ek, error) {
	e, err := b.find(id)
	if err != nil {
		return nil, err
	}
	return e, e.state.refusal()
}

func (e *ek) info(id KeyID) KeyInfo {
	return KeyInfo{
		ID: id, State: e.state, Versions: uint32(len(e.versions)), Created: e.created,
		DeleteAt: e.deleteAt, Aliases: slices.Clone(e.aliases),
	}
}

// refusal is why a key in this state is not used, or nil.
func (s State) refusal() error {
	switch s {
	case StateEnabled:
		return nil
	case StateDisabled:
		return ErrDisabled
	default:
		return ErrPendingDeletion
	}
}

// newEK makes a key with its first version.
func (b *Builtin) newEK() *ek {
	e := &ek{state: StateEnabled, created: b.now().UTC(), versions: []*secret.Key{secret.Random()}}
	rand.Read(e.serial[:])
	return e
}
