// Package metatest is the contract of meta.Store as tests: Run is passed by
// every driver, and Model is the reference.
package metatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cofferfs/coffer/objstore/meta"
)

// Factory makes stores for the suite.
type Factory struct {
	// Open returns an empty store, which the suite closes.
	Open func(t testing.TB) meta.Store
	// Reopen closes s and opens what it kept; nil for stores that keep nothing.
	Reopen func(t testing.TB, s meta.Store) meta.Store
}

var ctx = context.Background()

// Run runs the suite.
func Run(t *testing.T, f Factory) {
	for _, c := range []struct {
		name string
		test func(*testing.T, meta.Store)
	}{
		{"GetOfAbsentKeyIsErrNotFound", testAbsent},
		{"UpdateReadsItsOwnWrites", testOwnWrites},
		{"FailedUpdateChangesNothing", testFailedUpdate},
		{"PanickingUpdateChangesNothing", testPanic},
		{"CancelledUpdateChangesNothing", testCancel},
		{"ScanIsInByteOrderWithinBounds", testScan},
		{"ScanSeesOwnWritesAndMayWrite", testScanOwnWrites},
		{"GetManyTellsEmptyFromAbsent", testGetMany},
		{"LimitsAreAcceptedAndBeyondRefused", testLimits},
		{"SlicesPassedInMayChangeAfterwards", testOwnership},
		{"ViewIsOneSnapshot", testSnapshot},
		{"WhatWasReadOutlivesTheSnapshot", testRelease},
		{"ConcurrentIncrementsAllCount", testCounters},
		{"PhantomsAreExcluded", testPhantoms},
		{"SyncSharesBarriersAndCoversAll", testSync},
		{"UseAfterCloseIsErrClosed", testClosed},
		{"CloseWaitsForCallsInProgress", testCloseWaits},
		{"RandomHistoryMatchesModel", testModel},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := f.Open(t)
			defer s.Close()
			c.test(t, s)
		})
	}
	if f.Reopen != nil {
		t.Run("ReopenKeepsEverything", func(t *testing.T) { testReopen(t, f) })
	}
}

func update(t testing.TB, s meta.Store, fn func(meta.Txn)) {
	t.Helper()
	if err := s.Update(ctx, func(tx meta.Txn) error { fn(tx); return nil }); err != nil {
		t.Fatalf("update: %v", err)
	}
}

func view(t testing.TB, s meta.Store, fn func(meta.Reader)) {
	t.Helper()
	if err := s.View(ctx, func(r meta.Reader) error { fn(r); return nil }); err != nil {
		t.Fatalf("view: %v", err)
	}
}

// wantGet checks one key; want "" stands for an absent one.
func wantGet(t testing.TB, r meta.Reader, key, want string) {
	t.Helper()
	v, err := r.Get([]byte(key))
	if want == "" {
		if !errors.Is(err, meta.ErrNotFound) || v != nil {
			t.Fatalf("get %q: %q, %v; want ErrNotFound", key, v, err)
		}
		return
	}
	if err != nil || string(v) != want {
		t.Fatalf("get %q: %q, %v; want %q", key, v, err, want)
	}
}

// Collect copies what a scan finds.
func Collect(r meta.Reader, rg meta.Range) ([]meta.Pair, error) {
	var all []meta.Pair
	for p, err := range r.Scan(rg) {
		if err != nil {
			return all, err
		}
		all = append(all, meta.Pair{Key: append([]byte{}, p.Key...), Value: append([]byte{}, p.Value...)})
	}
	return all, nil
}

func wantScan(t testing.TB, r meta.Reader, rg meta.Range, want ...string) {
	t.Helper()
	pairs, err := Collect(r, rg)
	if err != nil {
		t.Fatalf("scan %q to %q: %v", rg.Start, rg.End, err)
	}
	var got []string
	for _, p := range pairs {
		got = append(got, string(p.Key))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("scan %q to %q, reverse %v: got %q, want %q", rg.Start, rg.End, rg.Reverse, got, want)
	}
}

func testAbsent(t *testing.T, s meta.Store) {
	view(t, s, func(r meta.Reader) {
		wantGet(t, r, "a", "")
		wantGet(t, r, "", "")
		wantScan(t, r, meta.Range{})
	})
	update(t, s, func(tx meta.Txn) {
		tx.Delete([]byte("never there"))
		wantGet(t, tx, "never there", "")
	})
}

