package engine

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/policy"
)

// Principal is on whose behalf a request of the S3 door runs, with what binds
// it as of the moment of the request. It does not change.
type Principal struct {
	root    bool
	user    *user    // nil: root or anonymous
	session *session // nil: none
}

// RootPrincipal is who holds the credentials of the store.
func RootPrincipal() *Principal { return rootPrincipal }

// AnonymousPrincipal is somebody without credentials.
func AnonymousPrincipal() *Principal { return anonymousPrincipal }

var rootPrincipal, anonymousPrincipal = &Principal{root: true}, &Principal{}

// Anonymous reports whether nobody is known.
func (p *Principal) Anonymous() bool { return !p.root && p.user == nil }

// Root reports whether the principal is the account itself, with its own
// credentials or in a session that it began.
func (p *Principal) Root() bool { return p.root }

// UserName is aws:username, empty for root.
func (p *Principal) UserName() string {
	if p.user == nil {
		return ""
	}
	return p.user.name
}

// UserID is aws:userid: a user's own, the account's for root; in a session of
// AssumeRole with a colon and the session's name behind it.
func (p *Principal) UserID() string {
	if p.Anonymous() {
		return "anonymous"
	}
	id := objstore.AccountID
	if p.user != nil {
		id = p.user.rec.ID
	}
	if p.session != nil && p.session.Name != "" {
		id += ":" + p.session.Name
	}
	return id
}

// ARN is the user's, or the account's: by it policies name the principal. A
// session has that of whoever began it.
func (p *Principal) ARN() string {
	switch {
	case p.root:
		return "arn:aws:iam::" + objstore.AccountID + ":root"
	case p.user != nil:
		return p.user.arn()
	}
	return ""
}

// SessionARN is what GetCallerIdentity answers: the ARN of the session, if
// AssumeRole began it.
func (p *Principal) SessionARN() string {
	if p.session == nil || p.session.Role == "" {
		return p.ARN()
	}
	return assumedARN(p.session.Role, p.session.Name)
}

// Session reports whether the principal has temporary credentials, and since when.
func (p *Principal) Session() (begun time.Time, ok bool) {
	if p.session == nil {
		return time.Time{}, false
	}
	return p.session.Begun, true
}

func assumedARN(role, name string) string {
	return "arn:aws:sts::" + objstore.AccountID + ":assumed-role/" + role + "/" + name
}

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
// nobody locks himself out ("Bucket policies", S3 user guide).
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
func (s *Store) Authorize(ctx context.Context, p *Principal, a Access) error {
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
func (s *Store) Bound(ctx context.Context, p *Principal, bucket string) (bool, error) {
	if !p.root || p.session != nil {
		return true, nil
	}
	if bucket == "" {
		return false, nil
	}
	_, b, err := s.openRecord(ctx, "policy", bucket)
	if objstore.IsKind(err, objstore.KindNoSuchBucket) {
		return false, nil
	}
	return b.Configs&policyBit != 0, err
}

// Denied reports whether some policy denies a explicitly. It is for what needs
// no Allow.
func (s *Store) Denied(ctx context.Context, p *Principal, a Access) (bool, error) {
	return s.anyPolicy(ctx, p, a, func(l *policy.Policy, r *policy.Request) bool { return l.Evaluate(r) == policy.Deny })
}

// CheckBelow returns nil if no policy denies a on anything whose key begins with
// a.Key, whether it is there or not: KindAccessDenied. It is for what is done to all
// of it at once. The Allow that p needs is Authorize's to find.
func (s *Store) CheckBelow(ctx context.Context, p *Principal, a Access) error {
	denied, err := s.anyPolicy(ctx, p, a, (*policy.Policy).DeniesBelow)
	if err == nil && denied {
		err = p.denied(&a, "with an explicit deny for what is below it")
	}
	return err
}

// anyPolicy reports whether says holds for any policy that binds p.
func (s *Store) anyPolicy(ctx context.Context, p *Principal, a Access, says func(*policy.Policy, *policy.Request) bool) (bool, error) {
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

// names are those by which policies name the principal, in a session too.
func (p *Principal) names() []string {
	if p.user == nil {
		return []string{p.ARN()}
	}
	return []string{p.ARN(), p.user.rec.ID}
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
		msg = fmt.Sprintf("User: %s is not authorized to perform: %s on resource: \"%s\" %s", p.SessionARN(), a.Action, a.arn(), why)
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

// maxPolicies bounds the compiled policies of buckets that are kept.
const maxPolicies = 1024

// policyCache keeps the policies of buckets compiled, beside the documents that
// they were compiled from, which the store keeps in memory: comparing the two
// tells whether a policy is the one in force.
type policyCache struct {
	mu sync.RWMutex
	m  map[objstore.InodeID]*compiledPolicy // guarded by mu, by root directory
}

type compiledPolicy struct {
	document []byte
	policy   *policy.Policy
	public   bool
	err      error // the document is none
}

// bucketPolicy returns the policy of a bucket, nil if it has none, and whether
// it is public and public access is restricted. KindNoSuchBucket; KindCorrupt
// when what is kept is no policy.
func (s *Store) bucketPolicy(ctx context.Context, bucket string) (p *policy.Policy, restricted bool, err error) {
	root, b, err := s.openRecord(ctx, "policy", bucket)
	if err != nil || b.Configs&policyBit == 0 {
		return nil, false, err
	}
	document, err := s.BucketConfig(ctx, objstore.Caller{}, bucket, objstore.ConfigPolicy)
	if objstore.IsKind(err, objstore.KindNoSuchConfig) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	c := s.policies.get(root, document)
	if c == nil {
		c = &compiledPolicy{document: document}
		if c.policy, c.err = policy.Parse(document, policy.Resource); c.err == nil {
			c.public = c.policy.Public()
		}
		s.policies.put(root, c)
	}
	if c.err != nil {
		return nil, false, objstore.Wrap(objstore.KindCorrupt, "policy", bucket, c.err)
	}
	return c.policy, c.public && b.PublicAccess.Effective().RestrictPublicBuckets, nil
}

var policyBit = objstore.ConfigPolicy.Of()

func (c *policyCache) get(root objstore.InodeID, document []byte) *compiledPolicy {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if p := c.m[root]; p != nil && bytes.Equal(p.document, document) {
		return p
	}
	return nil
}

func (c *policyCache) put(root objstore.InodeID, p *compiledPolicy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = make(map[objstore.InodeID]*compiledPolicy)
	}
	if len(c.m) >= maxPolicies {
		for victim := range c.m {
			delete(c.m, victim)
			break
		}
	}
	c.m[root] = p
}
