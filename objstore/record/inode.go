package record

import (
	"fmt"
	"sort"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
)

// Layout says where a content's bytes are.
type Layout uint8

// On disk.
const (
	LayoutEmpty  Layout = 0 // there are none: all holes
	LayoutInline Layout = 1 // in one sealed record
	LayoutChunks Layout = 2 // in extents
)

// ETagKind says what a content's ETag is.
type ETagKind uint8

// On disk.
const (
	ETagKeyed     ETagKind = 0 // keyed hash of content id and generation, "-1": written through the mount, or in a bucket of opaque ETags
	ETagMD5       ETagKind = 1 // MD5 of the bytes
	ETagMultipart ETagKind = 2 // MD5 of the parts' MD5s, "-N"
	ETagRandom    ETagKind = 3 // 128 random bits: SSE-C, SSE-KMS
)

// Inode is the record of a file, directory or special file.
type Inode struct {
	Type   objstore.FileType
	Mode   uint32 // 07777
	UID    uint32
	GID    uint32
	Nlink  uint32
	Rdev   uint32
	Size   int64
	Atime  objstore.Time
	Mtime  objstore.Time
	Ctime  objstore.Time
	Btime  objstore.Time
	Bucket objstore.InodeID
	Parent objstore.InodeID // of directories; of others the directory they were made in, a hint

	Explicit  bool  // directory: made by mkdir, by a PUT of "dir/" or touched by the mount
	HasXattrs bool  // there is an x record
	TagCount  uint8 // attributes in it that are S3 tags
	HasMarker bool  // directory: it holds the empty name

	// Of what has, or had, versions:
	Seq     uint64             // regular file: number of the version that it is, ascending with time; 0: made without versioning
	Null    bool               // regular file: it is the null version although it has a number
	Held    bool               // regular file: a noncurrent version; Parent is its History, Name its name
	History objstore.InodeID   // directory: under which its versions are kept; 0: its own number
	Past    []objstore.InodeID // directory: further histories, of others that had its path; never changed in place
	Name    string             // regular file of a versioned bucket: under which its versions are kept, in Parent
	Lock    objstore.Lock      // regular file: what protects it as a version

	Restored objstore.Time // archived object: until when S3 serves it; may be ignored

	Target    string // symbolic link
	Allocated int64  // bytes of Size that hold data, for st_blocks

	Content Content              // regular file
	Meta    *objstore.ObjectMeta // S3 headers, nil when there are none

	Renamed RenameID // the request that gave it its name, if that had a token; may be ignored
}

// RenameID is a keyed hash of a client's token for a rename and its keys.
type RenameID [16]byte

// IsNull reports whether a regular file is the null version of its object.
func (n *Inode) IsNull() bool { return n.Seq == 0 || n.Null }

// HistoryID is the number under which a directory's versions are kept: n is the
// inode ino. It outlives the directory.
func (n *Inode) HistoryID(ino objstore.InodeID) objstore.InodeID {
	if n.History != 0 {
		return n.History
	}
	return ino
}

// Histories are all numbers under which a directory's versions are kept, HistoryID
// first.
func (n *Inode) Histories(ino objstore.InodeID) []objstore.InodeID {
	return append([]objstore.InodeID{n.HistoryID(ino)}, n.Past...)
}

// Content is what a regular file holds.
type Content struct {
	ID     objstore.ContentID
	Gen    uint64 // counts changes of the content
	Layout Layout

	Mode      objstore.SSEMode // 0 until an object key exists (nothing was written yet)
	DEK       DEKID            // parent of the object key; 0 for SSE-C
	SealedOEK []byte
	KMSKeyID  string // name of the external key: SSE-KMS, DSSE-KMS
	BucketKey bool
	// The second layer of DSSE-KMS has a parent and an object key of its own.
	OuterDEK    DEKID
	SealedOuter []byte

	ETag      ETagKind
	ETagSum   [16]byte
	PartCount uint32 // > 0: uploaded in parts
	Appends   uint32 // how often it was appended to; may be ignored
	Logged    uint32 // LayoutChunks: how many logged writes lie over its map

	ChecksumAlgo checksum.Algorithm
	ChecksumType checksum.Type
	Checksum     []byte // sealed under ChecksumKey, or where that is empty the object key
	ChecksumKey  []byte // sealed under the object key
	// SealedMD5 is what ETagSum would be under SSE-S3, sealed under the object
	// key: in a bucket of MD5s a copy under SSE-S3 gets it back. Empty: nobody has
	// computed it.
	SealedMD5 []byte
}

