package policy

import "strings"

// DeniesBelow reports whether the policy denies an action on anything of which the
// ARN begins with the request's Resource. Where a condition asks for what only an
// object itself could tell, its tags or version, it counts as met.
func (p *Policy) DeniesBelow(r *Request) bool {
	for i := range p.statements {
		s := &p.statements[i]
		if s.allow || s.principals != nil && !s.principals.matches(&r.Principal, false) {
			continue
		}
		if s.matchesAction(r.Action) && s.reachesBelow(r) && s.mayHold(r) {
			return true
		}
	}
	return false
}

// reachesBelow is matchesResource for anything that begins with the resource.
func (s *statement) reachesBelow(r *Request) bool {
	for i := range s.resources {
		text, ok := s.resources[i].expand(r)
		if !ok {
			continue
		}
		some, all := matchBelow(text, r.Resource)
		if some && !s.notResource {
			return true
		}
		if all && s.notResource {
			return false
		}
	}
	return s.notResource
}

func (s *statement) mayHold(r *Request) bool {
	for i := range s.conditions {
		c := &s.conditions[i]
		if strings.HasPrefix(c.key, "s3:existingobjecttag/") || c.key == "s3:versionid" {
			continue
		}
		if !c.holds(r, false) {
			return false
		}
	}
	return true
}

// matchBelow compares a compiled text with the texts that begin with s: whether it
// matches some of them, and whether all. It takes time in proportion to the product
// of both lengths.
func matchBelow(p, s string) (some, all bool) {
	at := make([]bool, len(p)+1) // how much of p may stand for what was read of s
	at[0] = true
	for {
		some, all = false, false
		for i := range at {
			if !at[i] {
				continue
			}
			some = true
			if i < len(p) && p[i] == anyRun {
				at[i+1] = true
				all = all || i+1 == len(p)
			}
		}
		if s == "" || !some {
			return some, all
		}
		n := runeLen(s)
		next := make([]bool, len(p)+1)
		for i := range p {
			switch {
			case !at[i]:
			case p[i] == anyRun:
				next[i] = true
			case p[i] == anyOne:
				next[i+1] = true
			case strings.HasPrefix(p[i:], s[:n]):
				next[i+n] = true
			}
		}
		at, s = next, s[n:]
	}
}
