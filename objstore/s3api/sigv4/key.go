package sigv4

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// signingKey is the key that one secret gives for one day, region and service.
type signingKey [sha256.Size]byte

// mac is HMAC-SHA256 (RFC 2104). It is written out since each request needs one,
// for which crypto/hmac takes seven pieces of memory. TestMACIsHMAC holds the two
// together.
func mac[T string | []byte](key []byte, data T) (sum [sha256.Size]byte) {
	var stack [sha256.BlockSize + 384]byte // longer data come to stand elsewhere
	if len(key) > sha256.BlockSize {
		sum = sha256.Sum256(key)
		key = sum[:]
	}
	b := stack[:sha256.BlockSize]
	copy(b, key)
	for i := range b {
		b[i] ^= 0x36
	}
	inner := sha256.Sum256(append(b, data...))
	for i := range b {
		b[i] ^= 0x36 ^ 0x5c
	}
	sum = sha256.Sum256(append(b, inner[:]...))
	clear(stack[:sha256.BlockSize])
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