// Reseal takes over how the object key of the same content is sealed.
func (c *Content) Reseal(from *Content) {
	c.Mode, c.DEK, c.SealedOEK = from.Mode, from.DEK, from.SealedOEK
	c.KMSKeyID, c.BucketKey = from.KMSKeyID, from.BucketKey
	c.OuterDEK, c.SealedOuter = from.OuterDEK, from.SealedOuter
}

// Append encodes n behind dst.
func (n *Inode) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.uint(1, uint64(n.Type))
	e.uint(2, uint64(n.Mode))
	e.uint(3, uint64(n.UID))
	e.uint(4, uint64(n.GID))
	e.uint(5, uint64(n.Nlink))
	e.uint(6, uint64(n.Rdev))
	e.uint(7, uint64(n.Size))
	e.int(8, int64(n.Atime))
	e.int(9, int64(n.Mtime))
	e.int(10, int64(n.Ctime))
	e.int(11, int64(n.Btime))
	e.uint(12, uint64(n.Bucket))
	e.uint(13, uint64(n.Parent))
	e.bool(14, n.Explicit)
	e.bool(15, n.HasXattrs)
	e.bool(16, n.HasMarker)
	e.str(17, n.Target)
	e.uint(18, uint64(n.Allocated))
	c := &n.Content
	if !c.ID.IsZero() {
		e.bytes(20, c.ID[:])
	}
	e.uint(21, c.Gen)
	e.uint(22, uint64(c.Layout))
	e.uint(23, uint64(c.Mode))
	e.uint(24, uint64(c.DEK))
	e.bytes(25, c.SealedOEK)
	e.str(26, c.KMSKeyID)
	e.bool(27, c.BucketKey)
	e.uint(28, uint64(c.ETag))
	if c.ETag != ETagKeyed {
		e.bytes(29, c.ETagSum[:])
	}
	e.uint(30, uint64(c.PartCount))
	e.str(31, string(c.ChecksumAlgo))
	e.str(32, string(c.ChecksumType))
	e.bytes(33, c.Checksum)
	if m := n.Meta; m != nil {
		e.bytes(40, appendMeta(nil, m))
	}
	e.uint(51, uint64(c.OuterDEK))
	e.bytes(52, c.SealedOuter)
	e.uint(55, n.Seq)
	e.bool(56, n.Null)
	e.bool(57, n.Held)
	e.uint(58, uint64(n.History))
	e.uint(59, uint64(n.TagCount))
	e.uint(60, uint64(c.Logged))
	e.bytes(61, c.ChecksumKey)
	e.inodes(62, n.Past)
	e.bytes(70, c.SealedMD5)
	e.str(75, n.Name)
	e.uint(76, uint64(n.Lock.Mode))
	e.int(77, int64(n.Lock.Until))
	e.uint(78, uint64(n.Lock.Hold))
	if n.Renamed != (RenameID{}) {
		e.bytes(85, n.Renamed[:])
	}
	e.uint(86, uint64(c.Appends))
	e.int(87, int64(n.Restored))
	return e.b
}

