package fs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
)

// fillable is a disk that is full when full says so.
type fillable struct {
	data.Store
	full atomic.Bool
}

func (d *fillable) Append(ctx context.Context, p []byte) (data.Location, error) {
	if d.full.Load() {
		return data.Location{}, data.ErrNoSpace
	}
	return d.Store.Append(ctx, p)
}

func mountFillable(t *testing.T, o Options) (*mounted, *fillable) {
	t.Helper()
	needFUSE(t)
	disk := new(fillable)
	s := storetest.Open(t, storetest.Options{Engine: func(o *engine.Options) { disk.Store, o.Data = o.Data, disk }}).Store
	b, err := s.CreateBucket(t.Context(), s3, objstore.CreateBucketRequest{Name: testBucket, Mode: 0777})
	if err != nil {
		t.Fatal(err)
	}
	o.Root = b.Root
	return mountStore(t, s, o), disk
}

func eachFillable(t *testing.T, fn func(t *testing.T, m *mounted, disk *fillable)) {
	for _, c := range []struct {
		name string
		o    Options
	}{{"writethrough", Options{}}, {"writeback", Options{Writeback: true}}} {
		t.Run(c.name, func(t *testing.T) {
			m, disk := mountFillable(t, c.o)
			fn(t, m, disk)
		})
	}
}

func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i/4096)*7 + byte(i) + seed
	}
	return b
}

// wantAgreed checks that mount and S3 show the same file.
func (m *mounted) wantAgreed(t *testing.T, key string, want []byte) {
	t.Helper()
	st, err := os.Stat(m.path(key))
	if err != nil {
		t.Fatal(err)
	}
	if st.Size() != int64(len(want)) {
		t.Errorf("%s: the mount says %d bytes, want %d", key, st.Size(), len(want))
	}
	got, err := os.ReadFile(m.path(key))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: the mount reads %d bytes, %v; want %d", key, len(got), err, len(want))
	}
	if got := m.get(t, key); !bytes.Equal(got, want) {
		t.Errorf("%s: S3 has %d bytes, want %d", key, len(got), len(want))
	}
	err = m.store.GetObject(t.Context(), s3, objstore.GetRequest{Bucket: testBucket, Key: key}, func(o *engine.Object) error {
		if mtime := st.ModTime().UnixNano(); mtime != int64(o.Info.LastModified) {
			t.Errorf("%s: the mount says %d, S3 %d", key, mtime, int64(o.Info.LastModified))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFailedWriteLeavesBothDoorsWithOneFile: after a write that found no room, both
// doors show the file as it was before, and the descriptor goes on from there.
func TestFailedWriteLeavesBothDoorsWithOneFile(t *testing.T) {
	eachFillable(t, func(t *testing.T, m *mounted, disk *fillable) {
		for name, end := range map[string]func(f *os.File) error{
			"fsync": (*os.File).Sync,
			"close": func(f *os.File) error {
				// As dup(2) and close(2) do.
				fd, err := unix.Dup(int(f.Fd()))
				if err != nil {
					return err
				}
				return unix.Close(fd)
			},
			"syncfs": func(f *os.File) error { return unix.Syncfs(int(f.Fd())) },
		} {
			old := pattern(1, 100_000)
			// Nobody but root can open it for writing once more.
			f, err := os.OpenFile(m.path(name), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o444)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.Write(old); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(m.path(name), m.path(name+".twin")); err != nil {
				t.Fatal(err)
			}
			disk.full.Store(true)
			_, err = f.Write(pattern(2, 300_000))
			if err == nil {
				err = end(f)
				if name == "syncfs" && err == nil {
					err = f.Sync() // newer kernels do not wait in syncfs
				}
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%s on a full disk: %v", name, err)
			}
			m.wantAgreed(t, name, old)
			m.wantAgreed(t, name+".twin", old)
			if st, err := f.Stat(); err != nil || st.Size() != int64(len(old)) {
				t.Errorf("%s: the descriptor says %d bytes, %v", name, st.Size(), err)
			}
			if name == "close" { // which can have been a child's, that told nobody
				if err := f.Sync(); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("fsync after close on a full disk: %v", err)
				}
			}
			disk.full.Store(false)
			more := pattern(3, 50_000)
			if _, err := f.Write(more); err != nil {
				t.Errorf("%s: there is room: %v", name, err)
			}
			if err := f.Sync(); err != nil {
				t.Errorf("%s: there is room: %v", name, err)
			}
			m.wantAgreed(t, name, slices.Concat(old, more))
			if err := f.Close(); err != nil {
				t.Errorf("%s: there is room: %v", name, err)
			}
			m.wantAgreed(t, name+".twin", slices.Concat(old, more))
		}
		if names, err := os.ReadDir(m.dir); err != nil || len(names) != 6 {
			t.Errorf("the root has %v, %v", names, err)
		}
	})
}

// TestWhatIsSyncedStaysOnADiskThatIsFullNowAndThen: a write that a sync has covered since
// the last one failed is there, however the kernel's pages and those of a file that is
// amended met.
func TestWhatIsSyncedStaysOnADiskThatIsFullNowAndThen(t *testing.T) {
	m, disk := mountFillable(t, Options{Writeback: true, WritebackInterval: time.Millisecond})
	const records, size = 400, 24 << 10
	var writers sync.WaitGroup
	for w := range 3 {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			name := fmt.Sprint("f", w)
			f, err := os.OpenFile(m.path(name), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			var since, synced []int // records since the last sync; those that one has covered
			failed := 0
			for i := range records {
				rec := pattern(byte(i), size)
				binary.BigEndian.PutUint64(rec, uint64(i)|1<<63)
				disk.full.Store(r.IntN(6) == 0)
				if _, err := f.Write(rec); err != nil {
					continue
				}
				since = append(since, i)
				if r.IntN(3) > 0 {
					continue
				}
				if err := f.Sync(); err == nil {
					synced = append(synced, since...)
				} else if errors.Is(err, syscall.ENOSPC) {
					failed++
				} else {
					t.Errorf("%s: %v", name, err)
				}
				since = nil
			}
			disk.full.Store(false)
			_ = f.Sync()
			got, err := os.ReadFile(m.path(name))
			if err != nil {
				t.Error(err)
			}
			have := make(map[int]bool)
			for at := 0; at+size <= len(got); at += size {
				head := binary.BigEndian.Uint64(got[at:])
				if head == 0 {
					continue // a hole: of two pieces the first found no room, the second did
				}
				i := int(head &^ (1 << 63))
				want := pattern(byte(i), size)
				have[i] = bytes.Equal(got[at+8:at+size], want[8:])
			}
			for _, i := range synced {
				if !have[i] {
					t.Errorf("%s: record %d was synced and is not there", name, i)
				}
			}
			t.Logf("%s: %d syncs failed, %d records synced", name, failed, len(synced))
			if failed == 0 || len(synced) == 0 {
				t.Errorf("%s: the disk was never full, or always", name)
			}
			if !bytes.Equal(m.get(t, name), got) {
				t.Errorf("%s: S3 has something else", name)
			}
		})
	}
	writers.Wait()
}
