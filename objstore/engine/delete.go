package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// DeleteObject removes an object, durably: in a bucket with versioning it gets a
// delete marker. An absent key is no error. With a version it removes that one for
// good, and the one before it becomes current if it was; a version that is absent
// is no error either. KindLocked: Object Lock protects the version.
func (s *Store) DeleteObject(ctx context.Context, c objstore.Caller, req objstore.DeleteRequest) (objstore.DeleteResult, error) {
	res, err := s.deleteOne(ctx, c, req)
	if err != nil {
		return res, err
	}
	return res, s.durable(context.WithoutCancel(ctx))
}

// DeleteObjects is DeleteObject for up to 1,000 requests, all of the bucket, with
// one barrier: index by index.
func (s *Store) DeleteObjects(ctx context.Context, c objstore.Caller, bucket string, reqs []objstore.DeleteRequest) ([]objstore.DeleteOutcome, error) {
	if _, err := s.openBucket(ctx, "delete", bucket); err != nil {
		return nil, err
	}
	out := make([]objstore.DeleteOutcome, len(reqs))
	for i, req := range reqs {
		req.Bucket = bucket
		out[i].DeleteResult, out[i].Err = s.deleteOne(ctx, c, req)
	}
	return out, s.durable(context.WithoutCancel(ctx))
}

// deleteOne is DeleteObject without the barrier.
func (s *Store) deleteOne(ctx context.Context, c objstore.Caller, req objstore.DeleteRequest) (res objstore.DeleteResult, err error) {
	const op = "delete"
	if err := objstore.CheckKey(op, req.Key); err != nil {
		return res, err
	}
	ref, err := s.parseVersion(op, req.Version)
	if err != nil {
		return res, err
	}
	err = s.update(ctx, c, op, req.Key, func(x *tx) error {
		root, err := x.bucketRoot(req.Bucket)
		if err != nil {
			return err
		}
		if err := x.checkedIfThere(op, root, req.Key, req.Version, req.Check); err != nil {
			return err
		}
		if err := x.checkWrite(root, req.Key, req.Precondition); err != nil {
			return err
		}
		if ref.current {
			res, err = x.deleteKey(root, req.Key)
		} else {
			res, err = x.deleteVersion(root, req.Key, ref, req.Bypass)
		}
		return err
	})
	switch {
	case objstore.IsKind(err, objstore.KindNoSuchVersion): // somebody was faster
		return objstore.DeleteResult{Version: req.Version}, nil
	case err != nil:
		return objstore.DeleteResult{}, err
	}
	return res, nil
}

// deleteVersion removes a version for good, and makes the newest of those that are
// left current where that was the one. KindNoSuchVersion, KindLocked.
func (x *tx) deleteVersion(root objstore.InodeID, key string, ref versionRef, bypass bool) (res objstore.DeleteResult, err error) {
	const op = "delete"
	none := objstore.E(objstore.KindNoSuchVersion, op, key, "")
	b, err := x.settings(root)
	if err != nil {
		return res, x.removedBucket(op, root, err)
	}
	if b.Versioning == objstore.VersioningOff {
		if !ref.null {
			return res, none
		}
		res.Existed, err = x.deleteLive(root, key) // the only version that there is
		return res, err
	}
	res.Existed, res.Version = true, objstore.NullVersion
	if !ref.null {
		res.Version = x.s.versionID(ref.number)
	}
	_, n, err := x.findKey(root, key)
	switch {
	case objstore.IsKind(err, objstore.KindNotFound):
	case err != nil:
		return res, err
	case isVersion(n, ref):
		return res, x.deleteCurrent(root, key, n, bypass)
	}
	w, err := x.way(root, key)
	if err != nil {
		return res, err
	}
	if err := x.tellNullsApart(w.last(), w.name, n); err != nil {
		return res, err
	}
	k, err := x.version(w.last(), w.name, n, ref)
	if err != nil {
		return res, err
	}
	if k == nil {
		return objstore.DeleteResult{}, none
	}
	res.Marker = k.isMarker()
	if err := x.drop(k, bypass); err != nil {
		return res, err
	}
	if err := x.promote(root, key); err != nil {
		return res, err
	}
	return res, x.tidyAfter(root, key, k.in)
}

// deleteCurrent removes the current version of a key, whose inode is n, for good.
func (x *tx) deleteCurrent(root objstore.InodeID, key string, n *record.Inode, bypass bool) error {
	if n.Lock.Holds(x.now, bypass) {
		return objstore.E(objstore.KindLocked, "delete", key, "")
	}
	w, err := x.way(root, key)
	if err != nil {
		return err
	}
	if err := x.tellNullsApart(w.last(), w.name, n); err != nil {
		return err
	}
	if _, err := x.deleteLive(root, key); err != nil {
		return err
	}
	return x.promote(root, key)
}
