package fs

import (
	"math"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

// Lookup finds a name. Absence is an answer that the kernel may keep: node 0
// with a lifetime.
func (f *FS) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if st := f.gate.pass(); st != fuse.OK {
		return st
	}
	r := f.begin()
	a, err := f.lookup(h, name)
	if objstore.IsKind(err, objstore.KindNotFound) {
		out.SetEntryTimeout(f.cacheTime(r))
		return fuse.OK
	}
	if err != nil {
		return f.fail("lookup", h, err)
	}
	f.fillEntry(out, &a, r)
	return fuse.OK
}

// GetAttr is stat(2).
func (f *FS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	r := f.begin()
	ino := f.inode(in.NodeId)
	f.amendments.await(ino, in.Pid)
	a, err := f.attr(ino)
	if err != nil {
		return f.fail("getattr", &in.InHeader, err)
	}
	f.fillAttrOut(out, &a, r)
	return fuse.OK
}

// SetAttr is chmod, chown, truncate and utimensat in one. With the writeback
// cache it also brings the times that the kernel kept for us: ctime, too, which it
// goes on showing as long as it has the inode. Taken, it is the same after a remount,
// as programs that look for changes by it expect (git, backups).
func (f *FS) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	ino := f.inode(in.NodeId)
	if a := f.amended(in); a != nil {
		return f.truncateAmended(in, a, out)
	}
	set, st := setAttrOf(in)
	if !st.Ok() {
		return st
	}
	if set.UID != nil || set.GID != nil || set.Size != nil {
		if st := f.dropCapabilities(ino, &in.InHeader); !st.Ok() {
			return st
		}
	}
	if f.o.Writeback && set.Size != nil && set.Mtime == nil {
		// A kernel that keeps the times leaves mtime alone where truncate(2) does not
		// change the size; the store would set it.
		a, err := f.store.GetAttr(f.ctx(), ino)
		if err != nil {
			return f.fail("setattr", &in.InHeader, err)
		}
		if a.Type == objstore.TypeRegular && a.Size == *set.Size {
			set.Size = nil
		}
	}
	r := f.begin()
	if bringsTimes(in) {
		// The kernel brings its times after every rename, link and close. Most
		// often they are what we have.
		if f.keepTimes(in, &set, out) {
			return fuse.OK
		}
		a, same, err := f.store.TakeTimes(f.ctx(), ino, *set.Mtime, *set.Ctime)
		if objstore.IsKind(err, objstore.KindStale) {
			return fuse.OK // as below
		}
		if err != nil {
			return f.fail("setattr", &in.InHeader, err)
		}
		if same {
			f.fillAttrOut(out, &a, r)
			return fuse.OK
		}
	}
	a, err := f.store.SetAttr(f.ctx(), f.caller(&in.InHeader), ino, set)
	if objstore.IsKind(err, objstore.KindStale) && in.Valid&^(fuse.FATTR_MTIME|fuse.FATTR_CTIME|fuse.FATTR_ATIME|fuse.FATTR_FH) == 0 {
		// The kernel keeps the times of a file that it writes, and hands them
		// over when it drops the inode, which may be after the last unlink.
		// Nobody can see them any more; an error would be held against syncfs.
		return fuse.OK
	}
	if objstore.IsKind(err, objstore.KindLocked) && f.writtenBack(in) {
		// S3 has locked the version since it got the bytes that the times are of. It
		// keeps those that it has, and nothing is lost: close(2) must not fail.
		a, err = f.store.GetAttr(f.ctx(), ino)
	}
	if err != nil {
		return f.fail("setattr", &in.InHeader, err)
	}
	f.fillAttrOut(out, &a, r)
	return fuse.OK
}

// setAttrOf translates what a SETATTR asks for. EFBIG: no file can have that size.
func setAttrOf(in *fuse.SetAttrIn) (set objstore.SetAttr, st fuse.Status) {
	if v, ok := in.GetMode(); ok {
		set.Mode = &v
	}
	if v, ok := in.GetUID(); ok {
		set.UID = &v
	}
	if v, ok := in.GetGID(); ok {
		set.GID = &v
	}
	if v, ok := in.GetSize(); ok {
		if v > objstore.MaxFileSize {
			return set, fuse.Status(syscall.EFBIG)
		}
		n := int64(v)
		set.Size = &n
	}
	now := objstore.TimeOf(time.Now())
	if in.Valid&fuse.FATTR_ATIME != 0 {
		t := timeOf(in.Atime, in.Atimensec)
		if in.Valid&fuse.FATTR_ATIME_NOW != 0 {
			t = now
		}
		set.Atime = &t
	}
	if in.Valid&fuse.FATTR_MTIME != 0 {
		t := timeOf(in.Mtime, in.Mtimensec)
		if in.Valid&fuse.FATTR_MTIME_NOW != 0 {
			t = now
		}
		set.Mtime = &t
	}
	if in.Valid&fuse.FATTR_CTIME != 0 {
		t := timeOf(in.Ctime, in.Ctimensec)
		set.Ctime = &t
	}
	// With CAP_HANDLE_KILLPRIV_V2 it is the door that removes what chown and truncate
	// remove, setuid and setgid (chown(2), capabilities(7)). A mode that is set in the
	// same request stands.
	set.KillPriv = in.Valid&fuse.FATTR_KILL_SUIDGID != 0 || set.UID != nil || set.GID != nil
	return set, fuse.OK
}

