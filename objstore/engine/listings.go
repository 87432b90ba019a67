package engine

import (
	"slices"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// Bounds of the listings in the cache, in entries. One takes about 80 bytes.
const (
	listingsSize = 32 << 10
	listingMax   = 1024 // of one directory
	// listingCost is what a directory counts beside its entries.
	listingCost = 2
)

// listings keeps all entries of directories that were read as a whole lately, or
// made, as committed. Whoever removes a tree reads each directory two or three times, looks up
// every name, and asks in the end whether anything is left, over tombstones.
//
// It belongs to a cache and is guarded by its lock.
type listings struct {
	m    map[objstore.InodeID][]listed // in the order of stored names
	size int
}

// listed is an entry with its stored name.
type listed struct {
	stored string
	d      record.Dirent
}

func (l listed) compare(stored string) int { return strings.Compare(l.stored, stored) }

func (l *listings) put(dir objstore.InodeID, list []listed) {
	l.drop(dir)
	if len(list) > listingMax {
		return
	}
	for other := range l.m {
		if l.size+len(list)+listingCost <= listingsSize {
			break
		}
		l.drop(other)
	}
	l.m[dir] = list
	l.size += len(list) + listingCost
}

func (l *listings) drop(dir objstore.InodeID) {
	if list, ok := l.m[dir]; ok {
		l.size -= len(list) + listingCost
		delete(l.m, dir)
	}
}

// note takes over an entry that was set, or that it was removed.
func (l *listings) note(k entryKey, e cachedEntry) {
	list, ok := l.m[k.dir]
	if !ok {
		return
	}
	at, found := slices.BinarySearchFunc(list, k.stored, listed.compare)
	switch {
	case found && e.ok:
		list[at].d = e.d
	case found:
		l.m[k.dir] = slices.Delete(list, at, at+1)
		l.size--
	case e.ok && (len(list) == listingMax || l.size >= listingsSize):
		l.drop(k.dir)
	case e.ok:
		l.m[k.dir] = slices.Insert(list, at, listed{k.stored, e.d})
		l.size++
	}
}

// find returns an entry or its absence; known is false when it has no listing of
// the directory.
func (l *listings) find(k entryKey) (e cachedEntry, known bool) {
	list, ok := l.m[k.dir]
	if !ok {
		return e, false
	}
	if at, found := slices.BinarySearchFunc(list, k.stored, listed.compare); found {
		e = cachedEntry{list[at].d, true}
	}
	return e, true
}

// behind returns a copy of what is listed behind a stored name; with the empty one
// of all. known is false when it has no listing of the directory.
func (l *listings) behind(dir objstore.InodeID, after string) (list []listed, known bool) {
	list, known = l.m[dir]
	if after != "" {
		at, found := slices.BinarySearchFunc(list, after, listed.compare)
		if found {
			at++
		}
		list = list[at:]
	}
	return slices.Clone(list), known
}

// listing returns all entries of a directory behind a stored name, with the empty
// one from the beginning; known is false when the cache does not have them.
func (r reader) listing(dir objstore.InodeID, after string) (list []listed, known bool) {
	if r.cache == nil {
		return nil, false
	}
	if r.x != nil {
		for k := range r.x.done.entries {
			if k.dir == dir {
				return nil, false // this transaction has changed them
			}
		}
	}
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	if r.x == nil && !r.cache.still(r.token) {
		return nil, false
	}
	return r.cache.listings.behind(dir, after)
}

// putListing is put for all entries of a directory. The list is the cache's from
// then on.
func (c *cache) putListing(token uint64, dir objstore.InodeID, list []listed) {
	if token == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.still(token) {
		c.listings.put(dir, list)
	}
}
