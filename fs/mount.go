package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/fs/ring"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine"
)

// ErrNoFusermount is returned by Mount when neither we nor a helper may mount.
var ErrNoFusermount = errors.New("fusermount3 was not found; install the package fuse3, or mount as root")

// Mounted is a file system that is mounted and served, until somebody unmounts it:
// umount2(2), umount(8) or fusermount. Its methods may be called concurrently.
type Mounted struct {
	fs     *FS
	dir    string
	dev    atomic.Uint64 // st_dev of the mount
	server *fuse.Server

	served chan struct{} // closed when the last request was served
	stop   chan struct{} // ends writeBack
	once   sync.Once     // closes stop
	tasks  sync.WaitGroup
}

// Mount mounts a store, or a part of it, on a directory and serves it in
// goroutines of its own; it is usable when Mount returns. As root it needs no
// helper. The store must stay open until Wait returns.
func Mount(dir string, store *engine.Store, o Options) (*Mounted, error) {
	m, err := mount(dir, New(store, o), o.Rings)
	if without, ok := errors.AsType[*ring.UnavailableError](err); ok {
		f := New(store, o)
		f.log.Warn("requests come through /dev/fuse and not through io_uring", "reason", without.Err)
		m, err = mount(dir, f, false)
	}
	if err != nil {
		return nil, fmt.Errorf("mount %q: %w", dir, err)
	}
	return m, nil
}

func mount(dir string, f *FS, rings bool) (*Mounted, error) {
	opts := f.MountOptions()
	direct := os.Geteuid() == 0
	opts.DirectMountStrict = direct
	if !direct && !haveFusermount() {
		return nil, ErrNoFusermount
	}
	m := &Mounted{
		fs: f, dir: dir,
		served: make(chan struct{}),
		stop:   make(chan struct{}),
	}
	f.openRoot = func() int { return m.openRoot(m.dir) }
	f.openHere = func() int { return m.openIfMounted(m.dir) }
	server, err := f.connect(dir, opts, rings)
	if err != nil {
		return nil, err
	}
	m.server = server
	go func() {
		defer close(m.served)
		server.Serve()
	}()
	if err := m.awaitAndTune(); err != nil {
		if uerr := server.Unmount(); uerr != nil {
			err = errors.Join(err, uerr)
		} else {
			<-m.served
		}
		return nil, err
	}
	if f.o.Writeback && !f.o.ReadOnly {
		m.tasks.Go(m.writeBack)
	}
	return m, nil
}

func haveFusermount() bool {
	for _, name := range [...]string{"fusermount3", "fusermount", "/bin/fusermount3", "/bin/fusermount"} {
		if _, err := exec.LookPath(name); err == nil {
			return true
		}
	}
	return false
}

