package engine

import "testing"

func TestWritesToUnlinkedFileAreRead(t *testing.T) {
	s, _ := treeStore(t)
	w := newWorld(t, s, "unlinked", "f")
	f := w.open("f")
	defer f.Close(bg)
	if err := s.Unlink(bg, mountC, w.root, "f"); err != nil {
		t.Fatal(err)
	}
	w.write(f, "temporary")
	if got := w.read(f); got != "temporary" {
		t.Fatalf("reads %q", got)
	}
}
