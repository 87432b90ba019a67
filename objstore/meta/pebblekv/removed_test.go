package pebblekv

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestRemovalsMayGetAheadOfNewNames: of changes of a directory that were not synced, a
// file system can keep the later ones alone. So nothing is removed before what replaces it
// has a durable name.
func TestRemovalsMayGetAheadOfNewNames(t *testing.T) {
	mem := vfs.NewCrashableMem()
	hooked := &hookFS{FS: mem}
	h := newHistory(1)
	s := mustOpen(t, create(crashOptions(hooked, h)))
	var mu sync.Mutex           // guards removed; one crash at a time
	removed := map[string]int{} // by the first part of the name
	hooked.set(func(op, name string) error {
		if op != "remove" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		kind, _, _ := strings.Cut(name, ".")
		removed[kind]++
		low := h.synced.Load()
		crashed := mem.CrashClone(vfs.CrashCloneCfg{})
		high := min(h.started.Load(), h.ordered.Load())
		if err := crashed.Remove(crashed.PathJoin(testDir, name)); err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		// This runs on goroutines of Pebble's, which Fatal must not end.
		done := make(chan struct{})
		go func() {
			defer close(done)
			s, err := Open(bg, testOptions(crashed, testDir))
			if err != nil {
				t.Errorf("open after a crash that kept the removal of %s alone: %v", name, err)
				return
			}
			defer s.Close()
			h.check(t, s, low, high)
		}()
		<-done
		return nil
	})
	for range 150 {
		if err := h.commitAndFlush(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if removed["marker"] == 0 {
		t.Errorf("no marker was removed: %v", removed)
	}
}
