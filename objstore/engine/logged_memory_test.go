package engine

import (
	"fmt"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// The buffers of files that are synced again and again stay until their next commit:
// what they reserve has a bound.
func TestBuffersOfLoggedWritesAreBounded(t *testing.T) {
	base := loggedArenas.Load()
	k, root := newStack(t, nil)
	var files []*File
	for i := range maxLoggedArenas/bigArena + 8 {
		f := fileAt(t, k.s, root, fmt.Sprint("f", i))
		mustWrite(t, f, bytesOf(1, 100_000), 0)
		mustSync(t, f)
		for j := range 3 {
			mustWrite(t, f, bytesOf(uint64(j), 40_000), 7)
			mustSync(t, f)
		}
		files = append(files, f)
	}
	arenas := 0
	for _, f := range files {
		if f.n.buf != nil {
			arenas += cap(f.n.buf.arena)
		}
	}
	if arenas < maxLoggedArenas/2 || arenas > maxLoggedArenas+bigArena {
		t.Errorf("the buffers of %d files reserve %d bytes, bound %d", len(files), arenas, maxLoggedArenas)
	}
	c := k.crash(nil, 0)
	if err := c.open(false); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		a, err := c.s.Lookup(bg, root, fmt.Sprint("f", i))
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.s.Open(bg, mountC, a.Inode, objstore.OpenFlags{Read: true})
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			err = f.Flush(bg)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(bg); err != nil {
			t.Fatal(err)
		}
	}
	c.close()
	for _, f := range files {
		mustGet(t, k.s, "f1")
		if err := f.Close(bg); err != nil {
			t.Fatal(err)
		}
	}
	if n := loggedArenas.Load() - base; n != 0 {
		t.Errorf("%d bytes are still accounted for", n)
	}
}
