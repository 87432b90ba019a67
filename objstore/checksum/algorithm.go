package checksum

import (
	"errors"
	"fmt"
	"strings"
)

// Algorithm is a checksum algorithm by its S3 name. The empty Algorithm is
// none. The names stand in stored records and are never changed.
type Algorithm string

const (
	CRC32     Algorithm = "CRC32"
	CRC32C    Algorithm = "CRC32C"
	CRC64NVME Algorithm = "CRC64NVME"
	MD5       Algorithm = "MD5" // of ETag and Content-MD5, too
	SHA1      Algorithm = "SHA1"
	SHA256    Algorithm = "SHA256"
	SHA512    Algorithm = "SHA512"
	XXHASH128 Algorithm = "XXHASH128" // XXH3, 128 bits
	XXHASH3   Algorithm = "XXHASH3"   // XXH3, 64 bits
	XXHASH64  Algorithm = "XXHASH64"  // XXH64; all three without seed
)

// Type tells a checksum of the whole object from one of its parts' checksums.
// The empty Type is none. The names stand in stored records.
type Type string

const (
	FullObject Type = "FULL_OBJECT"
	Composite  Type = "COMPOSITE"
)

var (
	// ErrAlgorithm is returned for an algorithm that is unknown, or cannot do
	// what is asked.
	ErrAlgorithm = errors.New("checksum: unsupported algorithm")
	// ErrInvalid is returned for text or bytes that are no checksum of their
	// algorithm.
	ErrInvalid = errors.New("checksum: invalid value")
)

// Algorithms lists the x-amz-checksum family in the order in which S3 names it.
func Algorithms() []Algorithm {
	return []Algorithm{CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHASH128, XXHASH3, XXHASH64}
}

// MaxSize is the length of the longest sum, in bytes.
const MaxSize = 64

// Size is the length of a's sum in bytes, 0 if a is none or unknown.
func (a Algorithm) Size() int {
	switch a {
	case CRC32, CRC32C:
		return 4
	case CRC64NVME, XXHASH3, XXHASH64:
		return 8
	case MD5, XXHASH128:
		return 16
	case SHA1:
		return 20
	case SHA256:
		return 32
	case SHA512:
		return MaxSize
	}
	return 0
}

// Header is the lower-case name of the header and trailer that carries a's
// value; empty if a is none or unknown.
func (a Algorithm) Header() string {
	switch a {
	case CRC32:
		return "x-amz-checksum-crc32"
	case CRC32C:
		return "x-amz-checksum-crc32c"
	case CRC64NVME:
		return "x-amz-checksum-crc64nvme"
	case MD5:
		return "x-amz-checksum-md5"
	case SHA1:
		return "x-amz-checksum-sha1"
	case SHA256:
		return "x-amz-checksum-sha256"
	case SHA512:
		return "x-amz-checksum-sha512"
	case XXHASH128:
		return "x-amz-checksum-xxhash128"
	case XXHASH3:
		return "x-amz-checksum-xxhash3"
	case XXHASH64:
		return "x-amz-checksum-xxhash64"
	}
	return ""
}

// Lower is the name as AWS writes it in some of its messages: "crc32".
func (a Algorithm) Lower() string { return strings.ToLower(string(a)) }

// IsCRC says whether sums of a can be combined with Concat.
func (a Algorithm) IsCRC() bool { return a == CRC32 || a == CRC32C || a == CRC64NVME }

// ParseAlgorithm reads a name of the x-amz-checksum family in any case, as in
// x-amz-checksum-algorithm. The error wraps ErrAlgorithm.
func ParseAlgorithm(s string) (Algorithm, error) {
	for _, a := range Algorithms() {
		if strings.EqualFold(s, string(a)) {
			return a, nil
		}
	}
	return "", fmt.Errorf("%w %.40q", ErrAlgorithm, s)
}

// FromHeader finds the algorithm whose value the header or trailer of that
// name carries, in any case. x-amz-checksum-algorithm, -mode and -type carry
// none.
func FromHeader(name string) (Algorithm, bool) {
	for _, a := range Algorithms() {
		if strings.EqualFold(name, a.Header()) {
			return a, true
		}
	}
	return "", false
}

// ParseType reads x-amz-checksum-type. The error wraps ErrInvalid.
func ParseType(s string) (Type, error) {
	if t := Type(s); t == Composite || t == FullObject {
		return t, nil
	}
	return "", fmt.Errorf("%w: type %.40q", ErrInvalid, s)
}

// DefaultType is the type of an upload of several parts that names a and no
// type (S3 user guide, "Checking object integrity"): COMPOSITE, but
// FULL_OBJECT for CRC64NVME, which has no other.
func DefaultType(a Algorithm) Type {
	switch {
	case a == CRC64NVME:
		return FullObject
	case a.Size() > 0:
		return Composite
	}
	return ""
}

// Check says whether an upload of several parts can use t with a. The error is
// a *TypeError.
func (t Type) Check(a Algorithm) error {
	switch {
	case t == Composite && a.Size() > 0 && a != CRC64NVME:
		return nil
	case t == FullObject && a.IsCRC():
		return nil
	}
	return &TypeError{Algorithm: a, Type: t}
}

// TypeError is the error of Type.Check. It wraps ErrAlgorithm.
type TypeError struct {
	Algorithm Algorithm
	Type      Type
}

// Message is the text that AWS sends with InvalidRequest and status 400.
func (e *TypeError) Message() string {
	return fmt.Sprintf("The %s checksum type cannot be used with the %s checksum algorithm.", e.Type, e.Algorithm.Lower())
}

func (e *TypeError) Error() string { return "checksum: " + e.Message() }
func (e *TypeError) Unwrap() error { return ErrAlgorithm }
