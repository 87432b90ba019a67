package objstore

import "fmt"

// VersionID names a version of an object. It is opaque: 32 characters that the
// store made, or NullVersion. Empty, in a request, it means the current version;
// in an answer, that the bucket has never had versions.
type VersionID string

// NullVersion is the version that an object has without versioning: made before
// the bucket was versioned, or while its versioning was suspended. An object has
// one such version at most.
const NullVersion VersionID = "null"

// Versioning is the state of a bucket. The values are on disk.
type Versioning uint8

const (
	// VersioningOff is the state of a bucket that never had versions.
	VersioningOff Versioning = 0
	// VersioningEnabled: what is overwritten or deleted stays as a noncurrent version.
	VersioningEnabled Versioning = 1
	// VersioningSuspended: the versions that there are stay; what is made is the null version.
	VersioningSuspended Versioning = 2
)

// versionings are the names of the states as S3 has them, by value.
var versionings = [...]string{"", "Enabled", "Suspended"}

// Known reports whether v is one of the states above.
func (v Versioning) Known() bool { return int(v) < len(versionings) }

// String is the state as S3 writes it, empty for one that was never set.
func (v Versioning) String() string {
	if v.Known() {
		return versionings[v]
	}
	return fmt.Sprintf("versioning %d", uint8(v))
}

// ListVersionsRequest asks for one page of versions: by key, those of a key from
// the newest on.
type ListVersionsRequest struct {
	Bucket    string
	Prefix    string
	Delimiter string
	// KeyMarker and VersionMarker are the last version that was seen. Without a
	// VersionMarker all versions of the key have been seen. KeyMarker can be a
	// common prefix, or a key in one, which is then passed over as a whole.
	KeyMarker     string
	VersionMarker VersionID
	MaxKeys       int // 0 to MaxListKeys
}

// ListVersionsResult is one page of versions and common prefixes in one order.
type ListVersionsResult struct {
	Entries   []VersionEntry
	Truncated bool
	// NextKey and NextVersion continue after this page; NextVersion is empty
	// behind a common prefix.
	NextKey     string
	NextVersion VersionID
}

// VersionEntry is a version, a delete marker or, with Prefix, a common prefix. Of
// a delete marker the ListEntry has key and time only.
type VersionEntry struct {
	ListEntry
	Version      VersionID
	Latest       bool
	DeleteMarker bool
	// NoncurrentSince is when the version became noncurrent. 0 for the latest one, and
	// where nothing tells: of what is from before times of versions were kept.
	NoncurrentSince Time
	// Lock is what protects the version from being deleted.
	Lock Lock
}
