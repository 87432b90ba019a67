package engine

import (
	"context"
	"sync"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// File is an open file. All Files of one inode share its buffer: what one
// wrote the others read. Methods may be called concurrently.
type File struct {
	n      *node
	caller objstore.Caller // who opened it
	write  bool            // for writing

	mu     sync.Mutex // guards the fields below
	closed bool
	seen   uint64 // failures of the node that this File was told of
	synced uint64 // failures of the node that a Sync has told
}

// Create makes a regular file and opens it. When the name exists and excl is
// false it opens what is there (KindIsDirectory for a directory). Nothing is made where
// the bucket's default key cannot be used: the kinds of Open.
func (s *Store) Create(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string, mode uint32, flags objstore.OpenFlags, excl bool) (objstore.Attr, *File, error) {
	for {
		attr, n, err := s.mknod(ctx, c, parent, name, objstore.TypeRegular, mode, 0)
		made := err == nil
		if objstore.IsKind(err, objstore.KindExists) && !excl {
			if attr, err = s.Lookup(ctx, parent, name); objstore.IsKind(err, objstore.KindNotFound) {
				continue // removed in between
			}
		}
		if err != nil {
			return attr, nil, err
		}
		if attr.Type == objstore.TypeDirectory {
			return attr, nil, objstore.E(objstore.KindIsDirectory, "create", name, "")
		}
		f, err := s.Open(ctx, c, attr.Inode, flags)
		if objstore.IsKind(err, objstore.KindStale) {
			continue
		}
		if made && err == nil {
			f.n.beginWithFile(n.Lock)
		}
		return attr, f, err
	}
}

// Open opens a regular file. Errors where its key is not at hand: KindKeyRequired
// (SSE-C, see LendKeys), KindKeyDisabled, KindKeyPendingDeletion and KindNoSuchKey
// (SSE-KMS), KindKeyUnavailable.
func (s *Store) Open(ctx context.Context, c objstore.Caller, ino objstore.InodeID, flags objstore.OpenFlags) (*File, error) {
	if flags.Write || flags.Truncate {
		if err := s.writable("open", ""); err != nil {
			return nil, err
		}
	}
	n, err := s.nodes.acquire(ctx, s, ino)
	if err != nil {
		return nil, err
	}
	if err := n.load(ctx, c); err != nil {
		s.releaseNode(context.WithoutCancel(ctx), n)
		return nil, err
	}
	n.mu.Lock()
	f := &File{n: n, caller: c, write: flags.Write || flags.Truncate, seen: n.failures, synced: n.failures}
	size := n.size
	if f.write {
		if n.flushed {
			n.endSession()
		}
		n.flushed = false
		n.writers++
	}
	n.mu.Unlock()
	if flags.Truncate && size > 0 {
		if err := n.truncate(ctx, c, 0); err != nil {
			n.writerGone()
			s.releaseNode(context.WithoutCancel(ctx), n)
			return nil, err
		}
	}
	return f, nil
}

// Inode returns the file's inode.
func (f *File) Inode() objstore.InodeID { return f.n.ino }

// ReadAt reads up to len(p) bytes at off and returns how many there were;
// fewer than len(p) only at the end of the file, without an error.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return f.n.read(ctx, p, off)
}

