package engine

import (
	"bytes"
	"context"
	"iter"
	"sort"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// CreateBucket makes a bucket durably. KindBucketExists, KindInvalidBucketName.
func (s *Store) CreateBucket(ctx context.Context, c objstore.Caller, req objstore.CreateBucketRequest) (objstore.BucketInfo, error) {
	if req.Mode == 0 {
		req.Mode = defaultDirMode
	}
	info, _, _, err := s.createBucket(ctx, c, "create bucket", req)
	if err != nil && !objstore.IsKind(err, objstore.KindBucketExists) {
		return info, err
	}
	// Somebody else may have made it a moment ago, and S3 may take it for made.
	if derr := s.durable(context.WithoutCancel(ctx)); derr != nil {
		return info, derr
	}
	return info, err
}

// createBucket makes a bucket, visible but not yet durable.
func (s *Store) createBucket(ctx context.Context, c objstore.Caller, op string, req objstore.CreateBucketRequest) (info objstore.BucketInfo, root objstore.InodeID, n *record.Inode, err error) {
	name := req.Name
	if !objstore.ValidBucketName(name) {
		return info, 0, nil, objstore.E(objstore.KindInvalidBucketName, op, name, "a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens")
	}
	for _, doc := range req.Configs {
		if err := checkConfig(op, name, doc.Name, doc.Document); err != nil {
			return info, 0, nil, err
		}
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
		x.madeDirectory(root)
		n = &record.Inode{Type: objstore.TypeDirectory, Mode: req.Mode & 07777, Explicit: true}
		x.adopt(top, objstore.RootInode, n)
		n.Bucket = root
		n.Atime, n.Mtime, n.Ctime, n.Btime = x.now, x.now, x.now, x.now
		if err := x.addEntry(objstore.RootInode, top, name, record.Dirent{Type: objstore.TypeDirectory, Inode: root}); err != nil {
			return err
		}
		x.touch(objstore.RootInode, top)
		x.setInode(root, n)
		b := &record.Bucket{Created: x.now, DEK: dek, Ownership: req.Ownership}
		if req.ObjectLock {
			b.Versioning, b.Lock.Enabled = objstore.VersioningEnabled, true
		}
		for _, doc := range req.Configs {
			if err := x.setConfig(root, b, doc.Name, doc.Document); err != nil {
				return err
			}
		}
		x.setBucket(root, b)
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
	b, err := record.ParseBucket(v)
	if err == nil && r.cache != nil {
		r.cache.putBucket(r.token, root, *b)
	}
	return b, err
}

// openBucket finds a bucket by its name, without looking into the metadata store
// as a rule. What is done with its root has to mind that it may be gone by then.
func (s *Store) openBucket(ctx context.Context, op, name string) (root objstore.InodeID, err error) {
	if e, known := s.cache.entry(entryKey{objstore.RootInode, name + "/"}); known && e.ok {
		return e.d.Inode, nil
	}
	err = s.view(ctx, op, name, func(r reader) error {
		root, err = r.bucketRoot(name)
		return err
	})
	return root, err
}

// openRecord is openBucket with the bucket's record.
func (s *Store) openRecord(ctx context.Context, op, name string) (root objstore.InodeID, b record.Bucket, err error) {
	if e, known := s.cache.entry(entryKey{objstore.RootInode, name + "/"}); known && e.ok {
		if b, known := s.cache.bucket(e.d.Inode); known {
			return e.d.Inode, b, nil
		}
	}
	return s.readRecord(ctx, op, name)
}

// readRecord is openRecord of a bucket that is not at hand: apart, since its results
// are variables of a closure, for which each call allocates.
func (s *Store) readRecord(ctx context.Context, op, name string) (root objstore.InodeID, b record.Bucket, err error) {
	err = s.view(ctx, op, name, func(r reader) error {
		if root, err = r.bucketRoot(name); err != nil {
			return err
		}
		rec, err := r.bucket(root)
		if err == nil {
			b = *rec
		}
		return err
	})
	return root, b, err
}

// HeadBucket describes a bucket or says KindNoSuchBucket.
func (s *Store) HeadBucket(ctx context.Context, c objstore.Caller, name string) (objstore.BucketInfo, error) {
	root, b, err := s.openRecord(ctx, "head bucket", name)
	if err != nil {
		return objstore.BucketInfo{}, err
	}
	return objstore.BucketInfo{Name: name, Root: root, Created: b.Created, ETags: b.ETags}, nil
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
		x.setBucket(root, b)
		return nil
	})
	if err != nil {
		return err
	}
	return s.durable(context.WithoutCancel(ctx))
}

// DeleteBucket removes an empty bucket, durably, and ends the uploads under way in it.
// KindBucketNotEmpty: it has objects, directories, or files that only the mount shows.
func (s *Store) DeleteBucket(ctx context.Context, c objstore.Caller, name string) error {
	const op = "delete bucket"
	err := s.deleteBucket(ctx, c, op, name)
	switch {
	case objstore.IsKind(err, objstore.KindNotFound):
		return objstore.E(objstore.KindNoSuchBucket, op, name, "")
	case objstore.IsKind(err, objstore.KindNotEmpty):
		return objstore.Wrap(objstore.KindBucketNotEmpty, op, name, err)
	case err != nil:
		return err
	}
	return s.durable(ctx)
}

