package mount

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore/durable"
	"github.com/cofferfs/coffer/objstore/record"
)

// testConfig is a store that does not exist, with its key beside it.
func testConfig(t *testing.T) Config {
	t.Helper()
	dir := shortDir(t)
	c := Config{
		Store: filepath.Join(dir, "store"), KeyFile: filepath.Join(dir, "key"),
		LogFile: filepath.Join(dir, "log"), Listen: "127.0.0.1:0",
	}
	if err := c.Resolve(); err != nil {
		t.Fatal(err)
	}
	return c
}

// shortDir is a directory with room for the path of a socket behind its name, which
// the name of a test would take.
func shortDir(t *testing.T) string {
	t.Helper()
	t.TempDir() // the first of a test says when all are removed: when nothing is mounted there any more
	dir, err := os.MkdirTemp("", "coffer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func mustInit(t *testing.T, c Config) StartReport {
	t.Helper()
	r, err := Init(t.Context(), c, discard())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// open opens the store, or makes it, as a daemon does.
func open(t *testing.T, c Config) (*store, error) {
	t.Helper()
	lock, err := prepare(&c, func() error { return nil })
	if err != nil {
		return nil, err
	}
	return openStore(t.Context(), &c, lock, discard())
}

// reopen opens the store, closes it, and returns its id and access key.
func reopen(t *testing.T, c Config) (id [16]byte, key accessKey) {
	t.Helper()
	s, err := open(t, c)
	if err != nil {
		t.Fatal(err)
	}
	id, key = s.sb.StoreID, s.creds.keys[0]
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	return id, key
}

// unfinish makes the superblock say what it says while a store is being made.
func unfinish(t *testing.T, c Config) {
	t.Helper()
	s := &store{cfg: &c, log: discard()}
	sb, err := readSuperblock(&c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.unlockStore(t.Context(), sb); err != nil {
		t.Fatal(err)
	}
	sb.Initialised = false
	if err := writeSuperblock(&c, sb.Superblock, s.keys[sb.Keys[0].ID]); err != nil {
		t.Fatal(err)
	}
	s.close()
}

func remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := os.RemoveAll(p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStoreOpensAgainAsItWasMade(t *testing.T) {
	c := testConfig(t)
	r := mustInit(t, c)
	if !r.Made || !r.KeyMade || r.KeyFile != c.KeyFile {
		t.Errorf("%+v", r)
	}
	id, key := reopen(t, c)
	id2, key2 := reopen(t, c)
	if id != id2 || key != key2 || key.ID != r.AccessKey {
		t.Error("another id or key")
	}
}

func TestInterruptedMakingIsFinished(t *testing.T) {
	for name, interrupt := range map[string]func(*testing.T, Config){
		"before the last superblock": func(*testing.T, Config) {},
		"before data":                func(t *testing.T, c Config) { remove(t, c.path(nameData)) },
		"before metadata":            func(t *testing.T, c Config) { remove(t, c.path(nameMeta)) },
		"before either":              func(t *testing.T, c Config) { remove(t, c.path(nameMeta), c.path(nameData)) },
		"before the keystore": func(t *testing.T, c Config) {
			remove(t, c.path(nameMeta), c.path(nameData), c.path(nameKeystore))
		},
		"within the metadata": func(t *testing.T, c Config) {
			files, err := filepath.Glob(c.path(nameMeta) + "/M*")
			if err != nil || len(files) == 0 {
				t.Fatalf("%v, %v", files, err)
			}
			remove(t, files...)
		},
		"with an empty metadata directory": func(t *testing.T, c Config) {
			remove(t, c.path(nameMeta))
			if err := os.Mkdir(c.path(nameMeta), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"while writing the superblock": func(t *testing.T, c Config) {
			if err := os.WriteFile(c.path(".superblock.1.tmp"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t)
			mustInit(t, c)
			sb, err := readSuperblock(&c)
			if err != nil {
				t.Fatal(err)
			}
			unfinish(t, c)
			interrupt(t, c)
			state, _, err := inspect(&c)
			if err != nil || state != dirHalf {
				t.Fatalf("state %v, %v", state, err)
			}
			id, _ := reopen(t, c)
			if id != sb.StoreID {
				t.Error("another store id")
			}
			if state, _, err := inspect(&c); err != nil || state != dirStore {
				t.Errorf("state %v, %v", state, err)
			}
			reopen(t, c)
		})
	}
}

func TestInterruptedMakingIsNotFinishedOverData(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	unfinish(t, c)
	segment := filepath.Join(c.path(nameData), "0123456789abcdef0123456789abcdef.seg")
	if err := os.WriteFile(segment, []byte("somebody's data"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(c.path(nameMeta) + "/M*")
	remove(t, files...)
	if _, err := open(t, c); err == nil || HintOf(err) == "" {
		t.Fatalf("opened, or no hint: %v", err)
	}
	if _, err := os.Stat(segment); err != nil {
		t.Error(err)
	}
	left, _ := os.ReadDir(c.path(nameMeta))
	if len(left) == 0 {
		t.Error("the metadata were removed")
	}
}

func TestInterruptedMakingNeedsItsKey(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	unfinish(t, c)
	other := c
	other.KeyFile += "2"
	other.Store += "2"
	mustInit(t, other)
	other.Store = c.Store
	if _, err := open(t, other); err == nil {
		t.Error("finished with another key")
	}
	reopen(t, c)
}

func TestSuperblockThatDoesNotAuthenticateIsRefused(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	sb, err := readSuperblock(&c)
	if err != nil {
		t.Fatal(err)
	}
	// Well formed, with a check that matches, but not made with the store key.
	sb.Epoch++
	key := secret.Random()
	if err := writeSuperblock(&c, sb.Superblock, key); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, c); !errors.Is(err, record.ErrSuperblock) {
		t.Errorf("got %v", err)
	}
}

func TestSecondOpenerIsToldWhoHasTheStore(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	s, err := open(t, c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, err := open(t, c); !errors.Is(err, durable.ErrLocked) && CodeOf(err) != CodeInUse {
		t.Errorf("got %v", err)
	}
}

func TestReadOnlyStoreIsNotChanged(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	c.ReadOnly = true
	s, err := open(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.engine.SetSetting(context.Background(), "x", []byte("y")); err == nil {
		t.Error("a read-only store took a setting")
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

func TestFailedOpenGivesTheLockBack(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	wrong := c
	wrong.KeyFile += ".none"
	if _, err := open(t, wrong); err == nil {
		t.Fatal("opened without a key file")
	}
	reopen(t, c)
}
