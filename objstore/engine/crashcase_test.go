package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/meta"
)

// What happens rarely, and changes much, crashes at each of its changes of the disk.

// crashCase is a sequence of steps, each durable when it returned, on a store that
// prepare has made.
type crashCase struct {
	t     *testing.T
	k     *stack
	root  objstore.InodeID
	clock *clock
	lazy  bool // what was not synced is lost, in the making of it too
	steps []func() error
	// check looks at what a crash has left: done steps had returned before it, begun
	// had begun. It may change what it looks at.
	check func(k *stack, done, begun int) error
}

// at crashes at each change of the disk, or at one in every, while the steps run.
func (c *crashCase) at(every int) {
	c.t.Helper()
	var mu sync.Mutex // one crash at a time; guards the fields below
	rnd := rand.New(rand.NewPCG(7, 7))
	n, crashes, done, begun, off := 0, 0, 0, 0, false
	crash := func() {
		if !mu.TryLock() {
			return
		}
		defer mu.Unlock()
		if n++; off || n%every != 0 {
			return
		}
		crashes++
		k := c.k.crash(rand.New(rand.NewPCG(rnd.Uint64(), 1)), []int{0, 50, 100}[rnd.IntN(3)])
		finished := make(chan error)
		go func() { finished <- c.look(k, done, begun) }() // the caller may be the store's
		if err := <-finished; err != nil {
			off = true
			c.t.Errorf("crash %d, after %d steps of %d: %v", crashes, done, begun, err)
		}
	}
	set := func(p *int, v int) {
		mu.Lock()
		defer mu.Unlock()
		*p = v
	}
	c.k.hook = func(_, name string) {
		if strings.HasPrefix(name, "/meta") {
			crash()
		}
	}
	c.k.disk.SetHook(func(datatest.Op) datatest.Fault {
		crash()
		return datatest.Fault{}
	})
	for i, step := range c.steps {
		set(&begun, i+1)
		err := step()
		if err == nil {
			err = c.k.s.durable(bg)
		}
		if err != nil {
			c.t.Errorf("step %d: %v", i, err)
			break
		}
		set(&done, i+1)
	}
	crash()
	mu.Lock()
	off = true
	mu.Unlock()
	if crashes < 3 {
		c.t.Errorf("%d crashes", crashes)
	}
	c.t.Logf("%d crashes at %d changes", crashes, n)
	c.k.disk.SetHook(nil)
}

func (c *crashCase) look(k *stack, done, begun int) error {
	if err := k.open(false); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer k.close()
	k.s.orphansLeft.Store(true) // the store's own reaper may have begun
	if err := k.s.reapAll(bg); err != nil {
		return fmt.Errorf("reap: %w", err)
	}
	if err := checkStore(k.s); err != nil {
		return err
	}
	if err := c.check(k, done, begun); err != nil {
		return err
	}
	g := newCollector()
	for range 3 {
		if err := k.s.collect(bg, g); err != nil {
			return fmt.Errorf("collect: %w", err)
		}
	}
	if err := k.s.reapAll(bg); err != nil {
		return fmt.Errorf("reap: %w", err)
	}
	return checkStore(k.s)
}

// everyChange is how many changes of the disk there are to a crash.
func everyChange(short int) int {
	if long {
		return 1
	}
	return short
}

// eagerKV makes each transaction durable by itself, unless lazy: a crash can come
// between any two.
type eagerKV struct {
	meta.Store
	lazy *bool
}

func (k eagerKV) Update(ctx context.Context, fn func(meta.Txn) error) error {
	err := k.Store.Update(ctx, fn)
	if err == nil && !*k.lazy {
		err = k.Sync(ctx)
	}
	return err
}

// newCrashCase makes a case on a store with a clock of its own, whose bucket keeps
// versions as is said.
func newCrashCase(t *testing.T, versioning objstore.Versioning) *crashCase {
	c := &crashCase{t: t, clock: new(clock)}
	c.clock.set("01T10:00:00")
	c.k, c.root = newStack(t, func(k *stack) {
		k.segment = 512 << 10
		k.options.Now = c.clock.now
		k.options.LifecycleInterval = -1
		k.wrapKV = func(s meta.Store) meta.Store { return eagerKV{s, &c.lazy} }
	})
	if versioning != objstore.VersioningOff {
		c.k.versioning(versioning)
	}
	return c
}
