package pebblekv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/meta/metatest"
)

const testDir = "/db"

var bg = context.Background()

// long tells whether the long forms of tests were asked for.
var long = os.Getenv("COFFER_LONG") != ""

// history is a sequence of numbered commits. Commit i sets "seq" to i; what
// else it does depends on i and the seed alone.
type history struct {
	seed     uint64
	appended atomic.Int64 // commits whose data was written, before the commit
	ordered  atomic.Int64 // of these, covered by BeforeDurable
	started  atomic.Int64
	synced   atomic.Int64 // commits that a returned Sync covered

	mu     sync.Mutex
	states []*metatest.Model // by commit
}

func newHistory(seed uint64) *history {
	return &history{seed: seed, states: []*metatest.Model{metatest.NewModel()}}
}

// apply is commit i.
func (h *history) apply(tx meta.Txn, i int64) {
	rnd := rand.New(rand.NewPCG(h.seed, uint64(i)))
	tx.Set([]byte("seq"), binary.BigEndian.AppendUint64(nil, uint64(i)))
	for range rnd.IntN(6) {
		key := fmt.Appendf(nil, "key-%03d", rnd.IntN(200))
		if rnd.IntN(4) == 0 {
			tx.Delete(key)
			continue
		}
		size := rnd.IntN(1 << (4 + rnd.IntN(10)))
		value := bytes.Repeat(binary.BigEndian.AppendUint64(nil, rnd.Uint64()), size/8+1)
		tx.Set(key, value)
	}
}

// state returns the model of what commits 1 to i leave.
func (h *history) state(t testing.TB, i int64) *metatest.Model {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := int64(len(h.states)); n <= i; n++ {
		next := h.states[n-1].Clone()
		if err := next.Update(bg, func(tx meta.Txn) error { h.apply(tx, n); return nil }); err != nil {
			t.Fatal(err)
		}
		h.states = append(h.states, next)
	}
	return h.states[i]
}

// commit makes the next commit on s.
func (h *history) commit(s meta.Store) error {
	i := h.appended.Add(1)
	h.started.Store(i)
	err := s.Update(bg, func(tx meta.Txn) error { h.apply(tx, i); return nil })
	if err != nil {
		h.appended.Add(-1)
		h.started.Store(i - 1)
	}
	return err
}

// commitAndFlush is commit. The short forms of tests have Pebble flush much sooner than it
// would by itself, and so meet what is rare within few commits.
func (h *history) commitAndFlush(s *Store) error {
	err := h.commit(s)
	if err == nil && !long && h.started.Load()%15 == 0 {
		_, _ = s.db.AsyncFlush() // what comes of it is seen by what follows
	}
	return err
}

func (h *history) sync(s meta.Store) error {
	covered := h.started.Load()
	err := s.Sync(bg)
	if err == nil {
		h.synced.Store(covered)
	}
	return err
}

func (h *history) beforeDurable() error {
	h.ordered.Store(h.appended.Load())
	return nil
}

// check verifies that s holds the history up to a commit from low to high.
func (h *history) check(t testing.TB, s meta.Store, low, high int64) {
	t.Helper()
	i := seq(t, s)
	if i < low || i > high {
		t.Fatalf("history ends at commit %d, want %d to %d", i, low, high)
	}
	if diff := metatest.Diff(s, h.state(t, i)); diff != "" {
		t.Fatalf("after commit %d: %s", i, diff)
	}
}

func seq(t testing.TB, s meta.Store) (i int64) {
	t.Helper()
	err := s.View(bg, func(r meta.Reader) error {
		b, err := r.Get([]byte("seq"))
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err == nil {
			i = int64(binary.BigEndian.Uint64(b))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func crashOptions(fs vfs.FS, h *history) Options {
	o := testOptions(fs, testDir)
	o.holdBytes, o.aheadBytes, o.manifestBytes = 4<<10, 4<<10, 256
	o.BeforeDurable = h.beforeDurable
	return o
}

// crashAndCheck opens what a crash at this moment would leave, and once more
// what a crash right after that opening would.
func crashAndCheck(t testing.TB, mem *vfs.MemFS, h *history, rnd *rand.Rand) {
	t.Helper()
	// This runs on goroutines of Pebble's, which Fatal must not end.
	done := make(chan struct{})
	defer func() { <-done }()
	go func() {
		defer close(done)
		checkCrash(t, mem, h, rnd)
	}()
}

func checkCrash(t testing.TB, mem *vfs.MemFS, h *history, rnd *rand.Rand) {
	percent := []int{0, 0, 50, 100}[rnd.IntN(4)]
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rnd}
	low := h.synced.Load()
	clone := mem.CrashClone(cfg)
	// Nothing may have got ahead of the data it points to.
	high := min(h.started.Load(), h.ordered.Load())
	o := testOptions(clone, testDir)
	s, err := Open(bg, o)
	if err != nil {
		t.Fatalf("open after crash, %d%% of what was not synced kept: %v", percent, err)
	}
	defer s.Close()
	h.check(t, s, low, high)
	kept := seq(t, s)
	again, err := Open(bg, testOptions(clone.CrashClone(cfg), testDir))
	if err != nil {
		t.Fatalf("open after a crash after recovery: %v", err)
	}
	defer again.Close()
	// What an opened store has shown is durable.
	h.check(t, again, kept, kept)
}

func TestCrashLeavesPrefixOfHistoryAtAnyWrite(t *testing.T) {
	runs, commits, crashes, every := 3, 500, 40, 20
	if long {
		runs, commits, crashes, every = 20, 3000, 1000, 3
	}
	for run := range runs {
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			seed := uint64(run)
			if long {
				seed = rand.Uint64()
			}
			t.Logf("seed %d", seed)
			mem := vfs.NewCrashableMem()
			hooked := &hookFS{FS: mem}
			h := newHistory(seed)
			s := mustOpen(t, create(crashOptions(hooked, h)))
			var mu sync.Mutex // guards rnd; one crash at a time
			rnd := rand.New(rand.NewPCG(seed, 1))
			var done int
			hooked.set(func(op, name string) error {
				mu.Lock()
				defer mu.Unlock()
				// Crowd the rare ones: everything but writes and syncs of logs.
				rare := !strings.HasSuffix(name, ".log") || op == "create" || op == "remove"
				if done < crashes && (rnd.IntN(every) == 0 || rare && rnd.IntN(4) == 0) {
					done++
					crashAndCheck(t, mem, h, rnd)
				}
				return nil
			})
			choice := rand.New(rand.NewPCG(seed, 2))
			for range commits {
				if err := h.commitAndFlush(s); err != nil {
					t.Fatal(err)
				}
				if choice.IntN(8) == 0 {
					if err := h.sync(s); err != nil {
						t.Fatal(err)
					}
				}
			}
			mu.Lock()
			t.Logf("%d crashes at %d operations", done, hooked.ops.Load())
			done = crashes
			mu.Unlock()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			// An orderly stop loses nothing.
			s = mustOpen(t, testOptions(mem.CrashClone(vfs.CrashCloneCfg{}), testDir))
			h.check(t, s, int64(commits), int64(commits))
		})
	}
}
