package engine

import (
	"sync"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// Bounds of the cache. An inode takes about 700 bytes, an entry about 150, a
// bucket's record about 50.
const (
	inodeCacheSize  = 16 << 10
	entryCacheSize  = 32 << 10
	bucketCacheSize = 1 << 10
	configCacheSize = 8 << 20 // bytes of configuration documents
)

// cache keeps inodes, directory entries and buckets' records as committed,
// parsed, and the absence of entries: the kernel looks a name up right before it
// makes it. A hit saves a snapshot and a look-up in the metadata store, which is
// most of what stat costs.
//
// It is right because it knows when transactions run: each begins (start)
// before it reads and ends (end), with what it changed, before its caller learns
// that it committed. What was read from a snapshot is kept only when no
// transaction ran from before the snapshot to after the reading. This asks of
// the metadata driver that this process is the only one that writes.
//
// A record that is read from it is as it was committed at some moment within the call.
// Several records fit together only if no other transaction runs while they are read.
// So two may read more than one: a transaction that is the only one, and a view, until a
// transaction begins after the view took its token, which it does before its snapshot.
// For both, the cache holds what is committed, and what the snapshot has.
//
// Records in the cache are never changed: whoever wants to change one takes a copy.
type cache struct {
	mu      sync.Mutex                         // guards the fields below
	m       map[objstore.InodeID]*record.Inode // nil: removed; numbers are never reused
	entries map[entryKey]cachedEntry
	// listings has whole directories; entries, which may have the same, goes first.
	listings listings
	buckets  map[objstore.InodeID]record.Bucket // by root directory
	// configs are configuration documents, by root directory; configBytes is their size.
	configs     map[objstore.InodeID]map[objstore.ConfigName][]byte
	configBytes int
	started     uint64 // transactions
	ended       uint64
}

// entryKey names an entry by its stored name.
type entryKey struct {
	dir    objstore.InodeID
	stored string
}

// cachedEntry is an entry, or its absence.
type cachedEntry struct {
	d  record.Dirent
	ok bool
}

// changes are what a transaction committed: nil inodes were removed. The buckets
// are those whose records, or configuration documents, were set or deleted.
type changes struct {
	inodes  map[objstore.InodeID]*record.Inode
	entries map[entryKey]cachedEntry
	buckets map[objstore.InodeID]bool
	// made are new directories, which are empty but for the entries above.
	made []objstore.InodeID
	// read are buckets' records that the transaction read and did not change.
	read map[objstore.InodeID]record.Bucket
}

func (c *changes) clear() {
	clear(c.inodes)
	clear(c.entries)
	clear(c.buckets)
	clear(c.read)
	c.made = c.made[:0]
}

// noteBucket notes a bucket's record that was read.
func (c *changes) noteBucket(root objstore.InodeID, b record.Bucket) {
	if c.read == nil {
		c.read = make(map[objstore.InodeID]record.Bucket)
	}
	c.read[root] = b
}

func newCache() *cache {
	return &cache{
		m:        make(map[objstore.InodeID]*record.Inode),
		entries:  make(map[entryKey]cachedEntry),
		listings: listings{m: make(map[objstore.InodeID][]listed)},
		buckets:  make(map[objstore.InodeID]record.Bucket),
		configs:  make(map[objstore.InodeID]map[objstore.ConfigName][]byte),
	}
}

// get returns a copy of an inode.
func (c *cache) get(ino objstore.InodeID) (*record.Inode, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.m[ino]
	if n == nil {
		return nil, false
	}
	dup := *n
	return &dup, true
}

// inode returns a copy of an inode, nil for one that is known to be gone: the kernel
// still hands over the times of files that were removed.
func (c *cache) inode(ino objstore.InodeID) (n *record.Inode, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, known = c.m[ino]; n != nil {
		dup := *n
		n = &dup
	}
	return n, known
}

// entry returns an entry or its absence; known is false when it has neither.
func (c *cache) entry(k entryKey) (e cachedEntry, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lockedEntry(k)
}

// lockedEntry is entry; mu is held.
func (c *cache) lockedEntry(k entryKey) (e cachedEntry, known bool) {
	if e, known = c.entries[k]; known {
		return e, true
	}
	return c.listings.find(k)
}

// bucket returns a bucket's record.
func (c *cache) bucket(root objstore.InodeID) (b record.Bucket, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, ok = c.buckets[root]
	return b, ok
}

// bucketAt is bucket for a view whose token is token.
func (c *cache) bucketAt(token uint64, root objstore.InodeID) (b record.Bucket, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.still(token) {
		b, known = c.buckets[root]
	}
	return b, known
}

// inodeAt returns a copy of an inode, nil when it was removed, for a view whose
// token is token.
func (c *cache) inodeAt(token uint64, ino objstore.InodeID) (n *record.Inode, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.still(token) {
		return nil, false
	}
	if n, known = c.m[ino]; n != nil {
		dup := *n
		n = &dup
	}
	return n, known
}

// entryAt is entry for a view whose token is token.
func (c *cache) entryAt(token uint64, k entryKey) (e cachedEntry, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.still(token) {
		e, known = c.lockedEntry(k)
	}
	return e, known
}

// still reports whether no transaction has begun since quiet gave out token; mu
// is held.
func (c *cache) still(token uint64) bool {
	return token != 0 && c.started+1 == token && c.started == c.ended
}

// quiet returns a token for put: the state of affairs, 0 when a transaction runs.
func (c *cache) quiet() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started != c.ended {
		return 0
	}
	return c.started + 1
}

