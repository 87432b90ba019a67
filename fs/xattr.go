package fs

import (
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

// capability is the attribute that gives a program privileges (capabilities(7)).
const capability = "security.capability"

// trusted is the namespace of privileged processes.
const trusted = "trusted."

// supported tells the namespaces that are stored. POSIX ACLs
// (system.posix_acl_*) are not, and must not be kept as mere bytes that nobody
// heeds.
func supported(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, trusted) || strings.HasPrefix(name, "security.")
}

// GetXAttr returns a value, or its size when dest is empty.
func (f *FS) GetXAttr(_ <-chan struct{}, h *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if !supported(name) {
		return 0, fuse.ENOTSUP
	}
	v, err := f.store.GetXattr(f.ctx(), f.inode(h.NodeId), name)
	if err != nil {
		return 0, f.fail("getxattr", h, err)
	}
	return fit(dest, v)
}

// ListXAttr returns the names, each with a NUL behind it. The kernel shows attributes
// that are trusted to privileged processes alone, but leaves their names to the file
// system (xattr(7)); a program that copies all that it sees would fail on one.
func (f *FS) ListXAttr(_ <-chan struct{}, h *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	names, err := f.store.ListXattr(f.ctx(), f.inode(h.NodeId))
	if err != nil {
		return 0, f.fail("listxattr", h, err)
	}
	var b []byte
	for _, name := range names {
		if h.Uid != 0 && strings.HasPrefix(name, trusted) {
			continue
		}
		b = append(append(b, name...), 0)
	}
	return fit(dest, b)
}

// fit copies v to dest, or asks for more room: getxattr(2). go-fuse takes the
// ERANGE for a question of size back.
func fit(dest, v []byte) (uint32, fuse.Status) {
	if len(v) > len(dest) {
		return uint32(len(v)), fuse.ERANGE
	}
	return uint32(copy(dest, v)), fuse.OK
}

// SetXAttr sets an attribute.
func (f *FS) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	if !supported(name) {
		return fuse.ENOTSUP
	}
	var flags objstore.XattrFlags
	if in.Flags&unix.XATTR_CREATE != 0 {
		flags |= objstore.XattrCreate
	}
	if in.Flags&unix.XATTR_REPLACE != 0 {
		flags |= objstore.XattrReplace
	}
	err := f.store.SetXattr(f.ctx(), f.caller(&in.InHeader), f.inode(in.NodeId), name, value, flags)
	switch {
	case err == nil:
		return fuse.OK
	case objstore.IsKind(err, objstore.KindTooLarge):
		return fuse.Status(syscall.ENOSPC) // as other file systems say it, not EFBIG
	case objstore.IsKind(err, objstore.KindNameTooLong):
		return fuse.ERANGE // setxattr(2)
	}
	return f.fail("setxattr", &in.InHeader, err)
}

// RemoveXAttr removes an attribute.
func (f *FS) RemoveXAttr(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	if !supported(name) {
		return fuse.ENOTSUP
	}
	if err := f.store.RemoveXattr(f.ctx(), f.caller(h), f.inode(h.NodeId), name); err != nil {
		return f.fail("removexattr", h, err)
	}
	return fuse.OK
}

// dropCapabilities removes a file's capabilities before its content or owner
// changes, which CAP_HANDLE_KILLPRIV_V2 leaves to the file system.
func (f *FS) dropCapabilities(ino objstore.InodeID, h *fuse.InHeader) fuse.Status {
	_, err := f.store.GetXattr(f.ctx(), ino, capability)
	if err == nil {
		err = f.store.RemoveXattr(f.ctx(), f.caller(h), ino, capability)
	}
	if err != nil && !objstore.IsKind(err, objstore.KindNoAttribute) {
		return f.fail("removexattr", h, err)
	}
	return fuse.OK
}
