package engine

import (
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Names of inodes. A record has the directory of its inode, and in a versioned bucket
// the name there; what else has a name is found by reading directories.

// nameIn returns the name of an inode in the directory that its record has, or "".
func (r reader) nameIn(n *record.Inode, ino objstore.InodeID) (string, error) {
	if n.Name != "" {
		if d, ok, err := r.lookup(n.Parent, n.Name); err != nil || ok && d.Inode == ino {
			return n.Name, err
		}
	}
	stored, _, err := r.nameUnder(n.Parent, ino)
	return stored, err
}

// nameOfDirectory returns a directory's name: the one that is kept with it, or, of one
// from before its bucket was versioned, what the directory above says.
func (r reader) nameOfDirectory(dir objstore.InodeID, n *record.Inode) (string, error) {
	if d, ok, err := r.dirent(n.Parent, n.Name+"/"); err != nil || ok && d.Inode == dir {
		return n.Name, err
	}
	stored, _, err := r.nameUnder(n.Parent, dir)
	if err == nil && stored == "" {
		err = objstore.E(objstore.KindCorrupt, "version", "", "a directory has no name")
	}
	name, _ := record.SplitStored(stored)
	return name, err
}

// nameOf returns a name of a file: the one that is kept with it, or the first that
// its directory has for it, or else the first in its bucket. That takes reading all
// names there: of a file whose kept name was removed, and that has another one in
// another directory, nothing tells which. Its version must not be lost for that, and
// it has the name with it from then on. ok is false when it has none.
func (x *tx) nameOf(ino objstore.InodeID, n *record.Inode) (dir objstore.InodeID, name string, ok bool, err error) {
	d, ok, err := x.dirent(n.Parent, n.Name)
	if err != nil || ok && d.Inode == ino {
		return n.Parent, n.Name, ok, err
	}
	name, _, err = x.nameUnder(n.Parent, ino)
	if err != nil || name != "" {
		return n.Parent, name, err == nil, err
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
