package mount

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestLostCopyIsToldAndMadeAnew, also where it is newer than the original and has no key
// that is nowhere else. Read-only it is told alone, and fsck names it.
func TestLostCopyIsToldAndMadeAnew(t *testing.T) {
	c, older := rotatedStore(t)
	good := storeFiles(t, c)
	reader := c
	reader.ReadOnly = true
	for _, name := range bothFiles {
		for _, how := range append(slices.Clone(damages), "older") {
			t.Run(name+" "+how, func(t *testing.T) {
				spoil(t, c, copyOf(name), how, older)
				before := storeFiles(t, c)
				if log, err := openLogged(t, reader); err != nil || !strings.Contains(log, "level=WARN") || !strings.Contains(log, c.path(copyOf(name))) || strings.Count(log, "\n") != 1 {
					t.Errorf("read-only: %v, says %q", err, log)
				}
				fsckNames(t, c, copyOf(name))
				if !maps.Equal(storeFiles(t, c), before) {
					t.Error("something was changed")
				}
				if log, err := openLogged(t, c); err != nil || !strings.Contains(log, "level=WARN") || !strings.Contains(log, c.path(copyOf(name))) || strings.Count(log, "\n") != 1 {
					t.Errorf("%v, says %q", err, log)
				}
				if !maps.Equal(storeFiles(t, c), good) {
					t.Error("the copy is not as its original")
				}
				fsckNames(t, c, "")
			})
		}
	}
	// A superblock that is older than its copy opens with either keystore.
	putFiles(t, c, map[string]string{nameSuperblock: older[nameSuperblock]})
	if log, err := openLogged(t, c); err != nil || !strings.Contains(log, copyOf(nameSuperblock)) {
		t.Errorf("copy of the superblock newer: %v, says %q", err, log)
	}
	if found := storeFiles(t, c); found[nameSuperblock] != older[nameSuperblock] || found[copyOf(nameSuperblock)] != older[nameSuperblock] {
		t.Error("copy of the superblock newer: the original does not count")
	}
}

// TestCopyKeepsKeysThatAreNowhereElse: who brings an older keystore back has the keys
// that were made since in its copy, until a key is changed.
func TestCopyKeepsKeysThatAreNowhereElse(t *testing.T) {
	for what, change := range map[string]func(t *testing.T, c Config) error{
		"a key":     func(t *testing.T, c Config) error { return changeKey(t, c, KeyCreate, "k") },
		"a version": func(t *testing.T, c Config) error { return changeKey(t, c, KeyRotate, "sse-s3") },
	} {
		c := testConfig(t)
		mustInit(t, c)
		older := storeFiles(t, c)[nameKeystore]
		must(t, change(t, c))
		newer := storeFiles(t, c)[nameKeystore]
		putFiles(t, c, map[string]string{nameKeystore: older})
		for range 2 {
			if log, err := openLogged(t, c); err != nil || strings.Count(log, "\n") != 1 || !strings.Contains(log, "has keys that its original has not") {
				t.Errorf("%s: %v, says %q", what, err, log)
			}
			if found := storeFiles(t, c); found[nameKeystore] != older || found[copyOf(nameKeystore)] != newer {
				t.Errorf("%s: one of the two was changed", what)
			}
			fsckNames(t, c, copyOf(nameKeystore))
		}
		putFiles(t, c, map[string]string{nameKeystore: newer})
		if log, err := openLogged(t, c); err != nil || log != "" {
			t.Errorf("%s: with the newer one: %v, says %q", what, err, log)
		}
	}
}

// fsckNames fails the test unless fsck finds damage to one file and no other, or to
// none (""), without a daemon.
func fsckNames(t *testing.T, c Config, name string) {
	t.Helper()
	var told []string
	r, err := RunFsck(t.Context(), c, nil, FsckTold{Damaged: func(d FsckDamage) { told = append(told, d.Path+d.Error) }})
	must(t, err)
	if r.Damaged != len(told) || (name == "") != (len(told) == 0) || len(told) > 1 || name != "" && !strings.HasPrefix(told[0], name+":") {
		t.Errorf("fsck finds %d: %q, want %q", r.Damaged, told, name)
	}
}

// TestFsckOfADaemonReadsWhatIsOnTheDisk, of which it has the truth in memory.
func TestFsckOfADaemonReadsWhatIsOnTheDisk(t *testing.T) {
	c, older := rotatedStore(t)
	_, stop := startDaemon(t, c)
	good := storeFiles(t, c)
	for _, name := range bothFiles {
		for _, how := range append(slices.Clone(damages), "older") {
			spoil(t, c, copyOf(name), how, older)
			fsckNames(t, c, copyOf(name))
			remove(t, c.path(copyOf(name)))
			putFiles(t, c, good)
			if how == "older" {
				continue
			}
			spoil(t, c, name, how, older)
			var told []string
			r, err := RunFsck(t.Context(), c, nil, FsckTold{Damaged: func(d FsckDamage) { told = append(told, d.Path+d.Error) }})
			if err != nil || r.Damaged != 1 || len(told) != 1 || !strings.Contains(told[0], name) || !strings.Contains(told[0], "second copy is whole") {
				t.Errorf("%s %s: %v, finds %q", name, how, err, told)
			}
			remove(t, c.path(name))
			putFiles(t, c, good)
		}
	}
	remove(t, c.path(copyOf(nameKeystore)), c.path(copyOf(nameSuperblock)))
	if r, err := RunFsck(t.Context(), c, nil, FsckTold{}); err != nil || r.Damaged != 2 {
		t.Errorf("without both copies: %+v, %v", r, err)
	}
	putFiles(t, c, good)
	fsckNames(t, c, "")
	stop()
}

// TestStoreWithoutCopiesIsGivenThem, without alarm.
func TestStoreWithoutCopiesIsGivenThem(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	good := storeFiles(t, c)
	strip := func() { remove(t, c.path(copyOf(nameKeystore)), c.path(copyOf(nameSuperblock))) }
	strip()
	fsckNames(t, c, "")
	reader := c
	reader.ReadOnly = true
	for _, c := range []Config{reader, c} {
		before := storeFiles(t, c)
		log, err := openLogged(t, c)
		if err != nil || strings.Contains(log, "WARN") || strings.Count(log, "level=INFO") != 2 {
			t.Errorf("%v, says %q", err, log)
		}
		if c.ReadOnly && !maps.Equal(storeFiles(t, c), before) {
			t.Error("read-only, and changed")
		}
	}
	if !maps.Equal(storeFiles(t, c), good) {
		t.Error("no copies")
	}
	// Keys that are changed without a daemon leave no half of it to be alarmed about.
	strip()
	must(t, changeKey(t, c, KeyList, ""))
	if n := len(storeFiles(t, c)); n != 2 {
		t.Errorf("a list leaves %d files", n)
	}
	must(t, changeKey(t, c, KeyCreate, "k"))
	if log, err := openLogged(t, c); log != "" || err != nil {
		t.Errorf("says %q, %v", log, err)
	}
	// Nor does a making that an older coffer began.
	unfinish(t, c)
	strip()
	if log, err := openLogged(t, c); strings.Contains(log, "WARN") || err != nil {
		t.Errorf("says %q, %v", log, err)
	}
	if log, err := openLogged(t, c); log != "" || err != nil {
		t.Errorf("says %q, %v", log, err)
	}
}
