package pebblekv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/meta/metatest"
)

// victim is a store whose files tests tamper with.
type victim struct {
	files map[string][]byte
	want  *metatest.Model
	h     *history
	last  int64
	disk  *vfs.MemFS // holds files, once restore was called
}

// newest returns the name of the newest log.
func (v *victim) newest() string {
	var logs []string
	for name := range v.files {
		if strings.HasSuffix(name, ".log") {
			logs = append(logs, name)
		}
	}
	return slices.Max(logs)
}

// makeVictim makes a store of few commits that were flushed often, or of many large tables.
func makeVictim(t *testing.T, large bool, stop func(s *Store, mem *vfs.MemFS, hooked *hookFS) vfs.FS) *victim {
	t.Helper()
	mem := vfs.NewCrashableMem()
	hooked := &hookFS{FS: mem}
	h := newHistory(7)
	o := create(crashOptions(hooked, h))
	s := mustOpen(t, o)
	commits, commit := 200, h.commitAndFlush
	if long || large {
		commits, commit = 600, func(s *Store) error { return h.commit(s) }
	}
	for i := range commits {
		if err := commit(s); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			if err := h.sync(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.sync(s); err != nil {
		t.Fatal(err)
	}
	fs := stop(s, mem, hooked)
	return &victim{files: snapshot(t, fs, testDir), want: h.state(t, int64(commits)), h: h, last: int64(commits)}
}

// shared has several tests use what make makes: none of them changes it.
func shared(make func(*testing.T) *victim) func(*testing.T) *victim {
	var v *victim
	return func(t *testing.T) *victim {
		if v == nil {
			v = make(t)
		}
		return v
	}
}

var (
	closedVictim = shared(makeClosed)
	killedVictim = shared(makeKilled)
	queuedVictim = shared(makeQueued)
)

// makeClosed makes one that was closed in order.
func makeClosed(t *testing.T) *victim { return makeVictim(t, false, closeInOrder(t)) }

func closeInOrder(t *testing.T) func(*Store, *vfs.MemFS, *hookFS) vfs.FS {
	return func(s *Store, mem *vfs.MemFS, _ *hookFS) vfs.FS {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return mem
	}
}

// makeKilled makes one that was killed after a sync, with the kernel left running.
func makeKilled(t *testing.T) *victim {
	return makeVictim(t, true, func(_ *Store, mem *vfs.MemFS, _ *hookFS) vfs.FS {
		return mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	})
}

// makeQueued makes one that was killed while memtables waited for their flush: it has
// several live logs.
func makeQueued(t *testing.T) *victim {
	mem := vfs.NewCrashableMem()
	hold := make(chan struct{})
	hooked := &hookFS{FS: mem}
	h := newHistory(9)
	s := mustOpen(t, create(crashOptions(hooked, h)))
	hooked.set(func(op, name string) error {
		if op == "create" && strings.HasSuffix(name, ".sst") {
			<-hold
		}
		return nil
	})
	v := &victim{h: h}
	for v.files == nil {
		if err := h.commitAndFlush(s); err != nil {
			t.Fatal(err)
		}
		if s.db.Metrics().WAL.Files >= 3 {
			break
		}
	}
	if err := h.sync(s); err != nil {
		t.Fatal(err)
	}
	fs := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	close(hold)
	v.files, v.last = snapshot(t, fs, testDir), h.started.Load()
	v.want = h.state(t, v.last)
	return v
}

// restore makes a file system that holds files, most of which are v's.
func (v *victim) restore(t *testing.T, files map[string][]byte) *vfs.MemFS {
	t.Helper()
	if v.disk == nil {
		v.disk = restore(t, v.files, testDir)
	}
	// To copy all files at once takes a fraction of writing them under the race detector.
	fs := v.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	for name, was := range v.files {
		full := fs.PathJoin(testDir, name)
		b, ok := files[name]
		switch {
		case !ok:
			if err := fs.Remove(full); err != nil {
				t.Fatal(err)
			}
		case !bytes.Equal(b, was):
			putFile(t, fs, full, b)
		}
	}
	for name, b := range files {
		if _, ok := v.files[name]; !ok {
			putFile(t, fs, fs.PathJoin(testDir, name), b)
		}
	}
	return fs
}

// outcome opens the tampered files and returns "detected", "harmless", or
// what went wrong. Reads of what is not affected may succeed; whatever is
// read must be right.
func (v *victim) outcome(t *testing.T, files map[string][]byte) string {
	fs := v.restore(t, files)
	s, err := Open(bg, testOptions(fs, testDir))
	if err != nil {
		if errors.Is(err, meta.ErrCorrupt) || errors.Is(err, ErrFormat) {
			return "detected"
		}
		return fmt.Sprintf("open: %v", err)
	}
	defer s.Close()
	detected := false
	var all, model []meta.Pair
	_ = v.want.View(bg, func(r meta.Reader) error { model, _ = metatest.Collect(r, meta.Range{}); return nil })
	err = s.View(bg, func(r meta.Reader) (err error) {
		all, err = metatest.Collect(r, meta.Range{})
		return err
	})
	for i, p := range all {
		if i >= len(model) || !bytes.Equal(p.Key, model[i].Key) || !bytes.Equal(p.Value, model[i].Value) {
			return fmt.Sprintf("scan returned wrong data at %q", p.Key)
		}
	}
	switch {
	case errors.Is(err, meta.ErrCorrupt):
		detected = true
	case err != nil:
		return fmt.Sprintf("scan: %v", err)
	case len(all) != len(model):
		return fmt.Sprintf("scan returned %d of %d keys", len(all), len(model))
	}
	for i := 0; i < len(model); i += 17 {
		err := s.View(bg, func(r meta.Reader) error {
			got, err := r.Get(model[i].Key)
			if err == nil && !bytes.Equal(got, model[i].Value) {
				return errors.New("wrong value")
			}
			return err
		})
		if errors.Is(err, meta.ErrCorrupt) {
			detected = true
		} else if err != nil {
			return fmt.Sprintf("get %q: %v", model[i].Key, err)
		}
	}
	if detected {
		if s.Stats().Corruptions == 0 {
			return "corruption was not counted"
		}
		return "detected"
	}
	return "harmless"
}

func (v *victim) with(change func(map[string][]byte)) map[string][]byte {
	files := maps.Clone(v.files)
	change(files)
	return files
}

func sortedNames(files map[string][]byte) []string { return slices.Sorted(maps.Keys(files)) }

// positions are offsets into n bytes: the first and last few, and some between.
func positions(rnd *rand.Rand, n, some int) []int {
	set := map[int]bool{}
	for i := range 6 {
		set[i*24%max(n, 1)], set[max(n-1-i*9, 0)] = true, true
	}
	for range some {
		set[rnd.IntN(max(n, 1))] = true
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(set)), func(i int) bool { return i >= n })
}

var victims = []struct {
	name string
	make func(*testing.T) *victim
}{{"closed", closedVictim}, {"killed", killedVictim}, {"queued", queuedVictim}}

func TestFlippedByteIsDetected(t *testing.T) {
	some := 2
	if long {
		some = 2000
	}
	for _, kind := range victims {
		t.Run(kind.name, func(t *testing.T) {
			v := kind.make(t)
			rnd := rand.New(rand.NewPCG(3, 4))
			counts := map[string]int{}
			for _, name := range sortedNames(v.files) {
				for _, at := range positions(rnd, len(v.files[name]), some) {
					files := v.with(func(f map[string][]byte) {
						f[name] = bytes.Clone(f[name])
						f[name][at] ^= 1 << rnd.IntN(8)
					})
					got := v.outcome(t, files)
					counts[got]++
					if got != "detected" && got != "harmless" {
						t.Errorf("%s, byte %d of %d: %s", name, at, len(files[name]), got)
					}
				}
			}
			t.Log(counts)
			if counts["detected"] < counts["harmless"] {
				t.Error("most flips had no effect")
			}
		})
	}
}

func TestTruncatedFileIsDetected(t *testing.T) {
	some := 2
	if long {
		some = 500
	}
	for _, kind := range victims {
		t.Run(kind.name, func(t *testing.T) {
			v := kind.make(t)
			rnd := rand.New(rand.NewPCG(5, 6))
			counts := map[string]int{}
			for _, name := range sortedNames(v.files) {
				for _, at := range positions(rnd, len(v.files[name]), some) {
					files := v.with(func(f map[string][]byte) { f[name] = f[name][:at:at] })
					got := v.outcome(t, files)
					if name == v.newest() && kind.name != "closed" && got != "detected" {
						// The one thing that is allowed: it must be a prefix.
						s := mustOpen(t, testOptions(v.restore(t, files), testDir))
						v.h.check(t, s, 0, v.last)
						s.Close()
						got = "prefix"
					}
					counts[got]++
					if got != "detected" && got != "harmless" && got != "prefix" {
						t.Errorf("%s cut to %d of %d: %s", name, at, len(v.files[name]), got)
					}
				}
			}
			t.Log(counts)
		})
	}
}

func TestExtendedFileIsDetectedOrHarmless(t *testing.T) {
	for _, kind := range victims {
		t.Run(kind.name, func(t *testing.T) {
			v := kind.make(t)
			for _, name := range sortedNames(v.files) {
				for _, tail := range [][]byte{{0}, make([]byte, 100), bytes.Repeat([]byte{1}, 5000), v.files[name]} {
					files := v.with(func(f map[string][]byte) { f[name] = slices.Concat(f[name], tail) })
					if got := v.outcome(t, files); got != "detected" && got != "harmless" {
						t.Errorf("%s with %d bytes more: %s", name, len(tail), got)
					}
				}
			}
		})
	}
}

func TestRemovedRenamedOrSwappedFileIsDetected(t *testing.T) {
	for _, kind := range victims {
		t.Run(kind.name, func(t *testing.T) {
			v := kind.make(t)
			names := sortedNames(v.files)
			t.Log(names)
			try := func(what string, change func(map[string][]byte)) {
				t.Helper()
				got := v.outcome(t, v.with(change))
				if got != "detected" && got != "harmless" {
					t.Errorf("%s: %s", what, got)
				}
				if got == "harmless" && (strings.HasSuffix(what, ".log") || strings.HasSuffix(what, ".sst")) && strings.HasPrefix(what, "without") {
					t.Logf("%s: harmless", what)
				}
			}
			for _, a := range names {
				try("without "+a, func(f map[string][]byte) { delete(f, a) })
				try("emptied "+a, func(f map[string][]byte) {
					if a != v.newest() || kind.name == "closed" {
						f[a] = nil
					}
				})
				for _, b := range names {
					if a == b || !long && path.Ext(a) != path.Ext(b) {
						continue
					}
					try("replaced "+a+" by "+b, func(f map[string][]byte) { f[a] = f[b] })
					if a < b {
						try("swapped "+a+" and "+b, func(f map[string][]byte) { f[a], f[b] = f[b], f[a] })
					}
				}
				i := strings.IndexFunc(a, func(r rune) bool { return r >= '0' && r <= '9' })
				if i < 0 || strings.HasPrefix(a, "marker.") {
					continue
				}
				try("renamed "+a, func(f map[string][]byte) {
					f[a[:i]+"999999"+a[i+6:]] = f[a]
					delete(f, a)
				})
			}
			try("no logs", func(f map[string][]byte) {
				maps.DeleteFunc(f, func(name string, _ []byte) bool { return strings.HasSuffix(name, ".log") })
			})
			try("no tables", func(f map[string][]byte) {
				maps.DeleteFunc(f, func(name string, _ []byte) bool { return strings.HasSuffix(name, ".sst") })
			})
			try("no markers", func(f map[string][]byte) {
				maps.DeleteFunc(f, func(name string, _ []byte) bool { return strings.HasPrefix(name, "marker.") })
			})
		})
	}
}

// A missing store is told apart from a damaged one, and never replaced.
func TestMissingStoreIsNotReplacedByAnEmptyOne(t *testing.T) {
	fs := vfs.NewMem()
	if _, err := Open(bg, testOptions(fs, testDir)); !errors.Is(err, ErrNotExist) {
		t.Fatalf("no directory: %v", err)
	}
	fs.MkdirAll(testDir, 0o700)
	if _, err := Open(bg, testOptions(fs, testDir)); !errors.Is(err, ErrNotExist) {
		t.Fatalf("empty directory: %v", err)
	}
	s := mustOpen(t, create(testOptions(fs, testDir)))
	if _, err := Open(bg, testOptions(fs, testDir)); err == nil {
		t.Fatal("opened twice")
	}
	s.Close()
	if _, err := Open(bg, create(testOptions(fs, testDir))); !errors.Is(err, ErrExist) {
		t.Fatalf("created over a store: %v", err)
	}
	s = mustOpen(t, testOptions(fs, testDir))
	s.Close()
}

func TestWrongStoreKeyIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	o := testOptions(fs, testDir)
	mustOpen(t, create(o)).Close()
	before := snapshot(t, fs, testDir)
	for name, keys := range map[string]Options{
		"other key": {StoreKeys: otherKeys(1), CurrentKey: 1},
		"other id":  {StoreKeys: otherKeys(2), CurrentKey: 2},
	} {
		wrong := o
		wrong.StoreKeys, wrong.CurrentKey = keys.StoreKeys, keys.CurrentKey
		if _, err := Open(bg, wrong); !errors.Is(err, meta.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := snapshot(t, fs, testDir); !maps.EqualFunc(before, after, bytes.Equal) {
		t.Error("a refused opening changed the store")
	}
}

// Compactions meet damage in the background, where an error has nobody to go
// to: the process lives, other keys stay readable and writable.
func TestCompactionOfDamagedTableLeavesStoreUsable(t *testing.T) {
	v := makeVictim(t, true, closeInOrder(t))
	for _, name := range sortedNames(v.files) {
		if path.Ext(name) != ".sst" {
			continue
		}
		files := v.with(func(f map[string][]byte) {
			f[name] = bytes.Clone(f[name])
			f[name][len(f[name])/3] ^= 0x10
		})
		s, err := Open(bg, testOptions(v.restore(t, files), testDir))
		if errors.Is(err, meta.ErrCorrupt) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			set(t, s, fmt.Sprintf("more-%d", i), strings.Repeat("x", 2000))
		}
		// Pebble prefers to repeat what fails, so this may never get its turn.
		limited, cancel := context.WithTimeout(bg, 100*time.Millisecond)
		err = s.db.Compact(limited, []byte{0}, []byte{0xff}, false)
		cancel()
		if err != nil && limited.Err() == nil && !errors.Is(s.mapError(err), meta.ErrCorrupt) {
			t.Fatalf("%s: compaction: %v", name, err)
		}
		if n := s.Stats().BackgroundErrors; n > 20 {
			t.Errorf("%s: %d failed compactions in a moment", name, n)
		}
		if got := get(t, s, "more-7"); len(got) != 2000 {
			t.Fatalf("%s: read %d bytes", name, len(got))
		}
		if err := s.Sync(bg); err != nil {
			t.Fatalf("%s: sync: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Fatalf("%s: close: %v", name, err)
		}
	}
}

// An opening that is refused changes nothing: when what was damaged is put back, the end
// of the store is known as before.
func TestRefusedOpeningKeepsWhatTheStopSaid(t *testing.T) {
	v := closedVictim(t)
	damaged := 0
	for _, name := range sortedNames(v.files) {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		fs := v.restore(t, v.with(func(f map[string][]byte) { delete(f, name) }))
		if s, err := Open(bg, testOptions(fs, testDir)); err == nil {
			s.Close()
			continue // nothing needs it any more
		}
		damaged++
		names, err := fs.List(testDir)
		if err != nil || !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, shutdownTemp) }) {
			t.Errorf("without %s: %v, %v", name, names, err)
		}
	}
	if damaged == 0 {
		t.Error("no table is needed")
	}
}
