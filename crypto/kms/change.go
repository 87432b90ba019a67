package kms

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cofferfs/coffer/crypto/secret"
)

// reservedPrefix begins the names of keys that the service makes itself.
const reservedPrefix = "aws-"

// Create implements Admin.
func (b *Builtin) Create(ctx context.Context, id KeyID, aliases ...Alias) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if strings.HasPrefix(string(id), reservedPrefix) || slices.ContainsFunc(aliases, Alias.IsManaged) {
		return fmt.Errorf("create key %q: %w", id, ErrManaged)
	}
	return b.create(id, aliases...)
}

func (b *Builtin) create(id KeyID, aliases ...Alias) error {
	aliases = slices.Compact(slices.Sorted(slices.Values(aliases)))
	for _, a := range aliases {
		if err := a.Validate(); err != nil {
			return fmt.Errorf("create key %q with alias %q: %w", id, a, err)
		}
	}
	if err := id.Validate(); err != nil {
		return fmt.Errorf("create key %q: %w", id, err)
	}
	if len(aliases) > maxAliases {
		return fmt.Errorf("create key %q with %d aliases: %w", id, len(aliases), ErrFull)
	}
	return b.change("create", id, func(old *ek) (*ek, error) {
		if old != nil {
			return nil, ErrExists
		}
		for _, a := range aliases {
			if _, taken := b.aliases[a]; taken {
				return nil, fmt.Errorf("alias %q: %w", a, ErrExists)
			}
		}
		e := b.newEK()
		e.aliases = aliases
		return e, nil
	})
}

// Rotate implements Admin.
func (b *Builtin) Rotate(ctx context.Context, id KeyID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.change("rotate", id, func(old *ek) (*ek, error) {
		if old == nil {
			return nil, ErrNotFound
		}
		if err := old.state.refusal(); err != nil {
			return nil, err
		}
		e := *old
		e.versions = append(slices.Clip(old.versions), secret.Random())
		return &e, nil
	})
}

// Disable implements Admin.
func (b *Builtin) Disable(ctx context.Context, id KeyID) error {
	return b.setState(ctx, "disable", id, StateDisabled, time.Time{}, StateEnabled, StateDisabled)
}

// Enable implements Admin.
func (b *Builtin) Enable(ctx context.Context, id KeyID) error {
	return b.setState(ctx, "enable", id, StateEnabled, time.Time{}, StateEnabled, StateDisabled)
}

// ScheduleDeletion implements Admin.
func (b *Builtin) ScheduleDeletion(ctx context.Context, id KeyID, at time.Time) error {
	return b.setState(ctx, "schedule deletion of", id, StatePendingDeletion, at.UTC(), StateEnabled, StateDisabled, StatePendingDeletion)
}

// CancelDeletion implements Admin.
func (b *Builtin) CancelDeletion(ctx context.Context, id KeyID) error {
	return b.setState(ctx, "cancel deletion of", id, StateDisabled, time.Time{}, StatePendingDeletion)
}

// EraseDue implements Admin.
func (b *Builtin) EraseDue(ctx context.Context, now time.Time) ([]KeyID, error) {
	infos, err := b.List(ctx)
	if err != nil {
		return nil, err
	}
	var erased []KeyID
	for _, k := range infos {
		if k.State != StatePendingDeletion || k.DeleteAt.IsZero() || k.DeleteAt.After(now) {
			continue
		}
		err := b.erase(k.ID, func(e *ek) bool { return !e.deleteAt.IsZero() && !e.deleteAt.After(now) })
		if errors.Is(err, ErrNotPending) || errors.Is(err, ErrNotFound) {
			continue // it was saved just now
		}
		if err != nil {
			return erased, err
		}
		erased = append(erased, k.ID)
	}
	return erased, nil
}

// erase removes an EK that waits for its deletion and is due. Errors:
// ErrNotFound, ErrNotPending, ErrUnavailable, save's.
func (b *Builtin) erase(id KeyID, due func(*ek) bool) error {
	return b.change("erase", id, func(old *ek) (*ek, error) {
		if old == nil {
			return nil, ErrNotFound
		}
		if old.state != StatePendingDeletion || !due(old) {
			return nil, ErrNotPending
		}
		return nil, nil
	})
}

// ChangeUnlock seals the keystore for another key file or passphrase. Copies of
// older keystores still open with the former one. After an error of save's the
// caller cannot know which of the two opens what is on disk: keep both.
// Errors: ErrUnavailable, u's, save's.
func (b *Builtin) ChangeUnlock(u Unlocker) error {
	b.changes.Lock()
	defer b.changes.Unlock()
	if b.closed {
		return ErrUnavailable
	}
	params := u.params()
	root, err := u.root(params)
	if err != nil {
		return err
	}
	if err := b.seal(u.Kind(), params, root, b.keys); err != nil {
		root.Wipe()
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.root.Wipe()
	b.kind, b.params, b.root = u.Kind(), params, root
	return nil
}

// setState moves an EK to state if it is in one of from. Errors: of the state
// it is in otherwise, or ErrNotPending.
func (b *Builtin) setState(ctx context.Context, what string, id KeyID, state State, deleteAt time.Time, from ...State) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.change(what, id, func(old *ek) (*ek, error) {
		switch {
		case old == nil:
			return nil, ErrNotFound
		case slices.ContainsFunc(old.aliases, Alias.IsManaged):
			return nil, ErrManaged
		case slices.Contains(from, old.state):
		case old.state == StatePendingDeletion:
			return nil, ErrPendingDeletion
		default:
			return nil, ErrNotPending
		}
		e := *old
		e.state, e.deleteAt = state, deleteAt
		return &e, nil
	})
}

// change replaces one EK by what fn makes of it (nil: none), saves, and only
// then lets others see it.
func (b *Builtin) change(what string, id KeyID, fn func(old *ek) (*ek, error)) error {
	b.changes.Lock()
	defer b.changes.Unlock()
	if b.closed {
		return fmt.Errorf("%s key %q: %w", what, id, ErrUnavailable)
	}
	old := b.keys[id]
	next, err := fn(old)
	if err != nil {
		return fmt.Errorf("%s key %q: %w", what, id, err)
	}
	keys := maps.Clone(b.keys)
	if next != nil {
		keys[id] = next
	} else {
		delete(keys, id)
	}
	if err := b.seal(b.kind, b.params, b.root, keys); err != nil {
		next.wipeUnless(old)
		return fmt.Errorf("%s key %q: %w", what, id, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys, b.aliases = keys, keys.aliases()
	old.wipeUnless(next)
	return nil
}

// seal hands the keystore to save.
func (b *Builtin) seal(kind UnlockKind, p rootParams, root *secret.Key, keys ekSet) error {
	bytes, err := sealKeystore(kind, p, root, keys)
	if err != nil {
		return err
	}
	if err := b.save(bytes); err != nil {
		return fmt.Errorf("save keystore: %w", err)
	}
	return nil
}

// wipeUnless wipes the versions of e that keep does not have.
func (e *ek) wipeUnless(keep *ek) {
	if e == nil {
		return
	}
	for _, k := range e.versions {
		if keep == nil || !slices.Contains(keep.versions, k) {
			k.Wipe()
		}
	}
}
