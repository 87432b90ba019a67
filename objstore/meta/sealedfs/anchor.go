package sealedfs

import (
	"errors"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// createLog makes a new log and then ends its predecessor. It never fails: it
// freezes.
func (fs *FS) createLog(name string, number uint64, category vfs.DiskWriteCategory) vfs.File {
	fs.anchorMu.Lock()
	defer fs.anchorMu.Unlock()
	fs.mu.Lock()
	previous, pred, tail, state := fs.closing, fs.newest, fs.tail, fs.state
	queued := fs.takeRemovals()
	fs.mu.Unlock()
	if previous != nil {
		tail = previous.tail()
	}
	w, err := fs.chainLog(name, number, pred, tail, state, category)
	if err != nil {
		fs.freeze("create", name, err)
		return &nullFile{}
	}
	if previous != nil {
		previous.finish(number, state)
		fs.mu.Lock()
		fs.closing = nil
		fs.mu.Unlock()
	}
	if fs.isFrozen() {
		w.base.Close()
		return &nullFile{}
	}
	fs.mu.Lock()
	fs.log, fs.newest, fs.tail, fs.anchored = w, number, w.last, state
	fs.mu.Unlock()
	if err := fs.removeAll(queued); err != nil {
		fs.o.Logger.Warn("obsolete metadata files stay", "err", err)
	}
	return w
}

// chainLog writes the header of a new log and makes it durable, in the
// directory too.
func (fs *FS) chainLog(name string, number, pred uint64, tail tag, a anchor, category vfs.DiskWriteCategory) (*logWriter, error) {
	if err := fs.beforeDurable(); err != nil {
		return nil, err
	}
	h, err := fs.newHeader(kindLog, number)
	if err != nil {
		return nil, err
	}
	h.pred, h.predTag, h.anchor = pred, tail, a
	w, err := fs.startLog(name, h, category)
	if err != nil {
		return nil, err
	}
	if err = w.base.Sync(); err == nil {
		err = fs.syncStoreDir()
	}
	if err != nil {
		w.base.Close()
		return nil, err
	}
	w.synced, w.dirty = w.end, false
	return w, nil
}

func (fs *FS) syncStoreDir() error {
	d, err := fs.base.OpenDir(fs.o.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// logClosed is told that Pebble closed a log or manifest.
func (fs *FS) logClosed(w *logWriter) {
	if w.h.kind == kindManifest {
		w.finish(0, anchor{})
		return
	}
	// An anchor in progress ends before the log counts as closed.
	fs.anchorMu.Lock()
	defer fs.anchorMu.Unlock()
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.log == w {
		fs.log, fs.closing = nil, w
	}
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

// syncDir syncs a directory and never fails: it freezes. Once a new marker is
// durable, its manifest is in force, and the log says so.
func (fs *FS) syncDir(d dir) error {
	if fs.isFrozen() {
		return nil
	}
	fs.mu.Lock()
	marked := fs.marked
	fs.mu.Unlock()
	if fs.beforeDurable() != nil {
		return nil
	}
	if err := d.File.Sync(); err != nil {
		fs.freeze("sync", fs.o.Dir, err)
		return nil
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
	_ = fs.removeAnchored()
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
		log.anchor(state)
		if fs.isFrozen() {
			return nil
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
