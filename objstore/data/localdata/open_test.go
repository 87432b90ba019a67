package localdata_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/data/localdata"
)

// fill makes n segments of one run each in dir and returns the runs.
func fill(t *testing.T, dir string, n int) []run {
	t.Helper()
	s := open(t, localdata.Options{Dir: dir, SegmentBytes: 4096 * 2})
	var runs []run
	for i := range n {
		r := run{seed: uint64(i), synced: true}
		var err error
		if r.l, err = s.Append(t.Context(), datatest.Bytes(r.seed, 10_000)); err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return runs
}

func segmentPath(dir string, r run) string { return filepath.Join(dir, r.l.Segment.String()) }

func TestReopenedStoreHoldsEverythingAndSealsIt(t *testing.T) {
	dir := t.TempDir()
	runs := fill(t, dir, 5)
	s := open(t, localdata.Options{Dir: dir})
	for _, r := range runs {
		if err := datatest.Check(t.Context(), s, r.l, r.bytes()); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for info, err := range s.Segments(t.Context()) {
		if err != nil || !info.Sealed {
			t.Fatalf("%+v, %v", info, err)
		}
		// The room that was set aside has been given back.
		if info.Size != 4096*4 {
			t.Fatalf("%d bytes, want a header and 10,000 bytes in blocks", info.Size)
		}
		n++
	}
	if n != len(runs) {
		t.Fatalf("%d segments, want %d", n, len(runs))
	}
	l, err := s.Append(t.Context(), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		if l.Segment == r.l.Segment {
			t.Fatal("a sealed segment took an append")
		}
	}
}

func TestSealedSegmentGivesSurplusRoomBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, localdata.Options{Dir: dir})
	l, err := s.Append(t.Context(), make([]byte, 5000))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, l.Segment.String()))
	if err != nil || st.Size() != 4096*3 {
		t.Fatalf("%v, %v: want a header and two blocks", st, err)
	}
}

