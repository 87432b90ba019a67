package engine

import (
	"context"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// The tree. A directory's entries are kept under their stored names, those of
// directories with a trailing slash, so one name can have two entries, twins:
// an object and a directory. The mount shows the directory; the object's entry
// carries the shadowed bit, which addEntry and removeEntry keep true in the
// transaction that makes or removes the twin. The empty name is the marker
// object of the directory it stands in and has no twin, although a directory
// may hold a directory with the empty name too (the key "a//b").
//
// A directory's nlink is 2 and one for each directory in it that the mount can
// show. A directory that was removed while somebody had it open has nlink 0.

// Lookup finds an entry of a directory by its name in the mount. A directory
// hides the object of the same name.
func (s *Store) Lookup(ctx context.Context, parent objstore.InodeID, name string) (objstore.Attr, error) {
	const op = "lookup"
	if err := checkName(op, name); err != nil {
		return objstore.Attr{}, err
	}
	var ino objstore.InodeID
	var n *record.Inode
	err := s.look(ctx, op, name, func(r reader) error {
		d, ok, err := r.lookup(parent, name)
		if err != nil {
			return err
		}
		if !ok {
			// The absent name is the common case: look at the directory only now.
			if _, err := r.directory(op, parent); err != nil {
				return err
			}
			return objstore.E(objstore.KindNotFound, op, name, "")
		}
		ino = d.Inode
		if n, ok = s.cache.get(ino); ok {
			return nil
		}
		n, err = r.named(op, name, ino)
		return err
	})
	if err != nil {
		return objstore.Attr{}, err
	}
	s.overlay(ino, n)
	return attrOf(ino, n), nil
}

// Parent returns a directory's parent (".."). That of a bucket's root is
// RootInode, which is its own.
func (s *Store) Parent(ctx context.Context, dir objstore.InodeID) (objstore.InodeID, error) {
	const op = "parent"
	if dir == objstore.RootInode {
		return dir, nil
	}
	var parent objstore.InodeID
	err := s.look(ctx, op, "", func(r reader) error {
		n, err := r.inode(dir)
		if err != nil {
			return err
		}
		if n.Type != objstore.TypeDirectory {
			return objstore.E(objstore.KindNotDirectory, op, "", "")
		}
		parent = n.Parent
		return nil
	})
	return parent, err
}

// checkName returns nil for a name that an entry of the mount can have. The
// kernel checks most of it before; nothing here relies on that.
func checkName(op, name string) error {
	switch {
	case len(name) > objstore.MaxComponentLen:
		return objstore.E(objstore.KindNameTooLong, op, name[:64], "name is over 255 bytes")
	case !record.Mountable(name), strings.ContainsAny(name, "/\x00"):
		return objstore.E(objstore.KindInvalidName, op, name, "")
	}
	return nil
}

// lookup returns the entry that the mount shows under a name: of the two that it
// can have that of the directory.
func (r reader) lookup(dir objstore.InodeID, name string) (d record.Dirent, ok bool, err error) {
	file, isFile, err := r.dirent(dir, name)
	if err != nil {
		return d, false, err
	}
	sub, isDir, err := r.dirent(dir, name+"/")
	if err != nil || isDir {
		return sub, isDir, err
	}
	return file, isFile, nil
}

// directory returns a directory in which names are looked up or changed. One
// that was removed has no names and takes none (POSIX: ENOENT).
func (r reader) directory(op string, dir objstore.InodeID) (*record.Inode, error) {
	n, err := r.inode(dir)
	switch {
	case objstore.IsKind(err, objstore.KindStale):
		return nil, objstore.E(objstore.KindNotFound, op, "", "the directory was removed")
	case err != nil:
		return nil, err
	case n.Type != objstore.TypeDirectory:
		return nil, objstore.E(objstore.KindNotDirectory, op, "", "")
	case n.Nlink == 0:
		return nil, objstore.E(objstore.KindNotFound, op, "", "the directory was removed")
	}
	return n, nil
}

// named returns the inode that an entry points at. An entry that points at
// nothing is damage, and must not look like an absent name.
func (r reader) named(op, name string, ino objstore.InodeID) (*record.Inode, error) {
	n, err := r.inode(ino)
	if objstore.IsKind(err, objstore.KindStale) {
		return nil, objstore.E(objstore.KindCorrupt, op, name, "the entry's inode is missing")
	}
	return n, err
}

// fromMount reports whether the caller is a mount, not S3.
func (x *tx) fromMount() bool { return x.c.AccessKeyID == "" }

// touch writes a directory back after its entries changed. What the mount
// changed is explicit from then on.
func (x *tx) touch(dir objstore.InodeID, n *record.Inode) {
	n.Mtime, n.Ctime = x.now, x.now
	if x.fromMount() {
		n.Explicit = true
	}
	x.setInode(dir, n)
}

// addEntry gives an inode a name that is free. It changes the directory's
// nlink in n, which the caller writes back.
func (x *tx) addEntry(dir objstore.InodeID, n *record.Inode, name string, d record.Dirent) error {
	d.Shadowed = false
	if d.Type == objstore.TypeDirectory {
		if err := x.shadow(dir, name, true); err != nil {
			return err
		}
	} else if name != "" {
		_, twin, err := x.dirent(dir, name+"/")
		if err != nil {
			return err
		}
		d.Shadowed = twin
	}
	x.place(dir, n, name, d)
	return nil
}

// place is addEntry where it is known what twin there is.
func (x *tx) place(dir objstore.InodeID, n *record.Inode, name string, d record.Dirent) {
	isDir := d.Type == objstore.TypeDirectory
	if isDir && record.Mountable(name) {
		n.Nlink++
	}
	x.setDirent(dir, record.StoredName(name, isDir), d)
}

// removeEntry is the inverse of addEntry. It leaves the inode alone.
func (x *tx) removeEntry(dir objstore.InodeID, n *record.Inode, name string, typ objstore.FileType) error {
	if typ != objstore.TypeDirectory {
		x.deleteDirent(dir, name)
		return nil
	}
	x.deleteDirent(dir, name+"/")
	if record.Mountable(name) {
		n.Nlink--
	}
	return x.shadow(dir, name, false)
}

// shadow sets the shadowed bit of an object whose twin comes or goes.
func (x *tx) shadow(dir objstore.InodeID, name string, on bool) error {
	if name == "" { // the marker is hidden whatever stands beside it
		return nil
	}
	d, ok, err := x.dirent(dir, name)
	if err != nil || !ok || d.Shadowed == on {
		return err
	}
	d.Shadowed = on
	x.setDirent(dir, name, d)
	return nil
}

// entryChanged tells the watchers that a name came, or moved to another inode,
// and with removed that it went. They take the attributes of the directory
// for changed too. A name that the mount never shows changes only those.
func (x *tx) entryChanged(dir objstore.InodeID, name string, ino objstore.InodeID, removed bool) {
	if !record.Mountable(name) {
		x.change(objstore.Change{Inode: dir})
		return
	}
	x.change(objstore.Change{Parent: dir, Name: name, Inode: ino, Removed: removed})
}

// objectCame is entryChanged for an object that S3 gave a name. Where the mount
// shows a directory by that name it still does: told that the entry changed, a
// kernel would take the directory for one that was removed, and whoever stands in
// it would have no path.
func (x *tx) objectCame(dir objstore.InodeID, name string, ino objstore.InodeID) error {
	d, _, err := x.dirent(dir, name)
	if err != nil {
		return err
	}
	if !d.Shadowed {
		x.entryChanged(dir, name, ino, false)
		return nil
	}
	x.change(objstore.Change{Inode: dir})
	x.change(objstore.Change{Inode: ino})
	return nil
}

// objectGone is the inverse of objectCame; hidden tells that the mount shows a
// directory by that name.
func (x *tx) objectGone(dir objstore.InodeID, name string, ino objstore.InodeID, hidden bool) {
	if !hidden {
		x.entryChanged(dir, name, ino, true)
		return
	}
	x.change(objstore.Change{Inode: dir})
	x.change(objstore.Change{Inode: ino})
}

// dirGone is entryChanged for a directory that went: the name may now show the
// object that it hid.
func (x *tx) dirGone(dir objstore.InodeID, name string, ino objstore.InodeID) error {
	_, twin, err := x.dirent(dir, name)
	if err != nil {
		return err
	}
	x.entryChanged(dir, name, ino, !twin || name == "")
	return nil
}
