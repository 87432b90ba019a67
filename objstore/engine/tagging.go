package engine

import (
	"context"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// xattrTag begins the names of the extended attributes that are an object's tags.
// They are in the record of the plain attributes, so that whoever lists or stats
// an object does not read them; the inode has their number.
const xattrTag = "user.s3.tag."

// ObjectTags returns an object's tags by key, and the object.
func (s *Store) ObjectTags(ctx context.Context, c objstore.Caller, req objstore.TagsRequest) (tags []objstore.Tag, info objstore.ObjectInfo, err error) {
	const op = "get tags"
	err = s.view(ctx, op, req.Key, func(r reader) error {
		root, err := r.bucketRoot(req.Bucket)
		if err != nil {
			return err
		}
		ino, n, b, err := r.findObject(s, op, root, req.Key, req.Version)
		if err != nil {
			return err
		}
		if err := r.checked(s, ino, n, req.Check); err != nil {
			return err
		}
		if tags, err = r.tags(ino, n); err != nil {
			return err
		}
		info = s.describe(req.Bucket, req.Key, ino, n, nil)
		info.Version = s.versionOf(b, n)
		return nil
	})
	return tags, info, err
}

// SetObjectTags replaces an object's tags, durably; none removes them. What the
// object was and when it was modified stay. KindNotFound, and what CheckTags
// returns.
func (s *Store) SetObjectTags(ctx context.Context, c objstore.Caller, req objstore.TagsRequest, tags []objstore.Tag) (info objstore.ObjectInfo, err error) {
	const op = "set tags"
	if err := objstore.CheckTags(op, tags); err != nil {
		return info, err
	}
	err = s.update(ctx, c, op, req.Key, func(x *tx) error {
		root, err := x.bucketRoot(req.Bucket)
		if err != nil {
			return err
		}
		ino, n, b, err := x.findObject(s, op, root, req.Key, req.Version)
		if err != nil {
			return err
		}
		if err := x.checked(s, ino, n, req.Check); err != nil {
			return err
		}
		made, err := x.inode(ino)
		if err != nil {
			return err
		}
		if made.Type == objstore.TypeDirectory {
			// The object was made up (see findKey). It becomes one, that can have tags.
			if len(tags) > 0 {
				ino = x.nextInode()
				if err := x.setTags(ino, n, tags); err != nil {
					return err
				}
				if err := x.putKey(root, req.Key, ino, n); err != nil {
					return err
				}
			}
			info = s.describe(req.Bucket, req.Key, ino, n, nil)
			info.Version = s.versionOf(b, n)
			return nil
		}
		if err := x.setTags(ino, n, tags); err != nil {
			return err
		}
		n.Ctime = x.now
		x.setInode(ino, n)
		x.change(objstore.Change{Inode: ino})
		info = s.describe(req.Bucket, req.Key, ino, n, nil)
		info.Version = s.versionOf(b, n)
		return nil
	})
	if err != nil {
		return info, err
	}
	return info, s.durable(context.WithoutCancel(ctx))
}

// tags returns the tags of a file by key.
func (r reader) tags(ino objstore.InodeID, n *record.Inode) ([]objstore.Tag, error) {
	if n.TagCount == 0 {
		return nil, nil
	}
	plain, err := r.xattrs(ino, n)
	if err != nil {
		return nil, err
	}
	tags := make([]objstore.Tag, 0, n.TagCount)
	for name, value := range plain {
		if k, ok := strings.CutPrefix(name, xattrTag); ok {
			tags = append(tags, objstore.Tag{Key: k, Value: value})
		}
	}
	objstore.SortTags(tags)
	return tags, nil
}

// setTags replaces the tags of an inode, whose record the caller writes.
func (x *tx) setTags(ino objstore.InodeID, n *record.Inode, tags []objstore.Tag) error {
	if n.TagCount == 0 && len(tags) == 0 {
		return nil
	}
	plain, err := x.xattrs(ino, n)
	if err != nil {
		return err
	}
	for name := range plain {
		if strings.HasPrefix(name, xattrTag) {
			delete(plain, name)
		}
	}
	for _, t := range tags {
		plain[xattrTag+t.Key] = t.Value
	}
	x.setXattrs(ino, n, plain)
	return nil
}

// tagRecord is how an upload keeps the tags of the object that it becomes.
func tagRecord(tags []objstore.Tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m
}

func tagsOfRecord(m map[string]string) []objstore.Tag {
	tags := make([]objstore.Tag, 0, len(m))
	for k, v := range m {
		tags = append(tags, objstore.Tag{Key: k, Value: v})
	}
	return tags
}
