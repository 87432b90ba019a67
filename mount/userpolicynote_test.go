package mount

import (
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

func TestMisspeltConditionKeysOfAUserAreTold(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	const document = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIpp":"10.0.0.0/8"}}}}`
	own := objstore.UserPolicy{Name: "own", Document: document}
	for _, q := range []UserRequest{
		{Action: UserAdd, User: "ann", Policies: []objstore.UserPolicy{own, {Name: "backup"}}},
		{Action: UserPolicySet, User: "ann", Policies: []objstore.UserPolicy{own}},
	} {
		r, err := RunUser(t.Context(), c, q)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], `"own"`) || !strings.Contains(r.Notes[0], "aws:sourceipp") {
			t.Errorf("%s: notes %q", q.Action, r.Notes)
		}
	}
	if r, err := RunUser(t.Context(), c, UserRequest{Action: UserPolicySet, User: "ann", Policies: []objstore.UserPolicy{{Name: "readonly"}}}); err != nil || r.Notes != nil {
		t.Errorf("notes %q, %v", r.Notes, err)
	}
}
