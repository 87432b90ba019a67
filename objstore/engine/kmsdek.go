package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine/keyring"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// What data keys of a bucket are for. They are in the keys' contexts, on disk.
const (
	purposeKMS       = "sse-kms"
	purposeDSSEInner = "dsse-kms inner"
	purposeDSSEOuter = "dsse-kms outer"
)

// contextARN is the pair that S3 adds to an encryption context: the ARN of the
// bucket. A client's own is replaced by it.
const contextARN = "aws:s3:arn"

// kmsDEK returns the data key of a bucket for an external key, a purpose and a
// client's context, lent by the cache. There is one for each of these; it is made
// when it is first asked for. Errors: the kinds of keyError.
func (s *Store) kmsDEK(ctx context.Context, root objstore.InodeID, purpose string, ek kms.KeyInfo, client map[string]string) (record.DEKID, *secret.Key, error) {
	const op = "open data key"
	if ek.State == kms.StateDisabled || ek.State == kms.StatePendingDeletion {
		// Data keys that are cached do not tell.
		return 0, nil, s.keyError(op, ek.ID, stateError(ek.State))
	}
	hash := dekHash(ek.ID, purpose, client)
	id, err := s.bucketDEKOf(ctx, root, hash)
	if err != nil {
		return 0, nil, err
	}
	if id != 0 {
		k, err := s.dek(ctx, id)
		if !objstore.IsKind(err, objstore.KindNoSuchKey) {
			return id, k, err
		}
		// The external key was deleted, and has been made anew under the same name.
	}
	if id, err = s.makeDEKOf(ctx, root, purpose, ek.ID, client, hash, id); err != nil {
		return 0, nil, err
	}
	k, err := s.dek(ctx, id)
	return id, k, err
}

func stateError(st kms.State) error {
	if st == kms.StateDisabled {
		return kms.ErrDisabled
	}
	return kms.ErrPendingDeletion
}

// dekHash names a data key of a bucket.
func dekHash(ek kms.KeyID, purpose string, client map[string]string) [32]byte {
	named := maps.Clone(client)
	delete(named, contextARN)
	if named == nil {
		named = make(map[string]string, 1)
	}
	named["coffer:purpose"] = purpose
	return sha256.Sum256((&record.DEK{KeyID: string(ek), Context: named}).Append(nil))
}

// bucketDEKOf finds a data key of a bucket, 0 when it was never made.
func (s *Store) bucketDEKOf(ctx context.Context, root objstore.InodeID, hash [32]byte) (record.DEKID, error) {
	use := keyring.Use{Bucket: root, Hash: hash}
	if id, ok := s.deks.Find(use); ok {
		return id, nil
	}
	var id record.DEKID
	err := s.view(ctx, "open data key", "", func(r reader) (err error) {
		id, err = r.dekOf(root, hash)
		return err
	})
	if err == nil && id != 0 {
		s.deks.Note(use, id)
	}
	return id, err
}

func (r reader) dekOf(root objstore.InodeID, hash [32]byte) (record.DEKID, error) {
	v, err := r.Get(record.DEKOfKey(root, hash))
	if errors.Is(err, meta.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	rec, err := record.ParseDEKOf(v)
	if err != nil {
		return 0, err
	}
	return rec.ID, nil
}

// makeDEKOf makes a data key of a bucket in the place of old, 0 or one that can
// never be opened again, unless somebody else came first. Old's record stays:
// it says which key is lost.
func (s *Store) makeDEKOf(ctx context.Context, root objstore.InodeID, purpose string, ek kms.KeyID, client map[string]string, hash [32]byte, old record.DEKID) (record.DEKID, error) {
	const op = "make a data key"
	name, err := s.bucketName(ctx, root)
	if err != nil {
		return 0, err
	}
	kc := s.storeContext(purpose)
	maps.Copy(kc, client)
	kc["coffer:purpose"] = purpose
	kc["coffer:bucket"] = fmt.Sprint(root)
	kc[contextARN] = "arn:aws:s3:::" + name
	id, rec, err := s.newDEK(ctx, ek, kc)
	if err != nil {
		return 0, err
	}
	won := id
	err = s.update(ctx, objstore.Caller{}, op, name, func(x *tx) error {
		won = id
		have, err := x.dekOf(root, hash)
		if err != nil {
			return err
		}
		if have != old {
			won = have
			return nil
		}
		x.txn.Set(record.DEKKey(id), rec.Append(nil))
		x.txn.Set(record.DEKOfKey(root, hash), (&record.DEKOf{ID: id}).Append(nil))
		return nil
	})
	if err != nil {
		return 0, err
	}
	s.deks.Note(keyring.Use{Bucket: root, Hash: hash}, won)
	return won, nil
}

// bucketName finds the name of a bucket by its root directory. It reads the names
// of all buckets until then.
func (s *Store) bucketName(ctx context.Context, root objstore.InodeID) (name string, err error) {
	err = s.view(ctx, "open bucket", "", func(r reader) error {
		for p, err := range r.Scan(meta.Prefix(record.DirentPrefix(objstore.RootInode))) {
			if err != nil {
				return err
			}
			d, err := record.ParseDirent(p.Value)
			if err != nil {
				return err
			}
			if d.Inode != root {
				continue
			}
			stored, err := record.DirentName(p.Key)
			name, _ = record.SplitStored(stored)
			return err
		}
		return objstore.E(objstore.KindNoSuchBucket, "open bucket", "", "the bucket was removed")
	})
	return name, err
}
