package engine

import (
	"fmt"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
)

// TestCutThatFailsButIsThere: a file goes on with what is committed, and what is
// written to it then is not freed with what was cut off.
func TestCutThatFailsButIsThere(t *testing.T) {
	for name, cut := range map[string]func(f *File) error{
		"to nothing": func(f *File) error { return f.Truncate(bg, 0) },
		"shorter":    func(f *File) error { return f.Truncate(bg, 30_000) },
		"longer":     func(f *File) error { return f.Truncate(bg, 300_000) },
		"hole": func(f *File) error {
			return f.Allocate(bg, objstore.AllocatePunchHole|objstore.AllocateKeepSize, 10, 50_000)
		},
	} {
		for _, size := range []int{1000, 100_000} {
			for _, state := range []objstore.Versioning{objstore.VersioningOff, objstore.VersioningEnabled} {
				t.Run(fmt.Sprintf("%s of %d, %v", name, size, state), func(t *testing.T) {
					kv := &faultKV{}
					k, root := newStack(t, func(k *stack) {
						k.wrapKV = func(s meta.Store) meta.Store { kv.Store = s; return kv }
					})
					if state != objstore.VersioningOff {
						k.versioning(state)
					}
					put(t, k.s, "f", bytesOf(1, size))
					f := fileAt(t, k.s, root, "f")
					defer f.Close(bg)
					readAll(t, f)
					kv.set(0, 1, true)
					if err := cut(f); err == nil {
						t.Fatal("no failure")
					}
					kv.set(0, 0, false)
					want := mustGet(t, k.s, "f")
					same(t, "file", readAll(t, f), want)
					p := bytesOf(2, 50_000)
					mustWrite(t, f, p, 0)
					if err := f.Flush(bg); err != nil {
						t.Fatal(err)
					}
					if err := k.s.reapGarbage(bg); err != nil {
						t.Fatal(err)
					}
					if err := checkStore(k.s); err != nil {
						t.Error(err)
					}
					want = append(p, want[min(len(p), len(want)):]...)
					same(t, "file that was written to", readAll(t, f), want)
					same(t, "object", mustGet(t, k.s, "f"), want)
				})
			}
		}
	}
}
