package localdata_test

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/data/localdata"
)

const (
	reserve     = "RESERVE"
	reserveSize = 13 << 20
)

func sizeOf(t *testing.T, dir *datatest.CrashFS, name string) int64 {
	t.Helper()
	f, err := dir.OpenRead(name)
	if errors.Is(err, fs.ErrNotExist) {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWhatIsStagedHasRoomWhenOthersFillTheDisk: bytes that were appended become
// durable although there is nothing left by the time they are written.
func TestWhatIsStagedHasRoomWhenOthersFillTheDisk(t *testing.T) {
	const capacity = 100 << 20
	for name, add := range ways {
		t.Run(name, func(t *testing.T) {
			dir := datatest.NewCrashFS(nil)
			dir.SetCapacity(capacity)
			// A copy of a store can have the name and no blocks.
			f, err := dir.Create(reserve)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			opt := localdata.Options{FS: dir, KeepRoom: true, ReserveBytes: 1 << 20}
			s := open(t, opt)
			var runs []run
			for round := range uint64(3) {
				r := run{seed: round, synced: true}
				if r.l, err = add(t.Context(), s, datatest.Bytes(r.seed, 500_000)); err != nil {
					t.Fatal(err)
				}
				runs = append(runs, r)
				if n := sizeOf(t, dir, reserve); n != reserveSize {
					t.Fatalf("%d bytes are kept", n)
				}
				free, _ := dir.FreeSpace()
				dir.SetCapacity(capacity - int64(free)) // others have taken it
				if err := s.Sync(t.Context()); err != nil {
					t.Fatalf("what was appended has no room: %v", err)
				}
				if err := checkAfterCrash(t, dir.Clone(nil), localdata.Options{}, runs); err != nil {
					t.Fatal(err)
				}
				if n := sizeOf(t, dir, reserve); n != -1 {
					t.Fatalf("%d bytes are kept of a full disk", n)
				}
				if _, err := add(t.Context(), s, make([]byte, 100)); !errors.Is(err, data.ErrNoSpace) {
					t.Fatalf("an append that could have no room: %v", err)
				}
				dir.SetCapacity(capacity)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for _, v := range dir.Violations() {
				t.Error(v)
			}
		})
	}
}

// TestRoomThatCannotBeKeptIsDoneWithout: there are file systems that cannot set
// room aside.
func TestRoomThatCannotBeKeptIsDoneWithout(t *testing.T) {
	dir := datatest.NewCrashFS(nil)
	dir.SetHook(func(op datatest.Op) datatest.Fault {
		if op.Kind == "preallocate" {
			return datatest.Fault{Err: syscall.EOPNOTSUPP}
		}
		return datatest.Fault{}
	})
	s := open(t, localdata.Options{FS: dir, KeepRoom: true})
	for range 2 {
		if _, err := s.Append(t.Context(), make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if n := sizeOf(t, dir, reserve); n != -1 {
		t.Errorf("%s has %d bytes", reserve, n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFullDiskLeavesRoomAlone: what is refused to Append takes nothing of the room
// that is kept, and what is moved needs none.
func TestFullDiskLeavesRoomAlone(t *testing.T) {
	dir := datatest.NewCrashFS(nil)
	dir.SetCapacity(10 << 20)
	s := open(t, localdata.Options{FS: dir, KeepRoom: true})
	if _, err := s.Append(t.Context(), make([]byte, 100)); !errors.Is(err, data.ErrNoSpace) {
		t.Errorf("no room can be kept: %v", err)
	}
	if entries, _ := dir.List(); len(entries) != 0 {
		t.Errorf("left behind: %+v", entries)
	}
	if _, err := s.AppendSpare(t.Context(), make([]byte, 100)); err != nil {
		t.Errorf("what is moved to make room: %v", err)
	}
}
