package sealedfs

import (
	"errors"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// createLog makes a new log and then ends its predecessor. It never fails: that waits
// for room, or it freezes.
func (fs *FS) createLog(name string, number uint64, category vfs.DiskWriteCategory) vfs.File {
	w := &logWriter{fs: fs, name: name, kind: kindLog, number: number, category: category}
	_ = fs.inOrder(func() error { return fs.beginLog(w) })
	if fs.isFrozen() {
		return &nullFile{}
	}
	return w
}

// beginLog makes the file of a new log. Where there was no room it goes on where it was.
func (fs *FS) beginLog(w *logWriter) error {
	fs.anchorMu.Lock()
	defer fs.anchorMu.Unlock()
	if err := fs.chainLog(w); err != nil {
		return err
	}
	fs.mu.Lock()
	previous := fs.closing
	fs.mu.Unlock()
	if previous != nil {
		if err := previous.finish(w.number, w.h.anchor); isFull(err) {
			return err
		}
		fs.mu.Lock()
		fs.closing = nil
		fs.mu.Unlock()
	}
	if err := fs.frozen(); err != nil {
		w.close()
		return err
	}
	fs.mu.Lock()
	fs.log, fs.newest, fs.tail, fs.anchored = w, w.number, w.h.tag, w.h.anchor
	fs.mu.Unlock()
	if err := fs.removeAll(w.covered); err != nil {
		fs.o.Logger.Warn("obsolete metadata files stay", "err", err)
	}
	return nil
}

// chainLog writes the header of a new log and makes it durable, in the
// directory too. It is the predecessor's last word, so that is durable before.
func (fs *FS) chainLog(w *logWriter) error {
	if w.begun() {
		return nil
	}
	if err := fs.frozen(); err != nil {
		return err
	}
	if err := fs.forgetShutdown(); err != nil {
		return fs.fail("remove the end of", fs.o.Dir, err)
	}
	fs.mu.Lock()
	previous, pred, tail, state := fs.closing, fs.newest, fs.tail, fs.state
	queued := fs.takeRemovals()
	fs.mu.Unlock()
	if previous != nil {
		tail = previous.tail()
	}
	err := fs.beforeDurable()
	if err == nil {
		err = fs.startLog(w, func(h *header) { h.pred, h.predTag, h.anchor = pred, tail, state })
	}
	if err != nil {
		fs.mu.Lock()
		fs.removals = append(queued, fs.removals...)
		fs.mu.Unlock()
		return err
	}
	w.covered = queued
	return nil
}

func (fs *FS) syncStoreDir() error { return fs.syncNames(fs.o.Dir) }

// syncNames makes the names in a directory durable.
func (fs *FS) syncNames(name string) error {
	d, err := fs.base.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// logClosed ends a manifest that Pebble closed; a log waits for its successor.
func (fs *FS) logClosed(w *logWriter) error {
	if w.kind == kindManifest {
		return w.finish(0, anchor{})
	}
	// An anchor in progress ends before the log counts as closed.
	fs.anchorMu.Lock()
	defer fs.anchorMu.Unlock()
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.log == w {
		fs.log, fs.closing = nil, w
	}
	return nil
}

// manifestSynced is told how far a manifest is synced.
func (fs *FS) manifestSynced(number uint64, end int64, last tag) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.synced = manifestState{number: number, end: end, tag: last}
	if number == fs.state.manifest {
		fs.setManifest(fs.synced)
	}
}

// setManifest takes m for the manifest in force. mu is held.
func (fs *FS) setManifest(m manifestState) {
	fs.state.manifest = m.number
	fs.state.manifestEnd = uint64(m.end)
	fs.state.manifestTag = m.tag.short()
}

// syncDir syncs a directory and never fails: that waits for room, or it freezes. Once a
// new marker is durable, its manifest is in force, and the log says so.
func (fs *FS) syncDir(d dir) error {
	_ = fs.inOrder(func() error {
		if err := fs.frozen(); err != nil {
			return err
		}
		fs.mu.Lock()
		marked := fs.marked
		fs.mu.Unlock()
		if err := fs.beforeDurable(); err != nil {
			return err
		}
		if err := fs.syncNames(d.name); err != nil {
			return fs.fail("sync", d.name, err)
		}
		if marked == 0 || !d.store {
			return nil
		}
		fs.mu.Lock()
		if fs.marked == marked && fs.synced.number == marked {
			fs.marked = 0
			fs.setManifest(fs.synced)
		}
		fs.mu.Unlock()
		return fs.inOrder(fs.removeAnchored)
	})
	return nil
}

// removeAnchored anchors the present state and then removes what waits for
// it. Without a current log it leaves both to the next.
func (fs *FS) removeAnchored() error {
	fs.anchorMu.Lock()
	defer fs.anchorMu.Unlock()
	fs.mu.Lock()
	log, state, changed := fs.log, fs.state, fs.state != fs.anchored
	if log == nil {
		fs.mu.Unlock()
		return nil
	}
	// Only what is queued now: the state covers that and nothing later.
	queued := fs.takeRemovals()
	fs.mu.Unlock()
	if changed {
		if err := log.anchor(state); err != nil {
			fs.mu.Lock()
			fs.removals = append(queued, fs.removals...)
			fs.mu.Unlock()
			return err
		}
		if err := fs.frozen(); err != nil {
			return err
		}
		fs.mu.Lock()
		fs.anchored = state
		fs.mu.Unlock()
	}
	return fs.removeAll(queued)
}

// takeRemovals empties the queue. mu is held.
func (fs *FS) takeRemovals() []string {
	names := fs.removals
	fs.removals = nil
	return names
}

// removeAll removes files that an anchor covers.
func (fs *FS) removeAll(names []string) error {
	var errs []error
	for _, name := range names {
		if err := fs.base.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
