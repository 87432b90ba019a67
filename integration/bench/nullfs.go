package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/fs/ring"
)

func ignoreInterrupt() { signal.Ignore(syscall.SIGINT, syscall.SIGHUP) }

const (
	nullRequest   = 1 << 20
	nullCacheTime = time.Hour
)

// nullFS keeps names and attributes in memory, encrypts what is written to it
// with a fresh key for each request and throws it away, and answers reads by
// decrypting the packages that a file would have there. It is mounted with the
// options that coffer's mount uses, so that what is left is the cost of the
// kernel, of go-fuse and of the encryption.
type nullFS struct {
	fuse.RawFileSystem
	direct bool // FOPEN_DIRECT_IO: past the kernel's page cache

	key    *secret.Key
	base   crypto.Nonce
	stream []byte    // of nullRequest bytes
	bufs   sync.Pool // *[]byte, for one request encrypted

	mu    sync.Mutex // guards the fields below and all nodes
	nodes map[uint64]*nullNode
	next  uint64
	dirs  map[uint64][]fuse.DirEntry // open directories, as they were at OpenDir
}

type nullNode struct {
	attr     fuse.Attr
	children map[string]*nullNode
	target   string
}

// connectNull mounts f as coffer would: through io_uring if
// COFFER_IO_URING says so and it is possible.
func connectNull(f *nullFS, dir string, opts *fuse.MountOptions) (*fuse.Server, error) {
	mount := func() (*fuse.Server, error) { return fuse.NewServer(f, dir, opts) }
	if on, _ := strconv.ParseBool(os.Getenv("COFFER_IO_URING")); on {
		server, _, err := ring.Connect(ring.Config{FS: f, Options: opts, Dir: dir, Logger: slog.Default()}, mount)
		if _, without := errors.AsType[*ring.UnavailableError](err); !without {
			return server, err
		}
	}
	return mount()
}

// serveNull mounts a nullFS on dir and serves it until hold ends.
func serveNull(dir string, direct bool, hold io.Reader, ready io.Writer) error {
	f := &nullFS{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		direct:        direct,
		key:           secret.Random(),
		nodes:         map[uint64]*nullNode{},
		dirs:          map[uint64][]fuse.DirEntry{},
		next:          fuse.FUSE_ROOT_ID,
	}
	f.bufs.New = func() any {
		b := make([]byte, 0, crypto.EncryptedSize(nullRequest))
		return &b
	}
	plain := make([]byte, nullRequest)
	rand.Read(plain)
	var err error
	if f.stream, f.base, err = crypto.Encrypt(nil, f.key, plain); err != nil {
		return err
	}
	f.mu.Lock()
	f.add(syscall.S_IFDIR|0o755, uint32(os.Geteuid()), uint32(os.Getegid()))
	f.mu.Unlock()
	extra := uint64(fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_HANDLE_KILLPRIV_V2)
	if !direct {
		extra |= fuse.CAP_WRITEBACK_CACHE
	}
	opts := &fuse.MountOptions{
		FsName:                   "coffer-bench-null",
		Name:                     "coffer-bench-null",
		Options:                  []string{"default_permissions"},
		MaxWrite:                 nullRequest,
		MaxReadAhead:             nullRequest,
		MaxBackground:            64,
		DisableSplice:            true,
		EnableSymlinkCaching:     true,
		ExplicitDataCacheControl: true,
		ExtraCapabilities:        extra,
		DirectMountStrict:        os.Geteuid() == 0,
	}
	server, err := connectNull(f, dir, opts)
	if err != nil {
		return err
	}
	served := make(chan struct{})
	go func() {
		server.Serve()
		close(served)
	}()
	if err := server.WaitMount(); err != nil {
		return err
	}
	var st unix.Stat_t
	if unix.Stat(dir, &st) == nil {
		bdi := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(st.Dev), unix.Minor(st.Dev))
		os.WriteFile(bdi, []byte(strconv.Itoa(8192)), 0) // as coffer: where it may
	}
	if err := json.NewEncoder(ready).Encode(true); err != nil {
		return err
	}
	io.Copy(io.Discard, hold)
	for range 50 {
		if err = server.Unmount(); err == nil {
			<-served
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	unix.Unmount(dir, unix.MNT_DETACH)
	return err
}

// add makes a node. f.mu is held.
func (f *nullFS) add(mode, uid, gid uint32) *nullNode {
	now := time.Now()
	n := &nullNode{attr: fuse.Attr{Ino: f.next, Mode: mode, Nlink: 1, Blksize: 128 << 10, Owner: fuse.Owner{Uid: uid, Gid: gid}}}
	n.attr.SetTimes(&now, &now, &now)
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		n.children = map[string]*nullNode{}
	}
	f.nodes[f.next] = n
	f.next++
	return n
}

