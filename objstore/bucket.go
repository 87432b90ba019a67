package objstore

import "fmt"

// ETagForm says what the ETags of a bucket's new objects are. The values are on
// disk.
type ETagForm uint8

const (
	// ETagsMD5, the default, are what AWS makes: the MD5 of the bytes; of an
	// object of several parts that of their MD5s.
	ETagsMD5 ETagForm = 0
	// ETagsOpaque tell nothing of the bytes, so MD5 need not be computed: they
	// are those of files written through the mount.
	ETagsOpaque ETagForm = 1
)

// etagForms are the names of the forms, by value.
var etagForms = [...]string{"md5", "opaque"}

// Known reports whether f is one of the forms above.
func (f ETagForm) Known() bool { return int(f) < len(etagForms) }

func (f ETagForm) String() string {
	if f.Known() {
		return etagForms[f]
	}
	return fmt.Sprintf("etag form %d", uint8(f))
}

// ParseETagForm returns the form of that name, "md5" or "opaque".
func ParseETagForm(name string) (ETagForm, error) {
	for i, n := range etagForms {
		if n == name {
			return ETagForm(i), nil
		}
	}
	return 0, E(KindInvalidArgument, "etag form", name, `ETags are "opaque" or "md5"`)
}

// BucketInfo describes a bucket.
type BucketInfo struct {
	Name    string
	Root    InodeID // its root directory, which is its identity
	Created Time
	ETags   ETagForm // of objects that are made from now on
}

// BucketEncryption is how a bucket's new objects are encrypted when nothing else
// is asked for, through either door.
type BucketEncryption struct {
	// Mode is SSES3, SSEKMS or SSEDSSE. SSENone, SSE-S3 by default: it was never
	// set.
	Mode SSEMode
	// KMSKeyID is the external key as it was given, which need not exist; empty:
	// the managed key of S3.
	KMSKeyID  string
	BucketKey bool
	// BlockSSEC refuses new objects under customers' keys.
	BlockSSEC bool
}

// CreateBucketRequest asks for a new bucket.
type CreateBucketRequest struct {
	Name string
	// Mode, of the bucket's root directory in the mount; 0 means 0755.
	Mode      uint32
	Ownership Ownership
	// Configs are configuration documents that it has from the start.
	Configs []NamedConfig
	// ObjectLock makes it a bucket with Object Lock, whose versioning is enabled.
	ObjectLock bool
}