func TestRemovedSegmentIsGone(t *testing.T) {
	dir := t.TempDir()
	runs := fill(t, dir, 3)
	s := open(t, localdata.Options{Dir: dir})
	for _, r := range runs[:2] {
		if err := datatest.Check(t.Context(), s, r.l, r.bytes()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.Remove(t.Context(), runs[0].l.Segment); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ReadAt(t.Context(), runs[0].l, make([]byte, 1), 0); !errors.Is(err, data.ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	for _, r := range runs[1:] {
		if err := datatest.Check(t.Context(), s, r.l, r.bytes()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSealedSegmentsOfThisProcessCanBeRemoved(t *testing.T) {
	s := open(t, localdata.Options{Dir: t.TempDir(), SegmentBytes: 8192})
	first, err := s.Append(t.Context(), make([]byte, 5000))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), first.Segment); !errors.Is(err, data.ErrNotSealed) {
		t.Fatalf("full but not synced: %v, want ErrNotSealed", err)
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), first.Segment); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedFilesAreDetected: whatever happens to the files, a read says so
// or gives what stands in the place (which the caller authenticates), and the
// other segments are not affected.
func TestDamagedFilesAreDetected(t *testing.T) {
	flip := func(off int64) func(t *testing.T, dir string, runs []run) {
		return func(t *testing.T, dir string, runs []run) {
			p, err := os.ReadFile(segmentPath(dir, runs[0]))
			if err != nil {
				t.Fatal(err)
			}
			p[off] ^= 0x10
			if err := os.WriteFile(segmentPath(dir, runs[0]), p, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	cut := func(size int64) func(t *testing.T, dir string, runs []run) {
		return func(t *testing.T, dir string, runs []run) {
			if err := os.Truncate(segmentPath(dir, runs[0]), size); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, dir string, runs []run)
		want   error
	}{
		{"magic", flip(3), data.ErrCorrupt},
		{"version", flip(9), nil},
		{"block size", flip(13), data.ErrCorrupt},
		{"id", flip(20), data.ErrCorrupt},
		{"reserved", flip(100), data.ErrCorrupt},
		{"checksum", flip(4095), data.ErrCorrupt},
		{"empty", cut(0), data.ErrCorrupt},
		{"cut in the header", cut(4095), data.ErrCorrupt},
		{"cut after the header", cut(4096), data.ErrCorrupt},
		{"cut in the run", cut(4096 + 9999), data.ErrCorrupt},
		{"removed", func(t *testing.T, dir string, runs []run) {
			os.Remove(segmentPath(dir, runs[0]))
		}, data.ErrNotFound},
		{"swapped", func(t *testing.T, dir string, runs []run) {
			a, b := segmentPath(dir, runs[0]), segmentPath(dir, runs[1])
			os.Rename(a, a+".x")
			os.Rename(b, a)
			os.Rename(a+".x", b)
		}, data.ErrCorrupt},
		{"directory", func(t *testing.T, dir string, runs []run) {
			os.Remove(segmentPath(dir, runs[0]))
			os.Mkdir(segmentPath(dir, runs[0]), 0o700)
		}, nil},
		{"symbolic link", func(t *testing.T, dir string, runs []run) {
			os.Rename(segmentPath(dir, runs[0]), filepath.Join(dir, "x"))
			os.Symlink("x", segmentPath(dir, runs[0]))
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			runs := fill(t, dir, 3)
			c.damage(t, dir, runs)
			s := open(t, localdata.Options{Dir: dir})
			err := s.ReadAt(t.Context(), runs[0].l, make([]byte, 10_000), 0)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err := datatest.Check(t.Context(), s, runs[2].l, runs[2].bytes()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCutWithinARunLeavesWhatStandsBefore(t *testing.T) {
	dir := t.TempDir()
	runs := fill(t, dir, 1)
	if err := os.Truncate(segmentPath(dir, runs[0]), 4096+5000); err != nil {
		t.Fatal(err)
	}
	s := open(t, localdata.Options{Dir: dir})
	got := make([]byte, 5000)
	if err := s.ReadAt(t.Context(), runs[0].l, got, 0); err != nil || !bytes.Equal(got, runs[0].bytes()[:5000]) {
		t.Fatalf("the part that is there: %v", err)
	}
	if err := s.ReadAt(t.Context(), runs[0].l, got, 1); !errors.Is(err, data.ErrCorrupt) {
		t.Fatalf("one byte more: %v, want ErrCorrupt", err)
	}
}

func TestOtherFilesAreLeftAloneAndLoggedOnce(t *testing.T) {
	dir := t.TempDir()
	runs := fill(t, dir, 1)
	others := []string{"lost+found", "README", strings.ToUpper(runs[0].l.Segment.String()[:31]) + "F", runs[0].l.Segment.String() + "0"}
	for _, name := range others {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	s := open(t, localdata.Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		n := 0
		for _, err := range s.Segments(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 1 {
			t.Fatalf("%d segments, want 1", n)
		}
	}
	if n := strings.Count(log.String(), "not a segment"); n != len(others) {
		t.Fatalf("%d lines, want %d:\n%s", n, len(others), &log)
	}
}

func TestOpenWritesNothing(t *testing.T) {
	cfs := datatest.NewCrashFS(nil)
	s := open(t, localdata.Options{FS: cfs})
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := cfs.Ops(); n != 0 {
		t.Fatalf("%d changes", n)
	}
}

// listCounter counts how often the directory is listed.
type listCounter struct {
	localdata.FS
	n int
}

func (c *listCounter) List() ([]localdata.Entry, error) {
	c.n++
	return c.FS.List()
}

func TestOpenDoesNotLookAtTheSegments(t *testing.T) {
	dir := t.TempDir()
	runs := fill(t, dir, 1)
	c := &listCounter{FS: localdata.OS(dir)}
	s := open(t, localdata.Options{FS: c})
	if err := s.ReadAt(t.Context(), runs[0].l, make([]byte, 100), 0); err != nil {
		t.Fatal(err)
	}
	if c.n != 0 {
		t.Errorf("listed all segments %d times", c.n)
	}
}

func TestMissingDirectoryIsMadeOnlyWhenAsked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if _, err := localdata.Open(t.Context(), localdata.Options{Dir: dir}); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v, want ErrNotExist", err)
	}
	if _, err := localdata.Open(t.Context(), localdata.Options{Dir: dir, Create: true, ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("read-only: got %v, want ErrNotExist", err)
	}
	s := open(t, localdata.Options{Dir: dir, Create: true})
	if _, err := s.Append(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := localdata.Open(t.Context(), localdata.Options{}); err == nil {
		t.Fatal("opened without a directory")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := localdata.Open(ctx, localdata.Options{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestReadOnlyStoreRefusesChanges(t *testing.T) {
	dir := t.TempDir()
	runs := fill(t, dir, 1)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	s := open(t, localdata.Options{Dir: dir, ReadOnly: true})
	if err := datatest.Check(t.Context(), s, runs[0].l, runs[0].bytes()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), []byte("x")); !errors.Is(err, data.ErrReadOnly) {
		t.Fatalf("append: %v", err)
	}
	if err := s.Remove(t.Context(), runs[0].l.Segment); !errors.Is(err, data.ErrReadOnly) {
		t.Fatalf("remove: %v", err)
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	cfs := datatest.NewCrashFS(nil)
	opt := localdata.Options{FS: cfs, SegmentBytes: 8192, OpenFiles: 3}
	s := open(t, opt)
	var runs []run
	for i := range 50 {
		r := run{seed: uint64(i)}
		var err error
		if r.l, err = s.Append(t.Context(), datatest.Bytes(r.seed, 6000)); err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
		// 8 that wait for a barrier, and what is cached.
		if n := cfs.Opened(); n > 8+3 {
			t.Fatalf("%d files are open after %d appends", n, i)
		}
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, r := range runs {
			if err := datatest.Check(t.Context(), s, r.l, r.bytes()); err != nil {
				t.Fatal(err)
			}
			if n := cfs.Opened(); n > 3+1 {
				t.Fatalf("%d files are open, want the active one and 3", n)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := cfs.Opened(); n != 0 {
		t.Fatalf("%d files are open after Close", n)
	}
	for _, v := range cfs.Violations() {
		t.Error(v)
	}
}

func TestSegmentCanBeWalkedWithoutMetadata(t *testing.T) {
	s := open(t, localdata.Options{Dir: t.TempDir()})
	var want []byte
	for i := range 30 {
		// Shorter and shorter, so that staging buffers hold old bytes where
		// the padding goes.
		p := datatest.Bytes(uint64(i), 1+(30-i)*997)
		if _, err := s.Append(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		want = append(want, p...)
		if i%4 == 0 {
			if err := s.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for info, err := range s.Segments(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, info.Size-info.Start)
		l := data.Location{Segment: info.ID, Offset: info.Start, Length: uint32(len(p))}
		if err := s.ReadAt(t.Context(), l, p, 0); err != nil {
			t.Fatal(err)
		}
		// The runs hold no zero, the padding nothing else.
		if got := bytes.ReplaceAll(p, []byte{0}, nil); !bytes.Equal(got, want) {
			t.Fatal("a segment holds something else than runs and padding")
		}
	}
}

// TestFullRealDisk fills a file system to the brim and goes on after room was
// made. COFFER_SMALL_DISK names a directory on a file system of at most a few
// hundred MiB that nobody else uses.
func TestFullRealDisk(t *testing.T) {
	parent := os.Getenv("COFFER_SMALL_DISK")
	if parent == "" {
		t.Skip("COFFER_SMALL_DISK is not set")
	}
	dir, err := os.MkdirTemp(parent, "full")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	opt := localdata.Options{Dir: dir, SegmentBytes: 16 << 20}
	s := open(t, opt)
	var runs []run
	for round := range 3 {
		var err error
		for {
			r := run{seed: uint64(len(runs))}
			if r.l, err = s.Append(t.Context(), datatest.Bytes(r.seed, 300_000)); err != nil {
				break
			}
			runs = append(runs, r)
			if len(runs)%7 == 0 {
				if err := s.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !errors.Is(err, data.ErrNoSpace) {
			t.Fatal(err)
		}
		t.Logf("round %d: full with %d runs: %v", round, len(runs), err)
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			if err := datatest.Check(t.Context(), s, r.l, r.bytes()); err != nil {
				t.Fatal(err)
			}
		}
		gone := runs[0].l.Segment
		if err := s.Remove(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		kept := runs[:0]
		for _, r := range runs {
			if r.l.Segment != gone {
				kept = append(kept, r)
			}
		}
		runs = kept
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, opt)
	for _, r := range runs {
		if err := datatest.Check(t.Context(), s, r.l, r.bytes()); err != nil {
			t.Fatal(err)
		}
	}
}

// A pipe would make whoever opens it wait.
func TestWhatIsNoRegularFileIsCorrupt(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"pipe":          func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":     func(path string) error { return os.Mkdir(path, 0o700) },
		"symbolic link": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		dir := t.TempDir()
		runs := fill(t, dir, 1)
		path := segmentPath(dir, runs[0])
		if err := errors.Join(os.Remove(path), put(path)); err != nil {
			t.Fatal(err)
		}
		// With a writer, opening a pipe does not wait.
		if p, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0); err == nil {
			defer p.Close()
		}
		s := open(t, localdata.Options{Dir: dir})
		if err := s.ReadAt(t.Context(), runs[0].l, make([]byte, 10), 0); !errors.Is(err, data.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
