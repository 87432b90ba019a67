package engine

import (
	"unicode/utf8"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// How versions come and go within a transaction.

// become gives an inode that is about to be a name's current version its number
// and what the bucket protects it with; b is the bucket. dir and name are kept with
// it, so that it can be set aside by who knows its inode only. KindNoObjectLock: a
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
// replaced or removed: it becomes a noncurrent version in history h, or goes, as
// unname would have it. An inode that is missing has nothing to lose.
func (x *tx) retire(b *record.Bucket, op string, h objstore.InodeID, name string, ino objstore.InodeID) error {
	if b.Versioning == objstore.VersioningOff {
		return x.unname(op, name, ino)
	}
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
	x.keep(h, name, ino, n)
	return nil
}

// keep makes an inode a noncurrent version. n is changed and written.
func (x *tx) keep(h objstore.InodeID, name string, ino objstore.InodeID, n *record.Inode) {
	n.Null = n.IsNull()
	n.Seq = numberOf(n)
	n.Held, n.Nlink = true, 0
	n.Parent, n.Name = h, name
	x.setInode(ino, n)
	x.setVersion(h, name, n.Seq, record.Version{Inode: ino, Null: n.Null})
}

func (x *tx) setVersion(h objstore.InodeID, name string, number uint64, v record.Version) {
	x.set(record.VersionKey(h, name, number), v.Append)
	if v.Null {
		x.set(record.VersionKey(h, name, 0), record.NullNumber(number).Append)
	}
}

// mark puts a delete marker before all versions of a name, in the place of the null
// version where versioning is suspended; in are all histories of the directory, h
// the one that takes it. It returns the marker's number.
func (x *tx) mark(b *record.Bucket, in []history, h objstore.InodeID, name string) (uint64, error) {
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
	x.setVersion(h, name, number, record.Version{Null: null, Made: x.now})
	return number, nil
}

// dropNull removes the noncurrent null version of a name for good.
func (x *tx) dropNull(in []history, name string) error {
	for _, h := range in {
		k, err := x.keptNull(h, name)
		if err != nil {
			return err
		}
		if k != nil {
			if err := x.drop(k, false); err != nil {
				return err
			}
		}
	}
	return nil
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

// hasHistory reports whether anything is kept in a history.
func (r reader) hasHistory(h objstore.InodeID) (bool, error) {
	for _, err := range r.Scan(meta.Prefix(record.HistoryPrefix(h))) {
		return err == nil, err
	}
	return false, nil
}

// leave keeps the history of a directory that is being removed, if there is any:
// n is the inode ino, name its name in the directory above.
func (x *tx) leave(b *record.Bucket, above objstore.InodeID, dir *record.Inode, name string, ino objstore.InodeID, n *record.Inode) error {
	if b.Versioning == objstore.VersioningOff {
		return nil
	}
	h := n.HistoryID(ino)
	has, err := x.hasHistory(h)
	if err != nil || !has {
		return err
	}
	x.txn.Set(record.GoneKey(dir.HistoryID(above), name, h), emptyVersion)
	return nil
}

// emptyVersion is the value of a record that says all with its key.
var emptyVersion = record.Version{}.Append(nil)

// takeHistory gives a new directory the history that its name has left; in are the
// histories of the directory above. It returns those of the new one.
func (x *tx) takeHistory(in []history, name string, ino objstore.InodeID, n *record.Inode) ([]history, error) {
	gone, err := x.gone(in, name)
	if err != nil {
		return nil, err
	}
	if len(gone) == 0 {
		return []history{{id: ino}}, nil
	}
	x.txn.Delete(record.GoneKey(gone[0].above, name, gone[0].id))
	n.History = gone[0].id
	gone[0].above = 0
	return gone, nil
}

// pastWay makes the histories of a way to a key that has no directory, and returns
// the last one.
func (x *tx) pastWay(w *way) objstore.InodeID {
	for i, name := range w.dirs {
		if len(w.levels[i+1]) > 0 {
			continue
		}
		h := history{id: x.nextInode(), above: w.levels[i][0].id}
		x.txn.Set(record.GoneKey(h.above, name, h.id), emptyVersion)
		w.levels[i+1] = []history{h}
	}
	return w.last()[0].id
}

// tidy removes the histories of directories that are gone and in which nothing is
// kept any more, from the one of a version that was removed upwards.
func (x *tx) tidy(w *way, h history) error {
	for i := len(w.dirs); i > 0 && h.above != 0; i-- {
		has, err := x.hasHistory(h.id)
		if err != nil || has {
			return err
		}
		x.txn.Delete(record.GoneKey(h.above, w.dirs[i-1], h.id))
		at := -1
		for j := range w.levels[i-1] {
			if w.levels[i-1][j].id == h.above {
				at = j
			}
		}
		if at < 0 {
			return nil
		}
		h = w.levels[i-1][at]
	}
	return nil
}

// promote makes the newest noncurrent version of a key the current one, unless it
// is a delete marker or the name is taken.
func (x *tx) promote(root objstore.InodeID, key string) error {
	w, err := x.way(root, key)
	if err != nil {
		return err
	}
	if at := w.dir(); at != 0 {
		if _, taken, err := x.dirent(at, w.name); err != nil || taken {
			return err
		}
	}
	k, err := x.newest(w.last(), w.name)
	if err != nil || k == nil || k.isMarker() {
		return err
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
