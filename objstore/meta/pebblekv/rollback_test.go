package pebblekv

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// pastVictim is a store that was opened and closed several times, stopped as
// that of makeClosed or makeKilled was, and what its directory held before.
func pastVictim(t *testing.T, killed bool) (*victim, []map[string][]byte) {
	t.Helper()
	mem := vfs.NewCrashableMem()
	whole := func() vfs.FS {
		return mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	}
	h := newHistory(11)
	var past []map[string][]byte
	lives, commits := 4, 120
	for life := range lives {
		o := crashOptions(mem, h)
		o.Create = life == 0
		s := mustOpen(t, o)
		for i := range commits {
			if err := h.commitAndFlush(s); err != nil {
				t.Fatal(err)
			}
			if i%40 == 39 {
				if err := h.sync(s); err != nil {
					t.Fatal(err)
				}
				past = append(past, snapshot(t, whole(), testDir))
			}
		}
		if killed && life == lives-1 {
			break
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		past = append(past, snapshot(t, whole(), testDir))
	}
	last := int64(lives * commits)
	v := &victim{files: past[len(past)-1], want: h.state(t, last), h: h, last: last}
	return v, past[:len(past)-1]
}

// A file that is put back as it was once, or that was removed since, is found, or
// does not matter. What cannot be told from a crash is that the logs end early: then
// there is a prefix of history.
func TestOlderStateOfAFileIsDetected(t *testing.T) {
	for name, killed := range map[string]bool{"closed": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			v, past := pastVictim(t, killed)
			counts := map[string]int{}
			try := func(what string, logs bool, files map[string][]byte) {
				t.Helper()
				got := v.outcome(t, files)
				if killed && logs && got != "detected" {
					s := mustOpen(t, testOptions(v.restore(t, files), testDir))
					v.h.check(t, s, 0, v.last)
					s.Close()
					got = "prefix"
				}
				counts[got]++
				if got != "detected" && got != "harmless" && got != "prefix" {
					t.Errorf("%s: %s", what, got)
				}
			}
			for _, old := range past {
				for _, name := range sortedNames(old) {
					b, ok := v.files[name]
					if ok && bytes.Equal(b, old[name]) {
						continue
					}
					try(name, name == v.newest(), v.with(func(f map[string][]byte) { f[name] = old[name] }))
				}
				// All files of a kind at once.
				for _, kind := range []string{"MANIFEST-", ".log", ".sst", "marker.", "SHUTDOWN-", "OPTIONS-"} {
					of := func(name string) bool { return strings.HasPrefix(name, kind) || strings.HasSuffix(name, kind) }
					same := true
					files := v.with(func(f map[string][]byte) {
						maps.DeleteFunc(f, func(name string, _ []byte) bool { return of(name) })
						for name, b := range old {
							if of(name) {
								f[name] = b
								same = same && bytes.Equal(v.files[name], b)
							}
						}
					})
					if !same {
						try("all "+kind+" of before", kind == ".log", files)
					}
				}
			}
			t.Log(counts)
		})
	}
}
