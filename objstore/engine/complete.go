package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// CompleteUpload makes the object from its parts, durably, and ends the upload.
// No data is moved: the parts' chunks become the object's. A Complete that is
// repeated after its answer was lost, or sent twice at once, finds the object and
// answers again.
func (s *Store) CompleteUpload(ctx context.Context, c objstore.Caller, req objstore.CompleteRequest) (objstore.ObjectInfo, error) {
	var info objstore.ObjectInfo
	u, err := s.openUpload(ctx, "complete upload", req.Bucket, req.Key, req.Upload)
	if objstore.IsKind(err, objstore.KindNoSuchUpload) {
		return s.completed(ctx, req, err)
	}
	if err != nil {
		return info, err
	}
	oek, err := s.completeOEK(ctx, &u.rec.Content, req)
	if err != nil {
		return info, err
	}
	defer oek.Wipe()
	key, err := s.completeKey(ctx, u, oek)
	if err != nil {
		return info, err
	}
	defer key.Wipe()
	ino, err := s.newInode(ctx)
	if err != nil {
		return info, err
	}
	var rec *record.Inode
	var sum *objstore.Checksum
	var version objstore.VersionID
	err = s.update(ctx, c, "complete upload", req.Key, func(x *tx) error {
		if rec, sum, err = x.joinUpload(u, req, key); err != nil {
			return err
		}
		if err := x.setTags(ino, rec, tagsOfRecord(u.rec.Tags)); err != nil {
			return err
		}
		version, err = x.publish(u.root, req.Key, ino, rec)
		return err
	})
	if objstore.IsKind(err, objstore.KindNoSuchUpload) { // another Complete was first
		return s.completed(ctx, req, err)
	}
	if err != nil {
		return info, err
	}
	if err := s.durable(context.WithoutCancel(ctx)); err != nil {
		return info, err
	}
	info = s.describe(req.Bucket, req.Key, ino, rec, sum)
	info.Version = version
	return info, nil
}

// joinUpload makes an inode of an upload's parts, which has no place yet, and removes the
// upload. key seals the checksum of the object, sum; without it there is none.
func (x *tx) joinUpload(u *upload, req objstore.CompleteRequest, key *secret.Key) (n *record.Inode, sum *objstore.Checksum, err error) {
	if _, err := x.upload("complete upload", req.Bucket, req.Key, req.Upload); err != nil {
		return nil, nil, err
	}
	if err := x.checkComplete(u, req); err != nil {
		return nil, nil, err
	}
	parts, err := x.chosenParts(u, req)
	if err != nil {
		return nil, nil, err
	}
	content := u.rec.Content
	content.PartCount = uint32(len(parts))
	if u.rec.ETags == objstore.ETagsMD5 {
		if plainETags(content.Mode) {
			content.ETag, content.ETagSum = record.ETagMultipart, md5Of(parts)
		} else {
			randomETag(&content)
		}
	}
	if sum, err = u.checksum(parts, req); err != nil {
		return nil, nil, err
	}
	if key == nil {
		sum = nil
	}
	if sum != nil {
		sealChecksumUnder(&content, key, *sum)
	} else {
		content.ChecksumKey = nil
	}
	size, err := x.joinParts(u, parts, askedParts(req.Parts), sum, key)
	if err != nil {
		return nil, nil, err
	}
	if req.Size >= 0 && req.Size != size {
		return nil, nil, objstore.E(objstore.KindInvalidRequest, "complete upload", req.Key, "The provided 'x-amz-mp-object-size' header does not match what was computed.")
	}
	content.Layout = record.LayoutChunks
	if size == 0 {
		content.Layout = record.LayoutEmpty
	}
	n = newObject(content, size, u.rec.Meta)
	n.Atime, n.Mtime, n.Ctime, n.Btime = x.now, x.now, x.now, x.now
	n.Lock = u.rec.Lock
	x.txn.Delete(record.UploadKey(u.root, req.Key, u.id))
	keep := make(map[int]bool, len(req.Parts))
	for _, p := range req.Parts {
		keep[p.Number] = true
	}
	return n, sum, x.dropParts(u.id, keep)
}

