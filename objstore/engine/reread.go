package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// rereadLimit is how many bytes of its source a copy reads at most to have the
// MD5 and the checksum that AWS computes of each copy. Beyond it a copy takes
// milliseconds whatever its size, and keeps what the source has.
const rereadLimit = 16 << 20

// reread computes sums of a copy's source, or of a range of it. errLostRace: it
// is no longer what it was.
func (s *Store) reread(ctx context.Context, get objstore.GetRequest, from *record.Content, algs ...checksum.Algorithm) (checksum.Sums, error) {
	h, err := checksum.New(algs...)
	if err != nil {
		return nil, objstore.Wrap(objstore.KindInvalidArgument, "copy", get.Key, err)
	}
	err = s.GetObject(ctx, objstore.Caller{}, get, func(o *Object) error {
		if o.n.Content.ID != from.ID || o.n.Content.Gen != from.Gen {
			return errLostRace
		}
		_, err := o.WriteTo(h)
		return err
	})
	if err != nil {
		return nil, err
	}
	return h.Sums(), nil
}

// copyOfParts gives the copy of an object that was uploaded in parts the ETag
// and checksum of an object of one part, as AWS does.
func (s *Store) copyOfParts(ctx context.Context, get objstore.GetRequest, alg checksum.Algorithm, src *source, c *record.Content, oek *extent.Keys) error {
	if alg == "" {
		if alg = checksum.CRC64NVME; src.sum != nil {
			alg = src.sum.Algorithm
		}
	}
	sums, err := s.reread(ctx, get, &src.n.Content, checksum.MD5, alg)
	if err != nil {
		return err
	}
	setETag(c, oek, record.ETagMD5, [16]byte(sums[checksum.MD5]))
	sealSum(c, oek, alg, sums)
	return nil
}

// describePart gives a part that is a copy its ETag and checksum: those of a
// source that is copied whole, otherwise what reading it tells. A part of more
// than rereadLimit is read only if the upload was begun with an algorithm, whose
// sums the client must name to complete it.
func (s *Store) describePart(ctx context.Context, u *upload, src *source, off int64, part *record.Part) error {
	part.ETagSum = s.keyedSum(part.ID, 0)
	whole := off == 0 && part.Size == src.n.Size
	var algs []checksum.Algorithm
	wantsETag := false
	if part.ETags == objstore.ETagsMD5 && plainETags(u.rec.Content.Mode) {
		if whole && src.n.Content.ETag == record.ETagMD5 {
			part.ETagSum = src.n.Content.ETagSum
		} else {
			wantsETag, algs = true, append(algs, checksum.MD5)
		}
	}
	alg := u.algorithm()
	if whole && src.sum != nil && src.sum.Algorithm == alg && src.sum.Type == checksum.FullObject {
		if b, err := checksum.Parse(alg, src.sum.Value); err == nil {
			part.ChecksumAlgo, part.Checksum = alg, b
		}
	}
	if part.Checksum == nil {
		algs = append(algs, alg)
	}
	if len(algs) == 0 || part.Size > rereadLimit && (u.rec.Algorithm == "" || part.Checksum != nil) {
		return nil
	}
	get := src.get
	get.NoChecksum = true
	if !whole {
		get.Range = &objstore.Range{First: off, Last: off + part.Size - 1}
	}
	sums, err := s.reread(ctx, get, &src.n.Content, algs...)
	if err != nil {
		return err
	}
	if wantsETag {
		part.ETagSum = [16]byte(sums[checksum.MD5])
	}
	if sum := sums[alg]; sum != nil {
		part.ChecksumAlgo, part.Checksum = alg, sum
	}
	return nil
}
