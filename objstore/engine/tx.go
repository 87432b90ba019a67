package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// reader reads records from one snapshot.
type reader struct {
	meta.Reader
	// cache is nil, or has what can be read in the place of this snapshot: for a
	// view while token holds, for the transaction x at all times. It takes what a
	// view reads.
	cache *cache
	token uint64
	fresh *freshDirectories
	x     *tx
}

// tx is one transaction of the store with what has to happen when it commits.
// Its function may run more than once: everything it collects starts anew then.
type tx struct {
	reader
	txn meta.Txn
	s   *Store
	c   objstore.Caller
	now objstore.Time
	// done is what was set so far, for the cache and for reading it again.
	done changes
	// changes go out to the watchers after the commit.
	changes []objstore.Change
	// orphans lost their last name while they were open, or were made without one.
	orphans []objstore.InodeID
	// reap wakes the reaper after the commit.
	reap bool
	// spare are inode numbers that the transaction has taken from the root record.
	spare, spareEnd objstore.InodeID
	// versionCeil is the bound of version numbers that the transaction has set in
	// the root record; 0: none.
	versionCeil uint64
	// err is a failure of a step that returns none; it fails the transaction.
	err error
	// dying are inodes marked in the table of open inodes (see nodeTable.markDying).
	dying map[objstore.InodeID]bool
	// values holds the encoded records that were set, one behind the other: the
	// transaction may refer to them until it has ended.
	values []byte
}

// txs lends transactions with the memory of those before, for as long as these
// were no larger than most are.
var txs = sync.Pool{New: func() any { return &tx{values: make([]byte, 0, 4<<10)} }}

const (
	maxValues = 64 << 10 // bytes
	maxDone   = 32       // records and changes of each kind
)

// set sets the record that encode appends to its argument.
func (x *tx) set(key []byte, encode func(dst []byte) []byte) {
	start := len(x.values)
	x.values = encode(x.values)
	x.txn.Set(key, x.values[start:])
}

// view runs fn over one snapshot.
func (s *Store) view(ctx context.Context, op, what string, fn func(r reader) error) error {
	token := s.cache.quiet()
	err := s.o.Meta.View(ctx, func(r meta.Reader) error {
		return fn(reader{Reader: r, cache: s.cache, token: token, fresh: s.fresh})
	})
	return s.wrap(op, what, err)
}

// look is view for what the cache has as a rule. fn, which has no other effect
// than its results, runs over the cache alone, and again over a snapshot when
// something is not there or a transaction begins meanwhile.
func (s *Store) look(ctx context.Context, op, what string, fn func(r reader) error) error {
	if token := s.cache.quiet(); token != 0 && ctx.Err() == nil {
		err := fn(reader{Reader: nothing{}, cache: s.cache, token: token, fresh: s.fresh})
		if !errors.Is(err, errNotCached) {
			return s.wrap(op, what, err)
		}
	}
	return s.view(ctx, op, what, fn)
}

// errNotCached ends a look at the cache alone.
var errNotCached = errors.New("engine: not in the cache")

// nothing is the snapshot of a reader that has the cache alone.
type nothing struct{}

func (nothing) Get([]byte) ([]byte, error)         { return nil, errNotCached }
func (nothing) GetMany([][]byte) ([][]byte, error) { return nil, errNotCached }

func (nothing) Scan(meta.Range) iter.Seq2[meta.Pair, error] {
	return func(yield func(meta.Pair, error) bool) { yield(meta.Pair{}, errNotCached) }
}

