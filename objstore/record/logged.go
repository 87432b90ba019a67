package record

import (
	"encoding/binary"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
)

// LoggedWrite is what an open file's sync made durable of its buffer, before
// that becomes part of the content's map: it lies over the map, and over the
// logged writes with lower numbers. Its data are sealed as those of a small
// content are.
type LoggedWrite struct {
	Inode  objstore.InodeID // that has the content
	Ranges []LoggedRange    // in the order of their bytes in Data
	Data   Inline
}

// LoggedRange says where Len of the bytes of a LoggedWrite belong in the content.
type LoggedRange struct {
	Off int64
	Len uint32
}

// MaxLoggedWrites bounds the logged writes of one content, which are numbered from 1 on.
// It is on disk.
const MaxLoggedWrites = 1024

const loggedRangeSize = 12

// LoggedKey is the key of a content's logged write; LoggedPrefix is that of all
// logged writes.
func LoggedKey(c objstore.ContentID, number uint32) []byte {
	return binary.BigEndian.AppendUint32(k128(famLogged, c, 4), number)
}

// LoggedPrefix: see LoggedKey.
func LoggedPrefix() []byte { return []byte{famLogged} }

// AfterLogged is where the keys begin that follow those of all logged writes of
// the content in key.
func AfterLogged(key []byte) ([]byte, error) {
	if len(key) != 21 || key[0] != famLogged {
		return nil, fmt.Errorf("%w: key of a logged write", ErrCorrupt)
	}
	return append(append([]byte(nil), key[:17]...), 0xff, 0xff, 0xff, 0xff, 0), nil
}

// Append encodes w behind dst.
func (w *LoggedWrite) Append(dst []byte) []byte {
	e := encoder{w.Data.Append(dst)}
	ranges := make([]byte, 0, len(w.Ranges)*loggedRangeSize)
	for _, r := range w.Ranges {
		ranges = binary.BigEndian.AppendUint64(ranges, uint64(r.Off))
		ranges = binary.BigEndian.AppendUint32(ranges, r.Len)
	}
	e.bytes(16, ranges)
	e.uint(17, uint64(w.Inode))
	return e.b
}

// ParseLoggedWrite parses a logged write. Its stream is a part of b.
func ParseLoggedWrite(b []byte) (*LoggedWrite, error) {
	w := &LoggedWrite{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 16:
			w.Ranges = parseLoggedRanges(&d)
		case 17:
			w.Inode = objstore.InodeID(d.uint())
		default:
			w.Data.field(&d)
		}
	}
	total := uint64(0)
	for _, r := range w.Ranges {
		total += uint64(r.Len)
	}
	if d.err == nil && (total != uint64(w.Data.PlainLen) || w.Inode == 0) {
		d.fail("ranges")
	}
	if err := w.Data.check(&d); err != nil {
		return nil, fmt.Errorf("logged write: %w", err)
	}
	return w, nil
}

func parseLoggedRanges(d *decoder) []LoggedRange {
	if len(d.val) == 0 || len(d.val)%loggedRangeSize != 0 {
		d.fail("ranges")
		return nil
	}
	list := make([]LoggedRange, len(d.val)/loggedRangeSize)
	for i := range list {
		b := d.val[i*loggedRangeSize:]
		off, n := binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
		if n == 0 || n > MaxExtent || off > uint64(objstore.MaxFileSize)-uint64(n) {
			d.fail("range")
			return nil
		}
		list[i] = LoggedRange{int64(off), n}
	}
	return list
}
