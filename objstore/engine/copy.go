package engine

import (
	"context"
	"errors"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// copyTries bounds how often a copy begins anew because its source changed.
const copyTries = 8

// CopyObject copies without moving data, durably: the copy shares the source's
// chunks, whose keys are sealed anew under its own object key. Only a checksum
// that the source does not have makes it read the source.
//
// The copy of an object that was uploaded in parts is of one part; to have the
// ETag of that it is read, if it has no more than rereadLimit bytes. A larger one
// keeps its parts and the ETag with their "-N". In a bucket of opaque ETags every
// copy has one of its own.
func (s *Store) CopyObject(ctx context.Context, c objstore.Caller, req objstore.CopyRequest) (objstore.ObjectInfo, error) {
	for try := 1; ; try++ {
		info, err := s.copyOnce(ctx, c, req)
		if !errors.Is(err, errLostRace) {
			return info, err
		}
		if try == copyTries {
			return info, objstore.E(objstore.KindConflict, "copy", req.SrcKey, "the source keeps changing")
		}
	}
}

func (s *Store) copyOnce(ctx context.Context, c objstore.Caller, req objstore.CopyRequest) (objstore.ObjectInfo, error) {
	var info objstore.ObjectInfo
	meta := req.Meta
	if meta == nil {
		meta = &objstore.ObjectMeta{StorageClass: req.StorageClass, WebsiteRedirect: req.WebsiteRedirect}
	}
	var tags []objstore.Tag
	if req.Tags != nil {
		tags = *req.Tags
	}
	if err := checkPut("copy", req.DstKey, req.Encryption, meta, tags); err != nil {
		return info, err
	}
	src, err := s.openSource(ctx, objstore.GetRequest{
		Bucket: req.SrcBucket, Key: req.SrcKey, Version: req.SrcVersion, Precondition: req.SrcPrecondition, CustomerKey: req.SrcCustomerKey,
	})
	if objstore.IsKind(err, objstore.KindWrongKey) && req.SrcBucket == req.DstBucket && req.SrcKey == req.DstKey {
		err = objstore.E(objstore.KindInvalidRequest, "copy", req.SrcKey, otherParameters) // as AWS words it for a copy in place
	}
	if err != nil {
		return info, err
	}
	defer src.oek.Wipe()
	if err := s.checkArchived(req.SrcKey, src.n); err != nil {
		return info, err
	}
	root, etags, err := s.openTarget(ctx, "copy", req.DstBucket)
	if err != nil {
		return info, err
	}
	content, oek, err := s.newContent(ctx, root, req.Encryption)
	if err != nil {
		return info, err
	}
	content.Appends = src.n.Content.Appends // it has as many chunks
	defer oek.Wipe()
	if err := s.copyHead(ctx, req, src, etags, &content, oek); err != nil {
		return info, err
	}
	ino, err := s.newInode(ctx)
	if err != nil {
		return info, err
	}
	cp := &share{
		s: s, dst: extent.Of(content.ID, oek), src: extent.Of(src.n.Content.ID, src.oek), size: src.n.Size, layout: src.n.Content.Layout,
		from: &src.n.Content, get: src.get,
	}
	s.busy.add(content.ID)
	defer cp.close()
	if err := cp.steps(ctx); err != nil {
		return info, err
	}
	rec := newObject(content, src.n.Size, *meta)
	rec.Allocated = src.n.Allocated
	rec.Lock = req.Lock
	var version objstore.VersionID
	err = s.update(ctx, c, "copy", req.DstKey, func(x *tx) error {
		n := *rec
		if version, err = x.putCopy(root, ino, &n, req, src, cp); err != nil {
			return err
		}
		*rec = n
		return nil
	})
	if err != nil {
		return info, err
	}
	cp.done()
	if err := s.durable(context.WithoutCancel(ctx)); err != nil {
		return info, err
	}
	info, err = s.info(req.DstBucket, req.DstKey, ino, rec, oek)
	info.Version, info.SourceVersion = version, src.version
	return info, err
}

// putCopy shares what cp has left and makes the target's key name the copy, the inode
// n, to which it adds what is the source's in this transaction.
func (x *tx) putCopy(root, ino objstore.InodeID, n *record.Inode, req objstore.CopyRequest, src *source, cp *share) (objstore.VersionID, error) {
	from, now, err := x.same(x.s, src)
	if err != nil {
		return "", err
	}
	if err := x.checked(x.s, from, now, req.CheckSource); err != nil {
		return "", err
	}
	if err := x.checkWrite(root, req.DstKey, req.DstPrecondition); err != nil {
		return "", err
	}
	n.Atime, n.Mtime, n.Ctime, n.Btime = x.now, x.now, x.now, x.now
	if req.Meta == nil {
		n.Meta = copiedMeta(&req, now)
	}
	if err := cp.finish(x); err != nil {
		return "", err
	}
	n.Content.Layout = cp.layout
	if cp.anew != nil {
		n.Allocated = n.Size - cp.anew.holes
	}
	if n.Content.PartCount > 0 {
		if err := x.copyParts(src, &n.Content, cp.dst.OEK); err != nil {
			return "", err
		}
	}
	var tags []objstore.Tag
	if req.Tags != nil {
		tags = *req.Tags
	} else if tags, err = x.tags(from, now); err != nil {
		return "", err
	}
	if err := x.setTags(ino, n, tags); err != nil {
		return "", err
	}
	return x.publish(root, req.DstKey, ino, n)
}

// copiedMeta is what a copy has of its source's headers.
func copiedMeta(req *objstore.CopyRequest, src *record.Inode) *objstore.ObjectMeta {
	meta := objstore.ObjectMeta{ContentType: guessType(src, req.SrcKey)}
	if src.Meta != nil {
		meta = *src.Meta
	}
	meta.StorageClass, meta.WebsiteRedirect = req.StorageClass, req.WebsiteRedirect
	return &meta
}

// copyHead gives the copy its ETag and checksum. An opaque ETag is never taken
// over: it is the content's.
func (s *Store) copyHead(ctx context.Context, req objstore.CopyRequest, src *source, etags objstore.ETagForm, c *record.Content, oek *extent.Keys) error {
	from := &src.n.Content
	get := src.get
	get.NoChecksum = true
	if etags == objstore.ETagsMD5 {
		parts := from.ETag == record.ETagMultipart || from.ETag == record.ETagRandom && from.PartCount > 0
		if parts && src.n.Size <= rereadLimit {
			return s.copyOfParts(ctx, get, req.Store, src, c, oek)
		}
		if plainETags(c.Mode) && leftMD5(src.n) {
			sums, err := s.reread(ctx, get, from, checksum.MD5)
			if err != nil {
				return err
			}
			setETag(c, oek, record.ETagMD5, [16]byte(sums[checksum.MD5]))
		} else if err := copyETag(from, src.oek, c, oek); err != nil {
			return s.wrap("copy", req.SrcKey, err)
		}
	}
	c.PartCount = from.PartCount
	sum := src.sum
	if req.Store != "" && (sum == nil || sum.Algorithm != req.Store) {
		sums, err := s.reread(ctx, get, from, req.Store)
		if err != nil {
			return err
		}
		sum = &objstore.Checksum{Algorithm: req.Store, Type: checksum.FullObject, Value: checksum.Format(sums[req.Store])}
	}
	if sum != nil {
		sealChecksum(c, oek, *sum)
	}
	return nil
}
