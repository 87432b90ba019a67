package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const account = "000000000000"

var (
	root   = Principal{Account: account, Root: true, Names: []string{"arn:aws:iam::" + account + ":root"}}
	alice  = Principal{Account: account, Names: []string{"arn:aws:iam::" + account + ":user/alice"}}
	bob    = Principal{Account: account, Names: []string{"arn:aws:iam::" + account + ":user/bob"}}
	nobody = Principal{}
)

// keys makes Values of pairs; several values of a key stand between bars.
func keys(pairs ...string) func(string) ([]string, bool) {
	m := map[string][]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[strings.ToLower(pairs[i])] = strings.Split(pairs[i+1], "|")
	}
	return func(key string) ([]string, bool) { v, ok := m[key]; return v, ok }
}

func mustParse(t *testing.T, text string, kind Kind) *Policy {
	t.Helper()
	p, err := Parse([]byte(text), kind)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func statementOf(fields string) string {
	return `{"Version":"2012-10-17","Statement":{` + fields + `}}`
}

func TestActionsAndResources(t *testing.T) {
	for _, c := range []struct {
		fields, action, resource string
		want                     Decision
	}{
		{`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"`, "s3:GetObject", "arn:aws:s3:::b/k", Allow},
		{`"Effect":"Allow","Action":"S3:getobject","Resource":"arn:aws:s3:::b/k"`, "s3:GetObject", "arn:aws:s3:::b/k", Allow},
		{`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/K"`, "s3:GetObject", "arn:aws:s3:::b/k", None},
		{`"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/k"`, "s3:GetObjectAcl", "arn:aws:s3:::b/k", None},
		{`"Effect":"Allow","Action":"s3:Get*","Resource":"*"`, "s3:GetObjectAcl", "arn:aws:s3:::b/k", Allow},
		{`"Effect":"Allow","Action":"s3:G?tObject","Resource":"*"`, "s3:GetObject", "arn:aws:s3:::b/k", Allow},
		{`"Effect":"Allow","Action":"*","Resource":"*"`, "coffer:OverwriteObject", "arn:aws:s3:::b/k", Allow},
		{`"Effect":"Allow","Action":["s3:PutObject","s3:GetObject"],"Resource":["arn:aws:s3:::a/*","arn:aws:s3:::b/*"]`, "s3:GetObject", "arn:aws:s3:::b/x/y", Allow},
		{`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/*"`, "s3:ListBucket", "arn:aws:s3:::b", None},
		{`"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::b/*"`, "s3:GetObject", "arn:aws:s3:::b/", Deny},
		{`"Effect":"Allow","NotAction":"s3:Delete*","Resource":"*"`, "s3:GetObject", "arn:aws:s3:::b/k", Allow},
		{`"Effect":"Allow","NotAction":"s3:Delete*","Resource":"*"`, "s3:DeleteObject", "arn:aws:s3:::b/k", None},
		{`"Effect":"Deny","Action":"s3:*","NotResource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]`, "s3:GetObject", "arn:aws:s3:::b/k", None},
		{`"Effect":"Deny","Action":"s3:*","NotResource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]`, "s3:GetObject", "arn:aws:s3:::c/k", Deny},
		{`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/a?c"`, "s3:GetObject", "arn:aws:s3:::b/aäc", Allow},
		{`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/*.jpg"`, "s3:GetObject", "arn:aws:s3:::b/x.jpg.png.jpg", Allow},
		{`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/*.jpg"`, "s3:GetObject", "arn:aws:s3:::b/x.jpg.png", None},
		{`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${*}"`, "s3:GetObject", "arn:aws:s3:::b/x", None},
		{`"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${*}${?}${$}"`, "s3:GetObject", "arn:aws:s3:::b/*?$", Allow},
	} {
		p := mustParse(t, statementOf(c.fields), Identity)
		if got := p.Evaluate(&Request{Action: c.action, Resource: c.resource}); got != c.want {
			t.Errorf("%s: %s on %s is %v, want %v", c.fields, c.action, c.resource, got, c.want)
		}
	}
}

func TestDenyWinsWhereverItStands(t *testing.T) {
	allow := `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`
	deny := `{"Effect":"Deny","Action":"s3:DeleteObject","Resource":"*"}`
	for _, list := range []string{allow + "," + deny, deny + "," + allow} {
		p := mustParse(t, `{"Version":"2012-10-17","Statement":[`+list+`]}`, Identity)
		for action, want := range map[string]Decision{"s3:DeleteObject": Deny, "s3:GetObject": Allow, "sqs:X": None} {
			if got := p.Evaluate(&Request{Action: action, Resource: "arn:aws:s3:::b/k"}); got != want {
				t.Errorf("%s: %s is %v, want %v", list, action, got, want)
			}
		}
	}
}

func TestConditionOperators(t *testing.T) {
	const now = "2026-11-21T12:00:00Z"
	for _, c := range []struct {
		condition string
		keys      []string
		want      bool
	}{
		{`"StringEquals":{"s3:prefix":"a"}`, []string{"s3:prefix", "a"}, true},
		{`"StringEquals":{"S3:Prefix":["b","a"]}`, []string{"s3:prefix", "a"}, true},
		{`"StringEquals":{"s3:prefix":"a*"}`, []string{"s3:prefix", "ab"}, false},
		{`"StringEquals":{"s3:prefix":"A"}`, []string{"s3:prefix", "a"}, false},
		{`"StringEquals":{"s3:prefix":"a"}`, nil, false},
		{`"StringEquals":{"s3:prefix":""}`, []string{"s3:prefix", ""}, true},
		{`"StringEquals":{"s3:prefix":[]}`, []string{"s3:prefix", ""}, false},
		{`"StringNotEquals":{"s3:prefix":["a","b"]}`, []string{"s3:prefix", "c"}, true},
		{`"StringNotEquals":{"s3:prefix":["a","b"]}`, []string{"s3:prefix", "b"}, false},
		{`"StringNotEquals":{"s3:prefix":"a"}`, nil, true},
		{`"StringEqualsIgnoreCase":{"s3:prefix":"Ä"}`, []string{"s3:prefix", "ä"}, true},
		{`"StringNotEqualsIgnoreCase":{"s3:prefix":"A"}`, []string{"s3:prefix", "a"}, false},
		{`"StringLike":{"s3:prefix":"home/?/*"}`, []string{"s3:prefix", "home/x/y/z"}, true},
		{`"StringLike":{"s3:prefix":"home/?/*"}`, []string{"s3:prefix", "home/xy/z"}, false},
		{`"StringNotLike":{"s3:prefix":"home/*"}`, []string{"s3:prefix", "home/"}, false},
		{`"NumericEquals":{"s3:max-keys":10}`, []string{"s3:max-keys", "10"}, true},
		{`"NumericEquals":{"s3:max-keys":"10"}`, []string{"s3:max-keys", "10.0"}, true},
		{`"NumericNotEquals":{"s3:max-keys":10}`, []string{"s3:max-keys", "11"}, true},
		{`"NumericLessThan":{"s3:max-keys":10}`, []string{"s3:max-keys", "10"}, false},
		{`"NumericLessThan":{"s3:max-keys":10}`, []string{"s3:max-keys", "9"}, true},
		{`"NumericLessThanEquals":{"s3:max-keys":10}`, []string{"s3:max-keys", "10"}, true},
		{`"NumericGreaterThan":{"s3:max-keys":10}`, []string{"s3:max-keys", "10"}, false},
		{`"NumericGreaterThanEquals":{"s3:max-keys":10}`, []string{"s3:max-keys", "10"}, true},
		{`"NumericGreaterThanEquals":{"s3:max-keys":10}`, []string{"s3:max-keys", "ten"}, false},
		{`"NumericNotEquals":{"s3:max-keys":10}`, []string{"s3:max-keys", "ten"}, true},
		{`"DateEquals":{"aws:CurrentTime":"2026-11-21T13:00:00+01:00"}`, []string{"aws:CurrentTime", now}, true},
		{`"DateNotEquals":{"aws:CurrentTime":"2026-11-21"}`, []string{"aws:CurrentTime", now}, true},
		{`"DateLessThan":{"aws:CurrentTime":"2026-11-21T12:00:01Z"}`, []string{"aws:CurrentTime", now}, true},
		{`"DateLessThanEquals":{"aws:CurrentTime":"2026-11-21T12:00Z"}`, []string{"aws:CurrentTime", now}, true},
		{`"DateGreaterThan":{"aws:CurrentTime":"2026-11"}`, []string{"aws:CurrentTime", now}, true},
		{`"DateGreaterThanEquals":{"aws:CurrentTime":"2027"}`, []string{"aws:CurrentTime", now}, false},
		{`"DateGreaterThan":{"aws:EpochTime":1000000000}`, []string{"aws:EpochTime", "1000000001"}, true},
		{`"Bool":{"aws:SecureTransport":false}`, []string{"aws:SecureTransport", "false"}, true},
		{`"Bool":{"aws:SecureTransport":"False"}`, []string{"aws:SecureTransport", "true"}, false},
		{`"Bool":{"aws:SecureTransport":"true"}`, nil, false},
		{`"BoolIfExists":{"aws:SecureTransport":"true"}`, nil, true},
		{`"BinaryEquals":{"x:y":"AQID"}`, []string{"x:y", "AQID"}, true},
		{`"BinaryEquals":{"x:y":"AQID"}`, []string{"x:y", "AQIE"}, false},
		{`"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, []string{"aws:SourceIp", "10.1.2.3"}, true},
		{`"IpAddress":{"aws:SourceIp":["192.0.2.1","2001:db8::/32"]}`, []string{"aws:SourceIp", "2001:db8::1"}, true},
		{`"IpAddress":{"aws:SourceIp":"192.0.2.1"}`, []string{"aws:SourceIp", "::ffff:192.0.2.1"}, true},
		{`"IpAddress":{"aws:SourceIp":"192.0.2.1"}`, []string{"aws:SourceIp", "192.0.2.2"}, false},
		{`"IpAddress":{"aws:SourceIp":"::ffff:10.0.0.0/104"}`, []string{"aws:SourceIp", "10.1.2.3"}, true},
		{`"IpAddress":{"aws:SourceIp":"::ffff:10.0.0.0/104"}`, []string{"aws:SourceIp", "11.1.2.3"}, false},
		{`"IpAddress":{"aws:SourceIp":"::/0"}`, []string{"aws:SourceIp", "2001:db8::1"}, true},
		{`"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, []string{"aws:SourceIp", "11.0.0.0"}, true},
		{`"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, []string{"aws:SourceIp", "10.0.0.0"}, false},
		{`"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::*:user/al*"}`, []string{"aws:PrincipalArn", "arn:aws:iam::000000000000:user/alice"}, true},
		{`"ArnLike":{"aws:PrincipalArn":"arn:*:iam::*:alice"}`, []string{"aws:PrincipalArn", "arn:aws:iam::000000000000:user/alice"}, false},
		{`"ArnLike":{"aws:PrincipalArn":"*"}`, []string{"aws:PrincipalArn", "arn:aws:iam::000000000000:user/alice"}, true},
		{`"ArnLike":{"aws:PrincipalArn":"*"}`, []string{"aws:PrincipalArn", "no arn"}, false},
		{`"ArnNotEquals":{"aws:PrincipalArn":"arn:aws:iam::000000000000:root"}`, []string{"aws:PrincipalArn", "arn:aws:iam::000000000000:user/alice"}, true},
		{`"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::000000000000:*"}`, []string{"aws:PrincipalArn", "arn:aws:iam::000000000000:user/alice"}, false},
		{`"Null":{"s3:x-amz-server-side-encryption":true}`, nil, true},
		{`"Null":{"s3:x-amz-server-side-encryption":"true"}`, []string{"s3:x-amz-server-side-encryption", "AES256"}, false},
		{`"Null":{"s3:x-amz-server-side-encryption":"false"}`, []string{"s3:x-amz-server-side-encryption", "AES256"}, true},
		{`"StringEqualsIfExists":{"s3:prefix":"a"}`, nil, true},
		{`"StringEqualsIfExists":{"s3:prefix":"a"}`, []string{"s3:prefix", "b"}, false},
		// All conditions must hold, each by one of its values.
		{`"StringEquals":{"s3:prefix":"a","s3:delimiter":"/"}`, []string{"s3:prefix", "a"}, false},
		{`"StringEquals":{"s3:prefix":"a","s3:delimiter":"/"}`, []string{"s3:prefix", "a", "s3:delimiter", "/"}, true},
		// Sets.
		{`"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["a","b"]}`, []string{"s3:RequestObjectTagKeys", "a|b"}, true},
		{`"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["a","b"]}`, []string{"s3:RequestObjectTagKeys", "a|c"}, false},
		{`"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["a","b"]}`, nil, true},
		{`"ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":["a","b"]}`, []string{"s3:RequestObjectTagKeys", "c|b"}, true},
		{`"ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":["a","b"]}`, []string{"s3:RequestObjectTagKeys", "c|d"}, false},
		{`"ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":["a","b"]}`, nil, false},
		{`"ForAnyValue:StringNotEquals":{"s3:RequestObjectTagKeys":["a","b"]}`, []string{"s3:RequestObjectTagKeys", "a|c"}, true},
		{`"ForAllValues:StringNotEquals":{"s3:RequestObjectTagKeys":["a","b"]}`, []string{"s3:RequestObjectTagKeys", "a|c"}, false},
		{`"ForAllValues:StringNotLike":{"s3:RequestObjectTagKeys":["a*"]}`, []string{"s3:RequestObjectTagKeys", "b|c"}, true},
		{`"ForAnyValue:StringLikeIfExists":{"s3:RequestObjectTagKeys":["a*"]}`, nil, true},
		// Several values where one was expected.
		{`"StringEquals":{"x:y":"b"}`, []string{"x:y", "a|b"}, true},
		{`"StringNotEquals":{"x:y":"b"}`, []string{"x:y", "a|b"}, false},
	} {
		for effect, met := range map[string]Decision{"Allow": Allow, "Deny": Deny} {
			p := mustParse(t, statementOf(`"Effect":"`+effect+`","Action":"s3:*","Resource":"*","Condition":{`+c.condition+`}`), Identity)
			want := None
			if c.want {
				want = met
			}
			if got := p.Evaluate(&Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Values: keys(c.keys...)}); got != want {
				t.Errorf("%s %s with %q is %v, want %v", effect, c.condition, c.keys, got, want)
			}
		}
	}
}

