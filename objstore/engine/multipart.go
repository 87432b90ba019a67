package engine

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// An upload's id is the id of the content that it will become: a repeated
// Complete finds the object by it.

func uploadID(id objstore.UploadID) (u record.UploadID, ok bool) {
	b, err := hex.DecodeString(string(id))
	if err != nil || len(b) != len(u) || hex.EncodeToString(b) != string(id) {
		return u, false
	}
	copy(u[:], b)
	return u, true
}

// uploadTag returns the four bytes that the ids of all uploads of a key have behind
// their time. A listing may go on from the id of an upload that has ended meanwhile: the
// tag tells that it was one of this key, and not one of another.
func (s *Store) uploadTag(root objstore.InodeID, key string) (tag [4]byte) {
	sum := sha256.Sum256([]byte(key))
	full := s.keyedSum([16]byte(sum[:16]), uint64(root))
	return [4]byte(full[:4])
}

func noUpload(op string, id objstore.UploadID) error {
	return objstore.E(objstore.KindNoSuchUpload, op, string(id), "")
}

// upload is an upload under way and its place.
type upload struct {
	root objstore.InodeID
	id   record.UploadID
	rec  *record.Upload
}

// upload finds an upload by its place.
func (r reader) upload(op, bucket, key string, id objstore.UploadID) (*upload, error) {
	root, err := r.bucketRoot(bucket)
	if err != nil {
		return nil, err
	}
	u, ok := uploadID(id)
	if !ok {
		return nil, noUpload(op, id)
	}
	v, err := r.Get(record.UploadKey(root, key, u))
	if errors.Is(err, meta.ErrNotFound) {
		return nil, noUpload(op, id)
	}
	if err != nil {
		return nil, err
	}
	rec, err := record.ParseUpload(v)
	return &upload{root, u, rec}, err
}

func (s *Store) openUpload(ctx context.Context, op, bucket, key string, id objstore.UploadID) (u *upload, err error) {
	if err := objstore.CheckKey(op, key); err != nil {
		return nil, err
	}
	err = s.view(ctx, op, key, func(r reader) error {
		u, err = r.upload(op, bucket, key, id)
		return err
	})
	return u, err
}

func (u *upload) info(s *Store, bucket, key string) objstore.UploadInfo {
	return objstore.UploadInfo{
		Bucket: bucket, Key: key, ID: objstore.UploadID(hex.EncodeToString(u.id[:])),
		Initiated: u.rec.Initiated, Meta: u.rec.Meta,
		SSE: s.sseInfo(&u.rec.Content), Asked: u.rec.Asked,
		Algorithm: u.rec.Algorithm, Type: u.rec.Type, Lock: u.rec.Lock,
	}
}

// algorithm is the one whose checksum every part gets: what the upload asked
// for, or S3's default.
func (u *upload) algorithm() checksum.Algorithm {
	if u.rec.Algorithm == "" {
		return checksum.CRC64NVME
	}
	return u.rec.Algorithm
}

// CreateUpload begins a multipart upload, durably. The future content and its
// object key exist from here on.
func (s *Store) CreateUpload(ctx context.Context, c objstore.Caller, req objstore.CreateUploadRequest) (objstore.UploadInfo, error) {
	var info objstore.UploadInfo
	if err := checkPut("create upload", req.Key, req.Encryption, &req.Meta, req.Tags); err != nil {
		return info, err
	}
	root, etags, err := s.openTarget(ctx, "create upload", req.Bucket)
	if err != nil {
		return info, err
	}
	u := &upload{root: root, rec: &record.Upload{
		// Not the clock of stamps: uploads of one key are told apart, and sorted, by it.
		Initiated: objstore.TimeOf(s.o.Now()), Meta: req.Meta, Tags: tagRecord(req.Tags), Algorithm: req.Algorithm, Type: req.Type,
		Content: record.Content{ID: newContentID(), Gen: 1}, ETags: etags,
		Lock: req.Lock, Asked: objstore.AskedSSE{Mode: req.Encryption.Mode, KMSKeyID: req.Encryption.KMSKeyID},
	}}
	binary.BigEndian.PutUint64(u.rec.Content.ID[:8], uint64(u.rec.Initiated))
	tag := s.uploadTag(root, req.Key)
	copy(u.rec.Content.ID[8:], tag[:])
	u.id = record.UploadID(u.rec.Content.ID)
	oek, err := s.newOEK(ctx, root, req.Encryption, &u.rec.Content)
	if err != nil {
		return info, err
	}
	if u.rec.Content.Mode == objstore.SSEC && req.Algorithm != "" {
		err = s.newChecksumKey(ctx, u, oek)
	}
	oek.Wipe()
	if err != nil {
		return info, err
	}
	err = s.update(ctx, c, "create upload", req.Key, func(x *tx) error {
		if _, err := x.bucketRoot(req.Bucket); err != nil {
			return err
		}
		ino, _, err := x.findKey(root, req.Key)
		if err != nil && !objstore.IsKind(err, objstore.KindNotFound) {
			return err
		}
		u.rec.Found = record.FoundInode(ino)
		if req.Lock != (objstore.Lock{}) {
			b, err := x.settings(root)
			if err != nil {
				return x.removedBucket("create upload", root, err)
			}
			if !b.Lock.Enabled {
				return objstore.E(objstore.KindNoObjectLock, "create upload", req.Key, "")
			}
		}
		x.txn.Set(record.UploadKey(root, req.Key, u.id), u.rec.Append(nil))
		return nil
	})
	if err != nil {
		return info, err
	}
	return u.info(s, req.Bucket, req.Key), s.durable(context.WithoutCancel(ctx))
}

