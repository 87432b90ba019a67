package policy

import (
	"encoding/base64"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The model is written from IAM's documents ("Policy evaluation logic", "IAM JSON policy
// elements reference", "Condition operators", "Multivalued context keys", IAM user guide)
// on the documents' texts: it compiles nothing and shares nothing with the evaluator but
// the rule of doc.go for variables without a value.

type modelStatement struct {
	allow                                bool
	principals, actions, resources       []string // principals: "*", account, canonical id, ARN
	notPrincipal, notAction, notResource bool
	conditions                           []modelCondition
}

type modelCondition struct {
	operator string // with its prefix and suffix
	key      string
	values   []string
}

type modelRequest struct {
	action, resource string
	who              Principal
	context          map[string][]string // keys in lower case
}

func (r *modelRequest) evaluate(list []modelStatement) Decision {
	allowed := false
	for _, s := range list {
		if !r.about(&s) {
			continue
		}
		if !s.allow {
			return Deny
		}
		allowed = true
	}
	if allowed {
		return Allow
	}
	return None
}

func (r *modelRequest) about(s *modelStatement) bool {
	if s.principals != nil && r.named(s) == s.notPrincipal {
		return false
	}
	act := slices.ContainsFunc(s.actions, func(a string) bool {
		return like([]rune(strings.ToLower(a)), []rune(strings.ToLower(r.action)))
	})
	if act == s.notAction {
		return false
	}
	found := false
	for _, text := range s.resources {
		p, ok := r.pattern(text, true)
		switch {
		case ok && like(p, literal(r.resource)):
			found = true
		case !ok && s.notResource && s.allow:
			return false // it cannot be told what is left out
		}
	}
	if found == s.notResource {
		return false
	}
	for _, c := range s.conditions {
		if !r.meets(&c, s.allow) {
			return false
		}
	}
	return true
}

func (r *modelRequest) named(s *modelStatement) bool {
	for _, p := range s.principals {
		switch {
		case p == "*":
			return true
		case r.who.Account == "":
		case slices.Contains(r.who.Names, p):
			return true
		case p == r.who.Account || p == "arn:aws:iam::"+r.who.Account+":root" || p == r.who.CanonicalID:
			// The account delegates to its users' policies what it is allowed, and is
			// denied for all of them. Leaving it out of a Deny leaves out none of them.
			if r.who.Root || !s.allow && !s.notPrincipal {
				return true
			}
		}
	}
	return false
}

// Wildcards of a pattern, as runes that no text has.
const starRune, oneRune = -1, -2

// like matches a pattern rune by rune.
func like(p, s []rune) bool {
	switch {
	case len(p) == 0:
		return len(s) == 0
	case p[0] == starRune || p[0] == '*':
		return like(p[1:], s) || len(s) > 0 && like(p, s[1:])
	case len(s) == 0:
		return false
	}
	return (p[0] == oneRune || p[0] == '?' || p[0] == s[0]) && like(p[1:], s[1:])
}

// literal has like take stars for stars. A rune of text keeps clear of the wildcards.
func literal(s string) []rune {
	var out []rune
	for _, c := range s {
		if c == '*' || c == '?' {
			c += 0x110000 // no rune; the texts compared go through it too
		}
		out = append(out, c)
	}
	return out
}

// pattern puts variables in and marks wildcards; ok is false if a variable has no value.
func (r *modelRequest) pattern(text string, wildcards bool) (out []rune, ok bool) {
	for text != "" {
		if rest, found := strings.CutPrefix(text, "${"); found {
			inner, after, _ := strings.Cut(rest, "}")
			text = after
			if len(inner) == 1 {
				out = append(out, literal(inner)...)
				continue
			}
			name, fallback, has := strings.Cut(inner, ",")
			v := r.context[strings.ToLower(strings.TrimSpace(name))]
			switch {
			case len(v) == 1:
				out = append(out, literal(v[0])...)
			case len(v) == 0 && has:
				out = append(out, literal(strings.Trim(strings.TrimSpace(fallback), "'"))...)
			default:
				return nil, false
			}
			continue
		}
		c := []rune(text)[0]
		text = text[len(string(c)):]
		switch {
		case wildcards && c == '*':
			out = append(out, starRune)
		case wildcards && c == '?':
			out = append(out, oneRune)
		default:
			out = append(out, literal(string(c))...)
		}
	}
	return out, true
}

// meets is one condition.
func (r *modelRequest) meets(c *modelCondition, allow bool) bool {
	name, quantifier := c.operator, ""
	if q, rest, ok := strings.Cut(name, ":"); ok {
		quantifier, name = q, rest
	}
	name, ifExists := strings.CutSuffix(name, "IfExists")
	values, exists := r.context[strings.ToLower(c.key)]
	if name == "Null" {
		for _, v := range c.values {
			if (v == "true") != exists {
				return true
			}
		}
		return false
	}
	if !exists && ifExists {
		return true
	}
	negated := strings.Contains(name, "Not")
	base := strings.Replace(name, "Not", "", 1)
	// one tells whether one value of the request passes.
	one := func(v string) bool {
		for _, want := range c.values {
			hit, known := r.compare(base, want, v)
			if hit {
				return !negated
			}
			if !known && negated && allow {
				return false
			}
		}
		return negated
	}
	switch quantifier {
	case "ForAllValues":
		for _, v := range values {
			if !one(v) {
				return false
			}
		}
		return true
	case "ForAnyValue":
		return slices.ContainsFunc(values, one)
	}
	if !exists {
		return negated
	}
	if negated {
		for _, v := range values {
			if !one(v) {
				return false
			}
		}
		return true
	}
	return slices.ContainsFunc(values, one)
}

// compare is an operator without Not. known is false if a variable has no value.
func (r *modelRequest) compare(base, want, v string) (hit, known bool) {
	switch base {
	case "StringEquals", "StringLike", "StringEqualsIgnoreCase":
		p, ok := r.pattern(want, base == "StringLike")
		if !ok {
			return false, false
		}
		text := literal(v)
		if base == "StringEqualsIgnoreCase" {
			return strings.EqualFold(string(plain(p)), string(plain(text))), true
		}
		return like(p, text), true
	case "ArnEquals", "ArnLike":
		p, ok := r.pattern(want, true)
		if !ok {
			return false, false
		}
		if len(p) == 1 && p[0] == starRune {
			return strings.HasPrefix(v, "arn:") && strings.Count(v, ":") >= 5, true
		}
		text := strings.SplitN(v, ":", 6)
		parts := splitRunes(p)
		if len(text) != 6 || text[0] != "arn" || len(parts) != 6 || string(plain(parts[0])) != "arn" {
			return false, true
		}
		for i := range parts {
			if !like(parts[i], literal(text[i])) {
				return false, true
			}
		}
		return true, true
	case "Bool":
		return strings.EqualFold(want, v), true
	case "BinaryEquals":
		return decoded(want) == decoded(v), true
	case "IpAddress":
		a, err := netip.ParseAddr(v)
		if err != nil {
			return false, true
		}
		if p, err := netip.ParsePrefix(want); err == nil {
			return p.Contains(a), true
		}
		return netip.MustParseAddr(want) == a, true
	}
	var order int
	if kind, ok := strings.CutPrefix(base, "Numeric"); ok {
		a, err := strconv.ParseFloat(v, 64)
		b, _ := strconv.ParseFloat(want, 64)
		if err != nil {
			return false, true
		}
		base = kind
		order = compareNumbers(a, b)
	} else {
		base = strings.TrimPrefix(base, "Date")
		a, err := time.Parse(time.RFC3339, v)
		if n, nerr := strconv.ParseInt(v, 10, 64); nerr == nil {
			a, err = time.Unix(n, 0), nil // of the epoch
		}
		b, _ := time.Parse(time.RFC3339, want)
		if err != nil {
			return false, true
		}
		order = a.Compare(b)
	}
	switch base {
	case "Equals":
		return order == 0, true
	case "LessThan":
		return order < 0, true
	case "LessThanEquals":
		return order <= 0, true
	case "GreaterThan":
		return order > 0, true
	}
	return order >= 0, true
}

func plain(p []rune) []rune {
	out := slices.Clone(p)
	for i, c := range out {
		if c >= 0x110000 {
			out[i] = c - 0x110000
		}
	}
	return out
}

func splitRunes(p []rune) (parts [][]rune) {
	for range 5 {
		i := slices.Index(p, ':')
		if i < 0 {
			break
		}
		parts, p = append(parts, p[:i]), p[i+1:]
	}
	return append(parts, p)
}

func decoded(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "not base64: " + s
	}
	return string(b)
}
