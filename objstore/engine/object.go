package engine

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"mime"
	"path"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// PutObject stores an object, durably when it returns. A failed request changes
// nothing.
func (s *Store) PutObject(ctx context.Context, c objstore.Caller, req objstore.PutRequest) (objstore.ObjectInfo, error) {
	var info objstore.ObjectInfo
	if err := checkPut("put", req.Key, req.Encryption, &req.Meta, req.Tags); err != nil {
		return info, err
	}
	root, etags, err := s.openTarget(ctx, "put", req.Bucket)
	if err != nil {
		return info, err
	}
	if err := s.earlyPrecondition(ctx, root, req.Key, req.Precondition); err != nil {
		return info, err
	}
	content, oek, err := s.newContent(ctx, root, req.Encryption)
	if err != nil {
		return info, err
	}
	defer oek.Wipe()
	form := etags
	if laterMD5(content.Mode, req.Size) {
		form = objstore.ETagsOpaque
	}
	in, err := s.newIngest(extent.Of(content.ID, oek), form, req.Algorithms)
	if err != nil {
		return info, err
	}
	defer in.close()
	if err := in.read(ctx, req.Body, req.Size); err != nil {
		return info, s.bodyError(ctx, req.Key, err)
	}
	sums, err := in.sums(req.Verify)
	if err != nil {
		return info, err
	}
	switch {
	case form == objstore.ETagsMD5:
		setETag(&content, oek, record.ETagMD5, [16]byte(sums[checksum.MD5]))
	case etags == objstore.ETagsMD5:
		randomETag(&content)
	}
	stored := sealSum(&content, oek, req.Store, sums)
	ino, err := s.newInode(ctx)
	if err != nil {
		return info, err
	}
	rec := newObject(content, in.size, req.Meta)
	rec.Lock = req.Lock
	var version objstore.VersionID
	err = s.update(ctx, c, "put", req.Key, func(x *tx) error {
		if err := x.checkWrite(root, req.Key, req.Precondition); err != nil {
			return err
		}
		n := *rec
		n.Atime, n.Mtime, n.Ctime, n.Btime = x.now, x.now, x.now, x.now
		if n.Content.Layout, err = in.finish(x); err != nil {
			return err
		}
		if err := x.setTags(ino, &n, req.Tags); err != nil {
			return err
		}
		if version, err = x.publish(root, req.Key, ino, &n); err != nil {
			return err
		}
		*rec = n
		return nil
	})
	if err != nil {
		return info, err
	}
	in.marked = false
	if err := s.durable(context.WithoutCancel(ctx)); err != nil {
		return info, err
	}
	info = s.describe(req.Bucket, req.Key, ino, rec, stored)
	info.Version = version
	return info, nil
}

// sealSum keeps the checksum of alg with a new content and returns it; nil if alg is "".
func sealSum(c *record.Content, oek *extent.Keys, alg checksum.Algorithm, sums checksum.Sums) *objstore.Checksum {
	if alg == "" {
		return nil
	}
	sum := &objstore.Checksum{Algorithm: alg, Type: checksum.FullObject, Value: checksum.Format(sums[alg])}
	sealChecksum(c, oek, *sum)
	return sum
}

// newObject is the inode of a new object; putKey gives it owner and mode.
func newObject(c record.Content, size int64, m objstore.ObjectMeta) *record.Inode {
	return &record.Inode{Type: objstore.TypeRegular, Nlink: 1, Size: size, Allocated: size, Content: c, Meta: &m}
}

// publish makes key name a new object, and returns the version that it is.
func (x *tx) publish(root objstore.InodeID, key string, ino objstore.InodeID, n *record.Inode) (objstore.VersionID, error) {
	if err := x.putKey(root, key, ino, n); err != nil {
		return "", err
	}
	return x.versionIn(x.s, root, n)
}

// checkPut refuses a bad key, what cannot be encrypted as asked, tags that cannot
// be, and metadata that are too long.
func checkPut(op, key string, e objstore.Encryption, m *objstore.ObjectMeta, tags []objstore.Tag) error {
	if err := objstore.CheckKey(op, key); err != nil {
		return err
	}
	if err := checkEncryption(op, e); err != nil {
		return err
	}
	if err := objstore.CheckTags(op, tags); err != nil {
		return err
	}
	total := 0
	for k, v := range m.User {
		total += len(k) + len(v)
	}
	if total > objstore.MaxUserMetadata {
		return objstore.E(objstore.KindInvalidArgument, op, key, "user metadata is over 2 KiB")
	}
	return nil
}

