package fs

import (
	"sync"

	"github.com/cofferfs/coffer/objstore"
)

// When a kernel renames a file it moves the file that it knows by the old name, and the
// store moves the one that has that name. If another door has just replaced the file,
// these are two, and the notice of the replacement comes when the old name is gone: the
// kernel would go on to show the replaced file by the new name. So the last renames are
// remembered, and a notice about a name is followed by one about the name that its inode
// was moved to.
//
// The notice waits for the lock of the directory, which the kernel holds during a
// rename: what was renamed before is remembered by the time it returns, and what is
// renamed after it was looked up anew.

// maxMoves bounds the renames that are remembered: far more than programs do while a
// change is on its way to the kernel.
const maxMoves = 256

type moves struct {
	mu   sync.Mutex // guards the fields below
	next uint64
	last [maxMoves]moved // number i at i % maxMoves
}

// entryName is the place of an entry of a directory.
type entryName struct {
	dir  objstore.InodeID
	name string
}

// moved is one rename: what inode the store moved.
type moved struct {
	ino      objstore.InodeID
	from, to entryName
}

// remember notes a rename that the store has done and the kernel has not.
func (f *FS) remember(from, to entryName) {
	a, err := f.store.Lookup(f.ctx(), to.dir, to.name)
	if err != nil {
		return // gone again, of which the kernel is told
	}
	m := &f.moves
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last[m.next%maxMoves] = moved{a.Inode, from, to}
	m.next++
}

// follow tells the kernel to look up anew the name that an inode was moved to from a name
// that it was told of, the name that it was moved to from there, and so on.
func (f *FS) follow(ino objstore.InodeID, from entryName) {
	for at := uint64(0); ; {
		to, next, ok := f.moves.find(ino, from, at)
		if !ok {
			return
		}
		if node, ok := f.node(to.dir); ok {
			f.notice("moved", f.server.EntryNotify(node, to.name))
		}
		from, at = to, next
	}
}

// find returns where an inode was moved from a name, and the number behind that
// rename, of those from number at on.
func (m *moves) find(ino objstore.InodeID, from entryName, at uint64) (to entryName, next uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next > maxMoves {
		at = max(at, m.next-maxMoves)
	}
	for ; at < m.next; at++ {
		if r := &m.last[at%maxMoves]; r.ino == ino && r.from == from {
			return r.to, at + 1, true
		}
	}
	return to, 0, false
}
