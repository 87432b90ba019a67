package objstore

import (
	"io"
	"time"

	"github.com/cofferfs/coffer/objstore/checksum"
)

// ETag is an entity tag without quotes.
type ETag string

// ObjectInfo describes a committed object.
type ObjectInfo struct {
	Bucket, Key  string
	Inode        InodeID
	Size         int64
	ETag         ETag
	LastModified Time
	// Since when the object's age counts for lifecycle rules: LastModified, or when
	// its file was made if that is later (a copy that keeps times is not old).
	Since Time
	// Version is empty in a bucket that never had versions.
	Version VersionID
	// SourceVersion is the version that a copy was made of, if the source has
	// versions.
	SourceVersion VersionID
	Lock          Lock
	// Restored is until when an archived object can be read; 0: it cannot, or is no
	// archived object. See ObjectMeta.Archive.
	Restored Time
	Parts    int // of a multipart upload, otherwise 0
	Meta     ObjectMeta
	Tags     int // number of tags
	SSE      SSEInfo
	// Checksum is the one stored with the object; nil when there is none, or
	// when the object's key was needed to read it and was not at hand.
	Checksum *Checksum
}

// SSEInfo is how an object is encrypted, as responses tell it.
type SSEInfo struct {
	Mode      SSEMode
	KMSKeyID  string // an ARN
	BucketKey bool
	// ManagedKey: it is the key of alias/aws/s3.
	ManagedKey bool
}

// AskedSSE is an encryption as a request asked for it: the zero value if it left that
// to the bucket.
type AskedSSE struct {
	Mode     SSEMode
	KMSKeyID string // as it was given
}

// ObjectMeta are the headers that are stored with an object and given back.
type ObjectMeta struct {
	ContentType        string
	CacheControl       string
	ContentDisposition string
	ContentEncoding    string
	ContentLanguage    string
	Expires            string
	WebsiteRedirect    string
	StorageClass       string // stored as given; see Archive
	// User are the x-amz-meta-* headers by lower-case name without the prefix.
	User map[string]string
}

// Archive reports whether S3 serves an object of this storage class only once it was
// restored. Beside that all classes are one.
func (m *ObjectMeta) Archive() bool {
	return m.StorageClass == "GLACIER" || m.StorageClass == "DEEP_ARCHIVE"
}

// Archived reports whether the object has to be restored before S3 serves it.
func (i *ObjectInfo) Archived() bool { return i.Meta.Archive() && i.Restored == 0 }

// Checksum is a checksum as S3 stores it with an object.
type Checksum struct {
	Algorithm checksum.Algorithm
	// Type tells a checksum of the whole object from one of its parts' checksums.
	Type checksum.Type
	// Value is base64, with "-N" behind it for a composite of N parts.
	Value string
}

// PutRequest stores an object. The store reads Body to its end, hashes what it
// is asked to while it encrypts, calls Verify, and only then commits.
type PutRequest struct {
	Bucket, Key string
	Body        io.Reader
	// Size in bytes, or -1 when unknown. A body of another length is KindMalformed.
	Size int64
	// Offset of an AppendObject, in bytes.
	Offset       int64
	Meta         ObjectMeta
	Tags         []Tag // see CheckTags
	Encryption   Encryption
	Precondition Precondition
	Lock         Lock // beside the bucket's default retention
	// Algorithms to compute, beside what the ETag needs (see ETagForm).
	Algorithms []checksum.Algorithm
	// Store is the algorithm whose value is kept with the object; it is one of
	// Algorithms or empty.
	Store checksum.Algorithm
	// Verify is called after the last byte with what was computed; an error
	// aborts the request, with nothing changed, and is returned as it is.
	Verify func(checksum.Sums) error
}

// GetRequest reads or describes an object.
type GetRequest struct {
	Bucket, Key  string
	Version      VersionID
	Precondition Precondition
	Range        *Range
	IfRange      *RangeCondition // without which Range counts; nil: it counts
	PartNumber   int             // 0: the whole object
	CustomerKey  Encryption
	// NoChecksum: the checksum is left out, which is sealed, and for which
	// HeadObject takes the object's key. A customer's key is verified all the same.
	NoChecksum bool
	// NoKey: HeadObject describes the object to whoever has no key, without its
	// checksum.
	NoKey bool
	Check Check
}

