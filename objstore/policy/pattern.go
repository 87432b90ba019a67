package policy

import (
	"strings"
	"unicode/utf8"
)

// In a compiled pattern the wildcards are bytes that no valid UTF-8 has, so
// that a star that came out of a variable is a star and nothing more.
const (
	anyRun = 0xff // *
	anyOne = 0xfe // ?
)

// pattern is a text with wildcards and variables in it.
type pattern struct {
	text  string // without variables: the compiled text
	parts []part // with variables: what text is put together from
}

// part is a compiled text, or a variable.
type part struct {
	text     string
	variable string // lower-case key; empty: text
	fallback string // of a variable without a value
	defaults bool   // there is a fallback
}

// compile makes a pattern. Without wildcards * and ? are what they are; without
// variables ${ is, too.
func compile(text string, wildcards, variables bool) (pattern, bool) {
	var parts []part
	var b strings.Builder
	found := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case wildcards && c == '*':
			if s := b.String(); s == "" || s[len(s)-1] != anyRun {
				b.WriteByte(anyRun)
			}
		case wildcards && c == '?':
			b.WriteByte(anyOne)
		case variables && c == '$' && strings.HasPrefix(text[i:], "${"):
			end := strings.IndexByte(text[i:], '}')
			if end < 0 {
				return pattern{}, false
			}
			name := text[i+2 : i+end]
			i += end
			if name == "*" || name == "?" || name == "$" { // how the three are written where they are meant
				b.WriteString(name)
				continue
			}
			v, ok := parseVariable(name)
			if !ok {
				return pattern{}, false
			}
			found = true
			parts = append(parts, part{text: b.String()}, v)
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	if !found {
		return pattern{text: b.String()}, true
	}
	return pattern{parts: append(parts, part{text: b.String()})}, true
}

// parseVariable reads "key" or "key, 'default'".
func parseVariable(s string) (part, bool) {
	name, fallback, given := strings.Cut(s, ",")
	v := part{variable: strings.ToLower(strings.TrimSpace(name)), defaults: given}
	if given {
		fallback = strings.TrimSpace(fallback)
		if len(fallback) < 2 || fallback[0] != '\'' || fallback[len(fallback)-1] != '\'' {
			return part{}, false
		}
		v.fallback = fallback[1 : len(fallback)-1]
	}
	service, key, ok := strings.Cut(v.variable, ":")
	return v, ok && service != "" && key != "" && !strings.ContainsAny(v.variable, " ${")
}

// hasVariables reports whether the pattern's text depends on the request.
func (p *pattern) hasVariables() bool { return p.parts != nil }

// fixed reports whether the pattern stands for one text alone.
func (p *pattern) fixed() bool {
	return p.parts == nil && strings.IndexByte(p.text, anyRun) < 0 && strings.IndexByte(p.text, anyOne) < 0
}

// maxExpanded bounds what variables make of a pattern, in bytes: more than all
// headers of a request, so that no value in one is longer.
const maxExpanded = 64 << 10

// expand returns the compiled text for a request; ok is false when a variable
// has no value there, or several, and when the text gets too long to match
// anything.
func (p *pattern) expand(r *Request) (text string, ok bool) {
	if p.parts == nil {
		return p.text, true
	}
	var b strings.Builder
	for i := range p.parts {
		q := &p.parts[i]
		if b.Len() > maxExpanded {
			return "", false
		}
		if q.variable == "" {
			b.WriteString(q.text)
			continue
		}
		values, _ := r.value(q.variable)
		switch {
		case len(values) == 1 && utf8.ValidString(values[0]):
			b.WriteString(values[0])
		case len(values) == 0 && q.defaults:
			b.WriteString(q.fallback)
		default:
			return "", false
		}
	}
	return b.String(), true
}

// match compares a compiled text with s; fold takes ASCII letters for equal
// whatever their case. It takes time in proportion to the product of both
// lengths at worst.
func match(p, s string, fold bool) bool {
	pi, si := 0, 0
	star, mark := -1, 0 // the last star, and where its run ends so far
	for si < len(s) {
		switch {
		case pi < len(p) && p[pi] == anyRun:
			star, mark = pi, si
			pi++
			continue
		case pi < len(p) && p[pi] == anyOne:
			pi++
			si += runeLen(s[si:])
			continue
		case pi < len(p) && (p[pi] == s[si] || fold && lower(p[pi]) == lower(s[si])):
			pi++
			si++
			continue
		}
		if star < 0 {
			return false
		}
		mark += runeLen(s[mark:])
		pi, si = star+1, mark
	}
	for pi < len(p) && p[pi] == anyRun {
		pi++
	}
	return pi == len(p)
}

func runeLen(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
