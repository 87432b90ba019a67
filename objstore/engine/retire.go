package engine

import (
	"unicode/utf8"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// How versions come and go within a transaction.

// become gives an inode that is about to be a name's current version its number
// and what the bucket protects it with; b is the bucket. dir and name are kept with
// it, so that it can be set aside by whoever knows its inode only. KindNoObjectLock: a
// lock was asked for in a bucket that has none.
func (x *tx) become(b *record.Bucket, dir objstore.InodeID, name string, n *record.Inode) (err error) {
	n.Seq, n.Null, n.Held, n.Name = 0, false, false, ""
	if n.Lock != (objstore.Lock{}) && !b.Lock.Enabled {
		return objstore.E(objstore.KindNoObjectLock, "lock", name, "")
	}
	if b.Versioning == objstore.VersioningOff {
		return nil
	}
	n.Parent, n.Name = dir, name
	n.Null = b.Versioning == objstore.VersioningSuspended
	if b.Lock.Enabled && n.Lock.Mode == objstore.LockNone {
		n.Lock.Retention = b.Lock.Default.From(x.now)
	}
	n.Seq, err = x.versionNumber()
	return err
}

// versioned reports whether what a name holds becomes a version when it is replaced
// or removed.
func versioned(b *record.Bucket, name string, n *record.Inode) bool {
	switch {
	case b.Versioning == objstore.VersioningOff, n.Type != objstore.TypeRegular, n.Nlink != 1, !utf8.ValidString(name):
		return false
	case b.Versioning == objstore.VersioningSuspended:
		return !n.IsNull()
	}
	return true
}

// retire takes a name from the inode that is its current version, whose entry is
// replaced or removed: it becomes a noncurrent version in the first of the directory's
// histories, or goes, as unname would have it. An inode that is missing has nothing to
// lose.
func (x *tx) retire(b *record.Bucket, op string, in []history, name string, ino objstore.InodeID) error {
	if b.Versioning == objstore.VersioningOff {
		return x.unname(op, name, ino)
	}
	n, err := x.inode(ino)
	if err == nil && n.Type == objstore.TypeRegular {
		err = x.tellNullsApart(in, name, n)
	}
	if err != nil && !objstore.IsKind(err, objstore.KindStale) {
		return err
	}
	return x.retireTold(b, op, in, name, ino)
}

// retireTold is retire in a bucket with versions, after tellNullsApart.
func (x *tx) retireTold(b *record.Bucket, op string, in []history, name string, ino objstore.InodeID) error {
	n, err := x.inode(ino)
	if objstore.IsKind(err, objstore.KindStale) {
		return x.unname(op, name, ino)
	}
	if err != nil {
		return err
	}
	if !versioned(b, name, n) {
		if n.Nlink == 1 && n.Lock.Holds(x.now, false) {
			return objstore.E(objstore.KindLocked, op, name, "")
		}
		return x.unname(op, name, ino)
	}
	x.keep(in[0].id, name, ino, n)
	return nil
}

// keep makes an inode a noncurrent version. n is changed and written.
func (x *tx) keep(h objstore.InodeID, name string, ino objstore.InodeID, n *record.Inode) {
	n.Null = n.IsNull()
	n.Seq = numberOf(n)
	n.Held, n.Nlink = true, 0
	n.Parent, n.Name = h, name
	x.setInode(ino, n)
	x.setVersion(h, name, n.Seq, record.Version{Inode: ino, Null: n.Null, Made: x.versionTime()})
}

func (x *tx) setVersion(h objstore.InodeID, name string, number uint64, v record.Version) {
	x.set(record.VersionKey(h, name, number), v.Append)
	if v.Null {
		x.set(record.VersionKey(h, name, 0), record.NullNumber(number).Append)
	}
}

// mark puts a delete marker before all versions of a name, in the place of the null
// version where versioning is suspended; in are all histories of the directory, the
// first of which takes it. It returns the marker's number.
func (x *tx) mark(b *record.Bucket, in []history, name string) (uint64, error) {
	null := b.Versioning == objstore.VersioningSuspended
	if null {
		if err := x.dropNull(in, name); err != nil {
			return 0, err
		}
	}
	number, err := x.versionNumber()
	if err != nil {
		return 0, err
	}
	x.setVersion(in[0].id, name, number, record.Version{Null: null, Made: x.now})
	return number, nil
}

// drop removes a noncurrent version for good; KindLocked.
func (x *tx) drop(k *kept, bypass bool) error {
	if !k.isMarker() {
		n, err := x.inode(k.v.Inode)
		switch {
		case objstore.IsKind(err, objstore.KindStale):
			x.s.log.Warn("removed a version without an inode", "name", k.name, "inode", k.v.Inode)
		case err != nil:
			return err
		case n.Lock.Holds(x.now, bypass):
			return objstore.E(objstore.KindLocked, "delete", k.name, "")
		default:
			n.Held = false
			x.dropLink(k.v.Inode, n)
		}
	}
	x.forget(k)
	return nil
}

// forget removes the record of a noncurrent version.
func (x *tx) forget(k *kept) {
	x.txn.Delete(k.key())
	if k.v.Null {
		x.txn.Delete(record.VersionKey(k.in.id, k.name, 0))
	}
}

// promote makes the newest noncurrent version of a key the current one, unless it
// is a delete marker or the key has one. What has the name in the mount and is no
// object, a symbolic link or a pipe, gives way, as for an object that is put there: S3
// knows nothing of it, and the version would be the latest and not to be read.
func (x *tx) promote(root objstore.InodeID, key string) error {
	switch _, _, err := x.findKey(root, key); {
	case err == nil:
		return nil
	case !objstore.IsKind(err, objstore.KindNotFound):
		return err
	}
	w, err := x.way(root, key)
	if err != nil {
		return err
	}
	k, err := x.newest(w.last(), w.name)
	if err != nil || k == nil || k.isMarker() {
		return err
	}
	if at := w.dir(); at != 0 {
		d, taken, err := x.dirent(at, w.name)
		if err != nil {
			return err
		}
		if taken {
			x.change(objstore.Change{Inode: d.Inode})
			if err := x.unname("promote", w.name, d.Inode); err != nil {
				return err
			}
		}
	}
	n, err := x.named("promote", key, k.v.Inode)
	if err != nil {
		return err
	}
	x.forget(k)
	at, dir, err := x.makeWay("promote", root, w.dirs)
	if err != nil {
		return err
	}
	n.Held, n.Nlink = false, 1
	n.Parent, n.Name = at, w.name
	if err := x.addEntry(at, dir, w.name, record.Dirent{Type: objstore.TypeRegular, Inode: k.v.Inode}); err != nil {
		return err
	}
	if w.name == "" {
		dir.HasMarker, dir.Explicit = true, true
	}
	x.touch(at, dir)
	x.setInode(k.v.Inode, n)
	if err := x.objectCame(at, w.name, k.v.Inode); err != nil {
		return err
	}
	return x.tidyAfter(root, key, k.in) // it may have been the last there
}
