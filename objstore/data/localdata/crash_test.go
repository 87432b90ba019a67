package localdata_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/data/localdata"
	"pgregory.net/rapid"
)

// run is an append that was made, as the model knows it.
type run struct {
	l      data.Location
	seed   uint64
	synced bool
}

func (r run) bytes() []byte { return datatest.Bytes(r.seed, int(r.l.Length)) }

// check opens what a crash left and reads every run that had been synced.
func checkAfterCrash(t testing.TB, fs *datatest.CrashFS, opt localdata.Options, runs []run) error {
	opt.FS = fs
	before := fs.Ops()
	s, err := localdata.Open(t.Context(), opt)
	if err != nil {
		return err
	}
	defer s.Close()
	sealed := make(map[data.SegmentID]data.SegmentInfo)
	for info, err := range s.Segments(t.Context()) {
		if err != nil {
			return err
		}
		if !info.Sealed {
			return fmt.Errorf("segment %v of an earlier process is not sealed", info.ID)
		}
		sealed[info.ID] = info
	}
	for _, r := range runs {
		if !r.synced {
			// Whatever it is, it is no panic and nothing else is disturbed.
			s.ReadAt(t.Context(), r.l, make([]byte, r.l.Length), 0)
			continue
		}
		if err := datatest.Check(t.Context(), s, r.l, r.bytes()); err != nil {
			return fmt.Errorf("a synced run is lost: %w", err)
		}
		if end := r.l.Offset + uint64(r.l.Length); end > sealed[r.l.Segment].Size {
			return fmt.Errorf("run %v ends beyond %+v", r.l, sealed[r.l.Segment])
		}
	}
	if fs.Ops() != before {
		return errors.New("opening and reading changed the directory")
	}
	return nil
}

// TestSyncedRunsSurviveCrashes runs random operations against a model and
// crashes at random places.
func TestSyncedRunsSurviveCrashes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		opt := localdata.Options{
			SegmentBytes: rapid.SampledFrom([]int64{0, 64 << 10, 1 << 20, 3 << 20}).Draw(rt, "segment"),
			OpenFiles:    rapid.SampledFrom([]int{1, 3, 0}).Draw(rt, "open files"),
			KeepRoom:     rapid.Bool().Draw(rt, "keep room"),
		}
		fs := datatest.NewCrashFS(nil)
		open := func() *localdata.Store {
			opt.FS = fs
			s, err := localdata.Open(t.Context(), opt)
			if err != nil {
				rt.Fatal(err)
			}
			return s
		}
		s := open()
		defer func() { s.Close() }()
		var runs []run
		for i := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"append", "append", "append", "sync", "read", "crash", "check", "reopen", "remove"}).Draw(rt, "op") {
			case "append":
				n := rapid.SampledFrom([]int{1, 100, 4095, 4096, 4097, 9000, 70_000, 1<<20 - 4096, 1 << 20, 1<<21 + 5}).Draw(rt, "n")
				r := run{seed: uint64(i)}
				var err error
				if r.l, err = s.Append(t.Context(), datatest.Bytes(r.seed, n)); err != nil {
					rt.Fatal(err)
				}
				runs = append(runs, r)
			case "sync":
				if err := s.Sync(t.Context()); err != nil {
					rt.Fatal(err)
				}
				for j := range runs {
					runs[j].synced = true
				}
			case "read":
				if len(runs) == 0 {
					continue
				}
				r := rapid.SampledFrom(runs).Draw(rt, "run")
				if err := datatest.Check(t.Context(), s, r.l, r.bytes()); err != nil {
					rt.Fatal(err)
				}
			case "check":
				if err := checkAfterCrash(t, fs.Clone(drawRand(rt)), opt, runs); err != nil {
					rt.Fatal(err)
				}
			case "crash":
				clone := fs.Clone(drawRand(rt))
				s.Close()
				fs = clone
				if err := checkAfterCrash(t, fs, opt, runs); err != nil {
					rt.Fatal(err)
				}
				kept := runs[:0]
				for _, r := range runs {
					if r.synced {
						kept = append(kept, r)
					}
				}
				runs = kept
				s = open()
			case "reopen":
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				for j := range runs {
					runs[j].synced = true
				}
				if n := fs.Opened(); n != 0 {
					rt.Fatalf("%d files are open after Close", n)
				}
				s = open()
			case "remove":
				if len(runs) == 0 {
					continue
				}
				id := rapid.SampledFrom(runs).Draw(rt, "run").l.Segment
				if err := s.Remove(t.Context(), id); errors.Is(err, data.ErrNotSealed) {
					continue
				} else if err != nil {
					rt.Fatal(err)
				}
				kept := runs[:0]
				for _, r := range runs {
					if r.l.Segment != id {
						kept = append(kept, r)
					}
				}
				runs = kept
			}
		}
		for _, v := range fs.Violations() {
			rt.Error(v)
		}
	})
}