// uploadsAtOnce bounds how many uploads one transaction ends with their bucket.
const uploadsAtOnce = 16

// deleteBucket removes an empty bucket, in the words of rmdir: KindNotFound,
// KindNotEmpty; KindBucketNotEmpty of a bucket with versioning. Its data key's
// record stays, for files that were removed and are still open.
//
// Uploads under way do not keep a bucket: nothing shows them but
// ListMultipartUploads, and DeleteBucket in the Amazon S3 API reference asks for
// objects, versions and delete markers to be gone, and for uploads only in a
// directory bucket. They end some at a time; where something comes into the bucket in
// the meantime it stays, without them.
func (s *Store) deleteBucket(ctx context.Context, c objstore.Caller, op, name string) error {
	for gone := false; !gone; {
		err := s.update(ctx, c, op, name, func(x *tx) (err error) {
			gone, err = x.deleteBucket(op, name)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteBucket removes a bucket, or some of the uploads in one that is empty otherwise.
func (x *tx) deleteBucket(op, name string) (gone bool, err error) {
	top, err := x.directory(op, objstore.RootInode)
	if err != nil {
		return false, err
	}
	d, ok, err := x.dirent(objstore.RootInode, name+"/")
	if err != nil {
		return false, err
	}
	if !ok {
		return false, objstore.E(objstore.KindNotFound, op, name, "")
	}
	root := d.Inode
	n, err := x.named(op, name, root)
	if err != nil {
		return false, err
	}
	if err := x.checkEmpty(op, name, root); err != nil {
		return false, err
	}
	if more, err := x.abortUploads(root, uploadsAtOnce); err != nil || more {
		return false, err
	}
	x.dropLink(root, n)
	if err := x.removeEntry(objstore.RootInode, top, name, d.Type); err != nil {
		return false, err
	}
	x.touch(objstore.RootInode, top)
	x.setBucket(root, nil)
	for p, err := range x.Scan(meta.Prefix(record.ConfigPrefix(root, ""))) {
		if err != nil {
			return false, err
		}
		x.txn.Delete(bytes.Clone(p.Key))
	}
	x.entryChanged(objstore.RootInode, name, root, true)
	return true, nil
}

// versionsLeft is what S3 says of a bucket that has versions.
const versionsLeft = "The bucket you tried to delete is not empty. You must delete all versions in the bucket."

// checkEmpty returns what keeps a bucket: names, or versions that are left of them. S3
// says the same of both in a bucket with versioning.
func (x *tx) checkEmpty(op, name string, root objstore.InodeID) error {
	vacant, err := x.vacant(root)
	if err != nil {
		return err
	}
	b, err := x.settings(root)
	if err != nil {
		return err
	}
	if !vacant && b.Versioning == objstore.VersioningOff {
		return objstore.E(objstore.KindNotEmpty, op, name, "")
	}
	has, err := x.hasHistory(root)
	if err != nil {
		return err
	}
	if !vacant || has {
		return objstore.E(objstore.KindBucketNotEmpty, op, name, versionsLeft)
	}
	return nil
}

// abortUploads ends up to max uploads of a bucket. more: others are left.
func (x *tx) abortUploads(root objstore.InodeID, max int) (more bool, err error) {
	var keys [][]byte
	for p, err := range x.Scan(meta.Prefix(record.UploadPrefix(root, ""))) {
		if err != nil {
			return false, err
		}
		if more = len(keys) == max; more {
			break
		}
		keys = append(keys, bytes.Clone(p.Key))
	}
	for _, k := range keys {
		_, id, err := record.ParseUploadKey(k)
		if err != nil {
			return false, err
		}
		x.txn.Delete(k)
		if err := x.dropParts(id, nil); err != nil {
			return false, err
		}
	}
	return more, nil
}

// ListBuckets returns up to max buckets that start with prefix, by name, behind
// after. It reads the names of all buckets that start so: stored, they have
// slashes behind them and stand in another order ("a-b/" before "a/").
func (s *Store) ListBuckets(ctx context.Context, c objstore.Caller, prefix, after string, max int) (list []objstore.BucketInfo, truncated bool, err error) {
	const op = "list buckets"
	err = s.view(ctx, op, "", func(r reader) error {
		for d, err := range r.buckets(prefix) {
			if err != nil {
				return err
			}
			if d.name > after {
				list = append(list, objstore.BucketInfo{Name: d.name, Root: d.root})
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

// bucketEntry is a bucket's name and its root directory.
type bucketEntry struct {
	name string
	root objstore.InodeID
}

// buckets iterates over the buckets whose names begin with prefix, in the order in
// which they are stored. A failure ends it with one last step whose error is not nil.
func (r reader) buckets(prefix string) iter.Seq2[bucketEntry, error] {
	return func(yield func(bucketEntry, error) bool) {
		for p, err := range r.Scan(meta.Prefix(record.DirentKey(objstore.RootInode, prefix))) {
			var stored string
			var d record.Dirent
			if err == nil {
				stored, err = record.DirentName(p.Key)
			}
			if err == nil {
				d, err = record.ParseDirent(p.Value)
			}
			if err != nil {
				yield(bucketEntry{}, err)
				return
			}
			if name, dir := record.SplitStored(stored); dir && !yield(bucketEntry{name, d.Inode}, nil) {
				return
			}
		}
	}
}
