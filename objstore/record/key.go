package record

import (
	"encoding/binary"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
)

// ChunkID, ExtentID and SegmentID are random 128-bit names, never reused.
type (
	ChunkID   [16]byte
	ExtentID  [16]byte
	SegmentID [16]byte
	// DEKID names a data key record.
	DEKID uint64
	// UploadID names a multipart upload: 8 bytes of the time of initiation in
	// nanoseconds, big endian, so that uploads of one key sort by it, and 8
	// random ones.
	UploadID [16]byte
)

// Families. They are on disk.
const (
	famBucket    = 'B'
	famInline    = 'D'
	famExtentRef = 'E'
	famStream    = 'J'
	famChunkOf   = 'K'
	famParts     = 'P'
	famRoot      = 'R'
	famConfig    = 'b'
	famChunkRef  = 'c'
	famDirent    = 'd'
	famExtent    = 'e'
	famGarbage   = 'g'
	famInode     = 'i'
	famChunk     = 'k'
	famMap       = 'm'
	famLogged    = 'n'
	famOrphan    = 'o'
	famPart      = 'p'
	famSegment   = 's'
	famUpload    = 'u'
	famVersion   = 'v'
	famDEK       = 'w'
	famDEKOf     = 'W'
	famXattr     = 'x'
	famSetting   = 'y'
)

func k64(fam byte, v uint64) []byte {
	k := make([]byte, 1, 9)
	k[0] = fam
	return binary.BigEndian.AppendUint64(k, v)
}

func k128(fam byte, id [16]byte, extra int) []byte {
	k := make([]byte, 1, 17+extra)
	k[0] = fam
	return append(k, id[:]...)
}

// RootKey is the key of the root record.
func RootKey() []byte { return []byte{famRoot} }

// InodeKey is the key of an inode; InodePrefix is that of all.
func InodeKey(ino objstore.InodeID) []byte { return k64(famInode, uint64(ino)) }

// InodePrefix: see InodeKey.
func InodePrefix() []byte { return []byte{famInode} }

// ParseInodeKey returns the inode in an InodeKey.
func ParseInodeKey(key []byte) (objstore.InodeID, error) {
	if len(key) != 9 || key[0] != famInode {
		return 0, fmt.Errorf("%w: inode key", ErrCorrupt)
	}
	return objstore.InodeID(binary.BigEndian.Uint64(key[1:])), nil
}

// BucketKey is the key of a bucket's record.
func BucketKey(root objstore.InodeID) []byte { return k64(famBucket, uint64(root)) }

// ConfigKey is the key of a configuration document of a bucket; ConfigPrefix is
// that of all whose names begin with name.
func ConfigKey(root objstore.InodeID, name objstore.ConfigName) []byte {
	return append(k64(famConfig, uint64(root)), name...)
}

// ConfigPrefix: see ConfigKey.
func ConfigPrefix(root objstore.InodeID, name string) []byte {
	return append(k64(famConfig, uint64(root)), name...)
}

// ParseConfigKey returns the name in a ConfigKey.
func ParseConfigKey(key []byte) (objstore.ConfigName, error) {
	if len(key) < 9 || key[0] != famConfig {
		return "", fmt.Errorf("%w: configuration key", ErrCorrupt)
	}
	return objstore.ConfigName(key[9:]), nil
}

// DirentKey is the key of an entry by its stored name (see StoredName).
func DirentKey(dir objstore.InodeID, stored string) []byte {
	k := make([]byte, 0, 9+len(stored))
	k = append(k, famDirent)
	k = binary.BigEndian.AppendUint64(k, uint64(dir))
	return append(k, stored...)
}

// DirentName returns the stored name in an entry's key.
func DirentName(key []byte) (string, error) {
	if len(key) < 9 || key[0] != famDirent {
		return "", fmt.Errorf("%w: entry key", ErrCorrupt)
	}
	return string(key[9:]), nil
}

// DirentPrefix is the prefix of all of a directory's entries.
func DirentPrefix(dir objstore.InodeID) []byte { return k64(famDirent, uint64(dir)) }

