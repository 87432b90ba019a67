package objstore

import (
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"
)

// InodeID names an inode within a store. It is never reused. 0 is none.
type InodeID uint64

// RootInode is the directory whose entries are the buckets.
const RootInode InodeID = 1

// ContentID is the random 128-bit name of a content.
type ContentID [16]byte

func (c ContentID) String() string { return hex.EncodeToString(c[:]) }

// IsZero reports whether there is no content.
func (c ContentID) IsZero() bool { return c == ContentID{} }

// Limits of names and sizes.
const (
	MaxKeyLen       = 1024     // bytes of an S3 key
	MaxComponentLen = 255      // bytes of a name in the mount
	MaxFileSize     = 1 << 46  // bytes, 64 TiB
	MaxSymlinkLen   = 4095     // bytes of a link's target
	MaxXattrName    = 255      // bytes
	MaxXattrValue   = 64 << 10 // bytes
	MaxXattrTotal   = 64 << 10 // bytes of names and values of one inode
	MaxXattrNames   = 44 << 10 // bytes of names, each with a NUL: a list has 64 KiB (XATTR_LIST_MAX), with tags and S3 user metadata
	MaxUserMetadata = 2 << 10  // bytes of S3 user metadata, names and values (AWS: "Working with object metadata")
	MaxPartNumber   = 10000
	MinPartSize     = 5 << 20 // all parts but the last
	MaxPartSize     = 5 << 30
	MaxObjectSize   = 50 << 40 // S3's own limit for an object, 50 TiB
	MaxLinks        = 1 << 31
	MaxListKeys     = 1000 // keys in one page of a listing
)

// FileType is the type of an inode. The values are on disk.
type FileType uint8

const (
	TypeRegular   FileType = 1
	TypeDirectory FileType = 2
	TypeSymlink   FileType = 3
	TypeFIFO      FileType = 4
	TypeSocket    FileType = 5
	TypeCharDev   FileType = 6
	TypeBlockDev  FileType = 7
)

// Time is nanoseconds since 1970 UTC. It holds every time that a file system
// call or S3 hands us without rounding, from 1678 to 2261.
type Time int64

// TimeOf converts. What a Time does not hold becomes the first or last that it does.
func TimeOf(t time.Time) Time {
	if s := t.Unix(); s < -1<<33 || s > 1<<33 { // some 272 years
		return Time(t.Sub(time.Unix(0, 0))) // which saturates, and takes longer
	}
	return Time(t.UnixNano())
}

// Std converts to a time.Time in UTC.
func (t Time) Std() time.Time { return time.Unix(0, int64(t)).UTC() }

// ValidBucketName follows "Bucket naming rules" of the S3 user guide for
// general purpose buckets.
func ValidBucketName(s string) bool {
	if len(s) < 3 || len(s) > 63 {
		return false
	}
	digitsAndDots := true
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c == '-':
			digitsAndDots = false
		case c >= '0' && c <= '9', c == '.':
		default:
			return false
		}
	}
	edge := func(c byte) bool { return c != '-' && c != '.' }
	if !edge(s[0]) || !edge(s[len(s)-1]) || strings.Contains(s, "..") {
		return false
	}
	if digitsAndDots && strings.Count(s, ".") == 3 { // looks like an IPv4 address
		return false
	}
	for _, p := range [...]string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(s, p) {
			return false
		}
	}
	for _, x := range [...]string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(s, x) {
			return false
		}
	}
	return true
}

// CheckKey returns nil for a key the store can hold: 1 to MaxKeyLen bytes of
// valid UTF-8 without NUL.
func CheckKey(op, key string) error {
	switch {
	case key == "":
		return E(KindInvalidName, op, key, "empty key")
	case len(key) > MaxKeyLen:
		return E(KindNameTooLong, op, key[:64], "key is over 1024 bytes")
	case strings.IndexByte(key, 0) >= 0:
		return E(KindInvalidName, op, key, "key has a NUL byte")
	case !utf8.ValidString(key):
		return E(KindInvalidName, op, key, "key is not valid UTF-8")
	}
	return nil
}
