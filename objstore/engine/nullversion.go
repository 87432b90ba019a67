package engine

import (
	"errors"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// The null version. A key has one, but two directories that have one each can become
// one when a directory is renamed to where another was, at a cost that does not
// depend on what is below them; and a file that is a null version can get the name
// of another one by link(2). Then the current version is the null version if it is
// one, or else the newest. The others get numbers of their own, under which they are
// listed and read at once; the records follow with the next change of that key
// (tellNullsApart), so that what it does to the null version does nothing to them.

// keptNull returns the noncurrent null version in one history, nil when there is none.
func (r reader) keptNull(h history, name string) (*kept, error) {
	b, err := r.Get(record.VersionKey(h.id, name, 0))
	if errors.Is(err, meta.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	number, err := record.ParseNullNumber(b)
	if err != nil {
		return nil, err
	}
	return r.keptAs([]history{h}, name, uint64(number))
}

// newestNull returns the noncurrent version that is the null version if the current
// one is not; nil when there is none.
func (r reader) newestNull(in []history, name string) (best *kept, err error) {
	for _, h := range in {
		k, err := r.keptNull(h, name)
		if err != nil {
			return nil, err
		}
		if k != nil && (best == nil || k.number > best.number) {
			best = k
		}
	}
	return best, nil
}

// numberApart is the number that a version has for itself: of one made without
// versioning, whose number is no other than that of all such, the number of its
// inode. Numbers of versions, which are times, are far beyond those.
func numberApart(number uint64, ino objstore.InodeID) uint64 {
	if number == madeWithout {
		return uint64(ino)
	}
	return number
}

func (k *kept) numberApart() uint64 { return numberApart(k.number, k.v.Inode) }

// keptBy returns the noncurrent version made without versioning that is an inode, nil
// when there is none.
func (r reader) keptBy(in []history, name string, ino objstore.InodeID) (*kept, error) {
	n, err := r.inode(ino)
	if objstore.IsKind(err, objstore.KindStale) {
		return nil, nil
	}
	if err != nil || !n.Held || n.Name != name || n.Seq != madeWithout {
		return nil, err
	}
	for _, h := range in {
		if h.id == n.Parent {
			return r.keptAs([]history{h}, name, n.Seq)
		}
	}
	return nil, nil
}

// tellNullsApart gives all noncurrent null versions of a name numbers of their own,
// but the one that is the null version. live is the current version, nil when there
// is none.
func (x *tx) tellNullsApart(in []history, name string, live *record.Inode) error {
	isNull := live != nil && live.IsNull()
	if len(in) == 1 && !isNull {
		return nil // there is one at most
	}
	var null *kept
	if !isNull {
		var err error
		if null, err = x.newestNull(in, name); err != nil || null == nil {
			return err
		}
	}
	for _, h := range in {
		k, err := x.keptNull(h, name)
		if err != nil {
			return err
		}
		if k == nil || null != nil && null.in.id == h.id {
			continue
		}
		if err := x.setApart(k); err != nil {
			return err
		}
	}
	return nil
}

// setApart makes a noncurrent null version one with a number.
func (x *tx) setApart(k *kept) error {
	x.forget(k)
	number := k.numberApart()
	if !k.isMarker() {
		n, err := x.named("version", k.name, k.v.Inode)
		if err != nil {
			return err
		}
		n.Seq, n.Null = number, false
		x.setInode(k.v.Inode, n)
	}
	v := k.v
	v.Null = false
	x.setVersion(k.in.id, k.name, number, v)
	return nil
}

// dropNull removes the noncurrent null version of a name for good. The name has no
// current version that is one.
func (x *tx) dropNull(in []history, name string) error {
	if err := x.tellNullsApart(in, name, nil); err != nil {
		return err
	}
	k, err := x.newestNull(in, name)
	if err != nil || k == nil {
		return err
	}
	return x.drop(k, false)
}
