package engine

import (
	"sync"
	"time"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// Finishing a file. To S3 the time and the headers of a locked version are as
// unchangeable as its bytes. But a bucket's default retention locks what the mount
// writes from its first byte on, and programs that copy set a file's times when they
// have written it: cp before they close it, tar and rsync after that. So whoever made a
// version may finish it: as long as its write session lasts, and for a moment after.

// finishTime is that moment. maxFinishing bounds how many versions are remembered.
const (
	finishTime   = time.Minute
	maxFinishing = 4096
)

// finishing remembers the locked versions that write sessions have left lately.
// Its lock is a leaf. The zero value is ready.
type finishing struct {
	mu   sync.Mutex // guards the field below
	left map[objstore.InodeID]leftVersion
}

type leftVersion struct {
	made  writeSession
	until objstore.Time
}

// leave ends a node's write session, and lets what that made be finished. Both
// become true in one step: the kernel tells of a close beside what a program does
// after it.
func (f *finishing) leave(n *node, now objstore.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	made := n.session.Load()
	if made == nil {
		return
	}
	if made.lock.Holds(now, false) { // nothing else forbids to change it
		if f.left == nil || len(f.left) >= maxFinishing {
			f.left = make(map[objstore.InodeID]leftVersion)
		}
		f.left[n.ino] = leftVersion{*made, now + objstore.Time(finishTime)}
	}
	n.session.Store(nil)
}

// cut ends the session of a node, if the inode has one, and the time in which the
// version may be finished.
func (f *finishing) cut(ino objstore.InodeID, n *node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n != nil {
		n.session.Store(nil)
	}
	delete(f.left, ino)
}

func (f *finishing) lately(ino objstore.InodeID, made writeSession, now objstore.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ok := f.left[ino]
	return ok && l.made == made && now < l.until
}

// sealedOff reports whether an inode is a locked version that is finished: its
// time and its S3 headers stay as they are.
func (x *tx) sealedOff(ino objstore.InodeID, rec *record.Inode) bool {
	if !rec.Lock.Holds(x.now, false) {
		return false
	}
	made := writeSession{rec.Content.ID, rec.Lock}
	if n := x.s.nodes.get(ino); n != nil {
		if s := n.session.Load(); s != nil && *s == made {
			return false
		}
	}
	return !x.s.finishing.lately(ino, made, x.now)
}
