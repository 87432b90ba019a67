package fs

import (
	"fmt"
	"slices"
	"sync"

	"github.com/cofferfs/coffer/objstore"
)

// maxLosses bounds the files that losses remembers; it counts the others.
const maxLosses = 1000

// losses are the files that have lost something which this kernel had written to them,
// and whose programs have not been told yet. The kernel does not tell everybody: a
// syncfs for another file's sake may have had the answer.
type losses struct {
	mu sync.Mutex // guards the fields below
	// files: true, if the kernel was answered so of the last loss. It fails the next
	// fsync of the file then, before it asks us for one.
	files map[objstore.InodeID]bool
	more  int
}

func (l *losses) add(ino objstore.InodeID, answered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.files[ino]; !ok && len(l.files) == maxLosses {
		l.more++
		return
	}
	if l.files == nil {
		l.files = make(map[objstore.InodeID]bool)
	}
	l.files[ino] = answered
}

// told notes that a program's close or fsync has come, and what it was answered.
func (l *losses) told(ino objstore.InodeID, synced bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if answered, ok := l.files[ino]; ok && (err != nil || synced && answered) {
		delete(l.files, ino)
	}
}

// TakeLosses returns the files that have lost something written to them through this
// mount, of which no program was told by its close or fsync: as paths from the root of
// all buckets, each once. Those that are there no more are left out.
func (m *Mounted) TakeLosses() []string {
	l := &m.fs.losses
	l.mu.Lock()
	files, more := l.files, l.more
	l.files, l.more = nil, 0
	l.mu.Unlock()
	var paths []string
	for ino := range files {
		a, err := m.fs.store.GetAttr(m.fs.ctx(), ino)
		if objstore.IsKind(err, objstore.KindStale) || err == nil && a.Nlink == 0 {
			continue
		}
		path, ok := m.fs.store.PathOf(m.fs.ctx(), ino)
		if !ok {
			path = fmt.Sprintf("inode %d", ino)
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	if more > 0 {
		paths = append(paths, fmt.Sprintf("%d more", more))
	}
	return paths
}
