package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

const (
	// shareStep is how many chunks (64 MiB each) one transaction of a copy shares.
	shareStep = 1024
	// copyTries bounds how often a copy begins anew because its source changed.
	copyTries = 8
)

// source is what a copy reads from.
type source struct {
	version objstore.VersionID
	n       *record.Inode
	oek     *extent.Keys
	sum     *objstore.Checksum
	tag     objstore.ETag
}

func (s *Store) openSource(ctx context.Context, bucket, key string, version objstore.VersionID, pre objstore.Precondition, customer objstore.Encryption) (*source, error) {
	src := &source{}
	var ino objstore.InodeID
	look := func() error {
		return s.view(ctx, "copy", key, func(r reader) error {
			root, err := r.bucketRoot(bucket)
			if err != nil {
				return err
			}
			var b *record.Bucket
			if ino, src.n, b, err = r.findObject(s, "copy", root, key, version); err == nil {
				src.version = s.versionOf(b, src.n)
			}
			return err
		})
	}
	err := look()
	if err == nil && src.n.Content.Logged > 0 {
		// Nothing more is logged before it is looked at again.
		err = s.mapLogged(ctx, ino, look)
		if err == nil && src.n.Content.Logged > 0 { // of another inode by now
			err = errLostRace
		}
	}
	if err != nil {
		return nil, err
	}
	src.tag = etagOf(s, src.n)
	if err := checkRead("copy", key, pre, src.tag, src.n.Mtime); err != nil {
		if objstore.IsKind(err, objstore.KindNotModified) {
			err = objstore.E(objstore.KindPreconditionFailed, "copy", key, "source condition")
		}
		return nil, err
	}
	if src.oek, err = s.requestOEK(ctx, "copy", objstore.GetRequest{Key: key, CustomerKey: customer}, src.n); err != nil {
		return nil, err
	}
	if src.sum, err = openChecksum(&src.n.Content, src.oek); err != nil {
		src.oek.Wipe()
		return nil, s.wrap("copy", key, err)
	}
	return src, nil
}

