package engine

import (
	"crypto/md5" // the ETag of S3, not a protection
	"slices"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// S3's view of the tree: whole keys. A key is split at its slashes; all
// components but the last are directories, whatever they look like, and the
// last is an object's name. Behind a trailing slash that name is empty: the
// object of the directory itself, which is explicit for as long as the key exists.

const (
	// modes of what S3 makes where nothing is there to inherit from
	defaultFileMode = 0644
	defaultDirMode  = 0755
)

// bucketRoot returns the root directory of a bucket; KindNoSuchBucket.
func (r reader) bucketRoot(name string) (objstore.InodeID, error) {
	d, ok, err := r.dirent(objstore.RootInode, name+"/")
	if err == nil && !ok {
		err = objstore.E(objstore.KindNoSuchBucket, "bucket", name, "")
	}
	return d.Inode, err
}

// findKey returns the regular file that a key names, or KindNotFound: when
// there is none, and when the name is that of something that is no object. For
// an explicit directory without an object of its own it makes one up: empty,
// under the directory's inode number, without a content.
func (r reader) findKey(root objstore.InodeID, key string) (objstore.InodeID, *record.Inode, error) {
	const op = "key"
	dirs, last := splitKey(key)
	dir := root
	for _, comp := range dirs {
		d, ok, err := r.dirent(dir, comp+"/")
		if err != nil {
			return 0, nil, err
		}
		if !ok {
			return 0, nil, objstore.E(objstore.KindNotFound, op, key, "")
		}
		dir = d.Inode
	}
	d, ok, err := r.dirent(dir, last)
	if err != nil {
		return 0, nil, err
	}
	if ok && d.Type == objstore.TypeRegular {
		n, err := r.named(op, key, d.Inode)
		return d.Inode, n, err
	}
	if last == "" && dir != root {
		n, err := r.named(op, key, dir)
		if err != nil {
			return 0, nil, err
		}
		if n.Explicit {
			return dir, directoryObject(n), nil
		}
	}
	return 0, nil, objstore.E(objstore.KindNotFound, op, key, "")
}

// splitKey returns the directories of a key and the name in the last of them,
// which is empty behind a trailing slash.
func splitKey(key string) (dirs []string, last string) {
	dirs = strings.Split(key, "/")
	return dirs[:len(dirs)-1], dirs[len(dirs)-1]
}

// directoryObject is the object that an explicit directory is to S3 as long as
// nobody has put one: no bytes, the directory's times.
func directoryObject(dir *record.Inode) *record.Inode {
	return &record.Inode{
		Type: objstore.TypeRegular, Mode: defaultFileMode, UID: dir.UID, GID: dir.GID, Nlink: 1,
		Atime: dir.Atime, Mtime: dir.Mtime, Ctime: dir.Ctime, Btime: dir.Btime, Bucket: dir.Bucket,
		Content: record.Content{ETag: record.ETagMD5, ETagSum: md5.Sum(nil)},
	}
}

// putKey makes a new inode the object of a key, in place of the one that it
// names now, or of whatever else has that name in the mount. n is a regular
// file whose size, content, headers and times the caller has set; putKey sets
// owner, mode, links and place, and writes it. Directories on the way that are
// missing come to be, implicitly.
func (x *tx) putKey(root objstore.InodeID, key string, ino objstore.InodeID, n *record.Inode) error {
	const op = "put"
	b, err := x.settings(root)
	if err != nil {
		return x.removedBucket(op, root, err)
	}
	dirs, last := splitKey(key)
	at, dir, err := x.makeWay(op, root, dirs)
	if err != nil {
		return err
	}
	old, replaces, err := x.dirent(at, last)
	if err != nil {
		return err
	}
	n.Mode = defaultFileMode
	x.adopt(dir, at, n)
	in, err := x.histories(b, at, dir)
	if err != nil {
		return err
	}
	if replaces {
		if err := x.displace(op, b, in, last, old, n); err != nil {
			return err
		}
	}
	if b.Versioning == objstore.VersioningSuspended {
		if err := x.dropNull(in, last); err != nil {
			return err
		}
	}
	if err := x.become(b, at, last, n); err != nil {
		return err
	}
	if err := x.addEntry(at, dir, last, record.Dirent{Type: objstore.TypeRegular, Inode: ino}); err != nil {
		return err
	}
	if last == "" {
		dir.HasMarker, dir.Explicit = true, true
	}
	x.touch(at, dir)
	x.setInode(ino, n)
	return x.objectCame(at, last, ino)
}

// makeWay returns the last directory of a path. Those that are missing are
// made: implicit, with the owner of the one above.
func (x *tx) makeWay(op string, root objstore.InodeID, dirs []string) (objstore.InodeID, *record.Inode, error) {
	at, all := root, dirs
	for len(dirs) > 0 {
		d, ok, err := x.dirent(at, dirs[0]+"/")
		if err != nil {
			return 0, nil, err
		}
		if !ok {
			break
		}
		at, dirs = d.Inode, dirs[1:]
	}
	var in []history
	if len(dirs) > 0 { // to be made
		var err error
		if in, err = x.pastOf(root, all[:len(all)-len(dirs)]); err != nil {
			return 0, nil, err
		}
	}
	dir, err := x.inode(at)
	switch {
	case at == root && (objstore.IsKind(err, objstore.KindStale) || err == nil && dir.Nlink == 0):
		return 0, nil, objstore.E(objstore.KindNoSuchBucket, op, "", "the bucket was removed")
	case objstore.IsKind(err, objstore.KindStale):
		return 0, nil, objstore.E(objstore.KindCorrupt, op, "", "a directory's inode is missing")
	case err != nil:
		return 0, nil, err
	}
	for _, name := range dirs {
		ino := x.nextInode()
		x.madeDirectory(ino)
		sub := &record.Inode{Type: objstore.TypeDirectory, Mode: defaultDirMode}
		x.adopt(dir, at, sub)
		sub.Atime, sub.Mtime, sub.Ctime, sub.Btime = x.now, x.now, x.now, x.now
		if in != nil {
			if err := x.takeHistories(in, name, ino, sub, true); err != nil {
				return 0, nil, err
			}
			sub.Name = name
			in = historiesOf(ino, sub)
		}
		if err := x.addEntry(at, dir, name, record.Dirent{Type: objstore.TypeDirectory, Inode: ino}); err != nil {
			return 0, nil, err
		}
		x.touch(at, dir)
		x.setInode(ino, sub)
		x.entryChanged(at, name, ino, false)
		at, dir = ino, sub
	}
	return at, dir, nil
}

// pastOf returns the histories of a path all of whose directories are there, nil
// in a bucket that never had versions.
func (r reader) pastOf(root objstore.InodeID, dirs []string) ([]history, error) {
	b, err := r.settings(root)
	if err != nil || b.Versioning == objstore.VersioningOff {
		if err != nil && r.bucketGone(root) {
			err = nil // makeWay says so
		}
		return nil, err
	}
	w, err := r.way(root, strings.Join(append(slices.Clone(dirs), ""), "/"))
	if err != nil {
		return nil, err
	}
	return w.last(), nil
}

// bucketGone reports whether a bucket whose record is missing was removed.
func (r reader) bucketGone(root objstore.InodeID) bool {
	n, err := r.inode(root)
	return objstore.IsKind(err, objstore.KindStale) || err == nil && n.Nlink == 0
}

// removedBucket is the error for a bucket whose record could not be read: err,
// unless the bucket was removed.
func (r reader) removedBucket(op string, root objstore.InodeID, err error) error {
	if r.bucketGone(root) {
		return objstore.E(objstore.KindNoSuchBucket, op, "", "the bucket was removed")
	}
	return err
}

// displace takes the name from what a new object replaces, and lets n inherit
// from it if it was a file. in are the histories of the directory. Setuid and setgid do
// not outlive the content that they were given to (POSIX write).
func (x *tx) displace(op string, b *record.Bucket, in []history, name string, old record.Dirent, n *record.Inode) error {
	was, err := x.inode(old.Inode)
	if err == nil && was.Type == objstore.TypeRegular {
		n.Mode, n.UID, n.GID = killPriv(was.Mode), was.UID, was.GID
	}
	x.change(objstore.Change{Inode: old.Inode})
	return x.retire(b, op, in, name, old.Inode)
}

// step is a directory on the way to a key, with the name under which it stands
// in the one before it.
type step struct {
	name string
	ino  objstore.InodeID
}

// deleteKey removes the current version of a key, and the implicit directories
// that nothing is left in. "dir/" removes the directory's object and makes the
// directory implicit. In a bucket without versioning nothing is changed, and
// Existed is false, when the key names no object; otherwise a delete marker stays.
func (x *tx) deleteKey(root objstore.InodeID, key string) (res objstore.DeleteResult, err error) {
	const op = "delete"
	b, err := x.settings(root)
	if err != nil {
		return res, x.removedBucket(op, root, err)
	}
	if b.Versioning == objstore.VersioningOff {
		res.Existed, err = x.deleteLive(root, key)
		return res, err
	}
	w, err := x.way(root, key)
	if err != nil {
		return res, err
	}
	x.pastWay(w)
	_, live, err := x.findKey(root, key)
	if err != nil && !objstore.IsKind(err, objstore.KindNotFound) {
		return res, err
	}
	if err := x.tellNullsApart(w.last(), w.name, live); err != nil {
		return res, err
	}
	number, err := x.mark(b, w.last(), w.name)
	if err != nil {
		return res, err
	}
	for _, h := range w.last()[1:] { // the null version may have been the last in one
		if err := x.tidyAfter(root, key, h); err != nil {
			return res, err
		}
	}
	res.Marker, res.Version = true, objstore.NullVersion
	if b.Versioning == objstore.VersioningEnabled {
		res.Version = x.s.versionID(number)
	}
	// The marker is there by now, so that a directory that goes leaves its history.
	res.Existed, err = x.removeLive(root, key, func(in []history, name string, ino objstore.InodeID) error {
		return x.retireTold(b, op, in, name, ino)
	})
	return res, err
}

// deleteLive removes what a key names now for good.
func (x *tx) deleteLive(root objstore.InodeID, key string) (existed bool, err error) {
	return x.removeLive(root, key, func(_ []history, name string, ino objstore.InodeID) error {
		return x.unname("delete", name, ino)
	})
}

// removeLive takes its name from the object of a key: discard says what becomes of
// the inode, whose name was in a directory of the histories in. existed is false when the
// key names no object.
func (x *tx) removeLive(root objstore.InodeID, key string, discard func(in []history, name string, ino objstore.InodeID) error) (existed bool, err error) {
	const op = "delete"
	dirs, last := splitKey(key)
	path := []step{{ino: root}}
	for _, comp := range dirs {
		d, ok, err := x.dirent(path[len(path)-1].ino, comp+"/")
		if err != nil || !ok {
			return false, err
		}
		path = append(path, step{comp, d.Inode})
	}
	at := path[len(path)-1].ino
	dir, err := x.named(op, key, at)
	if err != nil {
		return false, err
	}
	b, err := x.settings(root)
	if err != nil {
		return false, err
	}
	in, err := x.histories(b, at, dir)
	if err != nil {
		return false, err
	}
	if last == "" {
		if at == root || !dir.Explicit {
			return false, nil
		}
		d, ok, err := x.takeMarker(at, dir)
		if err != nil {
			return false, err
		}
		if ok {
			if err := discard(in, "", d.Inode); err != nil {
				return false, err
			}
		}
		dir.Explicit = false
	} else {
		d, ok, err := x.dirent(at, last)
		if err != nil || !ok || d.Type != objstore.TypeRegular {
			return false, err
		}
		if err := x.removeEntry(at, dir, last, d.Type); err != nil {
			return false, err
		}
		if err := discard(in, last, d.Inode); err != nil {
			return false, err
		}
		x.objectGone(at, last, d.Inode, d.Shadowed)
	}
	return true, x.prune(root, path, dir, last)
}

// prune writes back the last directory of a path, in which the entry of a
// stored name was removed, or removes it when it is implicit and nothing else
// is in it; and so on upwards.
func (x *tx) prune(root objstore.InodeID, path []step, dir *record.Inode, stored string) error {
	const op = "delete"
	b, err := x.settings(root)
	if err != nil {
		return err
	}
	for {
		here := path[len(path)-1]
		path = path[:len(path)-1]
		dir.Mtime, dir.Ctime = x.now, x.now
		empty := false
		if len(path) > 0 && !dir.Explicit {
			var err error
			if empty, err = x.alone(here.ino, stored); err != nil {
				return err
			}
		}
		if !empty {
			x.setInode(here.ino, dir)
			x.change(objstore.Change{Inode: here.ino})
			return nil
		}
		above := path[len(path)-1]
		parent, err := x.named(op, here.name, above.ino)
		if err != nil {
			return err
		}
		if err := x.leave(b, above.ino, parent, here.name, here.ino, dir); err != nil {
			return err
		}
		if err := x.removeEntry(above.ino, parent, here.name, objstore.TypeDirectory); err != nil {
			return err
		}
		x.dropLink(here.ino, dir)
		if err := x.dirGone(above.ino, here.name, here.ino); err != nil {
			return err
		}
		dir, stored = parent, here.name+"/"
	}
}
