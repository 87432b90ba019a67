package fs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

// When the store loses what a kernel has written back to it (the disk was full), the
// kernel still shows it from its cache. Such a file has to be amended: the kernel must
// see it as the store has it. Dropping its pages is not enough where the kernel has the
// writeback cache, since the size is then its own, and it ignores the store's in every
// answer but that to a truncation. So the door truncates the file itself, through the
// mount, and answers with the size that the store has. Descriptors stay valid, and
// O_APPEND goes on at the end of what there is.
//
// To truncate the file the door needs a descriptor of it, and it may know no name. So
// it creates a file in the root of the mount, by a name that nobody can guess, and
// answers that CREATE with the inode to be amended. Opening the file by a name of its
// own would also ask for permission to write to it; CREATE asks for no more than that
// the root directory can be written to. The kernel is told to forget the name at once.
//
// A truncation throws away dirty pages. While it is answered nobody can write to the
// file (the kernel holds the inode's lock), so the door refuses it if there are any by
// then, and tries again when they have been written back.
//
// Until a file is amended, requests for its attributes and to open it wait.

const (
	// amendTries bounds the tries for one file: its users may go on writing.
	amendTries = 100
	// amendWait bounds how long a request waits for a file to be amended: few
	// requests, those for extended attributes, hold the lock that amending needs.
	amendWait = 2 * time.Second
)

// errDirty says that amendOnce has to be tried again.
var errDirty = errors.New("pages were written meanwhile")

type amendments struct {
	secret string       // what the names of amendOnce begin with
	n      atomic.Int64 // len(files)

	mu    sync.Mutex // guards the fields below
	files map[objstore.InodeID]*amendment
	ended bool
}

// amendment is a file of which the kernel shows what the store has lost.
type amendment struct {
	again bool          // something was lost since the last try began
	done  chan struct{} // closed when it is over
	fd    atomic.Int64  // the descriptor of the try under way
	by    atomic.Uint32 // the thread that tries: the kernel may ask on its behalf
}

const amendPrefix = ".coffer-amend-"

func newAmendments() amendments {
	return amendments{secret: amendPrefix + rand.Text() + "-", files: make(map[objstore.InodeID]*amendment)}
}

// lost is what the store calls, with its locks held, when a file lost what was written
// to it.
func (f *FS) lost(ino objstore.InodeID) { f.noteLoss(ino, false) }

// noteLoss remembers a loss and begins to amend the file. answered: the kernel is told of
// it, by the answer to a WRITE.
func (f *FS) noteLoss(ino objstore.InodeID, answered bool) {
	node, ok := f.node(ino)
	if !ok {
		return
	}
	if f.files.contains(func(h *file) bool { return h.write && h.amends == nil && h.f.Inode() == ino }) {
		f.losses.add(ino, answered)
	}
	if !f.o.Writeback {
		f.forgetPages(ino)
		return
	}
	m := &f.amendments
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return
	}
	if a := m.files[ino]; a != nil {
		a.again = true
		return
	}
	a := &amendment{done: make(chan struct{})}
	m.files[ino] = a
	m.n.Store(int64(len(m.files)))
	f.notices.Go(func() { f.amend(node, ino, a) })
}

// endAmendments returns when nothing is amended any more.
func (f *FS) endAmendments() {
	f.amendments.mu.Lock()
	f.amendments.ended = true
	f.amendments.mu.Unlock()
	f.notices.Wait()
}

// amend makes the kernel see a file as the store has it.
func (f *FS) amend(node uint64, ino objstore.InodeID, a *amendment) {
	m := &f.amendments
	defer close(a.done)
	f.forgetAttrs(node)
	for try := 1; ; try++ {
		m.mu.Lock()
		a.again = false
		m.mu.Unlock()
		// Pages written since are handed over, which may fail anew.
		f.notice("lost", f.server.InodeNotify(node, 0, 0))
		err := f.amendOnce(ino, a)
		m.mu.Lock()
		if again := errors.Is(err, errDirty) || err == nil && a.again; again && try < amendTries {
			m.mu.Unlock()
			continue
		}
		delete(m.files, ino)
		m.n.Store(int64(len(m.files)))
		m.mu.Unlock()
		if err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTCONN) {
			f.log.Error("a file lost what was written to it, and the kernel shows another size than the store until the file is written anew",
				"inode", uint64(ino), "err", err)
		}
		return
	}
}

// forgetAttrs makes the kernel ask anew for a file's attributes. It takes no lock of the
// kernel's that a handler's caller may hold, so handlers can call it.
func (f *FS) forgetAttrs(node uint64) { f.notice("attributes", f.server.InodeNotify(node, -1, 0)) }

