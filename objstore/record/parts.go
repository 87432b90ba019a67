package record

import (
	"fmt"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
)

// Parts describes the parts of a content that was uploaded in parts. A value
// with sizes alone is PartSizes, version 1; any other has version byte 2, then, as
// fields of a record: 1 PartSizes, 2 algorithm, 3 checksums, 4 what was asked for.
type Parts struct {
	Sizes PartSizes
	// Algorithm of the checksums; empty when there are none.
	Algorithm checksum.Algorithm
	// Checksums are the parts' raw sums, one behind the other, sealed under the
	// object key: sums of plaintext tell about it.
	Checksums []byte
	// Asked is a hash of the part numbers and ETags that Complete was asked for;
	// zero of a copy, which no upload became, and of what was completed by a
	// version that kept none.
	Asked [16]byte
}

const partsVersion2 = 2 // on disk

// Append encodes p behind dst.
func (p *Parts) Append(dst []byte) []byte {
	none := [16]byte{}
	if len(p.Checksums) == 0 && p.Asked == none {
		return p.Sizes.Append(dst)
	}
	at := len(dst)
	e := newEncoder(dst)
	e.bytes(1, p.Sizes.Append(nil))
	e.str(2, string(p.Algorithm))
	e.bytes(3, p.Checksums)
	if p.Asked != none {
		e.bytes(4, p.Asked[:])
	}
	e.b[at] = partsVersion2
	return e.b
}

// ParseParts parses a description of parts.
func ParseParts(b []byte) (*Parts, error) {
	p := &Parts{}
	var err error
	if len(b) == 0 || b[0] != partsVersion2 {
		p.Sizes, err = ParsePartSizes(b)
		return p, err
	}
	d := newDecoder([]byte{version1})
	for d.b = b[1:]; d.next(); {
		switch d.num {
		case 1:
			if p.Sizes, err = ParsePartSizes(d.val); err != nil {
				return nil, err
			}
		case 2:
			p.Algorithm = checksum.Algorithm(d.str())
		case 3:
			p.Checksums = d.copy()
		case 4:
			p.Asked = d.id()
		default:
			d.unknown()
		}
	}
	if d.err == nil && (len(p.Sizes) == 0 || (p.Algorithm == "") != (len(p.Checksums) == 0) || len(p.Checksums) > maxPartSums) {
		d.fail("parts")
	}
	if d.err != nil {
		return nil, fmt.Errorf("parts: %w", d.err)
	}
	return p, nil
}

// maxPartSums bounds Checksums: 10,000 of the longest sums, and the seal.
const maxPartSums = objstore.MaxPartNumber*checksum.MaxSize + 256
