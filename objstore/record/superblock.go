package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
)

// The superblock, version 1 (big endian). It is a file beside the metadata,
// since the store key that opens the metadata is itself sealed in it.
//
//	 0   8  magic "COFFERSB"
//	 8   2  format version of the store
//	10   2  flags: bit 0 initialised; any other bit is refused
//	12   4  length of the whole superblock in bytes
//	16  16  store id
//	32   8  writer epoch
//	40   8  time of creation, nanoseconds since 1970
//	48   1  number of store keys, 1 to MaxStoreKeys; for each:
//	        4 key id, 2 length, n sealed data key (opaque to this package)
//	 +  32  MAC of all bytes before it, under the first store key
//	 +  16  check: the first bytes of SHA-256 of all bytes before it
//
// The check needs no key and tells damage from a wrong key; the MAC is what
// authenticates. What the MAC does not cover: replay of an older superblock.
const (
	superblockMagic = "COFFERSB"
	// FormatVersion is the version of the store's format that this build
	// writes, and the only one it reads.
	FormatVersion = 1
	// MaxStoreKeys bounds the store keys of a superblock.
	MaxStoreKeys = 8
	// MaxSealedStoreKey bounds one sealed store key, in bytes.
	MaxSealedStoreKey = 2048
	// MaxSuperblock bounds a superblock, in bytes: read no more of a file.
	MaxSuperblock = superblockHead + MaxStoreKeys*(storeKeyHead+MaxSealedStoreKey) + superblockTail

	superblockHead  = 49
	storeKeyHead    = 6
	superblockMAC   = 32
	superblockCheck = 16
	superblockTail  = superblockMAC + superblockCheck

	flagInitialised = 1 << 0
)

// ErrSuperblock marks a superblock that is damaged, or none at all.
var ErrSuperblock = errors.New("superblock is damaged")

// NewerFormatError says that a store has a format that this build does not
// know.
type NewerFormatError struct {
	Version uint16
}

func (e *NewerFormatError) Error() string {
	return fmt.Sprintf("store has format version %d, this build knows version %d", e.Version, FormatVersion)
}

// StoreKey is one sealed store key.
type StoreKey struct {
	ID     uint32 // named in the header of every metadata file
	Sealed []byte // as the key service made it
}

// Superblock is what must be known of a store before its metadata can be
// opened.
type Superblock struct {
	StoreID [16]byte
	// Initialised: the store was made completely. From then on nothing that is
	// missing is ever made anew.
	Initialised bool
	// Epoch names the writer that may remove what is unreferenced. A restored
	// or cloned store is given a new one.
	Epoch   uint64
	Created objstore.Time
	// Keys are the store keys, the first of which is used for new things.
	Keys []StoreKey
}

// AppendSuperblock appends the encoding of s to dst. mac authenticates what
// precedes it. It panics on more keys or longer ones than the format holds,
// which only a mistake in the program can bring.
func AppendSuperblock(dst []byte, s *Superblock, mac func(body []byte) [32]byte) []byte {
	if len(s.Keys) == 0 || len(s.Keys) > MaxStoreKeys {
		panic("record: superblock with a wrong number of keys")
	}
	size := superblockHead + superblockTail
	for _, k := range s.Keys {
		if len(k.Sealed) == 0 || len(k.Sealed) > MaxSealedStoreKey {
			panic("record: sealed store key of a wrong length")
		}
		size += storeKeyHead + len(k.Sealed)
	}
	start := len(dst)
	dst = append(dst, superblockMagic...)
	dst = binary.BigEndian.AppendUint16(dst, FormatVersion)
	var flags uint16
	if s.Initialised {
		flags |= flagInitialised
	}
	dst = binary.BigEndian.AppendUint16(dst, flags)
	dst = binary.BigEndian.AppendUint32(dst, uint32(size))
	dst = append(dst, s.StoreID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, s.Epoch)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Created))
	dst = append(dst, byte(len(s.Keys)))
	for _, k := range s.Keys {
		dst = binary.BigEndian.AppendUint32(dst, k.ID)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(k.Sealed)))
		dst = append(dst, k.Sealed...)
	}
	m := mac(dst[start:])
	dst = append(dst, m[:]...)
	check := sha256.Sum256(dst[start:])
	return append(dst, check[:superblockCheck]...)
}

// ParseSuperblock reads what AppendSuperblock wrote. It checks everything that
// needs no key; body and mac are what the caller must then verify with the
// first store key before it trusts anything but the keys and the store id. All
// results share memory with b. Errors: ErrSuperblock, *NewerFormatError.
func ParseSuperblock(b []byte) (s *Superblock, body, mac []byte, err error) {
	bad := func(what string) (*Superblock, []byte, []byte, error) {
		return nil, nil, nil, fmt.Errorf("%w: %s", ErrSuperblock, what)
	}
	if len(b) < 10 || string(b[:8]) != superblockMagic {
		return bad("it does not begin as one")
	}
	version := binary.BigEndian.Uint16(b[8:])
	if version > FormatVersion {
		return nil, nil, nil, &NewerFormatError{Version: version}
	}
	if version != FormatVersion {
		return bad(fmt.Sprintf("there is no format version %d", version))
	}
	if len(b) < superblockHead+superblockTail || len(b) > MaxSuperblock {
		return bad(fmt.Sprintf("%d bytes", len(b)))
	}
	if binary.BigEndian.Uint32(b[12:]) != uint32(len(b)) {
		return bad("it is cut or has bytes after its end")
	}
	sum := sha256.Sum256(b[:len(b)-superblockCheck])
	if !bytes.Equal(sum[:superblockCheck], b[len(b)-superblockCheck:]) {
		return bad("its check does not match")
	}
	flags := binary.BigEndian.Uint16(b[10:])
	if flags&^flagInitialised != 0 {
		return nil, nil, nil, fmt.Errorf("%w: unknown flags %#x", &NewerFormatError{Version: version}, flags)
	}
	body = b[:len(b)-superblockTail]
	mac = b[len(body) : len(body)+superblockMAC]
	s = &Superblock{
		StoreID:     [16]byte(b[16:32]),
		Initialised: flags&flagInitialised != 0,
		Epoch:       binary.BigEndian.Uint64(b[32:]),
		Created:     objstore.Time(binary.BigEndian.Uint64(b[40:])),
	}
	n := int(b[48])
	if n == 0 || n > MaxStoreKeys {
		return bad(fmt.Sprintf("%d store keys", n))
	}
	rest := body[superblockHead:]
	for range n {
		if len(rest) < storeKeyHead {
			return bad("store keys are cut")
		}
		length := int(binary.BigEndian.Uint16(rest[4:]))
		end := storeKeyHead + length
		if length == 0 || length > MaxSealedStoreKey || len(rest) < end {
			return bad("length of a store key")
		}
		k := StoreKey{ID: binary.BigEndian.Uint32(rest), Sealed: rest[storeKeyHead:end:end]}
		for _, o := range s.Keys {
			if o.ID == k.ID {
				return bad("two store keys have one id")
			}
		}
		s.Keys = append(s.Keys, k)
		rest = rest[end:]
	}
	if len(rest) != 0 {
		return bad("bytes after the store keys")
	}
	return s, body, mac, nil
}
