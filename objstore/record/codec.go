package record

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
)

var (
	// ErrCorrupt: the bytes are no such record.
	ErrCorrupt = errors.New("record: malformed")
	// ErrVersion: the record was written by a newer coffer.
	ErrVersion = errors.New("record: newer format")
)

const (
	version1 = 1 // on disk
	optional = 64
)

type encoder struct{ b []byte }

func newEncoder(dst []byte) encoder { return encoder{append(dst, version1)} }

func (e *encoder) uint(num int, v uint64) {
	if v == 0 {
		return
	}
	e.b = binary.AppendUvarint(e.b, uint64(num))
	n := 1
	for x := v; x >= 0x80; x >>= 7 {
		n++
	}
	e.b = append(e.b, byte(n))
	e.b = binary.AppendUvarint(e.b, v)
}

func (e *encoder) int(num int, v int64) { e.uint(num, uint64(v<<1)^uint64(v>>63)) }

func (e *encoder) bool(num int, v bool) {
	if v {
		e.uint(num, 1)
	}
}

func (e *encoder) bytes(num int, v []byte) {
	if len(v) == 0 {
		return
	}
	e.b = binary.AppendUvarint(e.b, uint64(num))
	e.b = binary.AppendUvarint(e.b, uint64(len(v)))
	e.b = append(e.b, v...)
}

func (e *encoder) str(num int, v string) {
	if v == "" {
		return
	}
	e.b = binary.AppendUvarint(e.b, uint64(num))
	e.b = binary.AppendUvarint(e.b, uint64(len(v)))
	e.b = append(e.b, v...)
}

// inodes is a list of inode numbers, none of which is 0, as varints.
func (e *encoder) inodes(num int, list []objstore.InodeID) {
	var b []byte
	for _, ino := range list {
		b = binary.AppendUvarint(b, uint64(ino))
	}
	e.bytes(num, b)
}

// decoder walks the fields of a value: for d.next() { switch d.num { … } }.
// The first error sticks and ends the walk.
type decoder struct {
	b    []byte
	num  int
	val  []byte
	last int
	err  error
}

func newDecoder(b []byte) decoder {
	d := decoder{last: -1}
	switch {
	case len(b) == 0:
		d.err = fmt.Errorf("%w: empty", ErrCorrupt)
	case b[0] != version1:
		d.err = fmt.Errorf("%w: version %d", ErrVersion, b[0])
	default:
		d.b = b[1:]
	}
	return d
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s (field %d)", ErrCorrupt, what, d.num)
	}
}

func (d *decoder) next() bool {
	if d.err != nil || len(d.b) == 0 {
		return false
	}
	num, n := binary.Uvarint(d.b)
	if n <= 0 || num > 1<<20 {
		d.fail("field number")
		return false
	}
	d.num = int(num)
	size, m := binary.Uvarint(d.b[n:])
	if m <= 0 || size > uint64(len(d.b)-n-m) {
		d.fail("field length")
		return false
	}
	if d.num <= d.last {
		d.fail("field order")
		return false
	}
	d.last = d.num
	d.val = d.b[n+m : n+m+int(size)]
	d.b = d.b[n+m+int(size):]
	return true
}

// unknown is called for a field that the reader does not know.
func (d *decoder) unknown() {
	if d.num < optional && d.err == nil {
		d.err = fmt.Errorf("%w: field %d", ErrVersion, d.num)
	}
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.val)
	if n <= 0 || n != len(d.val) || v == 0 {
		d.fail("integer")
		return 0
	}
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uint()
	if v > 1<<32-1 {
		d.fail("integer over 32 bits")
		return 0
	}
	return uint32(v)
}

func (d *decoder) uint8() uint8 {
	v := d.uint()
	if v > 1<<8-1 {
		d.fail("integer over 8 bits")
		return 0
	}
	return uint8(v)
}

func (d *decoder) etagForm() objstore.ETagForm {
	f := objstore.ETagForm(d.uint8())
	if d.err == nil && !f.Known() {
		d.err = fmt.Errorf("%w: %v", ErrVersion, f)
	}
	return f
}

func (d *decoder) int() int64 {
	u := d.uint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) size() int64 {
	v := d.uint()
	if v > 1<<62 {
		d.fail("size")
		return 0
	}
	return int64(v)
}

func (d *decoder) bool() bool {
	if v := d.uint(); v != 1 {
		d.fail("flag")
	}
	return true
}

// copy returns the field's bytes, which outlive the value.
func (d *decoder) copy() []byte {
	if len(d.val) == 0 {
		d.fail("empty field")
	}
	return append([]byte(nil), d.val...)
}

func (d *decoder) inodes() (list []objstore.InodeID) {
	for b := d.val; ; {
		v, n := binary.Uvarint(b)
		if n <= 0 || v == 0 {
			d.fail("list of inodes")
			return nil
		}
		list = append(list, objstore.InodeID(v))
		if b = b[n:]; len(b) == 0 {
			return list
		}
	}
}

func (d *decoder) str() string {
	if len(d.val) == 0 {
		d.fail("empty field")
	}
	return string(d.val)
}

func (d *decoder) id() (id [16]byte) {
	if len(d.val) != 16 {
		d.fail("id")
		return id
	}
	copy(id[:], d.val)
	return id
}
