package engine

import (
	"context"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/policy"
	"github.com/cofferfs/coffer/objstore/record"
)

// SetBucketPolicy gives a bucket a policy, durably, after it was held to what S3
// holds it to. KindMalformedPolicy; KindAccessDenied when it is public and the
// bucket blocks that.
func (s *Store) SetBucketPolicy(ctx context.Context, c objstore.Caller, bucket string, document []byte) error {
	const op = "set bucket policy"
	p, err := policy.ParseBucket(document, bucket)
	if err != nil {
		return malformedPolicy(op, bucket, err)
	}
	if document, err = s.bindUsers(p, bucket, document); err != nil {
		return err
	}
	err = s.update(ctx, c, op, bucket, func(x *tx) error {
		root, b, err := x.bucketRecord(bucket)
		if err != nil {
			return err
		}
		if p.Public() && b.PublicAccess.Effective().BlockPublicPolicy {
			return objstore.E(objstore.KindAccessDenied, op, bucket,
				"because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.")
		}
		return x.setConfig(root, b, objstore.ConfigPolicy, document)
	})
	if err != nil {
		return err
	}
	return s.durable(context.WithoutCancel(ctx))
}

// bindUsers returns the document with the unique ids of the users that it names
// as principals, as IAM has it ("Principal", IAM user guide): who is given the name
// of one that was removed is not the one that the policy speaks of. KindMalformedPolicy
// when there is no such user; of other accounts nobody can know.
func (s *Store) bindUsers(p *policy.Policy, bucket string, document []byte) ([]byte, error) {
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
// a user who was removed since then in place of his ARN. What is damaged is returned
// as it is kept. KindNoSuchConfig.
func (s *Store) BucketPolicy(ctx context.Context, bucket string) ([]byte, error) {
	document, err := s.BucketConfig(ctx, objstore.Caller{}, bucket, objstore.ConfigPolicy)
	if err != nil {
		return nil, err
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
func (s *Store) BucketPolicyPublic(ctx context.Context, bucket string) (bool, error) {
	document, err := s.BucketConfig(ctx, objstore.Caller{}, bucket, objstore.ConfigPolicy)
	if err != nil {
		return false, err
	}
	p, err := policy.Parse(document, policy.Resource)
	if err != nil {
		return false, objstore.Wrap(objstore.KindCorrupt, "policy", bucket, err)
	}
	return p.Public(), nil
}

// PublicAccess returns a bucket's PublicAccessBlock.
func (s *Store) PublicAccess(ctx context.Context, bucket string) (objstore.PublicAccess, error) {
	_, b, err := s.openRecord(ctx, "public access", bucket)
	return b.PublicAccess, err
}

// SetPublicAccess sets it, durably; nil removes it.
func (s *Store) SetPublicAccess(ctx context.Context, c objstore.Caller, bucket string, block *objstore.PublicAccessBlock) error {
	return s.changeBucket(ctx, c, "set public access block", bucket, func(b *record.Bucket) error {
		b.PublicAccess = block.Keep()
		return nil
	})
}

// Ownership returns the object ownership of a bucket.
func (s *Store) Ownership(ctx context.Context, bucket string) (objstore.Ownership, error) {
	_, b, err := s.openRecord(ctx, "ownership", bucket)
	return b.Ownership, err
}

// SetOwnership sets it, durably.
func (s *Store) SetOwnership(ctx context.Context, c objstore.Caller, bucket string, o objstore.Ownership) error {
	return s.changeBucket(ctx, c, "set ownership", bucket, func(b *record.Bucket) error {
		b.Ownership = o
		return nil
	})
}

// changeBucket changes a bucket's record, durably, unless change returns an error.
func (s *Store) changeBucket(ctx context.Context, c objstore.Caller, op, bucket string, change func(*record.Bucket) error) error {
	err := s.update(ctx, c, op, bucket, func(x *tx) error {
		root, b, err := x.bucketRecord(bucket)
		if err != nil {
			return err
		}
		if err := change(b); err != nil {
			return err
		}
		x.setBucket(root, b)
		return nil
	})
	if err != nil {
		return err
	}
	return s.durable(context.WithoutCancel(ctx))
}
