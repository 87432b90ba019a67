package fs

import (
	"bytes"
	"io"
	"math"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/fs/ring"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine"
)

// file is an open file of the kernel. Several can stand for one inode.
type file struct {
	f     *engine.File
	write bool
	// pure is set once the inode is known to have no file capabilities, which
	// a write would have to take away.
	pure atomic.Bool
	// written is set by what the kernel wrote back: see showBlocks.
	written atomic.Bool
	// amends is what the door itself opened the handle for; nil: a program opened it.
	amends *amendment
}

// openFlags translates open(2)'s flags. Every handle can read: see doc.go.
func openFlags(flags uint32) objstore.OpenFlags {
	write := flags&syscall.O_ACCMODE != syscall.O_RDONLY
	return objstore.OpenFlags{
		Read:     true,
		Write:    write || flags&syscall.O_TRUNC != 0,
		Truncate: flags&syscall.O_TRUNC != 0,
	}
}

// Create makes and opens a file. Without O_EXCL it opens what another door has
// made meanwhile.
func (f *FS) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if ino, ok := f.amendedBy(in, name); ok {
		return f.createAmended(in, ino, out)
	}
	r := f.begin()
	flags := openFlags(in.Flags)
	a, ef, err := f.store.Create(f.ctx(), f.caller(&in.InHeader), f.inode(in.NodeId), name, in.Mode&07777, flags, in.Flags&syscall.O_EXCL != 0)
	if err != nil {
		return f.fail("create", &in.InHeader, err)
	}
	f.fillEntry(&out.EntryOut, &a, r)
	h := &file{f: ef, write: flags.Write}
	h.pure.Store(a.Size == 0 && a.Ctime == a.Btime) // just made
	f.opened(h, &out.OpenOut)
	return fuse.OK
}

// Tmpfile makes and opens a file without a name (O_TMPFILE), to which LINK can give one.
// The kernel keeps from that what was opened with O_EXCL, or had a name before.
func (f *FS) Tmpfile(_ <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	r := f.begin()
	flags := openFlags(in.Flags)
	a, ef, err := f.store.CreateUnnamed(f.ctx(), f.caller(&in.InHeader), f.inode(in.NodeId), in.Mode&07777, flags)
	if err != nil {
		return f.fail("tmpfile", &in.InHeader, err)
	}
	f.fillEntry(&out.EntryOut, &a, r)
	h := &file{f: ef, write: flags.Write}
	h.pure.Store(true)
	f.opened(h, &out.OpenOut)
	return fuse.OK
}

// Open opens a regular file.
func (f *FS) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	flags := openFlags(in.Flags)
	if flags.Write && f.o.ReadOnly {
		return fuse.EROFS
	}
	ino := f.inode(in.NodeId)
	if !flags.Truncate { // for which the kernel holds the inode's lock
		f.amendments.await(ino, in.Pid)
	}
	if flags.Truncate && in.Mode&fuse.OPEN_KILL_SUIDGID != 0 {
		if st := f.killPriv(ino, &in.InHeader); !st.Ok() {
			return st
		}
	}
	ef, err := f.store.Open(f.ctx(), f.caller(&in.InHeader), ino, flags)
	if err != nil {
		return f.fail("open", &in.InHeader, err)
	}
	f.opened(&file{f: ef, write: flags.Write}, out)
	return fuse.OK
}

func (f *FS) opened(h *file, out *fuse.OpenOut) {
	out.Fh = f.files.add(h)
	// Pages stay valid until we say otherwise.
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	if h.write {
		f.writers.Add(1)
		// O_DIRECT writes within the file need no order among them.
		out.OpenFlags |= fuse.FOPEN_PARALLEL_DIRECT_WRITES
		return
	}
	// Nothing to commit when it is closed (a kernel with the writeback cache
	// sends FLUSH all the same).
	out.OpenFlags |= fuse.FOPEN_NOFLUSH
}

// Read fills buf; fewer bytes mean the end of the file.
func (f *FS) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	h := f.files.get(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	n, err := h.f.ReadAt(f.ctx(), buf, int64(in.Offset))
	if err != nil && err != io.EOF {
		return nil, f.fail("read", &in.InHeader, err)
	}
	return ring.Filled(buf[:n]), fuse.OK
}

// Write is not called: Writev serves all WRITEs.
func (f *FS) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return f.Writev(nil, in, [][]byte{data})
}