// awaitAndTune waits until the mount answers and tunes what the kernel lets us tune.
func (m *Mounted) awaitAndTune() error {
	// It looks up a name, so with a gate it is for Admit.
	if !m.fs.o.Gated {
		if err := m.server.WaitMount(); err != nil {
			return err
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(m.dir, &st); err != nil {
		return err
	}
	m.dev.Store(uint64(st.Dev))
	// INIT can only lower the kernel's 128 KiB, which halves sequential reads.
	// Without the right to write here reads are slower, not wrong.
	m.tune("read_ahead_kb", m.fs.o.ReadAheadKiB)
	if m.fs.o.Writeback {
		// A FUSE mount may hold 1 % of what may be dirty, some 40 MiB on a
		// large machine: random writes then hardly ever meet in the cache.
		m.tune("max_ratio", dirtyPercent)
	}
	return nil
}

// dirtyPercent bounds the dirty pages of a mount, in percent of what the kernel
// lets be dirty altogether (vm.dirty_ratio).
const dirtyPercent = 20

// tune sets a figure of the mount's backing device, if we may.
func (m *Mounted) tune(name string, value int) {
	path := fmt.Sprintf("/sys/class/bdi/%d:%d/%s", unix.Major(m.Device()), unix.Minor(m.Device()), name)
	if err := os.WriteFile(path, []byte(strconv.Itoa(value)), 0); err != nil {
		m.fs.log.Debug("the kernel's default stays", "file", path, "err", err)
	}
}

// Dir is the mount point as given to Mount.
func (m *Mounted) Dir() string { return m.dir }

// Rings reports whether requests come through io_uring.
func (m *Mounted) Rings() bool { return m.fs.rings != nil }

// Device is st_dev of what is in the mount, and of nothing else as long as it is
// served.
func (m *Mounted) Device() uint64 { return m.dev.Load() }

// Wait returns when the mount is gone, whoever unmounted it, and every request was
// served. Open files that an abort left behind are then closed.
func (m *Mounted) Wait() {
	<-m.served
	m.once.Do(func() { close(m.stop) })
	m.tasks.Wait()
}

// Ended reports whether the kernel has let go of the mount, so that Wait returns soon.
func (m *Mounted) Ended() bool {
	select {
	case <-m.served:
		return true
	default:
		return false
	}
}

// Flush makes the kernel hand over every dirty page and returns when it has. dir
// is Dir, or another directory on which the file system shows. The pages are not
// made durable: engine.Store.Sync does. When ctx ends first the work goes on behind
// it, and until then the mount is busy: it cannot be unmounted.
func (m *Mounted) Flush(ctx context.Context, dir string) error {
	done := make(chan error, 1)
	go func() { done <- m.syncfs(dir, true) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-m.served:
		return nil // the kernel wrote everything before it let go
	}
}

// DropPages makes the kernel write back and forget the pages of a file. It must
// not be called by what the kernel waits for.
func (m *Mounted) DropPages(ino objstore.InodeID) {
	if node, ok := m.fs.node(ino); ok {
		m.fs.notice("inode", m.server.InodeNotify(node, 0, 0))
	}
}

// syncfs calls syncfs(2) on the mount, which starts writing back all dirty
// pages. Newer kernels do not wait for the end of it where a FUSE daemon
// answers (AS_NO_DATA_INTEGRITY): with wait this does, and asks again for errors.
// The descriptor keeps the mount busy for that time. No lock is held: the kernel
// sends us WRITEs meanwhile.
//
// Where no path leads to the mount (it was unmounted lazily, or something is mounted
// over it, or the bucket that it shows was removed) its users can write all the same:
// there the pages of each open file are asked for.
func (m *Mounted) syncfs(dir string, wait bool) error {
	fd := m.openRoot(dir)
	if fd < 0 {
		m.fs.awaitPages()
		return nil
	}
	defer unix.Close(fd)
	err := unix.Syncfs(fd)
	if wait {
		m.fs.awaitPages()
		err = errors.Join(err, unix.Syncfs(fd))
	}
	if err != nil {
		return fmt.Errorf("flush %q: %w", dir, err)
	}
	return nil
}

// openRoot opens the mount on dir, or elsewhere; -1: no path leads to it.
func (m *Mounted) openRoot(dir string) int {
	if fd := m.openIfMounted(dir); fd >= 0 || m.fs.o.Elsewhere == nil {
		return fd // the usual case, which is to cost its caller's locks nothing
	}
	for _, dir := range m.fs.o.Elsewhere() {
		if fd := m.openIfMounted(dir); fd >= 0 {
			return fd
		}
	}
	return -1
}

// openIfMounted opens a directory if the mount shows on it, or returns -1.
func (m *Mounted) openIfMounted(dir string) int {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err == nil && uint64(st.Dev) == m.dev.Load() {
		return fd
	}
	unix.Close(fd)
	return -1
}

// OpenFiles is how many open files the kernel has. It lets go of one some time after
// its last user has closed it.
func (m *Mounted) OpenFiles() int {
	n := 0
	for range m.fs.files.all {
		n++
	}
	return n
}

// writeBack asks the kernel for its dirty pages, which it would otherwise keep
// for half a minute. There are some only while a file is open for writing (or
// mapped, which is the same to us): closing writes back. So this does not make
// a mount busy that could be unmounted.
func (m *Mounted) writeBack() {
	t := time.NewTicker(m.fs.o.WritebackInterval)
	defer t.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-m.served:
			return
		case <-t.C:
		}
		if m.fs.writers.Load() == 0 {
			continue
		}
		if err := m.syncfs(m.dir, false); err != nil {
			m.fs.log.Warn("writing back failed", "err", err)
		}
		m.fs.showBlocks()
	}
}

// showBlocks makes the kernel ask again how many blocks the files have that it wrote
// back to since the last time. By itself it would ask only when they are closed, and
// show until then what they had when they were opened: for a new file no blocks, which
// tar --sparse and others take for one hole, and do not read.
func (f *FS) showBlocks() {
	var nodes []uint64
	for h := range f.files.all {
		if node, ok := f.node(h.f.Inode()); ok && h.written.Swap(false) {
			nodes = append(nodes, node)
		}
	}
	for _, node := range nodes {
		f.forgetAttrs(node)
	}
}
