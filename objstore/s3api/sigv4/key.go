package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// signingKey is the key that one secret gives for one day, region and service.
type signingKey [sha256.Size]byte

func mac(key []byte, data ...string) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	for _, d := range data {
		h.Write([]byte(d))
	}
	h.Sum(sum[:0])
	return sum
}

func deriveKey(secret []byte, date, region, service string) signingKey {
	first := append([]byte("AWS4"), secret...)
	defer clear(first)
	k := mac(first, date)
	k = mac(k[:], region)
	k = mac(k[:], service)
	return mac(k[:], terminator)
}

// maxCachedKeys bounds a keyCache.
const maxCachedKeys = 256

// keyCache saves deriving a key for each request. An entry is named by a digest
// of all that the key is derived from, the secret included: a changed secret
// never meets its predecessor's key, and there is nothing to invalidate.
type keyCache struct {
	mu   sync.RWMutex
	keys map[[sha256.Size]byte]signingKey // guarded by mu
}

// name is the digest of the length-prefixed parts.
func (*keyCache) name(secret []byte, date, region, service string) [sha256.Size]byte {
	b := make([]byte, 0, 192)
	for _, s := range [...]string{date, region, service} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = append(b, secret...)
	defer clear(b)
	return sha256.Sum256(b)
}

func (c *keyCache) get(name [sha256.Size]byte) (k signingKey, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k, ok = c.keys[name]
	return k, ok
}

// put is called only with keys that have verified a request, so that only who
// holds a secret can push out the keys of others.
func (c *keyCache) put(name [sha256.Size]byte, k signingKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		c.keys = make(map[[sha256.Size]byte]signingKey)
	}
	if len(c.keys) >= maxCachedKeys {
		for victim := range c.keys {
			delete(c.keys, victim)
			break
		}
	}
	c.keys[name] = k
}
