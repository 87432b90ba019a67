package s3api

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/engine"
	"github.com/cofferfs/coffer/objstore/engine/storetest"
)

// A store whose disk has failed is no read-only one: it answers writes with an error of
// its own, and goes on to read.
func TestWritesToAFailedStoreAreInternalErrors(t *testing.T) {
	var broken atomic.Bool
	d := openDoorOf(t, storetest.Open(t, storetest.Options{Engine: func(o *engine.Options) {
		o.Data = datatest.NewFaults(o.Data, func(c datatest.Call) (f datatest.Fault) {
			if broken.Load() && (c.Op == "append" || c.Op == "sync") {
				f.Err = data.ErrFailed
			}
			return f
		})
	}}))
	d.bucket("bucket")
	text := strings.Repeat("text", 50_000)
	d.do("PUT", "/bucket/k", text).ok(t, "put", 200)
	broken.Store(true)
	for _, c := range [][3]string{
		{"PUT", "/bucket/new", text}, {"PUT", "/bucket/small", "text"}, {"DELETE", "/bucket/k", ""}, {"PUT", "/other", ""},
	} {
		if a := d.do(c[0], c[1], c[2]); a.status != 500 || !strings.Contains(a.body, "<Code>InternalError</Code>") {
			t.Errorf("%s %s: %v", c[0], c[1], a)
		}
	}
	d.do("GET", "/bucket/k", "").ok(t, "get", 200)
}
