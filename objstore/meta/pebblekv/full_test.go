package pebblekv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/objstore/meta"
)

// until repeats do as long as there is no room, which Pebble's flushes can take a second
// to find.
func until(t *testing.T, what string, s *Store, do func(meta.Store) error) {
	t.Helper()
	for {
		err := do(s)
		if err == nil {
			return
		}
		if !errors.Is(err, meta.ErrNoSpace) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// runFull commits and syncs on a disk that is full from f on, and on for a while after
// room came back. Nothing that was acknowledged is lost, in a crash at any of several
// moments; and the store goes on where it was.
func runFull(t *testing.T, f *fault, seed uint64) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	hooked := &hookFS{FS: mem, forget: true}
	h := newHistory(seed)
	mustOpen(t, create(crashOptions(hooked, h))).Close()
	// Opened again, since the first flush then makes a new manifest.
	s := mustOpen(t, crashOptions(hooked, h))
	s.space.giveUpReserve()
	var full atomic.Bool
	full.Store(true)
	hooked.set(func(op, name string) error {
		if !full.Load() {
			return nil
		}
		return f.before(op, name)
	})
	rnd := rand.New(rand.NewPCG(seed, 1))
	refused := 0
	for i := 0; i < faultCommits && refused < 20; i++ {
		err := h.commitAndFlush(s)
		if err == nil && i%9 == 0 {
			err = h.sync(s)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, meta.ErrNoSpace) {
			t.Fatalf("%v: %v", f.hit.Load(), err)
		}
		if refused == 0 {
			crashAndCheck(t, mem, h, rnd)
		}
		refused++
	}
	h.check(t, s, h.started.Load(), h.started.Load())
	crashAndCheck(t, mem, h, rnd)
	full.Store(false)
	var mu sync.Mutex // guards n and rnd
	n, every := 0, 25
	if long {
		every = 9
	}
	hooked.set(func(op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		if n++; n%every == 0 && n < 100 {
			crashAndCheck(t, mem, h, rnd)
		}
		return nil
	})
	what := fmt.Sprintf("%v, with room again", f.hit.Load())
	for range 60 {
		until(t, what, s, h.commit)
	}
	if err := h.sync(s); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	hooked.set(func(string, string) error { return nil })
	kept := h.started.Load()
	h.check(t, s, kept, kept)
	again := mustOpen(t, testOptions(mem.CrashClone(vfs.CrashCloneCfg{}), testDir))
	h.check(t, again, kept, kept)
	again.Close()
	if err := s.Close(); err != nil {
		t.Fatalf("%v: close: %v", f.hit.Load(), err)
	}
	again = mustOpen(t, testOptions(mem.CrashClone(vfs.CrashCloneCfg{}), testDir))
	h.check(t, again, kept, kept)
	again.Close()
}

// takesRoom tells of what can find a disk full.
func takesRoom(op, _ string) bool { return op == "create" || op == "write" || op == "sync" }

func TestStoreGoesOnAfterAFullDiskAtAnyPoint(t *testing.T) {
	step := int64(61)
	if long {
		step = 1
	}
	for after := int64(1); after < faultOps; after += step {
		for _, forever := range []bool{false, true} {
			f := &fault{after: after, forever: forever, err: syscall.ENOSPC, only: takesRoom}
			t.Run(fmt.Sprint(after, forever), func(t *testing.T) {
				t.Parallel() // they wait for flushes that are tried again
				runFull(t, f, uint64(after))
			})
		}
	}
}

// Each kind of file and operation finds the disk full on its own, the rare ones too.
func TestStoreGoesOnAfterAFullDiskForEachKindOfFile(t *testing.T) {
	most := int64(1)
	if long {
		most = 12
	}
	for _, kind := range []struct{ name, ops string }{
		{".log", "create write sync"},
		{".sst", "create write sync"},
		{"MANIFEST-", "create write sync"},
		{"marker.", "create"},
		{"db", "sync"},
	} {
		for _, op := range strings.Fields(kind.ops) {
			for _, forever := range []bool{false, true} {
				for after := int64(1); after <= most; after++ {
					f := &fault{after: after, forever: forever, err: syscall.ENOSPC}
					f.only = func(o, name string) bool { return o == op && strings.Contains(name, kind.name) }
					t.Run(fmt.Sprint(kind.name, op, forever, after), func(t *testing.T) {
						t.Parallel()
						runFull(t, f, uint64(after))
						if f.hit.Load() == nil && !long {
							t.Error("it never struck")
						}
					})
				}
			}
		}
	}
}

// A store that is closed while the disk is full has what was synced before.
func TestCloseOnAFullDiskKeepsWhatWasSynced(t *testing.T) {
	for n := range 4 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			hooked := &hookFS{FS: mem, forget: true}
			h := newHistory(5)
			s := mustOpen(t, create(crashOptions(hooked, h)))
			s.space.giveUpReserve()
			for range 200 {
				if err := h.commit(s); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.sync(s); err != nil {
				t.Fatal(err)
			}
			hooked.set(func(op, name string) error {
				if takesRoom(op, name) {
					return syscall.ENOSPC
				}
				return nil
			})
			for range n * 10 {
				if err := h.commit(s); err != nil {
					break
				}
			}
			// Nothing is where a flush met the full disk before the first of them.
			pending := h.started.Load() > h.synced.Load()
			if err := h.sync(s); pending && !errors.Is(err, meta.ErrNoSpace) {
				t.Errorf("sync: %v", err)
			}
			if err := s.Close(); err == nil {
				t.Error("closed without a word")
			}
			again := mustOpen(t, testOptions(mem.CrashClone(vfs.CrashCloneCfg{}), testDir))
			h.check(t, again, h.synced.Load(), h.started.Load())
		})
	}
}

