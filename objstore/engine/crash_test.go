package engine

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/record"
)

// A crash test runs a load through both doors on one stack and looks, at chosen
// instants, at what a crash would leave of both directories.
//
// Every client of the load owns some names and keeps, for each, the states that
// the name has had, in order, and which of them was acknowledged as durable. What
// is found after a crash must be a state from the last acknowledged one on: no
// other bytes, no torn ones. The prefix of history is checked across names, too:
// each client numbers its changes, and when one that is a commit by itself is
// there then so is every earlier one of that client. What is acknowledged as
// durable takes all that the client had committed before with it.

// crashRun is one load with its crashes.
type crashRun struct {
	t       *testing.T
	k       *stack
	clients []*crashClient
	seed    uint64
	mu      sync.Mutex // one crash at a time; guards the fields below
	rnd     *rand.Rand
	done    int
	most    int
	every   int
	off     bool
	// versioned: the bucket keeps versions.
	versioned bool
}

// maybe crashes at this instant, perhaps.
func (r *crashRun) maybe(rare bool) {
	if !r.mu.TryLock() {
		return // an operation of a crash that is being looked at, or of another client
	}
	defer r.mu.Unlock()
	if r.off || r.done >= r.most || r.rnd.IntN(r.every) != 0 && !(rare && r.rnd.IntN(4) == 0) {
		return
	}
	r.done++
	acked := make([]map[string]int, len(r.clients))
	uploads := make([]map[objstore.UploadID]crashUpload, len(r.clients))
	for i, c := range r.clients {
		acked[i], uploads[i] = c.acked(), c.snapshot().uploads
	}
	percent := []int{0, 0, 50, 100}[r.rnd.IntN(4)]
	k := r.k.crash(rand.New(rand.NewPCG(r.rnd.Uint64(), 1)), percent)
	begun := make([]*crashClient, len(r.clients))
	for i, c := range r.clients {
		begun[i] = c.snapshot()
	}
	// The caller may be a goroutine of the store's that must not be ended.
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		if err := r.look(k, begun, acked, uploads); err != nil {
			r.off = true
			r.t.Errorf("seed %d, crash %d, %d%% of what was not synced kept: %v", r.seed, r.done, percent, err)
		}
	}()
	<-finished
}

func (r *crashRun) look(k *stack, clients []*crashClient, acked []map[string]int, uploads []map[objstore.UploadID]crashUpload) error {
	if err := k.open(false); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer k.close()
	if err := k.s.reapOrphans(bg); err != nil {
		return fmt.Errorf("orphans: %w", err)
	}
	if err := k.s.reapGarbage(bg); err != nil {
		return fmt.Errorf("garbage: %w", err)
	}
	if err := checkStore(k.s); err != nil {
		return err
	}
	for i, c := range clients {
		if err := c.verify(k.s, acked[i]); err != nil {
			return err
		}
		if r.versioned {
			if err := c.verifyVersions(k.s, acked[i]); err != nil {
				return err
			}
		}
	}
	// What is found can be worked with, and segments of the crash go.
	p := bytesOf(1, 50_000)
	if _, err := k.s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: "after", Body: bytes.NewReader(p), Size: -1}); err != nil {
		return err
	}
	g := newCollector()
	for range 3 {
		if err := k.s.collect(context.Background(), g); err != nil {
			return fmt.Errorf("collect: %w", err)
		}
	}
	for info, err := range k.local.Segments(bg) {
		if err != nil {
			return err
		}
		acct, err := k.s.segment(bg, record.SegmentID(info.ID))
		if err != nil {
			return err
		}
		if info.Sealed && acct.Refs == 0 {
			return fmt.Errorf("segment %v is left and nothing points to it", info.ID)
		}
	}
	for i, c := range clients {
		if err := c.verify(k.s, acked[i]); err != nil {
			return fmt.Errorf("after collecting: %w", err)
		}
	}
	for i, c := range clients {
		if err := c.completeUploads(k.s, uploads[i]); err != nil {
			return err
		}
	}
	return checkStore(k.s)
}

func TestCrashLeavesWhatWasAcknowledgedAndNothingTorn(t *testing.T) {
	runs, changes, crashes, every := 4, 60, 16, 12
	if long {
		runs, changes, crashes, every = 30, 300, 300, 8
	}
	if raceDetector && !long {
		runs, crashes = 2, 8
	}
	for i := range runs {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			seed := uint64(i)
			if long {
				seed = rand.Uint64()
			}
			r := &crashRun{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 99)), most: crashes, every: every, off: true}
			k, root := newStack(t, func(k *stack) {
				k.segment = 512 << 10
				k.options.WriteBufferBytes = 200_000
				k.hook = func(op, name string) {
					if strings.HasPrefix(name, "/meta") {
						r.maybe(op == "create" || op == "remove" || op == "rename" || op == "sync")
					}
				}
			})
			r.k = k
			if r.versioned = i%2 == 1; r.versioned {
				if err := k.s.SetBucketVersioning(bg, s3C, "bucket", objstore.VersioningEnabled); err != nil {
					t.Fatal(err)
				}
			}
			k.s.ingestStep, k.s.shareStep = 1, 1
			mode := [...]objstore.SSEMode{objstore.SSES3, objstore.SSEDSSE, objstore.SSEKMS}[i%3]
			if err := k.s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: mode}); err != nil {
				t.Fatal(err)
			}
			k.disk.SetHook(func(op datatest.Op) datatest.Fault {
				r.maybe(op.Kind != "write")
				return datatest.Fault{}
			})
			var stop atomic.Bool
			var wg sync.WaitGroup
			for id := range 3 {
				r.clients = append(r.clients, newCrashClient(id))
			}
			r.mu.Lock()
			r.off = false
			r.mu.Unlock()
			for _, c := range r.clients {
				wg.Go(func() {
					if err := c.run(k, root, seed, &stop, changes); err != nil {
						t.Error(err)
					}
				})
			}
			// Background work beside it.
			halt := make(chan struct{})
			var bgWork sync.WaitGroup
			bgWork.Go(func() {
				g := newCollector()
				for n := 0; ; n++ {
					select {
					case <-halt:
						return
					default:
					}
					if err := k.s.Sync(bg); err != nil {
						t.Error(err)
						return
					}
					if n%16 == 0 {
						if err := k.rotate(); err != nil {
							t.Error(err)
							return
						}
					}
					if err := k.s.collect(bg, g); err != nil {
						t.Error(err)
						return
					}
				}
			})
			wg.Wait()
			close(halt)
			bgWork.Wait()
			r.mu.Lock()
			t.Logf("%d crashes", r.done)
			r.off = true
			r.mu.Unlock()
			// And an orderly stop.
			begun, acked := make([]*crashClient, 3), make([]map[string]int, 3)
			if err := k.s.Sync(bg); err != nil {
				t.Fatal(err)
			}
			for i, c := range r.clients {
				begun[i] = c.snapshot()
				acked[i] = make(map[string]int)
				for name, h := range c.hist {
					acked[i][name] = len(h) - 1
				}
				if err := begun[i].verify(k.s, acked[i]); err != nil {
					t.Error(err)
				}
			}
			if err := checkStore(k.s); err != nil {
				t.Error(err)
			}
			if v := k.disk.Violations(); len(v) > 0 {
				t.Errorf("the data store broke its rules: %v", v)
			}
		})
	}
}