// WriteAt writes all of p at off into the file's buffer, or with an error a part
// of it, from its beginning; p is the caller's again when it returns. The bytes
// join history when they are flushed, which happens within Options.FlushInterval in
// any case.
func (f *File) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if _, err := f.n.write(ctx, f.caller.Origin, p, off, false, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteCached is WriteAt for a cache that keeps the file's times itself, and
// hands mtime and ctime over with SetAttr before it calls Flush, Sync or Close, if
// they have changed. Until then the time of the write is shown in their place.
func (f *File) WriteCached(ctx context.Context, p []byte, off int64) (int, error) {
	if _, err := f.n.write(ctx, f.caller.Origin, p, off, false, true); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Append is WriteAt at the end of the file, atomically, and returns the offset.
func (f *File) Append(ctx context.Context, p []byte) (off int64, err error) {
	return f.n.write(ctx, f.caller.Origin, p, 0, true, false)
}

// Flush commits what was written, so that the other door shows it, and reports
// an earlier failure of a background flush once per File.
func (f *File) Flush(ctx context.Context) error {
	err := f.flush(ctx, false)
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	f.n.flushed = true
	return err
}

func (f *File) flush(ctx context.Context, sync bool) error {
	f.n.endGuess()
	err := f.n.commitFor(ctx, sync)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n.mu.RLock()
	defer f.n.mu.RUnlock()
	told := f.seen
	if sync {
		told, f.synced = f.synced, f.n.failures
	}
	f.seen = f.n.failures
	if known := sync && f.n.answered == f.n.failures; err == nil && f.n.failures > told && !known {
		err = f.n.failure
	}
	return err
}

// Sync is Flush and makes it durable. It reports a failure that a Flush has reported
// already once more: a program that closes all that it has inherited flushes its
// parent's Files, and is not who waits for them to be durable.
func (f *File) Sync(ctx context.Context) error {
	if err := f.flush(ctx, true); err != nil {
		return err
	}
	return f.n.s.durable(ctx)
}

// Truncate sets the size.
func (f *File) Truncate(ctx context.Context, size int64) error {
	return f.n.truncate(ctx, f.caller, size)
}

// Allocate is fallocate(2). Space is not reserved: every write takes fresh
// space, so there is nothing that a reservation could hold.
func (f *File) Allocate(ctx context.Context, mode objstore.AllocateMode, off, n int64) error {
	if off < 0 || n <= 0 {
		return objstore.E(objstore.KindInvalidArgument, "fallocate", "", "")
	}
	if off > objstore.MaxFileSize || n > objstore.MaxFileSize-off {
		return objstore.E(objstore.KindTooLarge, "fallocate", "", "file would be over 64 TiB")
	}
	keep := mode&objstore.AllocateKeepSize != 0
	switch mode &^ objstore.AllocateKeepSize {
	case 0:
	case objstore.AllocatePunchHole:
		if !keep {
			return objstore.E(objstore.KindNotSupported, "fallocate", "", "a hole is punched with the size kept")
		}
		return f.n.punch(ctx, f.caller, off, n)
	case objstore.AllocateZeroRange:
		if err := f.n.punch(ctx, f.caller, off, n); err != nil {
			return err
		}
	default:
		return objstore.E(objstore.KindNotSupported, "fallocate", "", "mode")
	}
	f.n.mu.RLock()
	size := f.n.size
	f.n.mu.RUnlock()
	if keep || off+n <= size {
		return nil
	}
	return f.n.truncate(ctx, f.caller, off+n)
}

// SeekData returns the first offset >= off that holds data; KindInvalidRange
// (ENXIO) when there is none before the end of the file.
func (f *File) SeekData(ctx context.Context, off int64) (int64, error) {
	return f.n.seek(ctx, off, true)
}

// SeekHole returns the first offset >= off that is in a hole; the end of the
// file counts as one. KindInvalidRange (ENXIO) when off is not before the end.
func (f *File) SeekHole(ctx context.Context, off int64) (int64, error) {
	return f.n.seek(ctx, off, false)
}

// seekSpans bounds the spans that seek looks at in one snapshot.
const seekSpans = 1024

func (n *node) seek(ctx context.Context, off int64, data bool) (int64, error) {
	if err := n.commit(ctx); err != nil {
		return 0, err
	}
	n.layoutMu.RLock()
	defer n.layoutMu.RUnlock()
	n.mu.RLock()
	size, c, k, under := n.size, n.content, extent.Of(n.content.ID, n.oek), n.under
	n.mu.RUnlock()
	none := objstore.E(objstore.KindInvalidRange, "lseek", "", "no data behind the offset")
	if off < 0 || off >= size {
		return 0, none
	}
	switch c.Layout {
	case record.LayoutEmpty:
		if data {
			return 0, none
		}
		return off, nil
	case record.LayoutInline:
		if data {
			return off, nil
		}
		return size, nil
	}
	if under != nil { // a read-only store
		if data {
			return off, nil
		}
		return size, nil
	}
	for off < size {
		var spans []extent.Span
		err := n.s.view(ctx, "lseek", n.name(), func(r reader) (err error) {
			spans, err = n.s.extents.Spans(r, k, off, size-off, seekSpans)
			return err
		})
		if err != nil {
			return 0, err
		}
		for i := range spans {
			if spans[i].Hole() != data {
				return off, nil
			}
			off += spans[i].Len
		}
	}
	if data {
		return 0, none
	}
	return size, nil
}

// Close flushes and releases the file. The error is that of the flush. It is
// idempotent.
func (f *File) Close(ctx context.Context) error {
	f.mu.Lock()
	closed := f.closed
	f.closed = true
	f.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	if !f.n.unlinked.Load() { // nobody else will ever see it
		err = f.Flush(ctx)
	}
	if f.write {
		f.n.writerGone()
	}
	f.n.s.releaseNode(context.WithoutCancel(ctx), f.n)
	return err
}

// beginWithFile begins the write session of a file that was just made, with a lock
// or none, before anything was written to it.
func (n *node) beginWithFile(l objstore.Lock) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.stored.content.Gen == 0 && n.session.Load() == nil {
		n.beginSession(n.stored.content.ID, l)
	}
}

// writerGone is called when a file that was open for writing was closed.
func (n *node) writerGone() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.writers--; n.writers == 0 {
		n.endSession()
	}
}

