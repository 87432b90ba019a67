package sealedfs

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/crypto/secret"
)

// Options configure New. Base, Dir, Keys and CurrentKey are required.
type Options struct {
	// Base is the file system below.
	Base vfs.FS
	// Dir is the store's directory in Base, the one given to pebble.Open.
	Dir string
	// Keys are the store keys by id. They stay the caller's, who keeps them
	// until Shutdown returned.
	Keys map[uint32]*secret.Key
	// CurrentKey is the id of the store key under which files are written.
	CurrentKey uint32
	// BeforeDurable makes durable what the metadata points to. It is called
	// before held log bytes are written down, and before any other file or
	// directory is synced, by several goroutines at once. When it fails the FS
	// freezes, but with meta.ErrNoSpace the metadata wait for room, too. Nil means that
	// there is nothing to do.
	BeforeDurable func() error
	// NoSpace is called when something met a full disk. It returns whether it made
	// room, and that can be tried again. Nil means never.
	NoSpace func() bool
	// HoldBytes bounds the log bytes held in memory between syncs; 0 means 1 MiB.
	HoldBytes int
	// AheadBytes is how far a log is filled with zeros ahead of what is synced
	// often; 0 means 256 KiB, less than 0 not at all.
	AheadBytes int
	// ReadOnly keeps Check from changing anything.
	ReadOnly bool
	// Logger takes what an operator should know; nil means slog.Default.
	Logger *slog.Logger
}

const (
	defaultHoldBytes  = 1 << 20
	defaultAheadBytes = 256 << 10
	// maxTableBackoff bounds the pause before a table is created after
	// others failed: Pebble repeats a failed flush at once and forever.
	maxTableBackoff = time.Second
	// stuckAfter is the number of tables that fail in a row before Stuck.
	stuckAfter = 6
)

// FS is a vfs.FS. Lock order: waiting.retrying, anchorMu, a logWriter's mu, mu, waiting.mu.
type FS struct {
	base vfs.FS
	o    Options

	cause    atomic.Pointer[error] // why the FS is frozen
	released chan struct{}         // closed by Release
	froze    chan struct{}         // closed on freeze
	stuck    chan struct{}         // closed when tables keep failing, or on freeze
	once     struct{ release, stuck sync.Once }

	logMemory atomic.Pointer[logMemory] // for the next log; nil: none is spare

	deferring atomic.Bool // what finds no room waits
	waiting   waiting

	// anchorMu serialises anchors, removals and the creation of logs, and guards orderly.
	anchorMu sync.Mutex
	orderly  []string // what the last Shutdown left, until a log is begun

	mu       sync.Mutex      // guards the fields below
	log      *logWriter      // the current log; nil between two
	closing  *logWriter      // closed by Pebble, waits for its final frame
	newest   uint64          // number of the newest log; 0 for none
	tail     tag             // its last chained tag, if it is not open here
	state    anchor          // what the next anchor says
	anchored anchor          // what the last one said
	synced   manifestState   // of the manifest that was synced last
	marked   uint64          // manifest of the marker created last, until a sync of Dir
	removals []string        // wait for an anchor
	fresh    map[uint64]bool // tables and blobs made since a manifest was last written
	failures int             // tables that failed in a row
	tableErr error           // of the last that failed
}

type manifestState struct {
	number uint64
	end    int64
	tag    tag
}

var _ vfs.FS = (*FS)(nil)

