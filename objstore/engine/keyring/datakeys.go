package keyring

import (
	"sync"
	"time"

	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// Bounds of DataKeys: one per bucket and client context in use. A key is asked of
// the key service again after dataKeyTTL, which is how long an external key still
// works that was disabled without Forget.
const (
	maxDataKeys = 1024
	dataKeyTTL  = 5 * time.Minute
)

// DataKeys is a cache of unsealed data keys, by their records' ids. A key that
// leaves it may still be in use: its finaliser wipes it.
type DataKeys struct {
	now func() time.Time

	mu   sync.Mutex // guards the fields below
	keys map[record.DEKID]dataKey
	ids  map[Use]record.DEKID // of buckets' data keys; never changed but by Note
	era  Era
}

// Use names a data key of a bucket by what it is for: the hash is that of its
// external key, purpose and context.
type Use struct {
	Bucket objstore.InodeID // root directory
	Hash   [32]byte
}

// Era counts calls of Forget: what the key service said before one is not kept
// after it.
type Era uint64

type dataKey struct {
	key     *secret.Key
	ek      kms.KeyID
	expires time.Time
}

// NewDataKeys makes a cache with a clock.
func NewDataKeys(now func() time.Time) *DataKeys {
	return &DataKeys{now: now, keys: make(map[record.DEKID]dataKey), ids: make(map[Use]record.DEKID)}
}

// Get returns a key, or nil and what Put wants to know.
func (c *DataKeys) Get(id record.DEKID) (*secret.Key, Era) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.keys[id]
	if !ok || c.now().After(k.expires) {
		return nil, c.era
	}
	return k.key, c.era
}

// Put keeps k, a key under ek, or what another caller has put first, and
// returns it. A key from before the last Forget is not kept.
func (c *DataKeys) Put(id record.DEKID, ek kms.KeyID, k *secret.Key, era Era) *secret.Key {
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
	if len(c.keys) >= maxDataKeys {
		for other := range c.keys { // any: the order of a map is random
			delete(c.keys, other)
			break
		}
	}
	c.keys[id] = dataKey{k, ek, now.Add(dataKeyTTL)}
	return k
}

// Find returns the id of a bucket's data key, if it is known.
func (c *DataKeys) Find(u Use) (record.DEKID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, ok := c.ids[u]
	return id, ok
}

// Note keeps the id of a bucket's data key.
func (c *DataKeys) Note(u Use, id record.DEKID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ids) >= maxDataKeys {
		clear(c.ids)
	}
	c.ids[u] = id
}

// Forget drops the keys under ek, "" all of them. Requests under way may still
// use one.
func (c *DataKeys) Forget(ek kms.KeyID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.era++
	for id, k := range c.keys {
		if ek == "" || k.ek == ek {
			delete(c.keys, id)
		}
	}
}

// Drop empties the cache. Requests under way may still use a key: its finaliser
// wipes it.
func (c *DataKeys) Drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.keys)
	clear(c.ids)
}
