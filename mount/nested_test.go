package mount

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// refusedStore wants that no store is made at dir, and that the reason names the other
// store.
func refusedStore(t *testing.T, outer Config, dir, other string) {
	t.Helper()
	c := outer
	c.Store = dir
	if err := c.Resolve(); err != nil {
		t.Fatal(err)
	}
	before := namesBelow(t, filepath.Dir(outer.Store))
	_, err := Init(t.Context(), c, discard())
	if err == nil {
		t.Fatalf("%s: a store was made", dir)
	}
	if !strings.Contains(err.Error(), "store") || !strings.Contains(err.Error(), `"`+other+`"`) || HintOf(err) != hintNested {
		t.Errorf("%s: %v (hint: %s)", dir, err, HintOf(err))
	}
	if after := namesBelow(t, filepath.Dir(outer.Store)); after != before {
		t.Errorf("%s: was refused, and changed\n%s\nto\n%s", dir, before, after)
	}
}

func namesBelow(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		b.WriteString(path + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestNoStoreIsMadeInsideAnother(t *testing.T) {
	c := testConfig(t)
	mustInit(t, c)
	dir := filepath.Dir(c.Store)
	if err := os.Mkdir(filepath.Join(c.Store, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link": c.Store, "deep": filepath.Join(c.Store, nameData)} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, inner := range []string{
		"store/inner", "store/empty", "store/a/b/c", "store/run/inner", "store/data/inner", "store/meta/inner", "link/inner", "deep/inner",
	} {
		refusedStore(t, c, filepath.Join(dir, inner), c.Store)
	}
	// A damaged store is one all the same.
	if err := os.WriteFile(c.path(nameSuperblock), []byte("no superblock"), 0o600); err != nil {
		t.Fatal(err)
	}
	refusedStore(t, c, filepath.Join(dir, "store/inner"), c.Store)
	remove(t, c.path(nameSuperblock), c.path(nameLock), c.path(nameKeystore))
	refusedStore(t, c, filepath.Join(dir, "link/inner"), c.Store)

	// Beside it, and below a directory with a name of its own, one may be.
	for _, beside := range []string{"store2", "other/superblock", "superblock"} {
		n := c
		n.Store = filepath.Join(dir, beside)
		mustInit(t, n)
	}
}

func TestNoStoreIsMadeAroundAnother(t *testing.T) {
	for _, inner := range []string{"a", "run", "data", "meta", "lost+found", "run/a"} {
		c := testConfig(t)
		dir := filepath.Dir(c.Store)
		outer := filepath.Join(dir, "outer")
		c.Store = filepath.Join(outer, inner)
		mustInit(t, c)
		if err := os.Symlink(outer, filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		refusedStore(t, c, outer, c.Store)
		refusedStore(t, c, filepath.Join(dir, "link"), c.Store)
	}
}