func checkPartNumber(op, key string, n int) error {
	if n < 1 || n > objstore.MaxPartNumber {
		return objstore.E(objstore.KindInvalidArgument, op, key, "part number must be an integer between 1 and 10000, inclusive")
	}
	return nil
}

// UploadPart stores a part, durably.
func (s *Store) UploadPart(ctx context.Context, c objstore.Caller, req objstore.UploadPartRequest) (objstore.PartInfo, objstore.UploadInfo, error) {
	var info objstore.PartInfo
	var up objstore.UploadInfo
	if err := checkPartNumber("upload part", req.Key, req.Number); err != nil {
		return info, up, err
	}
	if req.Size > objstore.MaxPartSize {
		return info, up, objstore.E(objstore.KindTooLarge, "upload part", req.Key, "part is over 5 GiB")
	}
	u, oek, err := s.openUploadKey(ctx, "upload part", req.Bucket, req.Key, req.Upload, req.Encryption)
	if err != nil {
		return info, up, err
	}
	defer oek.Wipe()
	up = u.info(s, req.Bucket, req.Key)
	part := record.Part{ID: newContentID(), ChecksumAlgo: u.algorithm(), ETags: u.rec.ETags}
	form := part.ETags
	if !plainETags(u.rec.Content.Mode) {
		form = objstore.ETagsOpaque // no MD5 is shown
	}
	in, err := s.newIngest(u.part(part.ID, oek), form, append(req.Algorithms, part.ChecksumAlgo))
	if err != nil {
		return info, up, err
	}
	defer in.close()
	in.noSmall = true
	if err := in.read(ctx, req.Body, req.Size); err != nil {
		return info, up, s.bodyError(ctx, req.Key, err)
	}
	if in.size > objstore.MaxPartSize {
		return info, up, objstore.E(objstore.KindTooLarge, "upload part", req.Key, "part is over 5 GiB")
	}
	sums, err := in.sums(req.Verify)
	if err != nil {
		return info, up, err
	}
	part.Size, part.Allocated = in.size, in.size
	part.Checksum = sums[part.ChecksumAlgo]
	if form == objstore.ETagsMD5 {
		part.ETagSum = [16]byte(sums[checksum.MD5])
	} else {
		part.ETagSum = s.keyedSum(part.ID, 0)
	}
	err = s.update(ctx, c, "upload part", req.Key, func(x *tx) error {
		if _, err := in.finish(x); err != nil {
			return err
		}
		return x.putPart(u, req.Bucket, req.Key, req.Number, &part)
	})
	if err != nil {
		return info, up, err
	}
	in.marked = false
	return partInfo(req.Number, &part), up, s.durable(context.WithoutCancel(ctx))
}

// openUploadKey finds an upload and opens its object key.
func (s *Store) openUploadKey(ctx context.Context, op, bucket, key string, id objstore.UploadID, e objstore.Encryption) (*upload, *extent.Keys, error) {
	u, err := s.openUpload(ctx, op, bucket, key, id)
	if err != nil {
		return nil, nil, err
	}
	if (u.rec.Content.Mode == objstore.SSEC) != (e.CustomerKey != nil) {
		return nil, nil, objstore.E(objstore.KindInvalidRequest, op, key, partParameters)
	}
	oek, err := s.openOEK(ctx, &u.rec.Content, e.CustomerKey)
	if objstore.IsKind(err, objstore.KindWrongKey) {
		err = objstore.E(objstore.KindInvalidRequest, op, key, otherParameters)
	}
	return u, oek, err
}

