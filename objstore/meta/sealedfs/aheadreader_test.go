package sealedfs

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// countingFS counts the reads of its files.
type countingFS struct {
	vfs.FS
	reads int
}

func (c *countingFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return &countingFile{f, c}, nil
}

type countingFile struct {
	vfs.File
	in *countingFS
}

func (f *countingFile) ReadAt(p []byte, off int64) (int, error) {
	f.in.reads++
	return f.File.ReadAt(p, off)
}

func TestLogOfSmallSyncedWritesIsReadInLargePieces(t *testing.T) {
	base := &countingFS{FS: vfs.NewMem()}
	fs := newFS(t, base)
	name := testDir + "/000005.log"
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for range 10_000 {
		p := pattern(100 + len(want)%50)
		want = append(want, p...)
		if _, err := f.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	fi, err := base.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d of %d bytes, %v", len(got), len(want), err)
	}
	// Twice as many, since a frame that begins in one piece and ends behind it is
	// read again, and some for the end.
	if limit := 2*int(fi.Size())/readAhead + 8; base.reads > limit {
		t.Errorf("%d reads of a log of %d bytes, at most %d are needed", base.reads, fi.Size(), limit)
	}
}

func TestAheadReaderReadsWhatTheFileHolds(t *testing.T) {
	mem := vfs.NewMem()
	want := make([]byte, 3*readAhead+1000)
	rnd := rand.NewChaCha8([32]byte{1})
	rnd.Read(want)
	if err := mem.MkdirAll(testDir, 0o700); err != nil {
		t.Fatal(err)
	}
	putRaw(t, mem, "000005.log", want)
	base, err := mem.Open(testDir + "/000005.log")
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	r := aheadReader{base: base}
	at := rand.New(rnd)
	off := 0
	for range 3000 {
		size := 1 + at.IntN(readAhead>>at.IntN(12))
		switch at.IntN(20) {
		case 0:
			off = at.IntN(len(want) + 10)
		case 1:
			off = max(0, len(want)-size)
		}
		p := make([]byte, size)
		n, err := r.ReadAt(p, int64(off))
		hold := want[min(off, len(want)):min(off+size, len(want))]
		if !bytes.Equal(p[:n], hold) || (err != nil) != (n < size) || err != nil && err != io.EOF {
			t.Fatalf("%d bytes at %d: read %d, %v", size, off, n, err)
		}
		off += n
	}
	failure := errors.New("this disk fails")
	failing := aheadReader{base: failingFile{base, failure}}
	if n, err := failing.ReadAt(make([]byte, 8), 0); n != 0 || err != failure {
		t.Errorf("read %d, %v", n, err)
	}
}

type failingFile struct {
	vfs.File
	err error
}

func (f failingFile) ReadAt([]byte, int64) (int, error) { return 0, f.err }
