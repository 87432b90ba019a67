package datatest_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/data/localdata"
)

// blocks returns n aligned blocks full of b.
func blocks(n int, b byte) []byte {
	p := make([]byte, (n+1)*data.Block)
	skip := -int(uintptr(unsafe.Pointer(&p[0]))) & (data.Block - 1)
	p = p[skip : skip+n*data.Block]
	for i := range p {
		p[i] = b
	}
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, fs *datatest.CrashFS, name string) []byte {
	t.Helper()
	f, err := fs.OpenRead(name)
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	must(t, err)
	defer f.Close()
	p := blocks(16, 0)
	n, _ := f.ReadAt(p, 0)
	return p[:n]
}

func write(t *testing.T, f localdata.File, block int64, p []byte) {
	t.Helper()
	_, err := f.WriteAt(p, block*data.Block)
	must(t, err)
}

func TestCrashDropsWhatWasNotSynced(t *testing.T) {
	fs := datatest.NewCrashFS(nil)
	f, err := fs.Create("a")
	must(t, err)
	defer f.Close()
	write(t, f, 0, blocks(1, 'x'))
	must(t, f.Sync())
	if got := content(t, fs.Clone(nil), "a"); got != nil {
		t.Fatal("a file is there whose name was not synced")
	}
	must(t, fs.SyncDir())
	write(t, f, 1, blocks(2, 'y'))
	if got := content(t, fs, "a"); len(got) != 3*data.Block {
		t.Fatalf("%d bytes before the crash", len(got))
	}
	clone := fs.Clone(nil)
	if got := content(t, clone, "a"); !bytes.Equal(got, blocks(1, 'x')) {
		t.Fatalf("%d bytes after the crash, want the synced block", len(got))
	}
	must(t, f.Sync())
	if got := content(t, fs.Clone(nil), "a"); len(got) != 3*data.Block {
		t.Fatalf("%d bytes after sync and crash", len(got))
	}
	if got := content(t, clone, "a"); len(got) != data.Block {
		t.Fatal("a clone changed with its origin")
	}
	must(t, fs.Remove("a"))
	if got := content(t, fs.Clone(nil), "a"); len(got) != 3*data.Block {
		t.Fatal("a removal that was not synced is durable")
	}
	must(t, fs.SyncDir())
	if got := content(t, fs.Clone(nil), "a"); got != nil {
		t.Fatal("a synced removal is undone")
	}
}

// TestRandomCrashesReachEveryOutcome: a block that was not synced can be
// there, absent or torn, and what was synced is always there.
func TestRandomCrashesReachEveryOutcome(t *testing.T) {
	fs := datatest.NewCrashFS(nil)
	f, err := fs.Create("a")
	must(t, err)
	defer f.Close()
	write(t, f, 0, blocks(1, 'x'))
	must(t, f.Sync())
	must(t, fs.SyncDir())
	write(t, f, 1, blocks(1, 'y'))
	_, err = fs.Create("b")
	must(t, err)
	seen := make(map[string]bool)
	for seed := range uint64(500) {
		clone := fs.Clone(rand.New(rand.NewPCG(seed, 0)))
		got := content(t, clone, "a")
		if len(got) < data.Block || !bytes.Equal(got[:data.Block], blocks(1, 'x')) {
			t.Fatal("a synced block is lost")
		}
		switch y := bytes.Count(got[data.Block:], []byte("y")); {
		case len(got) == data.Block:
			seen["short"] = true
		case y == 0:
			seen["absent"] = true
		case y == data.Block:
			seen["there"] = true
		case y%512 == 0:
			seen["torn"] = true
		}
		entries, _ := clone.List()
		if len(entries) == 2 {
			seen["name"] = true
		}
	}
	if len(seen) != 5 {
		t.Fatalf("only these outcomes: %v", seen)
	}
}

func TestFailedSyncLosesItsBlocksForGood(t *testing.T) {
	fs := datatest.NewCrashFS(nil)
	f, err := fs.Create("a")
	must(t, err)
	defer f.Close()
	must(t, fs.SyncDir())
	write(t, f, 0, blocks(2, 'x'))
	fs.SetHook(func(op datatest.Op) datatest.Fault {
		return datatest.Fault{Err: syscall.EIO, Effect: datatest.Part}
	})
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	fs.SetHook(nil)
	must(t, f.Sync())
	if got := content(t, fs, "a"); !bytes.Equal(got, blocks(2, 'x')) {
		t.Fatal("the page cache lost it")
	}
	got := content(t, fs.Clone(nil), "a")
	if bytes.Count(got, []byte("x")) != data.Block {
		t.Fatal("a second sync made durable what the first one lost")
	}
}

