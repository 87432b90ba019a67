package fs

import "github.com/hanwen/go-fuse/v2/fuse"

// FS implements every request of the protocol that go-fuse passes on; nothing
// is inherited. Served: LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK,
// MKNOD, MKDIR, UNLINK, RMDIR, RENAME, RENAME2, LINK, OPEN, CREATE, TMPFILE, READ,
// WRITE, FLUSH, RELEASE, FSYNC, LSEEK, FALLOCATE, COPY_FILE_RANGE, OPENDIR,
// READDIR, READDIRPLUS, RELEASEDIR, FSYNCDIR, STATFS, GETXATTR, SETXATTR, LISTXATTR,
// REMOVEXATTR, and ACCESS where the kernel does not check permissions
// (kernelChecks). IOCTL has no commands.
var _ fuse.RawFileSystem = (*FS)(nil)

// What follows is not served. ENOSYS makes the kernel do without, and not ask
// again.

// GetLk, SetLk, SetLkw are not asked for: the kernel keeps locks itself
// (doc.go, "Locks").
func (f *FS) GetLk(<-chan struct{}, *fuse.LkIn, *fuse.LkOut) fuse.Status { return fuse.ENOSYS }

// SetLk: see GetLk.
func (f *FS) SetLk(<-chan struct{}, *fuse.LkIn) fuse.Status { return fuse.ENOSYS }

// SetLkw: see GetLk.
func (f *FS) SetLkw(<-chan struct{}, *fuse.LkIn) fuse.Status { return fuse.ENOSYS }

// Statx: the kernel asks with GETATTR instead, which has no birth time.
func (f *FS) Statx(<-chan struct{}, *fuse.StatxIn, *fuse.StatxOut) fuse.Status { return fuse.ENOSYS }

// SetDebug: Options.Debug is the way.
func (f *FS) SetDebug(bool) {}
