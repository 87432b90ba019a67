package mount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/durable"
	"github.com/cofferfs/coffer/objstore/engine"
)

// KeyAction is what is to be done with external keys.
type KeyAction string

// The actions of `coffer key`. They are part of the admin API.
const (
	KeyList         KeyAction = "list"
	KeyShow         KeyAction = "show"
	KeyCreate       KeyAction = "create"
	KeyRotate       KeyAction = "rotate"
	KeyDisable      KeyAction = "disable"
	KeyEnable       KeyAction = "enable"
	KeyDelete       KeyAction = "delete"
	KeyCancelDelete KeyAction = "cancel-delete"
)

// changes reports whether the action changes the keystore.
func (a KeyAction) changes() bool { return a != KeyList && a != KeyShow }

// KeyRequest asks for an action on one external key; KeyList on all.
type KeyRequest struct {
	Action KeyAction `json:"action"`
	// Key is a name, an alias (alias/NAME) or an ARN; for KeyCreate a name.
	Key string `json:"key,omitempty"`
	// Aliases are those of a new key, without "alias/" or with it.
	Aliases []string `json:"aliases,omitempty"`
	// PendingDays is how long a deletion waits.
	PendingDays int `json:"pending_days,omitempty"`
}

// KeyReply describes the keys that were asked for, as they are now.
type KeyReply struct {
	Keys []KeyInfo `json:"keys"`
	// Moved is how many data keys a rotation moved to the new version.
	Moved int `json:"moved"`
	// Later: they are moved when a daemon opens the store.
	Later bool `json:"later,omitempty"`
}

// KeyInfo describes an external key. Its fields are the promise of `key list
// --json` and `key show --json`.
type KeyInfo struct {
	Name    string   `json:"name"`
	ARN     string   `json:"arn"`
	Aliases []string `json:"aliases"` // as alias/NAME
	State   string   `json:"state"`   // enabled, disabled or pending-deletion
	// Use is what the key is for: "objects", or "store" for one that the store
	// uses by itself.
	Use      string    `json:"use"`
	Version  uint32    `json:"version"`
	Created  time.Time `json:"created"`
	DeleteAt time.Time `json:"delete_at,omitzero"` // if its deletion is pending
	// DataKeys is how many data keys are under it; absent when no daemon runs.
	DataKeys *int `json:"data_keys,omitempty"`
}

// PendingDays bounds the grace period of a deletion, in days.
const (
	MinPendingDays     = int(kms.MinGrace / (24 * time.Hour))
	MaxPendingDays     = int(kms.MaxGrace / (24 * time.Hour))
	DefaultPendingDays = int(kms.DefaultGrace / (24 * time.Hour))
)

// keyAdmin manages the external keys of a store that is unlocked.
type keyAdmin struct {
	store  *store
	keys   kms.Admin
	engine *engine.Store // nil: the store is not open, only its keystore
	log    *slog.Logger
	now    func() time.Time
}

func (s *store) keyAdmin() *keyAdmin {
	return &keyAdmin{store: s, keys: s.kms, engine: s.engine, log: s.log, now: time.Now}
}

func keyNames() kms.Names { return kms.Names{Region: Region, Account: objstore.AccountID} }

// do carries a request out. What it returns is durable.
func (a *keyAdmin) do(ctx context.Context, q KeyRequest) (KeyReply, error) {
	if q.Action.changes() && a.store.cfg.ReadOnly {
		return KeyReply{}, openReadOnly()
	}
	if q.Action.changes() {
		a.eraseDue(ctx) // what is due is gone, whether a daemon ran or not
	}
	switch q.Action {
	case KeyList:
		keys, err := a.keys.List(ctx)
		if err != nil {
			return KeyReply{}, err
		}
		return a.describe(ctx, keys...)
	case KeyCreate:
		return a.create(ctx, q)
	}
	k, err := a.find(ctx, q.Key)
	if err != nil {
		return KeyReply{}, err
	}
	if q.Action == KeyDisable || q.Action == KeyDelete {
		if err := refuseLoss(q.Action, k); err != nil {
			return KeyReply{}, err
		}
	}
	moved, later := 0, false
	switch q.Action {
	case KeyShow:
		return a.describe(ctx, k)
	case KeyRotate:
		moved, err = a.rotate(ctx, k.ID)
		later = a.engine == nil
	case KeyDisable:
		err = a.keys.Disable(ctx, k.ID)
	case KeyEnable:
		err = a.keys.Enable(ctx, k.ID)
	case KeyDelete:
		if q.PendingDays < MinPendingDays || q.PendingDays > MaxPendingDays {
			return KeyReply{}, fmt.Errorf("a deletion waits %d to %d days, not %d", MinPendingDays, MaxPendingDays, q.PendingDays)
		}
		at := a.now().Add(time.Duration(q.PendingDays) * 24 * time.Hour)
		err = a.keys.ScheduleDeletion(ctx, k.ID, at)
	case KeyCancelDelete:
		err = a.keys.CancelDeletion(ctx, k.ID)
	default:
		return KeyReply{}, fmt.Errorf("there is no action %q for keys", q.Action)
	}
	a.forget(k.ID)
	if err != nil {
		return KeyReply{}, keyProblem(k.ID, err)
	}
	a.log.Info("external key changed", "action", string(q.Action), "key", string(k.ID))
	if k, err = a.keys.Describe(ctx, k.ID); err != nil {
		return KeyReply{}, err
	}
	r, err := a.describe(ctx, k)
	r.Moved, r.Later = moved, later
	return r, err
}

