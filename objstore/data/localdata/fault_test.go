package localdata_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/data/localdata"
)

func failing(kind string, effect datatest.Effect, errs ...error) func(datatest.Op) datatest.Fault {
	var mu sync.Mutex
	return func(op datatest.Op) datatest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind != kind || len(errs) == 0 {
			return datatest.Fault{}
		}
		err := errs[0]
		errs = errs[1:]
		return datatest.Fault{Err: err, Effect: effect}
	}
}

// TestFailedWriteEndsWriting: after one failure of stable storage no later
// call may report success, even though the disk works again.
func TestFailedWriteEndsWriting(t *testing.T) {
	for _, kind := range []string{"write", "sync", "syncdir"} {
		for _, effect := range []datatest.Effect{datatest.Nothing, datatest.All, datatest.Part} {
			fs := datatest.NewCrashFS(nil)
			fs.SetHook(failing(kind, effect, syscall.EIO))
			s := open(t, localdata.Options{FS: fs})
			p := datatest.Bytes(1, 10_000)
			l, err := s.Append(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := s.Sync(t.Context()); !errors.Is(err, data.ErrFailed) || !errors.Is(err, syscall.EIO) {
					t.Fatalf("%s: sync: %v, want ErrFailed with its cause", kind, err)
				}
			}
			if _, err := s.Append(t.Context(), p); !errors.Is(err, data.ErrFailed) {
				t.Fatalf("%s: append: %v, want ErrFailed", kind, err)
			}
			if err := datatest.Check(t.Context(), s, l, p); err != nil {
				t.Fatalf("%s: reads must go on: %v", kind, err)
			}
			for range 2 {
				if err := s.Close(); !errors.Is(err, data.ErrFailed) {
					t.Fatalf("%s: close: %v, want ErrFailed", kind, err)
				}
			}
			if n := fs.Opened(); n != 0 {
				t.Fatalf("%s: %d files are open after Close", kind, n)
			}
		}
	}
}

func TestFailedBackgroundWriteIsReportedBySync(t *testing.T) {
	fs := datatest.NewCrashFS(nil)
	fs.SetHook(failing("write", datatest.Part, syscall.EIO))
	s := open(t, localdata.Options{FS: fs})
	p := datatest.Bytes(1, 3<<20)
	l, err := s.Append(t.Context(), p)
	if err != nil {
		if !errors.Is(err, data.ErrFailed) {
			t.Fatal(err)
		}
		return
	}
	if err := s.Sync(t.Context()); !errors.Is(err, data.ErrFailed) {
		t.Fatalf("sync: %v, want ErrFailed", err)
	}
	if err := datatest.Check(t.Context(), s, l, p); err != nil {
		t.Fatal(err)
	}
}

