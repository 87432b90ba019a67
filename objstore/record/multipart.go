package record

import (
	"encoding/binary"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
)

// Upload is a multipart upload under way. Content carries what the object will
// have: its id and sealed object key exist from the start.
type Upload struct {
	Initiated objstore.Time
	Content   Content // ID, Mode, DEK, SealedOEK, KMSKeyID, BucketKey, ChecksumKey
	Meta      objstore.ObjectMeta
	Algorithm checksum.Algorithm
	Type      checksum.Type
	Tags      map[string]string // of the object
	ETags     objstore.ETagForm // of its parts and of the object: the bucket's when it began
	Lock      objstore.Lock     // of the object, where one was asked for
	// ChecksumKey is the key of Content.ChecksumKey, sealed under the data key of the
	// bucket. It goes with the upload.
	ChecksumKey []byte

	// Found is what the key named when the upload began; may be ignored.
	Found Found
	// Asked is the encryption that the request asked for, not what the bucket's default
	// made of it; may be ignored.
	Asked objstore.AskedSSE
}

// Found is what a key named: 0 when that is not known, 1 for nothing, otherwise
// one more than an inode's number.
type Found uint64

// FoundInode is the Found of an inode, or of none when ino is 0.
func FoundInode(ino objstore.InodeID) Found { return Found(ino) + 1 }

// Append encodes u behind dst.
func (u *Upload) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.int(1, int64(u.Initiated))
	c := &u.Content
	e.bytes(2, c.ID[:])
	e.uint(3, uint64(c.Mode))
	e.uint(4, uint64(c.DEK))
	e.bytes(5, c.SealedOEK)
	e.str(6, c.KMSKeyID)
	e.bool(7, c.BucketKey)
	e.bytes(8, appendMeta(nil, &u.Meta))
	e.str(9, string(u.Algorithm))
	e.str(10, string(u.Type))
	e.uint(11, uint64(u.ETags))
	e.uint(12, uint64(c.OuterDEK))
	e.bytes(13, c.SealedOuter)
	e.bytes(14, c.ChecksumKey)
	e.bytes(15, u.ChecksumKey)
	e.uint(18, uint64(u.Lock.Mode))
	e.int(19, int64(u.Lock.Until))
	e.uint(20, uint64(u.Lock.Hold))
	if len(u.Tags) > 0 {
		e.bytes(21, appendPairs(nil, u.Tags))
	}
	e.uint(85, uint64(u.Found))
	e.uint(86, uint64(u.Asked.Mode))
	e.str(87, u.Asked.KMSKeyID)
	return e.b
}

// ParseUpload parses an upload.
func ParseUpload(b []byte) (*Upload, error) {
	u := &Upload{}
	c := &u.Content
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			u.Initiated = objstore.Time(d.int())
		case 2:
			c.ID = d.id()
		case 3:
			c.Mode = objstore.SSEMode(d.uint8())
		case 4:
			c.DEK = DEKID(d.uint())
		case 5:
			c.SealedOEK = d.copy()
		case 6:
			c.KMSKeyID = d.str()
		case 7:
			c.BucketKey = d.bool()
		case 8:
			u.Meta = *parseMeta(&d)
		case 9:
			u.Algorithm = checksum.Algorithm(d.str())
		case 10:
			u.Type = checksum.Type(d.str())
		case 11:
			u.ETags = d.etagForm()
		case 12:
			c.OuterDEK = DEKID(d.uint())
		case 13:
			c.SealedOuter = d.copy()
		case 14:
			c.ChecksumKey = d.copy()
		case 15:
			u.ChecksumKey = d.copy()
		case 18:
			u.Lock.Mode = objstore.LockMode(d.uint8())
		case 19:
			u.Lock.Until = objstore.Time(d.int())
		case 20:
			u.Lock.Hold = objstore.LegalHold(d.uint8())
		case 21:
			u.Tags = d.pairs()
		case 85:
			u.Found = Found(d.uint())
		case 86:
			u.Asked.Mode = objstore.SSEMode(d.uint8())
		case 87:
			u.Asked.KMSKeyID = d.str()
		default:
			d.unknown()
		}
	}
	if d.err == nil && (!u.Lock.Mode.Known() || !u.Lock.Hold.Known()) {
		d.err = fmt.Errorf("%w: lock", ErrVersion)
	}
	if d.err == nil && (c.ID.IsZero() || c.Mode == 0 || c.Mode > objstore.SSEDSSE || len(c.SealedOEK) == 0 || c.Mode != objstore.SSEDSSE && len(c.SealedOuter) > 0 || u.Asked.Mode > objstore.SSEDSSE) {
		d.fail("upload")
	}
	if d.err != nil {
		return nil, fmt.Errorf("upload: %w", d.err)
	}
	return u, nil
}

// Part is a part of an upload. Its chunks are kept under an id of their own
// until the upload is completed, sealed under the upload's object key.
type Part struct {
	ID           objstore.ContentID
	Size         int64
	Allocated    int64
	ETagSum      [16]byte // MD5 of the bytes, or a keyed hash
	Modified     objstore.Time
	ChecksumAlgo checksum.Algorithm
	Checksum     []byte            // raw; of a part, which is gone when the object exists
	ETags        objstore.ETagForm // what its ETag looks like
}

// Append encodes p behind dst.
func (p *Part) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.bytes(1, p.ID[:])
	e.uint(2, uint64(p.Size))
	e.uint(3, uint64(p.Allocated))
	e.bytes(4, p.ETagSum[:])
	e.int(5, int64(p.Modified))
	e.str(6, string(p.ChecksumAlgo))
	e.bytes(7, p.Checksum)
	e.uint(8, uint64(p.ETags))
	return e.b
}

// ParsePart parses a part.
func ParsePart(b []byte) (*Part, error) {
	p := &Part{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			p.ID = d.id()
		case 2:
			p.Size = d.size()
		case 3:
			p.Allocated = d.size()
		case 4:
			p.ETagSum = d.id()
		case 5:
			p.Modified = objstore.Time(d.int())
		case 6:
			p.ChecksumAlgo = checksum.Algorithm(d.str())
		case 7:
			p.Checksum = d.copy()
		case 8:
			p.ETags = d.etagForm()
		default:
			d.unknown()
		}
	}
	if d.err == nil && (p.ID.IsZero() || p.Size > objstore.MaxPartSize) {
		d.fail("part")
	}
	if d.err != nil {
		return nil, fmt.Errorf("part: %w", d.err)
	}
	return p, nil
}

// PartSizes are the sizes in bytes of a completed content's parts, in order:
// a version byte (1), then unsigned varints.
type PartSizes []int64

// Append encodes s behind dst.
func (s PartSizes) Append(dst []byte) []byte {
	dst = append(dst, version1)
	for _, n := range s {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst
}

// ParsePartSizes parses part sizes.
func ParsePartSizes(b []byte) (PartSizes, error) {
	switch {
	case len(b) == 0:
		return nil, fmt.Errorf("part sizes: %w: empty", ErrCorrupt)
	case b[0] != version1:
		return nil, fmt.Errorf("part sizes: %w: version %d", ErrVersion, b[0])
	}
	var s PartSizes
	for b = b[1:]; len(b) > 0; {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > objstore.MaxPartSize || len(s) == objstore.MaxPartNumber {
			return nil, fmt.Errorf("part sizes: %w", ErrCorrupt)
		}
		s, b = append(s, int64(v)), b[n:]
	}
	return s, nil
}