// amendOnce opens and truncates the file through the mount; createAmended and
// truncateAmended answer. errDirty: it has dirty pages, and is to be tried again.
// ENOENT: no path leads to the mount.
func (f *FS) amendOnce(ino objstore.InodeID, a *amendment) error {
	root := f.openRoot()
	if root < 0 {
		return syscall.ENOENT
	}
	defer unix.Close(root)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	a.by.Store(uint32(unix.Gettid()))
	defer a.by.Store(0)
	name := f.amendments.secret + strconv.FormatUint(uint64(ino), 10)
	fd, err := unix.Openat(root, name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() {
		unix.Close(fd)
		f.notice("entry", f.server.EntryNotify(fuse.FUSE_ROOT_ID, name))
	}()
	a.fd.Store(int64(fd))
	err = unix.Ftruncate(fd, 0)
	if errors.Is(err, unix.EAGAIN) {
		return errDirty
	}
	if err != nil {
		return fmt.Errorf("truncate: %w", err)
	}
	// The kernel has given the file the time of this truncation: bring back the one that
	// the store has, which keepTimes answers.
	if at, err := f.store.GetAttr(f.ctx(), ino); err == nil {
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(int64(at.Mtime))}
		_ = unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH)
	}
	return nil
}

// attrTime is cacheTime for the attributes of a file: not at all while it is amended, as
// the kernel would show them with its own size.
func (f *FS) attrTime(r reply, ino objstore.InodeID) time.Duration {
	if f.amendments.of(ino) != nil {
		return 0
	}
	return f.cacheTime(r)
}

// of returns the amendment of a file, or nil. Every request for attributes asks, so
// while nothing is amended it takes no lock.
func (m *amendments) of(ino objstore.InodeID) *amendment {
	if m.n.Load() == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files[ino]
}

// await returns when a file is not being amended any more, or amendWait is over. It
// returns at once to the thread that amends: a kernel that checks permissions asks for
// the mode on its behalf.
func (m *amendments) await(ino objstore.InodeID, thread uint32) {
	a := m.of(ino)
	if a == nil || thread != 0 && a.by.Load() == thread {
		return
	}
	t := time.NewTimer(amendWait)
	defer t.Stop()
	select {
	case <-a.done:
	case <-t.C:
	}
}

// amendedBy returns the file that the CREATE of amendOnce is about; ok is false for
// every other one.
func (f *FS) amendedBy(in *fuse.CreateIn, name string) (ino objstore.InodeID, ok bool) {
	number, ok := strings.CutPrefix(name, f.amendments.secret)
	if !ok || in.NodeId != fuse.FUSE_ROOT_ID {
		return 0, false
	}
	n, err := strconv.ParseUint(number, 10, 64)
	return objstore.InodeID(n), err == nil && f.amendments.of(objstore.InodeID(n)) != nil
}

// createAmended answers the CREATE of amendOnce.
func (f *FS) createAmended(in *fuse.CreateIn, ino objstore.InodeID, out *fuse.CreateOut) fuse.Status {
	a, err := f.store.GetAttr(f.ctx(), ino)
	if objstore.IsKind(err, objstore.KindStale) {
		return fuse.ENOENT
	}
	if err != nil {
		return f.fail("amend", &in.InHeader, err)
	}
	// It is a handle as others are: the kernel may write its pages back on it.
	ef, err := f.store.Open(f.ctx(), f.caller(&in.InHeader), ino, openFlags(syscall.O_RDWR))
	if err != nil {
		return f.fail("amend", &in.InHeader, err)
	}
	f.known.add(ino)
	out.NodeId, out.Generation = uint64(ino), generation
	f.fillAttr(&out.Attr, &a)
	f.opened(&file{f: ef, write: true, amends: f.amendments.of(ino)}, &out.OpenOut)
	return fuse.OK
}

// amended returns the amendment that a SETATTR belongs to, or nil.
func (f *FS) amended(in *fuse.SetAttrIn) *amendment {
	if in.Valid&fuse.FATTR_FH == 0 || in.Valid&fuse.FATTR_SIZE == 0 {
		return nil
	}
	h := f.files.get(in.Fh)
	if h == nil {
		return nil
	}
	return h.amends
}

// truncateAmended answers the truncation of amendOnce with the size that the file has.
func (f *FS) truncateAmended(in *fuse.SetAttrIn, a *amendment, out *fuse.AttrOut) fuse.Status {
	ino := f.inode(in.NodeId)
	var st unix.Cachestat_t
	err := unix.Cachestat(uint(a.fd.Load()), &unix.CachestatRange{}, &st, 0)
	if err == nil && st.Dirty+st.Writeback > 0 {
		return fuse.EAGAIN
	}
	if err != nil {
		// A kernel before 6.5. What was written meanwhile is thrown away, so whoever
		// has the file open is told once more.
		f.files.get(in.Fh).f.Lost(objstore.Wrap(objstore.KindNoSpace, "write", "", err))
	}
	attr, err := f.store.GetAttr(f.ctx(), ino)
	if err != nil {
		return f.fail("amend", &in.InHeader, err)
	}
	f.fillAttr(&out.Attr, &attr)
	return fuse.OK
}

// keepTimes answers a SETATTR that brings the mtime that the file has already, while it
// is amended. The change of ctime is not stored: there may be no room for it.
func (f *FS) keepTimes(in *fuse.SetAttrIn, set *objstore.SetAttr, out *fuse.AttrOut) bool {
	if f.amendments.of(f.inode(in.NodeId)) == nil {
		return false
	}
	attr, err := f.store.GetAttr(f.ctx(), f.inode(in.NodeId))
	if err != nil || attr.Mtime != *set.Mtime {
		return false
	}
	f.fillAttr(&out.Attr, &attr)
	return true
}
