package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// Restore has S3 serve an archived object until a time, durably. Nothing is moved: it
// is there all the while, for the mount to read. It reports whether the object was
// restored already. KindObjectState: its storage class is no archive.
func (s *Store) Restore(ctx context.Context, c objstore.Caller, req objstore.RestoreRequest) (again bool, err error) {
	const op = "restore"
	err = s.update(ctx, c, op, req.Key, func(x *tx) error {
		root, err := x.bucketRoot(req.Bucket)
		if err != nil {
			return err
		}
		ino, n, _, err := x.findObject(s, op, root, req.Key, req.Version)
		if err != nil {
			return err
		}
		if err := x.checked(s, ino, n, req.Check); err != nil {
			return err
		}
		if n.Meta == nil || !n.Meta.Archive() {
			return objstore.E(objstore.KindObjectState, op, req.Key, "Restore is not allowed for the object's current storage class")
		}
		again = s.restored(n) != 0
		n.Restored, n.Ctime = req.Until, x.now
		x.setInode(ino, n)
		x.change(objstore.Change{Inode: ino})
		return nil
	})
	if err != nil {
		return false, err
	}
	return again, s.durable(context.WithoutCancel(ctx))
}

// restored is until when an archived object is served; 0 when that is over.
func (s *Store) restored(n *record.Inode) objstore.Time {
	if n.Restored == 0 || n.Meta == nil || !n.Meta.Archive() || n.Restored <= s.now() {
		return 0
	}
	return n.Restored
}

// checkArchived refuses to copy from what has to be restored first.
func (s *Store) checkArchived(key string, n *record.Inode) error {
	if n.Meta != nil && n.Meta.Archive() && s.restored(n) == 0 {
		return objstore.E(objstore.KindObjectState, "copy", key, "Operation is not valid for the source object's storage class")
	}
	return nil
}
