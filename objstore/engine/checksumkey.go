package engine

import (
	"context"
	"fmt"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// Completing an upload takes no customer's key, but the object's checksum, which is
// of plaintext, is to be read by nobody who lacks that. So an upload under SSE-C that
// was begun with a checksum's algorithm has a key for checksums alone. Sealed under the object key it stays with the object.
// Until the upload ends it is sealed under the bucket's own data key too, where
// Complete finds it: until then the checksums of the parts, which make the object's,
// are at hand in the same way.
//
// Begun without an algorithm and completed without the key, the object has no
// checksum: AWS, which chooses CRC64NVME elsewhere, gives it none (recorded).

// newChecksumKey gives an upload a key for checksums; oek is its object key.
func (s *Store) newChecksumKey(ctx context.Context, u *upload, oek *extent.Keys) error {
	dek, err := s.bucketDEK(ctx, u)
	if err != nil {
		return err
	}
	key := secret.Random()
	defer key.Wipe()
	c := &u.rec.Content
	c.ChecksumKey = coffercrypto.SealKeyCompact(oek.Inner, checksumKeyBinding(c, "object"), key)
	u.rec.ChecksumKey = coffercrypto.SealKey(dek, checksumKeyBinding(c, "upload"), key)
	return nil
}

// bucketDEK is the data key of SSE-S3 of an upload's bucket, lent by the cache.
func (s *Store) bucketDEK(ctx context.Context, u *upload) (*secret.Key, error) {
	b, err := s.bucketRecord(ctx, u.root)
	if err != nil {
		return nil, err
	}
	return s.dek(ctx, b.DEK)
}

// completeKey is what Complete seals checksums under; oek is nil without the
// customer's key. The caller wipes it. It is nil for an upload that has no key for it.
func (s *Store) completeKey(ctx context.Context, u *upload, oek *extent.Keys) (*secret.Key, error) {
	if oek != nil {
		return checksumKey(&u.rec.Content, oek)
	}
	if len(u.rec.ChecksumKey) == 0 {
		return nil, nil
	}
	dek, err := s.bucketDEK(ctx, u)
	if err != nil {
		return nil, err
	}
	key, err := coffercrypto.OpenKey(dek, checksumKeyBinding(&u.rec.Content, "upload"), u.rec.ChecksumKey)
	return key, s.wrap("complete upload", "", err)
}

// checksumKey opens what a content's checksums are sealed under. The caller wipes it.
func checksumKey(c *record.Content, oek *extent.Keys) (*secret.Key, error) {
	if len(c.ChecksumKey) == 0 {
		return oek.Inner.Clone(), nil
	}
	key, err := coffercrypto.OpenKeyCompact(oek.Inner, checksumKeyBinding(c, "object"), c.ChecksumKey)
	if err != nil {
		return nil, fmt.Errorf("key of checksums: %w", err)
	}
	return key, nil
}

func checksumKeyBinding(c *record.Content, of string) coffercrypto.Binding {
	return coffercrypto.Bind(coffercrypto.DomainChecksumKey, c.ID[:], []byte(of))
}
