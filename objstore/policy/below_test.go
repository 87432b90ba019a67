package policy

import "testing"

func TestMatchBelow(t *testing.T) {
	for _, c := range []struct {
		pattern, prefix string
		some, all       bool
	}{
		{"a/*", "a/", true, true},
		{"a/b/*", "a/", true, false},
		{"a/b", "a/", true, false},
		{"a", "a/", false, false},
		{"a/", "a/", true, false},
		{"*", "a/", true, true},
		{"", "a/", false, false},
		{"", "", true, false},
		{"*", "", true, true},
		{"b/*", "a/", false, false},
		{"*/secret", "a/", true, false},
		{"a?*", "a/", true, true},
		{"a??", "a/", true, false},
		{"a?", "a/", true, false},
		{"?", "a/", false, false},
		{"*x*", "a/", true, false},
		{"*/*", "a/", true, true},
		{"ü/*", "ü/", true, true},
		{"?/*", "ü/", true, true},
		{"a*b*", "acb", true, true},
		{"a*b", "acb", true, false},
		{"\u00fe*", "a", false, false},
	} {
		p, _ := compile(c.pattern, true, false)
		if some, all := matchBelow(p.text, c.prefix); some != c.some || all != c.all {
			t.Errorf("%q below %q: %v, %v", c.pattern, c.prefix, some, all)
		}
	}
}

// FuzzMatchBelow holds it against match, of one text that begins with the prefix.
func FuzzMatchBelow(f *testing.F) {
	f.Add("a/*b?", "a/", "cbd")
	f.Add("*", "", "")
	f.Fuzz(func(t *testing.T, pattern, prefix, rest string) {
		p, _ := compile(pattern, true, false)
		some, all := matchBelow(p.text, prefix)
		if matched := match(p.text, prefix+rest, false); matched && !some || !matched && all {
			t.Fatalf("%q of %q and %q: %v, but %v, %v", pattern, prefix, rest, matched, some, all)
		}
	})
}

func TestDeniesBelow(t *testing.T) {
	const all = `"Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::b/*"`
	for _, c := range []struct {
		statement string
		denied    bool
	}{
		{`"Effect":"Deny",` + all, true},
		{`"Effect":"Allow",` + all, false},
		{`"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"`, false},
		{`"Effect":"Deny","Principal":"*","NotAction":"s3:GetObject","Resource":"arn:aws:s3:::b/*"`, true},
		{`"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::000000000000:user/bob"},"Action":"s3:*","Resource":"*"`, false},
		{`"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::b/other/*","arn:aws:s3:::b/top/secret/key"]`, true},
		{`"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::b/topsecret/*"`, false},
		{`"Effect":"Deny","Principal":"*","Action":"s3:*","NotResource":"arn:aws:s3:::b/top/*"`, false},
		{`"Effect":"Deny","Principal":"*","Action":"s3:*","NotResource":"arn:aws:s3:::b/top/mine/*"`, true},
		{`"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}/*"`, true},
		{`"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:userid}/*"`, false},
		{`"Effect":"Deny",` + all + `,"Condition":{"Bool":{"aws:SecureTransport":"false"}}`, false},
		{`"Effect":"Deny",` + all + `,"Condition":{"Bool":{"aws:SecureTransport":"true"}}`, true},
		{`"Effect":"Deny",` + all + `,"Condition":{"StringEquals":{"s3:ExistingObjectTag/secret":"yes"}}`, true},
		{`"Effect":"Deny",` + all + `,"Condition":{"StringEquals":{"s3:ExistingObjectTag/secret":"yes"},"Bool":{"aws:SecureTransport":"false"}}`, false},
	} {
		p, err := Parse([]byte(`{"Version":"2012-10-17","Statement":{`+c.statement+`}}`), Resource)
		if err != nil {
			t.Fatal(c.statement, err)
		}
		r := &Request{Action: "s3:DeleteObject", Resource: "arn:aws:s3:::b/top/", Principal: alice, Values: func(key string) ([]string, bool) {
			v, ok := map[string]string{"aws:username": "top", "aws:securetransport": "true"}[key]
			if !ok {
				return nil, false
			}
			return []string{v}, true
		}}
		if got := p.DeniesBelow(r); got != c.denied {
			t.Errorf("%s: %v", c.statement, got)
		}
	}
}
