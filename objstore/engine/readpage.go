package engine

import (
	"slices"

	"github.com/cofferfs/coffer/objstore/meta"
)

// readPage reads up to max records of a range, for whoever goes over a long one with a
// snapshot for each page. parse makes an element of a record; ok is false for one that is
// of no interest. next is where the others begin, nil: there are none.
func readPage[T any](r reader, rng meta.Range, max int, parse func(meta.Pair) (t T, ok bool, err error)) (list []T, next []byte, err error) {
	seen := 0
	for p, err := range r.Scan(rng) {
		if err != nil {
			return nil, nil, err
		}
		if seen++; seen > max {
			return list, slices.Clone(p.Key), nil
		}
		t, ok, err := parse(p)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			list = append(list, t)
		}
	}
	return list, nil, nil
}