// part is the content of a part: its chunks are kept under its own id and bound
// to the content that the upload becomes.
func (u *upload) part(id objstore.ContentID, oek *extent.Keys) extent.Content {
	return extent.Content{Refs: id, Bound: u.rec.Content.ID, OEK: oek}
}

// putPart records a part, in the place of one of the same number. The upload
// must still be under way.
func (x *tx) putPart(u *upload, bucket, key string, number int, p *record.Part) error {
	if _, err := x.upload("upload part", bucket, key, objstore.UploadID(hex.EncodeToString(u.id[:]))); err != nil {
		return err
	}
	e := x.s.extents.Edit(x.txn)
	if err := e.TrimTail(u.part(p.ID, nil), p.Size); err != nil {
		return err
	}
	if err := e.Finish(); err != nil {
		return err
	}
	k := record.PartKey(u.id, number)
	v, err := x.Get(k)
	if err == nil {
		old, err := record.ParsePart(v)
		if err != nil {
			return err
		}
		x.txn.Set(record.GarbageKey(old.ID), []byte{1})
		x.reap = true
	} else if !errors.Is(err, meta.ErrNotFound) {
		return err
	}
	p.Modified = x.now
	x.txn.Set(k, p.Append(nil))
	return nil
}

func partInfo(number int, p *record.Part) objstore.PartInfo {
	info := objstore.PartInfo{Number: number, Size: p.Size, ETag: objstore.ETag(hex.EncodeToString(p.ETagSum[:])), LastModified: p.Modified}
	if p.ETags == objstore.ETagsOpaque {
		info.ETag = opaqueETag(p.ETagSum, 0)
	}
	if len(p.Checksum) > 0 {
		info.Checksum = &objstore.Checksum{Algorithm: p.ChecksumAlgo, Type: checksum.FullObject, Value: checksum.Format(p.Checksum)}
	}
	return info
}

// CopyPart makes a part of another object's range, sharing its chunks, durably.
// A large range is not read: the part then has a keyed hash for its ETag and no
// checksum (see describePart).
func (s *Store) CopyPart(ctx context.Context, c objstore.Caller, req objstore.CopyPartRequest) (objstore.PartInfo, objstore.UploadInfo, error) {
	for try := 1; ; try++ {
		info, up, err := s.copyPartOnce(ctx, c, req)
		if !errors.Is(err, errLostRace) {
			return info, up, err
		}
		if try == copyTries {
			return info, up, objstore.E(objstore.KindConflict, "copy part", req.SrcKey, "the source keeps changing")
		}
	}
}

func (s *Store) copyPartOnce(ctx context.Context, c objstore.Caller, req objstore.CopyPartRequest) (objstore.PartInfo, objstore.UploadInfo, error) {
	var info objstore.PartInfo
	var up objstore.UploadInfo
	if err := checkPartNumber("copy part", req.Key, req.Number); err != nil {
		return info, up, err
	}
	u, oek, err := s.openUploadKey(ctx, "copy part", req.Bucket, req.Key, req.Upload, req.Encryption)
	if err != nil {
		return info, up, err
	}
	defer oek.Wipe()
	up = u.info(s, req.Bucket, req.Key)
	src, err := s.openSource(ctx, objstore.GetRequest{
		Bucket: req.SrcBucket, Key: req.SrcKey, Version: req.SrcVersion, Precondition: req.SrcPrecondition, CustomerKey: req.SrcCustomerKey,
	})
	if err != nil {
		return info, up, err
	}
	defer src.oek.Wipe()
	if err := s.checkArchived(req.SrcKey, src.n); err != nil {
		return info, up, err
	}
	off, size, err := copiedRange(&req, src.n.Size)
	if err != nil {
		return info, up, err
	}
	part := record.Part{ID: newContentID(), Size: size, Allocated: size, ETags: u.rec.ETags}
	if err := s.describePart(ctx, u, src, off, &part); err != nil {
		return info, up, err
	}
	cp := &share{
		s: s, dst: u.part(part.ID, oek), src: extent.Of(src.n.Content.ID, src.oek),
		srcOff: off, size: size, layout: src.n.Content.Layout, part: true,
		from: &src.n.Content, get: src.get,
	}
	s.busy.add(part.ID)
	defer cp.close()
	batch := s.extents.NewBatchOf(oek.Two())
	defer batch.Release()
	var small []extent.Mapping
	if cp.layout == record.LayoutInline {
		if small, err = s.copySmall(ctx, batch, src, cp); err != nil {
			return info, up, err
		}
		cp.layout = record.LayoutEmpty
	} else if oek.Two() != src.oek.Two() {
		if err := cp.steps(ctx); err != nil {
			return info, up, err
		}
	}
	err = s.update(ctx, c, "copy part", req.Key, func(x *tx) error {
		return x.putCopiedPart(req, u, src, cp, small, &part)
	})
	if err != nil {
		return info, up, err
	}
	cp.done()
	info = partInfo(req.Number, &part)
	info.SourceVersion = src.version
	return info, up, s.durable(context.WithoutCancel(ctx))
}

