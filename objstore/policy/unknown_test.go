package policy

import (
	"slices"
	"testing"
)

func TestKeysThatNoRequestHasAreTold(t *testing.T) {
	p, err := Parse([]byte(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::b/${aws:usrname}/${aws:username, 'x'}/${s3:prefix}","Condition":{
			"IpAddress":{"aws:SourceIPs":"10.0.0.0/8","aws:SourceIp":"10.0.0.0/8"},
			"StringLike":{"s3:prefx":"a","s3:prefix":"${aws:userID}","aws:SourceVpc":"${aws:PrincipalTag/team}","aws:RequestTag/a":"x","s3:ExistingObjectTag/A":"x",
				"s3:x-amz-acl":"x","kms:ViaService":"x","ec2:Region":"x"}}},
		{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"AWS:SecureTransport":"true","aws:sourceips":"true"}}}]}`), Identity)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"aws:principaltag/team", "aws:sourceips", "aws:sourcevpc", "aws:usrname", "ec2:region", "s3:prefx"}
	if got := p.UnknownKeys(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, name := range ReadyMadeNames() {
		text, _ := ReadyMade(name, "b")
		p, err := Parse(text, Identity)
		if err != nil || p.UnknownKeys() != nil {
			t.Errorf("%s: %q, %v", name, p.UnknownKeys(), err)
		}
	}
}