func TestEveryOperatorIsCompared(t *testing.T) {
	values := map[family]string{numbers: "1", dates: "2026-11-21", bools: "true", nulls: "true", binaries: "AQID", addresses: "10.0.0.1", arns: "arn:aws:iam::000000000000:root"}
	for name, op := range operators {
		v, ok := values[op.family]
		if !ok {
			v = "text"
		}
		p := mustParse(t, statementOf(`"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"`+name+`":{"x:y":"`+v+`"}}`), Identity)
		got := p.Evaluate(&Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Values: keys("x:y", v)})
		want := Allow
		if op.not || op.order == less || op.order == greater || op.family == nulls {
			want = None
		}
		if got != want {
			t.Errorf("%s of equal values is %v, want %v", name, got, want)
		}
	}
}

func TestVariables(t *testing.T) {
	user := keys("aws:username", "al*ce", "s3:prefix", "home/al*ce/x")
	for _, c := range []struct {
		version, fields, resource string
		values                    func(string) ([]string, bool)
		want                      Decision
	}{
		{"2012-10-17", `"Effect":"Allow","Resource":"arn:aws:s3:::b/home/${aws:username}/*"`, "arn:aws:s3:::b/home/al*ce/x", user, Allow},
		// A star that comes out of a variable is a star.
		{"2012-10-17", `"Effect":"Allow","Resource":"arn:aws:s3:::b/home/${aws:username}/*"`, "arn:aws:s3:::b/home/alice/x", user, None},
		{"2012-10-17", `"Effect":"Allow","Resource":"arn:aws:s3:::b/home/${AWS:UserName}/*"`, "arn:aws:s3:::b/home/al*ce/x", user, Allow},
		{"2008-10-17", `"Effect":"Allow","Resource":"arn:aws:s3:::b/home/${aws:username}/*"`, "arn:aws:s3:::b/home/al*ce/x", user, None},
		{"2012-10-17", `"Effect":"Allow","Resource":"arn:aws:s3:::b/${aws:username}"`, "arn:aws:s3:::b/", nil, None},
		{"2012-10-17", `"Effect":"Allow","Resource":"arn:aws:s3:::b/${aws:username, 'guest'}/*"`, "arn:aws:s3:::b/guest/x", nil, Allow},
		{"2012-10-17", `"Effect":"Allow","Resource":"*","Condition":{"StringLike":{"s3:prefix":"home/${aws:username}/*"}}`, "arn:aws:s3:::b", user, Allow},
		{"2012-10-17", `"Effect":"Allow","Resource":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/${x:y}"}}`, "arn:aws:s3:::b",
			keys("aws:PrincipalArn", "arn:aws:iam::000000000000:user/alice", "x:y", "alice"), Allow},
		// Inequality with what is not known allows nothing, and denies.
		{"2012-10-17", `"Effect":"Allow","NotResource":"arn:aws:s3:::b/${aws:username}"`, "arn:aws:s3:::b/k", nil, None},
		{"2012-10-17", `"Effect":"Deny","NotResource":"arn:aws:s3:::b/${aws:username}"`, "arn:aws:s3:::b/k", nil, Deny},
		{"2012-10-17", `"Effect":"Allow","Resource":"*","Condition":{"StringNotEquals":{"s3:prefix":"${aws:username}"}}`, "arn:aws:s3:::b", keys("s3:prefix", "a"), None},
		{"2012-10-17", `"Effect":"Deny","Resource":"*","Condition":{"StringNotEquals":{"s3:prefix":"${aws:username}"}}`, "arn:aws:s3:::b", keys("s3:prefix", "a"), Deny},
	} {
		p := mustParse(t, `{"Version":"`+c.version+`","Statement":[{"Action":"s3:*",`+c.fields+`}]}`, Identity)
		if got := p.Evaluate(&Request{Action: "s3:GetObject", Resource: c.resource, Values: c.values}); got != c.want {
			t.Errorf("%s %s on %s is %v, want %v", c.version, c.fields, c.resource, got, c.want)
		}
	}
}