func fillNull(n *nullNode, out *fuse.EntryOut) {
	out.NodeId = n.attr.Ino
	out.Attr = n.attr
	out.SetEntryTimeout(nullCacheTime)
	out.SetAttrTimeout(nullCacheTime)
}

func (f *nullFS) String() string { return "coffer-bench-null" }

func (f *nullFS) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[h.NodeId].children[name]
	if n == nil {
		return fuse.ENOENT
	}
	fillNull(n, out)
	return fuse.OK
}

func (f *nullFS) Forget(node, _ uint64) {}

func (f *nullFS) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[in.NodeId]
	if n == nil {
		return fuse.ENOENT
	}
	out.Attr = n.attr
	out.SetTimeout(nullCacheTime)
	return fuse.OK
}

func (f *nullFS) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[in.NodeId]
	if n == nil {
		return fuse.ENOENT
	}
	if mode, ok := in.GetMode(); ok {
		n.attr.Mode = n.attr.Mode&syscall.S_IFMT | mode&0o7777
	}
	if uid, ok := in.GetUID(); ok {
		n.attr.Uid = uid
	}
	if gid, ok := in.GetGID(); ok {
		n.attr.Gid = gid
	}
	if size, ok := in.GetSize(); ok {
		n.attr.Size = size
	}
	var atime, mtime *time.Time
	if t, ok := in.GetATime(); ok {
		atime = &t
	}
	if t, ok := in.GetMTime(); ok {
		mtime = &t
	}
	n.attr.SetTimes(atime, mtime, nil)
	out.Attr = n.attr
	out.SetTimeout(nullCacheTime)
	return fuse.OK
}

func (f *nullFS) make(h *fuse.InHeader, name string, mode uint32, out *fuse.EntryOut) (*nullNode, fuse.Status) {
	dir := f.nodes[h.NodeId]
	if dir == nil {
		return nil, fuse.ENOENT
	}
	if dir.children[name] != nil {
		return nil, fuse.Status(syscall.EEXIST)
	}
	n := f.add(mode, h.Uid, h.Gid)
	dir.children[name] = n
	fillNull(n, out)
	return n, fuse.OK
}

func (f *nullFS) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, st := f.make(&in.InHeader, name, syscall.S_IFDIR|in.Mode&0o7777, out)
	return st
}

func (f *nullFS) Symlink(_ <-chan struct{}, h *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, st := f.make(h, name, syscall.S_IFLNK|0o777, out)
	if st.Ok() {
		n.target = target
		n.attr.Size = uint64(len(target))
	}
	return st
}

func (f *nullFS) Readlink(_ <-chan struct{}, h *fuse.InHeader) ([]byte, fuse.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []byte(f.nodes[h.NodeId].target), fuse.OK
}

func (f *nullFS) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, st := f.make(&in.InHeader, name, syscall.S_IFREG|in.Mode&0o7777, &out.EntryOut)
	f.opened(&out.OpenOut)
	return st
}

func (f *nullFS) opened(out *fuse.OpenOut) {
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	if f.direct {
		out.OpenFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES
	}
}

func (f *nullFS) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.Flags&syscall.O_TRUNC != 0 {
		f.mu.Lock()
		f.nodes[in.NodeId].attr.Size = 0
		f.mu.Unlock()
	}
	f.opened(out)
	return fuse.OK
}

func (f *nullFS) remove(h *fuse.InHeader, name string) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := f.nodes[h.NodeId]
	n := dir.children[name]
	if n == nil {
		return fuse.ENOENT
	}
	if len(n.children) > 0 {
		return fuse.Status(syscall.ENOTEMPTY)
	}
	delete(dir.children, name)
	delete(f.nodes, n.attr.Ino)
	return fuse.OK
}

