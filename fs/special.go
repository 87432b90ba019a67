package fs

import (
	"sync"
	"sync/atomic"

	"github.com/cofferfs/coffer/objstore"
)

// maxSpecial bounds the special files that specials knows; one beyond it that is open
// and removed has no attributes.
const maxSpecial = 4096

// specials are the pipes, sockets and devices that the kernel knows. It opens them
// without us, so the store removes them with their last name although programs have
// them open; fstat(2) goes on all the same.
type specials struct {
	n atomic.Int64 // len(m): FORGET of everything else takes no lock

	mu sync.Mutex // guards m
	m  map[objstore.InodeID]objstore.Attr
}

// note remembers what the kernel is told of a file.
func (s *specials) note(a *objstore.Attr) {
	switch a.Type {
	case objstore.TypeFIFO, objstore.TypeSocket, objstore.TypeCharDev, objstore.TypeBlockDev:
	default:
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.m[a.Inode]; !ok && len(s.m) == maxSpecial {
		return
	}
	if s.m == nil {
		s.m = make(map[objstore.InodeID]objstore.Attr)
	}
	s.m[a.Inode] = *a
	s.n.Store(int64(len(s.m)))
}

// removed returns the attributes of a special file that has no name any more.
func (s *specials) removed(ino objstore.InodeID) (a objstore.Attr, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok = s.m[ino]
	a.Nlink = 0
	return a, ok
}

// forget is called when the kernel has dropped a file.
func (s *specials) forget(ino objstore.InodeID) {
	if s.n.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, ino)
	s.n.Store(int64(len(s.m)))
}
