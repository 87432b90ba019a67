package policy

import (
	"strings"
	"testing"
)

func TestWithUsersChangesPrincipalsAlone(t *testing.T) {
	const ann, bob, none = "arn:aws:iam::000000000000:user/ann", "arn:aws:iam::000000000000:user/bob", "arn:aws:iam::000000000000:user/none"
	text := func(ann, bob string) string {
		return `{ "Id":"arn:aws:iam::000000000000:user/ann",
  "Statement" : [{"Principal" : {"AWS":[ "*","000000000000" ,` + ann + `,"` + none + `"
   ,` + bob + `],"Federated":"arn:aws:iam::000000000000:user/ann"},"Sid":"arn:aws:iam::000000000000:user/ann","Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::b/arn:aws:iam::000000000000:user/ann"]},
 {"Effect":"Deny","NotPrincipal":{"AWS":` + ann + `},"Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalArn":"arn:aws:iam::000000000000:user/ann"}}}] }
`
	}
	for _, written := range []string{`"` + ann + `"`, `"\u0061rn:aws:iam::000000000000:user\/ann"`} {
		document := text(written, `"`+bob+`"`)
		p, err := Parse([]byte(document), Resource)
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]string{ann: "ANN0", bob: "BOB0"}
		got := p.WithUsers([]byte(document), func(user string) string {
			if id := ids[user]; id != "" {
				return id
			}
			return user
		})
		if want := text(`"ANN0"`, `"BOB0"`); string(got) != want {
			t.Errorf("%s\nis not\n%s", got, want)
		}
		if same := p.WithUsers([]byte(document), func(user string) string { return user }); string(same) != document {
			t.Errorf("%s\nis not\n%s", same, document)
		}
	}
}

func TestPrincipals(t *testing.T) {
	const rest = `,"Action":"s3:GetObject","Resource":"*"`
	canonical := strings.Repeat("0a", 32)
	owner := root
	owner.CanonicalID = canonical
	for _, c := range []struct {
		fields string
		who    Principal
		want   Decision
	}{
		{`"Effect":"Allow","Principal":"*"`, nobody, Allow},
		{`"Effect":"Allow","Principal":"*"`, alice, Allow},
		{`"Effect":"Allow","Principal":{"AWS":"*"}`, nobody, Allow},
		{`"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::000000000000:user/alice"]}`, alice, Allow},
		{`"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::000000000000:user/alice"]}`, bob, None},
		{`"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::000000000000:user/alice"]}`, nobody, None},
		// The account: a Deny reaches its users, an Allow leaves them to their policies.
		{`"Effect":"Allow","Principal":{"AWS":"000000000000"}`, alice, None},
		{`"Effect":"Allow","Principal":{"AWS":"000000000000"}`, root, Allow},
		{`"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::000000000000:root"}`, alice, Deny},
		{`"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::000000000000:root"}`, nobody, None},
		{`"Effect":"Deny","Principal":{"AWS":"111111111111"}`, alice, None},
		{`"Effect":"Deny","Principal":{"CanonicalUser":"` + canonical + `"}`, owner, Deny},
		{`"Effect":"Deny","Principal":{"CanonicalUser":"` + canonical + `"}`, nobody, None},
		{`"Effect":"Allow","Principal":{"Service":"logging.s3.amazonaws.com"}`, root, None},
		{`"Effect":"Allow","Principal":{"Service":"*"}`, nobody, None},
		{`"Effect":"Allow","Principal":{"Federated":"*"}`, nobody, None},
		{`"Effect":"Deny","NotPrincipal":{"Service":"*"}`, alice, Deny},
		{`"Effect":"Allow","Principal":{"AWS":["ALICEALICEALICE0","arn:aws:iam::000000000000:user/bob"]}`, Principal{Account: account, Names: []string{"x", "ALICEALICEALICE0"}}, Allow},
		{`"Effect":"Allow","Principal":{"AWS":"ALICEALICEALICE0"}`, alice, None},
		{`"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::000000000000:user/alice","000000000000"]}`, alice, None},
		{`"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::000000000000:user/alice","000000000000"]}`, root, None},
		{`"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::000000000000:user/alice","000000000000"]}`, bob, Deny},
		{`"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::000000000000:user/alice","000000000000"]}`, nobody, Deny},
	} {
		p := mustParse(t, statementOf(c.fields+rest), Resource)
		if got := p.Evaluate(&Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Principal: c.who}); got != c.want {
			t.Errorf("%s: %v is %v, want %v", c.fields, c.who, got, c.want)
		}
	}
}
