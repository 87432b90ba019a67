package s3api

import (
	"fmt"
	"testing"
	"time"
)

// By aws:TokenIssueTime sessions are revoked that were begun before a moment ("Revoking
// IAM role temporary security credentials", IAM user guide).
func TestConditionsOnSessions(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	a := d.sts("Action", "GetSessionToken")
	if a.status != 200 {
		t.Fatal(a.body)
	}
	c := a.Session.Credentials
	s := d.as(c.AccessKeyId, c.SecretAccessKey, c.SessionToken)
	hour := func(n int) string { return time.Now().Add(time.Duration(n) * time.Hour).UTC().Format(time.RFC3339) }
	for _, c := range []struct {
		condition     string
		session, root int
	}{
		{fmt.Sprintf(`"DateLessThan":{"aws:TokenIssueTime":"%s"}`, hour(1)), 403, 200},
		{fmt.Sprintf(`"DateLessThan":{"aws:TokenIssueTime":"%s"}`, hour(-1)), 200, 200},
		{`"Null":{"aws:TokenIssueTime":"true"}`, 200, 403},
		{`"Bool":{"aws:MultiFactorAuthPresent":"false"}`, 403, 200},
		{`"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}`, 403, 403},
	} {
		d.policy("bucket", `{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*","Condition":{`+c.condition+`}}`)
		s.do("GET", "/bucket/k", "").ok(t, "session: "+c.condition, c.session)
		d.do("GET", "/bucket/k", "").ok(t, "root: "+c.condition, c.root)
	}
}
