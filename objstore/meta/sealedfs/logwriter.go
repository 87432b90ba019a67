package sealedfs

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logWriter writes a log or manifest. None of its methods reports a failed
// write to Pebble: it waits for room, or freezes the FS and goes on into nothing (see
// the package comment).
type logWriter struct {
	fs       *FS
	name     string
	kind     kind
	number   uint64
	category vfs.DiskWriteCategory
	covered  []string // to be removed when it has begun: its header is their anchor

	mu     sync.Mutex // guards the fields below; held while BeforeDurable runs
	base   vfs.File   // nil until the file was begun
	h      *header
	held   []byte     // plaintext not yet sealed, at most HoldBytes while there is room
	out    []byte     // sealed since the last sync: the file from synced to end
	lent   *logMemory // where they are in a log that was written to; nil: in memory of their own
	index  uint64     // of the last frame
	end    int64      // length of the file with all frames
	down   int64      // length of it that was written below
	synced int64      // length of it known to be synced
	dirty  bool       // something but a mark was sealed since
	last   tag        // of the last data or anchor frame, or of the header
	plain  int64      // what Pebble wrote so far
	room   int64      // length of the file below with the zeros written ahead
	said   anchor     // in the last anchor frame
	filled bool       // zeros were written ahead since the last sync
	ending bool       // none are written ahead any more
	ended  bool       // the final frame is sealed
}

// keptHolds is how many times HoldBytes a log keeps of what is sealed and not synced.
// When it is more, the log syncs without being asked to.
const keptHolds = 4

func (w *logWriter) Write(p []byte) (int, error) {
	if w.kind == kindManifest {
		w.fs.manifestWritten()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plain += int64(len(p))
	if w.fs.isFrozen() {
		w.giveBack()
		return len(p), nil
	}
	if w.lent == nil && w.kind == kindLog {
		if w.lent = w.fs.logMemory.Swap(nil); w.lent == nil {
			w.lent = newLogMemory(w.fs.o.HoldBytes)
		}
		w.held, w.out = w.lent.held[:0], append(w.lent.out[:0], w.out...)
	}
	for rest := p; len(rest) > 0; {
		n := len(rest)
		if left := w.fs.o.HoldBytes - len(w.held); left > 0 { // else there was no room for it
			n = min(n, left)
		}
		w.held = append(w.held, rest[:n]...)
		rest = rest[n:]
		if len(w.held) >= w.fs.o.HoldBytes {
			w.overflow()
		}
	}
	return len(p), nil
}

// overflow writes down what is held, without a sync; mu is held.
func (w *logWriter) overflow() {
	if w.base == nil || w.fs.Waits() {
		return
	}
	err := w.fs.attempt(func() error { return w.writeHeld(w.plain) })
	if !isFull(err) {
		w.startWriteback()
		return
	}
	upTo := w.plain
	w.fs.wait(err, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.writeHeld(upTo)
	})
}

// startWriteback has the file system begin to write what was written down, while
// more is gathered: the sync that ends the file, for which Pebble's writers wait,
// finds little left to do. An error is that of a sync, and is reported once.
func (w *logWriter) startWriteback() {
	if w.fs.isFrozen() || !w.dirty {
		return
	}
	if _, err := w.base.SyncTo(w.end); err != nil {
		_ = w.syncFailed(err) // the sync writes it again
	}
}

// logMemory is what a log writer works in. It goes from one log to the next. (A pool
// has one for each processor, and makes another for a log that begins on the next.)
type logMemory struct{ held, out []byte }

func newLogMemory(hold int) *logMemory {
	return &logMemory{make([]byte, 0, hold), make([]byte, 0, outSize(1, hold))}
}

// outSize is what so many full frames take, with a mark of the sync before and an anchor.
func outSize(frames, hold int) int {
	return frames*(hold+frameOverhead) + 2*frameOverhead + anchorSize
}

// giveBack ends the use of lent memory; mu is held.
func (w *logWriter) giveBack() {
	if w.lent != nil {
		w.lent.out = w.out[:0] // which can have grown
		w.fs.logMemory.Store(w.lent)
		w.lent = nil
	}
	w.held, w.out = nil, nil
}

// writeHeld hands down what Pebble wrote up to the byte upTo, or drops it when the FS
// is frozen or freezes. mu is held.
func (w *logWriter) writeHeld(upTo int64) error {
	if err := w.writeDown(); err != nil {
		return err
	}
	n := len(w.held) - int(max(w.plain-upTo, 0))
	if n <= 0 {
		return nil
	}
	err := w.fs.beforeDurable()
	done := 0
	for done < n && err == nil {
		if len(w.out) >= keptHolds*w.fs.o.HoldBytes {
			if err = w.sync(w.kind == kindLog); err != nil {
				break
			}
		}
		m := min(n-done, w.fs.o.HoldBytes)
		w.seal(frameData, w.held[done:done+m])
		done += m
		err = w.writeDown()
	}
	if w.fs.isFrozen() {
		done = len(w.held)
	}
	w.held = w.held[:copy(w.held, w.held[done:])]
	return err
}

// seal adds one frame to the end of the file.
func (w *logWriter) seal(typ frameType, content []byte) {
	w.index++
	if need := frameOverhead + len(content); len(w.out)+need > cap(w.out) && w.lent != nil {
		// A log that is not synced is going to take all that it may: growing by and by
		// would make three times as much.
		w.out = slices.Grow(w.out, max(need, outSize(keptHolds, w.fs.o.HoldBytes)-len(w.out)))
	}
	before := len(w.out)
	w.out = appendFrame(w.out, w.h.cipher, typ, w.index, uint64(w.synced), content)
	w.end += int64(len(w.out) - before)
	if typ != frameMark {
		w.dirty = true
	}
	if typ == frameData || typ == frameAnchor {
		copy(w.last[:], w.out[len(w.out)-tagSize:])
	}
}