// Writev serves all WRITEs. What comes from the kernel's cache it takes for stored from
// then on, unless it gets an error.
func (f *FS) Writev(_ <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	h := f.files.get(in.Fh)
	if h == nil {
		return 0, fuse.EBADF
	}
	n, st := f.write(h, in, data)
	if !st.Ok() && f.o.Writeback && in.WriteFlags&fuse.WRITE_CACHE != 0 {
		kind := objstore.KindInternal
		if st == fuse.Status(syscall.ENOSPC) {
			kind = objstore.KindNoSpace
		}
		h.f.Lost(objstore.Wrap(kind, "write", "", syscall.Errno(st)))
		f.noteLoss(h.f.Inode(), true)
		f.forgetAttrs(in.NodeId)
	}
	return n, st
}

// write writes at the offset that the kernel chose, but for O_APPEND where other
// mounts can show the file: a kernel appends at the size that it was told last.
func (f *FS) write(h *file, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
		if st := f.killPriv(h.f.Inode(), &in.InHeader); !st.Ok() {
			return 0, st
		}
	}
	if !h.pure.Load() {
		if st := f.dropCapabilities(h.f.Inode(), &in.InHeader); !st.Ok() {
			return 0, st
		}
		h.pure.Store(true)
	}
	if !f.o.Writeback && in.Flags&syscall.O_APPEND != 0 && in.WriteFlags&fuse.WRITE_CACHE == 0 {
		return f.append(h, in, data)
	}
	off := int64(in.Offset)
	var written uint32
	write := h.f.WriteAt
	back := f.o.Writeback && in.WriteFlags&fuse.WRITE_CACHE != 0
	if back {
		write = h.f.WriteCached // SETATTR or nothing will tell mtime
	}
	for _, p := range data {
		n, err := write(f.ctx(), p, off)
		off += int64(n)
		written += uint32(n)
		if err != nil {
			if written > 0 && in.WriteFlags&fuse.WRITE_CACHE == 0 {
				return written, fuse.OK // a short write; the next one tells
			}
			return 0, f.fail("write", &in.InHeader, err)
		}
	}
	if back {
		h.written.Store(true)
	}
	return written, fuse.OK
}

// append writes at the end of the file, wherever the kernel takes it to be. BUG(append):
// a write on such a handle that asks for a place of its own (RWF_NOAPPEND,
// pwritev2(2)) cannot be told from others and is appended too.
func (f *FS) append(h *file, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	p := data[0]
	if len(data) > 1 {
		p = bytes.Join(data, nil)
	}
	off, err := h.f.Append(f.ctx(), p)
	if err != nil {
		return 0, f.fail("write", &in.InHeader, err)
	}
	if off != int64(in.Offset) {
		f.forgetPages(h.f.Inode()) // it has the bytes where it meant them to be
	}
	return uint32(len(p)), fuse.OK
}

// killPriv clears setuid and setgid, as CAP_HANDLE_KILLPRIV_V2 asks for with
// every change by an unprivileged user; nearly always there is nothing to clear.
func (f *FS) killPriv(ino objstore.InodeID, h *fuse.InHeader) fuse.Status {
	a, err := f.store.GetAttr(f.ctx(), ino)
	if err != nil {
		return f.fail("getattr", h, err)
	}
	if a.Mode&(syscall.S_ISUID|syscall.S_ISGID) == 0 {
		return fuse.OK
	}
	if _, err := f.store.SetAttr(f.ctx(), f.caller(h), ino, objstore.SetAttr{KillPriv: true}); err != nil {
		return f.fail("setattr", h, err)
	}
	// The kernel goes on showing the mode that it knows after a write past its
	// cache. A notice about attributes alone takes no lock that it may hold for
	// the caller, so that this one need not be left to another goroutine.
	f.notice("mode", f.server.InodeNotify(h.NodeId, -1, 0))
	return fuse.OK
}

// dropPrivileges does for FALLOCATE and COPY_FILE_RANGE what the kernel asks for with
// a WRITE: they do not tell whether the caller may keep setuid (CAP_FSETID).
func (f *FS) dropPrivileges(ino objstore.InodeID, h *fuse.InHeader) fuse.Status {
	if h.Uid != 0 {
		if st := f.killPriv(ino, h); !st.Ok() {
			return st
		}
	}
	return f.dropCapabilities(ino, h)
}