// New returns the sealed view of o.Base. It touches no file.
func New(o Options) (*FS, error) {
	if o.Base == nil || o.Dir == "" {
		return nil, errors.New("sealedfs: Options.Base and Options.Dir are required")
	}
	if o.Keys[o.CurrentKey] == nil {
		return nil, fmt.Errorf("%w: id %d", ErrUnknownKey, o.CurrentKey)
	}
	if o.HoldBytes == 0 {
		o.HoldBytes = defaultHoldBytes
	}
	if o.HoldBytes < 1 || o.HoldBytes > MaxFrame {
		return nil, fmt.Errorf("sealedfs: Options.HoldBytes %d is not within 1 to %d", o.HoldBytes, MaxFrame)
	}
	if o.AheadBytes == 0 {
		o.AheadBytes = defaultAheadBytes
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	fs := &FS{
		base: o.Base, o: o, fresh: map[uint64]bool{},
		released: make(chan struct{}), froze: make(chan struct{}), stuck: make(chan struct{}),
	}
	return fs, nil
}

// Err returns nil, or why the FS froze. It matches ErrFrozen and the cause.
// Nothing that Pebble reports as synced after that is.
func (fs *FS) Err() error { return fs.frozen() }

// Freeze freezes the FS from outside.
func (fs *FS) Freeze(cause error) { fs.freeze("freeze", fs.o.Dir, cause) }

// Frozen is closed when the FS froze.
func (fs *FS) Frozen() <-chan struct{} { return fs.froze }

// Stuck is closed when the FS froze, or when so many tables failed in a row that
// whoever waits for a flush will wait in vain.
func (fs *FS) Stuck() <-chan struct{} { return fs.stuck }

// Release lets go of whoever waits for a new table. Call it before DB.Close.
func (fs *FS) Release() { fs.once.release.Do(func() { close(fs.released) }) }

func (fs *FS) freeze(op, name string, cause error) {
	err := fmt.Errorf("%w: %s %q: %w", ErrFrozen, op, path.Base(name), cause)
	if fs.cause.CompareAndSwap(nil, &err) {
		fs.o.Logger.Error("metadata files are frozen: the store is read-only until it is opened again", "op", op, "file", path.Base(name), "err", cause)
		close(fs.froze)
		fs.once.stuck.Do(func() { close(fs.stuck) })
	}
}

func (fs *FS) frozen() error {
	if p := fs.cause.Load(); p != nil {
		return *p
	}
	return nil
}

func (fs *FS) isFrozen() bool { return fs.cause.Load() != nil }

func (fs *FS) beforeDurable() error {
	if err := fs.frozen(); err != nil {
		return err
	}
	if fs.o.BeforeDurable == nil {
		return nil
	}
	err := fs.o.BeforeDurable()
	if err == nil {
		return fs.frozen()
	}
	err = fs.fail("order data before metadata", fs.o.Dir, err)
	if isFull(err) {
		return fmt.Errorf("%w: %w", errBefore, err)
	}
	return err
}

// writeAll writes p and asks for room when there is none.
func (fs *FS) writeAll(f vfs.File, p []byte) (int, error) {
	total := 0
	for {
		n, err := f.Write(p[total:])
		total += max(n, 0)
		if err == nil && total < len(p) {
			err = io.ErrShortWrite
		}
		if lack(err) != errFull || total >= len(p) || fs.o.NoSpace == nil || !fs.o.NoSpace() {
			return total, err
		}
	}
}

// TableErr returns why the last table failed to be written, if none
// succeeded since.
func (fs *FS) TableErr() error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.tableErr
}

func (fs *FS) tableFailed(err error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.tableErr = err
	fs.failures++
	if fs.failures >= stuckAfter {
		fs.once.stuck.Do(func() { close(fs.stuck) })
	}
}

func (fs *FS) tableSucceeded() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.failures, fs.tableErr = 0, nil
}

// awaitTable holds back the creation of a table after others failed, and until
// Release when the FS is frozen.
func (fs *FS) awaitTable() error {
	fs.mu.Lock()
	failures := fs.failures
	fs.mu.Unlock()
	if failures > 0 && !fs.isFrozen() {
		pause := time.NewTimer(min(time.Millisecond<<min(failures, 10), maxTableBackoff))
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-fs.released:
		}
	}
	if fs.isFrozen() {
		<-fs.released
	}
	// The room that there is goes to what waits: a table that finds too little takes all
	// of it for a while.
	err := fs.Retry()
	if isFull(err) {
		fs.tableFailed(err)
	}
	return err
}

// Create implements vfs.FS.
func (fs *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if _, _, _, ok := marker(name); ok {
		return fs.createMarker(name, category), nil
	}
	k, number, ok := classify(name)
	if !ok {
		return nil, fmt.Errorf("%w: create %q", errUnsupported, path.Base(name))
	}
	switch k {
	case kindLog:
		return fs.createLog(name, number, category), nil
	case kindManifest:
		return fs.createManifest(name, number, category), nil
	case kindTable, kindBlob:
		if err := fs.awaitTable(); err != nil {
			return nil, err
		}
	}
	if k == kindOther && fs.isFrozen() {
		return &nullFile{}, nil
	}
	w, err := fs.createTable(name, k, number, category)
	if err != nil && k == kindOther {
		fs.freeze("create", name, err)
		return &nullFile{}, nil
	}
	if err == nil && k != kindOther {
		fs.mu.Lock()
		fs.fresh[number] = true
		fs.mu.Unlock()
	}
	return w, err
}

// manifestWritten is told when Pebble writes to a manifest, which may name all tables
// that there are.
func (fs *FS) manifestWritten() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	clear(fs.fresh)
}

