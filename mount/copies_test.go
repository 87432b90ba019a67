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
