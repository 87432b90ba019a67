package engine

import (
	"fmt"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

func TestFreshDirectoryKnowsWhatItNeverHad(t *testing.T) {
	f := newFreshDirectories()
	if f.lacks(5, "a") {
		t.Fatal("speaks of a directory that it does not know")
	}
	f.add(5)
	f.note(5, "a")
	f.note(6, "b")
	f.add(5) // the transaction runs again
	if f.lacks(5, "a") || !f.lacks(5, "b") || !f.lacks(5, "a/") || f.lacks(6, "c") {
		t.Fatal("wrong")
	}
}

func TestFreshDirectoriesAreBounded(t *testing.T) {
	f := newFreshDirectories()
	f.add(1)
	for i := range 2 * freshNames {
		f.note(1, fmt.Sprint(i))
	}
	if f.lacks(1, "0") || len(f.dirs) != 0 || f.names != 0 {
		t.Fatalf("%d directories, %d names", len(f.dirs), f.names)
	}
	for i := range objstore.InodeID(3 * freshDirs) {
		f.add(i)
	}
	if len(f.dirs) > freshDirs {
		t.Fatalf("%d directories", len(f.dirs))
	}
}
