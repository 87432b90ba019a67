package integration

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// counts are the daemon's open descriptors and goroutines.
func (h *House) counts(pid int) (fds, goroutines int) {
	h.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		h.t.Fatal(err)
	}
	resp, err := h.Admin().Get("http://admin/debug/pprof/goroutine?debug=1")
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(text), "goroutine profile: total %d", &goroutines); err != nil {
		h.t.Fatalf("%v: %.80s", err, text)
	}
	return len(entries), goroutines
}

// A mount keeps what it made for as many requests as there were at a time: for each
// processor one thread with its descriptor for each, and some to spare.
func TestDescriptorsAndGoroutinesReturn(t *testing.T) {
	t.Run("io_uring", func(t *testing.T) {
		descriptorsAndGoroutinesReturn(t, 4+runtime.NumCPU()*(leakWorkers+4), "--io-uring")
	})
	t.Run("device", func(t *testing.T) { descriptorsAndGoroutinesReturn(t, 4) })
}

const leakWorkers = 8

func descriptorsAndGoroutinesReturn(t *testing.T, more int, flags ...string) {
	d := openDoors(t, flags...)
	pid := d.Status().PID
	round := func() {
		var work sync.WaitGroup
		for w := range leakWorkers {
			work.Go(func() {
				for i := range 12 {
					key := fmt.Sprintf("w%d/k%d", w, i)
					if err := d.s3.Put(t.Context(), bucket, key, content(int64(i), 30000)); err != nil {
						t.Error(err)
					}
					if _, err := os.ReadFile(d.path(key)); err != nil {
						t.Error(err)
					}
					if err := os.WriteFile(d.path(strings.Replace(key, "/", "-", 1)), content(1, 9000), 0o644); err != nil {
						t.Error(err)
					}
				}
			})
		}
		work.Wait()
		d.s3.http.CloseIdleConnections()
		if _, err := filepath.Glob(d.path("*/*")); err != nil {
			t.Error(err)
		}
	}
	round() // what is made once, and segments
	fds, goroutines := d.counts(pid)
	for range 3 {
		round()
	}
	// Connections close a moment after the client lets go.
	d.Await("descriptors and goroutines to return", func() bool {
		f, g := d.counts(pid)
		return f <= fds+more && g <= goroutines+more
	})
	d.Umount()
}
