package metatest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cofferfs/coffer/objstore/meta"
	"pgregory.net/rapid"
)

// step is one action inside a transaction.
type step struct {
	action  int
	key     string
	end     string
	value   string
	reverse bool
}

var keyGen = rapid.OneOf(
	rapid.StringMatching(`[abc]{0,3}`),
	rapid.SampledFrom([]string{"", "\x00", "a\x00", "\xff", "\xff\xff", "b/", "b-"}),
)

var stepGen = rapid.Custom(func(t *rapid.T) step {
	return step{
		action:  rapid.IntRange(0, 4).Draw(t, "action"),
		key:     keyGen.Draw(t, "key"),
		end:     keyGen.Draw(t, "end"),
		value:   rapid.StringN(0, 40, 80).Draw(t, "value"),
		reverse: rapid.Bool().Draw(t, "reverse"),
	}
})

// play runs steps on a transaction and returns what it read.
func play(tx meta.Txn, steps []step) (log []string) {
	for _, s := range steps {
		switch s.action {
		case 0, 1:
			if s.key == "" {
				continue // ErrEmptyKey has its own test
			}
			tx.Set([]byte(s.key), []byte(s.value))
		case 2:
			if s.key == "" {
				continue
			}
			tx.Delete([]byte(s.key))
		case 3:
			v, err := tx.Get([]byte(s.key))
			log = append(log, fmt.Sprintf("get %q: %q %v", s.key, v, err))
		case 4:
			r := meta.Range{Start: []byte(s.key), Reverse: s.reverse}
			if s.end != "" {
				r.End = []byte(s.end)
			}
			pairs, err := Collect(tx, r)
			log = append(log, fmt.Sprintf("scan %q %q %v: %q %v", s.key, s.end, s.reverse, pairs, err))
		}
	}
	return log
}

// testModel plays random transactions on the store and on the model; all that
// they read, and what is left, must be the same.
func testModel(t *testing.T, s meta.Store) {
	rapid.Check(t, func(rt *rapid.T) {
		// One store for all: each history begins by emptying it.
		m := NewModel()
		err := s.Update(ctx, func(tx meta.Txn) error {
			pairs, err := Collect(tx, meta.Range{})
			for _, p := range pairs {
				tx.Delete(p.Key)
			}
			return err
		})
		if err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(1, 8).Draw(rt, "transactions") {
			steps := rapid.SliceOfN(stepGen, 1, 12).Draw(rt, "steps")
			fail := rapid.IntRange(0, 5).Draw(rt, "fail") == 0
			var logs [2][]string
			for i, store := range []meta.Store{s, m} {
				err := store.Update(ctx, func(tx meta.Txn) error {
					logs[i] = play(tx, steps)
					if fail {
						return errors.New("meant to fail")
					}
					return nil
				})
				if (err != nil) != fail {
					rt.Fatalf("update: %v", err)
				}
			}
			for i := range logs[1] {
				if logs[0][i] != logs[1][i] {
					rt.Fatalf("store: %s\nmodel: %s", logs[0][i], logs[1][i])
				}
			}
			if diff := Diff(s, m); diff != "" {
				rt.Fatal(diff)
			}
		}
	})
}