// same returns the source as it is now, or errLostRace when its content is no
// longer what it was.
func (r reader) same(s *Store, bucket, key string, version objstore.VersionID, n *record.Inode) (objstore.InodeID, *record.Inode, error) {
	root, err := r.bucketRoot(bucket)
	if err != nil {
		return 0, nil, err
	}
	ino, now, _, err := r.findObject(s, "copy", root, key, version)
	if err != nil {
		return 0, nil, err
	}
	if now.Content.ID != n.Content.ID || now.Content.Gen != n.Content.Gen {
		return 0, nil, errLostRace
	}
	return ino, now, nil
}

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
	src, err := s.openSource(ctx, req.SrcBucket, req.SrcKey, req.SrcVersion, req.SrcPrecondition, req.SrcCustomerKey)
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
		from: &src.n.Content, get: objstore.GetRequest{Bucket: req.SrcBucket, Key: req.SrcKey, Version: req.SrcVersion, CustomerKey: req.SrcCustomerKey},
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
		from, now, err := x.same(s, req.SrcBucket, req.SrcKey, req.SrcVersion, src.n)
		if err != nil {
			return err
		}
		if err := x.checked(s, from, now, req.CheckSource); err != nil {
			return err
		}
		if err := x.checkWrite(root, req.DstKey, req.DstPrecondition); err != nil {
			return err
		}
		n := *rec
		n.Atime, n.Mtime, n.Ctime, n.Btime = x.now, x.now, x.now, x.now
		if req.Meta == nil {
			n.Meta = copiedMeta(&req, now)
		}
		if err := cp.finish(x); err != nil {
			return err
		}
		n.Content.Layout = cp.layout
		if cp.anew != nil {
			n.Allocated = n.Size - cp.anew.holes
		}
		if n.Content.PartCount > 0 {
			if err := x.copyParts(src, &n.Content, oek); err != nil {
				return err
			}
		}
		if req.Tags == nil {
			if tags, err = x.tags(from, now); err != nil {
				return err
			}
		}
		if err := x.setTags(ino, &n, tags); err != nil {
			return err
		}
		if version, err = x.publish(root, req.DstKey, ino, &n); err != nil {
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

// checked asks check about an object.
func (r reader) checked(s *Store, ino objstore.InodeID, n *record.Inode, check objstore.Check) error {
	if check.Tags != nil {
		tags, err := r.tags(ino, n)
		if err == nil {
			err = check.Tags(tags)
		}
		if err != nil {
			return err
		}
	}
	if check.Key != nil && n.Content.KMSKeyID != "" {
		return check.Key(s.sseInfo(&n.Content))
	}
	return nil
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
	get := objstore.GetRequest{Bucket: req.SrcBucket, Key: req.SrcKey, Version: req.SrcVersion, CustomerKey: req.SrcCustomerKey, NoChecksum: true}
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

// share makes one content of another's bytes. Like an ingest, a long one is
// committed in steps under a garbage mark.
type share struct {
	s        *Store
	dst, src extent.Content
	srcOff   int64
	size     int64
	layout   record.Layout // in the end that of the copy
	shared   int64
	marked   bool
	// What layers of encryption keep from being shared is encrypted anew: from is
	// read with get.
	from *record.Content
	get  objstore.GetRequest
	anew *ingest
	part bool // of an upload
}

// done says that the copy was committed.
func (cp *share) done() {
	cp.marked = false
	if cp.anew != nil {
		cp.anew.marked = false
	}
}

func (cp *share) close() {
	if cp.anew != nil {
		cp.anew.close()
	}
	cp.s.busy.remove(cp.dst.Refs)
	if cp.marked {
		cp.s.wakeReaper()
	}
}

// steps shares all but what fits into the last transaction.
func (cp *share) steps(ctx context.Context) error {
	if cp.layout != record.LayoutChunks {
		return nil
	}
	if cp.dst.OEK.Two() != cp.src.OEK.Two() {
		return cp.recrypt(ctx)
	}
	for cp.size-cp.shared > int64(cp.s.shareStep)*record.MaxChunk {
		var n int64
		err := cp.s.update(ctx, objstore.Caller{}, "copy", "", func(x *tx) (err error) {
			x.txn.Set(record.GarbageKey(cp.dst.Refs), []byte{1})
			n, err = cp.step(x, cp.s.shareStep)
			return err
		})
		if err != nil {
			return err
		}
		cp.marked = true
		cp.shared += n
	}
	return nil
}

func (cp *share) step(x *tx, limit int) (int64, error) {
	e := x.s.extents.Edit(x.txn)
	n, err := e.Share(cp.dst, cp.shared, cp.src, cp.srcOff+cp.shared, cp.size-cp.shared, limit)
	if err != nil {
		return 0, err
	}
	return n, e.Finish()
}

// finish shares the rest in the request's last transaction.
func (cp *share) finish(x *tx) (err error) {
	if cp.anew != nil {
		cp.layout, err = cp.anew.finish(x)
		return err
	}
	switch cp.layout {
	case record.LayoutInline:
		plain, err := x.inlineData(cp.src)
		if err != nil {
			return err
		}
		defer clear(plain)
		in, err := extent.SealInline(cp.dst, plain)
		if err != nil {
			return err
		}
		x.txn.Set(record.InlineKey(cp.dst.Refs), in.Append(nil))
		return nil
	case record.LayoutEmpty:
		return nil
	}
	if cp.marked {
		x.txn.Delete(record.GarbageKey(cp.dst.Refs))
	}
	return cp.rest(x)
}

// rest shares what steps left.
func (cp *share) rest(x *tx) error {
	n, err := cp.step(x, maxShareRest)
	if err == nil && n < cp.size-cp.shared {
		err = fmt.Errorf("engine: %d chunks do not hold %d bytes", maxShareRest, cp.size-cp.shared)
	}
	return err
}

// recrypt reads the source and encrypts it anew, a bounded part at a time. The
// copy has as many layers as its keys.
func (cp *share) recrypt(ctx context.Context) error {
	in, err := cp.s.newIngest(cp.dst, objstore.ETagsOpaque, nil) // its ETag and checksum are the source's
	if err != nil {
		return err
	}
	cp.anew, in.noSmall, in.sparse = in, cp.part, true
	body, w := io.Pipe()
	read := make(chan struct{})
	go func() {
		defer close(read)
		err := cp.s.GetObject(ctx, objstore.Caller{}, cp.get, func(o *Object) error {
			if o.n.Content.ID != cp.from.ID || o.n.Content.Gen != cp.from.Gen {
				return errLostRace
			}
			o.Offset, o.Length = cp.srcOff, cp.size
			_, err := o.WriteTo(w)
			return err
		})
		w.CloseWithError(err)
	}()
	err = in.read(ctx, body, cp.size)
	body.Close()
	<-read
	return err
}

// maxShareRest bounds the references in the last transaction: chunks can be
// shorter than 64 MiB where their content was uploaded in parts.
const maxShareRest = 1 << 17
