package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// maxAppends is how often an object can be appended to where that shares its
// chunks: each time adds a reference, and all of them are shared anew by the next.
// AWS has the same limit for all ("Appending data to objects in directory buckets").
const maxAppends = 10_000

// AppendObject adds the body to the end of an object, durably, without reading
// or moving what it holds: the object becomes a new inode. Its content shares the
// chunks of the old inode's and is encrypted in the same way; if nobody else has the
// old content it is taken over instead. Whoever has the old inode open stays on it.
//
// req.Offset is the size that the object must have; otherwise KindInvalidOffset.
// Metadata, tags and owner stay as they are: Meta and Tags of the request count only
// where offset 0 makes a new object.
//
// The ETag becomes that of files written through the mount, since an MD5 would
// take reading everything. A checksum of the whole object is kept where it can
// be combined from the old one and that of the body, which CRCs can; otherwise
// there is none any more. Part numbers are forgotten.
//
// Objects of up to extent.MaxInline bytes are written anew with what is added.
func (s *Store) AppendObject(ctx context.Context, c objstore.Caller, req objstore.PutRequest) (objstore.ObjectInfo, error) {
	var none objstore.ObjectInfo
	if err := checkPut("append", req.Key, req.Encryption, &req.Meta, req.Tags); err != nil {
		return none, err
	}
	// The ETag of a write's condition is checked with all others, in the end.
	src, err := s.openSource(ctx, objstore.GetRequest{Bucket: req.Bucket, Key: req.Key, CustomerKey: customerOf(req.Encryption)})
	if objstore.IsKind(err, objstore.KindNotFound) && req.Offset == 0 {
		if req.Precondition.IsZero() {
			req.Precondition.IfNoneMatch = []string{"*"} // somebody may be faster
		}
		return s.PutObject(ctx, c, req)
	}
	if err != nil {
		return none, changedMeanwhile(req.Key, err)
	}
	defer src.oek.Wipe()
	a := &appending{s: s, req: req, src: src}
	if err := a.check(ctx); err != nil {
		return none, err
	}
	info, err := a.run(ctx, c)
	return info, changedMeanwhile(req.Key, err)
}

// changedMeanwhile tells the client of a lost race.
func changedMeanwhile(key string, err error) error {
	if errors.Is(err, errLostRace) {
		return objstore.E(objstore.KindConflict, "append", key, "the object changed meanwhile")
	}
	return err
}

// customerOf is the part of a write's encryption that reads what is there.
func customerOf(e objstore.Encryption) objstore.Encryption {
	if e.Mode == objstore.SSEC {
		return e
	}
	return objstore.Encryption{}
}

// appending is one AppendObject to an object that exists.
type appending struct {
	s   *Store
	req objstore.PutRequest
	src *source
}

// check refuses what can be refused before the body is read.
func (a *appending) check(ctx context.Context) error {
	n, key := a.src.n, a.req.Key
	switch {
	case n.Content.ID.IsZero() && n.Size == 0 && key[len(key)-1] == '/':
		return objstore.E(objstore.KindInvalidRequest, "append", key, "A directory that nobody has put an object for cannot be appended to.")
	case a.req.Offset != n.Size:
		return errOffset(key, n.Size)
	case n.Content.Appends >= maxAppends:
		return objstore.E(objstore.KindTooManyParts, "append", key, "")
	case a.req.Size >= 0 && a.req.Size > objstore.MaxObjectSize-n.Size:
		return objstore.E(objstore.KindTooLarge, "append", key, "the object would be over 50 TiB")
	}
	if mode := a.req.Encryption.Mode; mode != objstore.SSENone && mode != a.mode() {
		return objstore.E(objstore.KindEncryptionMismatch, "append", key, "")
	}
	if id := a.req.Encryption.KMSKeyID; id != "" {
		info, err := a.s.resolveKey(ctx, "append", id)
		if err != nil {
			return err
		}
		if string(info.ID) != n.Content.KMSKeyID {
			return objstore.E(objstore.KindEncryptionMismatch, "append", key, "")
		}
	}
	if a.req.Encryption.MayUse != nil && n.Content.KMSKeyID != "" {
		return a.req.Encryption.MayUse(a.s.sseInfo(&n.Content))
	}
	return nil
}

func errOffset(key string, size int64) error {
	return objstore.E(objstore.KindInvalidOffset, "append", key, fmt.Sprintf("the object has %d bytes", size))
}

// mode is how the object is encrypted; an empty file may have no key yet.
func (a *appending) mode() objstore.SSEMode { return a.s.sseInfo(&a.src.n.Content).Mode }

