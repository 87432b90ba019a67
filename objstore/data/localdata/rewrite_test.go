package localdata_test

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/data/localdata"
)

// fullSyncs has syncs of a kind fail for want of room while the first result is true. Its
// second one counts them.
func fullSyncs(fs *datatest.CrashFS, kind string, effect datatest.Effect, err error) (full *atomic.Bool, failed *atomic.Int64) {
	full, failed = new(atomic.Bool), new(atomic.Int64)
	full.Store(true)
	fs.SetHook(func(op datatest.Op) datatest.Fault {
		if op.Kind != kind || !full.Load() {
			return datatest.Fault{}
		}
		failed.Add(1)
		return datatest.Fault{Err: err, Effect: effect}
	})
	return full, failed
}

// TestSyncWithoutRoomIsMadeGood: what a sync that found no room can have lost is durable
// when a later one succeeds, whatever was appended in between, and in full segments too.
func TestSyncWithoutRoomIsMadeGood(t *testing.T) {
	for _, kind := range []string{"sync", "syncdir"} {
		for _, refuse := range []error{syscall.ENOSPC, syscall.EDQUOT} {
			for _, effect := range []datatest.Effect{datatest.Nothing, datatest.Part} {
				fs := datatest.NewCrashFS(nil)
				s := open(t, localdata.Options{FS: fs, SegmentBytes: 4 << 20})
				var runs []run
				add := func(n int) {
					t.Helper()
					r := run{seed: uint64(len(runs)), synced: true}
					var err error
					if r.l, err = s.Append(t.Context(), datatest.Bytes(r.seed, n)); err != nil {
						t.Fatal(err)
					}
					runs = append(runs, r)
				}
				if kind == "sync" {
					add(5000)
					if err := s.Sync(t.Context()); err != nil { // never to be written again
						t.Fatal(err)
					}
				}
				full, failed := fullSyncs(fs, kind, effect, refuse)
				for range 3 {
					add(100)
					add(3 << 20)
					if err := s.Sync(t.Context()); !errors.Is(err, data.ErrNoSpace) {
						t.Fatalf("%s without room: %v, want ErrNoSpace", kind, err)
					}
				}
				for _, r := range runs {
					if err := datatest.Check(t.Context(), s, r.l, r.bytes()); err != nil {
						t.Fatal(err)
					}
				}
				full.Store(false)
				add(100)
				if err := s.Sync(t.Context()); err != nil {
					t.Fatalf("with room again: %v", err)
				}
				if err := checkAfterCrash(t, fs.Clone(nil), localdata.Options{}, runs); err != nil {
					t.Fatalf("%s, after %d that failed: %v", kind, failed.Load(), err)
				}
				add(100)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if err := checkAfterCrash(t, fs.Clone(nil), localdata.Options{}, runs); err != nil {
					t.Fatal(err)
				}
				for _, v := range fs.Violations() {
					t.Error(v)
				}
			}
		}
	}
}

// TestSyncsWithoutRoomAtRandom: some syncs have no room, and crashes come at any time. What
// a sync that succeeded covers is there.
func TestSyncsWithoutRoomAtRandom(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		fs := datatest.NewCrashFS(nil)
		odds := 1 + rng.IntN(4)
		hook := rand.New(rand.NewPCG(seed, 4))
		fs.SetHook(func(op datatest.Op) datatest.Fault {
			if op.Kind != "sync" && op.Kind != "syncdir" || hook.IntN(odds) == 0 {
				return datatest.Fault{}
			}
			return datatest.Fault{Err: syscall.ENOSPC, Effect: []datatest.Effect{datatest.Nothing, datatest.Part}[hook.IntN(2)]}
		})
		opt := localdata.Options{FS: fs, SegmentBytes: 400_000}
		s := open(t, opt)
		var runs []run
		for i := range uint64(25) {
			r := run{seed: i}
			var err error
			r.l, err = s.Append(t.Context(), datatest.Bytes(i, 1+rng.IntN(150_000)))
			if err == nil {
				runs = append(runs, r)
			} else if !errors.Is(err, data.ErrNoSpace) {
				t.Fatal(err)
			}
			if rng.IntN(2) == 0 {
				err := s.Sync(t.Context())
				if err != nil && !errors.Is(err, data.ErrNoSpace) {
					t.Fatal(err)
				}
				for j := range runs {
					runs[j].synced = runs[j].synced || err == nil
				}
			}
			for _, r := range []*rand.Rand{nil, rng} {
				if err := checkAfterCrash(t, fs.Clone(r), localdata.Options{}, runs); err != nil {
					t.Fatalf("seed %d, step %d: %v", seed, i, err)
				}
			}
		}
		fs.SetHook(nil)
		if err := s.Close(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, v := range fs.Violations() {
			t.Errorf("seed %d: %s", seed, v)
		}
	}
}

// forgetful is a directory whose files forget, with a sync that fails, what it did not make
// durable: reads find zeros there.
type forgetful struct {
	*datatest.CrashFS
	forgot atomic.Bool
}

func (d *forgetful) Create(name string) (localdata.File, error) {
	f, err := d.CrashFS.Create(name)
	return &forgetfulFile{f, d}, err
}

type forgetfulFile struct {
	localdata.File
	dir *forgetful
}

func (f *forgetfulFile) Sync() error {
	err := f.File.Sync()
	if err != nil {
		f.dir.forgot.Store(true)
	}
	return err
}

func (f *forgetfulFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if f.dir.forgot.Load() {
		clear(p)
	}
	return n, err
}

// TestWhatASyncDroppedIsNotTakenForWritten: where nothing has the bytes any more that a
// sync without room was to make durable, no later one succeeds.
func TestWhatASyncDroppedIsNotTakenForWritten(t *testing.T) {
	fs := &forgetful{CrashFS: datatest.NewCrashFS(nil)}
	s := open(t, localdata.Options{FS: fs})
	full, _ := fullSyncs(fs.CrashFS, "sync", datatest.Nothing, syscall.ENOSPC)
	if _, err := s.Append(t.Context(), datatest.Bytes(1, 10_000)); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(t.Context()); !errors.Is(err, data.ErrNoSpace) {
		t.Fatalf("sync without room: %v", err)
	}
	full.Store(false)
	for range 2 {
		if err := s.Sync(t.Context()); !errors.Is(err, data.ErrFailed) {
			t.Fatalf("sync of what is lost: %v, want ErrFailed", err)
		}
	}
	if err := s.Close(); !errors.Is(err, data.ErrFailed) {
		t.Fatalf("close: %v, want ErrFailed", err)
	}
}

// TestRoomIsGivenUpForASync: the room that is kept serves a sync that finds none, as it
// does a write.
func TestRoomIsGivenUpForASync(t *testing.T) {
	fs := datatest.NewCrashFS(nil)
	s := open(t, localdata.Options{FS: fs, KeepRoom: true})
	r := run{seed: 1, synced: true}
	var err error
	if r.l, err = s.Append(t.Context(), datatest.Bytes(r.seed, 10_000)); err != nil {
		t.Fatal(err)
	}
	fs.SetHook(func(op datatest.Op) datatest.Fault {
		if op.Kind == "sync" && sizeOf(t, fs, reserve) != -1 {
			return datatest.Fault{Err: syscall.ENOSPC}
		}
		return datatest.Fault{}
	})
	if err := s.Sync(t.Context()); err != nil {
		t.Fatalf("with the room that was kept: %v", err)
	}
	if err := checkAfterCrash(t, fs.Clone(nil), localdata.Options{}, []run{r}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
