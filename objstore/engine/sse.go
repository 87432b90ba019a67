package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

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
	ssecBlocked     = "This bucket has blocked upload requests that specify Server Side Encryption with Customer provided keys (SSE-C). Please specify a different server-side encryption type."
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
	p, err := s.parentOf(ctx, bucket, &b, e)
	if err != nil {
		return nil, err
	}
	oek := extent.One(secret.Random())
	if p.outer != nil {
		oek.Outer = secret.Random()
	}
	s.sealOEK(c, p, oek)
	return oek, nil
}

// contentLike makes a content that is encrypted as old is: under the same data
// key, or under the customer's key of e. A file that has no key yet gets one as
// its bucket says.
func (s *Store) contentLike(ctx context.Context, root objstore.InodeID, old *record.Content, e objstore.Encryption) (record.Content, *extent.Keys, error) {
	switch old.Mode {
	case objstore.SSENone:
		return s.newContent(ctx, root, objstore.Encryption{MayUse: e.MayUse})
	case objstore.SSEC:
		// Also where the bucket refuses new objects of the mode: this is none.
		c, oek := record.Content{ID: newContentID(), Gen: 1}, extent.One(secret.Random())
		s.sealOEK(&c, parent{mode: objstore.SSEC, key: e.CustomerKey}, oek)
		return c, oek, nil
	}
	c := record.Content{ID: newContentID(), Gen: 1}
	p := parent{mode: old.Mode, dek: old.DEK, outerDEK: old.OuterDEK, ek: kms.KeyID(old.KMSKeyID), bucketKey: old.BucketKey}
	oek := extent.One(secret.Random())
	var err error
	if p.key, err = s.dek(ctx, p.dek); err == nil && old.Mode == objstore.SSEDSSE {
		oek.Outer = secret.Random()
		p.outer, err = s.dek(ctx, p.outerDEK)
	}
	if err != nil {
		return c, nil, err
	}
	s.sealOEK(&c, p, oek)
	return c, oek, nil
}

// parent is what a content's object key is sealed under, and what the content's
// record says of it.
type parent struct {
	mode      objstore.SSEMode
	key       *secret.Key
	dek       record.DEKID
	outer     *secret.Key // of the second layer; nil: there is none
	outerDEK  record.DEKID
	ek        kms.KeyID
	bucketKey bool
}

// sealOEK seals the object key of a content.
func (s *Store) sealOEK(c *record.Content, p parent, oek *extent.Keys) {
	c.Mode, c.DEK, c.KMSKeyID, c.BucketKey = p.mode, p.dek, string(p.ek), p.bucketKey
	c.SealedOEK = coffercrypto.SealObjectKey(p.key, byte(c.Mode), s.o.StoreID, c.ID, oek.Inner)
	c.OuterDEK, c.SealedOuter = p.outerDEK, nil
	if p.outer != nil {
		c.SealedOuter = coffercrypto.SealObjectKey(p.outer, byte(c.Mode), s.o.StoreID, c.ID, oek.Outer)
	}
}

// parentOf finds or makes what e asks for in a bucket.
func (s *Store) parentOf(ctx context.Context, root objstore.InodeID, b *record.Bucket, e objstore.Encryption) (p parent, err error) {
	d := &b.Encryption
	if e.Mode == objstore.SSENone {
		e.Mode, e.KMSKeyID = d.Mode, d.KMSKeyID
	}
	switch p.mode = e.Mode; p.mode {
	case objstore.SSENone, objstore.SSES3:
		p.mode, p.dek = objstore.SSES3, b.DEK
		p.key, err = s.dek(ctx, p.dek)
		return p, err
	case objstore.SSEC:
		if d.BlockSSEC {
			return p, objstore.E(objstore.KindAccessDenied, "encrypt", "", ssecBlocked)
		}
		p.key = e.CustomerKey
		return p, nil
	}
	info, err := s.resolveKey(ctx, "encrypt", e.KMSKeyID)
	if err != nil {
		return p, err
	}
	p.ek = info.ID
	if p.mode == objstore.SSEKMS { // bucket keys are not for the other one: AWS ignores the wish
		if p.bucketKey = e.BucketKey; !e.BucketKeyGiven {
			p.bucketKey = d.BucketKey
		}
	}
	if e.MayUse != nil {
		use := objstore.SSEInfo{Mode: p.mode, BucketKey: p.bucketKey}
		s.tellKey(&use, info.ID)
		if err := e.MayUse(use); err != nil {
			return p, err
		}
	}
	if p.mode == objstore.SSEDSSE {
		if p.dek, p.key, err = s.kmsDEK(ctx, root, purposeDSSEInner, info, e.Context); err == nil {
			p.outerDEK, p.outer, err = s.kmsDEK(ctx, root, purposeDSSEOuter, info, e.Context)
		}
		return p, err
	}
	p.dek, p.key, err = s.kmsDEK(ctx, root, purposeKMS, info, e.Context)
	return p, err
}

// openOEK opens a content's object key. customer is the key of an SSE-C
// request, or nil. The caller wipes the result. KindKeyRequired, KindWrongKey,
// and the kinds of keyError.
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
	inner, err := s.openUnder(ctx, c, c.DEK, c.SealedOEK)
	if err != nil || c.Mode != objstore.SSEDSSE {
		return extent.One(inner), err
	}
	outer, err := s.openUnder(ctx, c, c.OuterDEK, c.SealedOuter)
	if err != nil {
		inner.Wipe()
		return nil, err
	}
	return &extent.Keys{Inner: inner, Outer: outer}, nil
}

// openUnder opens one layer's object key.
func (s *Store) openUnder(ctx context.Context, c *record.Content, id record.DEKID, sealed []byte) (*secret.Key, error) {
	dek, err := s.dek(ctx, id)
	if err != nil {
		return nil, err
	}
	oek, err := coffercrypto.OpenObjectKey(dek, byte(c.Mode), s.o.StoreID, c.ID, sealed)
	return oek, s.wrap("open", "", err)
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

// checkEncryption refuses what fits no mode.
func checkEncryption(op string, e objstore.Encryption) error {
	bad := func(msg string) error { return objstore.E(objstore.KindInvalidArgument, op, "", msg) }
	switch {
	case e.Mode > objstore.SSEDSSE:
		return bad("unknown encryption mode")
	case (e.Mode == objstore.SSEC) != (e.CustomerKey != nil):
		return bad("a customer's key belongs to SSE-C")
	}
	for k := range e.Context {
		if strings.HasPrefix(k, "coffer:") {
			return bad("the encryption context has a reserved key")
		}
	}
	return nil
}

// sseInfo is how a content is encrypted, as it is told.
func (s *Store) sseInfo(c *record.Content) objstore.SSEInfo {
	info := objstore.SSEInfo{Mode: c.Mode, BucketKey: c.BucketKey}
	if info.Mode == objstore.SSENone {
		info.Mode = objstore.SSES3 // an empty file that has no key yet
	}
	if c.KMSKeyID != "" {
		s.tellKey(&info, kms.KeyID(c.KMSKeyID))
	}
	return info
}

func (s *Store) tellKey(info *objstore.SSEInfo, ek kms.KeyID) {
	info.KMSKeyID, info.ManagedKey = s.keyARN(ek), ek == kms.ManagedS3Key
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

func newDEKID() record.DEKID {
	var b [8]byte
	for {
		rand.Read(b[:])
		if id := record.DEKID(binary.BigEndian.Uint64(b[:])); id != 0 {
			return id
		}
	}
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
	k, era := s.deks.Get(id)
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
	return s.deks.Put(id, kms.KeyID(rec.KeyID), k, era), nil
}
