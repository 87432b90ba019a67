package record

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// Dirent is the value of a directory entry:
//
//	0  1  version (1)
//	1  1  type of the inode
//	2  1  flags: 1 shadowed
//	3  8  inode, big endian
type Dirent struct {
	Type     objstore.FileType
	Shadowed bool // an object whose name is also that of a directory: the mount hides it
	Inode    objstore.InodeID
}

const direntSize = 11

// Append encodes d behind dst.
func (d Dirent) Append(dst []byte) []byte {
	var flags byte
	if d.Shadowed {
		flags = 1
	}
	dst = append(dst, version1, byte(d.Type), flags)
	return binary.BigEndian.AppendUint64(dst, uint64(d.Inode))
}

// ParseDirent parses a directory entry.
func ParseDirent(b []byte) (Dirent, error) {
	switch {
	case len(b) == 0:
		return Dirent{}, fmt.Errorf("%w: empty entry", ErrCorrupt)
	case b[0] != version1:
		return Dirent{}, fmt.Errorf("%w: entry version %d", ErrVersion, b[0])
	case len(b) != direntSize:
		return Dirent{}, fmt.Errorf("%w: entry of %d bytes", ErrCorrupt, len(b))
	case b[2] > 1:
		return Dirent{}, fmt.Errorf("%w: entry flags %#x", ErrVersion, b[2])
	}
	d := Dirent{Type: objstore.FileType(b[1]), Shadowed: b[2] == 1, Inode: objstore.InodeID(binary.BigEndian.Uint64(b[3:]))}
	if d.Type < objstore.TypeRegular || d.Type > objstore.TypeBlockDev || d.Inode == 0 {
		return Dirent{}, fmt.Errorf("%w: entry", ErrCorrupt)
	}
	return d, nil
}

// StoredName is the name under which an entry is kept: directories end in a
// slash, so that entries sort as S3 keys do.
func StoredName(name string, dir bool) string {
	if dir {
		return name + "/"
	}
	return name
}

// SplitStored is the inverse of StoredName.
func SplitStored(stored string) (name string, dir bool) {
	if strings.HasSuffix(stored, "/") {
		return stored[:len(stored)-1], true
	}
	return stored, false
}

// Mountable reports whether the mount can show an entry of that name: not the
// empty one, ".", "..", nor one over 255 bytes.
func Mountable(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= objstore.MaxComponentLen
}
