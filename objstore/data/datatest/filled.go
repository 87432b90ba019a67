package datatest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore/data"
)

// filled is a store whose runs are made with AppendFrom, in pieces of all sorts.
type filled struct {
	data.Store
	f data.Filler
}

func (s *filled) Append(ctx context.Context, p []byte) (data.Location, error) {
	if len(p) == 0 {
		return s.Store.Append(ctx, p)
	}
	return s.f.AppendFrom(ctx, len(p), func(w io.Writer) error {
		step := [...]int{777, data.Block, 64<<10 + 32, 3 << 20, data.MaxAppend}[rand.IntN(5)]
		for p := p; len(p) > 0; {
			k := min(step, len(p))
			if n, err := w.Write(p[:k]); n != k || err != nil {
				return errors.Join(err, io.ErrShortWrite)
			}
			p = p[k:]
		}
		return nil
	})
}

// testGivenUp makes runs whose fill fails, ends early or writes too much, beside
// others, and looks whether these are whole and can be made durable.
func testGivenUp(t *testing.T, s data.Store) {
	f, ok := s.(data.Filler)
	if !ok {
		t.Skip("no data.Filler")
	}
	failure := errors.New("fill fails")
	var kept sync.Map
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 3))
			for i := range 20 {
				seed := uint64(g*1000 + i)
				p := Bytes(seed, 1+r.IntN(3<<20))
				cut := r.IntN(len(p))
				l, err := f.AppendFrom(t.Context(), len(p), func(w io.Writer) error {
					if _, err := w.Write(p[:cut]); err != nil {
						return err
					}
					switch i % 4 {
					case 0:
						return failure
					case 1:
						return nil
					case 2:
						_, err := w.Write(append(p[cut:], 1))
						return err
					}
					_, err := w.Write(p[cut:])
					return err
				})
				switch {
				case i%4 == 3 && err == nil:
					kept.Store(l, p)
				case i%4 == 3:
					t.Errorf("append: %v", err)
				case err == nil:
					t.Errorf("a run that was not made (case %d) has a location", i%4)
				case i%4 == 0 && !errors.Is(err, failure):
					t.Errorf("append: %v, want the error of fill", err)
				}
				if i%7 == 0 {
					if err := s.Sync(t.Context()); err != nil {
						t.Errorf("sync: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	mustSync(t, s)
	kept.Range(func(l, p any) bool {
		if err := Check(t.Context(), s, l.(data.Location), p.([]byte)); err != nil {
			t.Error(err)
		}
		return true
	})
	last := []byte("after them")
	if err := Check(t.Context(), s, mustAppend(t, s, bytes.Clone(last)), last); err != nil {
		t.Error(err)
	}
	if _, err := f.AppendFrom(t.Context(), data.MaxAppend+1, func(io.Writer) error {
		t.Error("fill was called")
		return nil
	}); !errors.Is(err, data.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}
