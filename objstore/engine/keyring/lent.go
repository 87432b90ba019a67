package keyring

import (
	"slices"
	"sync"

	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
)

// MaxLent bounds the keys lent to one mount: each costs a derivation whenever a
// file under a later one is opened.
const MaxLent = 64

// Lent are the customers' keys that were lent to mounts, which an origin names
// (objstore.Caller). The zero value is none.
type Lent struct {
	mu     sync.RWMutex // guards the keys too: held while one is used, and to wipe it
	mounts map[uint32][]*secret.Key
}

// Lend lends keys to a mount: all of them or, with an error, none. The keys are
// the ring's from then on. Lending one twice is the same as once. Error:
// KindInvalidArgument when the mount would have more than MaxLent.
func (l *Lent) Lend(origin uint32, keys ...*secret.Key) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	lent := slices.Clone(l.mounts[origin])
	had := len(lent)
	for i, key := range keys {
		if slices.IndexFunc(lent, key.Equal) >= 0 {
			key.Wipe()
			continue
		}
		if len(lent) == MaxLent {
			for _, k := range slices.Concat(lent[had:], keys[i:]) {
				k.Wipe()
			}
			return objstore.E(objstore.KindInvalidArgument, "lend key", "", "a mount is lent 64 keys at most")
		}
		lent = append(lent, key)
	}
	if l.mounts == nil {
		l.mounts = map[uint32][]*secret.Key{}
	}
	l.mounts[origin] = lent
	return nil
}

// Share lends the keys of one mount to another, too.
func (l *Lent) Share(from, to uint32) error {
	l.mu.RLock()
	var keys []*secret.Key
	for _, k := range l.mounts[from] {
		keys = append(keys, k.Clone())
	}
	l.mu.RUnlock()
	return l.Lend(to, keys...)
}

// Return takes a key back from a mount and wipes what was lent; key stays the
// caller's. It reports whether the mount had it.
func (l *Lent) Return(origin uint32, key *secret.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(origin, key)
	if i < 0 {
		return false
	}
	l.mounts[origin][i].Wipe()
	l.mounts[origin] = slices.Delete(l.mounts[origin], i, i+1)
	return true
}

// ReturnAll takes all keys back from a mount, and returns how many it had.
func (l *Lent) ReturnAll(origin uint32) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.mounts[origin])
	for _, k := range l.mounts[origin] {
		k.Wipe()
	}
	delete(l.mounts, origin)
	return n
}

// Try calls opens with the keys of a mount until one does or there is an error,
// and returns a copy of that one, which the caller wipes; nil when none does. opens
// must not keep the key, nor call l.
func (l *Lent) Try(origin uint32, opens func(*secret.Key) (bool, error)) (*secret.Key, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, k := range l.mounts[origin] {
		ok, err := opens(k)
		if err != nil {
			return nil, err
		}
		if ok {
			return k.Clone(), nil
		}
	}
	return nil, nil
}

// Count returns how many keys a mount has been lent.
func (l *Lent) Count(origin uint32) int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.mounts[origin])
}

// Has reports whether a mount has been lent a key.
func (l *Lent) Has(origin uint32, key *secret.Key) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.find(origin, key) >= 0
}

// AnyHas reports whether any mount has.
func (l *Lent) AnyHas(key *secret.Key) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for origin := range l.mounts {
		if l.find(origin, key) >= 0 {
			return true
		}
	}
	return false
}

// find returns the place of a key among those of a mount, or -1; mu is held.
func (l *Lent) find(origin uint32, key *secret.Key) int {
	return slices.IndexFunc(l.mounts[origin], key.Equal)
}

// Drop wipes all keys.
func (l *Lent) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, keys := range l.mounts {
		for _, k := range keys {
			k.Wipe()
		}
	}
	l.mounts = nil
}
