package engine

import (
	"context"
	"errors"
	"maps"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Names that are not plain attributes.
const (
	xattrUserMeta = "user.s3.meta." // S3 user metadata, in the inode; for tags see xattrTag
	xattrS3       = "user.s3."      // the rest of it is reserved
	xattrCoffer   = "user.coffer."  // read-only, told but not listed
)

// GetXattr returns the value of an extended attribute. user.s3.meta.* are the
// S3 user metadata of a file, user.s3.tag.* its tags. user.coffer.encryption, .key-id and .etag tell
// about a file and are read-only; they are not listed, so that programs that
// copy all attributes do not try to copy them.
func (s *Store) GetXattr(ctx context.Context, ino objstore.InodeID, name string) ([]byte, error) {
	const op = "getxattr"
	if err := checkXattrName(op, name); err != nil {
		return nil, err
	}
	if n, ok := s.cache.get(ino); ok && !n.HasXattrs && !strings.HasPrefix(name, xattrUserMeta) && !strings.HasPrefix(name, xattrCoffer) {
		// The kernel asks for security.capability before each first write.
		return nil, objstore.E(objstore.KindNoAttribute, op, name, "")
	}
	var value string
	err := s.view(ctx, op, name, func(r reader) error {
		n, err := r.inode(ino)
		if err != nil {
			return err
		}
		var ok bool
		if k, special := strings.CutPrefix(name, xattrUserMeta); special {
			if n.Meta != nil {
				value, ok = n.Meta.User[k]
			}
		} else if k, special := strings.CutPrefix(name, xattrCoffer); special {
			value, ok = s.told(n, k)
		} else {
			x, err := r.xattrs(ino, n)
			if err != nil {
				return err
			}
			value, ok = x[name]
		}
		if !ok {
			return objstore.E(objstore.KindNoAttribute, op, name, "")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return []byte(value), nil
}

// told returns what user.coffer.* says of a file. ok is false for a name that
// says nothing of it.
func (s *Store) told(n *record.Inode, name string) (value string, ok bool) {
	if n.Type != objstore.TypeRegular {
		return "", false
	}
	switch name {
	case "encryption":
		switch n.Content.Mode {
		case objstore.SSEKMS:
			return "SSE-KMS", true
		case objstore.SSEC:
			return "SSE-C", true
		case objstore.SSEDSSE:
			return "DSSE-KMS", true
		}
		return "SSE-S3", true // that of what is going to be written, when nothing was yet
	case "key-id":
		return n.Content.KMSKeyID, n.Content.KMSKeyID != ""
	case "etag":
		return string(etagOf(s, n)), true
	}
	return "", false
}

// SetXattr sets an extended attribute. user.s3.meta.* take what a header can
// carry (KindInvalidArgument), 2 KiB in all (KindNoSpace), on files only;
// user.s3.tag.* what a tag can be, up to 10, on files only, too.
// user.coffer.* are KindNotPermitted; system.*, ACLs among it, and unknown
// namespaces are KindNotSupported.
func (s *Store) SetXattr(ctx context.Context, c objstore.Caller, ino objstore.InodeID, name string, value []byte, flags objstore.XattrFlags) error {
	const op = "setxattr"
	if err := checkXattrName(op, name); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(name, xattrCoffer):
		return objstore.E(objstore.KindNotPermitted, op, name, "the attribute is read-only")
	case strings.HasPrefix(name, xattrS3) && !strings.HasPrefix(name, xattrUserMeta) && !strings.HasPrefix(name, xattrTag):
		return objstore.E(objstore.KindNotSupported, op, name, "the name is reserved")
	case len(value) > objstore.MaxXattrValue:
		return objstore.E(objstore.KindTooLarge, op, name, "value is over 64 KiB")
	case flags&^(objstore.XattrCreate|objstore.XattrReplace) != 0 || flags == objstore.XattrCreate|objstore.XattrReplace:
		return objstore.E(objstore.KindInvalidArgument, op, name, "flags that do not fit together")
	}
	v := string(value)
	return s.changeXattr(ctx, c, op, ino, name, func(has bool, a *attrs) error {
		switch {
		case has && flags == objstore.XattrCreate:
			return objstore.E(objstore.KindExists, op, name, "")
		case !has && flags == objstore.XattrReplace:
			return objstore.E(objstore.KindNoAttribute, op, name, "")
		}
		return a.set(op, name, v)
	})
}

// RemoveXattr removes one; KindNoAttribute when it is not there.
func (s *Store) RemoveXattr(ctx context.Context, c objstore.Caller, ino objstore.InodeID, name string) error {
	const op = "removexattr"
	if err := checkXattrName(op, name); err != nil {
		return err
	}
	if strings.HasPrefix(name, xattrCoffer) {
		return objstore.E(objstore.KindNotPermitted, op, name, "the attribute is read-only")
	}
	return s.changeXattr(ctx, c, op, ino, name, func(has bool, a *attrs) error {
		if !has {
			return objstore.E(objstore.KindNoAttribute, op, name, "")
		}
		a.remove(name)
		return nil
	})
}

// ListXattr returns the names in byte order.
func (s *Store) ListXattr(ctx context.Context, ino objstore.InodeID) ([]string, error) {
	var names []string
	err := s.view(ctx, "listxattr", "", func(r reader) error {
		n, err := r.inode(ino)
		if err != nil {
			return err
		}
		x, err := r.xattrs(ino, n)
		if err != nil {
			return err
		}
		for name := range x {
			if len(name) <= objstore.MaxXattrName { // a tag's key can be longer than a mount can name
				names = append(names, name)
			}
		}
		if n.Meta != nil {
			for k := range n.Meta.User {
				names = append(names, xattrUserMeta+k)
			}
		}
		return nil
	})
	sort.Strings(names)
	return names, err
}

// xattrs returns an inode's plain attributes, in a map of the caller's own.
func (r reader) xattrs(ino objstore.InodeID, n *record.Inode) (record.Xattrs, error) {
	if !n.HasXattrs {
		return record.Xattrs{}, nil
	}
	v, err := r.Get(record.XattrKey(ino))
	if errors.Is(err, meta.ErrNotFound) {
		return nil, objstore.E(objstore.KindCorrupt, "xattr", "", "the attributes' record is missing")
	}
	if err != nil {
		return nil, err
	}
	return record.ParseXattrs(v)
}

// attrs are the attributes of one inode while they are changed.
type attrs struct {
	n     *record.Inode
	plain record.Xattrs
}

func (a *attrs) has(name string) bool {
	if k, ok := strings.CutPrefix(name, xattrUserMeta); ok {
		if a.n.Meta == nil {
			return false
		}
		_, ok = a.n.Meta.User[k]
		return ok
	}
	_, ok := a.plain[name]
	return ok
}

func (a *attrs) set(op, name, value string) error {
	if k, ok := strings.CutPrefix(name, xattrTag); ok {
		return a.setTag(op, name, k, value)
	}
	k, ok := strings.CutPrefix(name, xattrUserMeta)
	if !ok {
		_, had := a.plain[name]
		a.plain[name] = value
		all, list := totalPlain(a.plain)
		switch {
		case all > objstore.MaxXattrTotal:
			return objstore.E(objstore.KindNoSpace, op, name, "attributes are over 64 KiB in all")
		case list > objstore.MaxXattrNames && !had:
			return objstore.E(objstore.KindNoSpace, op, name, "there are more names than can be listed")
		}
		return nil
	}
	switch {
	case a.n.Type != objstore.TypeRegular:
		return objstore.E(objstore.KindNotSupported, op, name, "only files have S3 metadata")
	case !headerName(k):
		return objstore.E(objstore.KindInvalidArgument, op, name, "not the lower-case name of a header")
	case !headerValue(value):
		return objstore.E(objstore.KindInvalidArgument, op, name, "a header cannot carry the value")
	}
	a.ownMeta()
	a.n.Meta.User[k] = value
	if total(a.n.Meta.User) > objstore.MaxUserMetadata {
		return objstore.E(objstore.KindNoSpace, op, name, "S3 user metadata is over 2 KiB in all")
	}
	return nil
}

// setTag sets a tag, which is a plain attribute with bounds of its own.
func (a *attrs) setTag(op, name, key, value string) error {
	switch {
	case a.n.Type != objstore.TypeRegular:
		return objstore.E(objstore.KindNotSupported, op, name, "only files have tags")
	case !objstore.ValidTagKey(key) || strings.HasPrefix(key, objstore.SystemTagPrefix):
		return objstore.E(objstore.KindInvalidArgument, op, name, "not the key of a tag")
	case !objstore.ValidTagValue(value):
		return objstore.E(objstore.KindInvalidArgument, op, name, "not the value of a tag")
	}
	a.plain[name] = value
	if countTags(a.plain) > objstore.MaxObjectTags {
		return objstore.E(objstore.KindNoSpace, op, name, "a file has up to 10 tags")
	}
	return nil
}

func (a *attrs) remove(name string) {
	if k, ok := strings.CutPrefix(name, xattrUserMeta); ok {
		a.ownMeta()
		delete(a.n.Meta.User, k)
		return
	}
	delete(a.plain, name)
}

// ownMeta makes the inode's S3 headers ones that can be changed: what a record
// points at may be shared with others who read it.
func (a *attrs) ownMeta() {
	m := objstore.ObjectMeta{}
	if a.n.Meta != nil {
		m = *a.n.Meta
	}
	if m.User = maps.Clone(m.User); m.User == nil {
		m.User = make(map[string]string)
	}
	a.n.Meta = &m
}

// changeXattr runs fn over the attributes of an inode and writes them back.
func (s *Store) changeXattr(ctx context.Context, c objstore.Caller, op string, ino objstore.InodeID, name string, fn func(has bool, a *attrs) error) error {
	return s.update(ctx, c, op, name, func(x *tx) error {
		n, err := x.inode(ino)
		if err != nil {
			return err
		}
		plain, err := x.xattrs(ino, n)
		if err != nil {
			return err
		}
		switch {
		case n.Held:
			return objstore.E(objstore.KindNotPermitted, op, name, "it is an old version by now")
		case strings.HasPrefix(name, xattrUserMeta) && x.sealedOff(ino, n):
			return objstore.E(objstore.KindLocked, op, name, "")
		}
		a := &attrs{n, plain}
		if err := fn(a.has(name), a); err != nil {
			return err
		}
		if !strings.HasPrefix(name, xattrUserMeta) {
			x.setXattrs(ino, n, plain)
		}
		n.Ctime = x.now
		if n.Type == objstore.TypeDirectory && x.fromMount() {
			n.Explicit = true
		}
		x.setInode(ino, n)
		x.change(objstore.Change{Inode: ino})
		return nil
	})
}

// setXattrs sets the plain attributes of an inode, whose record the caller writes.
func (x *tx) setXattrs(ino objstore.InodeID, n *record.Inode, plain record.Xattrs) {
	n.TagCount = uint8(countTags(plain))
	if n.HasXattrs = len(plain) > 0; n.HasXattrs {
		x.txn.Set(record.XattrKey(ino), plain.Append(nil))
	} else {
		x.txn.Delete(record.XattrKey(ino))
	}
}

func countTags(plain record.Xattrs) (n int) {
	for name := range plain {
		if strings.HasPrefix(name, xattrTag) {
			n++
		}
	}
	return n
}

// totalPlain is total of what is no tag, and the size of a list of the names.
func totalPlain(plain record.Xattrs) (all, list int) {
	for name, value := range plain {
		if !strings.HasPrefix(name, xattrTag) {
			all += len(name) + len(value)
			list += len(name) + 1
		}
	}
	return all, list
}

// total is the number of bytes of all names and values.
func total(m map[string]string) (n int) {
	for k, v := range m {
		n += len(k) + len(v)
	}
	return n
}

// checkXattrName refuses names and namespaces that are not kept. system.* has
// a meaning to the kernel, so it is not taken without giving it that meaning.
func checkXattrName(op, name string) error {
	if len(name) > objstore.MaxXattrName {
		return objstore.E(objstore.KindAttributeRange, op, name[:64], "name is over 255 bytes")
	}
	space, rest, ok := strings.Cut(name, ".")
	switch space {
	case "user", "trusted", "security":
		if !ok || rest == "" || strings.IndexByte(rest, 0) >= 0 {
			return objstore.E(objstore.KindInvalidArgument, op, name, "")
		}
		return nil
	}
	return objstore.E(objstore.KindNotSupported, op, name, "")
}

// headerName reports whether x-amz-meta-k can be a header with a lower-case k
// (RFC 9110 section 5.1: a token).
func headerName(k string) bool {
	for i := 0; i < len(k); i++ {
		c := k[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return k != ""
}

// headerValue reports whether a header comes back as v when it is sent as v
// (RFC 9110 section 5.5): no control characters, no white space at its ends.
func headerValue(v string) bool {
	for i := 0; i < len(v); i++ {
		if v[i] < ' ' && v[i] != '\t' || v[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(v) && strings.Trim(v, " \t") == v
}
