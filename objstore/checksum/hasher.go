package checksum

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"

	"github.com/cespare/xxhash/v2"
	"github.com/minio/crc64nvme"
	"github.com/zeebo/xxh3"

	"github.com/cofferfs/coffer/objstore/checksum/lanes"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Hasher computes several checksums of one stream at once. It is an io.Writer
// that never fails. A Hasher is used by one goroutine at a time.
type Hasher struct {
	wantCRC32, wantCRC32C, wantCRC64 bool

	crc32, crc32c uint32
	crc64         uint64
	md5           *lanes.Digest // nil when not wanted
	others        []namedHash
	size          int64
}

type namedHash struct {
	hash.Hash
	alg Algorithm
}

// New makes a Hasher for the algorithms; empty ones and repetitions are
// ignored. The error wraps ErrAlgorithm.
func New(algs ...Algorithm) (*Hasher, error) {
	h := &Hasher{}
	for _, a := range algs {
		switch a {
		case "":
		case CRC32:
			h.wantCRC32 = true
		case CRC32C:
			h.wantCRC32C = true
		case CRC64NVME:
			h.wantCRC64 = true
		case MD5:
			if h.md5 == nil {
				h.md5 = lanes.New()
			}
		default:
			if h.other(a) != nil {
				continue
			}
			other := newOther(a)
			if other == nil {
				return nil, fmt.Errorf("%w %.40q", ErrAlgorithm, a)
			}
			h.others = append(h.others, namedHash{other, a})
		}
	}
	return h, nil
}

// newOther makes the hash of an algorithm that is computed by itself, nil for
// another one.
func newOther(a Algorithm) hash.Hash {
	switch a {
	case SHA1:
		return sha1.New()
	case SHA256:
		return sha256.New()
	case SHA512:
		return sha512.New()
	case XXHASH128:
		return xxh3.New128()
	case XXHASH3:
		return xxh3.New()
	case XXHASH64:
		return xxhash.New()
	}
	return nil
}

// other is the hash of an algorithm that New was asked for, or nil.
func (h *Hasher) other(a Algorithm) hash.Hash {
	for i := range h.others {
		if h.others[i].alg == a {
			return h.others[i].Hash
		}
	}
	return nil
}

// Write adds p to every checksum. It keeps nothing of p and returns len(p), nil.
func (h *Hasher) Write(p []byte) (int, error) {
	h.write(p)
	if h.md5 != nil {
		h.md5.Write(p)
	}
	return len(p), nil
}

// Lend is Write that may leave the MD5 of p, with little more, to be computed later:
// the MD5s of several streams cost less together. Nothing of p may be changed before
// done is called, by whichever goroutine. Close must follow.
func (h *Hasher) Lend(p []byte, done func()) {
	h.write(p)
	if h.md5 == nil {
		done()
		return
	}
	h.md5.Lend(p, done)
}

// Flush computes what was left, so that all that was lent is given back.
func (h *Hasher) Flush() {
	if h.md5 != nil {
		h.md5.Flush()
	}
}

// Close is Flush, and the end of the writing. The sums stay.
func (h *Hasher) Close() {
	if h.md5 != nil {
		h.md5.Close()
	}
}

// write adds p to all but MD5.
func (h *Hasher) write(p []byte) {
	if h.wantCRC32 {
		h.crc32 = crc32.Update(h.crc32, crc32.IEEETable, p)
	}
	if h.wantCRC32C {
		h.crc32c = crc32.Update(h.crc32c, castagnoli, p)
	}
	if h.wantCRC64 {
		h.crc64 = crc64nvme.Update(h.crc64, p)
	}
	for i := range h.others {
		h.others[i].Write(p)
	}
	h.size += int64(len(p))
}

// Size is the number of bytes written.
func (h *Hasher) Size() int64 { return h.size }

// Sum is a fresh slice with the checksum of what was written so far; more may
// be written after it. It is nil for an algorithm that New was not asked for.
func (h *Hasher) Sum(a Algorithm) []byte {
	switch {
	case a == CRC32 && h.wantCRC32:
		return binary.BigEndian.AppendUint32(nil, h.crc32)
	case a == CRC32C && h.wantCRC32C:
		return binary.BigEndian.AppendUint32(nil, h.crc32c)
	case a == CRC64NVME && h.wantCRC64:
		return binary.BigEndian.AppendUint64(nil, h.crc64)
	case a == MD5 && h.md5 != nil:
		return h.md5.Sum(nil)
	}
	if other := h.other(a); other != nil {
		return other.Sum(nil)
	}
	return nil
}

// Sums returns every checksum that New was asked for.
func (h *Hasher) Sums() Sums {
	sums := Sums{}
	for _, a := range [...]Algorithm{CRC32, CRC32C, CRC64NVME, MD5} {
		if sum := h.Sum(a); sum != nil {
			sums[a] = sum
		}
	}
	for i := range h.others {
		sums[h.others[i].alg] = h.others[i].Sum(nil)
	}
	return sums
}

// Of is the checksum of p. It panics if a is none or unknown: whoever calls
// it names the algorithm in the code or has parsed it.
func Of(a Algorithm, p []byte) []byte {
	h, err := New(a)
	if err != nil || a == "" {
		panic("checksum: Of with algorithm " + string(a))
	}
	h.Write(p)
	return h.Sum(a)
}