func (a *keyAdmin) create(ctx context.Context, q KeyRequest) (KeyReply, error) {
	id := kms.KeyID(q.Key)
	if id.Validate() != nil {
		return KeyReply{}, hinted(fmt.Errorf("%q cannot be the name of a key", q.Key),
			"1 to 128 letters, digits, dots, underscores and hyphens, not beginning with a dot")
	}
	var aliases []kms.Alias
	for _, text := range q.Aliases {
		alias := kms.Alias(strings.TrimPrefix(text, "alias/"))
		if alias.Validate() != nil {
			return KeyReply{}, hinted(fmt.Errorf("%q cannot be an alias", text), "1 to 250 letters, digits, slashes, underscores and hyphens")
		}
		aliases = append(aliases, alias)
	}
	if err := a.keys.Create(ctx, id, aliases...); err != nil {
		return KeyReply{}, keyProblem(id, err)
	}
	a.log.Info("external key made", "key", string(id))
	k, err := a.keys.Describe(ctx, id)
	if err != nil {
		return KeyReply{}, err
	}
	return a.describe(ctx, k)
}

// find looks a key up by name, alias or ARN. Unlike Resolve it makes none.
func (a *keyAdmin) find(ctx context.Context, text string) (kms.KeyInfo, error) {
	none := hinted(fmt.Errorf("there is no key %q", text), "coffer key list shows them, coffer key create makes one")
	ref, err := keyNames().ParseRef(text)
	if err != nil {
		return kms.KeyInfo{}, none
	}
	keys, err := a.keys.List(ctx)
	if err != nil {
		return kms.KeyInfo{}, err
	}
	for _, k := range keys {
		if k.ID == ref.ID {
			return k, nil
		}
		for _, alias := range k.Aliases {
			if alias == ref.Alias {
				return k, nil
			}
		}
	}
	return kms.KeyInfo{}, none
}

// refuseLoss refuses to lock or delete a key that the store cannot do without.
func refuseLoss(action KeyAction, k kms.KeyInfo) error {
	const hint = "to lock a store, end its daemon and put its key file away; keys that coffer key create makes can be disabled and deleted"
	verb := map[KeyAction]string{KeyDisable: "disabled", KeyDelete: "deleted"}[action]
	switch {
	case k.ID == engine.EKStore:
		return hinted(fmt.Errorf("key %q cannot be %s: it seals the store's own key, without which nothing in the store can be opened, not even its names", k.ID, verb), hint)
	case k.ID == engine.EKSSES3:
		return hinted(fmt.Errorf("key %q cannot be %s: it protects every object with SSE-S3, the default of all buckets, and the store's S3 credentials and certificates, without which no daemon starts", k.ID, verb), hint)
	case k.IsManaged():
		return hinted(fmt.Errorf("key %q cannot be %s: coffer made it for all objects stored with SSE-KMS and no key id, which would be lost together", k.ID, verb), hint)
	}
	return nil
}

// rotate makes a new version and moves the data keys to it.
func (a *keyAdmin) rotate(ctx context.Context, id kms.KeyID) (moved int, err error) {
	if err := a.keys.Rotate(ctx, id); err != nil {
		return 0, err
	}
	// The new version is durable: from here on there is no way back, and none
	// is needed.
	ctx = context.WithoutCancel(ctx)
	moved, err = a.rewrap(ctx, id)
	if err != nil {
		return moved, hinted(fmt.Errorf("the key was rotated, but its data keys could not all be moved to the new version: %w", err),
			"they go on opening under the old one; the next start of a daemon moves the rest")
	}
	return moved, nil
}

// rewrap moves what is under older versions of a key ("": of all) to the newest.
func (a *keyAdmin) rewrap(ctx context.Context, id kms.KeyID) (moved int, err error) {
	if id == "" || id == engine.EKStore {
		if moved, err = a.store.rewrapStoreKeys(ctx); err != nil {
			return moved, err
		}
	}
	if a.engine == nil || id == engine.EKStore {
		return moved, nil
	}
	n, err := a.engine.RewrapKeys(ctx, id)
	return moved + n, err
}