func TestRulesAreWatched(t *testing.T) {
	for name, breach := range map[string]func(f localdata.File){
		"rewrite":         func(f localdata.File) { f.WriteAt(blocks(1, 'y'), 0) },
		"rewrite overlap": func(f localdata.File) { f.Truncate(2 * data.Block); f.WriteAt(blocks(2, 'y'), 0) },
		"cut":             func(f localdata.File) { f.Truncate(0) },
		"offset":          func(f localdata.File) { f.WriteAt(blocks(1, 'y'), 2*data.Block+512) },
		"length":          func(f localdata.File) { f.WriteAt(blocks(1, 'y')[:512], 2*data.Block) },
		"memory":          func(f localdata.File) { f.ReadAt(blocks(2, 'y')[8:data.Block+8], 0) },
		"closed":          func(f localdata.File) { f.Close(); f.ReadAt(blocks(1, 'y'), 0) },
	} {
		fs := datatest.NewCrashFS(nil)
		f, err := fs.Create("a")
		must(t, err)
		write(t, f, 0, blocks(1, 'x'))
		write(t, f, 0, blocks(1, 'x')) // allowed before the sync
		must(t, f.Sync())
		if v := fs.Violations(); len(v) != 0 {
			t.Fatal(v)
		}
		breach(f)
		if v := fs.Violations(); len(v) != 1 {
			t.Errorf("%s: violations %q, want one", name, v)
		}
	}
}

// TestSharedFreezeShowsOneInstant: two directories that share a freeze are
// never seen with a change of the second without the one of the first that
// went before it.
func TestSharedFreezeShowsOneInstant(t *testing.T) {
	var freeze sync.RWMutex
	first, second := datatest.NewCrashFS(&freeze), datatest.NewCrashFS(&freeze)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			name := string(rune('a'+i%26)) + string(rune('0'+i/26))
			for _, fs := range []*datatest.CrashFS{first, second} {
				f, err := fs.Create(name)
				if err == nil {
					err = errors.Join(f.Close(), fs.SyncDir())
				}
				if err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		freeze.Lock()
		a, _ := first.CloneLocked(nil, nil).List()
		b, _ := second.CloneLocked(nil, nil).List()
		freeze.Unlock()
		if len(b) > len(a) {
			t.Fatalf("%d files in the second, %d in the first", len(b), len(a))
		}
	}
}

func TestFaultsFailInFourWays(t *testing.T) {
	inner, err := localdata.Open(t.Context(), localdata.Options{FS: datatest.NewCrashFS(nil)})
	must(t, err)
	oops := errors.New("oops")
	var next datatest.Fault
	s := datatest.NewFaults(inner, func(datatest.Call) datatest.Fault { return next })
	p := datatest.Bytes(1, 1000)
	for _, c := range []struct {
		effect datatest.Effect
		want   uint64
	}{{datatest.Nothing, 0}, {datatest.Part, 500}, {datatest.All, 1000}} {
		before := inner.Stats().AppendedBytes
		next = datatest.Fault{Err: oops, Effect: c.effect}
		if _, err := s.Append(t.Context(), p); err != oops {
			t.Fatal(err)
		}
		if got := inner.Stats().AppendedBytes - before; got != c.want {
			t.Fatalf("effect %d appended %d bytes, want %d", c.effect, got, c.want)
		}
	}
	next = datatest.Fault{}
	l, err := s.Append(t.Context(), p)
	must(t, err)
	next = datatest.Fault{Err: oops, Effect: datatest.Part}
	got := make([]byte, 1000)
	if err := s.ReadAt(t.Context(), l, got, 0); err != oops || !bytes.Equal(got[:500], p[:500]) || got[500] != 0 {
		t.Fatalf("torn read: %v", err)
	}
	for _, effect := range []datatest.Effect{datatest.Nothing, datatest.All} {
		next = datatest.Fault{Err: oops, Effect: effect}
		before := inner.Stats().Syncs
		if err := s.Sync(t.Context()); err != oops {
			t.Fatal(err)
		}
		if did := inner.Stats().Syncs > before; did != (effect == datatest.All) {
			t.Fatalf("effect %d: synced %v", effect, did)
		}
	}
	gate := make(chan struct{})
	close(gate)
	next = datatest.Fault{Wait: gate}
	must(t, datatest.Check(t.Context(), s, l, p))
	must(t, s.Close())
}

// TestFaultsThatSayNothingKeepTheContract runs the suite through the wrapper.
func TestFaultsThatSayNothingKeepTheContract(t *testing.T) {
	datatest.Run(t, func(t *testing.T) data.Store {
		s, err := localdata.Open(t.Context(), localdata.Options{FS: datatest.NewCrashFS(nil)})
		must(t, err)
		return datatest.NewFaults(s, func(datatest.Call) datatest.Fault { return datatest.Fault{} })
	})
}
