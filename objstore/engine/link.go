package engine

import (
	"context"
	"unicode/utf8"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// makeEntry gives a new inode its first name, for the mount. n has type, mode
// and whatever belongs to the type; makeEntry fills in owner, times, links and
// place, and writes both. KindExists: the name is taken.
func (x *tx) makeEntry(op string, parent objstore.InodeID, name string, ino objstore.InodeID, n *record.Inode) error {
	if err := checkName(op, name); err != nil {
		return err
	}
	dir, err := x.directory(op, parent)
	if err != nil {
		return err
	}
	if parent == objstore.RootInode {
		return objstore.E(objstore.KindNotPermitted, op, name, "only buckets, which are directories, can stand here")
	}
	_, taken, err := x.lookup(parent, name)
	if err != nil {
		return err
	}
	if taken {
		return objstore.E(objstore.KindExists, op, name, "")
	}
	if n.Type == objstore.TypeDirectory {
		x.madeDirectory(ino)
	}
	x.adopt(dir, parent, n)
	if err := x.begin(dir, parent, name, ino, n); err != nil {
		return err
	}
	n.Atime, n.Mtime, n.Ctime, n.Btime = x.now, x.now, x.now, x.now
	x.place(parent, dir, name, record.Dirent{Type: n.Type, Inode: ino}) // there is no twin
	x.touch(parent, dir)
	x.setInode(ino, n)
	x.entryChanged(parent, name, ino, false)
	return nil
}

// adopt fills in what a new inode takes from its directory and its caller. In
// a directory with the setgid bit the group, and for directories the bit, are
// inherited (POSIX leaves the choice; this is Linux's).
func (x *tx) adopt(dir *record.Inode, parent objstore.InodeID, n *record.Inode) {
	n.UID, n.GID = x.c.UID, x.c.GID
	if n.UID == objstore.NoOwner {
		n.UID = dir.UID
	}
	if n.GID == objstore.NoOwner || dir.Mode&02000 != 0 {
		n.GID = dir.GID
	}
	n.Nlink = 1
	if n.Type == objstore.TypeDirectory {
		n.Nlink = 2
		n.Mode |= dir.Mode & 02000
	}
	n.Bucket, n.Parent = dir.Bucket, parent
}

// makeNew is the whole of mkdir, mknod and symlink. check may refuse, within the
// transaction, what was made.
func (s *Store) makeNew(ctx context.Context, c objstore.Caller, op string, parent objstore.InodeID, name string, fresh func() *record.Inode, check func(*tx, *record.Inode) error) (a objstore.Attr, n *record.Inode, err error) {
	ino, err := s.newInode(ctx)
	if err != nil {
		return objstore.Attr{}, nil, err
	}
	err = s.update(ctx, c, op, name, func(x *tx) error {
		n = fresh()
		err := x.makeEntry(op, parent, name, ino, n)
		if err == nil && check != nil {
			err = check(x, n)
		}
		return err
	})
	if err != nil {
		return objstore.Attr{}, nil, err
	}
	return attrOf(ino, n), n, nil
}

// Mkdir makes an explicit directory. In the root directory it makes a bucket:
// KindInvalidBucketName for a name that no bucket can have.
func (s *Store) Mkdir(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string, mode uint32) (objstore.Attr, error) {
	if parent == objstore.RootInode {
		_, ino, n, err := s.createBucket(ctx, c, "mkdir", objstore.CreateBucketRequest{Name: name, Mode: mode})
		if err != nil {
			return objstore.Attr{}, err
		}
		return attrOf(ino, n), nil
	}
	a, _, err := s.makeNew(ctx, c, "mkdir", parent, name, func() *record.Inode {
		return &record.Inode{Type: objstore.TypeDirectory, Mode: mode & 07777, Explicit: true}
	}, nil)
	return a, err
}

// Mknod makes an empty regular file, or a special file. mode are the
// permission bits, the type is typ; rdev counts for devices only.
func (s *Store) Mknod(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string, typ objstore.FileType, mode, rdev uint32) (objstore.Attr, error) {
	a, _, err := s.mknod(ctx, c, parent, name, typ, mode, rdev)
	return a, err
}

func (s *Store) mknod(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string, typ objstore.FileType, mode, rdev uint32) (objstore.Attr, *record.Inode, error) {
	const op = "mknod"
	switch typ {
	case objstore.TypeRegular, objstore.TypeFIFO, objstore.TypeSocket:
		rdev = 0
	case objstore.TypeCharDev, objstore.TypeBlockDev:
	default:
		return objstore.Attr{}, nil, objstore.E(objstore.KindInvalidArgument, op, name, "not a type that mknod makes")
	}
	makeOne := func(asked *askedKey) (a objstore.Attr, n *record.Inode, err error) {
		return s.makeNew(ctx, c, op, parent, name, func() *record.Inode {
			n := &record.Inode{Type: typ, Mode: mode & 07777, Rdev: rdev}
			if typ == objstore.TypeRegular {
				n.Content.ID = newContentID()
			}
			return n
		}, func(x *tx, n *record.Inode) error { return x.checkKeyAsked(n, asked) })
	}
	if typ != objstore.TypeRegular {
		return makeOne(nil)
	}
	var a objstore.Attr
	var n *record.Inode
	err := s.askingKey(ctx, parent, func(asked *askedKey) (err error) {
		a, n, err = makeOne(asked)
		return err
	})
	if err != nil {
		return objstore.Attr{}, nil, err
	}
	return a, n, nil
}

// Symlink makes a symbolic link. The target is kept as it is given: 1 to
// MaxSymlinkLen bytes.
func (s *Store) Symlink(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name, target string) (objstore.Attr, error) {
	const op = "symlink"
	switch {
	case target == "":
		return objstore.Attr{}, objstore.E(objstore.KindNotFound, op, name, "the target is empty") // as symlink(2)
	case len(target) > objstore.MaxSymlinkLen:
		return objstore.Attr{}, objstore.E(objstore.KindNameTooLong, op, name, "the target is over 4095 bytes")
	}
	a, _, err := s.makeNew(ctx, c, op, parent, name, func() *record.Inode {
		return &record.Inode{Type: objstore.TypeSymlink, Mode: 0777, Target: target}
	}, nil)
	return a, err
}

// Readlink returns a symbolic link's target; KindInvalidArgument for anything else.
func (s *Store) Readlink(ctx context.Context, ino objstore.InodeID) (string, error) {
	var target string
	err := s.view(ctx, "readlink", "", func(r reader) error {
		n, err := r.inode(ino)
		if err != nil {
			return err
		}
		if n.Type != objstore.TypeSymlink {
			return objstore.E(objstore.KindInvalidArgument, "readlink", "", "not a symbolic link")
		}
		target = n.Target
		return nil
	})
	return target, err
}

// Link gives an inode (not a directory) one more name in its bucket, or its first if
// it was made without one (CreateUnnamed). What was written to the file is committed
// before it.
func (s *Store) Link(ctx context.Context, c objstore.Caller, ino, newParent objstore.InodeID, newName string) (objstore.Attr, error) {
	const op = "link"
	if err := checkName(op, newName); err != nil {
		return objstore.Attr{}, err
	}
	open := s.nodes.retain(ino)
	if open != nil {
		defer s.releaseNode(context.WithoutCancel(ctx), open)
		if err := open.commit(ctx); err != nil {
			return objstore.Attr{}, err
		}
	}
	var n *record.Inode
	var first bool // it is its first name
	err := s.update(ctx, c, op, newName, func(x *tx) error {
		dir, err := x.directory(op, newParent)
		if err != nil {
			return err
		}
		if n, err = x.inode(ino); err != nil {
			return err
		}
		first = n.Nlink == 0 && open != nil && open.linkable.Load()
		if err := linkable(n, first, dir, newParent, newName); err != nil {
			return err
		}
		_, taken, err := x.lookup(newParent, newName)
		if err != nil {
			return err
		}
		if taken {
			return objstore.E(objstore.KindExists, op, newName, "")
		}
		if first {
			err = x.nameUnnamed(dir, newParent, newName, ino, n)
		} else {
			err = x.nameAgain(dir, newParent, newName, n)
		}
		if err != nil {
			return err
		}
		x.place(newParent, dir, newName, record.Dirent{Type: n.Type, Inode: ino}) // there is no twin
		x.touch(newParent, dir)
		n.Nlink++
		n.Ctime = x.now
		x.setInode(ino, n)
		x.entryChanged(newParent, newName, ino, false)
		return nil
	})
	if err != nil {
		return objstore.Attr{}, err
	}
	if first {
		open.gotName(context.WithoutCancel(ctx), n.Lock)
	}
	s.overlay(ino, n)
	return attrOf(ino, n), nil
}

// nameAgain does for one more name of an inode what versioning asks for.
func (x *tx) nameAgain(dir *record.Inode, parent objstore.InodeID, name string, n *record.Inode) error {
	b, err := x.settings(dir.Bucket)
	if err != nil {
		return err
	}
	switch {
	case n.Type != objstore.TypeRegular || b.Versioning == objstore.VersioningOff:
		return nil
	case b.Lock.Enabled:
		return objstore.E(objstore.KindNotPermitted, "link", name, "a file of a bucket with Object Lock has one name only")
	}
	n.Parent, n.Name = parent, name // its versions are kept there from now on
	in, err := x.histories(b, parent, dir)
	if err != nil {
		return err
	}
	return x.tellNullsApart(in, name, n)
}

// linkable returns why an inode cannot be given a name, its first or one more, in a
// directory.
func linkable(n *record.Inode, first bool, dir *record.Inode, parent objstore.InodeID, name string) error {
	const op = "link"
	switch {
	case n.Type == objstore.TypeDirectory:
		return objstore.E(objstore.KindNotPermitted, op, name, "a directory has one name only")
	case parent == objstore.RootInode:
		return objstore.E(objstore.KindNotPermitted, op, name, "only buckets, which are directories, can stand here")
	case n.Bucket != dir.Bucket:
		return objstore.E(objstore.KindCrossBucket, op, name, "")
	case n.Nlink == 0 && !first:
		return objstore.E(objstore.KindNotFound, op, name, "the file was removed")
	case uint64(n.Nlink) >= objstore.MaxLinks:
		return objstore.E(objstore.KindTooManyLinks, op, name, "")
	}
	return nil
}

// Unlink removes a name that is no directory. Open files stay readable.
func (s *Store) Unlink(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string) error {
	const op = "unlink"
	if err := checkName(op, name); err != nil {
		return err
	}
	return s.update(ctx, c, op, name, func(x *tx) error {
		dir, d, err := x.existing(op, parent, name)
		if err != nil {
			return err
		}
		if d.Type == objstore.TypeDirectory {
			return objstore.E(objstore.KindIsDirectory, op, name, "")
		}
		b, err := x.settings(dir.Bucket)
		if err != nil {
			return err
		}
		if err := x.removeEntry(parent, dir, name, d.Type); err != nil {
			return err
		}
		x.touch(parent, dir)
		x.entryChanged(parent, name, d.Inode, true)
		in, err := x.histories(b, parent, dir)
		if err != nil {
			return err
		}
		return x.vanish(b, op, in, name, d)
	})
}

// existing returns a directory and its entry of a name, as the mount sees it. Error:
// KindNotFound if there is none.
func (x *tx) existing(op string, parent objstore.InodeID, name string) (dir *record.Inode, d record.Dirent, err error) {
	if dir, err = x.directory(op, parent); err != nil {
		return nil, d, err
	}
	d, ok, err := x.lookup(parent, name)
	if err == nil && !ok {
		err = objstore.E(objstore.KindNotFound, op, name, "")
	}
	return dir, d, err
}

// vanish takes a name from what it stood for, whose entry was removed from a
// directory of the histories in by the mount: a version stays, and a delete marker,
// where S3's delete would leave them.
func (x *tx) vanish(b *record.Bucket, op string, in []history, name string, d record.Dirent) error {
	if err := x.retire(b, op, in, name, d.Inode); err != nil {
		return err
	}
	if b.Versioning == objstore.VersioningOff || d.Type != objstore.TypeRegular || !utf8.ValidString(name) {
		return nil
	}
	_, err := x.mark(b, in, name)
	return err
}

// unname takes a name from an inode whose entry was removed. An inode that is
// missing has nothing more to lose: an entry that points at nothing can always
// be removed or replaced.
func (x *tx) unname(op, name string, ino objstore.InodeID) error {
	n, err := x.inode(ino)
	if objstore.IsKind(err, objstore.KindStale) {
		x.s.log.Warn("removed an entry without an inode", "op", op, "name", name, "inode", ino)
		return nil
	}
	if err != nil {
		return err
	}
	x.dropLink(ino, n)
	return nil
}

// Rmdir removes an empty directory, or an empty bucket in the root directory.
// Entries that the mount hides keep it (KindNotEmpty); its marker object goes
// with it.
func (s *Store) Rmdir(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string) error {
	const op = "rmdir"
	if err := checkName(op, name); err != nil {
		return err
	}
	if parent == objstore.RootInode {
		return s.deleteBucket(ctx, c, op, name)
	}
	return s.update(ctx, c, op, name, func(x *tx) error {
		dir, d, err := x.existing(op, parent, name)
		if err != nil {
			return err
		}
		if d.Type != objstore.TypeDirectory {
			return objstore.E(objstore.KindNotDirectory, op, name, "")
		}
		if err := x.removeDirectory(op, parent, dir, name, d.Inode); err != nil {
			return err
		}
		if err := x.removeEntry(parent, dir, name, d.Type); err != nil {
			return err
		}
		x.touch(parent, dir)
		return x.dirGone(parent, name, d.Inode)
	})
}

// removeDirectory removes an empty directory's inode and its marker object,
// but not its entry in the directory above, dir. KindNotEmpty.
func (x *tx) removeDirectory(op string, above objstore.InodeID, dir *record.Inode, name string, ino objstore.InodeID) error {
	n, err := x.named(op, name, ino)
	if err != nil {
		return err
	}
	empty, err := x.vacant(ino)
	if err != nil {
		return err
	}
	if !empty {
		return objstore.E(objstore.KindNotEmpty, op, name, "")
	}
	b, err := x.settings(n.Bucket)
	if err != nil {
		return err
	}
	in, err := x.histories(b, ino, n)
	if err != nil {
		return err
	}
	d, ok, err := x.takeMarker(ino, n)
	if err != nil {
		return err
	}
	if ok {
		if err := x.vanish(b, op, in, "", d); err != nil {
			return err
		}
	}
	if err := x.leave(b, above, dir, name, ino, n); err != nil {
		return err
	}
	x.dropLink(ino, n)
	return nil
}

// takeMarker removes the entry of a directory's marker object where it has one,
// and returns what it was. The caller writes the directory back.
func (x *tx) takeMarker(dir objstore.InodeID, n *record.Inode) (d record.Dirent, ok bool, err error) {
	if !n.HasMarker {
		return d, false, nil
	}
	n.HasMarker = false
	if d, ok, err = x.dirent(dir, ""); ok {
		x.deleteDirent(dir, "")
	}
	return d, ok, err
}

// begin gives a new inode of the mount what versioning asks for: a file its
// number, a directory the histories that its name has left.
func (x *tx) begin(dir *record.Inode, parent objstore.InodeID, name string, ino objstore.InodeID, n *record.Inode) error {
	if n.Type != objstore.TypeRegular && n.Type != objstore.TypeDirectory {
		return nil
	}
	b, err := x.settings(dir.Bucket)
	if err != nil || b.Versioning == objstore.VersioningOff {
		return err
	}
	in, err := x.histories(b, parent, dir)
	if err != nil {
		return err
	}
	if n.Type == objstore.TypeDirectory {
		n.Name = name
		return x.takeHistories(in, name, ino, n, true)
	}
	if b.Versioning == objstore.VersioningSuspended {
		if err := x.dropNull(in, name); err != nil {
			return err
		}
	}
	return x.become(b, parent, name, n)
}
