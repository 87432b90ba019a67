package checksum

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/minio/crc64nvme"
)

// Part is the sum of one part and the part's size in bytes.
type Part struct {
	Sum  []byte
	Size int64
}

// Concat is the sum of the concatenation of the parts, for the CRCs only; of no
// parts it is the sum of no bytes. It reads no data and changes nothing. The
// error wraps ErrAlgorithm or ErrInvalid.
//
// With bytes as polynomials over GF(2), crc(A||B) = crc(A)*x^(8*len(B)) +
// crc(B) mod P: the initial and final inversions of the S3 CRCs cancel out.
func Concat(a Algorithm, parts []Part) ([]byte, error) {
	f := fieldOf(a)
	if f == nil {
		return nil, fmt.Errorf("%w %.40q: no checksum of a concatenation", ErrAlgorithm, a)
	}
	var crc uint64 // of no bytes
	for i := range parts {
		p := &parts[i]
		if len(p.Sum) != a.Size() || p.Size < 0 {
			return nil, fmt.Errorf("%w: part %d has a %s of %d bytes and a size of %d", ErrInvalid, i+1, a, len(p.Sum), p.Size)
		}
		crc = f.mul(f.xPow8(uint64(p.Size)), crc) ^ bigEndian(p.Sum)
	}
	if a == CRC64NVME {
		return binary.BigEndian.AppendUint64(nil, crc), nil
	}
	return binary.BigEndian.AppendUint32(nil, uint32(crc)), nil
}

// Combines reports whether Concat takes sums of a.
func Combines(a Algorithm) bool { return fieldOf(a) != nil }

func bigEndian(sum []byte) (v uint64) {
	for _, b := range sum {
		v = v<<8 | uint64(b)
	}
	return v
}

// Compose is the composite checksum of the parts' sums, to be written with
// FormatObject. The error wraps ErrAlgorithm or ErrInvalid.
func Compose(a Algorithm, sums [][]byte) ([]byte, error) {
	if err := Composite.Check(a); err != nil {
		return nil, err
	}
	if len(sums) == 0 || len(sums) > MaxParts {
		return nil, fmt.Errorf("%w: %d parts", ErrInvalid, len(sums))
	}
	h, err := New(a)
	if err != nil {
		return nil, err
	}
	for i, sum := range sums {
		if len(sum) != a.Size() {
			return nil, fmt.Errorf("%w: part %d has a %s of %d bytes", ErrInvalid, i+1, a, len(sum))
		}
		h.Write(sum)
	}
	return h.Sum(a), nil
}

// field is GF(2)[x] mod P. Elements are in the reflected order of the CRCs:
// the most significant of width bits is the coefficient of x^0.
type field struct {
	one  uint64 // x^0
	poly uint64 // reflected, without the leading term
	// pow2[k] is x^(2^k); a length of up to 2^64-1 bytes needs k up to 66.
	pow2 [67]uint64
}

func newField(width uint, poly uint64) *field {
	f := &field{one: 1 << (width - 1), poly: poly}
	f.pow2[0] = f.one >> 1
	for k := 1; k < len(f.pow2); k++ {
		f.pow2[k] = f.mul(f.pow2[k-1], f.pow2[k-1])
	}
	return f
}

var (
	field32  = newField(32, crc32.IEEE)
	field32C = newField(32, crc32.Castagnoli)
	field64  = newField(64, crc64nvme.NVME)
)

func fieldOf(a Algorithm) *field {
	switch a {
	case CRC32:
		return field32
	case CRC32C:
		return field32C
	case CRC64NVME:
		return field64
	}
	return nil
}

// mul multiplies: for each term of a, lowest first, it adds b, which it
// multiplies by x in between.
func (f *field) mul(a, b uint64) (product uint64) {
	for m := f.one; m != 0 && a != 0; m >>= 1 {
		if a&m != 0 {
			product ^= b
			a &^= m
		}
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= f.poly
		}
	}
	return product
}

// xPow8 is x^(8n).
func (f *field) xPow8(n uint64) uint64 {
	p := f.one
	for k := 3; n != 0; k++ {
		if n&1 != 0 {
			p = f.mul(f.pow2[k], p)
		}
		n >>= 1
	}
	return p
}
