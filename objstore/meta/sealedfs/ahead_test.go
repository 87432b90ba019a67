package sealedfs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble makes the entries of a new manifest and of its marker durable with one
// sync of the directory; a crash in between may keep either.
func TestMarkerIsNeverThereBeforeItsManifest(t *testing.T) {
	base := vfs.NewCrashableMem()
	fs := newFS(t, base)
	d, err := base.OpenDir("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		t.Fatal(err)
	}
	write(t, fs, "MANIFEST-000016", []byte("x"))
	const mark = "marker.manifest.000002.MANIFEST-000016"
	f, err := fs.Create(testDir+"/"+mark, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	kept := 0
	for seed := range uint64(64) {
		clone := base.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 0))})
		if _, err := clone.Stat(testDir + "/" + mark); err != nil {
			continue
		}
		kept++
		if _, err := clone.Stat(testDir + "/MANIFEST-000016"); err != nil {
			t.Errorf("crash %d: %v", seed, err)
		}
	}
	if kept == 0 {
		t.Error("no crash kept the marker")
	}
}

// What is written ahead of the end of a log means nothing, whether it is there,
// in part or not at all, and whether the log was ended or not.
func TestZerosAheadOfALogMeanNothing(t *testing.T) {
	base := vfs.NewMem()
	fs := newFS(t, base)
	fs.o.AheadBytes = 1 << 10
	f, err := fs.Create(testDir+"/000005.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for range 40 {
		want = append(want, pattern(20)...)
		if _, err := f.Write(pattern(20)); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	open := raw(t, base, "000005.log")
	if err := errors.Join(f.Close(), fs.Shutdown()); err != nil {
		t.Fatal(err)
	}
	for what, log := range map[string][]byte{"open": open, "ended": raw(t, base, "000005.log")} {
		end := len(bytes.TrimRight(log, "\x00"))
		if len(log)-end < 100 {
			t.Fatalf("%s: %d zeros", what, len(log)-end)
		}
		for _, n := range []int{end, end + 1, len(log), len(log) + 70_000} {
			cut := append(log[:min(n, len(log)):min(n, len(log))], make([]byte, max(n-len(log), 0))...)
			if got, err := readLog(t, cut); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %d of %d bytes: %d bytes, %v", what, n, len(log), len(got), err)
			}
		}
		bad := append(bytes.Clone(log), 1)
		if _, err := readLog(t, bad); what == "ended" && !errors.Is(err, ErrCorrupt) {
			t.Errorf("a byte behind an ended log: %v", err)
		}
	}
}