// run reads the body and appends it.
func (a *appending) run(ctx context.Context, c objstore.Caller) (objstore.ObjectInfo, error) {
	var info objstore.ObjectInfo
	s, req, old := a.s, a.req, &a.src.n.Content
	root, _, err := s.openTarget(ctx, "append", req.Bucket)
	if err != nil {
		return info, err
	}
	if err := s.earlyPrecondition(ctx, root, req.Key, req.Precondition); err != nil {
		return info, err
	}
	content, oek, err := s.contentLike(ctx, root, old, req.Encryption)
	if err != nil {
		return info, err
	}
	defer oek.Wipe()
	content.Appends = old.Appends + 1
	in, err := s.newIngest(extent.Of(content.ID, oek), objstore.ETagsOpaque, a.algorithms())
	if err != nil {
		return info, err
	}
	defer in.close()
	added, err := a.read(ctx, in)
	if err != nil {
		return info, err
	}
	sums, err := in.sums(req.Verify)
	if err != nil {
		return info, err
	}
	sum, err := a.checksum(sums, added)
	if err != nil {
		return info, err
	}
	if sum != nil {
		sealChecksum(&content, oek, *sum)
	}
	if !plainETags(content.Mode) {
		randomETag(&content)
	}
	ino, err := s.newInode(ctx)
	if err != nil {
		return info, err
	}
	rec := newObject(content, a.src.n.Size+added, objstore.ObjectMeta{})
	rec.Meta = a.src.n.Meta
	rec.Allocated = a.src.n.Allocated + added
	var version objstore.VersionID
	err = s.update(ctx, c, "append", req.Key, func(x *tx) error {
		n := *rec
		if version, err = a.put(x, root, ino, &n, in, sum); err != nil {
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
	info = s.describe(req.Bucket, req.Key, ino, rec, sum)
	info.Version = version
	return info, nil
}

// read shares the object's chunks with the new content, all but what put does, and takes
// the body behind them. added is the length of the body.
func (a *appending) read(ctx context.Context, in *ingest) (added int64, err error) {
	body, before, err := a.body(ctx, in)
	if err != nil {
		return 0, err
	}
	if old := &a.src.n.Content; old.Layout == record.LayoutChunks {
		cp := &share{s: a.s, dst: in.c, src: extent.Of(old.ID, a.src.oek), size: a.src.n.Size, layout: old.Layout}
		err := cp.steps(ctx)
		in.first, in.marked = cp.rest, cp.marked
		if err != nil {
			return 0, err
		}
	}
	want := a.req.Size
	if want >= 0 {
		want += before
	}
	if err := in.read(ctx, body, want); err != nil {
		return 0, a.s.bodyError(ctx, a.req.Key, err)
	}
	return in.size - before, nil
}

// put makes the key name the inode n, with the content that was read into in, or with
// the old one's if that can be taken over.
func (a *appending) put(x *tx, root, ino objstore.InodeID, n *record.Inode, in *ingest, sum *objstore.Checksum) (objstore.VersionID, error) {
	key := a.req.Key
	from, now, err := x.same(x.s, a.src)
	if errors.Is(err, errLostRace) {
		if _, n, err := x.findKey(root, key); err == nil && n.Size != a.req.Offset {
			return "", errOffset(key, n.Size)
		}
	}
	if err != nil {
		return "", err
	}
	if err := x.checkWrite(root, key, a.req.Precondition); err != nil {
		return "", err
	}
	n.Atime, n.Mtime, n.Ctime, n.Btime = x.now, x.now, x.now, now.Btime
	attrs, err := x.xattrs(from, now)
	if err != nil {
		return "", err
	}
	x.setXattrs(ino, n, attrs)
	taken, err := a.takeOver(x, from, now, in)
	switch {
	case err != nil:
		return "", err
	case taken:
		if n.Content, err = a.extend(x, from, now, in, sum); err != nil {
			return "", err
		}
	default:
		if n.Content.Layout, err = in.finish(x); err != nil {
			return "", err
		}
		if a.src.n.Content.Layout == record.LayoutChunks {
			n.Content.Layout = record.LayoutChunks
		}
	}
	return x.publish(root, key, ino, n)
}

// takeOver reports whether the new inode can have the old one's content, so that
// nothing has to be shared: nobody else has it, as a version, by another name or
// open, and none of the body was mapped elsewhere. What is in it stays as it is,
// so that a reader of the old size, or a copy under way, finds the same.
func (a *appending) takeOver(x *tx, from objstore.InodeID, now *record.Inode, in *ingest) (bool, error) {
	if now.Content.Layout != record.LayoutChunks || in.marked || len(in.maps) == 0 || now.Nlink != 1 || now.Held {
		return false, nil
	}
	b, err := x.settings(now.Bucket)
	if err != nil || b.Versioning != objstore.VersioningOff {
		return false, err
	}
	old := extent.Of(now.Content.ID, a.src.oek)
	for _, m := range in.maps {
		_, end, err := extent.Bounds(x.txn, old, m.Off)
		if err != nil {
			return false, err
		}
		if m.Off+int64(m.Len) > end { // chunks that came from parts are not on the grid
			return false, nil
		}
	}
	return x.markDying(from), nil
}

// extend maps the body into the old inode's content and takes that from it.
func (a *appending) extend(x *tx, from objstore.InodeID, now *record.Inode, in *ingest, sum *objstore.Checksum) (record.Content, error) {
	c := now.Content
	e := x.s.extents.Edit(x.txn)
	if err := e.Map(extent.Of(c.ID, a.src.oek), in.maps); err != nil {
		return c, err
	}
	if err := e.Finish(); err != nil {
		return c, err
	}
	if c.PartCount > 0 {
		x.txn.Delete(record.PartsKey(c.ID))
	}
	c.Gen++
	c.PartCount, c.ETag, c.ETagSum, c.SealedMD5 = 0, record.ETagKeyed, [16]byte{}, nil
	if !plainETags(c.Mode) {
		randomETag(&c)
	}
	c.ChecksumAlgo, c.ChecksumType, c.Checksum = "", "", nil
	if sum != nil {
		sealChecksum(&c, a.src.oek, *sum)
	}
	left := *now
	left.Content = record.Content{}
	x.setInode(from, &left)
	return c, nil
}

// algorithms are those of the request and, where the object has a checksum that
// can be continued, that one.
func (a *appending) algorithms() []checksum.Algorithm {
	algs := a.req.Algorithms
	alg := a.continued()
	if alg == "" || slices.Contains(algs, alg) {
		return algs
	}
	return append(slices.Clone(algs), alg)
}

// continued is the algorithm of the object's checksum when that of the whole
// follows from it and from the body's. An empty object has that of the request.
func (a *appending) continued() checksum.Algorithm {
	sum := a.src.sum
	switch {
	case a.src.n.Size == 0:
		return a.req.Store
	case sum == nil || sum.Type != checksum.FullObject || !checksum.Combines(sum.Algorithm):
		return ""
	}
	return sum.Algorithm
}

// checksum is that of the whole object, nil when there is none.
func (a *appending) checksum(sums checksum.Sums, added int64) (*objstore.Checksum, error) {
	alg := a.continued()
	if alg == "" {
		return nil, nil
	}
	sum := sums[alg]
	if a.src.n.Size > 0 {
		old, err := checksum.Parse(alg, a.src.sum.Value)
		if err != nil {
			return nil, a.s.wrap("append", a.req.Key, err)
		}
		if sum, err = checksum.Concat(alg, []checksum.Part{{Sum: old, Size: a.src.n.Size}, {Sum: sum, Size: added}}); err != nil {
			return nil, a.s.wrap("append", a.req.Key, err)
		}
	}
	return &objstore.Checksum{Algorithm: alg, Type: checksum.FullObject, Value: checksum.Format(sum)}, nil
}

// body prepares the ingest. What is small enough to be inline is put before the
// body, since it has no chunks to share; before is how much that is, and does not
// go into the checksums of the body.
func (a *appending) body(ctx context.Context, in *ingest) (body io.Reader, before int64, err error) {
	n := a.src.n
	if n.Content.Layout != record.LayoutInline {
		in.base, in.noSmall = n.Size, n.Size > 0
		return a.req.Body, 0, nil
	}
	var plain []byte
	err = a.s.view(ctx, "append", a.req.Key, func(r reader) error {
		plain, err = r.inlineData(extent.Of(n.Content.ID, a.src.oek))
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	plain = plain[:min(int64(len(plain)), n.Size)]
	if n.Size > extent.MaxInline {
		// A file whose end is a hole: what there is becomes an extent of its own.
		defer clear(plain)
		in.base, in.noSmall = n.Size, true
		piece, err := in.batch.Encrypt(ctx, plain)
		if err != nil {
			return nil, 0, a.s.wrap("append", a.req.Key, err)
		}
		in.maps = append(in.maps, extent.Mapping{Len: uint32(len(plain)), Piece: piece})
		return a.req.Body, 0, nil
	}
	in.unhashed = n.Size
	hole := make([]byte, n.Size-int64(len(plain)))
	return io.MultiReader(bytes.NewReader(plain), bytes.NewReader(hole), a.req.Body), n.Size, nil
}