// XattrKey is the key of an inode's extended attributes.
func XattrKey(ino objstore.InodeID) []byte { return k64(famXattr, uint64(ino)) }

// OrphanKey marks an inode without a name; OrphanPrefix is that of all.
func OrphanKey(ino objstore.InodeID) []byte { return k64(famOrphan, uint64(ino)) }

// OrphanPrefix: see OrphanKey.
func OrphanPrefix() []byte { return []byte{famOrphan} }

// ParseOrphanKey returns the inode in an OrphanKey.
func ParseOrphanKey(key []byte) (objstore.InodeID, error) {
	if len(key) != 9 || key[0] != famOrphan {
		return 0, fmt.Errorf("%w: orphan key", ErrCorrupt)
	}
	return objstore.InodeID(binary.BigEndian.Uint64(key[1:])), nil
}

// InlineKey is the key of a small content's sealed data.
func InlineKey(c objstore.ContentID) []byte { return k128(famInline, c, 0) }

// PartsKey is the key of a content's part sizes.
func PartsKey(c objstore.ContentID) []byte { return k128(famParts, c, 0) }

// ChunkRefKey is the key of the chunk that begins at off in a content (or in a
// part of an upload, which has a ContentID of its own until it is completed).
func ChunkRefKey(c objstore.ContentID, off int64) []byte {
	return binary.BigEndian.AppendUint64(k128(famChunkRef, c, 8), uint64(off))
}

// ChunkRefPrefix is that of all chunks of a content.
func ChunkRefPrefix(c objstore.ContentID) []byte { return k128(famChunkRef, c, 0) }

// ParseChunkRefKey returns the offset in a ChunkRefKey.
func ParseChunkRefKey(key []byte) (c objstore.ContentID, off int64, err error) {
	if len(key) != 25 || key[0] != famChunkRef {
		return c, 0, fmt.Errorf("%w: chunk reference key", ErrCorrupt)
	}
	copy(c[:], key[1:17])
	u := binary.BigEndian.Uint64(key[17:])
	if u > 1<<62 {
		return c, 0, fmt.Errorf("%w: chunk offset", ErrCorrupt)
	}
	return c, int64(u), nil
}

// ChunkKey is the key of a chunk.
func ChunkKey(id ChunkID) []byte { return k128(famChunk, id, 0) }

// ChunkOfKey is the key of one more content's reference to a shared chunk.
func ChunkOfKey(id ChunkID, c objstore.ContentID, off int64) []byte {
	k := append(k128(famChunkOf, id, 24), c[:]...)
	return binary.BigEndian.AppendUint64(k, uint64(off))
}

// ChunkOfPrefix is that of all further references to a chunk.
func ChunkOfPrefix(id ChunkID) []byte { return k128(famChunkOf, id, 0) }

// MapKey is the key of the map entry that begins at off in a chunk.
func MapKey(id ChunkID, off uint32) []byte {
	return binary.BigEndian.AppendUint32(k128(famMap, id, 4), off)
}

// ParseMapKey returns the offset in a MapKey.
func ParseMapKey(key []byte) (uint32, error) {
	if len(key) != 21 || key[0] != famMap {
		return 0, fmt.Errorf("%w: map key", ErrCorrupt)
	}
	return binary.BigEndian.Uint32(key[17:]), nil
}

// ExtentKey is the key of an extent.
func ExtentKey(id ExtentID) []byte { return k128(famExtent, id, 0) }

// StreamKey is the key of the stream of an extent that was logged: made durable
// with the metadata, to be moved to a segment later. StreamPrefix is that of all.
func StreamKey(id ExtentID) []byte { return k128(famStream, id, 0) }

// StreamPrefix: see StreamKey.
func StreamPrefix() []byte { return []byte{famStream} }

// ParseStreamKey returns the extent in a StreamKey.
func ParseStreamKey(key []byte) (id ExtentID, err error) {
	if len(key) != 17 || key[0] != famStream {
		return id, fmt.Errorf("%w: stream key", ErrCorrupt)
	}
	copy(id[:], key[1:])
	return id, nil
}

