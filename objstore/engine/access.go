package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// PolicyDocument returns the policy of a bucket, nil if it has none, and what
// PublicAccess says. The store does not look into policies. It may be asked for with
// every request; the document is BucketConfig's. KindNoSuchBucket.
func (s *Store) PolicyDocument(ctx context.Context, bucket string) ([]byte, objstore.PublicAccess, error) {
	_, b, err := s.openRecord(ctx, "policy", bucket)
	if err != nil || b.Configs&policyBit == 0 {
		return nil, b.PublicAccess, err
	}
	document, err := s.BucketConfig(ctx, objstore.Caller{}, bucket, objstore.ConfigPolicy)
	if objstore.IsKind(err, objstore.KindNoSuchConfig) {
		return nil, b.PublicAccess, nil
	}
	return document, b.PublicAccess, err
}

var policyBit = objstore.ConfigPolicy.Of()

// SetPolicyDocument gives a bucket a policy, durably. Whoever calls it has held
// the document to what S3 holds it to, and knows whether it is public:
// KindAccessDenied when the bucket blocks that.
func (s *Store) SetPolicyDocument(ctx context.Context, c objstore.Caller, bucket string, document []byte, public bool) error {
	const op = "set bucket policy"
	err := s.update(ctx, c, op, bucket, func(x *tx) error {
		root, b, err := x.bucketRecord(bucket)
		if err != nil {
			return err
		}
		if public && b.PublicAccess.Effective().BlockPublicPolicy {
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
