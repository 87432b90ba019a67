package pebblekv

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/objstore/meta"
)

// TestReleaseLetsTheSnapshotGo: it is gone before the View ends.
func TestReleaseLetsTheSnapshotGo(t *testing.T) {
	s := mustOpen(t, create(testOptions(vfs.NewMem(), "db")))
	err := s.View(t.Context(), func(r meta.Reader) error {
		if n := s.db.Metrics().Snapshots.Count; n != 1 {
			t.Errorf("%d snapshots in a View", n)
		}
		r.(meta.Releaser).Release()
		if n := s.db.Metrics().Snapshots.Count; n != 0 {
			t.Errorf("%d snapshots after Release", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
