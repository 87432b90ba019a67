package pebblekv

import (
	"errors"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/objstore/meta"
)

// An Update that waits for a flush hears of a failure that the flush does not meet.
func TestWaitForAFlushEndsWhenTheStoreFails(t *testing.T) {
	hold := make(chan struct{})
	hooked := &hookFS{FS: vfs.NewMem()}
	h := newHistory(2)
	s := mustOpen(t, create(crashOptions(hooked, h)))
	hooked.set(func(op, name string) error {
		if op == "create" && strings.HasSuffix(name, ".sst") {
			<-hold
		}
		return nil
	})
	defer close(hold)
	done := make(chan error)
	go func() {
		var err error
		for err == nil {
			err = h.commit(s)
		}
		done <- err
	}()
	buf := make([]byte, 1<<20)
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			waits = waits || strings.Contains(g, "[select") && strings.Contains(g, "(*stall).wait")
		}
	}
	s.fs.Freeze(syscall.EIO)
	select {
	case err := <-done:
		if !errors.Is(err, meta.ErrReadOnly) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits on")
	}
}
