package sealedfs

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Logs come one after the other, each with megabytes that are gathered: they use the
// same memory, and it grows once.
func TestLogsUseTheMemoryOfThoseBefore(t *testing.T) {
	fs := newFS(t, vfs.NewMem())
	hold := fs.o.HoldBytes
	seen := map[*logMemory]bool{}
	for number := 5; number < 15; number++ {
		f, err := fs.Create(fmt.Sprintf("%s/%06d.log", testDir, number), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		w := f.(*logWriter)
		grown, last := 0, 0
		for range 2 * keptHolds * hold / 100 {
			if _, err := f.Write(pattern(100)); err != nil {
				t.Fatal(err)
			}
			if now := cap(w.out); now != last {
				grown, last = grown+1, now
			}
		}
		if grown > 2 {
			t.Errorf("log %d: memory of %d sizes", number, grown)
		}
		seen[w.lent] = true
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 1 {
		t.Errorf("10 logs worked in %d memories, want 1", len(seen))
	}
}
