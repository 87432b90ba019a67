package fs

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// loops counts the goroutines that wait for requests or handle one.
func loops() int {
	stacks := make([]byte, 4<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "fuse.(*Server).loop(")
}

func TestReadersBoundWhoWaitsForRequests(t *testing.T) {
	const procs = 8
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
	others := loops()
	m := mountBucket(t, Options{Readers: 2})
	if got := runtime.GOMAXPROCS(0); got != procs {
		t.Fatalf("GOMAXPROCS is %d after mounting, want %d", got, procs)
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 50 {
				os.Lstat(m.path("absent-" + strconv.Itoa(i) + "-" + strconv.Itoa(j)))
			}
		})
	}
	wg.Wait()
	// Those that are too many end when they have answered.
	const most = 3
	for range 1000 {
		if loops()-others <= most {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d readers wait, want at most %d", loops()-others, most)
}
