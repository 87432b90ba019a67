package fs

import (
	"sync"

	"github.com/cofferfs/coffer/objstore"
)

// A kernel uses an inode without an open file, too: for a working directory, a
// descriptor of O_PATH, a bind mount, an open pipe, or between the LOOKUP and the OPEN of
// a path. On other file systems such an inode outlives its last name. Here what goes is
// kept while the kernel has it, which known tells: a bit for each inode that it was told
// of and has not forgotten.
//
// Of a directory, a pipe, a socket or a device the attributes are all that is left to
// see, and these are remembered. A file or symbolic link is held in the store, which
// costs a second transaction when the kernel forgets it. So that is done for what
// another door removes or replaces alone: what this kernel removes itself it hardly ever
// uses any more.
//
// BUG(known): a FORGET can be overtaken by a LOOKUP of the same inode, which counts as
// forgotten then. Its users get ESTALE when it is removed.

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

// knownShard has the bits of inode i at i / 64. Inodes that are made together are used
// together, so most words have many.
type knownShard struct {
	mu   sync.Mutex
	bits map[objstore.InodeID]uint64
	_    [48]byte // keeps two shards out of one cache line
}

func (k *known) shard(ino objstore.InodeID) *knownShard {
	return &k.shards[ino/64%objstore.InodeID(len(k.shards))]
}

// add notes that the kernel is told of an inode.
func (k *known) add(ino objstore.InodeID) {
	s := k.shard(ino)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bits == nil {
		s.bits = make(map[objstore.InodeID]uint64)
	}
	s.bits[ino/64] |= 1 << (ino % 64)
}

func (k *known) has(ino objstore.InodeID) bool {
	s := k.shard(ino)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bits[ino/64]&(1<<(ino%64)) != 0
}

func (k *known) remove(ino objstore.InodeID) {
	s := k.shard(ino)
	s.mu.Lock()
	defer s.mu.Unlock()
	if word := s.bits[ino/64] &^ (1 << (ino % 64)); word != 0 {
		s.bits[ino/64] = word
	} else {
		delete(s.bits, ino/64)
	}
}

// forget lets go of an inode that the kernel has dropped.
func (k *known) forget(ino objstore.InodeID) {
	k.remove(ino)
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.ghosts, ino)
	if release := k.held[ino]; release != nil {
		delete(k.held, ino)
		k.closers.Go(release)
	}
}

// removing is an engine.Keeper.
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
	case k.ended, !k.has(a.Inode): // under mu: forget comes before or behind all of this
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
