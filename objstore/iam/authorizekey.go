package iam

import (
	"slices"

	"github.com/cofferfs/coffer/objstore/policy"
)

// BoundByKeys reports whether AuthorizeKey could refuse p anything.
func (p *Principal) BoundByKeys() bool {
	return p.user != nil || p.session != nil && p.session.policy != nil
}

// AuthorizeKey returns nil if p may use an external key, which a.ARN names, and
// KindAccessDenied otherwise. Policies of buckets have no part in it, as with AWS.
//
// A Deny of one of p's own policies counts always. The Allow that AWS asks for is asked
// for where somebody thought of it: of a user one of whose policies allows any action of
// the key service by its name, and of a session whose policy does. To others the keys
// of the store are open, as those of an account are whose key policies say so. managed
// is of the key of alias/aws/s3, which takes no Allow with AWS either.
func (s *Service) AuthorizeKey(p *Principal, a Access, managed bool) error {
	if !p.BoundByKeys() {
		return nil
	}
	names := func(l *policy.Policy) bool { return l.Allows("kms") }
	r := p.request(&a)
	if p.user != nil {
		switch p.user.decide(r) {
		case policy.Deny:
			return p.denied(&a, "with an explicit deny in an identity-based policy")
		case policy.None:
			if !managed && slices.ContainsFunc(p.user.policies, names) {
				return p.denied(&a, "because no identity-based policy allows the "+a.Action+" action")
			}
		}
	}
	if p.session == nil || p.session.policy == nil {
		return nil
	}
	switch l := p.session.policy; l.Evaluate(r) {
	case policy.Deny:
		return p.denied(&a, "with an explicit deny in a session policy")
	case policy.None:
		if !managed && names(l) {
			return p.denied(&a, "because no session policy allows the "+a.Action+" action")
		}
	}
	return nil
}
