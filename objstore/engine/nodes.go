package engine

import (
	"context"
	"sync"

	"github.com/cofferfs/coffer/objstore"
)

// nodeTable holds the inodes that are open. An inode that is being removed is
// marked dying meanwhile: whoever wants to open it waits, and then finds it gone
// or, when the removal failed, still there. So an inode is never removed under
// an open file, and never kept for nobody.
type nodeTable struct {
	mu   sync.Mutex // guards the fields below and node.refs
	open map[objstore.InodeID]*node
	// dying has what is closed when the mark is taken back, nil while nobody waits.
	dying map[objstore.InodeID]chan struct{}
}

func newNodeTable() *nodeTable {
	return &nodeTable{open: make(map[objstore.InodeID]*node), dying: make(map[objstore.InodeID]chan struct{})}
}

// acquire returns the node of an inode with one more reference, making it when
// it is not open. The caller checks that the inode exists, and releases.
func (t *nodeTable) acquire(ctx context.Context, s *Store, ino objstore.InodeID) (*node, error) {
	for {
		t.mu.Lock()
		wait, dying := t.dying[ino]
		if !dying {
			n := t.reference(s, ino)
			t.mu.Unlock()
			return n, nil
		}
		if wait == nil {
			wait = make(chan struct{})
			t.dying[ino] = wait
		}
		t.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, objstore.Wrap(objstore.KindCanceled, "open", "", ctx.Err())
		}
	}
}

// release drops a reference and reports whether it was the last one.
func (t *nodeTable) release(n *node) (last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.refs--; n.refs > 0 {
		return false
	}
	delete(t.open, n.ino)
	return true
}

// hold is acquire for whoever must not wait: nil when the inode is dying.
func (t *nodeTable) hold(s *Store, ino objstore.InodeID) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, dying := t.dying[ino]; dying {
		return nil
	}
	return t.reference(s, ino)
}

// reference returns the node of an inode with one more reference, making it when it is
// not open; mu is held.
func (t *nodeTable) reference(s *Store, ino objstore.InodeID) *node {
	n := t.open[ino]
	if n == nil {
		n = newNode(s, ino)
		t.open[ino] = n
	}
	n.refs++
	return n
}

// get returns the node of an open inode without a reference, or nil. What it
// says stays true for as long as the caller could have got it a moment earlier.
func (t *nodeTable) get(ino objstore.InodeID) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open[ino]
}

// retain returns the node of an open inode with one more reference, or nil.
func (t *nodeTable) retain(ino objstore.InodeID) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.open[ino]
	if n != nil {
		n.refs++
	}
	return n
}

// all returns every open node with one more reference each.
func (t *nodeTable) all() []*node {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*node, 0, len(t.open))
	for _, n := range t.open {
		n.refs++
		list = append(list, n)
	}
	return list
}

// markDying marks an inode that is not open and reports whether it could.
func (t *nodeTable) markDying(ino objstore.InodeID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, dying := t.dying[ino]; dying || t.open[ino] != nil {
		return false
	}
	t.dying[ino] = nil
	return true
}

func (t *nodeTable) unmarkDying(ino objstore.InodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.dying[ino]; c != nil {
		close(c)
	}
	delete(t.dying, ino)
}

// count returns the number of open inodes.
func (t *nodeTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}
