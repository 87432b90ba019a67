package pebblekv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/objstore/meta"
)

// fault makes operations fail from the n-th on: one of them, or all.
type fault struct {
	after   int64
	forever bool
	err     error
	only    func(op, name string) bool
	seen    atomic.Int64
	hit     atomic.Value // string: what failed first
}

func (f *fault) before(op, name string) error {
	if f.only != nil && !f.only(op, name) {
		return nil
	}
	n := f.seen.Add(1)
	if n == f.after || f.forever && n > f.after {
		f.hit.CompareAndSwap(nil, op+" "+name)
		return f.err
	}
	return nil
}

// faultCommits is how many commits a disk that fails meets, and faultOps about how
// many operations it takes for them.
var faultCommits, faultOps = 150, int64(450)

func init() {
	if long {
		faultCommits, faultOps = 650, 900
	}
}

// runFaulty commits and syncs while f strikes, closes, and checks what a crash
// after that leaves.
func runFaulty(t *testing.T, f *fault, seed uint64) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	hooked := &hookFS{FS: mem}
	h := newHistory(seed)
	mustOpen(t, create(crashOptions(hooked, h))).Close()
	// Opened again, since the first flush then makes a new manifest.
	s := mustOpen(t, crashOptions(hooked, h))
	hooked.set(f.before)
	var failed error
	for i := range faultCommits {
		err := h.commitAndFlush(s)
		if err == nil && i%9 == 0 {
			err = h.sync(s)
		}
		if err == nil {
			if failed != nil {
				t.Fatalf("%v: an update succeeded after %v", f.hit.Load(), failed)
			}
			continue
		}
		if !errors.Is(err, meta.ErrReadOnly) && !errors.Is(err, meta.ErrNoSpace) {
			t.Fatalf("%v: %v", f.hit.Load(), err)
		}
		if errors.Is(err, meta.ErrReadOnly) {
			if !errors.Is(err, f.err) {
				t.Fatalf("%v: the cause is lost: %v", f.hit.Load(), err)
			}
			failed = err
		}
		if errors.Is(err, meta.ErrNoSpace) {
			break
		}
		if failed != nil && i%50 == 0 {
			break
		}
	}
	// Reads go on, over all that was committed in memory.
	h.check(t, s, h.started.Load(), h.started.Load())
	closeErr := s.Close()
	if failed != nil && !errors.Is(closeErr, meta.ErrReadOnly) {
		t.Fatalf("%v: close of a failed store: %v", f.hit.Load(), closeErr)
	}
	low := h.synced.Load()
	if closeErr == nil {
		low = h.started.Load()
	}
	for _, percent := range []int{0, 100} {
		cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 9))}
		again, err := Open(bg, testOptions(mem.CrashClone(cfg), testDir))
		if err != nil {
			t.Fatalf("%v: open after the fault: %v", f.hit.Load(), err)
		}
		h.check(t, again, low, h.started.Load())
		again.Close()
	}
}

func TestFailingDiskTurnsStoreReadOnlyAndLosesNothingSynced(t *testing.T) {
	step := int64(41)
	if long {
		step = 1
	}
	for after := int64(1); after < faultOps; after += step {
		for _, forever := range []bool{false, true} {
			runFaulty(t, &fault{after: after, forever: forever, err: syscall.EIO}, uint64(after))
		}
	}
}

// Each kind of file and operation fails on its own, the rare ones too.
func TestEveryKindOfFailureIsSurvived(t *testing.T) {
	kinds := []struct{ name, ops string }{
		{".log", "create write sync remove"},
		{".sst", "create write sync remove"},
		{"MANIFEST-", "create write sync"},
		{"marker.", "create remove"},
		{"db", "sync"},
		{shutdownTemp, "create write sync rename"},
	}
	most := int64(2)
	if long {
		most = 8
	}
	for _, kind := range kinds {
		for _, op := range strings.Fields(kind.ops) {
			for _, forever := range []bool{false, true} {
				for after := int64(1); after <= most && (!forever || after == 1 || long); after++ {
					f := &fault{after: after, forever: forever, err: syscall.EIO}
					f.only = func(o, name string) bool { return o == op && strings.Contains(name, kind.name) }
					runFaulty(t, f, uint64(after))
					if f.hit.Load() == nil {
						t.Logf("there was no %s of %s number %d", op, kind.name, after)
					}
				}
			}
		}
	}
}

// shutdownTemp is in the name of the file that a Shutdown writes.
const shutdownTemp = "SHUTDOWN-"

func TestOpenFailsInsteadOfHangingOnAFailingDisk(t *testing.T) {
	v := queuedVictim(t)
	for after := int64(1); after < 60; after += 3 {
		for _, forever := range []bool{false, true} {
			f := &fault{after: after, forever: forever, err: syscall.EIO}
			mem := v.restore(t, v.files)
			s, err := Open(bg, testOptions(&hookFS{FS: mem, before: f.before}, testDir))
			if err == nil {
				v.h.check(t, s, v.last, v.last)
				s.Close()
			} else if errors.Is(err, meta.ErrCorrupt) {
				t.Errorf("%v failed, and that counts as corrupt: %v", f.hit.Load(), err)
			}
			{
				files := snapshot(t, mem, testDir)
				s = mustOpen(t, testOptions(v.restore(t, files), testDir))
				v.h.check(t, s, v.last, v.last)
				s.Close()
			}
		}
	}
}

