package mount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/iam"
)

// UserAction is what `coffer user` asks for. The values are part of the admin
// API.
type UserAction string

const (
	UserAdd          UserAction = "add"
	UserList         UserAction = "list"
	UserShow         UserAction = "show"
	UserRemove       UserAction = "remove"
	UserDisable      UserAction = "disable"
	UserEnable       UserAction = "enable"
	UserKeyAdd       UserAction = "key-add"
	UserKeyRotate    UserAction = "key-rotate"
	UserKeyRemove    UserAction = "key-remove"
	UserPolicySet    UserAction = "policy-set"
	UserPolicyRemove UserAction = "policy-remove"
)

// UserRequest asks for something about a user.
type UserRequest struct {
	Action UserAction `json:"action"`
	User   string     `json:"user,omitempty"`
	Key    string     `json:"key,omitempty"` // access key id
	// Policies of the user, which take the place of those that they have.
	Policies []objstore.UserPolicy `json:"policies,omitempty"`
}

// UserReply answers it.
type UserReply struct {
	// Users are all users, without their policies' documents, or the one that was
	// asked for, with them.
	Users []objstore.User `json:"users,omitempty"`
	// Key is a key that was made. Nobody is told its secret again.
	Key *objstore.NewAccessKey `json:"key,omitempty"`
	// Notes are what the policies that were set say in vain.
	Notes []string `json:"notes,omitempty"`
}

// RunUser manages the users of a store: through the daemon that has it open or,
// if none has, in this process, which then needs the key file or passphrase.
// With a daemon, changes count for the next request.
func RunUser(ctx context.Context, cfg Config, q UserRequest) (UserReply, error) {
	return askOrDo(ctx, cfg, "/v1/user", q, userDirectly)
}

// userDirectly manages the users of a store that no daemon has open.
func userDirectly(ctx context.Context, cfg Config, q UserRequest) (_ UserReply, err error) {
	state, _, err := inspect(&cfg)
	if err != nil {
		return UserReply{}, err
	}
	if state != dirStore {
		return UserReply{}, errNoStore(&cfg)
	}
	cfg.ReadOnly = q.Action == UserList || q.Action == UserShow
	lock, err := lockStore(&cfg)
	if err != nil {
		return UserReply{}, err
	}
	s, err := openStore(ctx, &cfg, lock, slog.New(slog.DiscardHandler))
	if err != nil {
		return UserReply{}, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return userAdmin(ctx, s.iam, s.log, q)
}

// userAdmin does what is asked for. The log is told of changes, by name and
// access key id.
func userAdmin(ctx context.Context, users *iam.Service, log *slog.Logger, q UserRequest) (r UserReply, err error) {
	made := func(k objstore.NewAccessKey, err error) error {
		r.Key = &k
		return err
	}
	switch q.Action {
	case UserList:
		r.Users = users.Users()
		for i := range r.Users {
			for j := range r.Users[i].Policies {
				r.Users[i].Policies[j].Document = ""
			}
		}
		return r, nil
	case UserAdd:
		err = made(users.AddUser(ctx, q.User, q.Policies))
	case UserShow:
	case UserRemove:
		err = users.RemoveUser(ctx, q.User)
	case UserDisable, UserEnable:
		err = users.DisableUser(ctx, q.User, q.Action == UserDisable)
	case UserKeyAdd:
		err = made(users.AddUserKey(ctx, q.User))
	case UserKeyRotate:
		err = made(users.RotateUserKey(ctx, q.User, q.Key))
	case UserKeyRemove:
		err = users.RemoveUserKey(ctx, q.User, q.Key)
	case UserPolicySet, UserPolicyRemove:
		err = users.SetUserPolicies(ctx, q.User, q.Policies)
	default:
		err = fmt.Errorf("the daemon does not know the action %q", q.Action)
	}
	if err != nil {
		return UserReply{}, userError(q, err)
	}
	if q.Action != UserShow {
		attrs := []any{"action", string(q.Action), "user", q.User}
		if q.Key != "" {
			attrs = append(attrs, "access_key", q.Key)
		}
		if r.Key != nil {
			attrs = append(attrs, "new_access_key", r.Key.ID)
		}
		log.Info("user changed", attrs...)
	}
	r.Notes = unknownKeys(q.Policies)
	if q.Action != UserRemove {
		u, err := users.User(q.User)
		if err != nil {
			return UserReply{}, userError(q, err)
		}
		for i := range u.Policies {
			if text, err := iam.PolicyText(u.Policies[i]); err == nil {
				u.Policies[i].Document = string(text)
			}
		}
		r.Users = []objstore.User{u}
	}
	return r, nil
}

// unknownKeys tells of condition keys in policies that no request has, misspelt ones first
// of all: a Deny that asks for one may never deny.
func unknownKeys(list []objstore.UserPolicy) (notes []string) {
	for _, p := range list {
		if keys, err := iam.UnknownKeys(p); err == nil && keys != nil {
			notes = append(notes, fmt.Sprintf("policy %q has condition keys that no request has: %s", p.Name, strings.Join(keys, ", ")))
		}
	}
	return notes
}

// userError words what a Service of iam says for people.
func userError(q UserRequest, err error) error {
	var e *objstore.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case objstore.KindNotFound:
		hint := "coffer user list shows all users"
		if q.Action == UserKeyRemove || q.Action == UserKeyRotate {
			hint = "coffer user key list shows the keys of one, coffer user list all users"
		}
		return hinted(fmt.Errorf("user %q: %s", q.User, e.Msg), hint)
	case objstore.KindExists:
		return hinted(fmt.Errorf("user %q: %s", q.User, e.Msg), "coffer user key add gives them another access key")
	case objstore.KindMalformedPolicy:
		return fmt.Errorf("policy %q: %s", e.What, e.Msg)
	case objstore.KindReadOnly:
		return readOnly(err)
	case objstore.KindInvalidArgument, objstore.KindTooLarge, objstore.KindCorrupt:
		err := fmt.Errorf("user %q: %s", q.User, e.Msg)
		switch {
		case e.Kind == objstore.KindInvalidArgument && q.Action == UserKeyRotate && q.Key == "":
			return hinted(err, "coffer user key list shows them: put one behind the user's name")
		case e.Kind == objstore.KindTooLarge && q.Action == UserKeyAdd:
			return hinted(err, "coffer user key rotate replaces one, coffer user key remove makes room")
		}
		return err
	}
	return err
}
