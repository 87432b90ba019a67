package mount

import (
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofferfs/coffer/crypto/kms"
)

// storeFiles are the contents of keystore, superblock, their copies and what writing them
// left behind, by name.
func storeFiles(t *testing.T, c Config) map[string]string {
	t.Helper()
	found := map[string]string{}
	entries, err := os.ReadDir(c.Store)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != nameLock {
			b, err := os.ReadFile(c.path(e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			found[e.Name()] = string(b)
		}
	}
	return found
}

func putFiles(t *testing.T, c Config, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(c.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// changeKey does something to a key of a store that nobody has open.
func changeKey(t *testing.T, c Config, action KeyAction, name string) error {
	t.Helper()
	_, err := keyDirectly(t.Context(), c, KeyRequest{Action: action, Key: name, PendingDays: MinPendingDays})
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// openLogged opens and closes a store, and returns what it logged about copies.
func openLogged(t *testing.T, c Config) (log string, err error) {
	t.Helper()
	lock, err := prepare(&c, func() error { return nil })
	if err != nil {
		return "", err
	}
	var said safeBuffer
	s, err := openStore(t.Context(), &c, lock, slog.New(slog.NewTextHandler(&said, nil)))
	if err == nil {
		err = s.close()
	}
	for line := range strings.Lines(said.String()) {
		if strings.Contains(line, "copy") || strings.Contains(line, "copies") {
			log += line
		}
	}
	return log, err
}

var bothFiles = []string{nameKeystore, nameSuperblock}

func TestEveryChangeIsInBothCopies(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	same := func(what string) {
		t.Helper()
		found := storeFiles(t, c)
		for _, name := range bothFiles {
			if found[name] == "" || found[name] != found[copyOf(name)] {
				t.Errorf("after %s: %s has %d bytes, its copy others, %d", what, name, len(found[name]), len(found[copyOf(name)]))
			}
			if st, err := os.Stat(c.path(copyOf(name))); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("after %s: %v, %v", what, st, err)
			}
		}
		if len(found) != 4 {
			t.Errorf("after %s: %q", what, slices.Sorted(maps.Keys(found)))
		}
	}
	same("init")
	for _, step := range []struct {
		action KeyAction
		key    string
	}{{KeyCreate, "k"}, {KeyRotate, "k"}, {KeyDisable, "k"}, {KeyDelete, "k"}, {KeyCancelDelete, "k"}, {KeyRotate, "store"}, {KeyRotate, "sse-s3"}} {
		must(t, changeKey(t, c, step.action, step.key))
		same(string(step.action) + " " + step.key)
	}
	if log, err := openLogged(t, c); log != "" || err != nil {
		t.Errorf("opening says %q, %v", log, err)
	}
}

// TestErasedKeyIsInNoCopy: of a key whose time has come no file of the store is left.
func TestErasedKeyIsInNoCopy(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	must(t, changeKey(t, c, KeyCreate, "k"))
	withKey := storeFiles(t, c)
	must(t, keysDirectly(t.Context(), c, func(b *kms.Builtin) error {
		return b.ScheduleDeletion(t.Context(), "k", time.Now().Add(-time.Second))
	}))
	// A crash came between copy and original, and one while they were written.
	putFiles(t, c, map[string]string{
		copyOf(nameKeystore):          withKey[nameKeystore],
		"." + nameKeystore + ".1.tmp": withKey[nameKeystore], "." + copyOf(nameKeystore) + ".2.tmp": withKey[nameKeystore],
	})
	d, stop := startDaemon(t, c)
	gone(t, d, "k")
	stop()
	found := storeFiles(t, c)
	if len(found) != 4 || found[nameKeystore] != found[copyOf(nameKeystore)] {
		t.Fatalf("left: %q", slices.Sorted(maps.Keys(found)))
	}
	// The copy in the place of the original does not bring it back.
	putFiles(t, c, map[string]string{nameKeystore: found[copyOf(nameKeystore)]})
	must(t, keysDirectly(t.Context(), c, func(b *kms.Builtin) error {
		if _, err := b.Describe(t.Context(), "k"); !errors.Is(err, kms.ErrNotFound) {
			t.Errorf("the key is still there: %v", err)
		}
		return nil
	}))
}

// spoil damages a file, or puts an older one in its place.
func spoil(t *testing.T, c Config, name, how string, older map[string]string) {
	t.Helper()
	path := c.path(name)
	text, err := os.ReadFile(path)
	must(t, err)
	switch how {
	case "missing":
		err = os.Remove(path)
	case "flipped":
		text[len(text)/2] ^= 1
		err = os.WriteFile(path, text, 0o600)
	case "flipped at its end":
		text[len(text)-1] ^= 1
		err = os.WriteFile(path, text, 0o600)
	case "truncated":
		err = os.WriteFile(path, text[:len(text)/2], 0o600)
	case "empty":
		err = os.WriteFile(path, nil, 0o600)
	case "a pipe":
		err = errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600))
	case "a directory":
		err = errors.Join(os.Remove(path), os.MkdirAll(path+"/inside", 0o700))
	case "older":
		err = os.WriteFile(path, []byte(older[strings.TrimSuffix(name, copySuffix)]), 0o600)
	}
	must(t, err)
}

var damages = []string{"missing", "flipped", "flipped at its end", "truncated", "empty", "a pipe"}

// rotatedStore returns a store and its files as they were before its key "store" was
// rotated, which changed both.
func rotatedStore(t *testing.T) (c Config, older map[string]string) {
	t.Helper()
	c = testConfig(t)
	mustInit(t, c)
	older = storeFiles(t, c)
	must(t, changeKey(t, c, KeyRotate, "store"))
	return c, older
}

// TestLostOriginalIsRefusedAndItsCopyNamed, by a command that works, in whatever
// directory the store is.
func TestLostOriginalIsRefusedAndItsCopyNamed(t *testing.T) {
	c, older := rotatedStore(t)
	odd := filepath.Join(filepath.Dir(c.Store), "it's $HOME")
	must(t, os.Rename(c.Store, odd))
	c.Store = odd
	good := storeFiles(t, c)
	for _, name := range bothFiles {
		hows := append(slices.Clone(damages), "a directory")
		if name == nameKeystore {
			hows = append(hows, "older") // it lacks what opens the superblock
		}
		for _, how := range hows {
			t.Run(name+" "+how, func(t *testing.T) {
				spoil(t, c, name, how, older)
				before := storeFiles(t, c)
				_, err := openLogged(t, c)
				hint := HintOf(err)
				_, command, found := strings.Cut(hint, "puts it in place: ")
				if err == nil || !found || !strings.Contains(hint, "nothing was changed; "+copyOf(name)+" is whole") {
					t.Fatalf("%v, hint %q", err, hint)
				}
				if how != "a pipe" && how != "a directory" && command != "cp -p "+ShellQuote(c.path(copyOf(name)))+" "+ShellQuote(c.path(name)) {
					t.Errorf("the command is %s", command)
				}
				if !maps.Equal(storeFiles(t, c), before) {
					t.Error("something was changed")
				}
				if err := changeKey(t, c, KeyList, ""); HintOf(err) != hint {
					t.Errorf("for keys: %v, hint %q", err, HintOf(err))
				}
				if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v %s", command, err, out)
				}
				if log, err := openLogged(t, c); log != "" || err != nil {
					t.Errorf("then opening says %q, %v", log, err)
				}
				must(t, os.RemoveAll(c.path(name+".damaged")))
				if !maps.Equal(storeFiles(t, c), good) {
					t.Error("the files are others now")
				}
				putFiles(t, c, good)
			})
		}
	}
}

