package engine

import (
	"sync"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// inodeCacheSize bounds the parsed inodes in memory; one takes about 700 bytes.
const inodeCacheSize = 8192

// inodeCache keeps inodes as committed, parsed. A hit saves a snapshot and a
// look-up in the metadata store, which is most of what stat costs.
//
// It is right because it knows when transactions run: each begins (start)
// before it reads and ends (end), with the inodes that it changed, before its
// caller learns that it committed. What was read from a snapshot is kept only
// when no transaction ran from before the snapshot to after the reading. A
// transaction reads from the cache only when it is the only one: then the cache
// is what is committed. This asks of the metadata driver that this process is
// the only one that writes.
//
// Records in the cache are never changed: who wants to takes a copy.
type inodeCache struct {
	mu      sync.Mutex // guards the fields below
	m       map[objstore.InodeID]*record.Inode
	started uint64 // transactions
	ended   uint64
}

func newInodeCache() *inodeCache {
	return &inodeCache{m: make(map[objstore.InodeID]*record.Inode)}
}

// get returns a copy of an inode.
func (c *inodeCache) get(ino objstore.InodeID) (*record.Inode, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.m[ino]
	if n == nil {
		return nil, false
	}
	dup := *n
	return &dup, true
}

// quiet returns a token for put: the state of affairs, 0 when a transaction runs.
func (c *inodeCache) quiet() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started != c.ended {
		return 0
	}
	return c.started + 1
}

// put keeps an inode that was read from a snapshot taken after token.
func (c *inodeCache) put(token uint64, ino objstore.InodeID, n *record.Inode) {
	if token == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started+1 != token || c.started != c.ended {
		return
	}
	c.keep(ino, n)
}

func (c *inodeCache) keep(ino objstore.InodeID, n *record.Inode) {
	if len(c.m) >= inodeCacheSize && c.m[ino] == nil {
		drop := inodeCacheSize / 8
		for other := range c.m { // in no order: as good as any when all are as old
			delete(c.m, other)
			if drop--; drop == 0 {
				break
			}
		}
	}
	dup := *n
	c.m[ino] = &dup
}

// start is called when a transaction begins to run. It returns a token for end,
// 0 when another transaction is under way: the cache may then lack what that one
// has committed, and must not be read from.
func (c *inodeCache) start() (token uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started++
	if c.started != c.ended+1 {
		return 0
	}
	return c.started
}

// end is called once for each start. changed are the inodes that were committed,
// nil for the removed ones; it is nil when nothing was. They are kept when no
// other transaction ran beside this one: ends may come in another order than
// the commits.
func (c *inodeCache) end(token uint64, changed map[objstore.InodeID]*record.Inode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended++
	for ino, n := range changed {
		if n == nil || token == 0 || c.started != token {
			delete(c.m, ino)
		} else {
			c.keep(ino, n)
		}
	}
}