// bodyError keeps what a body reader says as it is: it is the door's own error.
func (s *Store) bodyError(ctx context.Context, key string, err error) error {
	if ctx.Err() != nil {
		return objstore.Wrap(objstore.KindCanceled, "put", key, ctx.Err())
	}
	return err
}

// openTarget finds the bucket of a new object, and the form of its ETag.
func (s *Store) openTarget(ctx context.Context, op, name string) (root objstore.InodeID, etags objstore.ETagForm, err error) {
	root, b, err := s.openRecord(ctx, op, name)
	return root, b.ETags, err
}

// earlyPrecondition refuses a write before its body is read. What counts is the
// check in the transaction.
func (s *Store) earlyPrecondition(ctx context.Context, root objstore.InodeID, key string, pre objstore.Precondition) error {
	if pre.IsZero() {
		return nil
	}
	return s.look(ctx, "put", key, func(r reader) error { return r.checkWriteAs(s, root, key, pre) })
}

func (x *tx) checkWrite(root objstore.InodeID, key string, pre objstore.Precondition) error {
	if err := x.checkedIfThere("write", root, key, "", objstore.Check{Tags: pre.Tags}); err != nil {
		return err
	}
	return x.checkWriteAs(x.s, root, key, pre)
}

// checkWriteAs checks If-Match, If-None-Match and OnlyNew of a write against what the
// key names now.
func (r reader) checkWriteAs(s *Store, root objstore.InodeID, key string, pre objstore.Precondition) error {
	if len(pre.IfMatch) == 0 && len(pre.IfNoneMatch) == 0 && !pre.OnlyNew {
		return nil
	}
	_, n, err := r.findKey(root, key)
	if objstore.IsKind(err, objstore.KindNotFound) {
		switch {
		case len(pre.IfMatch) > 0:
			return err
		case pre.OnlyNew:
			return r.checkOnlyNew(root, key)
		}
		return nil
	}
	if err != nil {
		return err
	}
	tag := etagOf(s, n)
	if len(pre.IfMatch) > 0 && !matches(pre.IfMatch, tag) {
		return objstore.E(objstore.KindPreconditionFailed, "write", key, "If-Match")
	}
	if len(pre.IfNoneMatch) > 0 && matches(pre.IfNoneMatch, tag) {
		return objstore.E(objstore.KindPreconditionFailed, "write", key, "If-None-Match")
	}
	if pre.OnlyNew {
		return errReplaces("write", key)
	}
	return nil
}

// checkOnlyNew refuses a write to a key without a current version that would take
// the place of one all the same: where versioning is suspended, of the null version.
func (r reader) checkOnlyNew(root objstore.InodeID, key string) error {
	b, err := r.settings(root)
	if err != nil || b.Versioning != objstore.VersioningSuspended {
		return err
	}
	w, err := r.way(root, key)
	if err != nil {
		return err
	}
	k, err := r.newestNull(w.last(), w.name)
	if err == nil && k != nil && !k.isMarker() {
		err = errReplaces("write", key)
	}
	return err
}

func errReplaces(op, key string) error {
	return objstore.E(objstore.KindAccessDenied, op, key, "the caller may not replace objects")
}

func matches(list []string, tag objstore.ETag) bool {
	for _, t := range list {
		if t == "*" || t == string(tag) {
			return true
		}
	}
	return false
}

// checkRead checks the conditions of a read in the order of RFC 9110 section
// 13.2.2. Times compare in whole seconds, as HTTP dates have them.
func checkRead(op, key string, pre objstore.Precondition, tag objstore.ETag, modified objstore.Time) error {
	const second = objstore.Time(1e9)
	at := modified / second
	if len(pre.IfMatch) > 0 {
		if !matches(pre.IfMatch, tag) {
			return objstore.E(objstore.KindPreconditionFailed, op, key, "If-Match")
		}
	} else if pre.IfUnmodifiedSince != 0 && at > pre.IfUnmodifiedSince/second {
		return objstore.E(objstore.KindPreconditionFailed, op, key, "If-Unmodified-Since")
	}
	if len(pre.IfNoneMatch) > 0 {
		if matches(pre.IfNoneMatch, tag) {
			return objstore.E(objstore.KindNotModified, op, key, "If-None-Match")
		}
	} else if pre.IfModifiedSince != 0 && at <= pre.IfModifiedSince/second {
		return objstore.E(objstore.KindNotModified, op, key, "If-Modified-Since")
	}
	return nil
}