// ParseInode parses an inode.
func ParseInode(b []byte) (*Inode, error) {
	n := &Inode{}
	c := &n.Content
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			n.Type = objstore.FileType(d.uint8())
		case 2:
			n.Mode = d.uint32()
		case 3:
			n.UID = d.uint32()
		case 4:
			n.GID = d.uint32()
		case 5:
			n.Nlink = d.uint32()
		case 6:
			n.Rdev = d.uint32()
		case 7:
			n.Size = d.size()
		case 8:
			n.Atime = objstore.Time(d.int())
		case 9:
			n.Mtime = objstore.Time(d.int())
		case 10:
			n.Ctime = objstore.Time(d.int())
		case 11:
			n.Btime = objstore.Time(d.int())
		case 12:
			n.Bucket = objstore.InodeID(d.uint())
		case 13:
			n.Parent = objstore.InodeID(d.uint())
		case 14:
			n.Explicit = d.bool()
		case 15:
			n.HasXattrs = d.bool()
		case 16:
			n.HasMarker = d.bool()
		case 17:
			n.Target = d.str()
		case 18:
			n.Allocated = d.size()
		case 20:
			c.ID = d.id()
		case 21:
			c.Gen = d.uint()
		case 22:
			c.Layout = Layout(d.uint8())
		case 23:
			c.Mode = objstore.SSEMode(d.uint8())
		case 24:
			c.DEK = DEKID(d.uint())
		case 25:
			c.SealedOEK = d.copy()
		case 26:
			c.KMSKeyID = d.str()
		case 27:
			c.BucketKey = d.bool()
		case 28:
			c.ETag = ETagKind(d.uint8())
		case 29:
			c.ETagSum = d.id()
		case 30:
			c.PartCount = d.uint32()
		case 31:
			c.ChecksumAlgo = checksum.Algorithm(d.str())
		case 32:
			c.ChecksumType = checksum.Type(d.str())
		case 33:
			c.Checksum = d.copy()
		case 40:
			n.Meta = parseMeta(&d)
		case 51:
			c.OuterDEK = DEKID(d.uint())
		case 52:
			c.SealedOuter = d.copy()
		case 55:
			n.Seq = d.uint()
		case 56:
			n.Null = d.bool()
		case 57:
			n.Held = d.bool()
		case 58:
			n.History = objstore.InodeID(d.uint())
		case 59:
			n.TagCount = d.uint8()
		case 60:
			c.Logged = d.uint32()
		case 61:
			c.ChecksumKey = d.copy()
		case 62:
			n.Past = d.inodes()
		case 70:
			c.SealedMD5 = d.copy()
		case 75:
			n.Name = d.str()
		case 76:
			n.Lock.Mode = objstore.LockMode(d.uint8())
		case 77:
			n.Lock.Until = objstore.Time(d.int())
		case 78:
			n.Lock.Hold = objstore.LegalHold(d.uint8())
		case 85:
			n.Renamed = d.id()
		case 86:
			c.Appends = d.uint32()
		case 87:
			n.Restored = objstore.Time(d.int())
		default:
			d.unknown()
		}
	}
	if d.err != nil {
		return nil, fmt.Errorf("inode: %w", d.err)
	}
	if c.ETag == ETagKeyed {
		c.ETagSum = [16]byte{} // has none, and none is written
	}
	return n, n.check()
}

func (n *Inode) check() error {
	c := &n.Content
	switch {
	case n.Type < objstore.TypeRegular || n.Type > objstore.TypeBlockDev:
		return fmt.Errorf("inode: %w: type %d", ErrCorrupt, n.Type)
	case n.Mode > 07777:
		return fmt.Errorf("inode: %w: mode %#o", ErrCorrupt, n.Mode)
	case n.Size > objstore.MaxFileSize:
		return fmt.Errorf("inode: %w: size %d", ErrCorrupt, n.Size)
	case c.Layout > LayoutChunks || c.Mode > objstore.SSEDSSE || c.ETag > ETagRandom:
		return fmt.Errorf("inode: %w: content", ErrVersion)
	case !n.Lock.Mode.Known() || !n.Lock.Hold.Known():
		return fmt.Errorf("inode: %w: lock", ErrVersion)
	case c.Layout != LayoutEmpty && (c.ID.IsZero() || c.Mode == 0):
		return fmt.Errorf("inode: %w: data without a key", ErrCorrupt)
	case c.Logged > MaxLoggedWrites || c.Logged > 0 && c.Layout != LayoutChunks:
		return fmt.Errorf("inode: %w: logged writes", ErrCorrupt)
	case c.Mode != objstore.SSEDSSE && len(c.SealedOuter) > 0:
		return fmt.Errorf("inode: %w: keys of another number of layers", ErrCorrupt)
	}
	return nil
}

// appendMeta encodes S3 headers. User metadata is pairs of field 20 and up:
// one field, which holds length-prefixed names and values in name order.
func appendMeta(dst []byte, m *objstore.ObjectMeta) []byte {
	e := newEncoder(dst)
	e.str(1, m.ContentType)
	e.str(2, m.CacheControl)
	e.str(3, m.ContentDisposition)
	e.str(4, m.ContentEncoding)
	e.str(5, m.ContentLanguage)
	e.str(6, m.Expires)
	e.str(7, m.WebsiteRedirect)
	e.str(8, m.StorageClass)
	if len(m.User) > 0 {
		e.bytes(20, appendPairs(nil, m.User))
	}
	return e.b
}

func parseMeta(outer *decoder) *objstore.ObjectMeta {
	m := &objstore.ObjectMeta{}
	d := newDecoder(outer.val)
	for d.next() {
		switch d.num {
		case 1:
			m.ContentType = d.str()
		case 2:
			m.CacheControl = d.str()
		case 3:
			m.ContentDisposition = d.str()
		case 4:
			m.ContentEncoding = d.str()
		case 5:
			m.ContentLanguage = d.str()
		case 6:
			m.Expires = d.str()
		case 7:
			m.WebsiteRedirect = d.str()
		case 8:
			m.StorageClass = d.str()
		case 20:
			m.User = d.pairs()
		default:
			d.unknown()
		}
	}
	if d.err != nil && outer.err == nil {
		outer.err = d.err
	}
	return m
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
