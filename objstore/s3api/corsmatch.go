package s3api

import (
	"slices"
	"strings"
)

// maxRequestedHeaders bounds the names in Access-Control-Request-Headers that are
// compared with a rule's. No browser has as many to ask for; nobody signs a
// preflight, and a configuration has room for some 2,000 patterns.
const maxRequestedHeaders = 256

// corsPattern is a text in which one asterisk may stand for anything.
type corsPattern struct {
	before, after string
	star          bool
}

func compileCORSPattern(s string) (p corsPattern) {
	p.before, p.after, p.star = strings.Cut(s, "*")
	return p
}

func (p *corsPattern) match(s string) bool {
	if !p.star {
		return s == p.before
	}
	return len(s) >= len(p.before)+len(p.after) && strings.HasPrefix(s, p.before) && strings.HasSuffix(s, p.after)
}

// corsRules are a bucket's rules, ready to be matched. They do not change.
type corsRules []compiledRule

type compiledRule struct {
	*corsRule
	origins []corsPattern // those of AllowedOrigin, one by one
	headers []corsPattern // in lower case
}

func (doc *corsDocument) compile() corsRules {
	rules := make(corsRules, len(doc.CORSRule))
	for i := range doc.CORSRule {
		r := compiledRule{corsRule: &doc.CORSRule[i]}
		for _, o := range r.AllowedOrigin {
			r.origins = append(r.origins, compileCORSPattern(o))
		}
		for _, h := range r.AllowedHeader {
			r.headers = append(r.headers, compileCORSPattern(strings.ToLower(h)))
		}
		rules[i] = r
	}
	return rules
}

// match returns the first rule that allows a request, and the origin of that
// rule. headers are those of Access-Control-Request-Headers, in lower case: no
// rule allows more than maxRequestedHeaders.
func (rules corsRules) match(origin, method string, headers []string) (rule *corsRule, pattern string) {
	if len(headers) > maxRequestedHeaders {
		return nil, ""
	}
	for i := range rules {
		r := &rules[i]
		at := firstMatch(r.origins, origin)
		if at >= 0 && slices.Contains(r.AllowedMethod, method) && r.allows(headers) {
			return r.corsRule, r.AllowedOrigin[at]
		}
	}
	return nil, ""
}

func (r *compiledRule) allows(headers []string) bool {
	for _, h := range headers {
		if firstMatch(r.headers, h) < 0 {
			return false
		}
	}
	return true
}

func firstMatch(list []corsPattern, s string) int {
	for i := range list {
		if list[i].match(s) {
			return i
		}
	}
	return -1
}
