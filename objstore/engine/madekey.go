package engine

import (
	"context"
	"errors"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// askedKey is what the key service said of the key that a bucket's default encryption
// names; it is asked outside of transactions. The zero askedKey is of none.
type askedKey struct {
	encryption objstore.BucketEncryption
	err        error
}

// askKey asks whether files can be made under a bucket's default key.
func (s *Store) askKey(ctx context.Context, root objstore.InodeID, b *record.Bucket) askedKey {
	if !isExternal(b.Encryption.Mode) {
		return askedKey{}
	}
	_, err := s.parentOf(ctx, root, b, objstore.Encryption{})
	return askedKey{b.Encryption, err}
}

// askDirsKey is askKey for the bucket of a directory, as far as the cache knows it: the
// transaction then need not end to have the key service asked.
func (s *Store) askDirsKey(ctx context.Context, dir objstore.InodeID) askedKey {
	n, _ := s.cache.inode(dir)
	if n == nil {
		return askedKey{}
	}
	b, _ := s.cache.bucket(n.Bucket)
	return s.askKey(ctx, n.Bucket, &b)
}

// askingKey calls try, which makes a file in a directory, until no key has to be asked for:
// see checkKeyAsked, which gets what is known.
func (s *Store) askingKey(ctx context.Context, dir objstore.InodeID, try func(asked *askedKey) error) error {
	asked := s.askDirsKey(ctx, dir)
	for {
		err := try(&asked)
		var other *keyToAsk
		if !errors.As(err, &other) {
			return err
		}
		asked = s.askKey(ctx, other.root, &other.b)
	}
}

// keyToAsk says that a file would be under an external key that was not asked about: the
// cache did not know of it, or the bucket got it in between.
type keyToAsk struct {
	root objstore.InodeID
	b    record.Bucket
}

func (*keyToAsk) Error() string { return "the key service was not asked" }

// checkKeyAsked keeps a file from being made whose key cannot be used: the first write
// would fail, and an empty file would be left behind.
func (x *tx) checkKeyAsked(n *record.Inode, asked *askedKey) error {
	if n.Type != objstore.TypeRegular {
		return nil
	}
	b, err := x.settings(n.Bucket)
	if err != nil {
		return err
	}
	switch {
	case !isExternal(b.Encryption.Mode):
		return nil
	case asked.encryption == b.Encryption:
		return asked.err
	}
	return &keyToAsk{n.Bucket, *b}
}
