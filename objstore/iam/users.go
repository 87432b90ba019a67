package iam

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/policy"
)

// settingUser is where the settings of users begin: each user is a sealed
// setting, userRecord as JSON.
const settingUser = "iam/user/"

// userRecord is a user as it is kept. Its fields are on disk.
type userRecord struct {
	ID       string                `json:"id"`
	Created  time.Time             `json:"created"`
	Disabled bool                  `json:"disabled,omitempty"`
	Keys     []userKey             `json:"keys"`
	Policies []objstore.UserPolicy `json:"policies,omitempty"`
}

type userKey struct {
	ID      string    `json:"id"`
	Secret  string    `json:"secret"`
	Created time.Time `json:"created"`
}

// user is a user as of one moment, with their policies compiled. It does not
// change.
type user struct {
	name     string
	rec      userRecord
	policies []*policy.Policy
	damaged  bool // the record does not open
}

// userARN is what the ARNs of users begin with.
const userARN = "arn:aws:iam::" + objstore.AccountID + ":user/"

func (u *user) arn() string { return userARN + u.name }

// userTable are all users as of one moment. It does not change.
type userTable struct {
	names map[string]*user
	ids   map[string]*user
	keys  map[string]ownedKey // by access key id, of users that are enabled
}

type ownedKey struct {
	user   *user
	secret []byte
}

func newUserTable(names map[string]*user) *userTable {
	t := &userTable{names: names, ids: map[string]*user{}, keys: map[string]ownedKey{}}
	for _, u := range names {
		if u.rec.ID != "" { // which a damaged one may have lost
			t.ids[u.rec.ID] = u
		}
		if u.rec.Disabled || u.damaged {
			continue
		}
		for _, k := range u.rec.Keys {
			t.keys[k.ID] = ownedKey{u, []byte(k.Secret)}
		}
	}
	return t
}

// loadUsers reads all users. One whose record does not open is kept out, and
// the operator is told: the others must get at their data.
func (s *Service) loadUsers(ctx context.Context) error {
	settings, err := s.store.Settings(ctx, settingUser)
	if err != nil {
		return err
	}
	names := make(map[string]*user, len(settings))
	for _, setting := range settings {
		u := &user{name: strings.TrimPrefix(setting, settingUser)}
		text, err := s.store.Setting(ctx, setting)
		if err == nil {
			err = json.Unmarshal(text, &u.rec)
			clear(text)
		}
		if err == nil {
			u.policies, err = compilePolicies(u.rec.Policies)
		}
		if err != nil {
			s.log.Error("a user cannot be read: their access keys do not work", "user", u.name, "error", err)
			u.damaged = true
		}
		names[u.name] = u
	}
	s.users.Store(newUserTable(names))
	return nil
}

func (s *Service) newUserKey() userKey {
	id, secret := NewKeyPair(KeyPrefix)
	return userKey{ID: id, Secret: secret, Created: s.now().UTC().Truncate(time.Second)}
}

// Users describes all users, by name.
func (s *Service) Users() []objstore.User {
	t := s.users.Load()
	list := make([]objstore.User, 0, len(t.names))
	for _, name := range slices.Sorted(maps.Keys(t.names)) {
		list = append(list, t.names[name].describe())
	}
	return list
}

func (u *user) describe() objstore.User {
	d := objstore.User{
		Name: u.name, ID: u.rec.ID, ARN: u.arn(), Created: u.rec.Created, Disabled: u.rec.Disabled, Damaged: u.damaged,
		Keys: make([]objstore.AccessKey, len(u.rec.Keys)), Policies: slices.Clone(u.rec.Policies),
	}
	for i, k := range u.rec.Keys {
		d.Keys[i] = objstore.AccessKey{ID: k.ID, Created: k.Created}
	}
	return d
}

// User describes a user. KindNotFound.
func (s *Service) User(name string) (objstore.User, error) {
	u, ok := s.users.Load().names[name]
	if !ok {
		return objstore.User{}, errNoUser("show user", name)
	}
	return u.describe(), nil
}

func errNoUser(op, name string) error {
	return objstore.E(objstore.KindNotFound, op, name, "there is no such user")
}

// changeUser changes the record of a user and makes it durable before it counts.
// For the next request it does. Errors of change are returned as they are.
func (s *Service) changeUser(ctx context.Context, op, name string, change func(*userRecord) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.users.Load().names[name]
	if !ok {
		return errNoUser(op, name)
	}
	if old.damaged {
		return objstore.E(objstore.KindCorrupt, op, name, "the user's record does not open: remove the user and add them again")
	}
	rec := old.rec
	rec.Keys, rec.Policies = slices.Clone(rec.Keys), slices.Clone(rec.Policies)
	if err := change(&rec); err != nil {
		return err
	}
	return s.putUser(ctx, op, name, rec)
}

// putUser stores a user and puts them into force. The caller holds mu.
func (s *Service) putUser(ctx context.Context, op, name string, rec userRecord) error {
	compiled, err := compilePolicies(rec.Policies)
	if err != nil {
		return err
	}
	text, err := json.Marshal(rec)
	if err != nil {
		return objstore.Wrap(objstore.KindInternal, op, name, err)
	}
	defer clear(text)
	if len(text) > engine.MaxSetting {
		return objstore.E(objstore.KindTooLarge, op, name, "the user's policies are over 64 KiB in all")
	}
	if err := s.store.SetSetting(context.WithoutCancel(ctx), settingUser+name, text); err != nil {
		return err
	}
	names := maps.Clone(s.users.Load().names)
	names[name] = &user{name: name, rec: rec, policies: compiled}
	s.users.Store(newUserTable(names))
	return nil
}

