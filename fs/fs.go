package fs

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/cofferfs/coffer/fs/ring"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine"
)

// Options say what is mounted and how. The zero value mounts all buckets,
// writable, for the mounting user alone, write-through.
type Options struct {
	// Root is the directory that the mount shows; 0: objstore.RootInode.
	Root objstore.InodeID
	// Bucket is the name of the bucket that Root is the root of. When it is removed, the
	// mount answers ESTALE until there is a bucket of that name again, which it shows
	// from then on. "": Root is something else, and stays.
	Bucket string
	// Origin tells this mount's changes from all others. Each mount of a
	// daemon needs its own, not 0; with 0 the mount is told of its own changes
	// too, which is correct and slow.
	Origin uint32
	// ReadOnly mounts with "ro" and refuses every change.
	ReadOnly bool
	// AllowOther lets other users in; modes decide what they may do.
	AllowOther bool
	// Writeback lets the kernel gather writes in its page cache. Set it only
	// when no other mount of the daemon shows the same files.
	Writeback bool
	// Elsewhere returns the directories on which the file system shows beside the one
	// that it was mounted on. It is called with no lock held; nil: there are none.
	Elsewhere func() []string
	// Gated makes everybody who comes through the mount's root wait until Mounted.Admit
	// or Mounted.Refuse is called.
	Gated bool
	// FsName is the source that the kernel's mount table shows. "": coffer.
	FsName string
	// CacheTime is how long the kernel may keep names and attributes. 0: 1 hour.
	CacheTime time.Duration
	// WritebackInterval is how often the kernel's dirty pages are asked for
	// when Writeback is set. 0: 2 s.
	WritebackInterval time.Duration
	// ReadAheadKiB is the kernel's read-ahead, set where we may. 0: 8192.
	ReadAheadKiB int
	// Readers bounds the goroutines that wait for requests while none is handled; go-fuse
	// has one more, and at least three. 0: GOMAXPROCS.
	Readers int
	// Rings takes requests through io_uring where that can be used (package ring, whose
	// BUG(kill) says why it is not usual), which is faster.
	Rings bool
	// Logger takes what an operator should see; nil: none.
	Logger *slog.Logger
	// Panicked is called after a request panicked, was logged and is about to be
	// answered with EIO; it returns at once. nil: nothing.
	Panicked func()
	// Debug logs every request.
	Debug bool
}

