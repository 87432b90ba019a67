package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

// Rename serves RENAME and RENAME2 (renameat2(2)). RENAME_WHITEOUT is what an overlay
// file system asks of its upper layer.
func (f *FS) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	flags, rest := knownFlags(in.Flags,
		flag[objstore.RenameFlags]{unix.RENAME_NOREPLACE, objstore.RenameNoReplace},
		flag[objstore.RenameFlags]{unix.RENAME_EXCHANGE, objstore.RenameExchange},
		flag[objstore.RenameFlags]{unix.RENAME_WHITEOUT, objstore.RenameWhiteout})
	if rest != 0 {
		return fuse.EINVAL
	}
	f.settleName(f.inode(in.NodeId), oldName)
	if flags&objstore.RenameExchange != 0 {
		f.settleName(f.inode(in.Newdir), newName)
	}
	err := f.store.Rename(f.ctx(), f.caller(&in.InHeader), f.inode(in.NodeId), oldName, f.inode(in.Newdir), newName, flags)
	if err != nil {
		return f.fail("rename", &in.InHeader, err)
	}
	from, to := entryName{f.inode(in.NodeId), oldName}, entryName{f.inode(in.Newdir), newName}
	f.remember(from, to)
	if flags&objstore.RenameExchange != 0 {
		f.remember(to, from)
	}
	return fuse.OK
}

// settleName is settle for the file that a name stands for.
func (f *FS) settleName(dir objstore.InodeID, name string) {
	if !f.o.Writeback || !f.files.contains(func(h *file) bool { return h.write }) {
		return // the usual case: programs close a file before they rename it
	}
	if a, err := f.store.Lookup(f.ctx(), dir, name); err == nil {
		f.settle(a.Inode)
	}
}

// settle makes the kernel hand over what it holds of a file that is open for
// writing; it has done so for files that are closed. With the writeback cache this
// comes before a file gets another name: otherwise that could stand for an empty file
// after a crash.
//
// The notice asks for the locks of the file's pages only, not for those that the
// kernel holds while it waits for this request, and other requests are served
// meanwhile.
func (f *FS) settle(ino objstore.InodeID) {
	open := f.files.contains(func(h *file) bool { return h.write && h.f.Inode() == ino })
	if node, ok := f.node(ino); ok && open {
		f.notice("settle", f.server.InodeNotify(node, 0, 0))
	}
}