// Hold keeps an inode of any type, as an open file is kept, while its last name goes:
// its attributes, content and target can be had as before, by whoever has the key. The
// caller calls release once. KindStale: it is gone.
func (s *Store) Hold(ctx context.Context, ino objstore.InodeID) (release func(), err error) {
	n, err := s.nodes.acquire(ctx, s, ino)
	if err != nil {
		return nil, err
	}
	release = func() { s.releaseNode(context.WithoutCancel(ctx), n) }
	rec, err := s.readInode(ctx, ino)
	if err != nil {
		release()
		return nil, err
	}
	if rec.Nlink == 0 {
		n.unlinked.Store(true)
	}
	return release, nil
}

// releaseNode drops a reference to an open inode, and with the last one what
// was kept for whoever had it open.
func (s *Store) releaseNode(ctx context.Context, n *node) {
	if !s.nodes.release(n) {
		return
	}
	n.dispose()
	if n.unlinked.Load() {
		s.removeOrphan(ctx, n.ino)
	}
}

// removeOrphan removes an inode without a name that nobody has open any more.
func (s *Store) removeOrphan(ctx context.Context, ino objstore.InodeID) {
	if err := s.reapOrphan(ctx, ino); err != nil && !objstore.IsKind(err, objstore.KindShutdown) {
		s.log.Warn("an unlinked file could not be removed yet", "inode", uint64(ino), "err", err)
		s.orphansLeft.Store(true)
		s.wakeReaper()
	}
}

// commitSoon commits a node in the background.
func (s *Store) commitSoon(n *node) {
	n.mu.Lock()
	soon := n.soon
	n.soon = true
	n.mu.Unlock()
	if soon || s.nodes.retain(n.ino) != n {
		return
	}
	s.background.Go(func() {
		_ = n.commit(context.Background()) // its Files are told
		n.mu.Lock()
		n.soon = false
		n.mu.Unlock()
		s.releaseNode(context.Background(), n)
	})
}

// flushInode commits an open inode's buffer.
func (s *Store) flushInode(ctx context.Context, ino objstore.InodeID) error {
	n := s.nodes.retain(ino)
	if n == nil {
		return nil
	}
	defer s.releaseNode(context.WithoutCancel(ctx), n)
	return n.commit(ctx)
}

// overlay puts what an open inode has not yet committed onto its record.
func (s *Store) overlay(ino objstore.InodeID, rec *record.Inode) {
	if n := s.nodes.get(ino); n != nil {
		n.live(rec)
	}
}

// endGuess gives the file back the mtime that the cache which wrote it kept: it
// would have handed over another one by now. It keeps its times where both are that
// of the write, so ctime is the same.
func (n *node) endGuess() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.guessed && n.mtime != n.kept {
		n.mtime = n.kept
		n.ctime, n.told = n.kept, true
		n.attrs = true
	}
	n.guessed = false
}

// TakeTimes is what SetAttr would do with times that a cache hands over (see
// File.WriteCached), where that is nothing: ok is false when they are not those
// that the file has.
func (s *Store) TakeTimes(ctx context.Context, ino objstore.InodeID, mtime, ctime objstore.Time) (a objstore.Attr, ok bool, err error) {
	if n := s.nodes.get(ino); n != nil {
		n.mu.Lock()
		if n.mtime == mtime {
			n.guessed = false
		}
		n.mu.Unlock()
	}
	a, err = s.GetAttr(ctx, ino)
	return a, a.Mtime == mtime && a.Ctime == ctime, err
}

// setOpenTimes hands times to an open inode whose next commit will write them.
// false: it is not open or has nothing to commit.
func (s *Store) setOpenTimes(ino objstore.InodeID, set objstore.SetAttr) bool {
	n := s.nodes.get(ino)
	if n == nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.willSetTimes() {
		return false
	}
	if set.Mtime != nil {
		n.mtime, n.guessed = *set.Mtime, false
	}
	n.attrs = true
	n.ctime, n.told = n.s.now(), false
	if set.Ctime != nil {
		n.ctime, n.told = *set.Ctime, true
	}
	if set.Atime != nil {
		n.atime = *set.Atime
	}
	return true
}

// willSetTimes reports whether a commit is due that writes the node's times; mu is
// held.
func (n *node) willSetTimes() bool {
	return n.buf != nil || len(n.sealed) > 0 || n.attrs || n.applying
}

// noteOpenTime tells an open inode of the mtime that its record was given.
func (s *Store) noteOpenTime(ino objstore.InodeID, mtime objstore.Time) {
	n := s.nodes.get(ino)
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.willSetTimes() {
		n.mtime, n.guessed = mtime, false
	}
}
