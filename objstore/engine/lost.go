package engine

import (
	"context"
	"strings"
	"sync"

	"github.com/cofferfs/coffer/objstore"
)

// losses tells whoever keeps a copy of files (a kernel's cache) that a commit failed.
type losses struct {
	mu   sync.RWMutex // guards the fields below; held while they are told
	fns  map[int]func(objstore.InodeID)
	next int
}

// WatchLost calls fn with each file of which a commit has lost what was written: it
// is what it was at its last commit. fn is called before anybody hears of the failure,
// with locks of the store held: it is quick and does not call the store. fn is not
// called any more when stop returns.
func (s *Store) WatchLost(fn func(objstore.InodeID)) (stop func()) {
	l := &s.losses
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fns == nil {
		l.fns = make(map[int]func(objstore.InodeID))
	}
	id := l.next
	l.next++
	l.fns[id] = fn
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.fns, id)
	}
}

func (l *losses) tell(ino objstore.InodeID) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, fn := range l.fns {
		fn(ino)
	}
}

// Lost notes that a cache which writes with WriteCached could not hand something over,
// and is told so: every File of the inode is told err once, as of a commit that failed,
// by Flush and Close. Sync leaves it to the cache, which fails the syncs that come to it
// before it asks for one here.
func (f *File) Lost(err error) {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	f.n.failures++
	f.n.failure = err
	f.n.answered = f.n.failures
}

// maxPathNames bounds the names of a path in a message.
const maxPathNames = 1000

// PathOf returns a path of an inode from the root of all buckets, for messages. ok is
// false where it has no name, or none in the directory where it was made or renamed to.
func (s *Store) PathOf(ctx context.Context, ino objstore.InodeID) (path string, ok bool) {
	var names []string
	err := s.view(ctx, "path", "", func(r reader) error {
		names = nil
		for at := ino; at != objstore.RootInode; {
			n, err := r.inode(at)
			if err != nil {
				return err
			}
			name, ok, err := r.nameIn(n, at)
			if err != nil {
				return err
			}
			if !ok || n.Parent == at || len(names) > maxPathNames {
				return objstore.E(objstore.KindNotFound, "path", "", "")
			}
			names = append([]string{name}, names...)
			at = n.Parent
		}
		return nil
	})
	return strings.Join(names, "/"), err == nil
}