// bringsTimes reports whether a SETATTR is of mtime and ctime alone.
func bringsTimes(in *fuse.SetAttrIn) bool {
	return in.Valid&^(fuse.FATTR_FH|fuse.FATTR_LOCKOWNER) == fuse.FATTR_MTIME|fuse.FATTR_CTIME
}

// writtenBack reports whether the kernel hands over times that it kept of a file that
// is open for writing. utimensat(2) names no open file, whatever it is called for.
func (f *FS) writtenBack(in *fuse.SetAttrIn) bool {
	return f.o.Writeback && in.Valid&fuse.FATTR_FH != 0 && bringsTimes(in)
}

// Access answers access(2) and chdir(2) where the kernel does not check
// (kernelChecks): root may do anything, but execute what nobody can execute.
func (f *FS) Access(_ <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	if in.Mask&unix.X_OK == 0 {
		return fuse.OK
	}
	a, err := f.attr(f.inode(in.NodeId))
	if err != nil {
		return f.fail("access", &in.InHeader, err)
	}
	if a.Type == objstore.TypeRegular && a.Mode&0o111 == 0 {
		return fuse.EACCES
	}
	return fuse.OK
}

// Ioctl has no command that files know.
func (f *FS) Ioctl(_ <-chan struct{}, _ *fuse.IoctlIn, _ []byte, _ *fuse.IoctlOut, _ []byte) fuse.Status {
	return fuse.Status(syscall.ENOTTY)
}

// Readlink returns a symbolic link's target.
func (f *FS) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	s, err := f.store.Readlink(f.ctx(), f.inode(h.NodeId))
	if err != nil {
		return nil, f.fail("readlink", h, err)
	}
	return []byte(s), fuse.OK
}

func (f *FS) fillEntry(out *fuse.EntryOut, a *objstore.Attr, r reply) {
	f.known.add(a.Inode)
	out.NodeId = uint64(a.Inode)
	out.Generation = generation
	f.fillAttr(&out.Attr, a)
	t := f.cacheTime(r)
	out.SetEntryTimeout(t)
	out.SetAttrTimeout(f.attrTime(r, a.Inode))
}

// fillAttrOut answers with attributes, and with how long the kernel may keep them.
func (f *FS) fillAttrOut(out *fuse.AttrOut, a *objstore.Attr, r reply) {
	f.fillAttr(&out.Attr, a)
	out.SetTimeout(f.attrTime(r, a.Inode))
}

func (f *FS) fillAttr(out *fuse.Attr, a *objstore.Attr) {
	out.Ino = uint64(a.Inode)
	out.Size = uint64(a.Size)
	out.Blocks = uint64(a.Blocks)
	out.Atime, out.Atimensec = splitTime(a.Atime)
	out.Mtime, out.Mtimensec = splitTime(a.Mtime)
	out.Ctime, out.Ctimensec = splitTime(a.Ctime)
	out.Mode = modeOf(a.Type) | a.Mode&07777
	out.Nlink = a.Nlink
	out.Uid, out.Gid = a.UID, a.GID
	out.Rdev = a.Rdev
	out.Blksize = blockSize
}

var fileModes = [...]uint32{
	objstore.TypeRegular:   syscall.S_IFREG,
	objstore.TypeDirectory: syscall.S_IFDIR,
	objstore.TypeSymlink:   syscall.S_IFLNK,
	objstore.TypeFIFO:      syscall.S_IFIFO,
	objstore.TypeSocket:    syscall.S_IFSOCK,
	objstore.TypeCharDev:   syscall.S_IFCHR,
	objstore.TypeBlockDev:  syscall.S_IFBLK,
}

// modeOf returns the S_IFMT bits of a type, 0 for an unknown one.
func modeOf(t objstore.FileType) uint32 {
	if int(t) < len(fileModes) {
		return fileModes[t]
	}
	return 0
}

// typeOf is the inverse of modeOf; 0 is a regular file, as mknod(2) has it.
func typeOf(mode uint32) (objstore.FileType, bool) {
	m := mode & syscall.S_IFMT
	if m == 0 {
		return objstore.TypeRegular, true
	}
	for t, fm := range fileModes {
		if fm == m {
			return objstore.FileType(t), true
		}
	}
	return 0, false
}

const second = int64(time.Second)

// splitTime gives seconds (negative before 1970) and nanoseconds 0 to 999,999,999.
func splitTime(t objstore.Time) (sec uint64, nsec uint32) {
	s, n := int64(t)/second, int64(t)%second
	if n < 0 {
		s, n = s-1, n+second
	}
	return uint64(s), uint32(n)
}

// timeOf is the inverse of splitTime and saturates where Time ends (years 1677
// and 2262).
func timeOf(sec uint64, nsec uint32) objstore.Time {
	s, n := int64(sec), int64(nsec)
	switch {
	case s > math.MaxInt64/second || s == math.MaxInt64/second && n > math.MaxInt64%second:
		return math.MaxInt64
	case s < math.MinInt64/second-1 || s == math.MinInt64/second-1 && n < second+math.MinInt64%second:
		return math.MinInt64
	case s < 0: // the product alone could overflow
		return objstore.Time((s+1)*second + (n - second))
	}
	return objstore.Time(s*second + n)
}
