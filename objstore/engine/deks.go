package engine

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// Bounds of the cache of unsealed data keys: one per bucket and client context
// in use. A key is asked of the key service again after dekTTL, which is how
// long an external key still works that was disabled without ForgetKeys.
const (
	dekCacheSize = 1024
	dekTTL       = 5 * time.Minute
)

// dekCache keeps unsealed data keys. A key that leaves it may still be in use:
// its finaliser wipes it.
type dekCache struct {
	now func() time.Time

	mu   sync.Mutex // guards the fields below
	keys map[record.DEKID]cachedDEK
	ids  map[dekOf]record.DEKID // of buckets' data keys; never changed but by note
	era  dekEra
}

// dekOf names a data key of a bucket by what it is for (see dekHash).
type dekOf struct {
	root objstore.InodeID
	hash [32]byte
}

// dekEra counts calls of forget: what the key service said before one is not
// kept after it.
type dekEra uint64

type cachedDEK struct {
	key     *secret.Key
	ek      kms.KeyID
	expires time.Time
}

func newDEKCache(now func() time.Time) *dekCache {
	return &dekCache{now: now, keys: make(map[record.DEKID]cachedDEK), ids: make(map[dekOf]record.DEKID)}
}

// get returns a key, or nil and what put wants to know.
func (c *dekCache) get(id record.DEKID) (*secret.Key, dekEra) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.keys[id]
	if !ok || c.now().After(k.expires) {
		return nil, c.era
	}
	return k.key, c.era
}

// put keeps k, a key under ek, or what another caller has put first, and
// returns it. A key from before the last forget is not kept.
func (c *dekCache) put(id record.DEKID, ek kms.KeyID, k *secret.Key, era dekEra) *secret.Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	if era != c.era {
		return k
	}
	now := c.now()
	if have, ok := c.keys[id]; ok && !now.After(have.expires) {
		k.Wipe()
		return have.key
	}
	if len(c.keys) >= dekCacheSize {
		for other := range c.keys { // any: the order of a map is random
			delete(c.keys, other)
			break
		}
	}
	c.keys[id] = cachedDEK{k, ek, now.Add(dekTTL)}
	return k
}

// find returns the id of a bucket's data key, if it is known.
func (c *dekCache) find(of dekOf) (record.DEKID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, ok := c.ids[of]
	return id, ok
}

// note keeps the id of a bucket's data key.
func (c *dekCache) note(of dekOf, id record.DEKID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ids) >= dekCacheSize {
		clear(c.ids)
	}
	c.ids[of] = id
}

// forget drops the keys under ek, "" all of them. Requests under way may still
// use one.
func (c *dekCache) forget(ek kms.KeyID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	for id, k := range c.keys {
		if ek == "" || k.ek == ek {
			delete(c.keys, id)
		}
	}
}

// drop empties the cache. Requests under way may still use a key: its finaliser
// wipes it.
func (c *dekCache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.keys)
	clear(c.ids)
}

func newDEKID() record.DEKID {
	var b [8]byte
	for {
		rand.Read(b[:])
		if id := record.DEKID(binary.BigEndian.Uint64(b[:])); id != 0 {
			return id
		}
	}
}
