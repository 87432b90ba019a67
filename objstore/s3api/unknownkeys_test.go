package s3api

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/policy"
)

// What is said of condition keys that no request has is what the door does.
func TestKeysThatNoRequestHasAreThose(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.put("bucket", "k", "x")
	u := d.user("ann")
	for key, had := range map[string]bool{
		"aws:username": true, "aws:userid": true, "aws:PrincipalArn": true, "aws:PrincipalAccount": true, "aws:PrincipalType": true,
		"aws:ResourceAccount": true, "aws:RequestedRegion": true, "aws:SecureTransport": true, "aws:SourceIp": true, "aws:UserAgent": true,
		"aws:Referer": true, "aws:CurrentTime": true, "aws:EpochTime": true, "aws:ViaAWSService": true, "aws:PrincipalIsAWSService": true,
		"s3:authType": true, "s3:signatureversion": true, "s3:signatureAge": true, "s3:ResourceAccount": true, "s3:if-match": true,
		"s3:x-amz-content-sha256": true, "s3:ObjectCreationOperation": true,

		"aws:SourceIP ": false, "aws:sourceips": false, "aws:SourceVpc": false, "aws:PrincipalOrgID": false, "aws:PrincipalTag/team": false,
		"aws:ResourceTag/team": false, "aws:MultiFactorAuthAge": false, "s3:prefx": false, "ec2:Region": false,
	} {
		document := statements(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"Null":{"` + key + `":"false"}}}`)
		if err := d.iam.SetUserPolicies(context.Background(), "ann", []objstore.UserPolicy{{Name: "own", Document: document}}); err != nil {
			t.Fatal(err)
		}
		p, err := policy.Parse([]byte(document), policy.Identity)
		if err != nil {
			t.Fatal(err)
		}
		want, unknown := 403, []string{strings.ToLower(key)}
		if had {
			want, unknown = 200, nil
		}
		if a := u.do("GET", "/bucket/k", "", "Referer", "x", "User-Agent", "x", "If-Match", `"`+md5Hex("x")+`"`); a.status != want {
			t.Errorf("%q: %v", key, a)
		}
		if got := p.UnknownKeys(); !slices.Equal(got, unknown) {
			t.Errorf("%q: unknown are %q", key, got)
		}
	}
}
