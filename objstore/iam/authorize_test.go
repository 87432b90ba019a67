package iam

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
)

func addUser(t testing.TB, s *Service, name string, documents ...string) objstore.NewAccessKey {
	t.Helper()
	var list []objstore.UserPolicy
	for _, d := range documents {
		p := objstore.UserPolicy{Name: d}
		if strings.HasPrefix(d, "{") {
			p = objstore.UserPolicy{Name: "own", Document: d}
		}
		list = append(list, p)
	}
	k, err := s.AddUser(bg, name, list)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func principalOf(t testing.TB, s *Service, keyID string) *Principal {
	t.Helper()
	p, err := s.UserPrincipal(keyID)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func statementsOf(list ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(list, ",") + `]}`
}

func TestUsersAreKept(t *testing.T) {
	s, store := newService(t)
	alice := addUser(t, s, "alice", "readonly")
	bob := addUser(t, s, "bob", statementsOf(`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`), "backup")
	second, err := s.AddUserKey(bg, "bob")
	if err != nil {
		t.Fatal(err)
	}
	if len(alice.ID) != 20 || len(alice.Secret) != 40 || alice.ID == bob.ID || second.ID == bob.ID {
		t.Errorf("keys %v %v %v", alice.ID, bob.ID, second.ID)
	}
	before := fmt.Sprint(s.Users())
	for range 2 {
		if after := fmt.Sprint(s.Users()); after != before {
			t.Errorf("%s\nis not\n%s", after, before)
		}
		for _, k := range []objstore.NewAccessKey{alice, bob, second} {
			if secret, err := s.UserSecret(k.ID); err != nil || string(secret) != k.Secret {
				t.Errorf("key of %s: %v", k.User, err)
			}
			if p := principalOf(t, s, k.ID); p.UserName() != k.User {
				t.Errorf("key of %s belongs to %s", k.User, p.UserName())
			}
		}
		s = reopened(t, s, store)
	}
	if strings.Contains(before, alice.Secret) {
		t.Error("a secret is shown again")
	}
	err = store.Options.Meta.View(bg, func(r meta.Reader) error {
		for p, err := range r.Scan(meta.Prefix(nil)) {
			if err != nil {
				return err
			}
			if strings.Contains(string(p.Value), alice.Secret) || strings.Contains(string(p.Value), "readonly") {
				t.Errorf("record %q holds a user in the clear", p.Key)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestUserChangesCountAtOnce(t *testing.T) {
	s, _ := newService(t)
	makeBucket(t, s, "photos")
	k := addUser(t, s, "alice", "readonly")
	works := func(id string, want bool) {
		t.Helper()
		if _, err := s.UserSecret(id); (err == nil) != want {
			t.Errorf("key works: %v, want %v (%v)", err == nil, want, err)
		}
	}
	steps := []struct {
		do    func() error
		works bool
	}{
		{func() error { return s.DisableUser(bg, "alice", true) }, false},
		{func() error { return s.DisableUser(bg, "alice", true) }, false},
		{func() error { return s.DisableUser(bg, "alice", false) }, true},
		{func() error { return s.RemoveUserKey(bg, "alice", k.ID) }, false},
	}
	for i, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		works(k.ID, step.works)
	}
	k, err := s.AddUserKey(bg, "alice")
	if err != nil {
		t.Fatal(err)
	}
	next, err := s.RotateUserKey(bg, "alice", "")
	if err != nil {
		t.Fatal(err)
	}
	works(k.ID, false)
	works(next.ID, true)
	p := principalOf(t, s, next.ID)
	put := Access{Action: "s3:PutObject", Bucket: "photos", Key: "k"}
	if err := s.Authorize(bg, p, put); !objstore.IsKind(err, objstore.KindAccessDenied) {
		t.Errorf("readonly may put: %v", err)
	}
	if err := s.SetUserPolicies(bg, "alice", []objstore.UserPolicy{{Name: "readwrite", Buckets: []string{"photos"}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Authorize(bg, principalOf(t, s, next.ID), put); err != nil {
		t.Errorf("readwrite may not put: %v", err)
	}
	if err := s.RemoveUser(bg, "alice"); err != nil {
		t.Fatal(err)
	}
	works(next.ID, false)
	addUser(t, s, "alice")
	works(next.ID, false)
}

func TestUserRefusals(t *testing.T) {
	s, _ := newService(t)
	addUser(t, s, "alice")
	add := func(name string, p ...objstore.UserPolicy) func() error {
		return func() error { _, err := s.AddUser(bg, name, p); return err }
	}
	big := statementsOf(`{"Effect":"Allow","Action":"s3:*","Resource":["` + strings.Repeat(`arn:aws:s3:::b/*","`, 900) + `*"]}`)
	for _, c := range []struct {
		what string
		do   func() error
		kind objstore.Kind
	}{
		{"empty name", add(""), objstore.KindInvalidArgument},
		{"root", add("root"), objstore.KindInvalidArgument},
		{"slash", add("a/b"), objstore.KindInvalidArgument},
		{"65 bytes", add(strings.Repeat("a", 65)), objstore.KindInvalidArgument},
		{"twice", add("alice"), objstore.KindExists},
		{"no such policy", add("bob", objstore.UserPolicy{Name: "everything"}), objstore.KindMalformedPolicy},
		{"no such bucket name", add("bob", objstore.UserPolicy{Name: "backup", Buckets: []string{"*"}}), objstore.KindMalformedPolicy},
		{"principal", add("bob", objstore.UserPolicy{Name: "x", Document: statementsOf(`{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}`)}), objstore.KindMalformedPolicy},
		{"11 policies", add("bob", make([]objstore.UserPolicy, 11)...), objstore.KindMalformedPolicy},
		{"over 64 KiB", add("bob", objstore.UserPolicy{Document: big}, objstore.UserPolicy{Document: big}, objstore.UserPolicy{Document: big}, objstore.UserPolicy{Document: big}), objstore.KindTooLarge},
		{"remove nobody", func() error { return s.RemoveUser(bg, "bob") }, objstore.KindNotFound},
		{"disable nobody", func() error { return s.DisableUser(bg, "bob", true) }, objstore.KindNotFound},
		{"policy for nobody", func() error { return s.SetUserPolicies(bg, "bob", nil) }, objstore.KindNotFound},
		{"key for nobody", func() error { _, err := s.AddUserKey(bg, "bob"); return err }, objstore.KindNotFound},
		{"no such key", func() error { return s.RemoveUserKey(bg, "alice", "COFFER") }, objstore.KindNotFound},
		{"rotate no such key", func() error { _, err := s.RotateUserKey(bg, "alice", "COFFER"); return err }, objstore.KindNotFound},
	} {
		before := fmt.Sprint(s.Users())
		if err := c.do(); err == nil || objstore.KindOf(err) != c.kind {
			t.Errorf("%s: %v", c.what, err)
		}
		if after := fmt.Sprint(s.Users()); after != before {
			t.Errorf("%s changed something", c.what)
		}
	}
	for i := 1; i < objstore.MaxUserKeys; i++ {
		if _, err := s.AddUserKey(bg, "alice"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddUserKey(bg, "alice"); objstore.KindOf(err) != objstore.KindTooLarge {
		t.Errorf("one key too many: %v", err)
	}
	if _, err := s.RotateUserKey(bg, "alice", ""); objstore.KindOf(err) != objstore.KindInvalidArgument {
		t.Errorf("rotate which of %d: %v", objstore.MaxUserKeys, err)
	}
	keyless := addUser(t, s, "keyless")
	if err := s.RemoveUserKey(bg, "keyless", keyless.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RotateUserKey(bg, "keyless", ""); objstore.KindOf(err) != objstore.KindNotFound {
		t.Errorf("rotate which of none: %v", err)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	const (
		allowGet   = `{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}`
		denySecret = `{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::photos/secret/*"}`
	)
	s, _ := newService(t)
	makeBucket(t, s, "photos")
	none := principalOf(t, s, addUser(t, s, "none").ID)
	get := principalOf(t, s, addUser(t, s, "get", statementsOf(allowGet, denySecret)).ID)
	people := map[string]*Principal{"root": Root(), "nobody": Anonymous(), "none": none, "get": get}
	for _, c := range []struct {
		policy, key string
		allowed     string
	}{
		{"", "a", "root get"},
		{"", "secret/a", "root"},
		{`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/none"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}`, "a", "root get none"},
		{`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}`, "a", "root get none nobody"},
		{`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}`, "secret/a", "root none nobody"},
		{`{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}`, "a", ""},
		{`{"Effect":"Deny","NotPrincipal":{"AWS":["000000000000","arn:aws:iam::000000000000:user/none"]},"Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}`, "a", "root"},
	} {
		if err := s.store.SetPublicAccess(bg, s3C, "photos", nil); err != nil {
			t.Fatal(err)
		}
		if c.policy == "" {
			if err := s.store.DeleteBucketConfig(bg, s3C, "photos", objstore.ConfigPolicy); err != nil && objstore.KindOf(err) != objstore.KindNoSuchConfig {
				t.Fatal(err)
			}
		} else if err := s.SetBucketPolicy(bg, s3C, "photos", []byte(statementsOf(c.policy))); err != nil {
			t.Fatal(err)
		}
		for name, p := range people {
			err := s.Authorize(bg, p, Access{Action: "s3:GetObject", Bucket: "photos", Key: c.key})
			want := strings.Contains(" "+c.allowed+" ", " "+name+" ")
			if (err == nil) != want || err != nil && objstore.KindOf(err) != objstore.KindAccessDenied {
				t.Errorf("%s %s: %s: %v, want allowed %v", c.policy, c.key, name, err, want)
			}
		}
	}
	for name, p := range people {
		if err := s.Authorize(bg, p, Access{Action: "s3:GetObject", Bucket: "letters", Key: "a"}); objstore.KindOf(err) != objstore.KindNoSuchBucket {
			t.Errorf("%s in a bucket that is not there: %v", name, err)
		}
	}
}

func TestRootCannotBeLockedOutOfThePolicy(t *testing.T) {
	s, _ := newService(t)
	makeBucket(t, s, "photos")
	err := s.SetBucketPolicy(bg, s3C, "photos", []byte(statementsOf(`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::photos","arn:aws:s3:::photos/*"]}`)))
	if err != nil {
		t.Fatal(err)
	}
	admin := principalOf(t, s, addUser(t, s, "admin", "readwrite").ID)
	for _, action := range []string{"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy", "s3:ListBucket", "s3:DeleteBucket"} {
		if err := s.Authorize(bg, Root(), Access{Action: action, Bucket: "photos"}); (err == nil) != strings.HasSuffix(action, "Policy") {
			t.Errorf("root %s: %v", action, err)
		}
		if err := s.Authorize(bg, admin, Access{Action: action, Bucket: "photos"}); err == nil {
			t.Errorf("user %s: allowed", action)
		}
	}
}

func TestPublicAccessBlock(t *testing.T) {
	s, _ := newService(t)
	makeBucket(t, s, "photos")
	public := []byte(statementsOf(`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}`))
	users := []byte(statementsOf(`{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}`))
	is := func(want objstore.PublicAccessBlock, removed bool) {
		t.Helper()
		if p, err := s.store.PublicAccess(bg, "photos"); err != nil || p.Effective() != want || p.Removed() != removed {
			t.Errorf("%+v %v %v", p.Effective(), p.Removed(), err)
		}
	}
	is(objstore.PublicAccessBlock{BlockPublicACLs: true, IgnorePublicACLs: true, BlockPublicPolicy: true, RestrictPublicBuckets: true}, false)
	if err := s.SetBucketPolicy(bg, s3C, "photos", public); objstore.KindOf(err) != objstore.KindAccessDenied {
		t.Errorf("a public policy: %v", err)
	}
	if err := s.SetBucketPolicy(bg, s3C, "photos", users); err != nil {
		t.Errorf("a policy that is not public: %v", err)
	}
	restrict := objstore.PublicAccessBlock{RestrictPublicBuckets: true}
	if err := s.store.SetPublicAccess(bg, s3C, "photos", &restrict); err != nil {
		t.Fatal(err)
	}
	is(restrict, false)
	if err := s.SetBucketPolicy(bg, s3C, "photos", public); err != nil {
		t.Fatal(err)
	}
	get := Access{Action: "s3:GetObject", Bucket: "photos", Key: "a"}
	if err := s.Authorize(bg, Anonymous(), get); err == nil {
		t.Error("nobody gets in while public buckets are restricted")
	}
	if err := s.Authorize(bg, principalOf(t, s, addUser(t, s, "alice").ID), get); err != nil {
		t.Errorf("a user: %v", err)
	}
	if err := s.store.SetPublicAccess(bg, s3C, "photos", &objstore.PublicAccessBlock{}); err != nil {
		t.Fatal(err)
	}
	is(objstore.PublicAccessBlock{}, false)
	if err := s.Authorize(bg, Anonymous(), get); err != nil {
		t.Errorf("nobody: %v", err)
	}
	if err := s.store.SetPublicAccess(bg, s3C, "photos", nil); err != nil {
		t.Fatal(err)
	}
	is(objstore.PublicAccessBlock{}, true)
	if yes, err := s.BucketPolicyPublic(bg, "photos"); err != nil || !yes {
		t.Errorf("public: %v %v", yes, err)
	}
}

func TestBucketPolicyNamesUsersThatExist(t *testing.T) {
	s, _ := newService(t)
	makeBucket(t, s, "photos")
	text := []byte(statementsOf(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/alice"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}`))
	if err := s.SetBucketPolicy(bg, s3C, "photos", text); objstore.KindOf(err) != objstore.KindMalformedPolicy || !strings.Contains(err.Error(), "Invalid principal") {
		t.Errorf("nobody of that name: %v", err)
	}
	addUser(t, s, "alice")
	if err := s.SetBucketPolicy(bg, s3C, "photos", text); err != nil {
		t.Error(err)
	}
}

func TestOverwriteIsDeniedOnlyWhereSomebodySaysSo(t *testing.T) {
	s, _ := newService(t)
	makeBucket(t, s, "photos")
	a := Access{Action: "coffer:OverwriteObject", Bucket: "photos", Key: "k"}
	for policy, want := range map[string]bool{"readwrite": false, "readonly": false, "backup": true} {
		p := principalOf(t, s, addUser(t, s, policy, policy).ID)
		if denied, err := s.Denied(bg, p, a); err != nil || denied != want {
			t.Errorf("%s: %v %v", policy, denied, err)
		}
	}
	if denied, err := s.Denied(bg, Root(), a); err != nil || denied {
		t.Errorf("root: %v %v", denied, err)
	}
	err := s.SetBucketPolicy(bg, s3C, "photos", []byte(statementsOf(`{"Effect":"Deny","Principal":"*","Action":"coffer:OverwriteObject","Resource":"arn:aws:s3:::photos/*"}`)))
	if err != nil {
		t.Fatal(err)
	}
	if denied, err := s.Denied(bg, Root(), a); err != nil || !denied {
		t.Errorf("root where the bucket's policy denies it: %v %v", denied, err)
	}
}

func TestSessions(t *testing.T) {
	s, store := newService(t)
	now := time.Unix(1_800_000_000, 0)
	s.now = func() time.Time { return now }
	makeBucket(t, s, "photos")
	k := addUser(t, s, "alice", "readwrite")
	isRoot := func(id string) bool { return id == "ROOT" }
	onlyGet := statementsOf(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}`)
	begin := func(p *Principal, r SessionRequest) Credentials {
		t.Helper()
		n, err := s.BeginSession(bg, p, r)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	open := func(n Credentials) (*Principal, error) {
		p, secret, err := s.SessionPrincipal(bg, n.KeyID, n.Token, isRoot)
		if err == nil && string(secret) != n.Secret {
			t.Errorf("another secret")
		}
		return p, err
	}
	alice := principalOf(t, s, k.ID)
	plain := begin(alice, SessionRequest{KeyID: k.ID, Duration: time.Hour})
	narrow := begin(alice, SessionRequest{KeyID: k.ID, Role: "reader", Name: "s1", Policy: onlyGet, Duration: time.Hour})
	root := begin(Root(), SessionRequest{KeyID: "ROOT", Role: "reader", Name: "s2", Policy: onlyGet, Duration: time.Hour})
	for _, c := range []struct {
		n        Credentials
		arn      string
		get, put bool
	}{
		{plain, "arn:aws:iam::000000000000:user/alice", true, true},
		{narrow, "arn:aws:sts::000000000000:assumed-role/reader/s1", true, false},
		{root, "arn:aws:sts::000000000000:assumed-role/reader/s2", true, false},
	} {
		p, err := open(c.n)
		if err != nil {
			t.Fatal(err)
		}
		if p.SessionARN() != c.arn || c.n.ARN != c.arn {
			t.Errorf("ARN %s, want %s", p.SessionARN(), c.arn)
		}
		for action, want := range map[string]bool{"s3:GetObject": c.get, "s3:PutObject": c.put} {
			if err := s.Authorize(bg, p, Access{Action: action, Bucket: "photos", Key: "a"}); (err == nil) != want {
				t.Errorf("%s: %s: %v", c.arn, action, err)
			}
		}
	}
	if p, _ := open(narrow); p.UserName() != "alice" || !strings.HasSuffix(p.UserID(), ":s1") {
		t.Errorf("%s %s", p.UserName(), p.UserID())
	}

	// A session of GetSessionToken can assume a role, until it ends itself.
	inner, _ := open(plain)
	now = now.Add(30 * time.Minute)
	if n := begin(inner, SessionRequest{KeyID: plain.KeyID, Role: "reader", Name: "s3", Duration: time.Hour}); !n.Expires.Equal(plain.Expires) {
		t.Errorf("ends at %v, its session at %v", n.Expires, plain.Expires)
	}
	for _, r := range []SessionRequest{{KeyID: plain.KeyID, Duration: time.Hour}} {
		if _, err := s.BeginSession(bg, inner, r); objstore.KindOf(err) != objstore.KindAccessDenied {
			t.Errorf("a session's session: %v", err)
		}
	}

	// What is not a token of this key.
	other := begin(alice, SessionRequest{KeyID: k.ID, Duration: time.Hour})
	for what, bad := range map[string]Credentials{
		"empty":        {KeyID: plain.KeyID},
		"no base64":    {KeyID: plain.KeyID, Token: "!"},
		"changed":      {KeyID: plain.KeyID, Token: plain.Token[:60] + string(plain.Token[60]^1) + plain.Token[61:]},
		"cut":          {KeyID: plain.KeyID, Token: plain.Token[:len(plain.Token)-4]},
		"another's":    {KeyID: plain.KeyID, Token: other.Token},
		"the user's":   {KeyID: k.ID, Token: plain.Token},
		"far too long": {KeyID: plain.KeyID, Token: strings.Repeat("A", maxToken+1)},
	} {
		if _, err := open(bad); !errors.Is(err, ErrInvalidToken) {
			t.Errorf("%s: %v", what, err)
		}
	}

	// The store may be opened anew, and the key of the root be taken away.
	again := reopened(t, s, store)
	if _, _, err := again.SessionPrincipal(bg, plain.KeyID, plain.Token, isRoot); err != nil {
		t.Errorf("after opening again: %v", err)
	}
	s = again
	if _, _, err := s.SessionPrincipal(bg, root.KeyID, root.Token, func(string) bool { return false }); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("of a root key that is no more: %v", err)
	}
	// It ends with the user, with the key, and with time.
	for _, disabled := range []bool{true, false} {
		if err := s.DisableUser(bg, "alice", disabled); err != nil {
			t.Fatal(err)
		}
		if _, err := open(plain); (err == nil) == disabled {
			t.Errorf("while disabled is %v: %v", disabled, err)
		}
	}
	now = plain.Expires
	if _, err := open(plain); !errors.Is(err, ErrExpiredToken) {
		t.Errorf("at its end: %v", err)
	}
	now = plain.Expires.Add(-time.Second)
	if _, err := open(plain); err != nil {
		t.Errorf("before its end: %v", err)
	}
	if _, err := s.RotateUserKey(bg, "alice", k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := open(plain); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("after its key is gone: %v", err)
	}
}

func BenchmarkAuthorizeRoot(b *testing.B) {
	s, _ := newService(b)
	makeBucket(b, s, "photos")
	a := Access{Action: "s3:GetObject", Bucket: "photos", Key: "k"}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Authorize(bg, Root(), a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAuthorizeUser(b *testing.B) {
	s, _ := newService(b)
	makeBucket(b, s, "photos")
	p := principalOf(b, s, addUser(b, s, "alice", "readwrite").ID)
	a := Access{Action: "s3:GetObject", Bucket: "photos", Key: "k"}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Authorize(bg, p, a); err != nil {
			b.Fatal(err)
		}
	}
}