// checkComplete checks the conditions of a Complete. One that holds only because
// of what happened to the key since the upload began is a conflict, as AWS has it:
// whoever completes does not know of that.
func (x *tx) checkComplete(u *upload, req objstore.CompleteRequest) error {
	if err := x.checkWrite(u.root, req.Key, req.Precondition); err != nil || req.Precondition.IsZero() || u.rec.Found == 0 {
		return err
	}
	ino, _, err := x.findKey(u.root, req.Key)
	if err != nil && !objstore.IsKind(err, objstore.KindNotFound) {
		return err
	}
	if record.FoundInode(ino) != u.rec.Found {
		return objstore.E(objstore.KindConflict, "complete upload", req.Key, "the object changed since the upload began")
	}
	return nil
}

// askedParts is the hash by which a Complete that is repeated is known: what
// decides which parts an object is made of.
func askedParts(parts []objstore.CompletePart) [16]byte {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d %s\n", p.Number, strings.Trim(string(p.ETag), `"`))
	}
	return [16]byte(h.Sum(nil)[:16])
}

// completed answers a Complete whose upload is gone: with the object, when it
// is what the upload became of the same parts.
func (s *Store) completed(ctx context.Context, req objstore.CompleteRequest, gone error) (objstore.ObjectInfo, error) {
	var info objstore.ObjectInfo
	id, ok := uploadID(req.Upload)
	if !ok {
		return info, gone
	}
	var ino objstore.InodeID
	var n *record.Inode
	var b *record.Bucket
	var parts *record.Parts
	err := s.view(ctx, "complete upload", req.Key, func(r reader) error {
		root, err := r.bucketRoot(req.Bucket)
		if err == nil {
			ino, n, b, err = r.findObject(s, "complete upload", root, req.Key, "")
		}
		if err == nil {
			parts, err = r.parts(n)
		}
		return err
	})
	// A content that was changed since has no parts any more.
	if err != nil || n.Content.ID != objstore.ContentID(id) || parts == nil {
		return info, gone
	}
	if parts.Asked != ([16]byte{}) && parts.Asked != askedParts(req.Parts) {
		return info, gone
	}
	oek, err := s.completeOEK(ctx, &n.Content, req)
	if err != nil {
		return info, err
	}
	defer oek.Wipe()
	if info, err = s.info(req.Bucket, req.Key, ino, n, oek); err != nil {
		return info, err
	}
	info.Version = s.versionOf(b, n)
	return info, s.durable(context.WithoutCancel(ctx)) // the other Complete may still be at it
}

// completeOEK opens the object key for Complete, where it is at hand: AWS asks for no
// customer's key here, and without it the result is nil.
func (s *Store) completeOEK(ctx context.Context, c *record.Content, req objstore.CompleteRequest) (*extent.Keys, error) {
	customer := req.CustomerKey.CustomerKey
	if c.Mode == objstore.SSEC && customer == nil {
		return nil, nil
	}
	if c.Mode != objstore.SSEC && customer != nil {
		return nil, objstore.E(objstore.KindInvalidRequest, "complete upload", req.Key, partParameters)
	}
	oek, err := s.openOEK(ctx, c, customer)
	if objstore.IsKind(err, objstore.KindWrongKey) {
		err = objstore.E(objstore.KindInvalidRequest, "complete upload", req.Key, otherParameters)
	}
	return oek, err
}

// chosenParts reads the parts that a Complete names and checks them.
func (x *tx) chosenParts(u *upload, req objstore.CompleteRequest) ([]*record.Part, error) {
	fail := func(kind objstore.Kind, msg string) error {
		return objstore.E(kind, "complete upload", req.Key, msg)
	}
	if len(req.Parts) == 0 || len(req.Parts) > objstore.MaxPartNumber {
		return nil, fail(objstore.KindInvalidArgument, "you must specify at least one part")
	}
	keys := make([][]byte, len(req.Parts))
	for i, p := range req.Parts {
		if i > 0 && p.Number <= req.Parts[i-1].Number {
			return nil, fail(objstore.KindInvalidPartOrder, "")
		}
		if p.Number < 1 || p.Number > objstore.MaxPartNumber {
			return nil, fail(objstore.KindInvalidPart, "")
		}
		keys[i] = record.PartKey(u.id, p.Number)
	}
	vals, err := x.GetMany(keys)
	if err != nil {
		return nil, err
	}
	parts := make([]*record.Part, len(vals))
	for i, v := range vals {
		if v == nil {
			return nil, fail(objstore.KindInvalidPart, fmt.Sprintf("part %d was not uploaded", req.Parts[i].Number))
		}
		p, err := record.ParsePart(v)
		if err != nil {
			return nil, err
		}
		if strings.Trim(string(req.Parts[i].ETag), `"`) != string(partInfo(0, p).ETag) {
			return nil, fail(objstore.KindInvalidPart, fmt.Sprintf("part %d has another ETag", req.Parts[i].Number))
		}
		if want := req.Parts[i].Checksum; want != nil {
			if want.Algorithm != p.ChecksumAlgo || want.Value != checksum.Format(p.Checksum) {
				return nil, fail(objstore.KindInvalidPart, fmt.Sprintf("part %d has another checksum", req.Parts[i].Number))
			}
		}
		parts[i] = p
	}
	for i, p := range parts[:len(parts)-1] {
		if p.Size < objstore.MinPartSize {
			return nil, &objstore.Error{
				Kind: objstore.KindPartTooSmall, Op: "complete upload", What: req.Key,
				Msg: fmt.Sprintf("part %d has %d bytes", req.Parts[i].Number, p.Size),
			}
		}
	}
	return parts, nil
}

