package sealedfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// listing is what the store's directory holds.
type listing struct {
	logs      map[uint64]string // path by number
	manifests map[uint64]string
	shutdown  map[uint64]string
	partial   []string // shutdown files that were never finished
	inForce   uint64   // manifest of the marker that Pebble follows
	marked    bool
	empty     bool   // nothing here is a store's
	highest   uint64 // number of a file of any kind
	farthest  string // its path
}

// maxAhead is how far the number of a file can be beyond that of the newest log:
// Pebble counts all files, and begins a log long before it has made so many others;
// but a flush that fails, on a full disk one in a second, takes a number, too. Pebble
// takes the numbers that it gives from the names that it finds, and panics where
// there is none left.
const maxAhead = 1 << 40

// maxIteration bounds the iteration in a marker's name: each new manifest is one.
const maxIteration = 1 << 40

func (fs *FS) list() (*listing, error) {
	names, err := fs.base.List(fs.o.Dir)
	if err != nil {
		return nil, err
	}
	l := &listing{logs: map[uint64]string{}, manifests: map[uint64]string{}, shutdown: map[uint64]string{}, empty: true}
	var iteration uint64
	for _, name := range names {
		full := fs.base.PathJoin(fs.o.Dir, name)
		if strings.HasPrefix(name, shutdownPrefix) && strings.HasSuffix(name, tempSuffix) {
			l.partial = append(l.partial, full)
			continue
		}
		// Pebble follows the manifest marker of the highest iteration.
		if which, i, _, ok := marker(name); ok && which == "manifest" {
			n, ok := markedManifest(name)
			if !ok || i > maxIteration {
				return nil, corrupt(name, "names no manifest")
			}
			if !l.marked || i > iteration {
				l.marked, iteration, l.inForce = true, i, n
			}
			l.empty = false
			continue
		}
		k, number, ok := classify(name)
		if !ok {
			continue
		}
		l.empty = false
		if number >= l.highest {
			l.highest, l.farthest = number, full
		}
		byNumber := map[kind]map[uint64]string{kindLog: l.logs, kindManifest: l.manifests, kindShutdown: l.shutdown}[k]
		if byNumber == nil {
			continue
		}
		if other, ok := byNumber[number]; ok {
			return nil, corrupt(name, "has the number of %q", fs.base.PathBase(other))
		}
		byNumber[number] = full
	}
	return l, nil
}

// Empty tells whether the directory holds nothing of a store.
func (fs *FS) Empty() (bool, error) {
	l, err := fs.list()
	if err != nil {
		return false, err
	}
	return l.empty, nil
}

// Check verifies what Pebble does not: that no log is missing, cut or
// foreign, and that the manifest in force is not older than the logs know. It
// prepares the FS for one pebble.Open of an existing store, which must follow;
// a store about to be created is not checked. Unless Options.ReadOnly, all that Pebble will
// replay is durable when it returns. It returns ErrNotExist when the
// directory holds nothing of a store, and an error matching ErrCorrupt when
// something of it is missing or does not hold.
func (fs *FS) Check() error {
	l, err := fs.list()
	if err != nil {
		return err
	}
	if l.empty {
		return fmt.Errorf("%w in %q", ErrNotExist, fs.o.Dir)
	}
	if !l.marked {
		return corrupt(markerPrefix+"manifest", "missing")
	}
	newest, end, err := fs.checkChain(l)
	if err != nil {
		return err
	}
	if l.highest > newest && l.highest-newest > maxAhead {
		return corrupt(l.farthest, "is no file of this store, whose newest log is %q", logName(newest))
	}
	if err := fs.checkShutdown(l, newest, end); err != nil {
		return err
	}
	m, err := fs.checkManifest(l, end.anchor)
	if err != nil {
		return err
	}
	fs.orderly = slices.Concat(slices.Collect(maps.Values(l.shutdown)), l.partial)
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.newest, fs.tail = newest, end.last
	fs.state.retired = end.anchor.retired
	fs.setManifest(m)
	return nil
}