func TestFailedBeforeDurableKeepsMetadataOffTheDisk(t *testing.T) {
	mem := vfs.NewCrashableMem()
	h := newHistory(1)
	o := create(crashOptions(mem, h))
	var fail atomic.Bool
	boom := errors.New("data could not be synced")
	o.BeforeDurable = func() error {
		if fail.Load() {
			return boom
		}
		return h.beforeDurable()
	}
	s := mustOpen(t, o)
	for range 20 {
		if err := h.commit(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.sync(s); err != nil {
		t.Fatal(err)
	}
	fail.Store(true)
	var err error
	for range 400 {
		if err = h.commit(s); err != nil {
			break
		}
	}
	if err == nil {
		err = h.sync(s)
	}
	if !errors.Is(err, meta.ErrReadOnly) || !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	if err := s.Sync(bg); !errors.Is(err, meta.ErrReadOnly) {
		t.Fatalf("sync after that: %v", err)
	}
	if err := s.Close(); !errors.Is(err, boom) {
		t.Fatalf("close: %v", err)
	}
	again := mustOpen(t, testOptions(mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}), testDir))
	h.check(t, again, 20, 20)
}

func TestSyncWithNothingCommittedTouchesNothing(t *testing.T) {
	hooked := &hookFS{FS: vfs.NewMem()}
	s := mustOpen(t, create(testOptions(hooked, testDir)))
	set(t, s, "a", "1")
	for i := range 10 {
		before := hooked.ops.Load()
		if err := s.Sync(bg); err != nil {
			t.Fatal(err)
		}
		if done := hooked.ops.Load() - before; i > 0 && done != 0 {
			t.Fatalf("sync %d did %d operations", i, done)
		}
	}
}

func TestFullDiskRefusesWritesAndAdmitsDeletes(t *testing.T) {
	mem := vfs.NewMem()
	o := create(testOptions(mem, testDir))
	var free atomic.Uint64
	free.Store(1 << 40)
	o.FreeSpace = func() (uint64, error) { return free.Load(), nil }
	s := mustOpen(t, o)
	for i := range 100 {
		set(t, s, fmt.Sprintf("k%d", i), "v")
	}
	try := func(fn func(meta.Txn)) error {
		// Let no earlier probe count.
		s.space.mu.Lock()
		s.space.room = false
		s.space.mu.Unlock()
		return s.Update(bg, func(tx meta.Txn) error { fn(tx); return nil })
	}
	write := func(tx meta.Txn) { tx.Set([]byte("new"), []byte("v")) }
	remove := func(tx meta.Txn) { tx.Delete([]byte("k1")); tx.Set([]byte("parent"), []byte("v")) }
	hasReserve := func() bool { _, err := mem.Stat(testDir + "/" + reserveName); return err == nil }
	for _, c := range []struct {
		free                   uint64
		writes, deletes, spare bool
	}{
		{1 << 40, true, true, true},
		{LowWater, true, true, true},
		{LowWater - 1, false, true, true},
		{criticalWater, false, true, true},
		{criticalWater - 1, false, false, false}, // the reserve of this test frees nothing
		{0, false, false, false},
		{LowWater, true, true, false},
		{LowWater + 2*reserveSize, true, true, true},
	} {
		free.Store(c.free)
		for what, want := range map[string]bool{"write": c.writes, "delete": c.deletes} {
			fn := map[string]func(meta.Txn){"write": write, "delete": remove}[what]
			err := try(fn)
			if want && err != nil || !want && !errors.Is(err, meta.ErrNoSpace) {
				t.Errorf("%s with %d bytes free: %v", what, c.free, err)
			}
		}
		if hasReserve() != c.spare {
			t.Errorf("with %d bytes free: reserve is there: %v", c.free, hasReserve())
		}
		if got := get(t, s, "k0"); got != "v" {
			t.Errorf("read with %d bytes free: %q", c.free, got)
		}
	}
	if err := s.Sync(bg); err != nil {
		t.Fatal(err)
	}
}

// The reserve is the last resort of a log that meets a full disk.
func TestLogGoesOnFromTheReserveWhenTheDiskIsFull(t *testing.T) {
	mem := vfs.NewMem()
	var mu sync.Mutex
	full := false
	hooked := &hookFS{FS: mem, before: func(op, name string) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case op == "remove" && name == reserveName:
			full = false
		case op == "write" && full:
			return syscall.ENOSPC
		}
		return nil
	}}
	s := mustOpen(t, create(testOptions(hooked, testDir)))
	set(t, s, "a", "1")
	mu.Lock()
	full = true
	mu.Unlock()
	if err := s.Sync(bg); err != nil {
		t.Fatalf("sync: %v", err)
	}
	set(t, s, "b", "2")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, testOptions(mem, testDir))
	if get(t, s, "a") != "1" || get(t, s, "b") != "2" {
		t.Fatal("lost what was synced")
	}
}

func TestReadOnlyOpenChangesNothing(t *testing.T) {
	v := queuedVictim(t)
	mem := v.restore(t, v.files)
	hooked := &hookFS{FS: mem, before: func(op, name string) error {
		t.Errorf("%s %s", op, name)
		return nil
	}}
	o := testOptions(hooked, testDir)
	o.ReadOnly = true
	s := mustOpen(t, o)
	v.h.check(t, s, v.last, v.last)
	if err := s.Update(bg, func(meta.Txn) error { return nil }); !errors.Is(err, meta.ErrReadOnly) {
		t.Errorf("update: %v", err)
	}
	if err := s.Sync(bg); err != nil {
		t.Errorf("sync: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestCloseLeavesNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		s := mustOpen(t, create(testOptions(vfs.NewMem(), testDir)))
		h := newHistory(4)
		for range 300 {
			if err := h.commit(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Goroutines that were told to end may still be on their way out.
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if runtime.NumGoroutine() <= before {
			return
		}
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines before, now\n%s", before, buf[:runtime.Stack(buf, true)])
}
