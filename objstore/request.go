package objstore

import (
	"github.com/cofferfs/coffer/crypto/secret"
)

// Caller says on whose behalf an operation runs.
type Caller struct {
	// Origin names the mount that asks, 0 for anyone else. A Change carries it
	// back, so that a mount need not be told what its own kernel asked for.
	Origin uint32
	// UID and GID own what is created. S3 requests leave them to the store
	// (NoOwner): a new object takes its directory's owner.
	UID, GID uint32
	// AccessKeyID is the S3 identity, empty for a mount.
	AccessKeyID string
}

// NoOwner as UID or GID means: as the directory.
const NoOwner = ^uint32(0)

// S3Caller is a caller from the S3 door.
func S3Caller(accessKeyID string) Caller {
	return Caller{UID: NoOwner, GID: NoOwner, AccessKeyID: accessKeyID}
}

// SSEMode is how a content's object key is sealed. The values are on disk.
type SSEMode uint8

const (
	SSENone SSEMode = 0 // in a request: the bucket's default. Never on disk.
	SSES3   SSEMode = 1
	SSEKMS  SSEMode = 2
	SSEC    SSEMode = 3
	SSEDSSE SSEMode = 4 // DSSE-KMS: two layers
)

// MaxKMSKeyID bounds the id of an external key as a request has it, in bytes.
const MaxKMSKeyID = 2048

// Encryption is what a request says about encryption.
type Encryption struct {
	Mode SSEMode
	// KMSKeyID is the external key for SSEKMS and SSEDSSE; empty: the default.
	KMSKeyID string
	// Context is the client's encryption context.
	Context map[string]string
	// CustomerKey is the key for SSEC; the caller wipes it after the request.
	CustomerKey *secret.Key
	// BucketKey as requested and answered. The bucket's default says what holds
	// when BucketKeyGiven is false.
	BucketKey, BucketKeyGiven bool
	// MayUse, if not nil, is asked whether the caller may use an external key for what
	// is new, when it is known which one that is. Its error ends the request and is
	// returned as it is.
	MayUse func(SSEInfo) error
}

// Precondition is a set of conditional headers (RFC 9110 section 13; AWS:
// "Conditional requests"). Zero fields do not constrain. ETags come without
// quotes; "*" matches any. On writes only IfMatch and IfNoneMatch count.
type Precondition struct {
	IfMatch, IfNoneMatch               []string
	IfModifiedSince, IfUnmodifiedSince Time
	// OnlyNew, of a write: the caller may not replace what the key names.
	// KindAccessDenied if it names something.
	OnlyNew bool
	// Tags, of a write, gets the tags of what the key names, as Check.Tags does: none if
	// it names nothing.
	Tags func([]Tag) error
}

// IsZero reports whether the headers ask for nothing: Tags does not count.
func (p Precondition) IsZero() bool {
	return len(p.IfMatch) == 0 && len(p.IfNoneMatch) == 0 && p.IfModifiedSince == 0 && p.IfUnmodifiedSince == 0 && !p.OnlyNew
}

// Range is a byte range as in a Range header: from First to Last inclusive;
// Last < 0 means to the end; First < 0 means the last -First bytes.
type Range struct {
	First, Last int64
}

// Resolve returns the offset and length of r in an object of size bytes. ok is
// false when the range does not touch it (416).
func (r Range) Resolve(size int64) (off, n int64, ok bool) {
	first, last := r.First, r.Last
	if first < 0 {
		if size == 0 {
			return 0, 0, false
		}
		first, last = max(size+first, 0), size-1
	}
	if last < 0 || last >= size {
		last = size - 1
	}
	if first >= size || first > last {
		return 0, 0, false
	}
	return first, last - first + 1, true
}