// checkChain walks from the newest log back to what its anchor calls
// obsolete. It returns the newest log's number and what it says.
func (fs *FS) checkChain(l *listing) (newest uint64, first logEnd, err error) {
	numbers := slices.Sorted(maps.Keys(l.logs))
	var (
		found    bool
		number   uint64
		wantTail tag
		chained  = map[uint64]bool{}
		absent   uint64 // the oldest log that counts as absent
	)
	for i := len(numbers) - 1; i >= 0; i-- {
		n := numbers[i]
		if found && n != number {
			if n > max(number, first.anchor.retired) {
				return 0, logEnd{}, corrupt(l.logs[n], "is no part of the chain of logs")
			}
			continue
		}
		pred, predTag, end, err := fs.checkLog(l.logs[n])
		if err != nil {
			return 0, logEnd{}, err
		}
		if end == nil {
			// Left by a crash while it was created, so it can only be newer
			// than every log that holds.
			if found {
				return 0, logEnd{}, corrupt(l.logs[n], "header")
			}
			absent = n
			if err := fs.discard(l.logs[n]); err != nil {
				return 0, logEnd{}, err
			}
			continue
		}
		if !found {
			found, newest, first = true, n, *end
			if end.successor != 0 {
				return 0, logEnd{}, corrupt(logName(end.successor), "missing: %q names it as its successor", logName(n))
			}
		} else if end.last != wantTail {
			return 0, logEnd{}, corrupt(l.logs[n], "ends before its successor began")
		}
		chained[n] = true
		if pred <= first.anchor.retired {
			number = 0
			continue
		}
		if _, ok := l.logs[pred]; !ok {
			return 0, logEnd{}, corrupt(logName(pred), "missing: %q follows it", logName(n))
		}
		if pred >= n {
			return 0, logEnd{}, corrupt(l.logs[n], "follows a later log")
		}
		number, wantTail = pred, predTag
	}
	if !found {
		if absent != 0 {
			return 0, logEnd{}, corrupt(logName(absent), "header, and there is no other log")
		}
		return 0, logEnd{}, corrupt(logName(0), "no log in the store")
	}
	return newest, first, nil
}

// checkLog reads one log. A nil end means that it counts as absent.
func (fs *FS) checkLog(name string) (pred uint64, predTag tag, end *logEnd, err error) {
	base, err := fs.openDurable(name)
	if err != nil {
		return 0, tag{}, nil, err
	}
	defer base.Close()
	r, err := fs.openLog(name, base)
	if err != nil {
		return 0, tag{}, nil, err
	}
	if r.h == nil {
		return 0, tag{}, nil, nil
	}
	e, err := r.readToEnd(nil)
	if err != nil {
		return 0, tag{}, nil, err
	}
	return r.h.pred, r.h.predTag, &e, nil
}

// checkManifest verifies the manifest that Pebble will follow against the
// newest log's anchor.
func (fs *FS) checkManifest(l *listing, a anchor) (manifestState, error) {
	n := l.inForce
	name, ok := l.manifests[n]
	if !ok {
		return manifestState{}, corrupt(manifestName(n), "missing")
	}
	if n < a.manifest {
		return manifestState{}, corrupt(name, "is in force instead of the newer %q", manifestName(a.manifest))
	}
	base, err := fs.openDurable(name)
	if err != nil {
		return manifestState{}, err
	}
	defer base.Close()
	r, err := fs.openLog(name, base)
	if err != nil {
		return manifestState{}, err
	}
	holds := n > a.manifest
	visit := func(end int64, last tag) {
		holds = holds || uint64(end) == a.manifestEnd && last.short() == a.manifestTag
	}
	visit(r.off, r.last)
	e, err := r.readToEnd(visit)
	if err != nil {
		return manifestState{}, err
	}
	if !holds {
		return manifestState{}, corrupt(name, "ends at %d, synced were %d bytes", e.end, a.manifestEnd)
	}
	if len(l.shutdown) > 0 && n == a.manifest && e.end != r.size {
		return manifestState{}, corrupt(name, "has bytes after the end, which is at %d", e.end)
	}
	return manifestState{number: n, end: e.end, tag: e.last}, nil
}

