package objstore

import (
	"errors"
	"fmt"
)

// Kind says what went wrong in terms that both doors translate: fs to an
// errno, s3api to a code and a status.
type Kind uint8

const (
	KindInternal           Kind = iota // a bug or an unexpected failure
	KindNotFound                       // no such name, key, inode
	KindNoSuchBucket                   // no such bucket
	KindNoSuchUpload                   // no such multipart upload
	KindExists                         // the name is taken
	KindBucketExists                   // the bucket exists
	KindNotEmpty                       // directory is not empty
	KindBucketNotEmpty                 // bucket is not empty
	KindNotDirectory                   // a directory was needed
	KindIsDirectory                    // a directory was not expected
	KindInvalidName                    // a name or key that the store cannot hold
	KindInvalidBucketName              // against S3's bucket naming rules
	KindNameTooLong                    // component over 255 bytes, key over 1,024
	KindInvalidArgument                // anything else that is wrong with a request
	KindCrossBucket                    // rename or link across buckets
	KindTooLarge                       // beyond MaxFileSize or a request's bound
	KindTooManyLinks                   // link count would overflow
	KindNoSpace                        // the disk is full
	KindReadOnly                       // store or mount is read-only
	KindAccessDenied                   // the caller may not
	KindNotPermitted                   // nobody may (EPERM)
	KindPreconditionFailed             // If-Match and its like on S3
	KindNotModified                    // If-None-Match and its like on a read
	KindConflict                       // a concurrent S3 request won
	KindInvalidRange                   // range outside the object
	KindInvalidPart                    // complete names a part that is not there
	KindInvalidPartOrder               // parts not in ascending order
	KindPartTooSmall                   // a part other than the last is under 5 MiB
	KindBadDigest                      // body does not match its digest
	KindWrongKey                       // SSE-C key is not the object's
	KindKeyRequired                    // SSE-C object, no key given
	KindKeyUnavailable                 // external key out of reach
	KindCorrupt                        // bytes failed authentication
	KindNoAttribute                    // no such xattr
	KindAttributeRange                 // buffer too small for an xattr
	KindNotSupported                   // coffer does not do this
	KindBusy                           // in use
	KindStale                          // inode is gone
	KindCanceled                       // the caller gave up
	KindShutdown                       // the store is closing
	KindInvalidRequest                 // S3 InvalidRequest: parameters that do not fit together
	KindMalformed                      // the body of a request ended early or is not what was promised
	KindNoSuchConfig                   // the bucket has no such configuration document
	KindTooManyConfigs                 // the bucket has all documents of a family that it may have
	KindNoSuchKey                      // a key id that names no external key
	KindKeyDisabled                    // the external key is disabled
	KindKeyPendingDeletion             // the external key waits for its deletion
	KindNoSuchVersion                  // no version of that id
	KindDeleteMarker                   // the version is a delete marker, which this cannot be done with
	KindLocked                         // Object Lock protects the version
	KindBucketState                    // the bucket's versioning or Object Lock forbids it
	KindNoObjectLock                   // the bucket has no Object Lock
	KindNoLock                         // the version has no retention, or no legal hold
	KindMalformedPolicy                // a policy document that cannot be read or kept
	KindIdempotency                    // a client's token stands for another request
	KindInvalidOffset                  // an append to an object of another size
	KindTooManyParts                   // an object was appended to too often
	KindEncryptionMismatch             // an append with other encryption than the object's
	KindObjectState                    // the object's storage class forbids it: it is an archive, or none
	numKinds
)

// NumKinds is the number of kinds; kinds are 0 to NumKinds-1. The doors' tests
// walk them.
const NumKinds = int(numKinds)

// Error is the one error type that leaves the store.
type Error struct {
	Kind Kind
	Op   string // the operation: "put", "rename"
	What string // the thing: a path, a key, an inode; may be empty
	Msg  string // a sentence for people, lower case, no full stop; may be empty
	Err  error  // the cause; may be nil
	// Marker is the delete marker that KindNotFound or KindDeleteMarker is due to,
	// empty when there is none; Modified is its time.
	Marker   VersionID
	Modified Time
}

func (e *Error) Error() string {
	s := e.Op
	if e.What != "" {
		s += fmt.Sprintf(" %q", e.What)
	}
	if e.Msg != "" {
		s += ": " + e.Msg
	} else if e.Err == nil {
		s += ": " + e.Kind.String()
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// E makes an error of a kind.
func E(kind Kind, op, what, msg string) *Error {
	return &Error{Kind: kind, Op: op, What: what, Msg: msg}
}

// Wrap makes an error of a kind with a cause.
func Wrap(kind Kind, op, what string, err error) *Error {
	return &Error{Kind: kind, Op: op, What: what, Err: err}
}

// KindOf returns the kind of the outermost Error in err's chain, and
// KindInternal for any other error. err must not be nil.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// IsKind reports whether err is an Error of the kind.
func IsKind(err error, kind Kind) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == kind
}

var kindNames = [numKinds]string{
	"internal error", "not found", "no such bucket", "no such upload", "exists", "bucket exists",
	"directory not empty", "bucket not empty", "not a directory", "is a directory", "invalid name",
	"invalid bucket name", "name too long", "invalid argument", "different buckets", "too large",
	"too many links", "no space left", "read-only", "access denied", "not permitted",
	"precondition failed", "not modified", "conflict", "invalid range", "invalid part",
	"invalid part order", "part too small", "bad digest", "wrong key", "key required",
	"key unavailable", "corrupt", "no such attribute", "attribute range", "not supported", "busy",
	"stale", "canceled", "shutting down", "invalid request", "malformed body", "no such configuration",
	"too many configurations", "no such key", "key disabled", "key pending deletion", "no such version", "delete marker", "object locked", "bucket state",
	"no object lock", "no lock",
	"malformed policy", "token of another request",
	"invalid write offset", "too many parts", "other encryption", "storage class",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}
