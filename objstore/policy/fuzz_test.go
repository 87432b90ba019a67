package policy

import (
	"testing"
)

// FuzzParse holds that no document makes Parse or Evaluate panic, that a
// document that was taken says the same each time, and that what is never
// mentioned is never allowed.
func FuzzParse(f *testing.F) {
	for _, name := range ReadyMadeNames() {
		text, _ := ReadyMade(name, "photos")
		f.Add(text, "arn:aws:s3:::photos/k", "x")
	}
	for _, s := range []string{
		`{"Version":"2012-10-17","Id":"i","Statement":{"Sid":"s","Effect":"Deny","NotPrincipal":{"AWS":["000000000000"]},"NotAction":"s3:Get*","NotResource":"arn:aws:s3:::b/${aws:username, 'x'}/?*","Condition":{"ForAllValues:StringNotLikeIfExists":{"s3:prefix":["a*",1,true]},"Null":{"a:b":false}}}}`,
		`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"*","CanonicalUser":[]},"Action":["*"],"Resource":["*"],"Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","::1"]},"DateLessThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"},"NumericLessThan":{"s3:max-keys":10},"BinaryEquals":{"a:b":"QQ=="},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/${a:b}"}}}]}`,
		`{"Statement":[[[[[[[[]]]]]]]]}`, `{"Statement":{"Statement":{}}}`, `{`, "{}\x00", `{"Version":"${`,
	} {
		f.Add([]byte(s), "arn:aws:s3:::b/x", "*")
	}
	f.Fuzz(func(t *testing.T, text []byte, resource, value string) {
		for _, kind := range []Kind{Identity, Resource} {
			p, err := Parse(text, kind)
			if err != nil {
				if _, ok := err.(*Error); !ok {
					t.Fatalf("%T: %v", err, err)
				}
				continue
			}
			r := &Request{Action: "s3:GetObject", Resource: resource, Principal: alice, Values: func(key string) ([]string, bool) {
				return []string{value, key}[:len(key)%3], len(key)%2 == 0
			}}
			first := p.Evaluate(r)
			if again := p.Evaluate(r); again != first {
				t.Fatalf("first %v, then %v", first, again)
			}
			p.Public()
			checkWithUsers(t, p, text, kind)
			deny := len(p.statements) > 0
			for i := range p.statements {
				deny = deny && !p.statements[i].allow
			}
			if deny && first == Allow {
				t.Fatal("nothing is allowed in it")
			}
		}
		_, _ = ParseBucket(text, "photos")
	})
}

func checkWithUsers(t *testing.T, p *Policy, text []byte, kind Kind) {
	if same := p.WithUsers(text, func(user string) string { return user }); string(same) != string(text) {
		t.Fatalf("%q is not %q", same, text)
	}
	const other = "OTHEROTHEROTHER0"
	named := 0
	changed := p.WithUsers(text, func(string) string { named++; return other })
	again, err := Parse(changed, kind)
	if err != nil {
		t.Fatalf("%v of %q", err, text)
	}
	again.WithUsers(changed, func(user string) string {
		if named--; user != other {
			t.Fatalf("%q in %q", user, changed)
		}
		return user
	})
	if named != 0 {
		t.Fatalf("%d users more in %q than in %q", named, text, changed)
	}
}

// FuzzMatch compares the matcher with one that is slow and plain.
func FuzzMatch(f *testing.F) {
	for _, s := range [][2]string{{"a*b?c", "axxbyc"}, {"**", ""}, {"*a*a*", "baab"}, {"?", "ä"}, {"?*?", "ab"}, {"", ""}, {"*", "\xff"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, text, s string) {
		if len(text) > 12 || len(s) > 12 {
			return
		}
		p, ok := compile(text, true, false)
		if !ok {
			t.Fatal("not compiled")
		}
		if got, want := match(p.text, s, false), plainMatch(p.text, s); got != want {
			t.Fatalf("%q on %q is %v", text, s, got)
		}
	})
}

func plainMatch(p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == anyRun:
		for i := 0; i <= len(s); {
			if plainMatch(p[1:], s[i:]) {
				return true
			}
			if i == len(s) {
				break
			}
			i += runeLen(s[i:])
		}
		return false
	case s == "":
		return false
	case p[0] == anyOne:
		return plainMatch(p[1:], s[runeLen(s):])
	}
	return p[0] == s[0] && plainMatch(p[1:], s[1:])
}