// put keeps an inode that was read from a snapshot taken after token.
func (c *cache) put(token uint64, ino objstore.InodeID, n *record.Inode) {
	if token == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.still(token) {
		dup := *n
		c.keep(ino, &dup)
	}
}

// putEntry is put for an entry.
func (c *cache) putEntry(token uint64, k entryKey, e cachedEntry) {
	if token == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.still(token) {
		c.keepEntry(k, e)
	}
}

// putEntries is putEntry for entries of one directory by their stored names.
func (c *cache) putEntries(token uint64, dir objstore.InodeID, list map[string]cachedEntry) {
	if token == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.still(token) {
		return
	}
	for stored, e := range list {
		c.keepEntry(entryKey{dir, stored}, e)
	}
}

// putBucket is put for a bucket's record.
func (c *cache) putBucket(token uint64, root objstore.InodeID, b record.Bucket) {
	if token == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.still(token) {
		return
	}
	c.keepBucket(root, b)
}

func (c *cache) keepBucket(root objstore.InodeID, b record.Bucket) {
	if len(c.buckets) >= bucketCacheSize {
		dropSome(c.buckets, bucketCacheSize/8)
	}
	c.buckets[root] = b
}

// config returns a configuration document.
func (c *cache) config(root objstore.InodeID, name objstore.ConfigName) (doc []byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	doc, ok = c.configs[root][name]
	return doc, ok
}

// putConfig is put for a configuration document.
func (c *cache) putConfig(token uint64, root objstore.InodeID, name objstore.ConfigName, doc []byte) {
	if token == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.still(token) {
		return
	}
	for other := range c.configs {
		if c.configBytes+len(doc) <= configCacheSize {
			break
		}
		c.dropConfigs(other)
	}
	if c.configs[root] == nil {
		c.configs[root] = make(map[objstore.ConfigName][]byte)
	}
	c.configBytes += len(doc) - len(c.configs[root][name])
	c.configs[root][name] = doc
}

// forgetConfigs forgets a bucket's documents before a transaction that may change
// them commits: whoever has read the new ones is not to find the old ones here.
func (c *cache) forgetConfigs(root objstore.InodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropConfigs(root)
}

// dropConfigs forgets a bucket's documents; mu is held.
func (c *cache) dropConfigs(root objstore.InodeID) {
	for _, doc := range c.configs[root] {
		c.configBytes -= len(doc)
	}
	delete(c.configs, root)
}

func (c *cache) keepEntry(k entryKey, e cachedEntry) {
	if _, ok := c.entries[k]; !ok && len(c.entries) >= entryCacheSize {
		dropSome(c.entries, entryCacheSize/8)
	}
	c.entries[k] = e
}

// dropSome removes n entries, any: a map has no order.
func dropSome[K comparable, V any](m map[K]V, n int) {
	for k := range m {
		if n--; n < 0 {
			return
		}
		delete(m, k)
	}
}

// keep keeps an inode, which is the cache's from then on; mu is held.
func (c *cache) keep(ino objstore.InodeID, n *record.Inode) {
	if _, ok := c.m[ino]; !ok && len(c.m) >= inodeCacheSize {
		dropSome(c.m, inodeCacheSize/8)
	}
	c.m[ino] = n
}

// start is called when a transaction begins to run. It returns a token for end,
// 0 when another transaction is under way: the cache may then lack what that one
// has committed, and must not be read from.
func (c *cache) start() (token uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started++
	if c.started != c.ended+1 {
		return 0
	}
	return c.started
}

// end is called once for each start, with what was committed, nothing when
// nothing was. It is kept when no other transaction ran beside this one: ends
// may come in another order than the commits. Otherwise it is forgotten.
func (c *cache) end(token uint64, done changes) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended++
	alone := token != 0 && c.started == token
	if alone {
		for _, dir := range done.made {
			c.listings.put(dir, nil)
		}
	}
	for ino, n := range done.inodes {
		if alone {
			c.keep(ino, n)
		} else {
			delete(c.m, ino)
		}
		if n == nil {
			c.listings.drop(ino)
		}
	}
	for k, e := range done.entries {
		if alone {
			c.keepEntry(k, e)
			c.listings.note(k, e)
		} else {
			delete(c.entries, k)
			c.listings.drop(k.dir)
		}
	}
	for root := range done.buckets { // they change seldom
		delete(c.buckets, root)
		c.dropConfigs(root)
	}
	if alone {
		for root, b := range done.read {
			if !done.buckets[root] {
				c.keepBucket(root, b)
			}
		}
	}
}
