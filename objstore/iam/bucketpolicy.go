package iam

import (
	"bytes"
	"context"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/policy"
)

// SetBucketPolicy gives a bucket a policy, durably, after it was held to what S3
// holds it to. KindMalformedPolicy; KindAccessDenied when it is public and the
// bucket blocks that.
func (s *Service) SetBucketPolicy(ctx context.Context, c objstore.Caller, bucket string, document []byte) error {
	const op = "set bucket policy"
	p, err := policy.ParseBucket(document, bucket)
	if err != nil {
		return malformedPolicy(op, bucket, err)
	}
	if document, err = s.bindUsers(p, bucket, document); err != nil {
		return err
	}
	if err := s.store.SetPolicyDocument(ctx, c, bucket, document, p.Public()); err != nil {
		return err
	}
	if keys := p.UnknownKeys(); keys != nil {
		// S3's answer has no place for it.
		s.log.Warn("a bucket's policy has condition keys that no request has", "bucket", bucket, "keys", keys)
	}
	return nil
}

// bindUsers returns the document with the unique ids of the users that it names
// as principals, as IAM has it ("Principal", IAM user guide): who is given the name
// of one that was removed is not the one that the policy speaks of. KindMalformedPolicy
// when there is no such user; of other accounts nobody can know.
func (s *Service) bindUsers(p *policy.Policy, bucket string, document []byte) ([]byte, error) {
	t := s.users.Load()
	var err error
	bound := p.WithUsers(document, func(written string) string {
		u := t.ids[written]
		if name, ours := strings.CutPrefix(written, userARN); ours {
			u = t.names[name]
		} else if strings.HasPrefix(written, "arn:") {
			return written
		}
		if u == nil || u.rec.ID == "" {
			err = objstore.E(objstore.KindMalformedPolicy, "set bucket policy", bucket, "Invalid principal in policy")
			return written
		}
		return u.rec.ID
	})
	return bound, err
}

// BucketPolicy returns the policy of a bucket as it was set, with the unique id of
// a user who was removed since then in place of their ARN. What is damaged is returned
// as it is kept. KindNoSuchConfig.
func (s *Service) BucketPolicy(ctx context.Context, bucket string) ([]byte, error) {
	document, _, err := s.store.PolicyDocument(ctx, bucket)
	if err != nil {
		return nil, err
	}
	if document == nil {
		return nil, errNoPolicy(bucket)
	}
	p, err := policy.Parse(document, policy.Resource)
	if err != nil {
		return document, nil
	}
	t := s.users.Load()
	return p.WithUsers(document, func(id string) string {
		if u := t.ids[id]; u != nil {
			return u.arn()
		}
		return id
	}), nil
}

// BucketPolicyPublic reports whether a bucket has a policy that is public.
// KindNoSuchConfig.
func (s *Service) BucketPolicyPublic(ctx context.Context, bucket string) (bool, error) {
	c, _, err := s.compiledPolicy(ctx, bucket)
	if err == nil && c == nil {
		err = errNoPolicy(bucket)
	}
	if err != nil {
		return false, err
	}
	return c.public, nil
}

func errNoPolicy(bucket string) error {
	return objstore.E(objstore.KindNoSuchConfig, "bucket policy", bucket, "")
}

// maxPolicies bounds the compiled policies of buckets that are kept.
const maxPolicies = 1024

// compiledPolicy is kept beside the document that it was compiled from, which the
// store keeps in memory: comparing the two tells whether it is the one in force.
type compiledPolicy struct {
	document []byte
	policy   *policy.Policy
	public   bool
	err      error // the document is none
}

// bucketPolicy returns the policy of a bucket, nil if it has none, and whether
// it is public and public access is restricted. KindNoSuchBucket; KindCorrupt
// when what is kept is no policy.
func (s *Service) bucketPolicy(ctx context.Context, bucket string) (p *policy.Policy, restricted bool, err error) {
	c, access, err := s.compiledPolicy(ctx, bucket)
	if err != nil || c == nil {
		return nil, false, err
	}
	return c.policy, c.public && access.Effective().RestrictPublicBuckets, nil
}

// compiledPolicy is bucketPolicy with the parts apart.
func (s *Service) compiledPolicy(ctx context.Context, bucket string) (*compiledPolicy, objstore.PublicAccess, error) {
	document, access, err := s.store.PolicyDocument(ctx, bucket)
	if err != nil || document == nil {
		return nil, access, err
	}
	c := s.policies.get(bucket)
	if c == nil || !bytes.Equal(c.document, document) {
		c = &compiledPolicy{document: document}
		if c.policy, c.err = policy.Parse(document, policy.Resource); c.err == nil {
			c.public = c.policy.Public()
		}
		s.policies.put(bucket, c)
	}
	if c.err != nil {
		return nil, access, objstore.Wrap(objstore.KindCorrupt, "policy", bucket, c.err)
	}
	return c, access, nil
}