// rewrapStoreKeys moves the sealed store keys in the superblock to the newest
// version of their external key, durably.
func (s *store) rewrapStoreKeys(ctx context.Context) (moved int, err error) {
	sb := *s.sb
	sb.Keys = append(sb.Keys[:0:0], sb.Keys...)
	for i := range sb.Keys {
		sealed, err := s.kms.Rewrap(ctx, sb.Keys[i].Sealed, storeKeyContext(sb.StoreID))
		if err != nil {
			return 0, err
		}
		if sealed != nil {
			sb.Keys[i].Sealed = sealed
			moved++
		}
	}
	if moved == 0 {
		return 0, nil
	}
	if err := s.saveSuperblock(&sb); err != nil {
		return 0, err
	}
	s.sb.Keys = sb.Keys
	return moved, nil
}

func (a *keyAdmin) forget(id kms.KeyID) {
	if a.engine != nil {
		a.engine.ForgetKeys(id)
	}
}

// removeOldKeystores removes what interrupted saves have left of older keystores,
// which may hold keys that are erased since. It is called before anything can
// change the keystore.
func (s *store) removeOldKeystores() {
	if s.cfg.ReadOnly {
		return
	}
	for _, name := range []string{nameKeystore, copyOf(nameKeystore)} {
		if err := durable.RemoveTemp(s.cfg.path(name)); err != nil {
			s.log.Warn("what is left of an interrupted change of the keystore stays", "error", err)
		}
	}
}

// eraseDue erases the keys whose time has come.
func (a *keyAdmin) eraseDue(ctx context.Context) {
	gone, err := a.keys.EraseDue(ctx, a.now())
	for _, id := range gone {
		a.forget(id)
		a.log.Warn("external key erased, as it was asked for: what only it could open is lost", "key", string(id))
	}
	if err != nil {
		a.log.Error("cannot erase the external keys whose time has come", "error", err)
	}
}

// nextDue is when the next key is to be erased; ok false: none waits.
func (a *keyAdmin) nextDue(ctx context.Context) (at time.Time, ok bool) {
	keys, err := a.keys.List(ctx)
	if err != nil {
		return at, false
	}
	for _, k := range keys {
		if !k.DeleteAt.IsZero() && (!ok || k.DeleteAt.Before(at)) {
			at, ok = k.DeleteAt, true
		}
	}
	return at, ok
}

func (a *keyAdmin) describe(ctx context.Context, keys ...kms.KeyInfo) (KeyReply, error) {
	var counts map[kms.KeyID]int
	if a.engine != nil {
		var err error
		if counts, err = a.engine.DataKeys(ctx); err != nil {
			return KeyReply{}, err
		}
	}
	r := KeyReply{Keys: make([]KeyInfo, 0, len(keys))}
	for _, k := range keys {
		info := KeyInfo{
			Name: string(k.ID), ARN: keyNames().KeyARN(k.ID), Aliases: []string{},
			State: strings.ReplaceAll(k.State.String(), " ", "-"), Use: "objects",
			Version: k.Versions, Created: k.Created, DeleteAt: k.DeleteAt,
		}
		if engine.IsOwnKey(k.ID) {
			info.Use = "store"
		}
		for _, alias := range k.Aliases {
			info.Aliases = append(info.Aliases, "alias/"+string(alias))
		}
		if counts != nil && k.ID != engine.EKStore {
			n := counts[k.ID]
			info.DataKeys = &n
		}
		r.Keys = append(r.Keys, info)
	}
	return r, nil
}

// keyProblem words what a key service says about a key for people.
func keyProblem(id kms.KeyID, err error) error {
	switch {
	case errors.Is(err, kms.ErrExists):
		return hinted(fmt.Errorf("there is a key %q, or one with that alias, already", id), "coffer key list shows them; nothing was changed")
	case errors.Is(err, kms.ErrManaged):
		return hinted(fmt.Errorf(`names that begin with "aws-", and aliases with "aws/", are those of keys that coffer makes itself`), "choose another name")
	case errors.Is(err, kms.ErrNotPending):
		return fmt.Errorf("key %q does not wait for its deletion", id)
	case errors.Is(err, kms.ErrPendingDeletion):
		return hinted(fmt.Errorf("key %q waits for its deletion", id), "coffer key cancel-delete keeps it, disabled")
	case errors.Is(err, kms.ErrDisabled):
		return hinted(fmt.Errorf("key %q is disabled", id), "coffer key enable undoes that")
	case errors.Is(err, kms.ErrFull):
		return fmt.Errorf("key %q: the keystore has no room for it", id)
	case objstore.IsKind(err, objstore.KindReadOnly):
		return readOnly(err)
	}
	return err
}
