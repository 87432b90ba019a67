package engine

import (
	"errors"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// The records of a transaction, or of a snapshot, are read here, and changed.

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