// On a full disk what is refused takes no memory and no numbers of files, however often
// it is tried, and what failed tables took is given back.
func TestTriesOnAFullDiskLeaveNothing(t *testing.T) {
	mem := vfs.NewMem()
	hooked := &hookFS{FS: mem}
	h := newHistory(6)
	s := mustOpen(t, create(crashOptions(hooked, h)))
	s.space.giveUpReserve()
	var writes atomic.Int64
	hooked.set(func(op, name string) error {
		if takesRoom(op, name) && path.Ext(name) == ".log" {
			writes.Add(1)
			return syscall.ENOSPC
		}
		return nil
	})
	for i := 0; i < 2000 && !s.fs.Waits(); i++ {
		if err := h.commit(s); err != nil {
			break
		}
	}
	if !s.fs.Waits() {
		t.Fatal("the log met no full disk")
	}
	log := s.db.Metrics().WAL.BytesIn
	before := writes.Load()
	for range 100 {
		if err := h.sync(s); !errors.Is(err, meta.ErrNoSpace) {
			t.Fatal(err)
		}
		if err := h.commit(s); !errors.Is(err, meta.ErrNoSpace) {
			t.Fatal(err)
		}
	}
	if now := s.db.Metrics().WAL.BytesIn; now != log {
		t.Errorf("the log was given %d bytes", now-log)
	}
	if writes.Load() == before {
		t.Error("it was not tried again")
	}
	if !s.Stats().Waits || s.Stats().ReadOnly != nil {
		t.Errorf("stats: %+v", s.Stats())
	}
	hooked.set(func(string, string) error { return nil })
	if err := h.sync(s); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if s.Stats().Waits {
		t.Error("still waits")
	}
	h.check(t, s, h.started.Load(), h.started.Load())
}

// A store that is opened on a full disk takes the room that was kept for it, for its log
// as for its tables.
func TestOpeningOnAFullDiskTakesTheReserve(t *testing.T) {
	for commits := range int64(2) {
		mem := vfs.NewMem()
		h := newHistory(8)
		s := mustOpen(t, create(crashOptions(mem, h)))
		for range commits {
			if err := h.commit(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		hooked := &hookFS{FS: mem, before: func(op, name string) error {
			if _, err := mem.Stat(testDir + "/" + reserveName); err == nil && op == "write" {
				return syscall.ENOSPC
			}
			return nil
		}}
		s = mustOpen(t, crashOptions(hooked, h))
		h.check(t, s, commits, commits)
	}
}
