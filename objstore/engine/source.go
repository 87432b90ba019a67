package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// source is what a copy reads from, or an append adds to.
type source struct {
	get     objstore.GetRequest // finds it again, and brings a customer's key
	version objstore.VersionID
	n       *record.Inode
	oek     *extent.Keys
	sum     *objstore.Checksum
}

// openSource finds what get asks for, checks the conditions of get, and opens its key.
// What is logged of it (logged.go) is mapped. errLostRace: it was replaced meanwhile.
// The caller wipes oek.
func (s *Store) openSource(ctx context.Context, get objstore.GetRequest) (*source, error) {
	key, pre := get.Key, get.Precondition
	get.Precondition = objstore.Precondition{}
	src := &source{get: get}
	var ino objstore.InodeID
	look := func() error {
		return s.view(ctx, "copy", key, func(r reader) error {
			root, err := r.bucketRoot(get.Bucket)
			if err != nil {
				return err
			}
			var b *record.Bucket
			if ino, src.n, b, err = r.findObject(s, "copy", root, key, get.Version); err == nil {
				src.version = s.versionOf(b, src.n)
			}
			return err
		})
	}
	err := look()
	if err == nil && src.n.Content.Logged > 0 {
		// Nothing more is logged before it is looked at again.
		err = s.mapLogged(ctx, ino, look)
		if err == nil && src.n.Content.Logged > 0 { // of another inode by now
			err = errLostRace
		}
	}
	if err != nil {
		return nil, err
	}
	if err := checkRead("copy", key, pre, etagOf(s, src.n), src.n.Mtime); err != nil {
		if objstore.IsKind(err, objstore.KindNotModified) {
			err = objstore.E(objstore.KindPreconditionFailed, "copy", key, "source condition")
		}
		return nil, err
	}
	if src.oek, err = s.requestOEK(ctx, "copy", get, src.n); err != nil {
		return nil, err
	}
	if src.sum, err = openChecksum(&src.n.Content, src.oek); err != nil {
		src.oek.Wipe()
		return nil, s.wrap("copy", key, err)
	}
	return src, nil
}

// same returns the source as it is now, or errLostRace when its content is no
// longer what it was.
func (r reader) same(s *Store, src *source) (objstore.InodeID, *record.Inode, error) {
	root, err := r.bucketRoot(src.get.Bucket)
	if err != nil {
		return 0, nil, err
	}
	ino, now, _, err := r.findObject(s, "copy", root, src.get.Key, src.get.Version)
	if err != nil {
		return 0, nil, err
	}
	if now.Content.ID != src.n.Content.ID || now.Content.Gen != src.n.Content.Gen {
		return 0, nil, errLostRace
	}
	return ino, now, nil
}

// checked asks check about an object.
func (r reader) checked(s *Store, ino objstore.InodeID, n *record.Inode, check objstore.Check) error {
	if check.Tags != nil {
		tags, err := r.tags(ino, n)
		if err == nil {
			err = check.Tags(tags)
		}
		if err != nil {
			return err
		}
	}
	if check.Key != nil && n.Content.KMSKeyID != "" {
		return check.Key(s.sseInfo(&n.Content))
	}
	return nil
}

// checkedIfThere asks check about what a key names, or about nothing if it names nothing.
func (x *tx) checkedIfThere(op string, root objstore.InodeID, key string, version objstore.VersionID, check objstore.Check) error {
	if check.Tags == nil && check.Key == nil {
		return nil
	}
	ino, n, _, err := x.findObject(x.s, op, root, key, version)
	switch {
	case err == nil:
		return x.checked(x.s, ino, n, check)
	case !objstore.IsKind(err, objstore.KindNotFound) && !objstore.IsKind(err, objstore.KindNoSuchVersion) && !objstore.IsKind(err, objstore.KindDeleteMarker):
		return err
	case check.Tags != nil:
		return check.Tags(nil)
	}
	return nil
}