// update runs fn in a transaction, and publishes what it changed when it has
// committed. The commit is visible when update returns, and durable after Sync.
func (s *Store) update(ctx context.Context, c objstore.Caller, op, what string, fn func(x *tx) error) error {
	if err := s.writable(op, what); err != nil {
		return err
	}
	if err := s.Failure(); err != nil {
		return objstore.Wrap(objstore.KindReadOnly, op, what, err)
	}
	x := txs.Get().(*tx)
	x.s, x.c, x.now = s, c, s.now()
	defer x.end()
	running, alone, made := false, uint64(0), false // running: for the cache
	defer func() {
		if running { // fn panicked: the door answers for that request and goes on
			s.cache.end(0, changes{})
		}
	}()
	s.updating.Add(1)
	defer s.updating.Add(-1) // once it is counted: see durable
	err := s.o.Meta.Update(ctx, func(t meta.Txn) error {
		if running {
			s.cache.end(0, changes{}) // the run before
		}
		running, made = true, false
		x.reader, x.txn = reader{Reader: t, fresh: s.fresh, x: x}, t
		if alone = s.cache.start(); alone != 0 {
			x.reader.cache = s.cache
		}
		x.done.clear()
		x.changes, x.orphans, x.reap = x.changes[:0], x.orphans[:0], false
		x.spare, x.spareEnd, x.versionCeil, x.err = 0, 0, 0, nil
		x.values = x.values[:0]
		if err := fn(x); err != nil {
			return err
		}
		made = x.err == nil
		return x.err
	})
	if err != nil {
		// A commit that failed may still be there, and be seen.
		if made {
			s.commits.Add(1)
		} else {
			x.done.clear()
		}
		if running {
			running = false
			s.cache.end(0, x.done)
		}
		return s.wrap(op, what, err)
	}
	running = false
	s.cache.end(alone, x.done)
	s.committed(x)
	return nil
}

// end gives the transaction back.
func (x *tx) end() {
	x.release()
	if cap(x.values) > maxValues || max(len(x.done.inodes), len(x.done.entries), cap(x.changes), cap(x.orphans)) > maxDone {
		return
	}
	x.done.clear()
	clear(x.changes)
	*x = tx{values: x.values[:0], done: x.done, changes: x.changes[:0], orphans: x.orphans[:0], dying: x.dying}
	txs.Put(x)
}

// release unmarks what the transaction marked.
func (x *tx) release() {
	for ino := range x.dying {
		x.s.nodes.unmarkDying(ino)
	}
	clear(x.dying)
}

// nextInode returns an inode number that was never used. Outside of a
// transaction it is Store.newInode, which is cheaper.
func (x *tx) nextInode() objstore.InodeID {
	const block = 16
	if x.spare == x.spareEnd {
		root, err := x.root()
		if err != nil {
			x.err = err
			return 0
		}
		x.spare, x.spareEnd = root.NextInode, root.NextInode+block
		root.NextInode += block
		x.txn.Set(record.RootKey(), root.Append(nil))
	}
	x.spare++
	return x.spare - 1
}

// root returns the root record.
func (r reader) root() (*record.Root, error) {
	v, err := r.Get(record.RootKey())
	if err != nil {
		return nil, absent(err, "root record")
	}
	return record.ParseRoot(v)
}

// writable returns an error when the store takes no changes.
func (s *Store) writable(op, what string) error {
	switch {
	case s.closed.Load():
		return objstore.E(objstore.KindShutdown, op, what, "the store is closing")
	case s.o.ReadOnly:
		return objstore.E(objstore.KindReadOnly, op, what, "the store is open read-only")
	}
	return nil
}

// wrap translates what the layers below return. Errors that are objstore's
// already pass; the place is filled in.
func (s *Store) wrap(op, what string, err error) error {
	if err == nil {
		return nil
	}
	var e *objstore.Error
	if errors.As(err, &e) {
		return err
	}
	kind := objstore.KindInternal
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		kind = objstore.KindCanceled
	case errors.Is(err, meta.ErrCorrupt), errors.Is(err, data.ErrCorrupt), errors.Is(err, data.ErrNotFound), errors.Is(err, record.ErrCorrupt):
		kind = objstore.KindCorrupt
	case errors.Is(err, meta.ErrNoSpace), errors.Is(err, data.ErrNoSpace):
		kind = objstore.KindNoSpace
	case errors.Is(err, meta.ErrReadOnly), errors.Is(err, data.ErrFailed):
		kind = objstore.KindReadOnly
		s.fail(err)
	case errors.Is(err, meta.ErrClosed), errors.Is(err, data.ErrClosed):
		kind = objstore.KindShutdown
	case errors.Is(err, meta.ErrConflict):
		kind = objstore.KindConflict
	case errors.Is(err, coffercrypto.ErrCorrupt), errors.Is(err, coffercrypto.ErrWrongKey):
		kind = objstore.KindCorrupt
	case errors.Is(err, coffercrypto.ErrVersion):
		kind = objstore.KindNotSupported
	case errors.Is(err, record.ErrVersion):
		kind = objstore.KindNotSupported
	}
	if kind == objstore.KindCorrupt {
		s.corrupt(op, what, err)
	}
	return objstore.Wrap(kind, op, what, err)
}

