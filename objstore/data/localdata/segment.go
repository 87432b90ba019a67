package localdata

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"

	"github.com/cofferfs/coffer/objstore/data"
)

// The header of a segment; the package comment has the table.
const (
	headerBytes   = data.Block // on disk
	formatVersion = 1          // on disk

	offMagic   = 0
	offVersion = 8
	offBlock   = 12
	offID      = 16
	offCRC     = headerBytes - 4
)

var (
	magic      = [8]byte{'c', 'o', 'f', 'f', 'e', 'r', 'S', 'G'} // on disk
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// putHeader writes the header of segment id to the first headerBytes of h.
func putHeader(h []byte, id data.SegmentID) {
	h = h[:headerBytes]
	clear(h)
	copy(h[offMagic:], magic[:])
	binary.BigEndian.PutUint32(h[offVersion:], formatVersion)
	binary.BigEndian.PutUint32(h[offBlock:], data.Block)
	copy(h[offID:], id[:])
	binary.BigEndian.PutUint32(h[offCRC:], crc32.Checksum(h[:offCRC], castagnoli))
}

// checkHeader says whether h is the header of segment id. Its errors match
// data.ErrCorrupt, but for a format version that is not known here.
func checkHeader(h []byte, id data.SegmentID) error {
	if len(h) < headerBytes {
		return fmt.Errorf("%w: segment %v: header is cut short", data.ErrCorrupt, id)
	}
	h = h[:headerBytes]
	if [8]byte(h[offMagic:]) != magic {
		return fmt.Errorf("%w: segment %v: not a segment", data.ErrCorrupt, id)
	}
	// The version says where the checksum stands, so it comes first.
	if v := binary.BigEndian.Uint32(h[offVersion:]); v != formatVersion {
		return fmt.Errorf("data: segment %v: format version %d is not known to this program", id, v)
	}
	if crc32.Checksum(h[:offCRC], castagnoli) != binary.BigEndian.Uint32(h[offCRC:]) {
		return fmt.Errorf("%w: segment %v: header checksum is wrong", data.ErrCorrupt, id)
	}
	if b := binary.BigEndian.Uint32(h[offBlock:]); b != data.Block {
		return fmt.Errorf("%w: segment %v: block size %d", data.ErrCorrupt, id, b)
	}
	if got := data.SegmentID(h[offID : offID+16]); got != id {
		return fmt.Errorf("%w: segment %v: file holds segment %v", data.ErrCorrupt, id, got)
	}
	return nil
}

func newSegmentID() data.SegmentID {
	var id data.SegmentID
	rand.Read(id[:]) // never fails
	return id
}

// parseName returns the segment that a file of that name holds.
func parseName(name string) (data.SegmentID, bool) {
	var id data.SegmentID
	if len(name) != hex.EncodedLen(len(id)) {
		return id, false
	}
	if _, err := hex.Decode(id[:], []byte(name)); err != nil {
		return id, false
	}
	return id, id.String() == name // no upper case
}

// segment is one that this process made and that is not sealed yet.
type segment struct {
	id data.SegmentID
	h  *handle // for reading and writing; the segment owns one reference

	// Owned by whoever holds Store.turn.
	granted   int64 // there was room up to here when it was last looked
	allocated int64 // room is set aside up to here
	noAlloc   bool  // setting room aside is not possible

	// Guarded by Store.mu.
	end      int64      // where the next run goes
	syncEnd  int64      // everything before this is durable
	rotated  bool       // takes no more appends
	modified int64      // of the last append, Unix nanoseconds
	written  []transfer // that no sync has covered yet

	// Owned by the running barrier.
	named    bool // the directory was synced since the file was made
	doubtful bool // a sync had no room, and can have lost what was written
}
