package iam

import (
	"context"
	"fmt"
	"slices"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/policy"
)

// Access is one thing that a request wants to do.
type Access struct {
	Action string // "s3:GetObject"
	// Bucket and Key name the resource; without a Bucket it is the account.
	Bucket, Key string
	// New says that the bucket is to be made: no policy of a bucket is asked.
	New bool
	// ARN names a resource that is not S3's; Bucket and Key are empty then.
	ARN string
	// Owner is the canonical user id of the account, by which policies can name it.
	Owner string
	// Values are the condition keys of the request, as policy.Request has them.
	Values func(key string) ([]string, bool)
}

func (a *Access) arn() string {
	switch {
	case a.ARN != "":
		return a.ARN
	case a.Bucket == "":
		return "arn:aws:s3:::*"
	case a.Key == "":
		return "arn:aws:s3:::" + a.Bucket
	}
	return "arn:aws:s3:::" + a.Bucket + "/" + a.Key
}

// beyondPolicy are what root may do whatever a bucket's policy says, so that
// nobody locks themselves out ("Bucket policies", S3 user guide).
func beyondPolicy(action string) bool {
	switch action {
	case "s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy":
		return true
	}
	return false
}

// Authorize returns nil if p may do a, and KindAccessDenied with a sentence that
// says which policy is in the way. KindNoSuchBucket when there is no bucket to
// do it to, unless it is to be made (New).
//
// Of root nothing is asked but the policy of the bucket, which is there or not
// in the bucket's record. Others need an Allow, of one of their own policies or
// of the bucket's; a Deny of any of them wins. A session with a policy of its
// own needs that one's Allow as well.
func (s *Service) Authorize(ctx context.Context, p *Principal, a Access) error {
	var rules *policy.Policy
	restricted := false
	if a.Bucket != "" && !a.New {
		var err error
		if rules, restricted, err = s.bucketPolicy(ctx, a.Bucket); err != nil {
			if p.root && objstore.IsKind(err, objstore.KindCorrupt) && beyondPolicy(a.Action) {
				return p.withinSession(&a, p.request(&a))
			}
			return err
		}
	}
	if p.root && p.session == nil && rules == nil {
		return nil
	}
	r := p.request(&a)
	ofBucket := policy.None
	if rules != nil {
		ofBucket = rules.Evaluate(r)
	}
	switch {
	case p.root && ofBucket == policy.Deny && !beyondPolicy(a.Action):
		return p.denied(&a, "with an explicit deny in a resource-based policy")
	case p.root:
		return p.withinSession(&a, r)
	case ofBucket == policy.Deny:
		return p.denied(&a, "with an explicit deny in a resource-based policy")
	case p.user == nil:
		if ofBucket == policy.Allow && !restricted {
			return nil
		}
		return p.denied(&a, "")
	}
	switch p.user.decide(r) {
	case policy.Deny:
		return p.denied(&a, "with an explicit deny in an identity-based policy")
	case policy.None:
		if ofBucket != policy.Allow {
			return p.denied(&a, "because no identity-based policy allows the "+a.Action+" action")
		}
	}
	return p.withinSession(&a, r)
}

// Bound reports whether there is anything that p may not do in a bucket, so that
// it has to be asked: of root nothing but the bucket's policy.
func (s *Service) Bound(ctx context.Context, p *Principal, bucket string) (bool, error) {
	if !p.root || p.session != nil {
		return true, nil
	}
	if bucket == "" {
		return false, nil
	}
	document, _, err := s.store.PolicyDocument(ctx, bucket)
	switch {
	case objstore.IsKind(err, objstore.KindNoSuchBucket):
		return false, nil
	case objstore.IsKind(err, objstore.KindCorrupt):
		return true, nil // Authorize says for what that matters
	}
	return document != nil, err
}

// MayAllowAnonymous returns nil if the policy of a bucket could allow one of some actions
// to whoever does not sign, and KindAccessDenied otherwise: then nothing of what the
// request asks for has to be looked at. KindNoSuchBucket.
func (s *Service) MayAllowAnonymous(ctx context.Context, bucket string, actions ...string) error {
	rules, restricted, err := s.bucketPolicy(ctx, bucket)
	if err != nil {
		return err
	}
	if rules != nil && !restricted && slices.ContainsFunc(actions, func(a string) bool { return rules.MayAllow(&policy.Principal{}, a) }) {
		return nil
	}
	return Anonymous().denied(&Access{Bucket: bucket}, "")
}

// Denied reports whether some policy denies a explicitly. It is for what needs
// no Allow.
func (s *Service) Denied(ctx context.Context, p *Principal, a Access) (bool, error) {
	return s.anyPolicy(ctx, p, a, func(l *policy.Policy, r *policy.Request) bool { return l.Evaluate(r) == policy.Deny })
}

// CheckBelow returns nil if no policy denies a on anything whose key begins with
// a.Key, whether it is there or not: KindAccessDenied. It is for what is done to all
// of it at once. The Allow that p needs is Authorize's to find.
func (s *Service) CheckBelow(ctx context.Context, p *Principal, a Access) error {
	denied, err := s.anyPolicy(ctx, p, a, (*policy.Policy).DeniesBelow)
	if err == nil && denied {
		err = p.denied(&a, "with an explicit deny for what is below it")
	}
	return err
}

// anyPolicy reports whether says holds for any policy that binds p.
func (s *Service) anyPolicy(ctx context.Context, p *Principal, a Access, says func(*policy.Policy, *policy.Request) bool) (bool, error) {
	var rules *policy.Policy
	if a.Bucket != "" {
		var err error
		if rules, _, err = s.bucketPolicy(ctx, a.Bucket); err != nil {
			return false, err
		}
	}
	if p.root && p.session == nil && rules == nil {
		return false, nil
	}
	r := p.request(&a)
	return rules != nil && says(rules, r) ||
		p.user != nil && slices.ContainsFunc(p.user.policies, func(l *policy.Policy) bool { return says(l, r) }) ||
		p.session != nil && p.session.policy != nil && says(p.session.policy, r), nil
}

func (p *Principal) request(a *Access) *policy.Request {
	r := &policy.Request{Action: a.Action, Resource: a.arn(), Values: a.Values}
	if !p.Anonymous() {
		r.Principal = policy.Principal{Account: objstore.AccountID, Root: p.root, CanonicalID: a.Owner, Names: p.names()}
	}
	return r
}

func (p *Principal) withinSession(a *Access, r *policy.Request) error {
	if p.session == nil || p.session.policy == nil {
		return nil
	}
	switch p.session.policy.Evaluate(r) {
	case policy.Allow:
		return nil
	case policy.Deny:
		return p.denied(a, "with an explicit deny in a session policy")
	}
	return p.denied(a, "because no session policy allows the "+a.Action+" action")
}

// denied words a refusal as AWS does.
func (p *Principal) denied(a *Access, why string) error {
	msg := "Access Denied"
	if !p.Anonymous() {
		resource := `"` + a.arn() + `"`
		if a.ARN != "" { // S3 alone puts it in quotes
			resource = a.ARN
		}
		msg = fmt.Sprintf("User: %s is not authorized to perform: %s on resource: %s %s", p.SessionARN(), a.Action, resource, why)
	}
	return objstore.E(objstore.KindAccessDenied, a.Action, "", msg)
}

// decide puts the decisions of the user's policies together.
func (u *user) decide(r *policy.Request) policy.Decision {
	d := policy.None
	for _, p := range u.policies {
		switch p.Evaluate(r) {
		case policy.Deny:
			return policy.Deny
		case policy.Allow:
			d = policy.Allow
		}
	}
	return d
}
