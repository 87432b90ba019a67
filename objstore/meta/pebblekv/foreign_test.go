package pebblekv

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cofferfs/coffer/objstore/meta"
)

// Files that somebody put there, of kinds that Pebble knows, are found or do no harm:
// Pebble takes the next number from the names that it finds, and from a table of the
// last number there is it went on to 0, which ended the process.
func TestForeignFileIsDetectedOrHarmless(t *testing.T) {
	v := closedVictim(t)
	for _, number := range []uint64{1, 4, 1 << 40, 1 << 41, 1<<63 - 1, 1<<64 - 2, 1<<64 - 1} {
		for _, format := range []string{"%06d.sst", "%06d.log", "%06d.blob", "MANIFEST-%06d", "OPTIONS-%06d", "SHUTDOWN-%06d", "temporary.%06d.dbtmp",
			"%06d-001.log", "REMOTE-OBJ-CATALOG-%06d", "marker.manifest.%06d.MANIFEST-000001", "marker.format-version.%06d.024"} {
			name := fmt.Sprintf(format, number)
			if v.files[name] != nil {
				continue
			}
			for _, content := range []string{"", "x"} {
				fs := v.restore(t, v.with(func(f map[string][]byte) { f[name] = []byte(content) }))
				for range 2 { // the second finds what the first left
					s, err := Open(bg, testOptions(fs, testDir))
					if errors.Is(err, meta.ErrCorrupt) || errors.Is(err, ErrFormat) {
						break
					}
					if err != nil {
						t.Errorf("%s: %v", name, err)
						break
					}
					v.h.check(t, s, v.last, v.last)
					if err := s.Close(); err != nil {
						t.Errorf("%s: close: %v", name, err)
					}
				}
			}
		}
	}
	for _, value := range []string{"0024", "24", "025", "x"} {
		name := "marker.format-version.000099." + value
		fs := v.restore(t, v.with(func(f map[string][]byte) { f[name] = nil }))
		if _, err := Open(bg, testOptions(fs, testDir)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
