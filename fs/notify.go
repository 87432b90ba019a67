package fs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/cofferfs/coffer/objstore"
)

// changed tells the kernel what others changed. It runs in the store's
// watching goroutine with no lock held, and returns when the kernel has taken
// every notice, which is what WaitWatchers waits for.
//
// A notice takes locks in the kernel: that of the directory for an entry (so
// it waits for requests under way in that directory), that of pages for data,
// and it can make the kernel write dirty pages back to us. Handlers therefore
// never wait for it.
//
// The entry goes first: its notice waits for a LOOKUP or READDIRPLUS under way
// that has read the old state, after which the notice about the inode finds
// what that put into the cache.
func (f *FS) changed(batch []objstore.Change) {
	foreign := false
	for i := range batch {
		if f.foreignChange(&batch[i]) {
			foreign = true
			break
		}
	}
	if !foreign {
		return
	}
	f.foreign.Add(1)
	var parents map[uint64]bool // told already; nil for the usual batch of one
	if len(batch) > 1 {
		parents = make(map[uint64]bool)
	}
	for i := range batch {
		c := &batch[i]
		if !f.foreignChange(c) {
			continue
		}
		if c.Parent == objstore.RootInode && c.Name == f.o.Bucket && c.Name != "" {
			f.rootChanged(c)
		}
		if c.Name != "" {
			f.entryChanged(c, parents)
		}
		if node, ok := f.node(c.Inode); ok && c.Inode != 0 {
			off := int64(-1) // attributes alone
			if c.Data {
				off = 0
			}
			f.notice("inode", f.server.InodeNotify(node, off, 0))
		}
	}
}

// foreignChange tells what this kernel does not know yet. With the writeback
// cache nobody else changes a content in place (Options.Writeback), so a change
// of data alone is the commit of what this kernel wrote, whatever its Origin:
// repeating it would make the kernel drop, or worse write back, its own pages.
func (f *FS) foreignChange(c *objstore.Change) bool {
	if f.o.Writeback && c.Data && c.Name == "" {
		return false
	}
	return f.o.Origin == 0 || c.Origin != f.o.Origin
}

func (f *FS) entryChanged(c *objstore.Change, parents map[uint64]bool) {
	parent, ok := f.node(c.Parent)
	if !ok {
		return
	}
	switch {
	case f.gate.shut():
	case c.Removed && c.Inode != 0 && f.gone(c.Inode):
		// Tells inotify, too, and marks a directory in which somebody stands.
		f.notice("delete", f.server.DeleteNotify(parent, uint64(c.Inode), c.Name))
	default:
		f.notice("entry", f.server.EntryNotify(parent, c.Name))
		if !c.Removed {
			f.findMoved(c)
		}
	}
	f.follow(c.Inode, entryName{c.Parent, c.Name})
	if parents[parent] {
		return
	}
	if parents != nil {
		parents[parent] = true
	}
	// Time and link count of the directory changed with it.
	f.notice("parent", f.server.InodeNotify(parent, -1, 0))
}

// rootChanged takes a new bucket for the root of the mount, in the place of one that was
// removed. What the kernel has below it is no more, and no name that it knows to be
// absent can have come before this change.
func (f *FS) rootChanged(c *objstore.Change) {
	old := f.inode(fuse.FUSE_ROOT_ID)
	switch {
	case !f.gone(old):
	case c.Removed:
		f.log.Warn("the bucket of the mount was removed: the mount is of no use until a bucket of that name is made", "bucket", c.Name)
	case c.Inode != old:
		f.root.Store(uint64(c.Inode))
		f.log.Info("the mount shows the bucket that was made in the place of its own", "bucket", c.Name)
	}
}

// BucketGone reports whether the bucket that is mounted was removed.
func (m *Mounted) BucketGone() bool {
	_, err := m.fs.store.GetAttr(m.fs.ctx(), m.fs.inode(fuse.FUSE_ROOT_ID))
	return objstore.IsKind(err, objstore.KindStale)
}

// gone reports whether nothing names an inode any more. Only then may the kernel be
// told that it was deleted: of one that has another name, or was renamed, it would
// take the link count for 0 from then on (link fails with ENOENT), and a directory
// for one that nothing can be made in.
func (f *FS) gone(ino objstore.InodeID) bool {
	a, err := f.store.GetAttr(f.ctx(), ino)
	return err != nil || a.Nlink == 0
}

// forgetPages makes the kernel drop what it has of an inode because its pages show
// what the store does not have: after a commit that failed, or where the kernel was
// mistaken about the size. It works behind the handler's back, as every notice must.
func (f *FS) forgetPages(ino objstore.InodeID) {
	node, ok := f.node(ino)
	if !ok {
		return
	}
	f.notices.Go(func() { f.notice("inode", f.server.InodeNotify(node, 0, 0)) })
}

// awaitPages returns when the kernel has written back every dirty page of files
// that are open for writing, or mapped: closing a file has written its pages
// back before. Invalidating is the one request that waits for that; it costs
// the pages.
func (f *FS) awaitPages() {
	seen := make(map[objstore.InodeID]bool)
	for h := range f.files.all {
		if h.write {
			seen[h.f.Inode()] = true
		}
	}
	for ino := range seen {
		if node, ok := f.node(ino); ok {
			f.notice("inode", f.server.InodeNotify(node, 0, 0))
		}
	}
}

// notice looks at what the kernel said. ENOENT: it does not have it cached.
// ENOTEMPTY, EBUSY: a removed directory holds entries in the cache, or a mount
// point; the kernel asks anew at the next use. ENODEV, EBADF, ENOTCONN:
// unmounted meanwhile.
func (f *FS) notice(what string, st fuse.Status) {
	switch st {
	case fuse.OK, fuse.ENOENT, fuse.Status(syscall.ENOTEMPTY), fuse.EBUSY, fuse.ENODEV, fuse.EBADF, fuse.Status(syscall.ENOTCONN), fuse.ENOTDIR:
	default:
		f.log.Warn("the kernel refused a cache notice", "what", what, "status", st.String())
	}
}
