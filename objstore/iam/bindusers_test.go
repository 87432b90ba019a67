package iam

import (
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

// A policy speaks of who had a name when it was put, not of who has it later.
func TestUserOfARemovedNameHasNoGrant(t *testing.T) {
	s, store := newService(t)
	makeBucket(t, s, "photos")
	const everything = `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`
	get, list := Access{Action: "s3:GetObject", Bucket: "photos", Key: "a"}, Access{Action: "s3:ListBucket", Bucket: "photos"}
	put := Access{Action: "s3:PutObject", Bucket: "photos", Key: "a"}
	anna, bert := addUser(t, s, "anna"), addUser(t, s, "bert", statementsOf(everything))
	text := func(anna string) string {
		return statementsOf(`{"Effect":"Allow","Principal":{"AWS":["`+anna+`","arn:aws:iam::111111111111:user/anna"]},"Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}`,
			`{"Effect":"Deny","NotPrincipal":{"AWS":["000000000000","`+anna+`"]},"Action":"s3:ListBucket","Resource":"arn:aws:s3:::photos"}`,
			`{"Effect":"Deny","Principal":{"AWS":"`+anna+`"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::photos/*"}`)
	}
	document := text(userARN + "anna")
	if err := s.SetBucketPolicy(bg, s3C, "photos", []byte(document)); err != nil {
		t.Fatal(err)
	}
	may := func(key objstore.NewAccessKey, a Access, want bool) {
		t.Helper()
		if err := s.Authorize(bg, principalOf(t, s, key.ID), a); (err == nil) != want {
			t.Errorf("%s %s: %v, want allowed %v", key.User, a.Action, err, want)
		}
	}
	told := func(want string) {
		t.Helper()
		if got, err := s.BucketPolicy(bg, "photos"); err != nil || string(got) != want {
			t.Errorf("%s\nis not\n%s: %v", got, want, err)
		}
	}
	may(anna, get, true)
	n, err := s.BeginSession(bg, principalOf(t, s, anna.ID), SessionRequest{KeyID: anna.ID, Role: "reader", Name: "s", Duration: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	session, _, err := s.SessionPrincipal(bg, n.KeyID, n.Token, func(string) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Authorize(bg, session, get); err != nil {
		t.Errorf("a session of who is named: %v", err)
	}
	may(bert, list, false)
	told(document)
	first, err := s.User("anna")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveUser(bg, "anna"); err != nil {
		t.Fatal(err)
	}
	told(text(first.ID))
	anna = addUser(t, s, "anna")
	for range 2 {
		may(anna, get, false)
		told(text(first.ID))
		s = reopened(t, s, store)
	}
	if err := s.SetUserPolicies(bg, "anna", []objstore.UserPolicy{{Name: "readwrite"}}); err != nil {
		t.Fatal(err)
	}
	may(anna, list, false)
	may(anna, put, true)
	if err := s.SetBucketPolicy(bg, s3C, "photos", []byte(text(first.ID))); objstore.KindOf(err) != objstore.KindMalformedPolicy {
		t.Errorf("the id of a user who is gone: %v", err)
	}
	second, err := s.User("anna")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetBucketPolicy(bg, s3C, "photos", []byte(text(second.ID))); err != nil {
		t.Fatal(err)
	}
	told(document)
	may(anna, list, true)
	may(anna, put, false)
}
