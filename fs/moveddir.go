package fs

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore"
)

// A directory that another door has moved is known to the kernel by its old name. Told
// that this is gone, the kernel has no path for whoever stands in the directory
// (getcwd(2) fails, /proc shows it as deleted), and takes away what is mounted below it.
// It moves its name, with all that is below, when it finds the directory by the new one.
// So the door looks that up, through the mount, before it tells of the old one. What is
// not found so, because a directory above it may not be searched by us or moves itself,
// has no path until somebody looks it up.

// findMoved makes the kernel find a directory that it knows by a name that another door
// gave it, of which it was told.
func (f *FS) findMoved(c *objstore.Change) {
	if c.Inode == 0 || !f.known.has(c.Inode) || f.gate.shut() {
		return
	}
	a, err := f.store.GetAttr(f.ctx(), c.Inode)
	if err != nil || a.Type != objstore.TypeDirectory || a.Nlink == 0 {
		return
	}
	path, ok := f.pathFromRoot(c.Parent)
	if !ok {
		return
	}
	root := f.openHere()
	if root < 0 {
		return
	}
	defer unix.Close(root)
	var st unix.Stat_t
	_ = unix.Fstatat(root, path+c.Name, &st, unix.AT_SYMLINK_NOFOLLOW)
}

// pathFromRoot returns the path of a directory from the mount's root, with a slash behind
// it unless it is the root.
func (f *FS) pathFromRoot(dir objstore.InodeID) (path string, ok bool) {
	root := objstore.InodeID(f.root.Load())
	if dir == root {
		return "", true
	}
	path, ok = f.store.PathOf(f.ctx(), dir)
	if !ok || root == objstore.RootInode {
		return path + "/", ok
	}
	above, ok := f.store.PathOf(f.ctx(), root)
	if !ok {
		return "", false
	}
	return strings.CutPrefix(path+"/", above+"/")
}
