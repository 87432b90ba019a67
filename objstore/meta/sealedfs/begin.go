package sealedfs

import (
	"github.com/cockroachdb/pebble/v2/vfs"
)

// createMarker makes one of Pebble's empty files. It never fails: that waits for room,
// or it freezes.
func (fs *FS) createMarker(name string, category vfs.DiskWriteCategory) vfs.File {
	_ = fs.inOrder(func() error { return fs.beginMarker(name, category) })
	return markerFile{&nullFile{}}
}

func (fs *FS) beginMarker(name string, category vfs.DiskWriteCategory) error {
	if err := fs.frozen(); err != nil {
		return err
	}
	number, ok := markedManifest(name)
	if ok {
		// Pebble syncs the directory once for both, but a crash before that may
		// keep the marker and lose the manifest it names.
		if err := fs.beforeDurable(); err != nil {
			return err
		}
		if err := fs.syncStoreDir(); err != nil {
			return fs.fail("sync", fs.o.Dir, err)
		}
	}
	f, err := fs.base.Create(name, category)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fs.fail("create", name, err)
	}
	if ok {
		fs.mu.Lock()
		fs.marked = number
		fs.mu.Unlock()
	}
	return nil
}

// removeMarker removes one of Pebble's markers. Pebble makes its successor before, and has
// one sync of the directory for both: of changes that were not synced a file system can
// keep the later ones alone, and then there would be no marker.
func (fs *FS) removeMarker(name string) error {
	if err := fs.beforeDurable(); err != nil {
		return err
	}
	if err := fs.syncStoreDir(); err != nil {
		return fs.fail("sync", fs.o.Dir, err)
	}
	return fs.base.Remove(name)
}

// createManifest makes a manifest, and never fails either.
func (fs *FS) createManifest(name string, number uint64, category vfs.DiskWriteCategory) vfs.File {
	w := &logWriter{fs: fs, name: name, kind: kindManifest, number: number, category: category}
	_ = fs.inOrder(func() error { return fs.startLog(w, nil) })
	if fs.isFrozen() {
		return &nullFile{}
	}
	return w
}

// startLog creates the file of w, a log or manifest, and writes its header, which
// complete adds to. The header of a log is durable then, in the directory too. What finds
// no room begins from the start: each header has a salt of its own.
func (fs *FS) startLog(w *logWriter, complete func(*header)) error {
	if err := fs.frozen(); err != nil {
		return err
	}
	h, err := fs.newHeader(w.kind, w.number)
	if err != nil {
		return fs.fail("create", w.name, err)
	}
	if complete != nil {
		complete(h)
	}
	base, err := fs.base.Create(w.name, w.category)
	if err != nil {
		return fs.fail("create", w.name, err)
	}
	out := h.append(nil)
	_, err = base.WriteAt(out, 0)
	if err == nil && w.kind == kindLog {
		if err = base.Sync(); err == nil {
			err = fs.syncStoreDir()
		}
	}
	if err != nil {
		base.Close()
		return fs.fail("create", w.name, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.base, w.h, w.last = base, h, h.tag
	w.end, w.down = int64(len(out)), int64(len(out))
	if w.kind == kindLog {
		w.synced = w.end
	} else {
		w.out, w.dirty = out, true
	}
	return nil
}