// checksum is that of the whole object, nil when a part has none.
func (u *upload) checksum(parts []*record.Part, req objstore.CompleteRequest) (*objstore.Checksum, error) {
	alg, typ := u.algorithm(), u.rec.Type
	if typ == "" {
		typ = checksum.DefaultType(alg)
	}
	sums := make([][]byte, len(parts))
	sized := make([]checksum.Part, len(parts))
	for i, p := range parts {
		if p.ChecksumAlgo != alg || len(p.Checksum) == 0 {
			return nil, nil
		}
		sums[i] = p.Checksum
		sized[i] = checksum.Part{Sum: p.Checksum, Size: p.Size}
	}
	var sum []byte
	var err error
	count := 0
	if typ == checksum.Composite {
		count = len(parts)
		sum, err = checksum.Compose(alg, sums)
	} else {
		sum, err = checksum.Concat(alg, sized)
	}
	if err != nil {
		return nil, objstore.Wrap(objstore.KindInvalidRequest, "complete upload", req.Key, err)
	}
	c := &objstore.Checksum{Algorithm: alg, Type: typ, Value: checksum.FormatObject(sum, count)}
	if w := req.Checksum; w != nil && (w.Algorithm != alg || strings.TrimSuffix(w.Value, fmt.Sprintf("-%d", len(parts))) != checksum.Format(sum)) {
		return nil, objstore.E(objstore.KindBadDigest, "complete upload", req.Key, fmt.Sprintf("The %s you specified did not match the calculated checksum.", alg.Lower()))
	}
	return c, nil
}

// joinParts makes the parts' chunks the content's and returns its size. With a
// composite checksum those of the parts are kept, too.
func (x *tx) joinParts(u *upload, parts []*record.Part, asked [16]byte, sum *objstore.Checksum, key *secret.Key) (int64, error) {
	e := x.s.extents.Edit(x.txn)
	dst := extent.Of(u.rec.Content.ID, nil)
	size := int64(0)
	joined := record.Parts{Sizes: make(record.PartSizes, len(parts)), Asked: asked}
	var sums []byte
	for i, p := range parts {
		if err := e.Move(dst, u.part(p.ID, nil), size); err != nil {
			return 0, err
		}
		joined.Sizes[i] = p.Size
		sums = append(sums, p.Checksum...)
		size += p.Size
	}
	if size > objstore.MaxFileSize {
		return 0, objstore.E(objstore.KindTooLarge, "complete upload", "", "object would be over 64 TiB")
	}
	if sum != nil && sum.Type == checksum.Composite {
		sealPartSums(&u.rec.Content, key, sum.Algorithm, sums, &joined)
	}
	x.txn.Set(record.PartsKey(dst.Refs), joined.Append(nil))
	return size, e.Finish()
}