// TestBothOriginalsLost: both commands are given.
func TestBothOriginalsLost(t *testing.T) {
	c, older := rotatedStore(t)
	spoil(t, c, nameKeystore, "flipped", older)
	spoil(t, c, nameSuperblock, "missing", older)
	_, err := openLogged(t, c)
	_, command, _ := strings.Cut(HintOf(err), "puts it in place: ")
	if strings.Count(command, "cp -p ") != 2 {
		t.Fatalf("%v, hint %q", err, HintOf(err))
	}
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	reopen(t, c)
}

// TestCopyThatIsNoHelpIsNotNamed: one that is damaged, of another store or not to be
// opened with what was given.
func TestCopyThatIsNoHelpIsNotNamed(t *testing.T) {
	c, older := rotatedStore(t)
	other := testConfig(t)
	other.KeyFile = c.KeyFile
	mustInit(t, other)
	theirs := storeFiles(t, other)
	good := storeFiles(t, c)
	for _, name := range bothFiles {
		for _, how := range append(slices.Clone(damages), "of another store") {
			spoil(t, c, name, "flipped", older)
			if how == "of another store" {
				putFiles(t, c, map[string]string{copyOf(name): theirs[name]})
			} else {
				spoil(t, c, copyOf(name), how, older)
			}
			before := storeFiles(t, c)
			_, err := openLogged(t, c)
			if hint := HintOf(err); err == nil || strings.Contains(hint, "cp -p") || !strings.Contains(hint, "bring the file "+name+" back from a backup") {
				t.Errorf("%s, its copy %s: %v, hint %q", name, how, err, hint)
			}
			if !maps.Equal(storeFiles(t, c), before) {
				t.Errorf("%s, its copy %s: something was changed", name, how)
			}
			remove(t, c.path(copyOf(name)))
			putFiles(t, c, good)
		}
	}
	// Nothing but copies is a store that was lost, not an empty directory.
	for _, name := range bothFiles {
		lost := testConfig(t)
		must(t, os.Mkdir(lost.Store, 0o700))
		putFiles(t, lost, map[string]string{copyOf(name): good[name]})
		if _, err := Init(t.Context(), lost, discard()); err == nil || !strings.Contains(err.Error(), "no superblock, but has "+copyOf(name)) {
			t.Errorf("%s alone: %v", copyOf(name), err)
		}
	}
}