func (o Options) withDefaults() Options {
	if o.Root == 0 {
		o.Root = objstore.RootInode
	}
	if o.FsName == "" {
		o.FsName = "coffer"
	}
	if o.CacheTime == 0 {
		o.CacheTime = time.Hour
	}
	if o.WritebackInterval == 0 {
		o.WritebackInterval = 2 * time.Second
	}
	if o.ReadAheadKiB == 0 {
		o.ReadAheadKiB = 8192
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

const (
	// maxRequest is the largest READ and WRITE, in bytes; Linux's own limit.
	maxRequest = 1 << 20
	// maxBackground bounds read-ahead and write-back requests under way, and
	// so the memory they take: 64 MiB.
	maxBackground = 64
	// blockSize is st_blksize: what cp, cat and stdio take for their buffers.
	blockSize = 128 << 10
	// generation is the same for all nodes, since ids are not reused.
	generation = 1
)

// FS is one mounted file system. Its methods are called by the FUSE server.
type FS struct {
	store *engine.Store
	o     Options
	log   *slog.Logger

	root atomic.Uint64 // the inode that node 1 stands for; see rootChanged

	files table[file]
	dirs  table[dir]
	// writers counts open files that can write: the kernel has dirty pages
	// only while there are some.
	writers atomic.Int64

	lingering lingering
	moves     moves
	gate      gate
	// notices are under way in goroutines that handlers started; OnUnmount waits for them.
	notices sync.WaitGroup

	amendments amendments
	losses     losses
	known      known

	// foreign counts the batches of changes that did not come from this
	// kernel; see reply.
	foreign atomic.Uint64

	// server, seeks and what stops are set in Init, before the first request.
	server *fuse.Server
	// rings is nil if requests come through /dev/fuse.
	rings *ring.Server
	// seeks says that LSEEK is served: after settle the kernel has nothing more to write
	// back. Kernels before 6.16 write copies of their pages back, and settle does not
	// wait for those.
	seeks     bool
	stopWatch func()
	stopLost  func()
	stopKeep  func()
	// openRoot opens the mount's root and returns the descriptor, -1 where no path leads
	// to it. It is set before the mount is served.
	openRoot func() int
	// openHere is openRoot for callers who must not call Options.Elsewhere.
	openHere func() int
}

// New makes the file system; Mount, or fuse.NewServer with MountOptions, mounts it.
func New(store *engine.Store, o Options) *FS {
	o = o.withDefaults()
	f := &FS{
		store: store,
		o:     o,
		log:   o.Logger,

		lingering:  lingering{keepFor: lingerTime},
		amendments: newAmendments(),
		openRoot:   func() int { return -1 },
		openHere:   func() int { return -1 },
	}
	f.root.Store(uint64(o.Root))
	if o.Gated {
		f.gate.decided = make(chan struct{})
	}
	return f
}

// MountOptions are what go-fuse needs to mount f.
func (f *FS) MountOptions() *fuse.MountOptions {
	var opts []string
	if f.kernelChecks() {
		opts = append(opts, "default_permissions")
	}
	if f.o.ReadOnly {
		opts = append(opts, "ro")
	}
	extra := uint64(fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_HANDLE_KILLPRIV_V2)
	if f.o.Writeback {
		extra |= fuse.CAP_WRITEBACK_CACHE
	}
	return &fuse.MountOptions{
		FsName:        f.o.FsName,
		Name:          "coffer",
		Options:       opts,
		AllowOther:    f.o.AllowOther,
		MaxWrite:      maxRequest,
		MaxReadAhead:  maxRequest,
		MaxBackground: maxBackground,
		DisableSplice: true,
		// A symbolic link's target never changes under its inode id.
		EnableSymlinkCaching: true,
		// We say when pages are stale; mtime is no sign of it, since our own
		// writes change it.
		ExplicitDataCacheControl: true,
		ExtraCapabilities:        extra,
		Debug:                    f.o.Debug,
		Logger:                   slog.NewLogLogger(f.log.Handler(), slog.LevelWarn),
		PanicHandler: func(v any) fuse.Status {
			f.log.Error("panic in a file system request", "panic", v, "stack", string(debug.Stack()))
			if f.o.Panicked != nil {
				f.o.Panicked()
			}
			return fuse.EIO
		},
	}
}

// kernelChecks reports whether the kernel checks permissions. A mount of root
// that others may not enter has nobody to refuse: the kernel lets in processes
// whose user and group are all root's, and to them permission bits say nothing
// but whether a file is a program (see Access). Where the kernel checks, it asks
// for a directory's attributes again after every name made or removed in it.
func (f *FS) kernelChecks() bool { return f.o.AllowOther || os.Geteuid() != 0 }

// String names the file system in go-fuse's messages.
func (f *FS) String() string { return "coffer" }

// Init is called after the kernel's INIT and before any other request.
func (f *FS) Init(s *fuse.Server) {
	f.server = s
	f.seeks = !f.o.Writeback || s.KernelSettings().SupportsVersion(7, 44)
	f.stopWatch = f.store.WatchFor(f.foreignChange, f.changed)
	f.stopLost = f.store.WatchLost(f.lost)
	f.stopKeep = f.store.AskBeforeRemoval(f.removing)
}

// OnUnmount is called after the last request. The kernel closed every handle
// before, unless the connection was aborted; what then is left is closed here,
// so that what was written is committed.
func (f *FS) OnUnmount() {
	if f.rings != nil {
		f.rings.Wait() // only what comes through /dev/fuse has ended
	}
	f.stopWatch()
	f.stopLost()
	f.stopKeep()
	f.endAmendments()
	f.lingering.end()
	f.known.end()
	for _, h := range f.files.drain() {
		f.closeFile(h)
	}
	f.dirs.drain()
}

// ctx is the context of every request; see "Signals" in doc.go.
func (f *FS) ctx() context.Context { return context.Background() }

// inode translates a node id of the kernel's to the store's inode id.
func (f *FS) inode(node uint64) objstore.InodeID {
	if node == fuse.FUSE_ROOT_ID {
		return objstore.InodeID(f.root.Load())
	}
	return objstore.InodeID(node)
}

// node is the inverse of inode. ok is false for what the kernel cannot know: the
// store's root when the mount shows only a bucket.
func (f *FS) node(ino objstore.InodeID) (node uint64, ok bool) {
	if ino == objstore.InodeID(f.root.Load()) {
		return fuse.FUSE_ROOT_ID, true
	}
	return uint64(ino), ino > objstore.RootInode
}

func (f *FS) caller(h *fuse.InHeader) objstore.Caller {
	return objstore.Caller{Origin: f.o.Origin, UID: h.Uid, GID: h.Gid}
}

// reply remembers when the computing of an answer began.
type reply uint64

func (f *FS) begin() reply { return reply(f.foreign.Load()) }

// cacheTime is how long the kernel may keep an answer begun at r: not at all
// when a foreign change went by meanwhile, since the notice of it may reach the
// kernel before the answer does.
func (f *FS) cacheTime(r reply) time.Duration {
	if f.foreign.Load() != uint64(r) {
		return 0
	}
	return f.o.CacheTime
}

// StatFs tells the figures of the disk under the store.
func (f *FS) StatFs(_ <-chan struct{}, h *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	st, err := f.store.StatFS(f.ctx())
	if err != nil {
		return f.fail("statfs", h, err)
	}
	const unit = 4096
	*out = fuse.StatfsOut{
		Blocks:  st.Total / unit,
		Bfree:   st.Free / unit,
		Bavail:  st.Available / unit,
		Files:   st.Inodes,
		Ffree:   st.Inodes,
		Bsize:   unit,
		Frsize:  unit,
		NameLen: st.NameMax,
	}
	if out.NameLen == 0 {
		out.NameLen = objstore.MaxComponentLen
	}
	return fuse.OK
}

// Forget takes note that the kernel has dropped an inode: see known.go.
func (f *FS) Forget(node, nlookup uint64) { f.known.forget(f.inode(node), nlookup) }
