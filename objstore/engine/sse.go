package engine

import (
	"context"
	"errors"
	"fmt"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// newOEK makes an object key for a content that has none, under the bucket's
// default encryption, and puts its sealed form into c. The caller wipes it.
func (s *Store) newOEK(ctx context.Context, bucket objstore.InodeID, c *record.Content) (*secret.Key, error) {
	id, dek, err := s.bucketDEK(ctx, bucket)
	if err != nil {
		return nil, err
	}
	oek := secret.Random()
	c.Mode, c.DEK = objstore.SSES3, id
	c.SealedOEK = coffercrypto.SealObjectKey(dek, byte(c.Mode), s.o.StoreID, c.ID, oek)
	return oek, nil
}

// openOEK opens a content's object key. customer is the key of an SSE-C
// request, or nil. The caller wipes the result.
func (s *Store) openOEK(ctx context.Context, c *record.Content, customer *secret.Key) (*secret.Key, error) {
	if c.Mode == objstore.SSEC {
		if customer == nil {
			return nil, objstore.E(objstore.KindKeyRequired, "open", "", "the object is encrypted with a customer's key")
		}
		oek, err := coffercrypto.OpenObjectKey(customer, byte(c.Mode), s.o.StoreID, c.ID, c.SealedOEK)
		if errors.Is(err, coffercrypto.ErrWrongKey) {
			return nil, objstore.Wrap(objstore.KindWrongKey, "open", "", err)
		}
		return oek, s.wrap("open", "", err)
	}
	dek, err := s.dek(ctx, c.DEK)
	if err != nil {
		return nil, err
	}
	oek, err := coffercrypto.OpenObjectKey(dek, byte(c.Mode), s.o.StoreID, c.ID, c.SealedOEK)
	return oek, s.wrap("open", "", err)
}

// checkEncryption refuses what the store cannot do yet.
func checkEncryption(op string, e objstore.Encryption) error {
	switch e.Mode {
	case objstore.SSENone, objstore.SSES3:
		return nil
	}
	return objstore.E(objstore.KindNotSupported, op, "", "this encryption mode is not supported yet")
}

// newDEK makes a data key under an external key, for a context, and its record.
func (s *Store) newDEK(ctx context.Context, ek kms.KeyID, kc kms.Context) (record.DEKID, *record.DEK, error) {
	k, err := s.o.KMS.GenerateDataKey(ctx, ek, kc)
	if err != nil {
		return 0, nil, s.keyError("make a data key", ek, err)
	}
	defer k.Plain.Wipe()
	return newDEKID(), &record.DEK{KeyID: string(k.KeyID), Context: kc, Sealed: k.Sealed}, nil
}

// storeContext is what every data key of this store is bound to.
func (s *Store) storeContext(purpose string) kms.Context {
	return kms.Context{"coffer:purpose": purpose, "coffer:store": fmt.Sprintf("%x", s.o.StoreID)}
}

// newBucketDEK makes the data key of SSE-S3 for a bucket that is about to be
// made, and keeps it.
func (s *Store) newBucketDEK(ctx context.Context, root objstore.InodeID) (record.DEKID, error) {
	kc := s.storeContext("sse-s3")
	kc["coffer:bucket"] = fmt.Sprint(root)
	id, k, err := s.newDEK(ctx, EKSSES3, kc)
	if err != nil {
		return 0, err
	}
	err = s.update(ctx, objstore.Caller{}, "make a data key", "", func(x *tx) error {
		x.txn.Set(record.DEKKey(id), k.Append(nil))
		return nil
	})
	return id, err
}

// bucketDEK returns the data key of SSE-S3 of a bucket, lent by the cache.
func (s *Store) bucketDEK(ctx context.Context, root objstore.InodeID) (record.DEKID, *secret.Key, error) {
	id, ok := s.deks.bucket(root)
	if !ok {
		err := s.view(ctx, "open bucket", "", func(r reader) error {
			b, err := r.bucket(root)
			if err != nil {
				if n, ierr := r.inode(root); objstore.IsKind(ierr, objstore.KindStale) || ierr == nil && n.Nlink == 0 {
					return objstore.E(objstore.KindNoSuchBucket, "open bucket", "", "the bucket was removed")
				}
				return err
			}
			id = b.DEK
			return nil
		})
		if err != nil {
			return 0, nil, err
		}
		s.deks.setBucket(root, id)
	}
	k, err := s.dek(ctx, id)
	return id, k, err
}

// dek returns an unsealed data key, lent by the cache.
func (s *Store) dek(ctx context.Context, id record.DEKID) (*secret.Key, error) {
	k, era := s.deks.get(id)
	if k != nil {
		return k, nil
	}
	var rec *record.DEK
	err := s.view(ctx, "open data key", "", func(r reader) error {
		v, err := r.Get(record.DEKKey(id))
		if err != nil {
			return absent(err, "data key")
		}
		rec, err = record.ParseDEK(v)
		return err
	})
	if err != nil {
		return nil, err
	}
	if k, err = s.o.KMS.Decrypt(ctx, rec.Sealed, rec.Context); err != nil {
		return nil, s.keyError("open data key", kms.KeyID(rec.KeyID), err)
	}
	return s.deks.put(id, kms.KeyID(rec.KeyID), k, era), nil
}
