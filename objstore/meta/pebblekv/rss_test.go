package pebblekv

import (
	"bytes"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"testing"
	"time"
)

// residentBytes is the process's resident set.
func residentBytes(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc")
	}
	pages, err := strconv.ParseInt(string(bytes.Fields(b)[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestFreshlyOpenedStoreIsSmallInMemory opens a store of a million files
// (three records each) in a process of its own and looks at what is resident.
func TestFreshlyOpenedStoreIsSmallInMemory(t *testing.T) {
	if dir := os.Getenv("COFFER_TEST_OPEN"); dir != "" {
		before := residentBytes(t)
		o := testOptions(nil, dir)
		o.CacheBytes, o.MemTableBytes = 0, 0
		o.StoreKeys = fixedKeys(t)
		start := time.Now()
		s := mustOpen(t, o)
		t.Logf("opened in %v", time.Since(start))
		get(t, s, "x")
		debug.FreeOSMemory()
		after := residentBytes(t)
		t.Logf("resident: %d KiB before, %d KiB after opening", before>>10, after>>10)
		if after-before > 32<<20 {
			t.Errorf("opening took %d MiB", (after-before)>>20)
		}
		return
	}
	if !long {
		t.Skip("set COFFER_LONG=1")
	}
	dir := t.TempDir()
	o := testOptions(nil, dir)
	o.CacheBytes, o.MemTableBytes = 0, 0
	o.StoreKeys = fixedKeys(t)
	s := mustOpen(t, create(o))
	fill(t, s, 3_000_000)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestFreshlyOpenedStoreIsSmallInMemory$", "-test.v")
	cmd.Env = append(os.Environ(), "COFFER_TEST_OPEN="+dir)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}
