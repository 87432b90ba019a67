package engine

import (
	"context"
	"slices"
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
	users := s.users.Load().names
	for _, arn := range p.Users() {
		// Somebody of this account has to exist. Others nobody can know.
		name, ours := strings.CutPrefix(arn, "arn:aws:iam::"+objstore.AccountID+":user/")
		if ours && users[name] == nil {
			return objstore.E(objstore.KindMalformedPolicy, op, bucket, "Invalid principal in policy")
		}
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
		return x.setConfig(root, b, objstore.ConfigPolicy, slices.Clone(document))
	})
	if err != nil {
		return err
	}
	return s.durable(context.WithoutCancel(ctx))
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
