package engine

import (
	"crypto/rand"
	"errors"
	"fmt"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// plainETags reports whether the MD5 of an object of this mode is its ETag, in a
// bucket of MD5s. With keys of a customer or of the key service it would tell
// about the plaintext to whoever may list: AWS shows other bytes then.
func plainETags(mode objstore.SSEMode) bool {
	return mode == objstore.SSENone || mode == objstore.SSES3
}

// setETag gives a content whose mode and key are chosen the ETag of an object
// with that MD5, or with those MD5s of its parts. Where the MD5 is not shown it
// is kept, sealed, so that a copy under SSE-S3 has it; but see laterMD5.
func setETag(c *record.Content, oek *extent.Keys, kind record.ETagKind, md5 [16]byte) {
	if plainETags(c.Mode) {
		c.ETag, c.ETagSum = kind, md5
		return
	}
	randomETag(c)
	c.SealedMD5 = coffercrypto.SealBytes(oek.Inner, md5Binding(c), md5[:])
}

// laterMD5 reports whether the MD5 of an object of this mode and size, -1 if that is
// not known, is left to whoever copies it under SSE-S3: few objects are, and to read
// one that small takes about as long as to open a sealed MD5.
func laterMD5(mode objstore.SSEMode, size int64) bool {
	return !plainETags(mode) && size >= 0 && size <= extent.MaxInline
}

// leftMD5 reports whether an object's MD5 was left to be computed.
func leftMD5(n *record.Inode) bool {
	c := &n.Content
	return c.ETag == record.ETagRandom && c.PartCount == 0 && len(c.SealedMD5) == 0 && laterMD5(c.Mode, n.Size)
}

func randomETag(c *record.Content) {
	c.ETag = record.ETagRandom
	rand.Read(c.ETagSum[:])
}

func md5Binding(c *record.Content) coffercrypto.Binding {
	return coffercrypto.Bind(coffercrypto.DomainChecksum, c.ID[:], []byte("MD5"), []byte("ETAG"))
}

var errNoMD5 = errors.New("engine: no MD5 was kept")

// openMD5 returns the MD5 that makes a content's ETag where that is shown, and
// what kind of ETag it is. errNoMD5: there is none.
func openMD5(c *record.Content, oek *extent.Keys) (kind record.ETagKind, md5 [16]byte, err error) {
	switch {
	case c.ETag == record.ETagMD5, c.ETag == record.ETagMultipart:
		return c.ETag, c.ETagSum, nil
	case len(c.SealedMD5) == 0 || oek == nil:
		return 0, md5, errNoMD5
	}
	b, err := coffercrypto.OpenBytes(oek.Inner, md5Binding(c), c.SealedMD5)
	if err != nil {
		return 0, md5, fmt.Errorf("sealed MD5: %w", err)
	}
	if len(b) != len(md5) {
		return 0, md5, fmt.Errorf("sealed MD5: %w", record.ErrCorrupt)
	}
	kind = record.ETagMD5
	if c.PartCount > 0 {
		kind = record.ETagMultipart
	}
	return kind, [16]byte(b), nil
}

// copyETag gives the copy of an object its ETag, in a bucket of MD5s. That of a
// file written through the mount is the content's own.
func copyETag(from *record.Content, key *extent.Keys, c *record.Content, oek *extent.Keys) error {
	kind, md5, err := openMD5(from, key)
	switch {
	case err == nil:
		setETag(c, oek, kind, md5)
	case !errors.Is(err, errNoMD5):
		return err
	case from.ETag == record.ETagRandom || !plainETags(c.Mode):
		randomETag(c)
	}
	return nil
}
