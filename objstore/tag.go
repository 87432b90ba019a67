package objstore

import (
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Tag is a tag of an object or a bucket.
type Tag struct{ Key, Value string }

// Limits of tags (AWS: "Categorizing your storage using tags"). Lengths are in
// units of UTF-16.
const (
	MaxObjectTags = 10
	MaxBucketTags = 50
	MaxTagKey     = 128
	MaxTagValue   = 256
)

// SystemTagPrefix begins keys that nobody may set.
const SystemTagPrefix = "aws:"

// ValidTagKey reports whether s can be the key of a tag. Keys that begin with
// SystemTagPrefix can, but not by a request.
func ValidTagKey(s string) bool { return s != "" && validTagText(s, MaxTagKey) }

// ValidTagValue reports whether s can be the value of a tag.
func ValidTagValue(s string) bool { return validTagText(s, MaxTagValue) }

// validTagText: letters, digits and spaces of all scripts, and + - = . _ : / @
// (AWS: "Tag restrictions").
func validTagText(s string, most int) bool {
	if len(s) > 4*most || !utf8.ValidString(s) {
		return false
	}
	n := 0
	for _, r := range s {
		if n++; r > 0xffff {
			n++
		}
		if !unicode.In(r, unicode.L, unicode.N, unicode.Z) && (r >= utf8.RuneSelf || strings.IndexByte("+-=._:/@", byte(r)) < 0) {
			return false
		}
	}
	return n <= most
}

// CheckTags returns nil for tags that an object can have; KindInvalidArgument.
func CheckTags(op string, tags []Tag) error {
	if len(tags) > MaxObjectTags {
		return E(KindInvalidArgument, op, "", "object tags cannot be greater than 10")
	}
	for i, t := range tags {
		switch {
		case !ValidTagKey(t.Key):
			return E(KindInvalidArgument, op, "", "the key of a tag is invalid")
		case !ValidTagValue(t.Value):
			return E(KindInvalidArgument, op, t.Key, "the value of a tag is invalid")
		}
		for _, o := range tags[:i] {
			if o.Key == t.Key {
				return E(KindInvalidArgument, op, t.Key, "two tags have one key")
			}
		}
	}
	return nil
}

// SortTags brings tags into the order of their keys, in which they are told.
func SortTags(tags []Tag) {
	sort.Slice(tags, func(i, j int) bool { return tags[i].Key < tags[j].Key })
}
