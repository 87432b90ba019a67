package pebblekv

import (
	"fmt"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// readsFS counts what is read of files, by the ends of their names, until
// Pebble puts its options in place, which comes after replay and flush and before
// anything that goes on in the background.
type readsFS struct {
	vfs.FS

	mu    sync.Mutex // guards the fields below
	over  bool
	opens map[string]int
	bytes map[string]int64
}

func (c *readsFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	kind, _, _ := strings.Cut(path.Base(name), "-")
	if ext := path.Ext(name); ext != "" {
		kind = ext
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.opens[kind]++
	}
	return &readsFile{f, c, kind}, nil
}

func (c *readsFS) Rename(from, to string) error {
	if strings.HasPrefix(path.Base(to), "OPTIONS-") {
		c.mu.Lock()
		c.over = true
		c.mu.Unlock()
	}
	return c.FS.Rename(from, to)
}

type readsFile struct {
	vfs.File
	in   *readsFS
	kind string
}

func (f *readsFile) count(n int) {
	f.in.mu.Lock()
	defer f.in.mu.Unlock()
	if !f.in.over {
		f.in.bytes[f.kind] += int64(n)
	}
}

func (f *readsFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.count(n)
	return n, err
}

func (f *readsFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.count(n)
	return n, err
}

// What opening takes must not grow with the store: after a crash it reads the logs
// that were not flushed, which are bounded, the manifest, and no table.
func TestOpeningAfterACrashReadsNoTables(t *testing.T) {
	mem := vfs.NewCrashableMem()
	o := testOptions(mem, testDir)
	s := mustOpen(t, create(o))
	fill(t, s, 30_000)
	for i := range 200 {
		set(t, s, fmt.Sprintf("after-%d", i), strings.Repeat("x", 300))
	}
	if err := s.Sync(bg); err != nil {
		t.Fatal(err)
	}
	crashed := mem.CrashClone(vfs.CrashCloneCfg{})
	size := map[string]int64{}
	tables := 0
	names, err := crashed.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		fi, err := crashed.Stat(crashed.PathJoin(testDir, name))
		if err != nil {
			t.Fatal(err)
		}
		size[path.Ext(name)] += fi.Size()
		if path.Ext(name) == ".sst" {
			tables++
		}
	}
	if size[".log"] < 60_000 || size[".sst"] < 1<<20 || tables < 4 {
		t.Fatalf("%d tables; bytes: %v", tables, size)
	}
	o.FS = &readsFS{FS: crashed, opens: map[string]int{}, bytes: map[string]int64{}}
	mustOpen(t, o)
	c := o.FS.(*readsFS)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		t.Fatal("Pebble wrote no options")
	}
	if c.opens[".sst"] > 0 {
		t.Errorf("opened %d tables and read %d bytes of them", c.opens[".sst"], c.bytes[".sst"])
	}
	if limit := 2*size[".log"] + 256<<10; c.bytes[".log"] > limit {
		t.Errorf("read %d bytes of %d in logs", c.bytes[".log"], size[".log"])
	}
	if c.bytes["MANIFEST"] > 256<<10 {
		t.Errorf("read %d bytes of the manifest", c.bytes["MANIFEST"])
	}
}
