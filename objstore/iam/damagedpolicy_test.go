package iam

import (
	"testing"
	"time"

	"github.com/cofferfs/coffer/objstore"
)

func TestDamagedPolicyIsRootsToReplace(t *testing.T) {
	s, _ := newService(t)
	makeBucket(t, s, "photos")
	if err := s.store.SetBucketConfig(bg, s3C, "photos", objstore.ConfigPolicy, []byte("no policy")); err != nil {
		t.Fatal(err)
	}
	n, err := s.BeginSession(bg, Root(), SessionRequest{KeyID: "ROOT", Role: "reader", Name: "narrow", Duration: time.Hour,
		Policy: statementsOf(`{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}`)})
	if err != nil {
		t.Fatal(err)
	}
	narrow, _, err := s.SessionPrincipal(bg, n.KeyID, n.Token, func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		action      string
		root, inner objstore.Kind // 0: allowed
	}{
		{"s3:PutBucketPolicy", 0, objstore.KindAccessDenied}, // the session's own policy counts all the same
		{"s3:GetBucketPolicy", 0, 0},
		{"s3:GetBucketAcl", objstore.KindCorrupt, objstore.KindCorrupt},
	} {
		for _, who := range []struct {
			p    *Principal
			want objstore.Kind
		}{{Root(), c.root}, {narrow, c.inner}} {
			err := s.Authorize(bg, who.p, Access{Action: c.action, Bucket: "photos"})
			if (err == nil) != (who.want == 0) || err != nil && objstore.KindOf(err) != who.want {
				t.Errorf("%s of %s: %v", c.action, who.p.SessionARN(), err)
			}
		}
	}
}
