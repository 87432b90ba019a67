package engine

import (
	"bytes"
	"crypto/rand"
	mrand "math/rand/v2"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// What is read through remembered maps is what was written last, whatever
// commits, truncations and compactions come between.
func TestReadsThroughWindowsAreNeverStale(t *testing.T) {
	k, root := newStack(t, func(k *stack) { k.segment = 1 << 20 })
	_, f, err := k.s.Create(bg, objstore.Caller{Origin: 1}, root, "f", 0o644, objstore.OpenFlags{Read: true, Write: true}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close(bg)
	model := make([]byte, 3<<20)
	rand.Read(model)
	if _, err := f.WriteAt(bg, model, 0); err != nil {
		t.Fatal(err)
	}
	found := newCollector()
	rng := mrand.New(mrand.NewPCG(1, 2))
	for i := range 400 {
		switch rng.IntN(8) {
		case 0, 1:
			p := make([]byte, 1+rng.IntN(200<<10))
			rand.Read(p)
			off := rng.IntN(len(model) - len(p))
			if _, err := f.WriteAt(bg, p, int64(off)); err != nil {
				t.Fatal(err)
			}
			copy(model[off:], p)
		case 2:
			if err := f.Flush(bg); err != nil {
				t.Fatal(err)
			}
		case 3:
			if i%40 != 0 {
				continue
			}
			if err := f.Truncate(bg, 1<<20); err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(bg, int64(len(model))); err != nil {
				t.Fatal(err)
			}
			clear(model[1<<20:])
		case 4:
			if err := k.s.collect(bg, found); err != nil {
				t.Fatal(err)
			}
		default:
			p := make([]byte, 1+rng.IntN(300<<10))
			off := rng.IntN(len(model) - len(p))
			n, err := f.ReadAt(bg, p, int64(off))
			if err != nil || n != len(p) || !bytes.Equal(p, model[off:off+len(p)]) {
				t.Fatalf("step %d: %d bytes at %d, %v", i, n, off, err)
			}
		}
	}
	if k.s.windowed.Load() == 0 {
		t.Error("no map was remembered")
	}
	if err := f.Close(bg); err != nil {
		t.Fatal(err)
	}
	if n := k.s.windowed.Load(); n != 0 {
		t.Errorf("%d spans are still counted", n)
	}
}
