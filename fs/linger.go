package fs

import (
	"sync"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/engine"
)

// A kernel opens a file in two requests, LOOKUP and OPEN (READLINK for a
// symbolic link). When a rename replaces the file in between, OPEN meets an
// inode that is gone. The kernel takes ESTALE for a reason to look the name up
// again, but only once: a name that is replaced over and over, and is never
// absent, could still fail to open. On other file systems the inode outlives
// its name while the kernel knows it. Here what a rename replaces is kept for
// lingerTime, which is long for the second request to arrive.
const (
	lingerTime = 500 * time.Millisecond
	// lingerMax bounds what is kept; beyond it the oldest goes early.
	lingerMax = 256
)

type lingering struct {
	closers sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	queue []*left    // oldest first
	timer *time.Timer
	ended bool
}

// left is a replaced inode: an open file or a link's target.
type left struct {
	ino    objstore.InodeID
	file   *engine.File
	target string
	until  time.Time
}

// hold takes what stands at a name before a rename replaces it; nil when there
// is nothing that needs it. The caller gives it to keep or to drop.
func (f *FS) hold(parent objstore.InodeID, name string, c objstore.Caller) *left {
	a, err := f.store.Lookup(f.ctx(), parent, name)
	if err != nil || a.Nlink > 1 {
		return nil
	}
	l := &left{ino: a.Inode}
	switch a.Type {
	case objstore.TypeRegular:
		l.file, err = f.store.Open(f.ctx(), c, a.Inode, objstore.OpenFlags{Read: true})
	case objstore.TypeSymlink:
		l.target, err = f.store.Readlink(f.ctx(), a.Inode)
	default:
		return nil
	}
	if err != nil {
		return nil
	}
	return l
}

// keep keeps l for lingerTime.
func (f *FS) keep(l *left) {
	q := &f.lingering
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		f.drop(l)
		return
	}
	l.until = time.Now().Add(lingerTime)
	q.queue = append(q.queue, l)
	if len(q.queue) > lingerMax {
		f.drop(q.queue[0])
		q.queue = q.queue[1:]
	}
	if q.timer == nil {
		q.timer = time.AfterFunc(lingerTime, f.expire)
	}
}

// expire drops what was kept long enough.
func (f *FS) expire() {
	q := &f.lingering
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return
	}
	now := time.Now()
	n := 0
	for n < len(q.queue) && !q.queue[n].until.After(now) {
		f.drop(q.queue[n])
		n++
	}
	q.queue = q.queue[n:]
	q.timer = nil
	if len(q.queue) > 0 {
		q.timer = time.AfterFunc(q.queue[0].until.Sub(now), f.expire)
	}
}

// endLingering drops everything, for good, and waits for it.
func (f *FS) endLingering() {
	q := &f.lingering
	q.mu.Lock()
	q.ended = true
	if q.timer != nil {
		q.timer.Stop()
	}
	for _, l := range q.queue {
		f.drop(l)
	}
	q.queue = nil
	q.mu.Unlock()
	q.closers.Wait()
}

// drop lets go of l, behind the caller's back: closing the last handle of a
// removed file removes its content.
func (f *FS) drop(l *left) {
	if l == nil || l.file == nil {
		return
	}
	f.lingering.closers.Go(func() {
		if err := l.file.Close(f.ctx()); err != nil {
			f.log.Error("closing a replaced file failed", "inode", uint64(l.ino), "err", err)
		}
	})
}

// lingeringTarget returns the target of a symbolic link that was replaced just now.
func (f *FS) lingeringTarget(ino objstore.InodeID) (target string, ok bool) {
	q := &f.lingering
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.queue {
		if l.ino == ino && l.file == nil {
			return l.target, true
		}
	}
	return "", false
}
