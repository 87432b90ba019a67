package engine

import (
	"context"
	"errors"
	"fmt"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// S3's words for what does not fit a request's encryption.
const (
	notApplicable   = "The encryption parameters are not applicable to this object."
	otherParameters = "The provided encryption parameters did not match the ones used originally."
	partParameters  = "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters."
)

// newOEK makes an object key for a content that has none, as e asks, or as the
// bucket's default says when it asks for nothing, and puts its sealed form into
// c. The caller wipes it.
func (s *Store) newOEK(ctx context.Context, bucket objstore.InodeID, e objstore.Encryption, c *record.Content) (*extent.Keys, error) {
	b, err := s.bucketRecord(ctx, bucket)
	if err != nil {
		return nil, err
	}
	var parent *secret.Key
	switch e.Mode {
	case objstore.SSEC:
		parent = e.CustomerKey
	default:
		if parent, err = s.dek(ctx, b.DEK); err != nil {
			return nil, err
		}
		e.Mode, c.DEK = objstore.SSES3, b.DEK
	}
	c.Mode = e.Mode
	oek := extent.One(secret.Random())
	c.SealedOEK = coffercrypto.SealObjectKey(parent, byte(c.Mode), s.o.StoreID, c.ID, oek.Inner)
	return oek, nil
}

// openOEK opens a content's object key. customer is the key of an SSE-C
// request, or nil. The caller wipes the result. KindKeyRequired, KindWrongKey.
func (s *Store) openOEK(ctx context.Context, c *record.Content, customer *secret.Key) (*extent.Keys, error) {
	if c.Mode == objstore.SSEC {
		if customer == nil {
			return nil, objstore.E(objstore.KindKeyRequired, "open", "", "the object is encrypted with a customer's key")
		}
		oek, err := coffercrypto.OpenObjectKey(customer, byte(c.Mode), s.o.StoreID, c.ID, c.SealedOEK)
		if errors.Is(err, coffercrypto.ErrWrongKey) {
			return nil, objstore.Wrap(objstore.KindWrongKey, "open", "", err)
		}
		if err != nil {
			return nil, s.wrap("open", "", err)
		}
		return extent.One(oek), nil
	}
	dek, err := s.dek(ctx, c.DEK)
	if err != nil {
		return nil, err
	}
	oek, err := coffercrypto.OpenObjectKey(dek, byte(c.Mode), s.o.StoreID, c.ID, c.SealedOEK)
	if err != nil {
		return nil, s.wrap("open", "", err)
	}
	return extent.One(oek), nil
}

// requestOEK opens an object's key for a request, nil when it has none.
func (s *Store) requestOEK(ctx context.Context, op string, req objstore.GetRequest, n *record.Inode) (*extent.Keys, error) {
	customer := req.CustomerKey.CustomerKey
	if customer != nil && n.Content.Mode != objstore.SSEC {
		return nil, objstore.E(objstore.KindInvalidRequest, op, req.Key, notApplicable)
	}
	if n.Content.Mode == objstore.SSENone {
		return nil, nil
	}
	return s.openOEK(ctx, &n.Content, customer)
}

// checkEncryption refuses what the store cannot do yet.
func checkEncryption(op string, e objstore.Encryption) error {
	switch e.Mode {
	case objstore.SSENone, objstore.SSES3:
		return nil
	case objstore.SSEC:
		if e.CustomerKey == nil {
			return objstore.E(objstore.KindInvalidArgument, op, "", "no customer's key")
		}
		return nil
	}
	return objstore.E(objstore.KindNotSupported, op, "", "this encryption mode is not supported yet")
}

// sseInfo is how a content is encrypted, as it is told.
func sseInfo(c *record.Content) objstore.SSEInfo {
	info := objstore.SSEInfo{Mode: c.Mode, KMSKeyID: c.KMSKeyID, BucketKey: c.BucketKey}
	if info.Mode == objstore.SSENone {
		info.Mode = objstore.SSES3 // an empty file that has no key yet
	}
	return info
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

// bucketRecord returns the record of a bucket. KindNoSuchBucket: it was removed.
func (s *Store) bucketRecord(ctx context.Context, root objstore.InodeID) (b record.Bucket, err error) {
	if b, ok := s.cache.bucket(root); ok {
		return b, nil
	}
	err = s.view(ctx, "open bucket", "", func(r reader) error {
		rec, err := r.bucket(root)
		if err != nil {
			if n, ierr := r.inode(root); objstore.IsKind(ierr, objstore.KindStale) || ierr == nil && n.Nlink == 0 {
				return objstore.E(objstore.KindNoSuchBucket, "open bucket", "", "the bucket was removed")
			}
			return err
		}
		b = *rec
		return nil
	})
	return b, err
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
