package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/cofferfs/coffer/objstore"
)

// Names come and go: mknod, mkdir, symlink, link, unlink, rmdir. The kernel has
// applied the umask to modes. Create is in file.go, Rename in rename.go.

// made answers an operation that made an entry.
func (f *FS) made(op string, h *fuse.InHeader, out *fuse.EntryOut, r reply, a objstore.Attr, err error) fuse.Status {
	if err != nil {
		return f.fail(op, h, err)
	}
	f.fillEntry(out, &a, r)
	return fuse.OK
}

// Mknod makes an empty file or a special file.
func (f *FS) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	typ, ok := typeOf(in.Mode)
	if !ok || typ == objstore.TypeDirectory || typ == objstore.TypeSymlink {
		return fuse.EINVAL
	}
	r := f.begin()
	a, err := f.store.Mknod(f.ctx(), f.caller(&in.InHeader), f.inode(in.NodeId), name, typ, in.Mode&07777, in.Rdev)
	return f.made("mknod", &in.InHeader, out, r, a, err)
}

// Mkdir makes a directory, or a bucket in the root of all buckets.
func (f *FS) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	r := f.begin()
	a, err := f.store.Mkdir(f.ctx(), f.caller(&in.InHeader), f.inode(in.NodeId), name, in.Mode&07777)
	return f.made("mkdir", &in.InHeader, out, r, a, err)
}

// Symlink makes a symbolic link.
func (f *FS) Symlink(_ <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	if len(target) > objstore.MaxSymlinkLen {
		return fuse.Status(syscall.ENAMETOOLONG)
	}
	r := f.begin()
	a, err := f.store.Symlink(f.ctx(), f.caller(h), f.inode(h.NodeId), name, target)
	return f.made("symlink", h, out, r, a, err)
}

// Link gives a file one more name.
func (f *FS) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if f.o.Writeback {
		f.settle(f.inode(in.Oldnodeid))
	}
	r := f.begin()
	a, err := f.store.Link(f.ctx(), f.caller(&in.InHeader), f.inode(in.Oldnodeid), f.inode(in.NodeId), name)
	return f.made("link", &in.InHeader, out, r, a, err)
}

// Unlink removes a name.
func (f *FS) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if err := f.store.Unlink(f.ctx(), f.caller(h), f.inode(h.NodeId), name); err != nil {
		return f.fail("unlink", h, err)
	}
	return fuse.OK
}

// Rmdir removes an empty directory.
func (f *FS) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if err := f.store.Rmdir(f.ctx(), f.caller(h), f.inode(h.NodeId), name); err != nil {
		return f.fail("rmdir", h, err)
	}
	return fuse.OK
}
