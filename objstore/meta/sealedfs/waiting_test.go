package sealedfs

import (
	"bytes"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/objstore/meta"
)

// fullFS has no room for what only picks.
type fullFS struct {
	vfs.FS
	mu   sync.Mutex
	only func(op, name string) bool // nil: room for all
}

func (fs *fullFS) set(only func(op, name string) bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.only = only
}

func (fs *fullFS) full(op, name string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.only != nil && fs.only(op, path.Base(name)) {
		return syscall.ENOSPC
	}
	return nil
}

func (fs *fullFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.full("create", name); err != nil {
		return nil, err
	}
	f, err := fs.FS.Create(name, c)
	return &fullFile{f, fs, name}, err
}

type fullFile struct {
	vfs.File
	fs   *fullFS
	name string
}

func (f *fullFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.fs.full("write", f.name); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/3], off)
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f *fullFile) SyncData() error {
	if err := f.fs.full("sync", f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

func isLogName(_, name string) bool { return path.Ext(name) == ".log" }

func create(t *testing.T, fs *FS, name string) vfs.File {
	t.Helper()
	f, err := fs.Create(testDir+"/"+name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func put(t *testing.T, f vfs.File, p []byte) {
	t.Helper()
	if _, err := f.Write(p); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// While one thing waits for room nothing that was asked for after it is there before it:
// no file that a manifest could still need is gone, and no manifest is in force.
func TestNothingOvertakesWhatWaitsForRoom(t *testing.T) {
	base := &fullFS{FS: vfs.NewMem()}
	fs := newFS(t, base)
	log := create(t, fs, "000005.log")
	put(t, log, pattern(100))
	old := create(t, fs, "MANIFEST-000001")
	put(t, old, pattern(50))
	write(t, fs, "000003.sst", pattern(10))
	put(t, old, pattern(50)) // may name it
	fs.Defer()

	base.set(isLogName)
	put(t, log, pattern(3000))
	if !fs.Waits() {
		t.Fatal("nothing waits")
	}
	names, err := base.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	size := func(name string) int { return len(raw(t, base, name)) }
	manifest := size("MANIFEST-000001")
	put(t, old, pattern(50))
	next := create(t, fs, "MANIFEST-000007")
	put(t, next, pattern(50))
	create(t, fs, "marker.manifest.000002.MANIFEST-000007").Close()
	d, err := fs.OpenDir(testDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	later := create(t, fs, "000008.log")
	if err := errors.Join(d.Sync(), d.Close(), old.Close(), fs.Remove(testDir+"/000003.sst"), fs.Remove(testDir+"/MANIFEST-000001")); err != nil {
		t.Fatal(err)
	}
	put(t, later, pattern(200))
	now, err := base.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(now)
	if !slices.Equal(now, names) || size("MANIFEST-000001") != manifest {
		t.Errorf("before: %v, manifest of %d bytes; now: %v, %d bytes", names, manifest, now, size("MANIFEST-000001"))
	}
	if err := fs.Retry(); !errors.Is(err, meta.ErrNoSpace) {
		t.Errorf("retry: %v", err)
	}

	base.set(nil)
	if err := fs.Retry(); err != nil || fs.Waits() {
		t.Fatalf("with room again: %v", err)
	}
	now, err = base.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(now)
	want := []string{"000005.log", "000008.log", "MANIFEST-000007", "marker.manifest.000002.MANIFEST-000007"}
	if !slices.Equal(now, want) {
		t.Errorf("with room again there are %v", now)
	}
	for name, n := range map[string][]int{"000005.log": {100, 3000}, "000008.log": {200}, "MANIFEST-000007": {50}} {
		var want []byte
		for _, n := range n {
			want = append(want, pattern(n)...)
		}
		f, err := fs.Open(testDir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
		}
		f.Close()
	}
	if err := errors.Join(later.Close(), next.Close(), fs.Shutdown()); err != nil {
		t.Fatal(err)
	}
	if err := newFS(t, base).Check(); err != nil {
		t.Error(err)
	}
}

// A table that no manifest names takes room for nothing.
func TestFailedTableGoesAtOnceOnAFullDisk(t *testing.T) {
	base := &fullFS{FS: vfs.NewMem()}
	fs := newFS(t, base)
	log := create(t, fs, "000005.log")
	fs.Defer()
	table := create(t, fs, "000006.sst")
	base.set(isLogName)
	put(t, log, pattern(3000))
	if err := errors.Join(table.Close(), fs.Remove(testDir+"/000006.sst")); err != nil {
		t.Fatal(err)
	}
	if _, err := base.Stat(testDir + "/000006.sst"); err == nil {
		t.Error("the table is there")
	}
	if _, err := fs.Create(testDir+"/000007.sst", vfs.WriteCategoryUnspecified); !errors.Is(err, meta.ErrNoSpace) {
		t.Errorf("another table takes the room that the log waits for: %v", err)
	}
	if len(fs.fresh) > 0 {
		t.Errorf("keeps in mind tables that are gone: %v", fs.fresh)
	}
}

// Data for which there is no room do not freeze the metadata that follow them, and do
// not get the room that is kept for these.
func TestMetadataWaitForDataWithoutRoom(t *testing.T) {
	fs := newFS(t, vfs.NewMem())
	var full error
	fs.o.BeforeDurable = func() error { return full }
	fs.o.NoSpace = func() bool {
		t.Error("gave up the reserve")
		return false
	}
	log := create(t, fs, "000005.log")
	fs.Defer()
	full = meta.ErrNoSpace
	put(t, log, pattern(100))
	if err := fs.Retry(); !errors.Is(err, meta.ErrNoSpace) || fs.Err() != nil {
		t.Fatalf("%v, %v", err, fs.Err())
	}
	full = nil
	if err := fs.Retry(); err != nil {
		t.Fatal(err)
	}
	full = syscall.EIO
	put(t, log, pattern(100))
	if err := fs.Err(); !errors.Is(err, syscall.EIO) {
		t.Errorf("data that failed: %v", err)
	}
}

// hold writes a third of what a log holds back.
func hold(t *testing.T, fs *FS, f vfs.File) {
	t.Helper()
	if _, err := f.Write(pattern(fs.o.HoldBytes / 3)); err != nil {
		t.Fatal(err)
	}
}

// What a sync would have to write again stays in memory, and that has a bound.
func TestLogSyncsBeforeItKeepsTooMuch(t *testing.T) {
	base := &fullFS{FS: vfs.NewMem()}
	fs := newFS(t, base)
	fs.Defer()
	f := create(t, fs, "000005.log")
	log := f.(*logWriter)
	most := (keptHolds + 2) * (fs.o.HoldBytes + frameOverhead)
	for i := range 200 {
		hold(t, fs, f)
		if int64(len(log.out)) != log.end-log.synced || len(log.out) > most {
			t.Fatalf("after %d writes %d bytes are kept, %d are not synced", i, len(log.out), log.end-log.synced)
		}
	}
	// Nor does it keep more where the sync finds no room.
	base.set(func(op, name string) bool { return op == "sync" && strings.HasSuffix(name, ".log") })
	for range 200 {
		hold(t, fs, f)
	}
	if !fs.Waits() || len(log.out) > most {
		t.Errorf("%v, %d bytes are sealed", fs.Waits(), len(log.out))
	}
	base.set(nil)
	put(t, f, nil)
	if err := fs.Retry(); err != nil {
		t.Fatal(err)
	}
	r, err := fs.Open(testDir + "/000005.log")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || len(got) != 400*(fs.o.HoldBytes/3) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// With room again a log holds no more than ever, though nobody syncs it.
func TestLogWritesWhatItHeldWithoutRoom(t *testing.T) {
	base := &fullFS{FS: vfs.NewMem()}
	fs := newFS(t, base)
	fs.Defer()
	f := create(t, fs, "000005.log")
	log := f.(*logWriter)
	base.set(isLogName)
	for range 20 {
		hold(t, fs, f)
	}
	base.set(nil)
	if err := fs.Retry(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		hold(t, fs, f)
		if len(log.held) >= fs.o.HoldBytes {
			t.Fatalf("%d bytes are held", len(log.held))
		}
	}
	put(t, f, nil)
	r, err := fs.Open(testDir + "/000005.log")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, bytes.Repeat(pattern(fs.o.HoldBytes/3), 40)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// On a full disk Pebble tries to flush about once a second, each time under another
// number. A year of that takes nothing for foreign.
func TestTableMadeAfterManyTriesIsTheStores(t *testing.T) {
	base := vfs.NewMem()
	fs := newFS(t, base)
	manifest, log := withManifest(t, fs)
	write(t, fs, "100000000.sst", pattern(10))
	if err := errors.Join(log.Close(), manifest.Close(), fs.Shutdown()); err != nil {
		t.Fatal(err)
	}
	if err := newFS(t, base).Check(); err != nil {
		t.Error(err)
	}
}
