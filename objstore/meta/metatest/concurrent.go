package metatest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore/meta"
)

func testSnapshot(t *testing.T, s meta.Store) {
	update(t, s, func(tx meta.Txn) { tx.Set([]byte("a"), []byte("1")) })
	view(t, s, func(r meta.Reader) {
		wantGet(t, r, "a", "1")
		done := make(chan error)
		go func() {
			done <- s.Update(ctx, func(tx meta.Txn) error {
				tx.Set([]byte("a"), []byte("2"))
				tx.Set([]byte("b"), []byte("2"))
				return nil
			})
		}()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantGet(t, r, "a", "1")
		wantGet(t, r, "b", "")
		wantScan(t, r, meta.Range{}, "a")
	})
	view(t, s, func(r meta.Reader) { wantGet(t, r, "a", "2"); wantGet(t, r, "b", "2") })
}

// inParallel runs fn in n goroutines and reports their errors.
func inParallel(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := fn(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func testCounters(t *testing.T, s meta.Store) {
	const writers, rounds = 8, 100
	inParallel(t, writers, func(int) error {
		for range rounds {
			err := s.Update(ctx, func(tx meta.Txn) error {
				v, err := tx.Get([]byte("n"))
				if err != nil && !errors.Is(err, meta.ErrNotFound) {
					return err
				}
				tx.Set([]byte("n"), append(bytes.Clone(v), '.'))
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	view(t, s, func(r meta.Reader) {
		if v, err := r.Get([]byte("n")); err != nil || len(v) != writers*rounds {
			t.Fatalf("counted %d of %d, %v", len(v), writers*rounds, err)
		}
	})
}

// testPhantoms has writers that each insert only while the range is empty:
// were one not to see another's insert, there would be two.
func testPhantoms(t *testing.T, s meta.Store) {
	for round := range 20 {
		prefix := fmt.Appendf(nil, "round-%02d/", round)
		inParallel(t, 6, func(i int) error {
			return s.Update(ctx, func(tx meta.Txn) error {
				found, err := Collect(tx, meta.Prefix(prefix))
				if err == nil && len(found) == 0 {
					tx.Set(fmt.Appendf(bytes.Clone(prefix), "%d", i), nil)
				}
				return err
			})
		})
		view(t, s, func(r meta.Reader) {
			if found, err := Collect(r, meta.Prefix(prefix)); err != nil || len(found) != 1 {
				t.Fatalf("round %d: %d inserts, %v", round, len(found), err)
			}
		})
	}
}

func testSync(t *testing.T, s meta.Store) {
	if err := s.Sync(ctx); err != nil {
		t.Fatalf("sync of an empty store: %v", err)
	}
	inParallel(t, 8, func(i int) error {
		for j := range 20 {
			err := s.Update(ctx, func(tx meta.Txn) error {
				tx.Set(fmt.Appendf(nil, "%d-%d", i, j), nil)
				return nil
			})
			if err == nil {
				err = s.Sync(ctx)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func testClosed(t *testing.T, s meta.Store) {
	update(t, s, func(tx meta.Txn) { tx.Set([]byte("a"), nil) })
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
	}
	for name, err := range map[string]error{
		"view":   s.View(ctx, func(meta.Reader) error { t.Error("called"); return nil }),
		"update": s.Update(ctx, func(meta.Txn) error { t.Error("called"); return nil }),
		"sync":   s.Sync(ctx),
	} {
		if !errors.Is(err, meta.ErrClosed) {
			t.Errorf("%s after close: %v", name, err)
		}
	}
}

func testCloseWaits(t *testing.T, s meta.Store) {
	if _, ok := s.(*Model); ok {
		t.Skip("a snapshot of the model needs no store")
	}
	update(t, s, func(tx meta.Txn) { tx.Set([]byte("a"), []byte("1")) })
	started, goOn, closed := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		<-started
		go func() { closed <- s.Close() }()
		close(goOn)
	}()
	view(t, s, func(r meta.Reader) {
		close(started)
		<-goOn
		for range 1000 {
			wantGet(t, r, "a", "1")
		}
		select {
		case err := <-closed:
			t.Fatalf("close returned %v during a view", err)
		default:
		}
	})
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}
