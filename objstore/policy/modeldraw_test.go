package policy

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestPoliciesDecideAsTheModelDoes(t *testing.T) {
	seen := map[Decision]int{}
	for seed := range uint64(2_000) {
		d := modelDraw{rand.New(rand.NewPCG(seed, 1))}
		kind := Kind(d.IntN(2))
		list := make([]modelStatement, 1+d.IntN(3))
		for i := range list {
			list[i] = d.statement(kind)
			keys := map[string]bool{} // one operator has a key once, whatever its case
			list[i].conditions = slices.DeleteFunc(list[i].conditions, func(c modelCondition) bool {
				id := c.operator + " " + strings.ToLower(c.key)
				twice := keys[id]
				keys[id] = true
				return twice
			})
		}
		text := d.document(kind, list)
		p, err := Parse(text, kind)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		for range 10 {
			r := d.request()
			got := p.Evaluate(&Request{Action: r.action, Resource: r.resource, Principal: r.who, Values: func(key string) ([]string, bool) {
				v, ok := r.context[key]
				return v, ok
			}})
			want := r.evaluate(list)
			if got != want {
				t.Fatalf("seed %d: %v, the model says %v\n%s\n%+v", seed, got, want, text, r)
			}
			seen[got]++
		}
	}
	for _, d := range []Decision{None, Allow, Deny} {
		if seen[d] < 1_000 {
			t.Errorf("%v was decided %d times: the draw tells little", d, seen[d])
		}
	}
}

// modelDraw draws documents and requests from few texts, so that they meet often.
type modelDraw struct{ *rand.Rand }

func (d modelDraw) of(list ...string) string { return list[d.IntN(len(list))] }

func (d modelDraw) some(most int, draw func() string) []string {
	list := []string{}
	for range 1 + d.IntN(most) {
		list = append(list, draw())
	}
	return list
}

const modelAccount, modelCanonical = "000000000000", "8c57a1a7b1b1f6a1b0a95d2f5c4f0b8a7d2d7ee4a5b9a9a4b5a6d1b3f8c0e2d4"

func (d modelDraw) statement(kind Kind) modelStatement {
	s := modelStatement{allow: d.IntN(3) > 0, notAction: d.IntN(5) == 0, notResource: d.IntN(5) == 0}
	if kind == Resource {
		s.notPrincipal = d.IntN(4) == 0
		s.principals = d.some(2, func() string {
			return d.of("*", modelAccount, "arn:aws:iam::"+modelAccount+":root", "arn:aws:iam::"+modelAccount+":user/ann",
				"AIDAXXXXXXXXXXXXXANN", "arn:aws:iam::"+modelAccount+":user/bob", "arn:aws:iam::111111111111:root", modelCanonical)
		})
	}
	s.actions = d.some(2, func() string {
		return d.of("*", "s3:*", "s3:Get*", "s3:getobject", "s3:?etObject", "s3:PutObject", "s3:GetObjectVersion", "s3:*Object", "kms:Decrypt", "s3:*t*t*")
	})
	s.resources = d.some(2, func() string {
		return d.of("*", "arn:aws:s3:::b", "arn:aws:s3:::b/*", "arn:aws:s3:::b/home/${aws:username}/*", "arn:aws:s3:::b/?",
			"arn:aws:s3:::b/${*}", "arn:aws:s3:::b/home/${aws:username, 'nobody'}/f", "arn:aws:s3:::B/*", "arn:aws:s3:::b/h*e/*/f", "arn:aws:s3:::b/${aws:list}")
	})
	for range d.IntN(3) {
		s.conditions = append(s.conditions, d.condition())
	}
	return s
}

func (d modelDraw) condition() modelCondition {
	base := d.of("StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase",
		"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals",
		"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals",
		"Bool", "BinaryEquals", "IpAddress", "NotIpAddress", "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike", "Null")
	c := modelCondition{operator: base}
	if base != "Null" {
		c.operator = d.of("", "", "ForAllValues:", "ForAnyValue:") + base + d.of("", "", "IfExists")
	}
	c.key = d.of("aws:username", "AWS:UserName", "aws:list", "aws:number", "aws:date", "aws:truth", "aws:ip", "aws:arn", "aws:bytes", "aws:missing", "aws:empty")
	c.values = d.some(3, func() string { return d.operand(base) })
	return c
}

