package record

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// The versions of what a directory's names held are kept under the directory's
// history (Inode.HistoryID), which stays when the directory goes: then the history
// of the directory above has an entry for it. A key is
//
//	v history name NUL number
//
// with numbers of 8 bytes, big endian. The name of an object has the complement
// of the version's number, so that the newest comes first, and at the end, under
// the number 0, a record of which version is the null version. The name of a
// directory that is gone has a trailing slash, and the number of its history;
// there can be several. No name has a NUL, so that names sort as S3's keys do.

// Version is a noncurrent version of an object: an inode that no name points at
// any more, or a delete marker.
type Version struct {
	Inode objstore.InodeID // 0: a delete marker
	Null  bool             // it is the null version
	// Made is when a delete marker was made, or since when a version is noncurrent; 0 of
	// a version from before that was noted.
	Made objstore.Time
}

// Append encodes v behind dst.
func (v Version) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.uint(1, uint64(v.Inode))
	e.bool(2, v.Null)
	e.int(3, int64(v.Made))
	return e.b
}

// ParseVersion parses a version.
func ParseVersion(b []byte) (v Version, err error) {
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			v.Inode = objstore.InodeID(d.uint())
		case 2:
			v.Null = d.bool()
		case 3:
			v.Made = objstore.Time(d.int())
		default:
			d.unknown()
		}
	}
	if d.err != nil {
		return v, fmt.Errorf("version: %w", d.err)
	}
	return v, nil
}

// NullNumber is the record of which version of an object is the null version
// while that is not current.
type NullNumber uint64

// Append encodes n behind dst.
func (n NullNumber) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.uint(1, uint64(n))
	return e.b
}

// ParseNullNumber parses a NullNumber.
func ParseNullNumber(b []byte) (n NullNumber, err error) {
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			n = NullNumber(d.uint())
		default:
			d.unknown()
		}
	}
	if d.err == nil && n == 0 {
		d.fail("no number")
	}
	if d.err != nil {
		return 0, fmt.Errorf("null version: %w", d.err)
	}
	return n, nil
}

// VersionKey is the key of a version by its number, which is not 0; of the
// NullNumber with number 0.
func VersionKey(history objstore.InodeID, name string, number uint64) []byte {
	return binary.BigEndian.AppendUint64(VersionPrefix(history, name), ^number)
}

// VersionPrefix is that of all records of a name: of an object, or, with a
// trailing slash, of directories that are gone.
func VersionPrefix(history objstore.InodeID, name string) []byte {
	k := make([]byte, 0, 9+len(name)+1+8)
	k = append(k, famVersion)
	k = binary.BigEndian.AppendUint64(k, uint64(history))
	k = append(k, name...)
	return append(k, 0)
}

// HistoryPrefix is that of all records of a history.
func HistoryPrefix(history objstore.InodeID) []byte { return k64(famVersion, uint64(history)) }

// HistoryFrom is where the names of a history from a stored name on begin.
func HistoryFrom(history objstore.InodeID, stored string) []byte {
	return append(HistoryPrefix(history), stored...)
}

// GoneKey is the key of the history of a directory that is gone, in that of the
// directory above. Its value is empty.
func GoneKey(above objstore.InodeID, name string, history objstore.InodeID) []byte {
	return binary.BigEndian.AppendUint64(VersionPrefix(above, name+"/"), uint64(history))
}

// VersionKeyParts are what a key of the family v says.
type VersionKeyParts struct {
	History objstore.InodeID // in which it stands
	Stored  string           // the name; with a trailing slash, of a directory
	Number  uint64           // of a version; 0: a NullNumber
	Gone    objstore.InodeID // history of a directory that is gone; 0: of an object
}

// ParseVersionKey takes a key of the family v apart.
func ParseVersionKey(k []byte) (p VersionKeyParts, err error) {
	if len(k) < 9+1+8 || k[0] != famVersion || k[len(k)-9] != 0 {
		return p, fmt.Errorf("%w: version key", ErrCorrupt)
	}
	p.History = objstore.InodeID(binary.BigEndian.Uint64(k[1:]))
	p.Stored = string(k[9 : len(k)-9])
	n := binary.BigEndian.Uint64(k[len(k)-8:])
	if strings.HasSuffix(p.Stored, "/") {
		p.Gone = objstore.InodeID(n)
		if p.Gone == 0 {
			return p, fmt.Errorf("%w: version key", ErrCorrupt)
		}
		return p, nil
	}
	p.Number = ^n
	return p, nil
}
