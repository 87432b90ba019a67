package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// hintNested is what to do about a store within another one: who removes, moves or copies
// the outer directory takes the inner store along, without knowing of it.
const hintNested = "name a directory that neither lies in the directory of a store nor has one in it"

// storeBelow returns the directory of a store among the entries of dir, or among those of
// its run directory, which would be left alone otherwise; or "".
func storeBelow(dir string, entries []os.DirEntry) string {
	for _, e := range entries {
		sub := filepath.Join(dir, e.Name())
		if looksLikeStore(sub) {
			return sub
		}
		if e.Name() != nameRun {
			continue
		}
		inRun, _ := os.ReadDir(sub) // what cannot be read cannot be used either
		for _, e := range inRun {
			if looksLikeStore(filepath.Join(sub, e.Name())) {
				return filepath.Join(sub, e.Name())
			}
		}
	}
	return ""
}

// checkAbove refuses to make a store somewhere below another one. The path is one
// without symbolic links.
func checkAbove(c *Config) error {
	for dir := c.Store; dir != filepath.Dir(dir); {
		dir = filepath.Dir(dir)
		if looksLikeStore(dir) {
			return hinted(fmt.Errorf("%q lies inside the store %q", c.Store, dir), hintNested)
		}
	}
	return nil
}

// looksLikeStore reports whether dir has the names of a store, damaged ones included.
func looksLikeStore(dir string) bool {
	has := func(name string) bool {
		_, err := os.Lstat(filepath.Join(dir, name))
		return err == nil
	}
	return (has(nameSuperblock) || has(copyOf(nameSuperblock))) &&
		slices.ContainsFunc([]string{nameLock, nameKeystore, copyOf(nameKeystore), nameMeta, nameData}, has)
}
