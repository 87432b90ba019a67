package iam

import "testing"

func TestBoundedKeepsTheNewest(t *testing.T) {
	b := bounded[int, int]{max: 3}
	for i := range 100 {
		b.put(i, i+1)
		b.put(i, i+2) // replaces its own entry, no other
		if got, want := len(b.m), min(i+1, 3); got != want {
			t.Fatalf("%d entries after %d, want %d", got, i, want)
		}
		if got := b.get(i); got != i+2 {
			t.Fatalf("entry %d: %d", i, got)
		}
	}
	if got := b.get(-1); got != 0 {
		t.Fatalf("what is not there: %d", got)
	}
}
