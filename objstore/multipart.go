package objstore

import (
	"io"

	"github.com/cofferfs/coffer/objstore/checksum"
)

// UploadID names a multipart upload: 32 hexadecimal digits.
type UploadID string

// CreateUploadRequest begins a multipart upload.
type CreateUploadRequest struct {
	Bucket, Key string
	Lock        Lock // of the object
	Meta        ObjectMeta
	Tags        []Tag // see CheckTags
	Encryption  Encryption
	// Algorithm and Type are those that Complete will store; empty: none asked for.
	Algorithm checksum.Algorithm
	Type      checksum.Type
}

// UploadInfo describes an upload under way.
type UploadInfo struct {
	Bucket, Key string
	ID          UploadID
	Initiated   Time
	Meta        ObjectMeta
	SSE         SSEInfo
	Asked       AskedSSE
	Algorithm   checksum.Algorithm
	Type        checksum.Type
	Lock        Lock // that was asked for, of the object
}

// UploadPartRequest stores one part; a part of the same number is replaced.
type UploadPartRequest struct {
	Bucket, Key string
	Upload      UploadID
	Number      int // 1 to MaxPartNumber
	Body        io.Reader
	Size        int64 // bytes, or -1
	Encryption  Encryption
	Algorithms  []checksum.Algorithm
	Store       checksum.Algorithm
	Verify      func(checksum.Sums) error
}

// CopyPartRequest makes a part from a range of an object, sharing its extents.
type CopyPartRequest struct {
	SrcBucket, SrcKey string
	SrcVersion        VersionID
	SrcPrecondition   Precondition
	SrcCustomerKey    Encryption
	SrcRange          *Range // nil: all of it; must lie within the source
	Bucket, Key       string
	Upload            UploadID
	Number            int
	Encryption        Encryption
	CheckSource       Check
}

// PartInfo describes a stored part.
type PartInfo struct {
	Number       int
	Size         int64
	ETag         ETag
	LastModified Time
	Checksum     *Checksum
	// SourceVersion is the version that a copied part was made of, if the source
	// has versions.
	SourceVersion VersionID
}

// CompletePart is one row of a CompleteMultipartUpload.
type CompletePart struct {
	Number   int
	ETag     ETag
	Checksum *Checksum // nil: not given
}

// CompleteRequest makes the object from its parts.
type CompleteRequest struct {
	Bucket, Key  string
	Upload       UploadID
	Parts        []CompletePart
	Precondition Precondition
	// Checksum of the whole object as the client knows it, or nil.
	Checksum *Checksum
	// CustomerKey may be that of an SSE-C upload. Without it the object is the same,
	// but has no checksum if the upload was begun without an algorithm.
	CustomerKey Encryption
	// Size of the object as the client knows it (x-amz-mp-object-size), or -1.
	Size int64
}

// ListPartsRequest asks for one page of parts.
type ListPartsRequest struct {
	Bucket, Key string
	Upload      UploadID
	After       int // part number
	Max         int
}

// ListPartsResult is one page of parts.
type ListPartsResult struct {
	Upload    UploadInfo
	Parts     []PartInfo
	Truncated bool
	Next      int
}

// ListUploadsRequest asks for one page of uploads, by key, then by time of initiation.
type ListUploadsRequest struct {
	Bucket, Prefix, Delimiter string
	KeyMarker                 string
	UploadMarker              UploadID
	Max                       int
}

// ListUploadsResult is one page of uploads and common prefixes.
type ListUploadsResult struct {
	Uploads    []UploadInfo
	Prefixes   []string
	Truncated  bool
	NextKey    string
	NextUpload UploadID
}