// ListParts returns one page of an upload's parts.
func (s *Store) ListParts(ctx context.Context, c objstore.Caller, req objstore.ListPartsRequest) (objstore.ListPartsResult, error) {
	var res objstore.ListPartsResult
	err := s.view(ctx, "list parts", req.Key, func(r reader) error {
		res = objstore.ListPartsResult{}
		u, err := r.upload("list parts", req.Bucket, req.Key, req.Upload)
		if err != nil {
			return err
		}
		res.Upload = u.info(s, req.Bucket, req.Key)
		if req.After >= objstore.MaxPartNumber {
			return nil
		}
		rng := meta.Prefix(record.PartPrefix(u.id))
		rng.Start = record.PartKey(u.id, max(req.After, 0)+1)
		for p, err := range r.Scan(rng) {
			if err != nil {
				return err
			}
			if len(res.Parts) == req.Max {
				res.Truncated = true
				break
			}
			number, part, err := parsePart(p)
			if err != nil {
				return err
			}
			res.Parts = append(res.Parts, partInfo(number, part))
			res.Next = number
		}
		return nil
	})
	return res, err
}

// ListUploads returns one page of a bucket's uploads.
func (s *Store) ListUploads(ctx context.Context, c objstore.Caller, req objstore.ListUploadsRequest) (objstore.ListUploadsResult, error) {
	var res objstore.ListUploadsResult
	err := s.view(ctx, "list uploads", req.Bucket, func(r reader) error {
		res = objstore.ListUploadsResult{}
		root, err := r.bucketRoot(req.Bucket)
		if err != nil {
			return err
		}
		return r.listUploads(s, root, s.uploadTag(root, req.KeyMarker), req, &res)
	})
	return res, err
}

// listUploads reads a page; tag is that of the marker's key.
func (r reader) listUploads(s *Store, root objstore.InodeID, tag [4]byte, req objstore.ListUploadsRequest, res *objstore.ListUploadsResult) error {
	rng := meta.Prefix(record.UploadPrefix(root, req.Prefix))
	switch {
	case req.KeyMarker == "":
	case req.UploadMarker == "" && req.Delimiter != "" && strings.HasSuffix(req.KeyMarker, req.Delimiter):
		rng.Start = maxKey(rng.Start, meta.PrefixEnd(record.UploadPrefix(root, req.KeyMarker)))
	case req.UploadMarker == "":
		// Behind every upload of that key: keys have no NUL, and 1 is next to it.
		rng.Start = maxKey(rng.Start, append(record.UploadPrefix(root, req.KeyMarker), 1))
	default:
		id, err := r.uploadMarker(root, tag, req)
		if err != nil {
			return err
		}
		rng.Start = maxKey(rng.Start, append(record.UploadKey(root, req.KeyMarker, id), 0))
	}
	for {
		again := false
		for p, err := range r.Scan(rng) {
			if err != nil {
				return err
			}
			if len(res.Uploads)+len(res.Prefixes) >= req.Max {
				res.Truncated = true
				return nil
			}
			key, id, err := record.ParseUploadKey(p.Key)
			if err != nil {
				return err
			}
			if req.Delimiter != "" {
				if i := strings.Index(key[len(req.Prefix):], req.Delimiter); i >= 0 {
					prefix := key[:len(req.Prefix)+i+len(req.Delimiter)]
					res.Prefixes = append(res.Prefixes, prefix)
					res.NextKey, res.NextUpload = prefix, ""
					rng.Start = meta.PrefixEnd(record.UploadPrefix(root, prefix))
					again = true
					break
				}
			}
			rec, err := record.ParseUpload(p.Value)
			if err != nil {
				return err
			}
			info := (&upload{root, id, rec}).info(s, req.Bucket, key)
			res.Uploads = append(res.Uploads, info)
			res.NextKey, res.NextUpload = key, info.ID
		}
		if !again {
			return nil
		}
	}
}

// uploadMarker is the marker of a page of uploads. It must be of an upload of that
// key, though not of one that is still under way.
func (r reader) uploadMarker(root objstore.InodeID, tag [4]byte, req objstore.ListUploadsRequest) (record.UploadID, error) {
	id, ok := uploadID(req.UploadMarker)
	if ok && [4]byte(id[8:12]) != tag {
		// Or of one that was begun before ids had tags.
		_, err := r.Get(record.UploadKey(root, req.KeyMarker, id))
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			return id, err
		}
		ok = err == nil
	}
	if !ok {
		return id, objstore.E(objstore.KindInvalidArgument, "list uploads", string(req.UploadMarker), "Invalid uploadId marker")
	}
	return id, nil
}

func maxKey(a, b []byte) []byte {
	if string(a) > string(b) {
		return a
	}
	return b
}