// TestFullDiskIsReportedByAppend: with room set aside, it is Append that finds
// the disk full, nothing that was appended is in danger, and work goes on when
// there is room.
func TestFullDiskIsReportedByAppend(t *testing.T) {
	fs := datatest.NewCrashFS(nil)
	fs.SetCapacity(3 << 20)
	s := open(t, localdata.Options{FS: fs})
	var runs []run
	for i := range 100 {
		r := run{seed: uint64(i), synced: true}
		var err error
		if r.l, err = s.Append(t.Context(), datatest.Bytes(r.seed, 100_000)); err != nil {
			if !errors.Is(err, data.ErrNoSpace) {
				t.Fatal(err)
			}
			break
		}
		runs = append(runs, r)
	}
	if n := len(runs); n < 28 || n > 31 {
		t.Fatalf("%d runs of 100,000 bytes fitted into 3 MiB", n)
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatalf("what was appended has its room: %v", err)
	}
	if _, err := s.Append(t.Context(), make([]byte, 500_000)); !errors.Is(err, data.ErrNoSpace) {
		t.Fatalf("got %v, want ErrNoSpace", err)
	}
	if err := checkAfterCrash(t, fs.Clone(nil), localdata.Options{}, runs); err != nil {
		t.Fatal(err)
	}
	fs.SetCapacity(1 << 30)
	if _, err := s.Append(t.Context(), make([]byte, 500_000)); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFullDiskAtWriteLosesNothing is the same on a file system that cannot set
// room aside: Sync finds the disk full, and once there is room the next Sync
// makes durable what the failed one could not.
func TestFullDiskAtWriteLosesNothing(t *testing.T) {
	for name, add := range ways {
		t.Run(name, func(t *testing.T) { testFullDiskAtWrite(t, add) })
	}
}

// ways are the two ways to append.
var ways = map[string]func(context.Context, *localdata.Store, []byte) (data.Location, error){
	"append": func(ctx context.Context, s *localdata.Store, p []byte) (data.Location, error) {
		return s.Append(ctx, p)
	},
	"fill": func(ctx context.Context, s *localdata.Store, p []byte) (data.Location, error) {
		return s.AppendFrom(ctx, len(p), func(w io.Writer) error {
			_, err := w.Write(p)
			return err
		})
	},
}

func testFullDiskAtWrite(t *testing.T, add func(context.Context, *localdata.Store, []byte) (data.Location, error)) {
	for _, refuse := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		fs := datatest.NewCrashFS(nil)
		var full sync.Map
		full.Store("full", true)
		fs.SetHook(func(op datatest.Op) datatest.Fault {
			switch op.Kind {
			case "preallocate":
				return datatest.Fault{Err: syscall.EOPNOTSUPP}
			case "write":
				if _, ok := full.Load("full"); ok {
					return datatest.Fault{Err: refuse, Effect: datatest.Part}
				}
			}
			return datatest.Fault{}
		})
		s := open(t, localdata.Options{FS: fs})
		var runs []run
		for i := range 1000 { // more than the stages hold
			r := run{seed: uint64(i), synced: true}
			var err error
			if r.l, err = add(t.Context(), s, datatest.Bytes(r.seed, 100_000)); err != nil {
				if !errors.Is(err, data.ErrNoSpace) {
					t.Fatal(err)
				}
				break
			}
			runs = append(runs, r)
		}
		if len(runs) == 0 || len(runs) == 1000 {
			t.Fatalf("%d appends succeeded", len(runs))
		}
		for range 2 {
			if err := s.Sync(t.Context()); !errors.Is(err, data.ErrNoSpace) {
				t.Fatalf("sync: %v, want ErrNoSpace", err)
			}
		}
		for _, r := range runs {
			if err := datatest.Check(t.Context(), s, r.l, r.bytes()); err != nil {
				t.Fatal(err)
			}
		}
		full.Delete("full")
		if err := s.Sync(t.Context()); err != nil {
			t.Fatalf("with room again: %v", err)
		}
		if err := checkAfterCrash(t, fs.Clone(nil), localdata.Options{}, runs); err != nil {
			t.Fatal(err)
		}
		if _, err := add(t.Context(), s, datatest.Bytes(1, 3<<20)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, v := range fs.Violations() {
			t.Error(v)
		}
	}
}

func TestReserveIsKeptFree(t *testing.T) {
	fs := datatest.NewCrashFS(nil)
	fs.SetCapacity(10 << 20)
	s := open(t, localdata.Options{FS: fs, ReserveBytes: 4 << 20, SegmentBytes: 1 << 20})
	for {
		_, err := s.Append(t.Context(), make([]byte, 50_000))
		if errors.Is(err, data.ErrNoSpace) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Above the reserve: less than a segment, and two writes that were counted
	// both as under way and as done.
	free, _ := fs.FreeSpace()
	if free < 4<<20 || free > 7<<20 {
		t.Fatalf("%d bytes are free, want the reserve of 4 MiB, and not much more", free)
	}
	entries, _ := fs.List()
	for _, e := range entries {
		if e.Size < 2*data.Block {
			t.Fatalf("%+v was left by a refused append", e)
		}
	}
}

// TestSpareIsForWhatIsMoved: on a disk that is full for Append there is room for
// AppendSpare, and the reserve stays.
func TestSpareIsForWhatIsMoved(t *testing.T) {
	for _, n := range []int{50_000, 2 << 20} {
		fs := datatest.NewCrashFS(nil)
		fs.SetCapacity(40 << 20)
		s := open(t, localdata.Options{FS: fs, ReserveBytes: 4 << 20, SpareBytes: 8 << 20, SegmentBytes: 4 << 20})
		full := func(add func(context.Context, []byte) (data.Location, error)) (sum int) {
			for {
				_, err := add(t.Context(), make([]byte, n))
				if errors.Is(err, data.ErrNoSpace) {
					return sum
				}
				if err != nil {
					t.Fatal(err)
				}
				sum += n
				if err := s.Sync(t.Context()); err != nil { // so that nothing is counted twice
					t.Fatal(err)
				}
			}
		}
		full(s.Append)
		if free, _ := fs.FreeSpace(); free < 12<<20 {
			t.Errorf("%d bytes are free, want reserve and spare", free)
		}
		if sum := full(s.AppendSpare); sum < 5<<20 {
			t.Errorf("there was room to move %d bytes", sum)
		}
		if _, err := s.Append(t.Context(), make([]byte, n)); !errors.Is(err, data.ErrNoSpace) {
			t.Errorf("an append has taken of the spare room: %v", err)
		}
		if free, _ := fs.FreeSpace(); free < 4<<20 {
			t.Errorf("%d bytes are free, want the reserve", free)
		}
	}
}

func TestConcurrentSyncsShareOneBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := datatest.NewCrashFS(nil)
		s := open(t, localdata.Options{FS: fs})
		gate := make(chan struct{})
		var mu sync.Mutex
		syncs := 0
		fs.SetHook(func(op datatest.Op) datatest.Fault {
			if op.Kind != "sync" {
				return datatest.Fault{}
			}
			mu.Lock()
			defer mu.Unlock()
			syncs++
			return datatest.Fault{Wait: gate}
		})
		var wg sync.WaitGroup
		appendAndSync := func() {
			if _, err := s.Append(t.Context(), []byte("x")); err != nil {
				t.Error(err)
			}
			if err := s.Sync(t.Context()); err != nil {
				t.Error(err)
			}
		}
		wg.Go(appendAndSync)
		synctest.Wait() // the first is inside fdatasync
		for range 20 {
			wg.Go(appendAndSync)
		}
		synctest.Wait()
		close(gate)
		wg.Wait()
		if syncs != 2 {
			t.Fatalf("%d barriers for 21 Syncs, want 2", syncs)
		}
		if err := s.Sync(t.Context()); err != nil || syncs != 2 {
			t.Fatalf("a Sync with nothing appended: %v, %d barriers", err, syncs)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSlowWritesBoundMemory: appends go on while writes hang, until the
// staging buffers are full, and everything can be read meanwhile.
func TestSlowWritesBoundMemory(t *testing.T) {
	for name, add := range ways {
		t.Run(name, func(t *testing.T) { testSlowWrites(t, add) })
	}
}

func testSlowWrites(t *testing.T, add func(context.Context, *localdata.Store, []byte) (data.Location, error)) {
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
		var mu sync.Mutex
		var runs []run
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range uint64(40) {
				l, err := add(t.Context(), s, datatest.Bytes(i, 700_000))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				runs = append(runs, run{l: l, seed: i})
				mu.Unlock()
			}
		})
		synctest.Wait()
		mu.Lock()
		if n := len(runs); n < 15 || n > 18 {
			t.Errorf("%d runs of 700,000 bytes were staged in 12 MiB", n)
		}
		for _, r := range runs {
			if err := datatest.Check(t.Context(), s, r.l, r.bytes()); err != nil {
				t.Error(err)
			}
		}
		mu.Unlock()
		close(gate)
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
