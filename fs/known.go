package fs

import (
	"math"
	"sync"

	"github.com/cofferfs/coffer/objstore"
)

// A kernel uses an inode without an open file, too: for a working directory, a
// descriptor of O_PATH, a bind mount, an open pipe, or between the LOOKUP and the OPEN of
// a path. On other file systems such an inode outlives its last name. Here it does so
// while the kernel has it. To know how long that is, a byte for each inode counts how
// often the kernel was told of it, as the kernel itself does: a FORGET says how many of
// these it takes back, since a LOOKUP under way can tell of the inode once more before
// the FORGET is read.
//
// Of a directory, a pipe, a socket or a device that was removed, nothing but the
// attributes can still be seen: these are remembered here (ghosts). A file or symbolic
// link is held in the store, which costs a second transaction when the kernel forgets
// it. So that is done only where another door removed or replaced it: what this kernel
// removes it hardly ever uses any more.
//
// BUG(known): an inode that the kernel was told of manyTimes counts as forgotten with the
// next FORGET, even if a LOOKUP overtook that. Its users then get ESTALE when the inode
// is removed.

// What is removed beyond these bounds of one mount is gone at once.
const (
	maxHeld   = 4096
	maxGhosts = 1 << 16
)

type known struct {
	shards  [32]knownShard
	closers sync.WaitGroup // releases under way

	mu     sync.Mutex // guards the fields below
	held   map[objstore.InodeID]func()
	ghosts map[objstore.InodeID]objstore.Attr
	ended  bool // nothing is held any more
}

// knownShard has the count of inode i in the group i / knownGroup. Inodes that are made
// together are used together, so most groups have many.
type knownShard struct {
	mu     sync.Mutex
	counts map[objstore.InodeID][knownGroup]uint8
	_      [48]byte // keeps two shards out of one cache line
}

const (
	knownGroup = 32
	// manyTimes is where a count ends.
	manyTimes = math.MaxUint8
)

func (k *known) shard(ino objstore.InodeID) *knownShard {
	return &k.shards[ino/knownGroup%objstore.InodeID(len(k.shards))]
}

// add notes that the kernel is told of an inode.
func (k *known) add(ino objstore.InodeID) {
	s := k.shard(ino)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = make(map[objstore.InodeID][knownGroup]uint8)
	}
	group := s.counts[ino/knownGroup]
	if n := &group[ino%knownGroup]; *n < manyTimes {
		*n++
		s.counts[ino/knownGroup] = group
	}
}

func (k *known) has(ino objstore.InodeID) bool {
	s := k.shard(ino)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[ino/knownGroup][ino%knownGroup] > 0
}

// remove takes back that the kernel was told of an inode so many times; last reports
// whether the kernel has let go of it altogether.
func (k *known) remove(ino objstore.InodeID, times uint64) (last bool) {
	s := k.shard(ino)
	s.mu.Lock()
	defer s.mu.Unlock()
	group := s.counts[ino/knownGroup]
	n := &group[ino%knownGroup]
	if last = *n == manyTimes || uint64(*n) <= times; last {
		*n = 0
	} else {
		*n -= uint8(times)
	}
	if group == [knownGroup]uint8{} {
		delete(s.counts, ino/knownGroup)
	} else {
		s.counts[ino/knownGroup] = group
	}
	return last
}

// forget serves a FORGET: with the last of the times that the kernel was told of the
// inode, what is kept of it goes.
func (k *known) forget(ino objstore.InodeID, times uint64) {
	if !k.remove(ino, times) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.ghosts, ino)
	if release := k.held[ino]; release != nil {
		delete(k.held, ino)
		k.closers.Go(release)
	}
}

// removing is an engine.Keeper: it keeps what is about to be removed and the kernel has.
func (f *FS) removing(c objstore.Caller, a *objstore.Attr, hold func() (release func())) {
	k := &f.known
	whole := a.Type == objstore.TypeRegular || a.Type == objstore.TypeSymlink
	own := f.o.Origin != 0 && c.Origin == f.o.Origin
	if whole && own {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.ended, !k.has(a.Inode): // asked with mu held: forget runs before all of this, or after it
	case whole:
		k.hold(a.Inode, hold)
	case len(k.ghosts) < maxGhosts:
		if k.ghosts == nil {
			k.ghosts = make(map[objstore.InodeID]objstore.Attr)
		}
		k.ghosts[a.Inode] = *a
	}
}

// hold holds an inode until it is forgotten; mu is held.
func (k *known) hold(ino objstore.InodeID, hold func() (release func())) {
	if len(k.held) >= maxHeld || k.held[ino] != nil {
		return
	}
	if release := hold(); release != nil {
		if k.held == nil {
			k.held = make(map[objstore.InodeID]func())
		}
		k.held[ino] = release
	}
}

// ghost returns what is left of an inode that is gone.
func (k *known) ghost(ino objstore.InodeID) (a objstore.Attr, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok = k.ghosts[ino]
	return a, ok
}

// attr returns the attributes of an inode that the kernel has.
func (f *FS) attr(ino objstore.InodeID) (objstore.Attr, error) {
	a, err := f.store.GetAttr(f.ctx(), ino)
	if objstore.IsKind(err, objstore.KindStale) {
		if g, ok := f.known.ghost(ino); ok {
			return g, nil
		}
	}
	return a, err
}

// end lets go of everything, for good, and waits for it.
func (k *known) end() {
	k.mu.Lock()
	k.ended = true
	for _, release := range k.held {
		k.closers.Go(release)
	}
	clear(k.held)
	k.mu.Unlock()
	k.closers.Wait()
}
