package datatest

import (
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore/data"
)

func testSeal(t *testing.T, s data.Store) {
	sealer, ok := s.(data.Sealer)
	if !ok {
		return
	}
	infoOf := func(l data.Location) (found data.SegmentInfo) {
		t.Helper()
		for info, err := range s.Segments(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if info.ID == l.Segment {
				found = info
			}
		}
		return found
	}
	seal := func(id data.SegmentID) {
		t.Helper()
		if err := sealer.Seal(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	check := func(l data.Location, want []byte) {
		t.Helper()
		if err := Check(t.Context(), s, l, want); err != nil {
			t.Fatal(err)
		}
	}
	seal(data.SegmentID{1}) // there is none
	for i, synced := range []bool{false, true} {
		p := Bytes(uint64(i), 10_000)
		l := mustAppend(t, s, p)
		if synced {
			mustSync(t, s)
		}
		seal(l.Segment)
		if info := infoOf(l); !info.Sealed || l.Offset+uint64(l.Length) > info.Size {
			t.Fatalf("synced %v: %v stands in %+v", synced, l, info)
		}
		seal(l.Segment) // again
		next := mustAppend(t, s, p)
		if next.Segment == l.Segment {
			t.Fatalf("synced %v: %v follows %v", synced, next, l)
		}
		seal(l.Segment) // not the one that takes appends
		if after := mustAppend(t, s, p); after.Segment != next.Segment {
			t.Fatalf("synced %v: %v stands elsewhere than %v", synced, after, next)
		}
		check(l, p)
		check(next, p)
		if err := s.Remove(t.Context(), l.Segment); err != nil {
			t.Fatal(err)
		}
		check(next, p)
	}
}

func testConcurrentSeal(t *testing.T, s data.Store) {
	sealer, ok := s.(data.Sealer)
	if !ok {
		return
	}
	const writers, each = 4, 50
	var all [writers][each]data.Location
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				l, err := s.Append(t.Context(), Bytes(uint64(w*each+i), 1+1000*i))
				if err == nil && i%7 == w {
					err = sealer.Seal(t.Context(), l.Segment)
				}
				if err == nil && i%11 == w {
					err = s.Sync(t.Context())
				}
				if err != nil {
					t.Error(err)
					return
				}
				all[w][i] = l
			}
		})
	}
	wg.Wait()
	for w := range all {
		for i, l := range all[w] {
			if err := Check(t.Context(), s, l, Bytes(uint64(w*each+i), 1+1000*i)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