// Check asks whether the caller may do what it wants with an object, in the snapshot or
// transaction that it is done in, ahead of anything that is done with its content, and
// maybe again. What is nil is not asked. An error ends the request and is returned as it
// is.
type Check struct {
	// Tags gets the object's tags; where it need not be there for what is done, and is
	// not, none.
	Tags func([]Tag) error
	// Key gets how the object is encrypted, if that is under an external key.
	Key func(SSEInfo) error
}

// RangeCondition is If-Range (RFC 9110, 13.1.5): Range counts for an object that the
// validator is of, and otherwise all of it is wanted. One without a validator is of
// no object.
type RangeCondition struct {
	ETag     ETag
	Modified Time // in whole seconds, where ETag is empty
}

// Holds reports whether the object is the one.
func (c *RangeCondition) Holds(etag ETag, modified Time) bool {
	switch {
	case c == nil:
		return true
	case c.ETag != "":
		return c.ETag == etag
	}
	return c.Modified != 0 && c.Modified == TimeOf(modified.Std().Truncate(time.Second))
}

// TagsRequest names the object whose tags are meant.
type TagsRequest struct {
	Bucket, Key string
	Version     VersionID
	Check       Check
}

// DeleteResult says what a delete did.
type DeleteResult struct {
	Existed bool
	// Version is the version that was deleted by its id, or the delete marker that
	// was made; empty in a bucket that never had versions.
	Version VersionID
	// Marker: Version is a delete marker.
	Marker bool
}

// DeleteRequest removes the current version of an object, or the one that is
// named, for good.
type DeleteRequest struct {
	Bucket, Key  string
	Version      VersionID
	Precondition Precondition // on the current version
	// Bypass overrides a retention in governance mode. Whether the caller may is
	// for the door to ask.
	Bypass bool
	Check  Check // of the version that is meant
}

// DeleteOutcome is what became of one request of several.
type DeleteOutcome struct {
	DeleteResult
	Err error
}

// CopyRequest copies an object without moving its data.
type CopyRequest struct {
	SrcBucket, SrcKey string
	SrcVersion        VersionID
	SrcPrecondition   Precondition
	SrcCustomerKey    Encryption
	DstBucket, DstKey string
	DstPrecondition   Precondition
	Lock              Lock // of the copy: the source's is not copied
	Encryption        Encryption
	// Meta replaces the source's when it is not nil (x-amz-metadata-directive: REPLACE).
	Meta *ObjectMeta
	// StorageClass and WebsiteRedirect are the copy's where Meta is nil: they never
	// come from the source (AWS, CopyObject).
	StorageClass, WebsiteRedirect string
	// Tags replace the source's when the pointer is not nil (x-amz-tagging-directive: REPLACE).
	Tags *[]Tag
	// Store is the algorithm whose checksum the copy carries; empty: the source's.
	Store       checksum.Algorithm
	CheckSource Check
}

// RenameRequest renames an object, or all keys below a prefix.
type RenameRequest struct {
	Bucket          string
	SrcKey, DstKey  string
	SrcPrecondition Precondition
	DstPrecondition Precondition
	CheckSource     Check // of an object, not of a prefix
	// Token of the client, under which it may repeat the request; empty: none.
	Token string
}

// RestoreRequest asks for an archived object to be served.
type RestoreRequest struct {
	Bucket, Key string
	Version     VersionID
	Until       Time
	Check       Check
}

// UpdateEncryptionRequest asks for another way of sealing an object's key.
type UpdateEncryptionRequest struct {
	Bucket, Key string
	Version     VersionID
	// Encryption of Mode SSEKMS.
	Encryption Encryption
	Check      Check
}

// ListRequest asks for one page of keys in byte order.
type ListRequest struct {
	Bucket    string
	Prefix    string
	Delimiter string
	// After is the last key or common prefix that was seen; only what sorts
	// behind it, and outside of it when it is a common prefix, is returned.
	After   string
	MaxKeys int // 0 to MaxListKeys
}

// ListResult is one page. Entries holds objects and common prefixes in one
// order; an entry is a common prefix when Prefix is true.
type ListResult struct {
	Entries   []ListEntry
	Truncated bool
	// Next continues after this page as ListRequest.After.
	Next string
}

// ListEntry is a key or a common prefix.
type ListEntry struct {
	Key          string
	Prefix       bool
	Size         int64
	ETag         ETag
	LastModified Time
	ChecksumAlgo checksum.Algorithm
	ChecksumType checksum.Type
	StorageClass string
	Restored     Time // see ObjectInfo
}
