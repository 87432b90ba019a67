package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/meta"
)

// A share run has several clients that copy, cut, append to, put together and remove
// what shares chunks, some of it with each other, beside reaper, collector and
// readers, while the disk and the metadata fail now and then: before what was asked
// for was done, halfway, or after it. Each client owns some names. What one holds
// after a failure is what it held before, or what it was to hold, and nothing else;
// a copy of what others own is one of the states that there were.

// shareRun is one such run.
type shareRun struct {
	t    tester
	k    *stack
	root objstore.InodeID
	seed uint64

	mu     sync.Mutex // guards the fields below
	rnd    *rand.Rand // of failures
	rate   int        // one in so many operations of the layers below fails; 0: none
	states map[string][]*sparse
	failed int
}

// fault decides whether one operation fails, and with which of n effects.
func (r *shareRun) fault(n int) (effect int, fails bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rate == 0 || r.rnd.IntN(r.rate) != 0 {
		return 0, false
	}
	r.failed++
	return r.rnd.IntN(n), true
}

func (r *shareRun) setRate(rate int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rate = rate
}

// note keeps a state that a name may have from now on.
func (r *shareRun) note(name string, m *sparse) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[name] = append(r.states[name], m)
}

func (r *shareRun) had(name string) []*sparse {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.states[name]
	return list[:len(list):len(list)]
}

// all returns the states of all names.
func (r *shareRun) all() (list []*sparse) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, states := range r.states {
		list = append(list, states...)
	}
	return list
}

// unsureKV fails Updates at random.
type unsureKV struct {
	meta.Store
	r *shareRun
}

func (u *unsureKV) Update(ctx context.Context, fn func(meta.Txn) error) error {
	effect, fails := u.r.fault(3)
	if fails && effect == 0 {
		return meta.ErrNoSpace
	}
	err := u.Store.Update(ctx, func(t meta.Txn) error {
		err := fn(t)
		if err == nil && fails && effect == 1 {
			return errFault
		}
		return err
	})
	if err == nil && fails {
		return errFault
	}
	return err
}

func TestSharedChunksBesideCollectorAndFailures(t *testing.T) {
	runs, changes := 3, 10
	if long {
		runs, changes = 300, 25
	}
	met := make(map[string]int)
	for i := range runs {
		seed := uint64(i)
		if long {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { shareOnce(t, seed, i, changes, met) })
		if t.Failed() {
			break
		}
	}
	t.Log(met)
	for _, what := range []string{"put", "remove", "copy", "append", "upload", "write", "range", "punch", "truncate", "failed"} {
		if met[what] == 0 && !t.Failed() {
			t.Errorf("no history has met %q", what)
		}
	}
}

func shareOnce(t *testing.T, seed uint64, i, changes int, met map[string]int) {
	r := &shareRun{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 7)), states: make(map[string][]*sparse)}
	r.k, r.root = newStack(t, func(k *stack) {
		k.segment = 1 << 20
		k.wrap = func(d data.Store) data.Store {
			return datatest.NewFaults(d, func(call datatest.Call) (f datatest.Fault) {
				if call.Op != "append" && call.Op != "remove" {
					return f
				}
				if effect, fails := r.fault(3); fails {
					f.Err, f.Effect = data.ErrNoSpace, datatest.Effect(effect)
				}
				return f
			})
		}
		k.wrapKV = func(s meta.Store) meta.Store { return &unsureKV{s, r} }
	})
	s := r.k.s
	s.ingestStep, s.shareStep = 1, 1
	mode := [...]objstore.SSEMode{objstore.SSES3, objstore.SSES3, objstore.SSEKMS, objstore.SSEDSSE}[i%4]
	if err := s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: mode}); err != nil {
		t.Fatal(err)
	}
	for j, name := range shareBases {
		m := newSparse()
		f := fileAt(t, s, r.root, name)
		for _, off := range []int64{0, 10 << 20, 64<<20 - 200_000, 100 << 20, 128<<20 - 50_000} {
			p := bytesOf(seed+uint64(j), 150_000)
			mustWrite(t, f, p, off)
			m.put(p, off)
		}
		if err := f.Close(bg); err != nil {
			t.Fatal(err)
		}
		r.note(name, m)
	}
	r.setRate([...]int{0, 40, 15, 8}[i%4])
	stop := make(chan struct{})
	var background, clients sync.WaitGroup
	loop := func(do func(n int) error) {
		background.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := do(n); err != nil && !allowed(err) {
					t.Error(err)
					return
				}
			}
		})
	}
	g := newCollector()
	loop(func(int) error { return errors.Join(s.reapAll(bg), s.collect(bg, g)) })
	loop(func(n int) error {
		name := fmt.Sprintf("n%d", n%6)
		_, _, err := get(s, objstore.GetRequest{Key: name, Range: &objstore.Range{First: 0, Last: 1 << 20}})
		if objstore.IsKind(err, objstore.KindNotFound) || objstore.IsKind(err, objstore.KindInvalidRange) {
			return nil
		}
		return err
	})
	var broken atomic.Bool
	var list []*shareClient
	for id := range 3 {
		c := &shareClient{
			r: r, rnd: rand.New(rand.NewPCG(seed, uint64(id))), names: []string{fmt.Sprintf("n%d", 2*id), fmt.Sprintf("n%d", 2*id+1)},
			now: make(map[string]*sparse), met: make(map[string]int),
		}
		for _, name := range c.names {
			r.note(name, nil)
		}
		list = append(list, c)
		clients.Go(func() {
			if err := c.run(changes); err != nil && !broken.Swap(true) {
				t.Errorf("seed %d: %v", seed, err)
			}
		})
	}
	clients.Wait()
	close(stop)
	background.Wait()
	r.setRate(0)
	if t.Failed() {
		return
	}
	for _, c := range list {
		for what, n := range c.met {
			met[what] += n
		}
		for _, name := range c.names {
			if _, err := c.holds(name, []*sparse{c.now[name]}); err != nil {
				t.Errorf("in the end %s: %v", name, err)
			}
		}
	}
	uploads, err := s.ListUploads(bg, s3C, objstore.ListUploadsRequest{Bucket: "bucket", Max: 1000})
	if err != nil {
		t.Error(err)
	}
	for _, u := range uploads.Uploads {
		if err := s.AbortUpload(bg, s3C, "bucket", u.Key, u.ID); err != nil {
			t.Error(err)
		}
	}
	for _, name := range shareBases {
		if _, err := list[0].holds(name, r.had(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.reapAll(bg); err != nil {
		t.Error(err)
	}
	if err := checkStore(s); err != nil {
		t.Error(err)
	}
	if n := s.buffered.Load(); n != 0 {
		t.Errorf("%d bytes are still accounted for", n)
	}
	if n := s.corruptions.Load(); n != 0 {
		t.Errorf("%d corruptions", n)
	}
	// All of it can be removed, and nothing is left.
	for name := range r.states {
		if _, err := s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: name}); err != nil {
			t.Error(err)
		}
	}
	if err := s.reapAll(bg); err != nil {
		t.Error(err)
	}
	countRecords(t, s, map[byte]int{'e': 0, 'E': 0, 'k': 0, 'K': 0, 'c': 0, 'm': 0, 'D': 0, 'P': 0, 'p': 0, 'u': 0, 's': 0, 'o': 0, 'g': 0})
	fillSegment(t, r.k)
	for range 3 {
		if err := s.collect(bg, g); err != nil {
			t.Error(err)
		}
	}
	if n := r.k.unused(); n != 0 {
		t.Errorf("%d segments are left that nothing points to", n)
	}
}