func TestBadDocumentsAreRefused(t *testing.T) {
	const good = `"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"`
	many := strings.Repeat(`{`+good+`},`, maxStatements)
	for _, c := range []struct{ text, message string }{
		{``, "Policies must be valid JSON and the first byte must be '{'"},
		{`invalid json`, "Policies must be valid JSON and the first byte must be '{'"},
		{`"{}"`, "Policies must be valid JSON and the first byte must be '{'"},
		{` {}`, "Policies must be valid JSON and the first byte must be '{'"},
		{`{}{}`, "Policies must be valid JSON and the first byte must be '{'"},
		{`{"Statement":[}`, "Policies must be valid JSON and the first byte must be '{'"},
		{`{"Statement":[{` + good, "Policies must be valid JSON and the first byte must be '{'"},
		{"{\"Id\":\"\xff\"}", "Policies must be valid JSON and the first byte must be '{'"},
		{`{}`, "Missing required field Statement"},
		{`{"Version":"2013-01-01"}`, "The policy must contain a valid version string"},
		{`{"Version":20121017}`, "The policy must contain a valid version string"},
		{`{"Statements":[]}`, "Unknown field Statements"},
		{`{"Statement":[]}`, "Could not parse the policy: Statement is empty!"},
		{`{"Statement":"x"}`, "Invalid policy syntax."},
		{`{"Statement":null}`, "Policy document has a null value"},
		{`{"Statement":["x"]}`, "Invalid policy syntax."},
		{`{"Id":1,"Statement":[]}`, "Invalid policy syntax."},
		{`{"Statement":{` + good + `},"Statement":{` + good + `}}`, "Duplicate field Statement"},
		{`{"Statement":{` + good + `,"Effect":"Deny"}}`, "Duplicate field Effect"},
		{`{"Statement":{` + good + `,"Extra":1}}`, "Unknown field Extra"},
		{`{"Statement":{` + good + `,"Sid":1}}`, "Invalid policy syntax."},
		{`{"Statement":[{"Sid":"a",` + good + `},{"Sid":"a",` + good + `}]}`, "Statement IDs (SID) in a single policy must be unique."},
		{`{"Statement":{"Principal":"*","Action":"s3:*","Resource":"*"}}`, "Missing required field Effect"},
		{`{"Statement":{"Effect":"allow","Principal":"*","Action":"s3:*","Resource":"*"}}`, "Invalid effect: allow"},
		{`{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`, "Missing required field Principal"},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Resource":"*"}}`, "Statement is missing required element"},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*"}}`, "Statement is missing required element"},
		{`{"Statement":{` + good + `,"NotAction":"s3:*"}}`, "Policy statement must contain Action or NotAction, not both"},
		{`{"Statement":{` + good + `,"NotResource":"*"}}`, "Policy statement must contain Resource or NotResource, not both"},
		{`{"Statement":{` + good + `,"NotPrincipal":"*"}}`, "Policy statement must contain Principal or NotPrincipal, not both"},
		{`{"Statement":{"Effect":"Allow","Principal":"alice","Action":"s3:*","Resource":"*"}}`, "Invalid principal in policy"},
		{`{"Statement":{"Effect":"Allow","Principal":{"AWS":"alice"},"Action":"s3:*","Resource":"*"}}`, "Invalid principal in policy"},
		{`{"Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/*"},"Action":"s3:*","Resource":"*"}}`, "Invalid principal in policy"},
		{`{"Statement":{"Effect":"Allow","Principal":{"AWS":"ALICEALICEALIC-"},"Action":"s3:*","Resource":"*"}}`, "Invalid principal in policy"},
		{`{"Statement":{"Effect":"Allow","Principal":{"AWS":[]},"Action":"s3:*","Resource":"*"}}`, "Invalid principal in policy"},
		{`{"Statement":{"Effect":"Allow","Principal":{},"Action":"s3:*","Resource":"*"}}`, "Invalid principal in policy"},
		{`{"Statement":{"Effect":"Allow","Principal":{"Somebody":"*"},"Action":"s3:*","Resource":"*"}}`, "Invalid principal in policy"},
		{`{"Statement":{"Effect":"Allow","Principal":{"CanonicalUser":"x"},"Action":"s3:*","Resource":"*"}}`, "Invalid principal in policy"},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":[],"Resource":"*"}}`, "Policy has invalid action"},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"GetObject","Resource":"*"}}`, "Policy has invalid action"},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":[1],"Resource":"*"}}`, "Policy has invalid action"},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"b/*"}}`, "Policy has invalid resource"},
		{`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3"]}}`, "Policy has invalid resource"},
		{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username"}}`, "Policy has invalid resource"},
		{`{"Statement":{` + good + `,"Condition":[]}}`, "Invalid Condition type"},
		{`{"Statement":{` + good + `,"Condition":{"StringIs":{"a:b":"c"}}}}`, "Invalid Condition type : StringIs"},
		{`{"Statement":{` + good + `,"Condition":{"NullIfExists":{"a:b":"true"}}}}`, "Invalid Condition type : NullIfExists"},
		{`{"Statement":{` + good + `,"Condition":{"ForNoValue:StringEquals":{"a:b":"true"}}}}`, "Invalid Condition type : ForNoValue:StringEquals"},
		{`{"Statement":{` + good + `,"Condition":{"StringEquals":"x"}}}`, "Invalid policy syntax."},
		{`{"Statement":{` + good + `,"Condition":{"StringEquals":{"a:b":{"c":1}}}}}`, "Invalid policy syntax."},
		{`{"Statement":{` + good + `,"Condition":{"StringEquals":{"ab":"c"}}}}`, "Policy has an invalid condition key"},
		{`{"Statement":{` + good + `,"Condition":{"StringEquals":{"a:b":"c","A:B":"c"}}}}`, "Policy has an invalid condition key"},
		{`{"Statement":{` + good + `,"Condition":{"NumericEquals":{"a:b":"ten"}}}}`, "Invalid value for the condition NumericEquals of a:b"},
		{`{"Statement":{` + good + `,"Condition":{"DateEquals":{"a:b":"today"}}}}`, "Invalid value for the condition DateEquals of a:b"},
		{`{"Statement":{` + good + `,"Condition":{"Bool":{"a:b":"yes"}}}}`, "Invalid value for the condition Bool of a:b"},
		{`{"Statement":{` + good + `,"Condition":{"IpAddress":{"a:b":"10.0.0.0/33"}}}}`, "Invalid IP address in Conditions"},
		{`{"Statement":{` + good + `,"Condition":{"NotIpAddressIfExists":{"aws:SourceIp":["10.0.0.1","example.com"]}}}}`, "Invalid IP address in Conditions"},
		{`{"Statement":{"Effect":"Allow","Principal":{"Service":"logging"},"Action":"s3:*","Resource":"*"}}`, "Invalid principal in policy"},
		{`{"Statement":{` + good + `,"Condition":{"BinaryEquals":{"a:b":"!"}}}}`, "Invalid value for the condition BinaryEquals of a:b"},
		{`{"Statement":{` + good + `,"Condition":{"ArnLike":{"a:b":"x"}}}}`, "Invalid value for the condition ArnLike of a:b"},
		{`{"Statement":{` + good + `,"Condition":{"Null":{"a:b":"maybe"}}}}`, "Invalid value for the condition Null of a:b"},
		{`{"Id":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, "Policy document is nested too deeply"},
		{`{"Statement":[` + many + `{` + good + `}]}`, "Policy exceeds the maximum allowed document size."},
		{`{"Statement":[` + strings.Repeat("{},", maxStatements) + `{}]}`, "Policy has too many statements"},
		{`{"Id":"` + strings.Repeat("x", MaxDocument) + `"}`, "Policy exceeds the maximum allowed document size."},
	} {
		_, err := Parse([]byte(c.text), Resource)
		var e *Error
		if !errors.As(err, &e) || e.Message != c.message {
			t.Errorf("%.120s: %v, want %q", c.text, err, c.message)
		}
	}
	if _, err := Parse([]byte(`{"Statement":{`+good+`}}`), Identity); err == nil || !strings.Contains(err.Error(), "principal") {
		t.Errorf("a user's policy with a principal: %v", err)
	}
}

func TestBucketPolicyIsAboutItsBucket(t *testing.T) {
	const (
		badKey         = "Policy has an invalid condition key"
		badCombination = "Conditions do not apply to combination of actions and resources in statement"
	)
	for _, c := range []struct{ action, resource, condition, message string }{
		{`"s3:GetObject"`, `"arn:aws:s3:::photos/*"`, "", ""},
		{`"s3:*"`, `["arn:aws:s3:::photos","arn:aws:s3:::photos/*"]`, "", ""},
		{`"*"`, `"arn:aws:s3:::*"`, "", ""},
		{`"*"`, `"*"`, "", "Policy has invalid resource"},
		{`"s3:*"`, `["arn:aws:s3:::photos/*","*"]`, "", "Policy has invalid resource"},
		{`["s3:ListBucket","s3:GetObject"]`, `["arn:aws:s3:::photos","arn:aws:s3:::photos/a/*"]`, "", ""},
		{`"coffer:OverwriteObject"`, `"arn:aws:s3:::photos/*"`, "", ""},
		{`"s3:GetObject"`, `"arn:aws:s3:::pho*"`, "", ""},
		{`"s3:ListBucket"`, `"arn:aws:s3:::*"`, "", ""},
		{`"s3:GetObject"`, `"arn:aws:s3:::photos/${aws:username}/*"`, "", ""},
		{`"s3:GetObject"`, `"arn:aws:s3:::letters/*"`, "", "Policy has invalid resource"},
		{`"s3:GetObject"`, `["arn:aws:s3:::photos/*","arn:aws:s3:::letters/*"]`, "", "Policy has invalid resource"},
		{`"s3:GetObject"`, `"arn:aws:sqs:::photos/*"`, "", "Policy has invalid resource"},
		{`"s3:GetObject"`, `"arn:aws-cn:s3:::photos/*"`, "", "Policy has invalid resource"}, // no Deny of it could ever hold
		{`"s3:GetObject"`, `"arn:aws:s3:::photosx*"`, "", "Policy has invalid resource"},
		{`"s3:GetObject"`, `"arn:aws:s3:::photos"`, "", "Action does not apply to any resource(s) in statement"},
		{`"s3:ListBucket"`, `"arn:aws:s3:::photos/*"`, "", "Action does not apply to any resource(s) in statement"},
		{`"s3:GetObjekt"`, `"arn:aws:s3:::photos/*"`, "", "Policy has invalid action"},
		{`"sqs:SendMessage"`, `"arn:aws:s3:::photos/*"`, "", "Policy has invalid action"},
		{`"s3:ListAllMyBuckets"`, `"arn:aws:s3:::photos"`, "", "Policy has invalid action"},
		{`"s3:ListBucket"`, `"arn:aws:s3:::photos"`, `"StringEquals":{"s3:prefix":"a"}`, ""},
		{`"s3:ListBucket"`, `"arn:aws:s3:::photos"`, `"StringEquals":{"s3:prefixx":"a"}`, "Policy has an invalid condition key"},
		{`"s3:GetObject"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"s3:ExistingObjectTag/color":"a"}`, ""},
		{`"s3:GetObject"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"s3:ExistingObjectTags/color":"a"}`, badKey},
		{`"s3:GetObject"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"kms:ViaService":"a"}`, badKey},
		{`"s3:GetObject"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"aws:AnyKey":"a","aws:SourceIP2":"a"}`, ""},
		{`"s3:GetObject"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"lambda:SourceFunctionArn":"a"}`, ""},
		{`"s3:GetObject"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"Glue:CredentialIssuingService":"a","glue:RoleAssumedBy":"a"}`, ""},
		{`"s3:GetObject"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"codebuild:BuildArn":"a","codebuild:ProjectArn":"a","ssm:SourceInstanceArn":"a"}`, ""},
		{`"s3:GetObject"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"identitystore:UserId":"a"}`, ""},
		{`"s3:GetObject"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"lambda:FunctionArn":"a"}`, badKey},
		// Each action must have the key; of those of a pattern one.
		{`["s3:ListBucket","s3:GetObject"]`, `["arn:aws:s3:::photos","arn:aws:s3:::photos/*"]`, `"StringEquals":{"s3:prefix":"a"}`, badCombination},
		{`["s3:ListBucket","s3:ListBucketVersions"]`, `"arn:aws:s3:::photos"`, `"StringEquals":{"s3:Prefix":"a"}`, ""},
		{`["s3:ListBucket","s3:ListBucketMultipartUploads"]`, `"arn:aws:s3:::photos"`, `"StringEquals":{"s3:prefix":"a"}`, badCombination},
		{`"s3:List*"`, `"arn:aws:s3:::photos"`, `"StringEquals":{"s3:prefix":"a"}`, ""},
		{`"*"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"s3:prefix":"a"}`, badCombination},
		{`"s3:*"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"s3:x-amz-acl":"private"}`, ""},
		{`"s3:*"`, `"arn:aws:s3:::photos"`, `"NumericLessThan":{"s3:TlsVersion":"1.2"}`, ""},
		{`"s3:GetObject"`, `"arn:aws:s3:::photos/*"`, `"Null":{"s3:x-amz-server-side-encryption":"true"}`, badCombination},
		{`"s3:PutObject"`, `"arn:aws:s3:::photos/*"`, `"Null":{"s3:x-amz-server-side-encryption":"true"}`, ""},
		{`"s3:GetObjectRetention"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"s3:ExistingObjectTag/color":"a"}`, badCombination},
		{`"coffer:OverwriteObject"`, `"arn:aws:s3:::photos/*"`, `"StringEquals":{"s3:ExistingObjectTag/color":"a"}`, ""},
	} {
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":` + c.action + `,"Resource":` + c.resource
		if c.condition != "" {
			text += `,"Condition":{` + c.condition + `}`
		}
		_, err := ParseBucket([]byte(text+`}]}`), "photos")
		got := ""
		var e *Error
		if errors.As(err, &e) {
			got = e.Message
		}
		if got != c.message {
			t.Errorf("%s on %s %s: %q, want %q", c.action, c.resource, c.condition, got, c.message)
		}
	}
}