// TestCopyIsNamedWithoutTheKey, as one that could not be tried; with a wrong key that is
// what is said, as ever, as long as the originals are good.
func TestCopyIsNamedWithoutTheKey(t *testing.T) {
	c, older := rotatedStore(t)
	wrong := testConfig(t)
	mustInit(t, wrong)
	wrong.Store = c.Store
	none := c
	none.KeyFile += ".none"
	if _, err := openLogged(t, wrong); err == nil || !strings.Contains(err.Error(), "does not open the store") || strings.Contains(HintOf(err), "copy") {
		t.Errorf("%v, hint %q", err, HintOf(err))
	}
	for _, name := range bothFiles {
		good := storeFiles(t, c)
		spoil(t, c, name, "truncated", older)
		for what, c := range map[string]Config{"wrong": wrong, "no": none} {
			if _, err := openLogged(t, c); err == nil || !strings.Contains(HintOf(err), copyOf(name)+" looks whole") {
				t.Errorf("%s, %s key: %v, hint %q", name, what, err, HintOf(err))
			}
		}
		putFiles(t, c, good)
	}
	// A newer format is not damage.
	good := storeFiles(t, c)
	for _, name := range bothFiles {
		newer := []byte(good[name])
		newer[8], newer[9] = 0, 9
		putFiles(t, c, map[string]string{name: string(newer)})
		if _, err := openLogged(t, c); err == nil || !strings.Contains(HintOf(err), "newer coffer") {
			t.Errorf("%s: %v, hint %q", name, err, HintOf(err))
		}
		putFiles(t, c, good)
	}
}

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

// TestCopyComesFirst: where only one of the two could be written, that is the copy.
func TestCopyComesFirst(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	before := storeFiles(t, c)
	s, err := open(t, c)
	must(t, err)
	spoil(t, c, nameKeystore, "a directory", nil)
	if err := s.kms.Create(t.Context(), "k"); err == nil {
		t.Error("a directory was replaced")
	}
	must(t, s.close())
	found := storeFiles(t, c)
	if found[copyOf(nameKeystore)] == before[nameKeystore] {
		t.Error("the copy was not written")
	}
	if len(found) != 3 {
		t.Errorf("left: %q", slices.Sorted(maps.Keys(found)))
	}
	// The other way round nothing is.
	remove(t, c.path(nameKeystore))
	putFiles(t, c, before)
	s, err = open(t, c)
	must(t, err)
	defer s.close()
	spoil(t, c, copyOf(nameKeystore), "a directory", nil)
	if err := s.kms.Create(t.Context(), "k"); err == nil {
		t.Error("a directory was replaced")
	}
	if got, err := os.ReadFile(c.path(nameKeystore)); err != nil || string(got) != before[nameKeystore] {
		t.Errorf("the keystore was changed without its copy: %v", err)
	}
	if _, err := os.Stat(c.path(copyOf(nameKeystore))); errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
