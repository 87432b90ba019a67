package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// GetAttr returns the attributes of an inode; those of an open file include
// what is not yet committed. KindStale: the inode is gone.
func (s *Store) GetAttr(ctx context.Context, ino objstore.InodeID) (objstore.Attr, error) {
	n, err := s.readInode(ctx, ino)
	if err != nil {
		return objstore.Attr{}, err
	}
	s.overlay(ino, n)
	return attrOf(ino, n), nil
}

// directorySize is what stat says of a directory, in bytes: a figure that
// programs are used to. Its entries cost next to nothing, so it has no blocks.
const directorySize = 4096

// attrOf renders a record as attributes.
func attrOf(ino objstore.InodeID, n *record.Inode) objstore.Attr {
	a := objstore.Attr{
		Inode: ino, Bucket: n.Bucket, Type: n.Type, Mode: n.Mode, UID: n.UID, GID: n.GID,
		Nlink: n.Nlink, Rdev: n.Rdev, Size: n.Size, Blocks: (n.Allocated + 511) / 512,
		Atime: n.Atime, Mtime: n.Mtime, Ctime: n.Ctime, Btime: n.Btime,
	}
	switch n.Type {
	case objstore.TypeDirectory:
		a.Size, a.Blocks = directorySize, 0
	case objstore.TypeSymlink:
		a.Size = int64(len(n.Target))
	}
	return a
}

// SetAttr changes attributes; Size is set as by truncate(2), in a commit of
// its own before that of the others. What the mount sets on an implicit
// directory makes it explicit. KindLocked: it would change when a locked version
// was last modified (finishing.go).
func (s *Store) SetAttr(ctx context.Context, c objstore.Caller, ino objstore.InodeID, set objstore.SetAttr) (objstore.Attr, error) {
	const op = "setattr"
	if set.Size != nil {
		if err := s.sizable(ctx, op, ino); err != nil {
			return objstore.Attr{}, err
		}
		if err := s.truncate(ctx, c, ino, *set.Size); err != nil {
			return objstore.Attr{}, err
		}
		set.Size = nil
	}
	if set.Atime != nil || set.Mtime != nil || set.Ctime != nil {
		// Times of a file with uncommitted data belong to its next commit, which
		// would otherwise put its own over them.
		if s.setOpenTimes(ino, set) {
			set.Atime, set.Mtime = nil, nil
			if set == (objstore.SetAttr{Ctime: set.Ctime}) {
				set.Ctime = nil
			}
		}
	}
	if set == (objstore.SetAttr{}) {
		return s.GetAttr(ctx, ino)
	}
	var n *record.Inode
	err := s.update(ctx, c, op, "", func(x *tx) (err error) {
		if n, err = x.inode(ino); err != nil {
			return err
		}
		if n.Held { // a version stays as it is, whoever still has it open
			return nil
		}
		if set == (objstore.SetAttr{KillPriv: true}) && (n.Type == objstore.TypeDirectory || killPriv(n.Mode) == n.Mode) {
			return nil // ctime stays, which the kernel does not expect to move
		}
		if set.Mtime != nil && *set.Mtime != n.Mtime && x.sealedOff(ino, n) {
			return objstore.E(objstore.KindLocked, op, "", "")
		}
		n.Ctime = x.now
		apply(n, set)
		if n.Type == objstore.TypeDirectory && x.fromMount() {
			n.Explicit = true
		}
		x.setInode(ino, n)
		x.change(objstore.Change{Inode: ino})
		return nil
	})
	if err != nil {
		return objstore.Attr{}, err
	}
	if set.Mtime != nil {
		s.noteOpenTime(ino, *set.Mtime)
	}
	s.overlay(ino, n)
	return attrOf(ino, n), nil
}

// sizable refuses to truncate what is no regular file (POSIX truncate).
func (s *Store) sizable(ctx context.Context, op string, ino objstore.InodeID) error {
	return s.view(ctx, op, "", func(r reader) error {
		n, err := r.inode(ino)
		switch {
		case err != nil:
			return err
		case n.Type == objstore.TypeDirectory:
			return objstore.E(objstore.KindIsDirectory, op, "", "")
		case n.Type != objstore.TypeRegular:
			return objstore.E(objstore.KindInvalidArgument, op, "", "only a file has a size to set")
		}
		return nil
	})
}

// apply sets everything but the size in a record.
func apply(n *record.Inode, set objstore.SetAttr) {
	if set.KillPriv && n.Type != objstore.TypeDirectory {
		n.Mode = killPriv(n.Mode)
	}
	if set.Mode != nil {
		n.Mode = *set.Mode & 07777
	}
	if set.UID != nil && *set.UID != objstore.NoOwner {
		n.UID = *set.UID
	}
	if set.GID != nil && *set.GID != objstore.NoOwner {
		n.GID = *set.GID
	}
	if set.Atime != nil {
		n.Atime = *set.Atime
	}
	if set.Mtime != nil {
		n.Mtime = *set.Mtime
	}
	if set.Ctime != nil {
		n.Ctime = *set.Ctime
	}
}

// killPriv clears setuid, and setgid where it means a group to run as (without
// group execution it once meant mandatory locking and stays, as on Linux).
func killPriv(mode uint32) uint32 {
	mode &^= 04000
	if mode&00010 != 0 {
		mode &^= 02000
	}
	return mode
}