func testOwnWrites(t *testing.T, s meta.Store) {
	update(t, s, func(tx meta.Txn) { tx.Set([]byte("old"), []byte("1")) })
	update(t, s, func(tx meta.Txn) {
		tx.Set([]byte("new"), []byte("2"))
		tx.Set([]byte("new"), []byte("3"))
		tx.Delete([]byte("old"))
		wantGet(t, tx, "new", "3")
		wantGet(t, tx, "old", "")
		tx.Set([]byte("old"), []byte("4"))
		wantGet(t, tx, "old", "4")
		tx.Delete([]byte("new"))
		wantGet(t, tx, "new", "")
	})
	view(t, s, func(r meta.Reader) {
		wantGet(t, r, "old", "4")
		wantGet(t, r, "new", "")
	})
}

func testFailedUpdate(t *testing.T, s meta.Store) {
	update(t, s, func(tx meta.Txn) { tx.Set([]byte("a"), []byte("1")) })
	boom := errors.New("boom")
	err := s.Update(ctx, func(tx meta.Txn) error {
		tx.Set([]byte("a"), []byte("2"))
		tx.Set([]byte("b"), []byte("2"))
		return boom
	})
	if err != boom {
		t.Fatalf("got %v, want the function's own error", err)
	}
	if err := s.View(ctx, func(meta.Reader) error { return boom }); err != boom {
		t.Fatalf("got %v, want the function's own error", err)
	}
	view(t, s, func(r meta.Reader) { wantScan(t, r, meta.Range{}, "a"); wantGet(t, r, "a", "1") })
}

func testPanic(t *testing.T, s meta.Store) {
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic got lost")
			}
		}()
		_ = s.Update(ctx, func(tx meta.Txn) error {
			tx.Set([]byte("a"), []byte("1"))
			panic("boom")
		})
	}()
	update(t, s, func(tx meta.Txn) { wantGet(t, tx, "a", "") })
}