// openDurable opens a file of which everything that is read is durable: a
// process that was killed leaves bytes that only the kernel has, and what is
// built on them must not outlive them.
func (fs *FS) openDurable(name string) (vfs.File, error) {
	base, err := fs.openRegular(name, vfs.SequentialReadsOption)
	if err != nil {
		return nil, err
	}
	if !fs.o.ReadOnly {
		if err := base.Sync(); err != nil {
			base.Close()
			return nil, err
		}
	}
	return base, nil
}

func (fs *FS) discard(name string) error {
	if fs.o.ReadOnly {
		return nil
	}
	return fs.base.Remove(name)
}

// shutdownSize is the content of a shutdown file: the newest log's length
// (8 bytes) and its last chained tag (16). On disk.
const shutdownSize = 8 + tagSize

// Shutdown ends the newest log and records where it ends. Call it after
// DB.Close; the FS must not be used after it. It is idempotent. After a freeze it only closes.
// What waits for room then is lost.
func (fs *FS) Shutdown() error {
	fs.Release()
	fs.deferring.Store(false)
	_ = fs.Retry() // frozen otherwise
	fs.anchorMu.Lock()
	defer fs.anchorMu.Unlock()
	fs.mu.Lock()
	w, state := fs.closing, fs.state
	if w == nil {
		w = fs.log
	}
	fs.log, fs.closing = nil, nil
	queued := fs.takeRemovals()
	fs.mu.Unlock()
	if w == nil {
		return fs.frozen()
	}
	if err := fs.attempt(func() error { return w.finish(0, state) }); err != nil {
		return err
	}
	// The final frame was an anchor too. What stays is removed next time.
	if err := fs.removeAll(queued); err != nil {
		fs.o.Logger.Warn("obsolete metadata files stay", "err", err)
	}
	content := binary.BigEndian.AppendUint64(nil, uint64(w.end))
	content = append(content, w.last[:]...)
	name := fs.base.PathJoin(fs.o.Dir, shutdownName(w.number))
	return fs.writeShutdown(name, w.number, content)
}

func (fs *FS) writeShutdown(name string, number uint64, content []byte) error {
	temp := name + tempSuffix
	f, err := fs.createTable(temp, kindShutdown, number, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.base.Rename(temp, name); err != nil {
		return err
	}
	return fs.syncStoreDir()
}

// checkShutdown holds the newest log against the shutdown file, if there is one.
func (fs *FS) checkShutdown(l *listing, newest uint64, end logEnd) error {
	for number, name := range l.shutdown {
		if number != newest {
			return corrupt(logName(number), "missing or not the newest: %q names it", fs.base.PathBase(name))
		}
		f, err := fs.Open(name)
		if err != nil {
			return err
		}
		var b [shutdownSize + 1]byte
		n, err := f.ReadAt(b[:], 0)
		f.Close()
		if err != nil && err != io.EOF {
			return err
		}
		if n != shutdownSize {
			return corrupt(name, "has %d bytes", n)
		}
		if binary.BigEndian.Uint64(b[:]) != uint64(end.end) || tag(b[8:shutdownSize]) != end.last {
			return corrupt(logName(newest), "ends at %d, not where it ended at shutdown", end.end)
		}
	}
	return nil
}

// forgetShutdown removes the shutdown file before a log is begun, until which what it
// says is true: a store that could not be opened is what it was. anchorMu is held.
func (fs *FS) forgetShutdown() error {
	if len(fs.orderly) == 0 {
		return nil
	}
	for _, name := range fs.orderly {
		if err := fs.base.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := fs.syncStoreDir(); err != nil {
		return err
	}
	fs.orderly = nil
	return nil
}