// corrupt counts a failed authentication and tells the operator.
func (s *Store) corrupt(op, what string, err error) {
	s.corruptions.Add(1)
	s.log.Error("corrupt data", "op", op, "object", what, "err", err)
}

// ---- reading records ----

// inode returns an inode, which is the caller's; KindStale when there is none.
func (r reader) inode(ino objstore.InodeID) (*record.Inode, error) {
	if n, known := r.knownInode(ino); n != nil {
		return n, nil
	} else if known {
		return nil, objstore.E(objstore.KindStale, "inode", fmt.Sprint(ino), "")
	}
	v, err := r.Get(record.InodeKey(ino))
	if errors.Is(err, meta.ErrNotFound) {
		return nil, objstore.E(objstore.KindStale, "inode", fmt.Sprint(ino), "")
	}
	if err != nil {
		return nil, err
	}
	n, err := record.ParseInode(v)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", ino, err)
	}
	if r.cache != nil {
		r.cache.put(r.token, ino, n)
	}
	return n, nil
}

// knownInode returns a copy of an inode, nil when it was removed, that the
// transaction has set or that the cache has.
func (r reader) knownInode(ino objstore.InodeID) (n *record.Inode, known bool) {
	if r.x != nil {
		if n, known = r.x.done.inodes[ino]; n != nil {
			dup := *n
			return &dup, true
		} else if known {
			return nil, true
		}
	}
	switch {
	case r.cache == nil:
		return nil, false
	case r.x != nil:
		n, known = r.cache.get(ino)
		return n, known
	}
	return r.cache.inodeAt(r.token, ino)
}

// inodes returns many inodes, nil for those that are absent.
func (r reader) inodes(inos []objstore.InodeID) ([]*record.Inode, error) {
	keys := make([][]byte, len(inos))
	for i, ino := range inos {
		keys[i] = record.InodeKey(ino)
	}
	vals, err := r.GetMany(keys)
	if err != nil {
		return nil, err
	}
	list := make([]*record.Inode, len(inos))
	for i, v := range vals {
		if v == nil {
			continue
		}
		if list[i], err = record.ParseInode(v); err != nil {
			return nil, fmt.Errorf("inode %d: %w", inos[i], err)
		}
	}
	return list, nil
}

// dirent returns the entry of that stored name; ok is false when there is none.
func (r reader) dirent(dir objstore.InodeID, stored string) (d record.Dirent, ok bool, err error) {
	k := entryKey{dir, stored}
	if e, known := r.knownEntry(k); known {
		return e.d, e.ok, nil
	}
	if r.fresh != nil && r.fresh.lacks(dir, stored) {
		return d, false, nil
	}
	v, err := r.Get(record.DirentKey(dir, stored))
	switch {
	case errors.Is(err, meta.ErrNotFound):
		err = nil
	case err == nil:
		d, err = record.ParseDirent(v)
		ok = err == nil
	}
	if err == nil && r.cache != nil {
		r.cache.putEntry(r.token, k, cachedEntry{d, ok})
	}
	return d, ok, err
}

// knownEntry returns an entry, or its absence, that the transaction has set or
// that the cache has.
func (r reader) knownEntry(k entryKey) (e cachedEntry, known bool) {
	if r.x != nil {
		e, known = r.x.done.entries[k]
	}
	switch {
	case known || r.cache == nil:
		return e, known
	case r.x != nil:
		return r.cache.entry(k)
	}
	return r.cache.entryAt(r.token, k)
}

// ---- changing records ----

func (x *tx) setInode(ino objstore.InodeID, n *record.Inode) {
	x.set(record.InodeKey(ino), n.Append)
	dup := *n
	x.noteInode(ino, &dup)
}

