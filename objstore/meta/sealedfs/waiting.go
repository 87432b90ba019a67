package sealedfs

import (
	"errors"
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cofferfs/coffer/objstore/meta"
)

// errFull marks what found no room, of which nothing is lost: see waiting.
var errFull = fmt.Errorf("sealedfs: %w", meta.ErrNoSpace)

// errBefore is errFull where BeforeDurable found no room: Options.NoSpace has none for that.
var errBefore = fmt.Errorf("%w for what comes before", errFull)

// errNoDescriptor is errFull where none was left to open a file with. Options.NoSpace has none either.
var errNoDescriptor = fmt.Errorf("%w: no file descriptor is left", errFull)

// waiting is what Pebble asked for and the disk has no room for, in the order in which
// it was asked for: once one thing waits, all that comes after waits behind it, but for
// tables, which Pebble itself tries again. So what is below is at each moment what it would have been
// at an earlier one, and a crash finds nothing that one could not have found then. What Pebble wrote
// stays in memory meanwhile: it goes on, nobody waits, and who asks for durability asks
// Retry.
type waiting struct {
	retrying sync.Mutex // held by Retry

	any atomic.Bool // ops is not empty

	mu   sync.Mutex     // guards the fields below
	ops  []func() error // each can be repeated as long as it returns errFull
	told bool           // the log says that there is no room
}

// isFull tells of errFull; not of a freeze that it caused.
func isFull(err error) bool { return errors.Is(err, errFull) && !errors.Is(err, ErrFrozen) }

// lack returns which of the errors above err is, nil where something broke rather than
// was lacking. Without a descriptor a file was not even opened: nothing has happened.
func lack(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, meta.ErrNoSpace):
		return errFull
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return errNoDescriptor
	}
	return nil
}

// reserveHelps tells whether what waits for err could go on with room from the reserve.
func reserveHelps(err error) bool {
	return isFull(err) && !errors.Is(err, errBefore) && !errors.Is(err, errNoDescriptor)
}

// Defer has what finds no room wait from now on, until Shutdown. Before that it freezes
// the FS, so that an opening fails for which nothing can be written.
func (fs *FS) Defer() { fs.deferring.Store(true) }

// Waits tells whether something waits for room on the disk. Then nothing that Pebble
// reports as synced is, until Retry returned nil.
func (fs *FS) Waits() bool { return fs.waiting.any.Load() }

// fail returns errFull for what can wait for room, and freezes for anything else.
func (fs *FS) fail(op, name string, err error) error {
	if lacks := lack(err); lacks != nil && !fs.isFrozen() {
		return fmt.Errorf("%w: %s %q: %w", lacks, op, path.Base(name), err)
	}
	fs.freeze(op, name, err)
	return fs.frozen()
}

// attempt does what may find no room, with the reserve if it must. It returns errFull
// only for what is to wait: else the FS is frozen, and all that is left to do is done.
func (fs *FS) attempt(do func() error) error {
	err := do()
	for reserveHelps(err) && fs.o.NoSpace != nil && fs.o.NoSpace() {
		err = do()
	}
	if isFull(err) && !fs.deferring.Load() {
		fs.freeze("find room in", fs.o.Dir, err)
		err = do()
	}
	return err
}

// inOrder does something now and returns its error, or has it wait for room.
func (fs *FS) inOrder(do func() error) error {
	if fs.Waits() && !fs.isFrozen() {
		fs.wait(nil, do)
		return nil
	}
	err := fs.attempt(do)
	if isFull(err) {
		fs.wait(err, do)
		return nil
	}
	return err
}

// wait has op wait for room: for that which it did not find, or behind others.
func (fs *FS) wait(err error, op func() error) {
	w := &fs.waiting
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ops = append(w.ops, op)
	w.any.Store(true)
	if err != nil && !w.told {
		w.told = true
		what := "disk is full"
		if errors.Is(err, errNoDescriptor) {
			what = "too many files are open"
		}
		fs.o.Logger.Error(what+": metadata wait for room, and nothing becomes durable", "dir", fs.o.Dir, "err", err)
	}
}

// Retry does what waits for room. It returns nil when nothing waits any more, an error
// that matches meta.ErrNoSpace when there is no room still, and Err when the FS froze. It
// calls BeforeDurable.
func (fs *FS) Retry() error {
	if !fs.Waits() {
		return fs.frozen()
	}
	w := &fs.waiting
	w.retrying.Lock()
	defer w.retrying.Unlock()
	for {
		op := w.first(fs)
		if op == nil {
			return fs.frozen()
		}
		// When the FS is frozen all that is left of each is that it closes its file.
		err := fs.attempt(op)
		if isFull(err) {
			return err
		}
		if err != nil && !fs.isFrozen() {
			fs.o.Logger.Warn("obsolete metadata files stay", "err", err)
		}
		w.mu.Lock()
		w.ops = w.ops[1:]
		w.mu.Unlock()
	}
}

// first returns what has waited longest, or nil.
func (w *waiting) first(fs *FS) func() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ops) > 0 {
		return w.ops[0]
	}
	w.ops = nil
	w.any.Store(false)
	if w.told && !fs.isFrozen() {
		fs.o.Logger.Info("there is room again for metadata", "dir", fs.o.Dir)
	}
	w.told = false
	return nil
}