// takeFresh tells of a table or blob that no manifest has named, once: it is removed.
func (fs *FS) takeFresh(k kind, number uint64) bool {
	if k != kindTable && k != kindBlob {
		return false
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fresh := fs.fresh[number]
	delete(fs.fresh, number)
	return fresh
}

// Open implements vfs.FS.
func (fs *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	k, _, ok := classify(name)
	if !ok {
		return nil, fmt.Errorf("%w: open %q", errUnsupported, path.Base(name))
	}
	base, err := fs.openRegular(name, opts...)
	if err != nil {
		return nil, err
	}
	var f vfs.File
	if k.isLog() {
		f, err = fs.openLog(name, base)
	} else {
		f, err = fs.openTable(name, base)
	}
	if err != nil {
		base.Close()
		return nil, err
	}
	return f, nil
}

// openRegular opens a file below. To open a pipe that stands in its place would wait
// for ever.
func (fs *FS) openRegular(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	fi, err := fs.base.Stat(name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, corrupt(name, "is no regular file")
	}
	return fs.base.Open(name, opts...)
}

// Remove implements vfs.FS. What an anchor must precede can still be there when
// it returned, and so can anything on a full disk.
func (fs *FS) Remove(name string) error {
	if fs.isFrozen() {
		return nil
	}
	k, number, ok := classify(name)
	if fs.takeFresh(k, number) && fs.Waits() {
		return fs.base.Remove(name) // no manifest names it, and it takes room
	}
	return fs.inOrder(func() error {
		if fs.isFrozen() {
			return nil
		}
		if _, _, _, ok := marker(name); ok {
			return fs.removeMarker(name)
		}
		if !ok || !k.anchored() {
			return fs.base.Remove(name)
		}
		fs.mu.Lock()
		if k == kindLog {
			fs.state.retired = max(fs.state.retired, number)
		}
		fs.removals = append(fs.removals, name)
		fs.mu.Unlock()
		return fs.inOrder(fs.removeAnchored)
	})
}

// Rename implements vfs.FS: for Pebble's options, whose number stays. As
// everything about them, it does not fail.
func (fs *FS) Rename(oldname, newname string) error {
	k1, n1, ok1 := classify(oldname)
	k2, n2, ok2 := classify(newname)
	if !ok1 || !ok2 || k1 != k2 || n1 != n2 || k1.anchored() {
		return fmt.Errorf("%w: rename %q to %q", errUnsupported, path.Base(oldname), path.Base(newname))
	}
	_ = fs.inOrder(func() error {
		if err := fs.beforeDurable(); err != nil {
			return err
		}
		if err := fs.base.Rename(oldname, newname); err != nil {
			return fs.fail("rename", newname, err)
		}
		return nil
	})
	return nil
}

// ReuseForWrite makes a new file and removes the old one: bytes of an
// older log must never stand behind those of a newer.
func (fs *FS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.Create(newname, category)
	if err != nil {
		return nil, err
	}
	if err := fs.Remove(oldname); err != nil && !errors.Is(err, os.ErrNotExist) {
		fs.o.Logger.Warn("an obsolete metadata log stays", "file", path.Base(oldname), "err", err)
	}
	return f, nil
}

// Stat implements vfs.FS. The size is that of the plaintext for tables, and of
// the file for logs.
func (fs *FS) Stat(name string) (vfs.FileInfo, error) {
	fi, err := fs.base.Stat(name)
	if err != nil {
		return nil, err
	}
	k, _, ok := classify(name)
	if !ok || k.isLog() {
		return fi, nil
	}
	size, ok := tableSize(fi.Size())
	if !ok {
		return nil, corrupt(name, "length %d", fi.Size())
	}
	return fileInfo{FileInfo: fi, size: size}, nil
}

// OpenDir implements vfs.FS.
func (fs *FS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.base.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return dir{File: f, fs: fs, name: name, store: path.Clean(name) == path.Clean(fs.o.Dir)}, nil
}

// Lock implements vfs.FS. Where nothing can be written and nothing is meant to
// be, there is nothing to lock.
func (fs *FS) Lock(name string) (io.Closer, error) {
	// Locking cuts the file to nothing: one that has bytes is another of the store's,
	// which was renamed, and is still needed.
	if info, err := fs.base.Stat(name); err == nil && (!info.Mode().IsRegular() || info.Size() != 0) {
		return nil, corrupt(name, "is no lock but another file")
	}
	c, err := fs.base.Lock(name)
	if err != nil && fs.o.ReadOnly && (errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		return io.NopCloser(nil), nil
	}
	return c, err
}

// MkdirAll implements vfs.FS.
func (fs *FS) MkdirAll(name string, perm os.FileMode) error { return fs.base.MkdirAll(name, perm) }

// List implements vfs.FS.
func (fs *FS) List(name string) ([]string, error) { return fs.base.List(name) }

// GetDiskUsage implements vfs.FS.
func (fs *FS) GetDiskUsage(name string) (vfs.DiskUsage, error) { return fs.base.GetDiskUsage(name) }

// PathBase, PathJoin, PathDir and Unwrap implement vfs.FS.
func (fs *FS) PathBase(p string) string       { return fs.base.PathBase(p) }
func (fs *FS) PathJoin(elem ...string) string { return fs.base.PathJoin(elem...) }
func (fs *FS) PathDir(p string) string        { return fs.base.PathDir(p) }
func (fs *FS) Unwrap() vfs.FS                 { return fs.base }
func (fs *FS) Link(oldname, _ string) error {
	return fmt.Errorf("%w: link %q", errUnsupported, oldname)
}
func (fs *FS) RemoveAll(name string) error {
	return fmt.Errorf("%w: remove all %q", errUnsupported, name)
}
func (fs *FS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	return nil, fmt.Errorf("%w: open %q for writing", errUnsupported, path.Base(name))
}