func TestPublic(t *testing.T) {
	for _, c := range []struct {
		fields string
		want   bool
	}{
		{`"Effect":"Allow","Principal":"*"`, true},
		{`"Effect":"Allow","Principal":{"AWS":"*"}`, true},
		{`"Effect":"Allow","NotPrincipal":{"AWS":"000000000000"}`, true},
		{`"Effect":"Deny","Principal":"*"`, false},
		{`"Effect":"Allow","Principal":{"AWS":"000000000000"}`, false},
		{`"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, false},
		{`"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/1"}}`, true},
		{`"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":"::ffff:0.0.0.0/96"}}`, true},
		{`"Effect":"Allow","Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","::/0"]}}`, true},
		{`"Effect":"Allow","Principal":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, true},
		{`"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}`, false},
		{`"Effect":"Allow","Principal":"*","Condition":{"StringLike":{"aws:SourceVpc":"vpc-*"}}`, true},
		{`"Effect":"Allow","Principal":"*","Condition":{"StringEqualsIfExists":{"aws:SourceVpc":"vpc-1"}}`, true},
		{`"Effect":"Allow","Principal":"*","Condition":{"StringLike":{"aws:userid":"AROAX:*"}}`, false},
		{`"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"aws:userid":"COFUSRX"}}`, false},
		// What holds for everybody, and whoever asks anonymously, binds nothing.
		{`"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"aws:userid":["COFUSRX","anonymous"]}}`, true},
		{`"Effect":"Allow","Principal":"*","Condition":{"StringEqualsIgnoreCase":{"aws:userid":"Anonymous"}}`, true},
		{`"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"aws:ViaAWSService":"false"}}`, true},
		{`"Effect":"Allow","Principal":"*","Condition":{"Bool":{"aws:ViaAWSService":"false"}}`, true},
		{`"Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"s3:prefix":"public/"}}`, true},
		{`"Effect":"Allow","Principal":"*","Condition":{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::000000000000:user/alice"}}`, false},
	} {
		p := mustParse(t, statementOf(c.fields+`,"Action":"s3:GetObject","Resource":"*"`), Resource)
		if p.Public() != c.want {
			t.Errorf("%s: public is %v", c.fields, p.Public())
		}
	}
}