// etagOf is the ETag of a regular file. What was written through the mount, or
// into a bucket of opaque ETags, has a keyed hash of content id and generation.
func etagOf(s *Store, n *record.Inode) objstore.ETag {
	c := &n.Content
	switch c.ETag {
	case record.ETagMD5:
		return objstore.ETag(hex.EncodeToString(c.ETagSum[:]))
	case record.ETagMultipart:
		return objstore.ETag(fmt.Sprintf("%x-%d", c.ETagSum, c.PartCount))
	case record.ETagRandom:
		if c.PartCount > 0 {
			return objstore.ETag(fmt.Sprintf("%x-%d", c.ETagSum, c.PartCount))
		}
		return objstore.ETag(hex.EncodeToString(c.ETagSum[:]))
	}
	return opaqueETag(s.keyedSum(c.ID, c.Gen), c.PartCount)
}

// opaqueETag is an ETag that no client takes for an MD5, because of its hyphen,
// and none that knows the parts for the MD5 of theirs: the number behind the
// hyphen is never that of the parts.
func opaqueETag(sum [16]byte, parts uint32) objstore.ETag {
	n := 1
	if parts == 1 {
		n = 2
	}
	return objstore.ETag(fmt.Sprintf("%x-%d", sum, n))
}

// keyedSum is a hash that only this store can compute.
func (s *Store) keyedSum(id [16]byte, gen uint64) (sum [16]byte) {
	m := hmac.New(sha256.New, s.etagKey)
	m.Write(id[:])
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], gen)
	m.Write(b[:])
	copy(sum[:], m.Sum(nil))
	return sum
}

// info describes an object; oek may be nil.
func (s *Store) info(bucket, key string, ino objstore.InodeID, n *record.Inode, oek *extent.Keys) (objstore.ObjectInfo, error) {
	sum, err := openChecksum(&n.Content, oek)
	return s.describe(bucket, key, ino, n, sum), s.wrap("head", key, err)
}

// describe is info with the object's checksum at hand.
func (s *Store) describe(bucket, key string, ino objstore.InodeID, n *record.Inode, sum *objstore.Checksum) objstore.ObjectInfo {
	info := objstore.ObjectInfo{
		Bucket: bucket, Key: key, Inode: ino, Size: n.Size, ETag: etagOf(s, n), LastModified: n.Mtime, Since: since(n),
		Lock: n.Lock, Parts: int(n.Content.PartCount), Tags: int(n.TagCount), Checksum: sum,
		SSE: s.sseInfo(&n.Content),
	}
	if n.Meta != nil {
		info.Meta, info.Restored = *n.Meta, s.restored(n)
	}
	if info.Meta.ContentType == "" {
		info.Meta.ContentType = guessType(n, key)
	}
	return info
}

// since is when an object's age begins to count: a file that a program made with
// the times of another one is not old.
func since(n *record.Inode) objstore.Time { return max(n.Mtime, n.Btime) }

// guessType is the Content-Type of what was written through the mount: by its
// name, as S3 clients guess it; S3's own default otherwise.
func guessType(n *record.Inode, key string) string {
	if n.Meta == nil {
		if t := mime.TypeByExtension(path.Ext(key)); t != "" {
			return t
		}
	}
	return "binary/octet-stream"
}

// HeadObject describes an object. When a precondition fails it returns the
// info together with the error.
func (s *Store) HeadObject(ctx context.Context, c objstore.Caller, req objstore.GetRequest) (objstore.ObjectInfo, error) {
	var ino objstore.InodeID
	var n *record.Inode
	var b *record.Bucket
	err := s.look(ctx, "head", req.Key, func(r reader) error {
		root, err := r.bucketRoot(req.Bucket)
		if err == nil {
			ino, n, b, err = r.findObject(s, "head", root, req.Key, req.Version)
		}
		if err == nil {
			err = r.checked(s, ino, n, req.Check)
		}
		return err
	})
	if err != nil {
		return objstore.ObjectInfo{}, err
	}
	oek, err := s.headOEK(ctx, req, n)
	if err != nil {
		return objstore.ObjectInfo{}, err
	}
	defer oek.Wipe()
	info, err := s.info(req.Bucket, req.Key, ino, n, oek)
	if err != nil {
		return info, err
	}
	info.Version = s.versionOf(b, n)
	return info, checkRead("head", req.Key, req.Precondition, info.ETag, info.LastModified)
}

// headOEK opens an object's key as far as describing it takes one: with it comes
// the checksum. The key of the key service is not asked for when nobody wants
// that, so that an object whose key is disabled can still be described.
func (s *Store) headOEK(ctx context.Context, req objstore.GetRequest, n *record.Inode) (*extent.Keys, error) {
	switch {
	case req.NoKey:
		return nil, nil
	case req.NoChecksum && n.Content.Mode != objstore.SSEC && req.CustomerKey.CustomerKey == nil:
		return nil, nil
	}
	return s.requestOEK(ctx, "head", req, n)
}
