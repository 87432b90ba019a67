package mount

import (
	"context"

	"github.com/cofferfs/coffer/objstore/engine"
)

// LifecycleReport counts what lifecycle rules did. Its fields are the promise of
// `bucket lifecycle --json`.
type LifecycleReport struct {
	Buckets        int `json:"buckets"`         // that have rules
	Seen           int `json:"seen"`            // objects and versions that were looked at
	Expired        int `json:"expired"`         // current versions
	Noncurrent     int `json:"noncurrent"`      // noncurrent versions that were removed
	DeleteMarkers  int `json:"delete_markers"`  // that were all that was left of their keys
	AbortedUploads int `json:"aborted_uploads"` // multipart uploads
	Locked         int `json:"locked"`          // what Object Lock keeps
	Failed         int `json:"failed"`          // what could not go yet
}

// Lifecycle carries out the lifecycle rules of all buckets now, those that were
// set today, too. When ctx ends it stops between two pages; the next one begins
// anew.
func (d *Daemon) Lifecycle(ctx context.Context) (LifecycleReport, error) {
	r, err := d.store.engine.Lifecycle(ctx, true)
	return lifecycleReport(r), err
}

func lifecycleReport(r engine.LifecycleReport) LifecycleReport {
	return LifecycleReport{
		Buckets: r.Buckets, Seen: r.Seen, Expired: r.Expired, Noncurrent: r.Noncurrent, DeleteMarkers: r.Markers,
		AbortedUploads: r.Aborted, Locked: r.Locked, Failed: r.Failed,
	}
}

// RunLifecycle has the running daemon carry out all lifecycle rules now.
func RunLifecycle(ctx context.Context, cfg Config) (r LifecycleReport, err error) {
	err = askDaemon(ctx, cfg, "/v1/lifecycle", struct{}{}, &r)
	return r, err
}