func TestReadyMadePolicies(t *testing.T) {
	type ask struct{ action, resource string }
	object, bucket := "arn:aws:s3:::photos/k", "arn:aws:s3:::photos"
	for name, want := range map[string]map[ask]Decision{
		"readonly": {
			{"s3:GetObject", object}: Allow, {"s3:ListBucket", bucket}: Allow, {"s3:ListAllMyBuckets", "*"}: Allow,
			{"s3:PutObject", object}: None, {"s3:DeleteObject", object}: None, {"s3:PutBucketPolicy", bucket}: None,
		},
		"readwrite": {
			{"s3:GetObject", object}: Allow, {"s3:PutObject", object}: Allow, {"s3:DeleteObject", object}: Allow,
			{"s3:DeleteBucket", bucket}: Allow, {OverwriteObject, object}: None,
		},
		"backup": {
			{"s3:GetObject", object}: Allow, {"s3:ListBucket", bucket}: Allow, {"s3:PutObject", object}: Allow,
			{"s3:DeleteObject", object}: Deny, {"s3:DeleteObjectVersion", object}: Deny, {"s3:DeleteBucket", bucket}: Deny,
			{OverwriteObject, object}: Deny, {"s3:PutObjectTagging", object}: None, {"s3:PutLifecycleConfiguration", bucket}: None,
			{"s3:PutBucketVersioning", bucket}: None, {"s3:BypassGovernanceRetention", object}: Deny,
		},
	} {
		for _, buckets := range [][]string{nil, {"letters", "photos"}} {
			text, ok := ReadyMade(name, buckets...)
			if !ok {
				t.Fatalf("no policy %s", name)
			}
			p := mustParse(t, string(text), Identity)
			for a, d := range want {
				if got := p.Evaluate(&Request{Action: a.action, Resource: a.resource}); got != d {
					t.Errorf("%s %v: %s on %s is %v, want %v", name, buckets, a.action, a.resource, got, d)
				}
			}
			if got := p.Evaluate(&Request{Action: "s3:GetObject", Resource: "arn:aws:s3:::other/k"}); (got == Allow) != (buckets == nil) {
				t.Errorf("%s %v: another bucket's object is %v", name, buckets, got)
			}
		}
	}
	if _, ok := ReadyMade("everything"); ok {
		t.Error("a policy that does not exist")
	}
	if got := fmt.Sprint(ReadyMadeNames()); got != "[backup readonly readwrite]" {
		t.Errorf("names are %s", got)
	}
}

func TestMatchingIsNotExponential(t *testing.T) {
	p, _ := compile(strings.Repeat("a*", 5000)+"b", true, false)
	if match(p.text, strings.Repeat("a", 8000), false) {
		t.Error("matches")
	}
}

func BenchmarkEvaluate(b *testing.B) {
	text, _ := ReadyMade("backup", "photos")
	p, err := Parse(text, Identity)
	if err != nil {
		b.Fatal(err)
	}
	r := &Request{Action: "s3:PutObject", Resource: "arn:aws:s3:::photos/2026/11/21.jpg"}
	for b.Loop() {
		if p.Evaluate(r) != Allow {
			b.Fatal("not allowed")
		}
	}
}