func (x *tx) noteInode(ino objstore.InodeID, n *record.Inode) {
	if x.done.inodes == nil {
		x.done.inodes = make(map[objstore.InodeID]*record.Inode, 4)
	}
	x.done.inodes[ino] = n
}

// madeDirectory notes that a directory is new: it holds nothing yet.
func (x *tx) madeDirectory(dir objstore.InodeID) {
	x.s.fresh.add(dir)
	x.done.made = append(x.done.made, dir)
}

func (x *tx) setDirent(dir objstore.InodeID, stored string, d record.Dirent) {
	x.s.fresh.note(dir, stored)
	x.set(record.DirentKey(dir, stored), d.Append)
	x.noteEntry(dir, stored, cachedEntry{d, true})
}

func (x *tx) deleteDirent(dir objstore.InodeID, stored string) {
	x.txn.Delete(record.DirentKey(dir, stored))
	x.noteEntry(dir, stored, cachedEntry{})
}

func (x *tx) noteEntry(dir objstore.InodeID, stored string, e cachedEntry) {
	if x.done.entries == nil {
		x.done.entries = make(map[entryKey]cachedEntry, 4)
	}
	x.done.entries[entryKey{dir, stored}] = e
}

// setBucket sets a bucket's record. nil deletes it.
func (x *tx) setBucket(root objstore.InodeID, b *record.Bucket) {
	if b == nil {
		x.txn.Delete(record.BucketKey(root))
	} else {
		x.set(record.BucketKey(root), b.Append)
	}
	if x.done.buckets == nil {
		x.done.buckets = make(map[objstore.InodeID]bool)
	}
	x.done.buckets[root] = true
	x.s.cache.forgetConfigs(root)
}

// change notes what the watchers are told after the commit.
func (x *tx) change(c objstore.Change) {
	c.Origin = x.c.Origin
	x.changes = append(x.changes, c)
}

// dropLink takes one name from an inode that is no directory, or the only one
// from an empty directory (its nlink counts subdirectories, so it goes at
// once). n is changed and written back or deleted. An inode without a name is
// removed in this transaction, its content left to the reaper where it has
// extents; when somebody has it open it becomes an orphan until the last close.
func (x *tx) dropLink(ino objstore.InodeID, n *record.Inode) {
	n.Ctime = x.now
	if n.Type != objstore.TypeDirectory && n.Nlink > 1 {
		n.Nlink--
		x.setInode(ino, n)
		return
	}
	n.Nlink = 0
	x.offer(ino, n)
	if x.markDying(ino) {
		x.removeInode(ino, n)
		return
	}
	x.setInode(ino, n)
	x.orphan(ino)
}

// orphan notes that an inode which is open has no name.
func (x *tx) orphan(ino objstore.InodeID) {
	x.txn.Set(record.OrphanKey(ino), []byte{1})
	x.orphans = append(x.orphans, ino)
}

// removeInode deletes an inode that nobody has open.
func (x *tx) removeInode(ino objstore.InodeID, n *record.Inode) {
	x.txn.Delete(record.InodeKey(ino))
	x.noteInode(ino, nil)
	if n.HasXattrs {
		x.txn.Delete(record.XattrKey(ino))
	}
	x.freeContent(&n.Content)
}

// freeContent gives up a content: small ones at once, others step by step by
// the reaper.
func (x *tx) freeContent(c *record.Content) {
	if c.PartCount > 0 {
		x.txn.Delete(record.PartsKey(c.ID))
	}
	switch c.Layout {
	case record.LayoutInline:
		x.txn.Delete(record.InlineKey(c.ID))
	case record.LayoutChunks:
		gone := *c
		x.dropLogged(&gone)
		x.txn.Set(record.GarbageKey(c.ID), []byte{1})
		x.reap = true
	}
}

// markDying reports whether nobody has the inode open, and keeps it so until
// the transaction has ended.
func (x *tx) markDying(ino objstore.InodeID) bool {
	if x.dying[ino] {
		return true
	}
	if !x.s.nodes.markDying(ino) {
		return false
	}
	if x.dying == nil {
		x.dying = make(map[objstore.InodeID]bool)
	}
	x.dying[ino] = true
	return true
}