// putCopiedPart shares what cp has left, maps what was copied of a small source, and
// makes both the upload's part.
func (x *tx) putCopiedPart(req objstore.CopyPartRequest, u *upload, src *source, cp *share, small []extent.Mapping, part *record.Part) error {
	from, now, err := x.same(x.s, src)
	if err != nil {
		return err
	}
	if err := x.checked(x.s, from, now, req.CheckSource); err != nil {
		return err
	}
	if len(small) > 0 {
		e := x.s.extents.Edit(x.txn)
		if err := e.Map(cp.dst, small); err != nil {
			return err
		}
		if err := e.Finish(); err != nil {
			return err
		}
	}
	if err := cp.finish(x); err != nil {
		return err
	}
	return x.putPart(u, req.Bucket, req.Key, req.Number, part)
}

// copiedRange returns the place and the length of what a CopyPart copies of a source of
// that size. KindInvalidRange, KindTooLarge.
func copiedRange(req *objstore.CopyPartRequest, source int64) (off, size int64, err error) {
	size = source
	if r := req.SrcRange; r != nil {
		if r.First < 0 || r.Last < r.First || r.Last >= source {
			return 0, 0, objstore.E(objstore.KindInvalidRange, "copy part", req.SrcKey, "the range is not within the source")
		}
		off, size = r.First, r.Last-r.First+1
	}
	if size > objstore.MaxPartSize {
		return 0, 0, objstore.E(objstore.KindTooLarge, "copy part", req.Key, "part is over 5 GiB")
	}
	return off, size, nil
}

// copySmall encrypts the wanted range of a source that is kept inline: parts
// are made of extents.
func (s *Store) copySmall(ctx context.Context, batch *extent.Batch, src *source, cp *share) ([]extent.Mapping, error) {
	var plain []byte
	err := s.view(ctx, "copy part", src.get.Key, func(r reader) error {
		// What was replaced since has no data any more.
		_, _, err := r.same(s, src)
		if err == nil {
			plain, err = r.inlineData(cp.src)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	// A file can have been extended far behind its data.
	out := plain[min(cp.srcOff, int64(len(plain))):min(cp.srcOff+cp.size, int64(len(plain)))]
	if len(out) == 0 {
		return nil, nil
	}
	piece, err := batch.Encrypt(ctx, out)
	if err != nil {
		return nil, s.wrap("copy part", src.get.Key, err)
	}
	return []extent.Mapping{{Len: uint32(len(out)), Piece: piece}}, nil
}

// AbortUpload ends an upload and frees its parts, durably.
func (s *Store) AbortUpload(ctx context.Context, c objstore.Caller, bucket, key string, id objstore.UploadID) error {
	if err := objstore.CheckKey("abort upload", key); err != nil {
		return err
	}
	err := s.update(ctx, c, "abort upload", key, func(x *tx) error {
		u, err := x.upload("abort upload", bucket, key, id)
		if err != nil {
			return err
		}
		x.txn.Delete(record.UploadKey(u.root, key, u.id))
		return x.dropParts(u.id, nil)
	})
	if err != nil {
		return err
	}
	return s.durable(context.WithoutCancel(ctx))
}

// parsePart parses a part's number and record.
func parsePart(p meta.Pair) (number int, part *record.Part, err error) {
	if number, err = record.ParsePartKey(p.Key); err == nil {
		part, err = record.ParsePart(p.Value)
	}
	return number, part, err
}

// dropParts removes an upload's parts; the chunks of those not in keep are freed.
func (x *tx) dropParts(id record.UploadID, keep map[int]bool) error {
	for p, err := range x.Scan(meta.Prefix(record.PartPrefix(id))) {
		if err != nil {
			return err
		}
		number, part, err := parsePart(p)
		if err != nil {
			return err
		}
		x.txn.Delete(append([]byte(nil), p.Key...))
		if !keep[number] {
			x.txn.Set(record.GarbageKey(part.ID), []byte{1})
			x.reap = true
		}
	}
	return nil
}

// md5Of is the MD5 of what the parts' ETags are made of, which makes a multipart
// ETag.
func md5Of(parts []*record.Part) [16]byte {
	h := md5.New()
	for _, p := range parts {
		h.Write(p.ETagSum[:])
	}
	return [16]byte(h.Sum(nil))
}
