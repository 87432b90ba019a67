package crypto

import "encoding/binary"

// Domain names one use of sealing, so that what was sealed for one purpose
// never opens for another. Each use has one constant in this file; the text is
// on disk, inside the derivation, and never changes.
type Domain string

// Domains of the key hierarchy. They are used by the functions of hierarchy.go
// alone, hence not exported.
const (
	domainObjectKey Domain = "object key"
	domainChunkKey  Domain = "chunk key"
	domainExtentKey Domain = "extent key"
)

// Domains for SealKey, SealBytes and MAC. The comment names the parent key and
// the fields.
const (
	DomainChecksum    Domain = "checksum"     // OEK: content id, algorithm, checksum type ("parts", "ETAG": see doc.go)
	DomainChecksumKey Domain = "checksum key" // OEK, and while an upload is under way a DEK: content id, which of the two
	DomainETag        Domain = "etag"         // store key: content id, content counter (reserved)
	DomainSetting     Domain = "setting"      // a DEK of its own: store id, name
	DomainSuperblock  Domain = "superblock"   // store key: store id
	DomainContentRoot Domain = "content root" // OEK: content id (reserved)
	DomainSession     Domain = "session"      // key of session tokens: store id
	DomainFingerprint Domain = "fingerprint"  // store key: store id (reserved)
)

// Binding is what a seal is bound to: it opens only with an equal Binding.
// Fields are ordered; one that is empty differs from one that is absent.
// At most 255 fields of less than 4 GiB, a domain of at most 255 bytes: more
// is a mistake in the program, and appending it panics.
type Binding struct {
	Domain Domain
	Fields [][]byte
}

// Bind makes a Binding.
func Bind(d Domain, fields ...[]byte) Binding {
	return Binding{Domain: d, Fields: fields}
}

// append encodes the binding, prefixing every part with its length, so that
// no two bindings have the same bytes:
//
//	1  length of the domain
//	n  domain
//	1  number of fields
//	   per field: 4 length (big endian), n bytes
func (b Binding) append(dst []byte) []byte {
	if len(b.Domain) == 0 || len(b.Domain) > 255 || len(b.Fields) > 255 {
		panic("crypto: binding without a domain or with too many parts")
	}
	dst = append(dst, byte(len(b.Domain)))
	dst = append(dst, b.Domain...)
	dst = append(dst, byte(len(b.Fields)))
	for _, f := range b.Fields {
		if uint64(len(f)) > 1<<32-1 {
			panic("crypto: binding field too long")
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(f)))
		dst = append(dst, f...)
	}
	return dst
}
