package record

import (
	"encoding/binary"
	"fmt"
)

// Xattrs is the value of an x record: a version byte (1), then for each
// attribute, in the order of their names, name and value, each behind its
// length as an unsigned varint.
type Xattrs map[string]string

// Append encodes x behind dst.
func (x Xattrs) Append(dst []byte) []byte {
	return appendPairs(append(dst, version1), x)
}

// ParseXattrs parses an x record.
func ParseXattrs(b []byte) (Xattrs, error) {
	switch {
	case len(b) == 0:
		return nil, fmt.Errorf("%w: empty attributes", ErrCorrupt)
	case b[0] != version1:
		return nil, fmt.Errorf("%w: attributes version %d", ErrVersion, b[0])
	}
	m, err := parsePairs(b[1:])
	return Xattrs(m), err
}

func appendPairs(dst []byte, m map[string]string) []byte {
	for _, k := range sortedKeys(m) {
		dst = binary.AppendUvarint(dst, uint64(len(k)))
		dst = append(dst, k...)
		dst = binary.AppendUvarint(dst, uint64(len(m[k])))
		dst = append(dst, m[k]...)
	}
	return dst
}

// pairs returns the pairs of a field, nil when there are none: such a field says the
// same as one that is absent.
func (d *decoder) pairs() map[string]string {
	var m map[string]string
	if m, d.err = parsePairs(d.val); len(m) == 0 {
		return nil
	}
	return m
}

func parsePairs(b []byte) (map[string]string, error) {
	m := make(map[string]string)
	take := func() (string, bool) {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return "", false
		}
		s := string(b[w : w+int(n)])
		b = b[w+int(n):]
		return s, true
	}
	last := ""
	for len(b) > 0 {
		k, ok := take()
		if !ok || (len(m) > 0 && k <= last) {
			return nil, fmt.Errorf("%w: pairs", ErrCorrupt)
		}
		v, ok := take()
		if !ok {
			return nil, fmt.Errorf("%w: pairs", ErrCorrupt)
		}
		m[k], last = v, k
	}
	return m, nil
}
