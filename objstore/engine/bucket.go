package engine

import (
	"context"
	"sort"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// CreateBucket makes a bucket durably. KindBucketExists, KindInvalidBucketName.
func (s *Store) CreateBucket(ctx context.Context, c objstore.Caller, req objstore.CreateBucketRequest) (objstore.BucketInfo, error) {
	mode := req.Mode
	if mode == 0 {
		mode = defaultDirMode
	}
	info, _, _, err := s.createBucket(ctx, c, "create bucket", req.Name, mode)
	if err == nil {
		err = s.durable(ctx)
	}
	return info, err
}

// createBucket makes a bucket, visible but not yet durable.
func (s *Store) createBucket(ctx context.Context, c objstore.Caller, op, name string, mode uint32) (info objstore.BucketInfo, root objstore.InodeID, n *record.Inode, err error) {
	if !objstore.ValidBucketName(name) {
		return info, 0, nil, objstore.E(objstore.KindInvalidBucketName, op, name, "a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens")
	}
	if err := s.writable(op, name); err != nil {
		return info, 0, nil, err
	}
	// Most often a bucket that exists is found here, before a data key is made for nothing.
	free := func(r reader) error {
		_, taken, err := r.dirent(objstore.RootInode, name+"/")
		if err == nil && taken {
			err = objstore.E(objstore.KindBucketExists, op, name, "")
		}
		return err
	}
	if err := s.view(ctx, op, name, free); err != nil {
		return info, 0, nil, err
	}
	if root, err = s.newInode(ctx); err != nil {
		return info, 0, nil, err
	}
	dek, err := s.newBucketDEK(ctx, root)
	if err != nil {
		return info, 0, nil, err
	}
	err = s.update(ctx, c, op, name, func(x *tx) error {
		if err := free(x.reader); err != nil {
			return err
		}
		top, err := x.directory(op, objstore.RootInode)
		if err != nil {
			return err
		}
		x.s.fresh.add(root)
		n = &record.Inode{Type: objstore.TypeDirectory, Mode: mode & 07777, Explicit: true}
		x.adopt(top, objstore.RootInode, n)
		n.Bucket = root
		n.Atime, n.Mtime, n.Ctime, n.Btime = x.now, x.now, x.now, x.now
		if err := x.addEntry(objstore.RootInode, top, name, record.Dirent{Type: objstore.TypeDirectory, Inode: root}); err != nil {
			return err
		}
		x.touch(objstore.RootInode, top)
		x.setInode(root, n)
		x.txn.Set(record.BucketKey(root), (&record.Bucket{Created: x.now, DEK: dek}).Append(nil))
		x.entryChanged(objstore.RootInode, name, root, false)
		info = objstore.BucketInfo{Name: name, Root: root, Created: x.now}
		return nil
	})
	return info, root, n, err
}

// bucket returns a bucket's record.
func (r reader) bucket(root objstore.InodeID) (*record.Bucket, error) {
	v, err := r.Get(record.BucketKey(root))
	if err != nil {
		return nil, absent(err, "bucket record")
	}
	return record.ParseBucket(v)
}

// HeadBucket describes a bucket or says KindNoSuchBucket.
func (s *Store) HeadBucket(ctx context.Context, c objstore.Caller, name string) (objstore.BucketInfo, error) {
	var info objstore.BucketInfo
	err := s.view(ctx, "head bucket", name, func(r reader) error {
		root, err := r.bucketRoot(name)
		if err != nil {
			return err
		}
		b, err := r.bucket(root)
		if err == nil {
			info = objstore.BucketInfo{Name: name, Root: root, Created: b.Created, ETags: b.ETags}
		}
		return err
	})
	return info, err
}

// SetBucketETags chooses the form of the ETags of what is made in a bucket from
// now on, durably. Objects that are there and uploads under way keep theirs.
// KindNoSuchBucket.
func (s *Store) SetBucketETags(ctx context.Context, c objstore.Caller, name string, form objstore.ETagForm) error {
	const op = "choose ETags"
	if !form.Known() {
		return objstore.E(objstore.KindInvalidArgument, op, name, form.String())
	}
	err := s.update(ctx, c, op, name, func(x *tx) error {
		root, err := x.bucketRoot(name)
		if err != nil {
			return err
		}
		b, err := x.bucket(root)
		if err != nil {
			return err
		}
		b.ETags = form
		x.txn.Set(record.BucketKey(root), b.Append(nil))
		return nil
	})
	if err != nil {
		return err
	}
	return s.durable(context.WithoutCancel(ctx))
}

// DeleteBucket removes an empty bucket, durably. KindBucketNotEmpty: it has
// objects, directories, files that only the mount shows, or uploads under way.
func (s *Store) DeleteBucket(ctx context.Context, c objstore.Caller, name string) error {
	const op = "delete bucket"
	err := s.deleteBucket(ctx, c, op, name)
	switch {
	case objstore.IsKind(err, objstore.KindNotFound):
		return objstore.E(objstore.KindNoSuchBucket, op, name, "")
	case objstore.IsKind(err, objstore.KindNotEmpty):
		return objstore.E(objstore.KindBucketNotEmpty, op, name, "")
	case err != nil:
		return err
	}
	return s.durable(ctx)
}

// deleteBucket removes an empty bucket, in the words of rmdir: KindNotFound,
// KindNotEmpty; KindBucketNotEmpty when only uploads keep it. Its data key's
// record stays, for files that were removed and are still open.
func (s *Store) deleteBucket(ctx context.Context, c objstore.Caller, op, name string) error {
	return s.update(ctx, c, op, name, func(x *tx) error {
		top, err := x.directory(op, objstore.RootInode)
		if err != nil {
			return err
		}
		d, ok, err := x.dirent(objstore.RootInode, name+"/")
		if err != nil {
			return err
		}
		if !ok {
			return objstore.E(objstore.KindNotFound, op, name, "")
		}
		root := d.Inode
		if err := x.removeDirectory(op, name, root); err != nil {
			return err
		}
		for _, err := range x.Scan(meta.Prefix(record.UploadPrefix(root, ""))) {
			if err != nil {
				return err
			}
			return objstore.E(objstore.KindBucketNotEmpty, op, name, "multipart uploads are under way")
		}
		if err := x.removeEntry(objstore.RootInode, top, name, d.Type); err != nil {
			return err
		}
		x.touch(objstore.RootInode, top)
		x.txn.Delete(record.BucketKey(root))
		x.entryChanged(objstore.RootInode, name, root, true)
		return nil
	})
}

// ListBuckets returns up to max buckets that start with prefix, by name, behind
// after. It reads the names of all buckets that start so: stored, they have
// slashes behind them and stand in another order ("a-b/" before "a/").
func (s *Store) ListBuckets(ctx context.Context, c objstore.Caller, prefix, after string, max int) (list []objstore.BucketInfo, truncated bool, err error) {
	const op = "list buckets"
	err = s.view(ctx, op, "", func(r reader) error {
		for p, err := range r.Scan(meta.Prefix(record.DirentKey(objstore.RootInode, prefix))) {
			if err != nil {
				return err
			}
			stored, err := record.DirentName(p.Key)
			if err != nil {
				return err
			}
			d, err := record.ParseDirent(p.Value)
			if err != nil {
				return err
			}
			if name, dir := record.SplitStored(stored); dir && name > after {
				list = append(list, objstore.BucketInfo{Name: name, Root: d.Inode})
			}
		}
		sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
		if truncated = len(list) > max; truncated {
			list = list[:max]
		}
		for i := range list {
			b, err := r.bucket(list[i].Root)
			if err != nil {
				return err
			}
			list[i].Created, list[i].ETags = b.Created, b.ETags
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return list, truncated, nil
}