// AddUser makes a user with an access key, durably. KindExists,
// KindInvalidArgument: the name, KindMalformedPolicy. The record is sealed.
func (s *Service) AddUser(ctx context.Context, name string, policies []objstore.UserPolicy) (objstore.NewAccessKey, error) {
	const op = "add user"
	none := objstore.NewAccessKey{}
	if !objstore.ValidUserName(name) {
		return none, objstore.E(objstore.KindInvalidArgument, op, name, "a user's name has 1 to 64 letters, digits and characters of +=,.@-_, and is not root")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.users.Load()
	if _, ok := t.names[name]; ok {
		return none, objstore.E(objstore.KindExists, op, name, "there is such a user already")
	}
	if len(t.names) >= objstore.MaxUsers {
		return none, objstore.E(objstore.KindTooLarge, op, name, fmt.Sprintf("a store has at most %d users", objstore.MaxUsers))
	}
	key := s.newUserKey()
	id, _ := NewKeyPair("COFUSR")
	rec := userRecord{ID: id, Created: key.Created, Keys: []userKey{key}, Policies: slices.Clone(policies)}
	if err := s.putUser(ctx, op, name, rec); err != nil {
		return none, err
	}
	return objstore.NewAccessKey{User: name, ID: key.ID, Secret: key.Secret}, nil
}

// RemoveUser removes a user with their keys and sessions, durably. KindNotFound.
func (s *Service) RemoveUser(ctx context.Context, name string) error {
	const op = "remove user"
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.users.Load()
	if _, ok := t.names[name]; !ok {
		return errNoUser(op, name)
	}
	if err := s.store.RemoveSetting(context.WithoutCancel(ctx), settingUser+name); err != nil {
		return err
	}
	names := maps.Clone(t.names)
	delete(names, name)
	s.users.Store(newUserTable(names))
	return nil
}

// DisableUser takes a user's keys and sessions out of force, or puts them back,
// durably. KindNotFound.
func (s *Service) DisableUser(ctx context.Context, name string, disabled bool) error {
	op := "enable user"
	if disabled {
		op = "disable user"
	}
	return s.changeUser(ctx, op, name, func(r *userRecord) error {
		r.Disabled = disabled
		return nil
	})
}

// SetUserPolicies replaces what a user may do, durably. KindNotFound,
// KindMalformedPolicy.
func (s *Service) SetUserPolicies(ctx context.Context, name string, policies []objstore.UserPolicy) error {
	return s.changeUser(ctx, "set policy", name, func(r *userRecord) error {
		r.Policies = slices.Clone(policies)
		return nil
	})
}

// AddUserKey gives a user one more access key, durably. KindNotFound,
// KindTooLarge: they have MaxUserKeys.
func (s *Service) AddUserKey(ctx context.Context, name string) (objstore.NewAccessKey, error) {
	const op = "add key"
	key := s.newUserKey()
	err := s.changeUser(ctx, op, name, func(r *userRecord) error {
		if len(r.Keys) >= objstore.MaxUserKeys {
			return objstore.E(objstore.KindTooLarge, op, name, fmt.Sprintf("a user has at most %d access keys", objstore.MaxUserKeys))
		}
		r.Keys = append(r.Keys, key)
		return nil
	})
	if err != nil {
		return objstore.NewAccessKey{}, err
	}
	return objstore.NewAccessKey{User: name, ID: key.ID, Secret: key.Secret}, nil
}

// RotateUserKey replaces an access key of a user by a new one, in one step,
// durably. id may be empty if they have one alone. KindNotFound,
// KindInvalidArgument.
func (s *Service) RotateUserKey(ctx context.Context, name, id string) (objstore.NewAccessKey, error) {
	const op = "rotate key"
	key := s.newUserKey()
	err := s.changeUser(ctx, op, name, func(r *userRecord) error {
		if id == "" && len(r.Keys) == 0 {
			return objstore.E(objstore.KindNotFound, op, name, "the user has no access key")
		}
		if id == "" && len(r.Keys) > 1 {
			return objstore.E(objstore.KindInvalidArgument, op, name, fmt.Sprintf("the user has %d access keys: say which one", len(r.Keys)))
		}
		for i := range r.Keys {
			if id == "" || r.Keys[i].ID == id {
				r.Keys[i] = key
				return nil
			}
		}
		return errNoKey(op, name, id)
	})
	if err != nil {
		return objstore.NewAccessKey{}, err
	}
	return objstore.NewAccessKey{User: name, ID: key.ID, Secret: key.Secret}, nil
}

// RemoveUserKey removes an access key of a user, and the sessions that it began,
// durably. KindNotFound.
func (s *Service) RemoveUserKey(ctx context.Context, name, id string) error {
	const op = "remove key"
	return s.changeUser(ctx, op, name, func(r *userRecord) error {
		n := len(r.Keys)
		if r.Keys = slices.DeleteFunc(r.Keys, func(k userKey) bool { return k.ID == id }); len(r.Keys) == n {
			return errNoKey(op, name, id)
		}
		return nil
	})
}

func errNoKey(op, name, id string) error {
	return objstore.E(objstore.KindNotFound, op, name, fmt.Sprintf("the user has no access key %q", id))
}
