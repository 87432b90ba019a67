package engine

import (
	"context"
	"strings"

	"github.com/cofferfs/coffer/objstore"
)

// WatchLost calls fn with each file of which a commit has lost what was written: it
// is what it was at its last commit. fn is called before anybody hears of the failure,
// with locks of the store held: it is quick and does not call the store. fn is not
// called any more when stop returns.
func (s *Store) WatchLost(fn func(objstore.InodeID)) (stop func()) {
	return s.losses.add(fn)
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
