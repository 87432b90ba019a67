package datatest

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/cofferfs/coffer/objstore/data"
)

// Fault says how an operation goes wrong. The zero Fault lets it succeed.
type Fault struct {
	// Err is what the caller gets. nil: whatever the operation returns.
	Err error
	// Effect says what happens before Err is returned. It means nothing if Err
	// is nil.
	Effect Effect
	// Wait makes the operation slow: it goes on when the channel is closed, or
	// fails when its context ends first.
	Wait <-chan struct{}
}

// Effect is what a failing operation has done all the same.
type Effect int

const (
	Nothing Effect = iota // failed
	All                   // failed, but persisted
	Part                  // torn
)

// Call is one use of a data.Store. Count numbers the calls of one store from 1.
type Call struct {
	Op     string // "append", "read", "sync", "segments", "remove"
	Length int    // of an append or read, in bytes
	Count  uint64
}

// Faults is a store whose calls fail as a hook says.
type Faults struct {
	data.Store
	hook  func(Call) Fault
	count atomic.Uint64
}

var _ data.Store = (*Faults)(nil)

// NewFaults returns s with hook asked before each call. The hook is called
// concurrently if the store is. Close of the result closes s and never fails
// by itself.
func NewFaults(s data.Store, hook func(Call) Fault) *Faults {
	return &Faults{Store: s, hook: hook}
}

// fault asks the hook and waits as long as it wants.
func (f *Faults) fault(ctx context.Context, op string, n int) (Fault, error) {
	fault := f.hook(Call{Op: op, Length: n, Count: f.count.Add(1)})
	if fault.Wait != nil {
		select {
		case <-fault.Wait:
		case <-ctx.Done():
			return fault, ctx.Err()
		}
	}
	return fault, nil
}

// Append appends all, half or nothing of p.
func (f *Faults) Append(ctx context.Context, p []byte) (data.Location, error) {
	fault, err := f.fault(ctx, "append", len(p))
	if err != nil {
		return data.Location{}, err
	}
	if fault.Err == nil {
		return f.Store.Append(ctx, p)
	}
	if fault.Effect == Part {
		p = p[:len(p)/2]
	}
	if fault.Effect != Nothing {
		if _, err := f.Store.Append(ctx, p); err != nil {
			return data.Location{}, err
		}
	}
	return data.Location{}, fault.Err
}

// ReadAt fills all, half or nothing of p.
func (f *Faults) ReadAt(ctx context.Context, l data.Location, p []byte, off int64) error {
	fault, err := f.fault(ctx, "read", len(p))
	if err != nil {
		return err
	}
	if fault.Err == nil {
		return f.Store.ReadAt(ctx, l, p, off)
	}
	if fault.Effect == Part {
		p = p[:len(p)/2]
	}
	if fault.Effect != Nothing {
		if err := f.Store.ReadAt(ctx, l, p, off); err != nil {
			return err
		}
	}
	return fault.Err
}

// Sync syncs or not. What is torn in a failed barrier cannot be told from here,
// so Part is Nothing: CrashFS can tear one.
func (f *Faults) Sync(ctx context.Context) error {
	return f.done(ctx, "sync", func() error { return f.Store.Sync(ctx) })
}

// Remove removes or not; Part is Nothing.
func (f *Faults) Remove(ctx context.Context, id data.SegmentID) error {
	return f.done(ctx, "remove", func() error { return f.Store.Remove(ctx, id) })
}

func (f *Faults) done(ctx context.Context, op string, do func() error) error {
	fault, err := f.fault(ctx, op, 0)
	if err != nil {
		return err
	}
	if fault.Err == nil || fault.Effect == All {
		if err := do(); err != nil {
			return err
		}
	}
	return fault.Err
}

// Segments lists all, one, or none before it fails.
func (f *Faults) Segments(ctx context.Context) iter.Seq2[data.SegmentInfo, error] {
	return func(yield func(data.SegmentInfo, error) bool) {
		fault, err := f.fault(ctx, "segments", 0)
		if err != nil {
			yield(data.SegmentInfo{}, err)
			return
		}
		if fault.Err == nil || fault.Effect != Nothing {
			for info, err := range f.Store.Segments(ctx) {
				if !yield(info, err) || err != nil {
					return
				}
				if fault.Err != nil && fault.Effect == Part {
					break
				}
			}
		}
		if fault.Err != nil {
			yield(data.SegmentInfo{}, fault.Err)
		}
	}
}
