package engine

import "sync"

// observers are functions of doors that the store calls.
type observers[F any] struct {
	mu   sync.RWMutex // guards the fields below; held while they are called
	fns  map[int]F
	next int
}

// add has fn called from now on, and not any more when remove returns.
func (o *observers[F]) add(fn F) (remove func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fns == nil {
		o.fns = make(map[int]F)
	}
	id := o.next
	o.next++
	o.fns[id] = fn
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.fns, id)
	}
}

// each has call call them all.
func (o *observers[F]) each(call func(fn F)) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, fn := range o.fns {
		call(fn)
	}
}
