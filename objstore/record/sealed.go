package record

import "fmt"

// DEK is a data key as the key service sealed it, with the context it needs
// to unseal it.
type DEK struct {
	KeyID   string // external key
	Context map[string]string
	Sealed  []byte
}

// Append encodes k behind dst.
func (k *DEK) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.str(1, k.KeyID)
	e.bytes(2, appendPairs(nil, k.Context))
	e.bytes(3, k.Sealed)
	return e.b
}

// ParseDEK parses a data key record.
func ParseDEK(b []byte) (*DEK, error) {
	k := &DEK{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			k.KeyID = d.str()
		case 2:
			k.Context = d.pairs()
		case 3:
			k.Sealed = d.copy()
		default:
			d.unknown()
		}
	}
	if d.err == nil && (k.KeyID == "" || len(k.Sealed) == 0) {
		d.fail("data key")
	}
	if d.err != nil {
		return nil, fmt.Errorf("data key: %w", d.err)
	}
	return k, nil
}

// DEKOf names the data key of a bucket for an external key and a client's context.
type DEKOf struct{ ID DEKID }

// Append encodes o behind dst.
func (o *DEKOf) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.uint(1, uint64(o.ID))
	return e.b
}

// ParseDEKOf parses a DEKOf.
func ParseDEKOf(b []byte) (*DEKOf, error) {
	o := &DEKOf{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			o.ID = DEKID(d.uint())
		default:
			d.unknown()
		}
	}
	if d.err == nil && o.ID == 0 {
		d.fail("no data key")
	}
	if d.err != nil {
		return nil, fmt.Errorf("data key of a bucket: %w", d.err)
	}
	return o, nil
}

// Setting is a small secret of the store, sealed under a data key.
type Setting struct {
	DEK    DEKID
	Sealed []byte
}

// Append encodes s behind dst.
func (s *Setting) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.uint(1, uint64(s.DEK))
	e.bytes(2, s.Sealed)
	return e.b
}

// ParseSetting parses a setting.
func ParseSetting(b []byte) (*Setting, error) {
	s := &Setting{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			s.DEK = DEKID(d.uint())
		case 2:
			s.Sealed = d.copy()
		default:
			d.unknown()
		}
	}
	if d.err == nil && (s.DEK == 0 || len(s.Sealed) == 0) {
		d.fail("setting")
	}
	if d.err != nil {
		return nil, fmt.Errorf("setting: %w", d.err)
	}
	return s, nil
}