// drawRand returns a source for a crash, or nil for the crash that keeps
// nothing but what was synced.
func drawRand(rt *rapid.T) *rand.Rand {
	seed := rapid.Uint64Range(0, 1000).Draw(rt, "crash")
	if seed < 300 {
		return nil
	}
	return rand.New(rand.NewPCG(seed, 0))
}

// TestCrashAtEveryWritePoint crashes before every change of the directory
// while several writers run, and checks what they had been promised by then.
func TestCrashAtEveryWritePoint(t *testing.T) {
	rounds := uint64(2)
	if os.Getenv("COFFER_LONG") != "" {
		rounds = 50
	}
	for round := range rounds {
		opt := localdata.Options{SegmentBytes: 200_000, OpenFiles: 2}
		fs := datatest.NewCrashFS(nil)
		var mu sync.Mutex
		var promised []run
		rng := rand.New(rand.NewPCG(round, 1)) // guarded by mu
		fs.SetHook(func(op datatest.Op) datatest.Fault {
			mu.Lock()
			defer mu.Unlock()
			for _, r := range []*rand.Rand{nil, rng} {
				// Cloned after promised was read: nothing is promised meanwhile.
				if err := checkAfterCrash(t, fs.Clone(r), opt, promised); err != nil {
					t.Errorf("crash before %+v: %v", op, err)
				}
			}
			return datatest.Fault{}
		})
		o := opt
		o.FS = fs
		s := open(t, o)
		var wg sync.WaitGroup
		for w := range uint64(4) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(round, w+10))
				var mine []run
				for i := range uint64(25) {
					x := run{seed: w<<32 | i}
					var err error
					if x.l, err = s.Append(t.Context(), datatest.Bytes(x.seed, 1+r.IntN(1<<(5+r.IntN(12))))); err != nil {
						t.Error(err)
						return
					}
					x.synced = true
					mine = append(mine, x)
					if r.IntN(3) > 0 {
						continue
					}
					if err := s.Sync(t.Context()); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					promised = append(promised, mine...)
					mu.Unlock()
					mine = nil
				}
			})
		}
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		fs.SetHook(nil)
		if err := checkAfterCrash(t, fs.Clone(nil), opt, promised); err != nil {
			t.Fatal(err)
		}
		for _, v := range fs.Violations() {
			t.Error(v)
		}
	}
}

// TestAppendDuringABarrierNeedsTheNext: what is appended while a barrier is
// under way is not covered by it, and is made durable by the next, although
// nothing was appended in between.
func TestAppendDuringABarrierNeedsTheNext(t *testing.T) {
	for _, segment := range []int64{0, 8192} { // 8192: the second append rotates
		synctest.Test(t, func(t *testing.T) {
			fs := datatest.NewCrashFS(nil)
			s := open(t, localdata.Options{FS: fs, SegmentBytes: segment})
			gate := make(chan struct{})
			fs.SetHook(func(op datatest.Op) datatest.Fault {
				if op.Kind == "sync" {
					return datatest.Fault{Wait: gate}
				}
				return datatest.Fault{}
			})
			var runs []run
			add := func() {
				r := run{seed: uint64(len(runs)), synced: true}
				var err error
				if r.l, err = s.Append(t.Context(), datatest.Bytes(r.seed, 4096)); err != nil {
					t.Error(err)
				}
				runs = append(runs, r)
			}
			add()
			done := make(chan error)
			go func() { done <- s.Sync(t.Context()) }()
			synctest.Wait() // in fdatasync
			add()
			add()
			close(gate)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if err := s.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := checkAfterCrash(t, fs.Clone(nil), localdata.Options{}, runs); err != nil {
				t.Fatal(err)
			}
			s.Close()
		})
	}
}

// TestBarrierInTheMiddleOfARunLeavesItWhole: a Sync that arrives while an
// append waits for room in memory neither waits for it nor tears it.
func TestBarrierInTheMiddleOfARunLeavesItWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := datatest.NewCrashFS(nil)
		s := open(t, localdata.Options{FS: fs})
		gate := make(chan struct{})
		fs.SetHook(func(op datatest.Op) datatest.Fault {
			if op.Kind == "write" {
				return datatest.Fault{Wait: gate}
			}
			return datatest.Fault{}
		})
		var wg sync.WaitGroup
		var mu sync.Mutex
		var runs []run
		for i := range uint64(4) {
			wg.Go(func() {
				r := run{seed: i, synced: true}
				var err error
				if r.l, err = s.Append(t.Context(), datatest.Bytes(i, 5<<20+123)); err != nil {
					t.Error(err)
				}
				mu.Lock()
				runs = append(runs, r)
				mu.Unlock()
				if err := s.Sync(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(gate)
		wg.Wait()
		if err := checkAfterCrash(t, fs.Clone(nil), localdata.Options{}, runs); err != nil {
			t.Fatal(err)
		}
		for _, v := range fs.Violations() {
			t.Error(v)
		}
		s.Close()
	})
}
