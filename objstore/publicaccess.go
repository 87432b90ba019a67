package objstore

// PublicAccessBlock keeps a bucket from becoming public.
type PublicAccessBlock struct {
	BlockPublicACLs       bool
	IgnorePublicACLs      bool
	BlockPublicPolicy     bool // a policy that is public is refused
	RestrictPublicBuckets bool // one that is there lets in users only
}

// PublicAccess is a bucket's PublicAccessBlock as it is kept. The values are on
// disk: 0 is a bucket that was never asked about, which blocks everything, as
// S3's new buckets do.
type PublicAccess uint8

const (
	publicBlockACLs PublicAccess = 1 << iota
	publicIgnoreACLs
	publicBlockPolicy
	publicRestrict
	publicSet     // the bits above count
	publicRemoved // there is none
	publicEnd
)

// Known reports whether p has bits with a meaning alone.
func (p PublicAccess) Known() bool { return p < publicEnd }

// Removed reports whether the bucket has no PublicAccessBlock.
func (p PublicAccess) Removed() bool { return p&publicRemoved != 0 }

// Effective is what counts.
func (p PublicAccess) Effective() PublicAccessBlock {
	switch {
	case p.Removed():
		return PublicAccessBlock{}
	case p&publicSet == 0:
		return PublicAccessBlock{true, true, true, true}
	}
	return PublicAccessBlock{p&publicBlockACLs != 0, p&publicIgnoreACLs != 0, p&publicBlockPolicy != 0, p&publicRestrict != 0}
}

// Keep is how b is kept; nil means that there is none.
func (b *PublicAccessBlock) Keep() PublicAccess {
	if b == nil {
		return publicRemoved
	}
	p := publicSet
	for _, f := range [...]struct {
		on  bool
		bit PublicAccess
	}{{b.BlockPublicACLs, publicBlockACLs}, {b.IgnorePublicACLs, publicIgnoreACLs}, {b.BlockPublicPolicy, publicBlockPolicy}, {b.RestrictPublicBuckets, publicRestrict}} {
		if f.on {
			p |= f.bit
		}
	}
	return p
}

// Ownership is S3's object ownership of a bucket. The values are on disk.
type Ownership uint8

const (
	OwnerEnforced    Ownership = 0 // ACLs are disabled: the default
	OwnerPreferred   Ownership = 1
	OwnerWriter      Ownership = 2
	OwnershipRemoved Ownership = 3 // as OwnerWriter, and said by nobody
)

var ownershipNames = [...]string{"BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter", ""}

// Known reports whether o is one of the constants.
func (o Ownership) Known() bool { return int(o) < len(ownershipNames) }

func (o Ownership) String() string { return ownershipNames[o] }

// ParseOwnership returns the ownership of S3's name.
func ParseOwnership(name string) (Ownership, bool) {
	for i, n := range ownershipNames {
		if n == name && n != "" {
			return Ownership(i), true
		}
	}
	return 0, false
}
