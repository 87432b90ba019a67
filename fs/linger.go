package fs

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/cofferfs/coffer/objstore"
)

// A kernel uses a file in two requests, LOOKUP and OPEN (GETATTR, READLINK and
// so on). When something replaces or removes the file in between, the second meets
// an inode that is gone. The kernel takes ESTALE for a reason to walk the path anew,
// asking us for every name in it, but only once: where a name is replaced over and
// over, and is never absent, the program could still get ESTALE. On other file
// systems the inode outlives its name while the kernel knows it. Here, an inode that is
// looked up by a thread that has just been told ESTALE is kept for lingerTime, so that
// its second walk succeeds. Lookups of other threads cost nothing more.
const (
	// lingerTime is far more than a thread takes to send its next request.
	lingerTime = 2 * time.Second
	// lingerMax bounds the threads that are remembered, beyond which none is, and the
	// inodes that are kept, of which the oldest then goes early.
	lingerMax = 1024
)

type lingering struct {
	closers sync.WaitGroup
	// told is len(threads), for a look without the lock.
	told atomic.Int32

	mu      sync.Mutex           // guards the fields below
	keepFor time.Duration        // lingerTime, but in tests
	threads map[uint32]time.Time // told ESTALE, until when that counts
	queue   []kept               // oldest first
	timer   *time.Timer
	ended   bool
}

// kept is an inode that outlives its names until release is called.
type kept struct {
	release func()
	until   time.Time
}

// wasStale notes that a thread is told ESTALE. Threads of other pid namespaces all
// have the number 0.
func (f *FS) wasStale(thread uint32) {
	q := &f.lingering
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended || len(q.threads) >= lingerMax {
		return
	}
	if q.threads == nil {
		q.threads = make(map[uint32]time.Time)
	}
	q.threads[thread] = time.Now().Add(q.keepFor)
	q.told.Store(int32(len(q.threads)))
	q.wake()
}

// walksAgain reports whether a thread was told ESTALE just now.
func (f *FS) walksAgain(thread uint32) bool {
	q := &f.lingering
	if q.told.Load() == 0 {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.threads[thread]
	return ok
}

// lookup finds a name, and keeps what it finds where the caller walks again.
func (f *FS) lookup(h *fuse.InHeader, name string) (objstore.Attr, error) {
	keep := f.walksAgain(h.Pid)
	for {
		a, err := f.store.Lookup(f.ctx(), f.inode(h.NodeId), name)
		if err != nil || !keep {
			return a, err
		}
		release, err := f.store.Hold(f.ctx(), a.Inode)
		if objstore.IsKind(err, objstore.KindStale) {
			continue // replaced in between
		}
		if err == nil {
			f.keep(release)
		}
		return a, err
	}
}

// keep calls release when the time is over.
func (f *FS) keep(release func()) {
	q := &f.lingering
	q.mu.Lock()
	defer q.mu.Unlock()
	l := kept{release, time.Now().Add(q.keepFor)}
	if q.ended {
		q.drop(l)
		return
	}
	q.queue = append(q.queue, l)
	if len(q.queue) > lingerMax {
		q.drop(q.queue[0])
		q.queue = q.queue[1:]
	}
	q.wake()
}

// wake has expire called when the time is over, unless it will be called before; mu is held.
func (q *lingering) wake() {
	if q.timer == nil {
		q.timer = time.AfterFunc(q.keepFor, q.expire)
	}
}

// expire drops what was kept long enough.
func (q *lingering) expire() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return
	}
	now := time.Now()
	for thread, until := range q.threads {
		if !until.After(now) {
			delete(q.threads, thread)
		}
	}
	q.told.Store(int32(len(q.threads)))
	n := 0
	for n < len(q.queue) && !q.queue[n].until.After(now) {
		q.drop(q.queue[n])
		n++
	}
	q.queue = q.queue[n:]
	q.timer = nil
	if len(q.queue) > 0 || len(q.threads) > 0 {
		q.wake()
	}
}

// end drops everything, for good, and waits for it.
func (q *lingering) end() {
	q.mu.Lock()
	q.ended = true
	if q.timer != nil {
		q.timer.Stop()
	}
	for _, l := range q.queue {
		q.drop(l)
	}
	q.queue = nil
	q.mu.Unlock()
	q.closers.Wait()
}

// drop releases l in a goroutine of its own: if nobody else holds the inode and it has
// no name, that removes it.
func (q *lingering) drop(l kept) { q.closers.Go(l.release) }
