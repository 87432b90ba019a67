package engine

import (
	"hash/maphash"
	"sync"

	"github.com/cofferfs/coffer/objstore"
)

// Bounds of what is remembered of new directories.
const (
	freshDirs  = 1024
	freshNames = 256 << 10 // over all directories; a name takes about 16 bytes
)

// freshDirectories remembers which names the directories that this process has
// made ever had, as hashes: a name whose hash is not among them is absent, and
// nobody needs to look. Whoever copies a tree asks for each name before making it.
//
// Directories and names are noted within the transaction that makes them, before
// it commits, and never taken back: what it says of absence is true whatever
// becomes of the transaction.
type freshDirectories struct {
	seed maphash.Seed

	mu    sync.RWMutex // guards the fields below
	dirs  map[objstore.InodeID]map[uint64]struct{}
	names int
}

func newFreshDirectories() *freshDirectories {
	return &freshDirectories{seed: maphash.MakeSeed(), dirs: make(map[objstore.InodeID]map[uint64]struct{})}
}

// add notes a directory that is about to be made.
func (f *freshDirectories) add(dir objstore.InodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dirs[dir] != nil {
		return
	}
	if len(f.dirs) >= freshDirs || f.names >= freshNames {
		clear(f.dirs)
		f.names = 0
	}
	f.dirs[dir] = make(map[uint64]struct{})
}

// note notes a name that is about to be made.
func (f *freshDirectories) note(dir objstore.InodeID, stored string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := f.dirs[dir]
	if names == nil {
		return
	}
	names[maphash.String(f.seed, stored)] = struct{}{}
	f.names++
	if f.names > freshNames {
		f.names -= len(names)
		delete(f.dirs, dir)
	}
}

// lacks reports whether a directory certainly never had a name.
func (f *freshDirectories) lacks(dir objstore.InodeID, stored string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	names := f.dirs[dir]
	if names == nil {
		return false
	}
	_, had := names[maphash.String(f.seed, stored)]
	return !had
}
