package kms

import (
	"fmt"
	"maps"
	"slices"

	"github.com/cofferfs/coffer/crypto/secret"
)

// Create makes an EK with one version. Errors: ErrBadID, ErrExists, ErrFull,
// ErrUnavailable, save's.
func (b *Builtin) Create(id KeyID) error {
	if err := id.Validate(); err != nil {
		return fmt.Errorf("create key %q: %w", id, err)
	}
	return b.change("create", id, func(old *ek) (*ek, error) {
		if old != nil {
			return nil, ErrExists
		}
		return b.newEK(), nil
	})
}

// Rotate gives an EK a new version, under which data keys are made from then
// on. Older versions go on unsealing. Errors: ErrNotFound, ErrDisabled,
// ErrPendingDeletion, ErrFull, ErrUnavailable, save's.
func (b *Builtin) Rotate(id KeyID) error {
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

// Disable stops an EK from making and unsealing data keys. Errors: ErrNotFound,
// ErrPendingDeletion, ErrUnavailable, save's. Disabling twice is no error.
func (b *Builtin) Disable(id KeyID) error {
	return b.setState("disable", id, StateDisabled, StateEnabled, StateDisabled)
}

// Enable undoes Disable. Errors: as Disable.
func (b *Builtin) Enable(id KeyID) error {
	return b.setState("enable", id, StateEnabled, StateEnabled, StateDisabled)
}

// ScheduleDeletion marks an EK to be erased; how long it waits is for the
// caller to say, who then calls Erase. Errors: ErrNotFound, ErrUnavailable, save's.
func (b *Builtin) ScheduleDeletion(id KeyID) error {
	return b.setState("schedule deletion of", id, StatePendingDeletion, StateEnabled, StateDisabled, StatePendingDeletion)
}

// CancelDeletion leaves the EK disabled. Errors: ErrNotFound, ErrUnavailable, save's.
func (b *Builtin) CancelDeletion(id KeyID) error {
	return b.setState("cancel deletion of", id, StateDisabled, StateDisabled, StatePendingDeletion)
}

// Erase removes an EK that waits for its deletion, for ever: what only it could
// open is lost. Errors: ErrNotFound, ErrNotPending, ErrUnavailable, save's.
func (b *Builtin) Erase(id KeyID) error {
	return b.change("erase", id, func(old *ek) (*ek, error) {
		if old == nil {
			return nil, ErrNotFound
		}
		if old.state != StatePendingDeletion {
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
// it is in otherwise.
func (b *Builtin) setState(what string, id KeyID, state State, from ...State) error {
	return b.change(what, id, func(old *ek) (*ek, error) {
		if old == nil {
			return nil, ErrNotFound
		}
		if !slices.Contains(from, old.state) {
			if err := old.state.refusal(); err != nil {
				return nil, err
			}
			return nil, ErrNotPending
		}
		e := *old
		e.state = state
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
	b.keys = keys
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
