package sealedfs

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/cofferfs/coffer/crypto"
)

const (
	// HeaderSize is the length of every file's header in bytes. On disk.
	HeaderSize = 136

	headerMagic   = "coffermd" // on disk
	headerVersion = 1          // on disk
	headerBody    = HeaderSize - tagSize
	tagSize       = crypto.PageOverhead
)

// tag is the authentication tag of one frame.
type tag [tagSize]byte

// anchor is what a log vouches for beyond itself.
type anchor struct {
	retired     uint64 // every log up to this number is obsolete
	manifest    uint64 // the manifest in force
	manifestEnd uint64 // its length known to be synced, in bytes
	manifestTag uint64 // the first 8 bytes of the tag of its last frame there
}

func (t tag) short() uint64 { return binary.BigEndian.Uint64(t[:8]) }

// header is the parsed form of a file's header.
type header struct {
	kind    kind
	payload uint32
	keyID   uint32
	number  uint64
	salt    [32]byte
	pred    uint64
	predTag tag
	anchor  anchor

	tag    tag
	cipher *crypto.PageCipher
}

// newHeader makes the header of a new file under the current store key. seal
// completes it.
func (fs *FS) newHeader(k kind, number uint64) (*header, error) {
	h := &header{kind: k, keyID: fs.o.CurrentKey, number: number}
	if !k.isLog() {
		h.payload = PagePayload
	}
	rand.Read(h.salt[:]) // never fails (Go 1.24)
	var err error
	h.cipher, err = fs.cipher(h)
	return h, err
}

func (fs *FS) cipher(h *header) (*crypto.PageCipher, error) {
	key := fs.o.Keys[h.keyID]
	if key == nil {
		return nil, fmt.Errorf("%w: id %d", ErrUnknownKey, h.keyID)
	}
	return crypto.NewPageCipher(key, h.salt, byte(h.kind), h.number)
}

// append appends the sealed header to dst and sets h.tag.
func (h *header) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, headerMagic...)
	dst = binary.BigEndian.AppendUint16(dst, headerVersion)
	dst = append(dst, byte(h.kind), 0)
	dst = binary.BigEndian.AppendUint32(dst, h.payload)
	dst = binary.BigEndian.AppendUint32(dst, h.keyID)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, h.number)
	dst = append(dst, h.salt[:]...)
	dst = binary.BigEndian.AppendUint64(dst, h.pred)
	dst = append(dst, h.predTag[:]...)
	dst = h.anchor.append(dst)
	sealed := h.cipher.Seal(dst, nil, dst[start:], 0)
	copy(h.tag[:], sealed[len(dst):])
	return sealed
}

// parseHeader authenticates b, the first HeaderSize bytes of the file name,
// which must be a name that classify knows.
func (fs *FS) parseHeader(name string, b []byte) (*header, error) {
	if len(b) < HeaderSize {
		return nil, corrupt(name, "header has %d bytes of %d", len(b), HeaderSize)
	}
	b = b[:HeaderSize]
	if string(b[:8]) != headerMagic {
		return nil, corrupt(name, "no sealed file")
	}
	if v := binary.BigEndian.Uint16(b[8:]); v != headerVersion {
		// An attacker could write any version here, so this is corruption to
		// whoever asks for that, and a newer format to whoever asks for that.
		return nil, fmt.Errorf("%w: %w: %d, this program knows %d",
			corrupt(name, "header"), ErrVersion, v, headerVersion)
	}
	h := &header{
		kind:    kind(b[10]),
		payload: binary.BigEndian.Uint32(b[12:]),
		keyID:   binary.BigEndian.Uint32(b[16:]),
		number:  binary.BigEndian.Uint64(b[24:]),
		pred:    binary.BigEndian.Uint64(b[64:]),
		anchor:  parseAnchor(b[88:]),
	}
	copy(h.salt[:], b[32:])
	copy(h.predTag[:], b[72:])
	copy(h.tag[:], b[headerBody:])
	k, number, ok := classify(name)
	if !ok || h.kind != k || h.number != number {
		return nil, corrupt(name, "is file %d of kind %d", h.number, h.kind)
	}
	var err error
	if h.cipher, err = fs.cipher(h); err != nil {
		return nil, fmt.Errorf("%w: %w", corrupt(name, "header"), err)
	}
	if _, err := h.cipher.Open(nil, b[headerBody:], b[:headerBody], 0); err != nil {
		return nil, corrupt(name, "header does not authenticate")
	}
	want := uint32(PagePayload)
	if k.isLog() {
		want = 0
	}
	if h.payload != want {
		return nil, fmt.Errorf("%w: %w: pages of %d bytes", corrupt(name, "header"), ErrVersion, h.payload)
	}
	return h, nil
}

const anchorSize = 32 // on disk

func (a anchor) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, a.retired)
	dst = binary.BigEndian.AppendUint64(dst, a.manifest)
	dst = binary.BigEndian.AppendUint64(dst, a.manifestEnd)
	return binary.BigEndian.AppendUint64(dst, a.manifestTag)
}

// parseAnchor reads the first anchorSize bytes of b.
func parseAnchor(b []byte) anchor {
	return anchor{
		retired:     binary.BigEndian.Uint64(b),
		manifest:    binary.BigEndian.Uint64(b[8:]),
		manifestEnd: binary.BigEndian.Uint64(b[16:]),
		manifestTag: binary.BigEndian.Uint64(b[24:]),
	}
}
