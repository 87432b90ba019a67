// Package checksum computes, parses, formats and combines the checksums of the
// S3 protocol (x-amz-checksum-*): CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512,
// MD5, which is that of Content-MD5 and ETags, too, and those of the xxHash family.
//
// A sum is the raw digest, big-endian for what is a number. S3 knows two kinds of
// checksum for objects of several parts: FULL_OBJECT, the checksum of all
// bytes, which for the CRCs follows from those of the parts and their lengths
// (Concat), and COMPOSITE, the checksum of the parts' sums (Compose), written
// with the number of parts behind a hyphen.
//
// Sums travel as base64; ETags as lower-case hex. None of this is secret and
// none of it proves where data came from: comparisons are plain, and the CRCs,
// MD5 and xxHash detect accidents only.
//
// The package is pure: no files, no clock, no other package of ours.
package checksum

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// MaxParts is the largest number of parts an object can have.
const MaxParts = 10000

// Sums holds raw digests (big-endian for numbers) by algorithm.
type Sums map[Algorithm][]byte

// Matches says whether s has the sum want for a.
func (s Sums) Matches(a Algorithm, want []byte) bool {
	sum, ok := s[a]
	return ok && bytes.Equal(sum, want)
}

// Parse reads the base64 of a sum, as in an x-amz-checksum-* header, a trailer
// or Content-MD5. Only the one canonical spelling is taken. The error wraps
// ErrInvalid or ErrAlgorithm.
func Parse(a Algorithm, s string) ([]byte, error) {
	if a.Size() == 0 {
		return nil, fmt.Errorf("%w %.40q", ErrAlgorithm, a)
	}
	if len(s) != base64.StdEncoding.EncodedLen(a.Size()) {
		return nil, fmt.Errorf("%w: %s %.80q", ErrInvalid, a, s)
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(s)
	// The decoder skips line breaks: they leave the sum short.
	if err != nil || len(sum) != a.Size() {
		return nil, fmt.Errorf("%w: %s %.80q", ErrInvalid, a, s)
	}
	return sum, nil
}

// Format is the base64 of a sum, which Parse reads back.
func Format(sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }

// ParseObject is Parse for the checksum of an object, which may be composite:
// parts is then the number behind the hyphen, and 0 otherwise.
func ParseObject(a Algorithm, s string) (sum []byte, parts int, err error) {
	text, count, composite := strings.Cut(s, "-")
	sum, err = Parse(a, text)
	if err != nil || !composite {
		return sum, 0, err
	}
	if err := Composite.Check(a); err != nil {
		return nil, 0, err
	}
	parts, err = strconv.Atoi(count)
	if err != nil || parts < 1 || parts > MaxParts || strconv.Itoa(parts) != count {
		return nil, 0, fmt.Errorf("%w: number of parts %.20q", ErrInvalid, count)
	}
	return sum, parts, nil
}

// FormatObject is Format, with a hyphen and the number of parts behind it if
// that is not 0. ParseObject reads it back.
func FormatObject(sum []byte, parts int) string {
	if parts == 0 {
		return Format(sum)
	}
	return Format(sum) + "-" + strconv.Itoa(parts)
}