func (d modelDraw) operand(base string) string {
	switch {
	case base == "Null" || base == "Bool":
		return d.of("true", "false")
	case strings.HasPrefix(base, "String"):
		return d.of("ann", "Ann", "a*", "?nn", "*", "", "${aws:username}", "${aws:missing}", "x${aws:missing, 'y'}", "${*}", "ä?", "a", "b", "${aws:list}*", "xy")
	case strings.HasPrefix(base, "Numeric"):
		return d.of("1", "2", "2.5", "-1", "10")
	case strings.HasPrefix(base, "Date"):
		return d.of("2020-01-01T00:00:00Z", "2020-01-01T01:00:00+01:00", "2021-06-01T12:00:00Z")
	case strings.Contains(base, "IpAddress"):
		return d.of("10.0.0.0/8", "10.1.2.3", "::1", "2001:db8::/32", "0.0.0.0/0", "192.168.0.1/32")
	case strings.HasPrefix(base, "Arn"):
		return d.of("*", "arn:aws:iam::*:user/ann", "arn:aws:*:*:*:*", "arn:aws:iam::"+modelAccount+":user/${aws:username}", "arn:aws:iam::"+modelAccount+":role/a:b",
			"arn:aws:iam::"+modelAccount+":${aws:missing}", "arn:*:iam::0?0000000000:*")
	}
	return d.of("QUI=", "QUJD", "")
}

func (d modelDraw) request() modelRequest {
	r := modelRequest{
		action:   d.of("s3:GetObject", "s3:PutObject", "s3:GetObjectVersion", "s3:ListBucket", "kms:Decrypt"),
		resource: d.of("arn:aws:s3:::b", "arn:aws:s3:::b/f", "arn:aws:s3:::b/home/ann/f", "arn:aws:s3:::b/home/nobody/f", "arn:aws:s3:::b/*", "arn:aws:s3:::b/home/*/f", "arn:aws:s3:::b/ä"),
		context:  map[string][]string{},
	}
	put := func(key string, values ...[]string) {
		if i := d.IntN(len(values) + 1); i < len(values) {
			r.context[key] = values[i]
		}
	}
	ann := Principal{Account: modelAccount, CanonicalID: modelCanonical, Names: []string{"arn:aws:iam::" + modelAccount + ":user/ann", "AIDAXXXXXXXXXXXXXANN"}}
	root := Principal{Account: modelAccount, Root: true, CanonicalID: modelCanonical, Names: []string{"arn:aws:iam::" + modelAccount + ":root"}}
	r.who = []Principal{{}, root, ann}[d.IntN(3)]
	put("aws:username", []string{"ann"}, []string{"*"}, []string{"Ann"}, []string{"ä*"}, []string{""})
	put("aws:list", []string{"a", "b"}, []string{"ann"}, []string{"xy", "b", "*"})
	put("aws:number", []string{"1"}, []string{"2.5"}, []string{"no number"}, []string{"1", "10"})
	put("aws:date", []string{"2020-01-01T00:00:00Z"}, []string{"2021-06-01T12:00:00Z"}, []string{"never"})
	put("aws:truth", []string{"true"}, []string{"False"}, []string{"maybe"})
	put("aws:ip", []string{"10.1.2.3"}, []string{"::1"}, []string{"2001:db8::7"}, []string{"nowhere"})
	put("aws:arn", []string{"arn:aws:iam::" + modelAccount + ":user/ann"}, []string{"arn:aws:iam::" + modelAccount + ":role/a:b"}, []string{"arn"})
	put("aws:bytes", []string{"QUI="}, []string{"?"}, []string{""})
	if d.IntN(2) == 0 {
		r.context["aws:empty"] = []string{}
	}
	return r
}

// document writes statements as a person would.
func (d modelDraw) document(kind Kind, list []modelStatement) []byte {
	element := func(name string, not bool) string {
		if not {
			return "Not" + name
		}
		return name
	}
	listed := func(values []string) any {
		if len(values) == 1 && d.IntN(2) == 0 {
			return values[0]
		}
		return values
	}
	statements := make([]any, len(list))
	for i, s := range list {
		m := map[string]any{
			"Effect": map[bool]string{true: "Allow", false: "Deny"}[s.allow], element("Action", s.notAction): listed(s.actions), element("Resource", s.notResource): listed(s.resources),
		}
		if kind == Resource {
			by := map[string][]string{}
			for _, p := range s.principals {
				name := "AWS"
				if p == modelCanonical {
					name = "CanonicalUser"
				}
				by[name] = append(by[name], p)
			}
			m[element("Principal", s.notPrincipal)] = by
		}
		if len(s.conditions) > 0 {
			conditions := map[string]map[string]any{}
			for _, c := range s.conditions {
				if conditions[c.operator] == nil {
					conditions[c.operator] = map[string]any{}
				}
				conditions[c.operator][c.key] = listed(c.values)
			}
			m["Condition"] = conditions
		}
		statements[i] = m
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		panic(err)
	}
	return text
}
