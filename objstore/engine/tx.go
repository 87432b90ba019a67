package engine

import (
	"context"
	"errors"
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