// Flush is called for each close(2): what was written is committed, and a
// failed write is told to the one who closes.
func (f *FS) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	h := f.files.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	if !h.write {
		return fuse.OK
	}
	err := h.f.Flush(f.ctx())
	if h.amends == nil {
		f.losses.told(h.f.Inode(), false, err)
	}
	if err != nil {
		f.forgetAttrs(in.NodeId)
		return f.fail("flush", &in.InHeader, err)
	}
	return fuse.OK
}

// Fsync makes the file durable. Data and attributes go the same way, so
// fdatasync is no cheaper.
func (f *FS) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	h := f.files.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	err := h.f.Sync(f.ctx())
	f.losses.told(h.f.Inode(), true, err)
	if err != nil {
		f.forgetAttrs(in.NodeId)
		return f.fail("fsync", &in.InHeader, err)
	}
	return fuse.OK
}

// Release ends a handle, after the last WRITE on it: a shared mapping keeps it
// open beyond close(2), and what it wrote is committed here.
func (f *FS) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if h := f.files.remove(in.Fh); h != nil {
		f.closeFile(h)
	}
}

func (f *FS) closeFile(h *file) {
	if h.write {
		defer f.writers.Add(-1)
	}
	// One that the door opened for itself has nobody to tell.
	if err := h.f.Close(f.ctx()); err != nil && h.amends == nil {
		f.log.Error("closing a file failed", "inode", uint64(h.f.Inode()), "err", err)
	}
}

// Fallocate reserves no space: it sets the size, punches holes and writes
// zeros.
func (f *FS) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	h := f.files.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	mode, rest := knownFlags(in.Mode,
		flag[objstore.AllocateMode]{unix.FALLOC_FL_KEEP_SIZE, objstore.AllocateKeepSize},
		flag[objstore.AllocateMode]{unix.FALLOC_FL_PUNCH_HOLE, objstore.AllocatePunchHole},
		flag[objstore.AllocateMode]{unix.FALLOC_FL_ZERO_RANGE, objstore.AllocateZeroRange})
	if rest != 0 {
		return fuse.ENOTSUP
	}
	if in.Offset > objstore.MaxFileSize || in.Length > objstore.MaxFileSize-in.Offset {
		return fuse.Status(syscall.EFBIG)
	}
	if st := f.dropPrivileges(h.f.Inode(), &in.InHeader); !st.Ok() {
		return st
	}
	if err := h.f.Allocate(f.ctx(), mode, int64(in.Offset), int64(in.Length)); err != nil {
		return f.fail("fallocate", &in.InHeader, err)
	}
	return fuse.OK
}

// CopyFileRange lets two files share what one copies from the other, as cp does. The
// kernel has written the pages of both ranges back. Where nothing can be shared it
// copies through its cache, for which EOPNOTSUPP asks.
func (f *FS) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	from, to := f.files.get(in.FhIn), f.files.get(in.FhOut)
	if from == nil || to == nil {
		return 0, fuse.EBADF
	}
	if in.Flags != 0 || in.OffIn > math.MaxInt64 || in.OffOut > math.MaxInt64 {
		return 0, fuse.EINVAL
	}
	length := int64(min(in.Len, math.MaxUint32)) // the answer has 32 bits
	n, err := to.f.CopyRange(f.ctx(), int64(in.OffOut), from.f, int64(in.OffIn), length)
	switch {
	case objstore.IsKind(err, objstore.KindNotSupported):
		return 0, fuse.ENOTSUP
	case err != nil:
		return 0, f.fail("copy_file_range", &in.InHeader, err)
	case n == 0:
		return 0, fuse.OK
	}
	return uint32(n), f.dropPrivileges(to.f.Inode(), &in.InHeader)
}

// Lseek serves SEEK_DATA and SEEK_HOLE; the kernel does the others. It asks without
// writing back what programs have written, so that our answer could make one that copies
// skip data: settle comes first. Where that is no help ENOSYS makes the kernel take the
// whole of every file for data.
func (f *FS) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	if !f.seeks {
		return fuse.ENOSYS
	}
	h := f.files.get(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	f.settle(h.f.Inode())
	var pos int64
	var err error
	switch in.Whence {
	case unix.SEEK_DATA:
		pos, err = h.f.SeekData(f.ctx(), int64(in.Offset))
	case unix.SEEK_HOLE:
		pos, err = h.f.SeekHole(f.ctx(), int64(in.Offset))
	default:
		return fuse.EINVAL
	}
	if err != nil {
		return f.fail("lseek", &in.InHeader, err)
	}
	out.Offset = uint64(pos)
	return fuse.OK
}
