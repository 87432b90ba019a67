package localdata_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/data/localdata"
)

func TestContractWithoutDirectIO(t *testing.T) {
	datatest.Run(t, func(t *testing.T) data.Store {
		return open(t, localdata.Options{FS: localdata.BufferedOS(t.TempDir()), SegmentBytes: 8 << 20})
	})
}

func TestContractInMemory(t *testing.T) {
	datatest.Run(t, func(t *testing.T) data.Store {
		cfs := datatest.NewCrashFS(nil)
		t.Cleanup(func() {
			for _, v := range cfs.Violations() {
				t.Error(v)
			}
			if n := cfs.Opened(); n != 0 {
				t.Errorf("%d files are open", n)
			}
		})
		return open(t, localdata.Options{FS: cfs, SegmentBytes: 300_000})
	})
}

// TestRefusedDirectTransferFallsBack: a transfer that O_DIRECT refuses, as on
// a device with larger blocks, is done through the page cache, and so are
// those after it.
func TestRefusedDirectTransferFallsBack(t *testing.T) {
	dir := localdata.OS(t.TempDir())
	f, err := dir.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !localdata.IsDirect(f) {
		t.Skip("no O_DIRECT here")
	}
	p := datatest.Bytes(1, 5000)
	if _, err := f.WriteAt(p[:4999], 1); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4999)
	if _, err := f.ReadAt(got, 1); err != nil || !bytes.Equal(got, p[:4999]) {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	g, err := dir.OpenRead("a")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, err := g.ReadAt(got, 1); err != nil || !bytes.Equal(got, p[:4999]) {
		t.Fatal(err)
	}
	if _, err := dir.Create("a"); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second create: %v, want ErrExist", err)
	}
}

// All transfers that were under way are done again, not only the one that finds it
// out.
func TestRefusedDirectTransfersFallBackTogether(t *testing.T) {
	dir := localdata.OS(t.TempDir())
	const writers, size = 8, 4999
	p := datatest.Bytes(1, size)
	for i := range 100 {
		f, err := dir.Create(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		if !localdata.IsDirect(f) {
			t.Skip("no O_DIRECT here")
		}
		start := make(chan struct{})
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				<-start
				if _, err := f.WriteAt(p, int64(w*size)); err != nil {
					t.Errorf("file %d: %v", i, err)
				}
			})
		}
		close(start)
		wg.Wait()
		if err := f.Close(); err != nil || t.Failed() {
			t.Fatal(err)
		}
	}
}

// A file that was removed before it was read through the page cache is read
// directly.
func TestCachedReadFallsBackWhenTheFileIsGone(t *testing.T) {
	dir := localdata.OS(t.TempDir())
	f, err := dir.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !localdata.IsDirect(f) {
		t.Skip("no O_DIRECT here")
	}
	p := datatest.Bytes(1, 9000)
	block := localdata.Aligned(8192)
	copy(block, p)
	if _, err := f.WriteAt(block, 0); err != nil {
		t.Fatal(err)
	}
	g, err := dir.OpenRead("a")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	got := make([]byte, 5001)
	if _, err := g.(localdata.CachedReader).ReadCachedAt(got, 3); err != nil || !bytes.Equal(got, p[3:5004]) {
		t.Fatalf("cached read: %v", err)
	}
	if err := dir.Remove("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.(localdata.CachedReader).ReadCachedAt(got, 3); !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("cached read of a removed file: %v", err)
	}
	if _, err := g.(localdata.CachedReader).ReadCachedAt(got, 3); err != nil || !bytes.Equal(got, p[3:5004]) {
		t.Fatalf("cached read through an open file: %v", err)
	}
}
