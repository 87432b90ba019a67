package extent

import (
	"container/list"
	"sync"

	"github.com/cofferfs/coffer/objstore/record"
)

// keyCacheSize bounds the unsealed extent keys in memory: 4,096 keys open
// 16 GiB of extents of 4 MiB.
const keyCacheSize = 4096

// keyCache remembers extent keys that were unsealed under a chunk key, by
// extent: a reader who reached the extent through a map held the chunk's key.
// A key that is evicted may still be in use; its finaliser wipes it.
type keyCache struct {
	mu  sync.Mutex
	m   map[record.ExtentID]*list.Element
	lru *list.List // of *cachedKey, most recent first
}

type cachedKey struct {
	id  record.ExtentID
	key *Keys
}

func newKeyCache() *keyCache {
	return &keyCache{m: make(map[record.ExtentID]*list.Element), lru: list.New()}
}

func (c *keyCache) get(id record.ExtentID) *Keys {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.m[id]
	if e == nil {
		return nil
	}
	c.lru.MoveToFront(e)
	return e.Value.(*cachedKey).key
}

func (c *keyCache) put(id record.ExtentID, key *Keys) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m[id] != nil {
		return
	}
	c.m[id] = c.lru.PushFront(&cachedKey{id, key})
	if c.lru.Len() > keyCacheSize {
		e := c.lru.Back()
		c.lru.Remove(e)
		delete(c.m, e.Value.(*cachedKey).id)
	}
}

// forget drops all keys.
func (c *keyCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.m)
	c.lru.Init()
}

func (c *keyCache) drop(id record.ExtentID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.m[id]; e != nil {
		c.lru.Remove(e)
		delete(c.m, id)
	}
}
