package localdata_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/data/localdata"
)

const (
	frameMark = "a frame:"
	frameHead = len(frameMark) + 4
)

// framed is a run of n bytes that says how long it is.
func framed(n int) []byte {
	p := append(make([]byte, 0, n), frameMark...)
	p = binary.BigEndian.AppendUint32(p, uint32(n))
	return append(p, datatest.Bytes(1, n-frameHead)...)
}

// walk returns where frames are found in the segments, by what package data says
// stands in one.
func walk(t *testing.T, s *localdata.Store) map[data.Location]bool {
	t.Helper()
	found := make(map[data.Location]bool)
	for info, err := range s.Segments(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, frameHead)
		for pos := info.Start; pos+uint64(frameHead) <= info.Size; {
			if err := s.ReadAt(t.Context(), data.Location{Segment: info.ID, Offset: pos, Length: uint32(frameHead)}, head, 0); err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(head, []byte(frameMark)) {
				pos = (pos/data.Block + 1) * data.Block
				continue
			}
			l := data.Location{Segment: info.ID, Offset: pos, Length: binary.BigEndian.Uint32(head[len(frameMark):])}
			found[l] = true
			pos += uint64(l.Length)
		}
	}
	return found
}

// TestFullDiskTearsNoRun: where the disk fills while a run waits for memory, no
// beginning of it stays behind, which would hide from a walk what comes next.
func TestFullDiskTearsNoRun(t *testing.T) {
	for name, add := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := datatest.NewCrashFS(nil)
				gate := make(chan struct{})
				var mu sync.Mutex
				full := true
				fs.SetHook(func(op datatest.Op) datatest.Fault {
					mu.Lock()
					defer mu.Unlock()
					switch {
					case op.Kind == "preallocate":
						return datatest.Fault{Err: syscall.EOPNOTSUPP}
					case op.Kind == "write" && full:
						return datatest.Fault{Err: syscall.ENOSPC, Wait: gate}
					}
					return datatest.Fault{}
				})
				s := open(t, localdata.Options{FS: fs})
				var runs []data.Location
				failed := make(chan error)
				go func() {
					for {
						l, err := add(t.Context(), s, framed(5<<20+100))
						if err != nil {
							failed <- err
							return
						}
						runs = append(runs, l)
					}
				}()
				synctest.Wait() // the last one waits for memory
				close(gate)
				if err := <-failed; !errors.Is(err, data.ErrNoSpace) {
					t.Fatal(err)
				}
				synctest.Wait() // the other writes have failed, too
				mu.Lock()
				full = false
				mu.Unlock()
				for range 20 {
					l, err := add(t.Context(), s, framed(100_000))
					if err != nil {
						t.Fatal(err)
					}
					runs = append(runs, l)
				}
				if err := s.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
				found := walk(t, s)
				for i, l := range runs {
					if !found[l] {
						t.Errorf("run %d of %d, %v, is hidden", i, len(runs), l)
					}
				}
				if len(found) != len(runs) {
					t.Errorf("%d frames are found, %d runs were appended", len(found), len(runs))
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				for _, v := range fs.Violations() {
					t.Error(v)
				}
			})
		})
	}
}