func (f *nullFS) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return f.remove(h, name)
}

func (f *nullFS) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return f.remove(h, name)
}

func (f *nullFS) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	return f.Writev(nil, in, [][]byte{data})
}

func (f *nullFS) Writev(_ <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	buf := f.bufs.Get().(*[]byte)
	defer f.bufs.Put(buf)
	var n uint32
	for _, p := range data {
		if len(p) == 0 {
			continue
		}
		key := secret.Random()
		_, _, err := crypto.Encrypt((*buf)[:0], key, p)
		key.Wipe()
		if err != nil {
			return 0, fuse.EIO
		}
		n += uint32(len(p))
	}
	f.mu.Lock()
	if node := f.nodes[in.NodeId]; node != nil {
		node.attr.Size = max(node.attr.Size, in.Offset+uint64(n))
	}
	f.mu.Unlock()
	return n, fuse.OK
}

func (f *nullFS) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	f.mu.Lock()
	size := uint64(0)
	if node := f.nodes[in.NodeId]; node != nil {
		size = node.attr.Size
	}
	f.mu.Unlock()
	if in.Offset >= size {
		return fuse.ReadResultData(nil), fuse.OK
	}
	n := min(uint64(len(buf)), size-in.Offset)
	off := in.Offset % nullRequest
	for done := uint64(0); done < n; {
		part := min(n-done, nullRequest-off)
		first, cOff, cLen, err := crypto.PackageRange(nullRequest, crypto.PlainSize(off), crypto.PlainSize(part))
		if err != nil {
			return nil, fuse.EIO
		}
		packages := f.stream[cOff : cOff+cLen]
		lead := off - uint64(first)*uint64(crypto.PackagePlain)
		if lead == 0 && part%uint64(crypto.PackagePlain) == 0 {
			_, err = crypto.DecryptPackages(buf[done:done:done+part], f.key, f.base, nullRequest, first, packages)
		} else {
			tmp := f.bufs.Get().(*[]byte)
			var plain []byte
			if plain, err = crypto.DecryptPackages((*tmp)[:0], f.key, f.base, nullRequest, first, packages); err == nil {
				copy(buf[done:done+part], plain[lead:])
			}
			f.bufs.Put(tmp)
		}
		if err != nil {
			return nil, fuse.EIO
		}
		done += part
		off = 0
	}
	return ring.Filled(buf[:n]), fuse.OK
}

func (f *nullFS) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }
func (f *nullFS) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }
func (f *nullFS) Release(<-chan struct{}, *fuse.ReleaseIn)         {}

func (f *nullFS) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := f.nodes[in.NodeId]
	if dir == nil {
		return fuse.ENOENT
	}
	list := make([]fuse.DirEntry, 0, len(dir.children))
	for name, n := range dir.children {
		list = append(list, fuse.DirEntry{Name: name, Mode: n.attr.Mode, Ino: n.attr.Ino})
	}
	out.Fh = f.next
	f.next++
	f.dirs[out.Fh] = list
	return fuse.OK
}

func (f *nullFS) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.dirs[in.Fh]
	for i := int(in.Offset); i < len(list) && out.AddDirEntry(list[i]); i++ {
	}
	return fuse.OK
}

func (f *nullFS) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.dirs[in.Fh]
	for i := int(in.Offset); i < len(list); i++ {
		e := out.AddDirLookupEntry(list[i])
		if e == nil {
			break
		}
		if n := f.nodes[list[i].Ino]; n != nil {
			fillNull(n, e)
		}
	}
	return fuse.OK
}

func (f *nullFS) ReleaseDir(in *fuse.ReleaseIn) {
	f.mu.Lock()
	delete(f.dirs, in.Fh)
	f.mu.Unlock()
}

func (f *nullFS) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	*out = fuse.StatfsOut{Blocks: 1 << 30, Bfree: 1 << 30, Bavail: 1 << 30, Files: 1 << 30, Ffree: 1 << 30, Bsize: 4096, Frsize: 4096, NameLen: 255}
	return fuse.OK
}
