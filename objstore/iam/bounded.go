package iam

import "sync"

// bounded is a map of a bounded number of entries: a new one pushes out any other. Its
// lock is a leaf.
type bounded[K comparable, V any] struct {
	max int

	mu sync.RWMutex
	m  map[K]V // guarded by mu
}

// get returns the zero value for what is not there.
func (b *bounded[K, V]) get(k K) V {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.m[k]
}

func (b *bounded[K, V]) put(k K, v V) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.m[k]; !ok && len(b.m) >= b.max {
		for victim := range b.m {
			delete(b.m, victim)
			break
		}
	}
	if b.m == nil {
		b.m = make(map[K]V)
	}
	b.m[k] = v
}
