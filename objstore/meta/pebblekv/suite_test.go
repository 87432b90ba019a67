package pebblekv

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/meta/metatest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	metatest.Run(t, metatest.Factory{
		Open: func(t testing.TB) meta.Store { return mustOpen(t, create(testOptions(vfs.NewMem(), "/db"))) },
		Reopen: func(t testing.TB, s meta.Store) meta.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return mustOpen(t, testOptions(s.(*Store).o.FS, "/db"))
		},
	})
}
