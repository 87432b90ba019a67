package engine

import (
	"slices"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Histories. A directory has the history that it began, or that its name had left
// when it was made, and those of all directories that had its path before: who
// makes a directory, or moves one, gives it what the name has left. So whoever has
// a directory's inode knows where the versions below it are, and what is moved takes
// all of them along. A directory that goes leaves its histories to its name: each has
// an entry in the history above.

// history is where versions are kept: that of a directory on the way to a key, or
// of one that had its path and is gone.
type history struct {
	id    objstore.InodeID
	above objstore.InodeID // the history that has the entry for it; 0: it is of a directory that is there
	past  bool             // that directory has it beside its own
}

// historiesOf are those of a directory that is there: n is the inode dir.
func historiesOf(dir objstore.InodeID, n *record.Inode) []history {
	list := make([]history, 1, 1+len(n.Past))
	list[0] = history{id: n.HistoryID(dir)}
	for _, id := range n.Past {
		list = append(list, history{id: id, past: true})
	}
	return list
}

// histories are all of a directory that is there, n, the inode dir, which has them in
// its record then; n is the caller's, and written. b is its bucket.
func (x *tx) histories(b *record.Bucket, dir objstore.InodeID, n *record.Inode) ([]history, error) {
	all, err := x.allHistories(b, dir, n)
	if err != nil || all[len(all)-1].above == 0 {
		return all, err
	}
	name, err := x.nameOfDirectory(dir, n)
	if err != nil {
		return nil, err
	}
	n.History, n.Past = all[0].id, nil
	for _, h := range all[1:] {
		if h.above != 0 {
			x.txn.Delete(record.GoneKey(h.above, name, h.id))
		}
		n.Past = append(n.Past, h.id)
	}
	x.setInode(dir, n)
	return historiesOf(dir, n), nil
}

// allHistories are histories as they are: of a directory that came to be below a path
// that others had before, also those that its path has left there.
func (r reader) allHistories(b *record.Bucket, dir objstore.InodeID, n *record.Inode) ([]history, error) {
	own := historiesOf(dir, n)
	if b.Versioning == objstore.VersioningOff || n.Parent == objstore.RootInode {
		return own, nil
	}
	up, err := r.named("version", "", n.Parent)
	if err != nil {
		return nil, err
	}
	above, err := r.allHistories(b, n.Parent, up)
	if err != nil || len(above) == 1 {
		return own, err // what one has beside a directory that is there came from another
	}
	name, err := r.nameOfDirectory(dir, n)
	if err != nil {
		return nil, err
	}
	left, err := r.gone(above, name)
	return append(own, left...), err
}

// gone returns the histories of directories of a name that are gone.
func (r reader) gone(above []history, name string) (list []history, err error) {
	for _, h := range above {
		for p, err := range r.Scan(meta.Prefix(record.VersionPrefix(h.id, name+"/"))) {
			if err != nil {
				return nil, err
			}
			k, err := record.ParseVersionKey(p.Key)
			if err != nil {
				return nil, err
			}
			list = append(list, history{id: k.Gone, above: h.id})
		}
	}
	return list, nil
}

// hasHistory reports whether anything is kept in a history.
func (r reader) hasHistory(h objstore.InodeID) (bool, error) {
	for _, err := range r.Scan(meta.Prefix(record.HistoryPrefix(h))) {
		return err == nil, err
	}
	return false, nil
}

// leave keeps the histories of a directory that is being removed, as far as there is
// anything in them: n is the inode ino, name its name in the directory above.
func (x *tx) leave(b *record.Bucket, above objstore.InodeID, dir *record.Inode, name string, ino objstore.InodeID, n *record.Inode) error {
	if b.Versioning == objstore.VersioningOff {
		return nil
	}
	for _, h := range historiesOf(ino, n) {
		has, err := x.hasHistory(h.id)
		if err != nil {
			return err
		}
		if has {
			x.txn.Set(record.GoneKey(dir.HistoryID(above), name, h.id), emptyVersion)
		}
	}
	return nil
}

// emptyVersion is the value of a record that says all with its key.
var emptyVersion = record.Version{}.Append(nil)

// takeHistories gives a directory that comes to a name, or leaves it, what the name has
// left; in are the histories of the directory above. n, the inode ino, is the caller's
// to write; fresh: nothing was ever in it.
func (x *tx) takeHistories(in []history, name string, ino objstore.InodeID, n *record.Inode, fresh bool) error {
	left, err := x.gone(in, name)
	if err != nil || len(left) == 0 {
		return err
	}
	var all []objstore.InodeID
	if !fresh {
		all = n.Histories(ino)
	}
	for _, h := range left {
		x.txn.Delete(record.GoneKey(h.above, name, h.id))
		all = append(all, h.id)
	}
	n.History, n.Past = all[0], all[1:]
	return nil
}

// pastWay makes the histories of a way to a key that has no directory.
func (x *tx) pastWay(w *way) {
	for i, name := range w.dirs {
		if len(w.levels[i+1]) > 0 {
			continue
		}
		h := history{id: x.nextInode(), above: w.levels[i][0].id}
		x.txn.Set(record.GoneKey(h.above, name, h.id), emptyVersion)
		w.levels[i+1] = []history{h}
	}
}

// tidy removes the histories in which nothing is kept any more, of directories that
// are gone or had the path of one that is there: from the one of a version that was
// removed upwards.
func (x *tx) tidy(w *way, h history) error {
	for i := len(w.dirs); i > 0 && (h.above != 0 || h.past); i-- {
		has, err := x.hasHistory(h.id)
		if err != nil || has {
			return err
		}
		if h.past {
			return x.forgetPast(w.path[i], h.id)
		}
		x.txn.Delete(record.GoneKey(h.above, w.dirs[i-1], h.id))
		at := slices.IndexFunc(w.levels[i-1], func(up history) bool { return up.id == h.above })
		if at < 0 {
			return nil
		}
		h = w.levels[i-1][at]
	}
	return nil
}

// forgetPast takes a history from a directory that has it beside its own.
func (x *tx) forgetPast(dir, id objstore.InodeID) error {
	n, err := x.named("version", "", dir)
	if err != nil {
		return err
	}
	n.Past = slices.DeleteFunc(slices.Clone(n.Past), func(past objstore.InodeID) bool { return past == id })
	x.setInode(dir, n)
	return nil
}

// tidyAfter is tidy for what was done to the versions of a key since its way was
// looked for.
func (x *tx) tidyAfter(root objstore.InodeID, key string, in history) error {
	if in.above == 0 && !in.past {
		return nil
	}
	w, err := x.way(root, key)
	if err != nil {
		return err
	}
	for _, h := range w.last() {
		if h.id == in.id {
			return x.tidy(w, h)
		}
	}
	return nil
}
