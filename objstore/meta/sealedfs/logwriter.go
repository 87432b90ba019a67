package sealedfs

import (
	"encoding/binary"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logWriter writes a log or manifest. None of its methods reports a failed
// write: they freeze the FS and go on into nothing (see the package comment).
type logWriter struct {
	fs   *FS
	name string
	base vfs.File
	h    *header

	mu     sync.Mutex // guards the fields below; held while BeforeDurable runs
	held   []byte     // plaintext not yet written down, at most HoldBytes
	out    []byte     // scratch for sealed frames
	lent   *logMemory // where they are in a log that was written to; nil: in memory of their own
	index  uint64     // of the last frame
	end    int64      // length of the file below
	synced int64      // length of it known to be synced
	dirty  bool       // something but a mark was written since
	last   tag        // of the last data or anchor frame, or of the header
	plain  int64      // what Pebble wrote so far
	room   int64      // length of the file below with the zeros written ahead
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plain += int64(len(p))
	if w.fs.isFrozen() {
		w.giveBack()
		return len(p), nil
	}
	if w.lent == nil && w.h.kind == kindLog {
		w.lent = w.fs.logMemory.Get().(*logMemory)
		w.held, w.out = w.lent.held[:0], w.lent.out[:0]
	}
	for rest := p; len(rest) > 0; {
		n := min(len(rest), w.fs.o.HoldBytes-len(w.held))
		w.held = append(w.held, rest[:n]...)
		rest = rest[n:]
		if len(w.held) >= w.fs.o.HoldBytes {
			w.writeHeld()
			w.startWriteback()
		}
	}
	return len(p), nil
}

// startWriteback has the file system begin to write what was written down, while
// more is gathered: the sync that ends the file, for which Pebble's writers wait,
// finds little left to do. An error is that of a sync, and is reported once.
func (w *logWriter) startWriteback() {
	if w.fs.isFrozen() || !w.dirty {
		return
	}
	if _, err := w.base.SyncTo(w.end); err != nil {
		w.fs.freeze("sync", w.name, err)
	}
}

// logMemory is what a log writer works in. It goes from one log to the next.
type logMemory struct{ held, out []byte }

func newLogMemory(hold int) *logMemory {
	return &logMemory{make([]byte, 0, hold), make([]byte, 0, hold+frameOverhead)}
}

// giveBack ends the use of lent memory; mu is held.
func (w *logWriter) giveBack() {
	w.held, w.out = nil, nil
	if w.lent != nil {
		w.fs.logMemory.Put(w.lent)
		w.lent = nil
	}
}

// writeHeld hands what is held down to the file below, or drops it when the FS
// is frozen or freezes: nothing is held afterwards.
func (w *logWriter) writeHeld() {
	if len(w.held) > 0 && w.fs.beforeDurable() == nil {
		w.writeFrame(frameData, w.held)
	}
	w.held = w.held[:0]
}

// writeFrame writes one frame at the end of the file.
func (w *logWriter) writeFrame(typ frameType, content []byte) {
	w.index++
	w.out = appendFrame(w.out[:0], w.h.cipher, typ, w.index, uint64(w.synced), content)
	// Kept before the write, which may change what it is given (vfs.File).
	last := tag(w.out[len(w.out)-tagSize:])
	n, err := w.fs.writeAll(w.base, w.out)
	w.end += int64(n)
	if err != nil {
		w.fs.freeze("write", w.name, err)
		return
	}
	if typ != frameMark {
		w.dirty = true
	}
	if typ == frameData || typ == frameAnchor {
		w.last = last
	}
}

// sync makes everything written durable and leaves a mark that says so.
func (w *logWriter) sync(mark bool) {
	if !w.dirty || w.fs.isFrozen() {
		return
	}
	// Not SyncTo, not later: a sync that failed is never repeated as if
	// nothing had been lost.
	if err := w.base.SyncData(); err != nil {
		w.fs.freeze("sync", w.name, err)
		return
	}
	grown := w.end - w.synced
	w.synced, w.dirty = w.end, false
	if mark {
		w.writeFrame(frameMark, nil)
	}
	if w.h.kind == kindLog && w.fs.o.AheadBytes > 0 && grown <= int64(w.fs.o.AheadBytes)/8 {
		w.writeAhead()
	}
}

// writeAhead writes zeros behind the end of a log that is synced often: a sync
// then overwrites blocks that the file has already, which takes the file system
// little more than half as long as one that changes its length and its map.
// (Blocks that are only set aside do not help: they are marked as written.) That
// it failed means nothing.
func (w *logWriter) writeAhead() {
	ahead := int64(w.fs.o.AheadBytes)
	if w.room-w.end > ahead/8 || w.fs.isFrozen() {
		return
	}
	start := max(w.end, w.room)
	w.room = start + ahead // even if it failed: not again at once
	_, _ = w.base.WriteAt(make([]byte, ahead), start)
}

func (w *logWriter) Sync() error {
	w.mu.Lock()
	w.writeHeld()
	w.sync(w.h.kind == kindLog)
	end, last := w.synced, w.last
	w.mu.Unlock()
	if w.h.kind == kindManifest && !w.fs.isFrozen() {
		w.fs.manifestSynced(w.h.number, end, last)
	}
	return nil
}

func (w *logWriter) SyncData() error { return w.Sync() }

// anchor writes an anchor and makes it durable. What is held stays held.
func (w *logWriter) anchor(a anchor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fs.isFrozen() {
		return
	}
	w.writeFrame(frameAnchor, a.append(nil))
	w.sync(true)
}

// finish ends the file: a log with its successor's number, or 0.
func (w *logWriter) finish(successor uint64, a anchor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.fs.isFrozen() {
		w.writeHeld()
		w.sync(false)
	}
	if !w.fs.isFrozen() {
		w.writeFrame(frameFinal, binary.BigEndian.AppendUint64(a.append(nil), successor))
		w.sync(false)
	}
	w.base.Close()
	w.giveBack()
}

// Close of a log keeps the file below open until its successor is durable.
func (w *logWriter) Close() error {
	_ = w.Sync() // never fails
	w.fs.logClosed(w)
	return nil
}

// tail returns the last chained tag.
func (w *logWriter) tail() tag {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *logWriter) Stat() (vfs.FileInfo, error) {
	fi, err := w.base.Stat()
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return fileInfo{FileInfo: fi, size: w.plain}, nil
}

func (w *logWriter) SyncTo(int64) (bool, error)         { return false, nil }
func (w *logWriter) Fd() uintptr                        { return fd(w.base) }
func (w *logWriter) Preallocate(int64, int64) error     { return nil } // see writeAhead
func (w *logWriter) Prefetch(int64, int64) error        { return nil }
func (w *logWriter) Read([]byte) (int, error)           { return 0, errUnsupported }
func (w *logWriter) ReadAt([]byte, int64) (int, error)  { return 0, errUnsupported }
func (w *logWriter) WriteAt([]byte, int64) (int, error) { return 0, errUnsupported }
