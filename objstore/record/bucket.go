package record

import (
	"fmt"

	"github.com/cofferfs/coffer/objstore"
)

// Root is the record of the whole store.
type Root struct {
	StoreID   [16]byte
	NextInode objstore.InodeID // inodes from here on were never given out
	ETagKey   []byte           // 32 bytes: keys the opaque ETags
	Created   objstore.Time
	// VersionCeil is greater than every version number that was given out.
	VersionCeil uint64
}

// Append encodes r behind dst.
func (r *Root) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.bytes(1, r.StoreID[:])
	e.uint(2, uint64(r.NextInode))
	e.bytes(3, r.ETagKey)
	e.int(4, int64(r.Created))
	e.uint(5, r.VersionCeil)
	return e.b
}

// ParseRoot parses the root record.
func ParseRoot(b []byte) (*Root, error) {
	r := &Root{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			r.StoreID = d.id()
		case 2:
			r.NextInode = objstore.InodeID(d.uint())
		case 3:
			r.ETagKey = d.copy()
		case 4:
			r.Created = objstore.Time(d.int())
		case 5:
			r.VersionCeil = d.uint()
		default:
			d.unknown()
		}
	}
	if d.err == nil && (len(r.ETagKey) != 32 || r.NextInode <= objstore.RootInode) {
		d.fail("root")
	}
	if d.err != nil {
		return nil, fmt.Errorf("root: %w", d.err)
	}
	return r, nil
}

// Bucket is the record of a bucket. Its name is in the root directory's entry.
//
// ETags is a field that may be ignored (64): a coffer that does not know it makes
// the MD5s that are the default.
type Bucket struct {
	Created objstore.Time
	DEK     DEKID             // data key of SSE-S3 for this bucket
	ETags   objstore.ETagForm // of new objects and uploads
	// Encryption is no field that may be ignored (3 to 6): whoever does not know it
	// would encrypt under other keys.
	Encryption objstore.BucketEncryption
	// Configs are the configuration documents that the bucket has. It is no field
	// that may be ignored (16): a policy is among them.
	Configs objstore.ConfigSet
	// Versioning and Lock are no fields that may be ignored (10 to 14): whoever does
	// not know them would destroy versions.
	Versioning objstore.Versioning
	Lock       objstore.LockConfig
	// Who gets in and whose objects are: to be ignored by nobody (21, 22).
	PublicAccess objstore.PublicAccess
	Ownership    objstore.Ownership
}

// Append encodes k behind dst.
func (k *Bucket) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.int(1, int64(k.Created))
	e.uint(2, uint64(k.DEK))
	e.uint(3, uint64(k.Encryption.Mode))
	e.str(4, k.Encryption.KMSKeyID)
	e.bool(5, k.Encryption.BucketKey)
	e.bool(6, k.Encryption.BlockSSEC)
	e.uint(10, uint64(k.Versioning))
	e.bool(11, k.Lock.Enabled)
	e.uint(12, uint64(k.Lock.Default.Mode))
	e.uint(13, uint64(k.Lock.Default.Days))
	e.uint(14, uint64(k.Lock.Default.Years))
	e.uint(16, uint64(k.Configs))
	e.uint(21, uint64(k.PublicAccess))
	e.uint(22, uint64(k.Ownership))
	e.uint(64, uint64(k.ETags))
	return e.b
}

// ParseBucket parses a bucket.
func ParseBucket(b []byte) (*Bucket, error) {
	k := &Bucket{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			k.Created = objstore.Time(d.int())
		case 2:
			k.DEK = DEKID(d.uint())
		case 3:
			if k.Encryption.Mode = objstore.SSEMode(d.uint8()); k.Encryption.Mode > objstore.SSEDSSE && d.err == nil {
				d.err = fmt.Errorf("%w: default encryption %d", ErrVersion, k.Encryption.Mode)
			}
		case 4:
			k.Encryption.KMSKeyID = d.str()
		case 5:
			k.Encryption.BucketKey = d.bool()
		case 6:
			k.Encryption.BlockSSEC = d.bool()
		case 10:
			k.Versioning = objstore.Versioning(d.uint8())
		case 11:
			k.Lock.Enabled = d.bool()
		case 12:
			k.Lock.Default.Mode = objstore.LockMode(d.uint8())
		case 13:
			k.Lock.Default.Days = int(d.uint32())
		case 14:
			k.Lock.Default.Years = int(d.uint32())
		case 16:
			k.Configs = objstore.ConfigSet(d.uint32())
			if k.Configs&^objstore.KnownConfigs != 0 && d.err == nil {
				d.err = fmt.Errorf("%w: configuration documents %#x", ErrVersion, uint32(k.Configs))
			}
		case 21:
			k.PublicAccess = objstore.PublicAccess(d.uint8())
			if !k.PublicAccess.Known() && d.err == nil {
				d.err = fmt.Errorf("%w: public access %#x", ErrVersion, uint8(k.PublicAccess))
			}
		case 22:
			k.Ownership = objstore.Ownership(d.uint8())
			if !k.Ownership.Known() && d.err == nil {
				d.err = fmt.Errorf("%w: ownership %d", ErrVersion, uint8(k.Ownership))
			}
		case 64:
			k.ETags = d.etagForm()
		default:
			d.unknown()
		}
	}
	if d.err == nil {
		switch l := &k.Lock; {
		case k.DEK == 0:
			d.fail("bucket without a data key")
		case !k.Versioning.Known(), !l.Default.Mode.Known():
			d.err = fmt.Errorf("%w: %v, %v", ErrVersion, k.Versioning, l.Default.Mode)
		case l.Default.Days > objstore.MaxRetentionDays, l.Default.Years > objstore.MaxRetentionYears:
			d.fail("default retention")
		}
	}
	if d.err != nil {
		return nil, fmt.Errorf("bucket: %w", d.err)
	}
	return k, nil
}

// Config is a configuration document of a bucket.
type Config struct {
	Document []byte
	Modified objstore.Time
}

// Append encodes c behind dst.
func (c *Config) Append(dst []byte) []byte {
	e := newEncoder(dst)
	e.bytes(1, c.Document)
	e.int(2, int64(c.Modified))
	return e.b
}

// ParseConfig parses a configuration document's record.
func ParseConfig(b []byte) (*Config, error) {
	c := &Config{}
	d := newDecoder(b)
	for d.next() {
		switch d.num {
		case 1:
			c.Document = d.copy()
		case 2:
			c.Modified = objstore.Time(d.int())
		default:
			d.unknown()
		}
	}
	if d.err == nil && len(c.Document) == 0 {
		d.fail("empty configuration document")
	}
	if d.err != nil {
		return nil, fmt.Errorf("configuration document: %w", d.err)
	}
	return c, nil
}
