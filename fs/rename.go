package fs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

// Rename serves RENAME and RENAME2 (renameat2(2)). RENAME_WHITEOUT is EINVAL,
// as for every file system that is no layer of an overlay.
func (f *FS) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	var flags objstore.RenameFlags
	if in.Flags&unix.RENAME_NOREPLACE != 0 {
		flags |= objstore.RenameNoReplace
	}
	if in.Flags&unix.RENAME_EXCHANGE != 0 {
		flags |= objstore.RenameExchange
	}
	known := uint32(unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE)
	if in.Flags&^known != 0 || in.Flags == known {
		return fuse.EINVAL
	}
	c := f.caller(&in.InHeader)
	var replaced *left
	if flags == 0 {
		replaced = f.hold(f.inode(in.Newdir), newName, c)
	}
	err := f.store.Rename(f.ctx(), c, f.inode(in.NodeId), oldName, f.inode(in.Newdir), newName, flags)
	if err != nil {
		f.drop(replaced)
		return f.fail("rename", in.NodeId, err)
	}
	if replaced != nil {
		f.keep(replaced)
	}
	return fuse.OK
}
