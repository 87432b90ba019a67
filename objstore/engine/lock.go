package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// Object Lock. What protects a version is in its inode. Deleting a version for good
// asks for it (drop, deleteCurrent); overwriting one, or deleting its name, does
// not, since that leaves the version. A bucket's versioning cannot be suspended
// while it has Object Lock, so nothing takes the place of a null version there.
// What would take a version from its key is refused: renames (rename.go), and
// further names for a file (link.go).

// BucketVersioning returns a bucket's state. KindNoSuchBucket.
func (s *Store) BucketVersioning(ctx context.Context, c objstore.Caller, bucket string) (objstore.Versioning, error) {
	_, b, err := s.openRecord(ctx, "get versioning", bucket)
	return b.Versioning, err
}

// SetBucketVersioning enables or suspends versioning, durably. KindBucketState: the
// bucket has Object Lock, and versioning would be suspended.
func (s *Store) SetBucketVersioning(ctx context.Context, c objstore.Caller, bucket string, v objstore.Versioning) error {
	const op = "set versioning"
	if v != objstore.VersioningEnabled && v != objstore.VersioningSuspended {
		return objstore.E(objstore.KindInvalidArgument, op, bucket, v.String())
	}
	return s.changeBucket(ctx, c, op, bucket, func(b *record.Bucket) error {
		if b.Lock.Enabled && v != objstore.VersioningEnabled {
			return objstore.E(objstore.KindBucketState, op, bucket, "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
		}
		b.Versioning = v
		return nil
	})
}

// LockConfig returns a bucket's Object Lock configuration. KindNoSuchBucket.
func (s *Store) LockConfig(ctx context.Context, c objstore.Caller, bucket string) (objstore.LockConfig, error) {
	_, b, err := s.openRecord(ctx, "get object lock", bucket)
	return b.Lock, err
}

// SetLockDefault gives a bucket Object Lock, which nothing takes away again, and a
// default retention, durably; objects that are there keep what they have.
// KindBucketState: versioning is not enabled.
func (s *Store) SetLockDefault(ctx context.Context, c objstore.Caller, bucket string, d objstore.DefaultRetention) error {
	const op = "set object lock"
	if !validDefault(d) {
		return objstore.E(objstore.KindInvalidArgument, op, bucket, "the default retention is for a number of days or of years")
	}
	return s.changeBucket(ctx, c, op, bucket, func(b *record.Bucket) error {
		if b.Versioning != objstore.VersioningEnabled {
			return objstore.E(objstore.KindBucketState, op, bucket, "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
		}
		b.Lock = objstore.LockConfig{Enabled: true, Default: d}
		return nil
	})
}

func validDefault(d objstore.DefaultRetention) bool {
	if d.Mode == objstore.LockNone {
		return d == objstore.DefaultRetention{}
	}
	return d.Mode.Known() && (d.Days == 0) != (d.Years == 0) &&
		d.Days >= 0 && d.Days <= objstore.MaxRetentionDays && d.Years >= 0 && d.Years <= objstore.MaxRetentionYears
}

// ObjectLock returns what protects a version of an object. KindNoObjectLock: the
// bucket has no Object Lock; KindNotFound, KindNoSuchVersion, KindDeleteMarker.
func (s *Store) ObjectLock(ctx context.Context, c objstore.Caller, req objstore.LockRequest) (l objstore.Lock, id objstore.VersionID, err error) {
	const op = "get object lock"
	err = s.view(ctx, op, req.Key, func(r reader) error {
		_, n, b, err := r.lockable(s, op, req)
		if err == nil {
			l, id = n.Lock, s.versionOf(b, n)
		}
		return err
	})
	return l, id, err
}

// lockable finds an object for which a lock can be asked or set.
func (r reader) lockable(s *Store, op string, req objstore.LockRequest) (objstore.InodeID, *record.Inode, *record.Bucket, error) {
	root, err := r.bucketRoot(req.Bucket)
	if err != nil {
		return 0, nil, nil, err
	}
	b, err := r.settings(root)
	if err != nil {
		return 0, nil, nil, err
	}
	if !b.Lock.Enabled {
		return 0, nil, nil, objstore.E(objstore.KindNoObjectLock, op, req.Bucket, "")
	}
	ino, n, b, err := r.findObject(s, op, root, req.Key, req.Version)
	if err == nil {
		err = r.checked(s, ino, n, req.Check)
	}
	return ino, n, b, err
}

// SetRetention sets, or with a zero Retention takes away, how long a version is
// protected, durably. KindLocked: the retention that it has forbids it; bypass
// overrides one in governance mode, and whether the caller may is for the door to
// ask. KindInvalidArgument: it would be over already.
func (s *Store) SetRetention(ctx context.Context, c objstore.Caller, req objstore.LockRequest, to objstore.Retention, bypass bool) (objstore.VersionID, error) {
	return s.setLock(ctx, c, "set retention", req, func(now objstore.Time, l *objstore.Lock) error {
		switch {
		case to.Mode == objstore.LockNone && to.Until != 0, !to.Mode.Known(), to.Mode != objstore.LockNone && to.Until <= now:
			return objstore.E(objstore.KindInvalidArgument, "set retention", req.Key, "The retain until date must be in the future!")
		case !l.Admits(to, now, bypass):
			return objstore.E(objstore.KindLocked, "set retention", req.Key, "")
		}
		l.Retention = to
		return nil
	})
}

// SetLegalHold sets a legal hold or takes it back, durably.
func (s *Store) SetLegalHold(ctx context.Context, c objstore.Caller, req objstore.LockRequest, to objstore.LegalHold) (objstore.VersionID, error) {
	return s.setLock(ctx, c, "set legal hold", req, func(_ objstore.Time, l *objstore.Lock) error {
		if to != objstore.HoldOn && to != objstore.HoldOff {
			return objstore.E(objstore.KindInvalidArgument, "set legal hold", req.Key, "a legal hold is on or off")
		}
		l.Hold = to
		return nil
	})
}

// setLock changes what protects a version.
func (s *Store) setLock(ctx context.Context, c objstore.Caller, op string, req objstore.LockRequest, fn func(now objstore.Time, l *objstore.Lock) error) (id objstore.VersionID, err error) {
	err = s.update(ctx, c, op, req.Key, func(x *tx) error {
		ino, n, b, err := x.lockable(s, op, req)
		if err != nil {
			return err
		}
		id = s.versionOf(b, n)
		if err := fn(x.now, &n.Lock); err != nil {
			return err
		}
		made, err := x.named(op, req.Key, ino)
		if err != nil {
			return err
		}
		if made.Type == objstore.TypeDirectory {
			// The object was made up (see findKey). It becomes one, that can be locked.
			root, err := x.bucketRoot(req.Bucket)
			if err != nil {
				return err
			}
			if err := x.putKey(root, req.Key, x.nextInode(), n); err != nil {
				return err
			}
			id = s.versionOf(b, n)
			return nil
		}
		if !n.Held {
			if err := x.nameKept(req.Bucket, req.Key, n); err != nil {
				return err
			}
			// What a session of the mount writes from now on must not change it.
			s.cutSession(ino)
		}
		n.Ctime = x.now
		x.setInode(ino, n)
		x.change(objstore.Change{Inode: ino})
		return nil
	})
	if err != nil {
		return "", err
	}
	return id, s.durable(context.WithoutCancel(ctx))
}

// nameKept keeps the name of a current version with it, if that is from before
// there were versions: a locked one must be found when the mount writes to it.
func (x *tx) nameKept(bucket, key string, n *record.Inode) error {
	if n.Name != "" {
		return nil
	}
	root, err := x.bucketRoot(bucket)
	if err != nil {
		return err
	}
	w, err := x.way(root, key)
	if err == nil && w.dir() != 0 {
		n.Parent, n.Name = w.dir(), w.name
	}
	return err
}
