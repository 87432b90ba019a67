package localdata_test

import (
	"testing"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/data/localdata"
)

func open(t testing.TB, opt localdata.Options) *localdata.Store {
	t.Helper()
	s, err := localdata.Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestContract(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  localdata.Options
	}{
		{"default", localdata.Options{}},
		{"small segments", localdata.Options{SegmentBytes: 100_000, OpenFiles: 2}},
		{"reserve", localdata.Options{ReserveBytes: 1 << 20, SegmentBytes: 4 << 20}},
	} {
		t.Run(c.name, func(t *testing.T) {
			datatest.Run(t, func(t *testing.T) data.Store {
				opt := c.opt
				opt.Dir = t.TempDir()
				return open(t, opt)
			})
		})
	}
}
