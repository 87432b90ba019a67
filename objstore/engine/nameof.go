package engine

import (
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Names of inodes. A record has the directory of its inode, and in a versioned bucket
// the name there; what else has a name is found by reading directories.

// nameIn returns the name of an inode in the directory that its record has: the one that
// is kept with it, or the first there. ok is false when it has none.
func (r reader) nameIn(n *record.Inode, ino objstore.InodeID) (name string, ok bool, err error) {
	d, ok, err := r.dirent(n.Parent, record.StoredName(n.Name, n.Type == objstore.TypeDirectory))
	if err != nil || ok && d.Inode == ino {
		return n.Name, ok, err
	}
	stored, _, err := r.nameUnder(n.Parent, ino)
	name, _ = record.SplitStored(stored)
	return name, stored != "", err
}

// nameOfDirectory returns a directory's name, which is not kept with one from before its
// bucket was versioned.
func (r reader) nameOfDirectory(dir objstore.InodeID, n *record.Inode) (string, error) {
	name, ok, err := r.nameIn(n, dir)
	if err == nil && !ok {
		err = objstore.E(objstore.KindCorrupt, "version", "", "a directory has no name")
	}
	return name, err
}

// nameOf returns a name of a file: that of nameIn, or else the first in its bucket. That
// takes reading all names there: of a file whose kept name was removed, and that has
// another one in another directory, nothing tells which. Its version must not be lost
// for that, and it has the name with it from then on. ok is false when it has none.
func (x *tx) nameOf(ino objstore.InodeID, n *record.Inode) (dir objstore.InodeID, name string, ok bool, err error) {
	name, ok, err = x.nameIn(n, ino)
	if err != nil || ok {
		return n.Parent, name, ok, err
	}
	for dirs := []objstore.InodeID{n.Bucket}; len(dirs) > 0; {
		dir, dirs = dirs[len(dirs)-1], dirs[:len(dirs)-1]
		name, below, err := x.nameUnder(dir, ino)
		if err != nil || name != "" {
			return dir, name, err == nil, err
		}
		dirs = append(dirs, below...)
	}
	return 0, "", false, nil
}

// nameUnder returns the first name of an inode in a directory as it is stored, "" when it
// has none there; below are the directories in it then.
func (r reader) nameUnder(dir, ino objstore.InodeID) (stored string, below []objstore.InodeID, err error) {
	for p, err := range r.Scan(meta.Prefix(record.DirentPrefix(dir))) {
		if err != nil {
			return "", nil, err
		}
		d, err := record.ParseDirent(p.Value)
		if err != nil {
			return "", nil, err
		}
		switch {
		case d.Inode == ino:
			stored, err := record.DirentName(p.Key)
			return stored, nil, err
		case d.Type == objstore.TypeDirectory:
			below = append(below, d.Inode)
		}
	}
	return "", below, nil
}