// ExtentRefKey is the key of one more chunk's reference to an extent.
func ExtentRefKey(id ExtentID, c ChunkID) []byte {
	return append(k128(famExtentRef, id, 16), c[:]...)
}

// ExtentRefPrefix is that of all further references to an extent.
func ExtentRefPrefix(id ExtentID) []byte { return k128(famExtentRef, id, 0) }

// ParseExtentRefKey returns the chunk in an ExtentRefKey.
func ParseExtentRefKey(key []byte) (c ChunkID, err error) {
	if len(key) != 33 || key[0] != famExtentRef {
		return c, fmt.Errorf("%w: extent reference key", ErrCorrupt)
	}
	copy(c[:], key[17:])
	return c, nil
}

// GarbageKey marks a content that is to be freed; GarbagePrefix is that of all.
func GarbageKey(c objstore.ContentID) []byte { return k128(famGarbage, c, 0) }

// GarbagePrefix: see GarbageKey.
func GarbagePrefix() []byte { return []byte{famGarbage} }

// ParseGarbageKey returns the content in a GarbageKey.
func ParseGarbageKey(key []byte) (c objstore.ContentID, err error) {
	if len(key) != 17 || key[0] != famGarbage {
		return c, fmt.Errorf("%w: garbage key", ErrCorrupt)
	}
	copy(c[:], key[1:])
	return c, nil
}

// SegmentKey is the key of a segment's account; SegmentPrefix is that of all.
func SegmentKey(id SegmentID) []byte { return k128(famSegment, id, 0) }

// SegmentPrefix: see SegmentKey.
func SegmentPrefix() []byte { return []byte{famSegment} }

// DEKKey is the key of a data key record; DEKPrefix is that of all.
func DEKKey(id DEKID) []byte { return k64(famDEK, uint64(id)) }

// DEKPrefix: see DEKKey.
func DEKPrefix() []byte { return []byte{famDEK} }

// DEKOfKey is the key under which the id of a bucket's data key stands, by what
// it was made for: a hash of the external key, the purpose and the client's
// context.
func DEKOfKey(root objstore.InodeID, hash [32]byte) []byte {
	return append(k64(famDEKOf, uint64(root)), hash[:]...)
}

// SettingKey is the key of a setting.
func SettingKey(name string) []byte { return append([]byte{famSetting}, name...) }

// SettingName is the name of a setting by its key.
func SettingName(key []byte) string { return string(key[1:]) }

// UploadKey is the key of an upload. S3 keys have no NUL byte, so uploads sort
// by key, then by time of initiation.
func UploadKey(bucket objstore.InodeID, key string, id UploadID) []byte {
	k := make([]byte, 0, 9+len(key)+1+16)
	k = append(k, famUpload)
	k = binary.BigEndian.AppendUint64(k, uint64(bucket))
	k = append(k, key...)
	k = append(k, 0)
	return append(k, id[:]...)
}

// UploadPrefix is that of all uploads of a bucket whose key begins with prefix.
func UploadPrefix(bucket objstore.InodeID, prefix string) []byte {
	return append(k64(famUpload, uint64(bucket)), prefix...)
}

// ParseUploadKey returns the key and id in an UploadKey.
func ParseUploadKey(k []byte) (key string, id UploadID, err error) {
	if len(k) < 9+1+16 || k[0] != famUpload || k[len(k)-17] != 0 {
		return "", id, fmt.Errorf("%w: upload key", ErrCorrupt)
	}
	copy(id[:], k[len(k)-16:])
	return string(k[9 : len(k)-17]), id, nil
}

// PartKey is the key of a part; PartPrefix is that of all parts of an upload.
func PartKey(id UploadID, number int) []byte {
	return binary.BigEndian.AppendUint16(k128(famPart, id, 2), uint16(number))
}

// PartPrefix: see PartKey.
func PartPrefix(id UploadID) []byte { return k128(famPart, id, 0) }

// ParsePartKey returns the number in a PartKey.
func ParsePartKey(key []byte) (int, error) {
	if len(key) != 19 || key[0] != famPart {
		return 0, fmt.Errorf("%w: part key", ErrCorrupt)
	}
	return int(binary.BigEndian.Uint16(key[17:])), nil
}