func testCancel(t *testing.T, s meta.Store) {
	cancelled, cancel := context.WithCancel(ctx)
	err := s.Update(cancelled, func(tx meta.Txn) error {
		tx.Set([]byte("a"), []byte("1"))
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled inside: %v", err)
	}
	called := false
	err = s.Update(cancelled, func(meta.Txn) error { called = true; return nil })
	if !errors.Is(err, context.Canceled) || called {
		t.Fatalf("cancelled before: %v, called %v", err, called)
	}
	err = s.View(cancelled, func(meta.Reader) error { called = true; return nil })
	if !errors.Is(err, context.Canceled) || called {
		t.Fatalf("view, cancelled before: %v, called %v", err, called)
	}
	view(t, s, func(r meta.Reader) { wantGet(t, r, "a", "") })
}

func testScan(t *testing.T, s meta.Store) {
	keys := []string{"a", "a-b", "a/", "a/x", "a0", "b", "\x00", "\xff", "\xff\xff", "\xff\xffz"}
	update(t, s, func(tx meta.Txn) {
		for _, k := range keys {
			tx.Set([]byte(k), []byte("v"+k))
		}
	})
	view(t, s, func(r meta.Reader) {
		sorted := slices.Sorted(slices.Values(keys))
		wantScan(t, r, meta.Range{}, sorted...)
		slices.Reverse(sorted)
		wantScan(t, r, meta.Range{Reverse: true}, sorted...)
		wantScan(t, r, meta.Prefix([]byte("a/")), "a/", "a/x")
		wantScan(t, r, meta.Prefix([]byte("\xff\xff")), "\xff\xff", "\xff\xffz")
		wantScan(t, r, meta.Range{Start: []byte("a"), End: []byte("a/")}, "a", "a-b")
		wantScan(t, r, meta.Range{Start: []byte("a"), End: []byte("a/"), Reverse: true}, "a-b", "a")
		wantScan(t, r, meta.Range{Start: []byte("a1"), End: []byte("b\x00")}, "b")
		wantScan(t, r, meta.Range{Start: []byte("b"), End: []byte("b")})
		wantScan(t, r, meta.Range{Start: []byte("b"), End: []byte("a")})
		wantScan(t, r, meta.Range{End: []byte{}})
		for p, err := range r.Scan(meta.Range{Start: []byte("a-")}) {
			if err != nil || string(p.Key) != "a-b" || string(p.Value) != "va-b" {
				t.Fatalf("first step: %q %q %v", p.Key, p.Value, err)
			}
			break
		}
		// Two scans and a get can be interleaved.
		for p, err := range r.Scan(meta.Prefix([]byte("a"))) {
			if err != nil {
				t.Fatal(err)
			}
			key := string(p.Key)
			wantGet(t, r, key, "v"+key)
			wantScan(t, r, meta.Range{Start: []byte(key), End: []byte(key + "\x00")}, key)
		}
	})
}

func testScanOwnWrites(t *testing.T, s meta.Store) {
	update(t, s, func(tx meta.Txn) {
		for i := range 10 {
			tx.Set(fmt.Appendf(nil, "k%d", i), []byte("v"))
		}
	})
	update(t, s, func(tx meta.Txn) {
		tx.Delete([]byte("k3"))
		tx.Set([]byte("k35"), []byte("new"))
		wantScan(t, tx, meta.Range{Start: []byte("k2"), End: []byte("k5")}, "k2", "k35", "k4")
		wantScan(t, tx, meta.Range{Start: []byte("k2"), End: []byte("k5"), Reverse: true}, "k4", "k35", "k2")
		// Deleting what the scan stands on, and setting ahead of it.
		n := 0
		for p, err := range tx.Scan(meta.Range{}) {
			if err != nil {
				t.Fatal(err)
			}
			tx.Delete(p.Key)
			tx.Set(fmt.Appendf(nil, "z%d", n), nil)
			n++
		}
		if n != 10 {
			t.Fatalf("scan saw %d keys, want the 10 there were when it began", n)
		}
		if left, err := Collect(tx, meta.Prefix([]byte("k"))); err != nil || len(left) != 0 {
			t.Fatalf("%d keys left, %v", len(left), err)
		}
	})
	view(t, s, func(r meta.Reader) {
		if all, err := Collect(r, meta.Range{}); err != nil || len(all) != 10 || all[0].Key[0] != 'z' {
			t.Fatalf("after commit: %d keys, %v", len(all), err)
		}
	})
}

func testGetMany(t *testing.T, s meta.Store) {
	update(t, s, func(tx meta.Txn) {
		tx.Set([]byte("empty"), nil)
		tx.Set([]byte("full"), []byte("x"))
	})
	view(t, s, func(r meta.Reader) {
		got, err := r.GetMany([][]byte{[]byte("full"), []byte("none"), []byte("empty"), []byte("full")})
		if err != nil || len(got) != 4 {
			t.Fatalf("%d values, %v", len(got), err)
		}
		if string(got[0]) != "x" || got[1] != nil || got[2] == nil || len(got[2]) != 0 || string(got[3]) != "x" {
			t.Fatalf("got %q", got)
		}
		if v, err := r.Get([]byte("empty")); err != nil || v == nil || len(v) != 0 {
			t.Fatalf("empty value: %v, %v", v, err)
		}
		if got, err := r.GetMany(nil); err != nil || len(got) != 0 {
			t.Fatalf("no keys: %v, %v", got, err)
		}
	})
}

func testLimits(t *testing.T, s meta.Store) {
	key := bytes.Repeat([]byte{0xfe}, meta.MaxKeySize)
	value := bytes.Repeat([]byte("v"), meta.MaxValueSize)
	update(t, s, func(tx meta.Txn) {
		tx.Set(key, value)
	})
	view(t, s, func(r meta.Reader) {
		if v, err := r.Get(key); err != nil || !bytes.Equal(v, value) {
			t.Fatalf("at the limits: %d bytes, %v", len(v), err)
		}
		wantGet(t, r, "", "")
	})
	fill := func(tx meta.Txn, total int) {
		for i := 0; total > 0; i++ {
			k := fmt.Appendf(nil, "fill-%06d", i)
			n := min(total-len(k), meta.MaxValueSize)
			tx.Set(k, value[:max(n, 0)])
			total -= len(k) + n
		}
	}
	update(t, s, func(tx meta.Txn) { fill(tx, meta.MaxTxnBytes) })
	for name, fn := range map[string]func(meta.Txn){
		"key":         func(tx meta.Txn) { tx.Set(append(key, 0), nil) },
		"deleted key": func(tx meta.Txn) { tx.Delete(append(key, 0)) },
		"value":       func(tx meta.Txn) { tx.Set([]byte("k"), append(value, 0)) },
		"transaction": func(tx meta.Txn) { fill(tx, meta.MaxTxnBytes); tx.Set([]byte("straw"), nil) },
	} {
		err := s.Update(ctx, func(tx meta.Txn) error {
			tx.Set([]byte("before"), []byte("x"))
			fn(tx)
			tx.Set([]byte("after"), []byte("x"))
			return nil
		})
		if !errors.Is(err, meta.ErrTooLarge) {
			t.Errorf("%s beyond the limit: %v, want ErrTooLarge", name, err)
		}
	}
	for _, fn := range []func(meta.Txn){
		func(tx meta.Txn) { tx.Set(nil, []byte("x")) },
		func(tx meta.Txn) { tx.Delete([]byte{}) },
	} {
		err := s.Update(ctx, func(tx meta.Txn) error { tx.Set([]byte("before"), nil); fn(tx); return nil })
		if !errors.Is(err, meta.ErrEmptyKey) {
			t.Errorf("empty key: %v, want ErrEmptyKey", err)
		}
	}
	view(t, s, func(r meta.Reader) {
		wantGet(t, r, "before", "")
		wantGet(t, r, "after", "")
	})
}

func testOwnership(t *testing.T, s meta.Store) {
	key, value := []byte("key"), []byte("value")
	update(t, s, func(tx meta.Txn) { tx.Set(key, value) })
	copy(key, "xxx")
	copy(value, "xxxxx")
	view(t, s, func(r meta.Reader) {
		wantGet(t, r, "key", "value")
		// Values stay valid while many others are read.
		first, err := r.Get([]byte("key"))
		if err != nil {
			t.Fatal(err)
		}
		for range 5000 {
			if _, err := r.Get([]byte("key")); err != nil {
				t.Fatal(err)
			}
		}
		if string(first) != "value" {
			t.Fatalf("a value changed to %q inside the view", first)
		}
	})
}

func testRelease(t *testing.T, s meta.Store) {
	update(t, s, func(x meta.Txn) { x.Set([]byte("k"), []byte("v")) })
	view(t, s, func(r meta.Reader) {
		snapshot, ok := r.(meta.Releaser)
		if !ok {
			t.Skip("keeps its snapshots to the end")
		}
		v, err := r.Get([]byte("k"))
		if err != nil {
			t.Fatal(err)
		}
		snapshot.Release()
		snapshot.Release()
		update(t, s, func(x meta.Txn) { x.Set([]byte("k"), []byte("w")) })
		if string(v) != "v" {
			t.Errorf("what was read is %q now", v)
		}
		if _, err := r.Get([]byte("k")); err == nil || errors.Is(err, meta.ErrNotFound) {
			t.Errorf("a read without a snapshot: %v", err)
		}
		if _, err := Collect(r, meta.Range{}); err == nil {
			t.Error("a scan without a snapshot succeeds")
		}
	})
	update(t, s, func(x meta.Txn) {
		if u, ok := x.(meta.Releaser); ok {
			u.Release()
		}
		wantGet(t, x, "k", "w")
		x.Set([]byte("k"), []byte("x"))
	})
	view(t, s, func(r meta.Reader) { wantGet(t, r, "k", "x") })
}

func testReopen(t *testing.T, f Factory) {
	s := f.Open(t)
	defer func() { s.Close() }()
	m := NewModel()
	for round := range 5 {
		for _, store := range []meta.Store{s, m} {
			update(t, store, func(tx meta.Txn) {
				for i := range 300 {
					tx.Set(fmt.Appendf(nil, "%d/%d", round, i), bytes.Repeat([]byte{byte(i)}, i*3))
				}
				for i := range 100 {
					tx.Delete(fmt.Appendf(nil, "%d/%d", round-1, i))
				}
			})
		}
		s = f.Reopen(t, s)
		if diff := Diff(s, m); diff != "" {
			t.Fatalf("round %d: %s", round, diff)
		}
	}
}

// Diff compares the contents of two stores; "" means that they are the same.
func Diff(a, b meta.Store) string {
	all := func(s meta.Store) (pairs []meta.Pair, err error) {
		err = s.View(ctx, func(r meta.Reader) error {
			pairs, err = Collect(r, meta.Range{})
			return err
		})
		return pairs, err
	}
	x, err := all(a)
	if err != nil {
		return err.Error()
	}
	y, err := all(b)
	if err != nil {
		return err.Error()
	}
	for i := range max(len(x), len(y)) {
		switch {
		case i >= len(x):
			return fmt.Sprintf("first store lacks %q", y[i].Key)
		case i >= len(y):
			return fmt.Sprintf("second store lacks %q", x[i].Key)
		case !bytes.Equal(x[i].Key, y[i].Key):
			return fmt.Sprintf("keys differ: %q, %q", x[i].Key, y[i].Key)
		case !bytes.Equal(x[i].Value, y[i].Value):
			return fmt.Sprintf("values of %q differ", x[i].Key)
		}
	}
	return ""
}