// writeDown writes what is sealed and was not written, or has to be once more.
func (w *logWriter) writeDown() error {
	if w.down == w.end {
		return nil
	}
	if err := w.fs.frozen(); err != nil {
		return err
	}
	n, err := w.base.WriteAt(w.out[w.down-w.synced:], w.down)
	w.down += int64(n)
	if err != nil {
		return w.fs.fail("write", w.name, err)
	}
	return nil
}

// sync makes everything sealed durable and leaves a mark that says so.
func (w *logWriter) sync(mark bool) error {
	if err := w.writeDown(); err != nil {
		return err
	}
	if !w.dirty || w.fs.isFrozen() {
		return nil
	}
	if err := w.base.SyncData(); err != nil {
		return w.syncFailed(err)
	}
	grown := w.end - w.synced
	w.synced, w.dirty, w.out = w.end, false, w.out[:0]
	w.filled = false
	if mark {
		w.seal(frameMark, nil)
		if err := w.writeDown(); err != nil {
			return err
		}
	}
	if w.kind == kindLog && !w.ending && w.fs.o.AheadBytes > 0 && grown <= int64(w.fs.o.AheadBytes)/8 {
		w.writeAhead()
	}
	return nil
}

// syncFailed is what comes of a sync that failed. It is never repeated as if nothing had
// been lost: the kernel may have forgotten what it could not write. For a disk that broke
// that is the end. A full one did what it is meant to, so everything since the last
// sync is written again, from memory, and then synced (see the package comment).
func (w *logWriter) syncFailed(err error) error {
	w.down, w.room = w.synced, 0
	return w.fs.fail("sync", w.name, err)
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
	w.filled = true
	_, _ = w.base.WriteAt(make([]byte, ahead), start)
}

func (w *logWriter) Sync() error {
	w.mu.Lock()
	upTo := w.plain
	w.mu.Unlock()
	_ = w.fs.inOrder(func() error { return w.flush(upTo) }) // frozen otherwise
	return nil
}

func (w *logWriter) SyncData() error { return w.Sync() }

// flush makes durable what Pebble wrote up to the byte upTo.
func (w *logWriter) flush(upTo int64) error {
	w.mu.Lock()
	if w.base == nil { // the FS froze before it was begun
		w.mu.Unlock()
		return w.fs.frozen()
	}
	err := w.writeHeld(upTo)
	if err == nil {
		err = w.sync(w.kind == kindLog)
	}
	end, last := w.synced, w.last
	w.mu.Unlock()
	if err == nil && w.kind == kindManifest && !w.fs.isFrozen() {
		w.fs.manifestSynced(w.number, end, last)
	}
	return err
}

// anchor writes an anchor and makes it durable. What is held stays held.
func (w *logWriter) anchor(a anchor) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fs.frozen(); err != nil {
		return err
	}
	if w.said != a { // else it found no room, and waits
		w.seal(frameAnchor, a.append(nil))
		w.said = a
	}
	return w.sync(true)
}

// finish ends the file: a log with its successor's number, or 0. A manifest ends with
// what was synced last, as the newest log knows: no byte of it is one that may be missing.
func (w *logWriter) finish(successor uint64, a anchor) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.fs.isFrozen() && w.base != nil {
		// What follows a final frame must be zeros. Those that were not synced can be
		// anything after a crash (some file systems show what stood on the disk before).
		w.ending = true
		w.dirty = w.dirty || w.filled
		err := w.writeHeld(w.plain)
		if err == nil {
			err = w.sync(false)
		}
		if err == nil && !w.ended && w.kind == kindLog {
			w.seal(frameFinal, binary.BigEndian.AppendUint64(a.append(nil), successor))
			w.ended = true
		}
		if err == nil {
			err = w.sync(false)
		}
		if isFull(err) {
			return err
		}
	}
	w.closeLocked()
	return w.fs.frozen()
}

func (w *logWriter) begun() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.base != nil
}

func (w *logWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closeLocked()
}

// closeLocked closes the file below; mu is held.
func (w *logWriter) closeLocked() {
	if w.base != nil {
		w.base.Close()
	}
	w.giveBack()
}

// Close of a log keeps the file below open until its successor is durable.
func (w *logWriter) Close() error {
	_ = w.Sync() // never fails
	_ = w.fs.inOrder(func() error { return w.fs.logClosed(w) })
	return nil
}

// tail returns the last chained tag.
func (w *logWriter) tail() tag {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

func (w *logWriter) Stat() (vfs.FileInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.base == nil {
		return nil, errFull
	}
	fi, err := w.base.Stat()
	if err != nil {
		return nil, err
	}
	return fileInfo{FileInfo: fi, size: w.plain}, nil
}

func (w *logWriter) Fd() uintptr {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.base == nil {
		return noFd
	}
	return fd(w.base)
}

func (w *logWriter) SyncTo(int64) (bool, error)         { return false, nil }
func (w *logWriter) Preallocate(int64, int64) error     { return nil } // see writeAhead
func (w *logWriter) Prefetch(int64, int64) error        { return nil }
func (w *logWriter) Read([]byte) (int, error)           { return 0, errUnsupported }
func (w *logWriter) ReadAt([]byte, int64) (int, error)  { return 0, errUnsupported }
func (w *logWriter) WriteAt([]byte, int64) (int, error) { return 0, errUnsupported }
