package engine

import (
	"fmt"

	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"

	coffercrypto "github.com/cofferfs/coffer/crypto"
)

// Parts lists the parts that the object was uploaded in, with their sizes and
// checksums. The checksums of parts are kept where they make that of the object,
// which AWS calls COMPOSITE; the list is nil where there are none.
func (o *Object) Parts() ([]objstore.PartInfo, error) {
	p, err := o.r.parts(o.n)
	if err != nil || p == nil {
		return nil, o.s.wrap("get", o.Info.Key, err)
	}
	sums, err := openPartSums(&o.n.Content, o.oek, p)
	if err != nil || sums == nil {
		return nil, o.s.wrap("get", o.Info.Key, err)
	}
	list := make([]objstore.PartInfo, len(p.Sizes))
	for i, size := range p.Sizes {
		list[i] = objstore.PartInfo{Number: i + 1, Size: size, LastModified: o.n.Mtime, Checksum: &sums[i]}
	}
	return list, nil
}

// parts describes the parts that an object was uploaded in; nil when it was not.
func (r reader) parts(n *record.Inode) (*record.Parts, error) {
	if n.Content.PartCount == 0 {
		return nil, nil
	}
	v, err := r.Get(record.PartsKey(n.Content.ID))
	if err != nil {
		return nil, absent(err, "parts")
	}
	p, err := record.ParseParts(v)
	if err == nil && len(p.Sizes) != int(n.Content.PartCount) {
		return nil, fmt.Errorf("%w: %d parts are kept of %d", record.ErrCorrupt, len(p.Sizes), n.Content.PartCount)
	}
	return p, err
}

// sealPartSums keeps the checksums of parts under the key that the content's is
// sealed under.
func sealPartSums(c *record.Content, key *secret.Key, alg checksum.Algorithm, sums []byte, p *record.Parts) {
	p.Algorithm = alg
	p.Checksums = coffercrypto.SealBytes(key, partSumsBinding(c, alg), sums)
}

// openPartSums is the other way round; nil when no checksums are kept.
func openPartSums(c *record.Content, oek *extent.Keys, p *record.Parts) ([]objstore.Checksum, error) {
	if len(p.Checksums) == 0 || oek == nil {
		return nil, nil
	}
	raw, err := openRawSums(c, oek, p)
	if err != nil {
		return nil, err
	}
	size := p.Algorithm.Size()
	if size == 0 || len(raw) != size*len(p.Sizes) {
		return nil, fmt.Errorf("%w: checksums of parts", record.ErrCorrupt)
	}
	sums := make([]objstore.Checksum, len(p.Sizes))
	for i := range sums {
		sums[i] = objstore.Checksum{Algorithm: p.Algorithm, Type: checksum.Composite, Value: checksum.Format(raw[i*size : (i+1)*size])}
	}
	return sums, nil
}

func openRawSums(c *record.Content, oek *extent.Keys, p *record.Parts) ([]byte, error) {
	key, err := checksumKey(c, oek)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	raw, err := coffercrypto.OpenBytes(key, partSumsBinding(c, p.Algorithm), p.Checksums)
	if err != nil {
		return nil, fmt.Errorf("checksums of parts: %w", err)
	}
	return raw, nil
}

// partSumsBinding differs from that of the object's checksum, whose third field
// is a checksum type.
func partSumsBinding(c *record.Content, alg checksum.Algorithm) coffercrypto.Binding {
	return coffercrypto.Bind(coffercrypto.DomainChecksum, c.ID[:], []byte(alg), []byte("parts"))
}

// copyParts keeps the parts of a copy's source with the copy: an object keeps
// its parts together with the ETag that counts them.
func (x *tx) copyParts(src *source, dst *record.Content, oek *extent.Keys) error {
	p, err := x.parts(src.n)
	if err != nil || p == nil {
		return err
	}
	p.Asked = [16]byte{}
	switch {
	case dst.ChecksumType != checksum.Composite:
		p.Algorithm, p.Checksums = "", nil
	case len(p.Checksums) > 0:
		raw, err := openRawSums(&src.n.Content, src.oek, p)
		if err != nil {
			return err
		}
		sealPartSums(dst, oek.Inner, p.Algorithm, raw, p)
	}
	x.txn.Set(record.PartsKey(dst.ID), p.Append(nil))
	return nil
}
