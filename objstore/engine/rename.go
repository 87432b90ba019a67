package engine

import (
	"context"
	"errors"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

// Rename moves a name, atomically, as renameat2(2). A file that the name
// stands for keeps its content, ETag and metadata; as an object it gets another
// key, and a directory gives one to all that is below it.
//
// What was written to the moved files is committed before the rename.
// KindCrossBucket between buckets; KindNotPermitted for a bucket itself.
func (s *Store) Rename(ctx context.Context, c objstore.Caller, parent objstore.InodeID, name string, newParent objstore.InodeID, newName string, flags objstore.RenameFlags) error {
	const op = "rename"
	for _, err := range []error{checkName(op, name), checkName(op, newName)} {
		if err != nil {
			return err
		}
	}
	known := objstore.RenameNoReplace | objstore.RenameExchange | objstore.RenameWhiteout
	if flags&^known != 0 || flags&objstore.RenameExchange != 0 && flags != objstore.RenameExchange {
		return objstore.E(objstore.KindInvalidArgument, op, name, "flags that do not fit together")
	}
	m := &move{op: op, parent: parent, name: name, newParent: newParent, newName: newName, flags: flags}
	defer m.unlock(s)
	if flags&objstore.RenameWhiteout != 0 {
		ino, err := s.newInode(ctx)
		if err != nil {
			return err
		}
		m.whiteout = ino
	}
	for {
		var e ends
		err := s.update(ctx, c, op, name, func(x *tx) (err error) {
			if e, err = m.look(x.reader); err != nil {
				return err
			}
			if !m.ready(s, e) {
				return errUnready
			}
			return m.run(x, e)
		})
		if !errors.Is(err, errUnready) {
			return err
		}
		if err := m.prepare(ctx, s, e); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return s.wrap(op, name, err)
		}
	}
}

// errUnready: what is to be renamed must be committed or locked first, which
// cannot be done within the transaction that finds it out.
var errUnready = errors.New("engine: rename is not prepared")

// ready reports whether what the names stand for was prepared, or needs no
// preparation: a file that nobody has open.
func (m *move) ready(s *Store, e ends) bool {
	if !m.locked && (e.src.Type == objstore.TypeDirectory || e.dst.Type == objstore.TypeDirectory) {
		return false
	}
	for _, ino := range m.files(e) {
		if ino != m.flushed[0] && ino != m.flushed[1] && s.nodes.get(ino) != nil {
			return false
		}
	}
	return true
}

// prepare takes the lock that the rename of a directory needs, and commits what
// was written to files.
func (m *move) prepare(ctx context.Context, s *Store, e ends) error {
	m.flushed = [2]objstore.InodeID{}
	for i, ino := range m.files(e) {
		if err := s.flushInode(ctx, ino); err != nil {
			return err
		}
		m.flushed[i] = ino
	}
	if !m.locked && (e.src.Type == objstore.TypeDirectory || e.dst.Type == objstore.TypeDirectory) {
		s.renameMu.Lock()
		m.locked = true
	}
	return nil
}

// unlock gives back what prepare took.
func (m *move) unlock(s *Store) {
	if m.locked {
		s.renameMu.Unlock()
	}
}

// files are the regular files that get another name: one, or with
// RENAME_EXCHANGE perhaps two.
func (m *move) files(e ends) []objstore.InodeID {
	var list []objstore.InodeID
	if e.src.Type == objstore.TypeRegular {
		list = append(list, e.src.Inode)
	}
	if m.flags == objstore.RenameExchange && e.dst.Type == objstore.TypeRegular {
		list = append(list, e.dst.Inode)
	}
	return list
}

// move is one rename.
type move struct {
	op            string
	parent        objstore.InodeID
	name          string
	newParent     objstore.InodeID
	newName       string
	flags         objstore.RenameFlags
	whiteout      objstore.InodeID    // for the old name; 0: nothing is left there
	locked        bool                // renameMu is held
	flushed       [2]objstore.InodeID // what prepare has committed
	from, to      *record.Inode       // the directories, the same when they are one; set by look
	moved, target *record.Inode       // what the names stand for; set by run
	b             *record.Bucket      // theirs; set by run
}

// ends are the entries of the old and the new name; the new one's Inode is 0
// when there is none.
type ends struct {
	src, dst record.Dirent
}

// look reads the directories and the entries, and refuses what their places
// forbid.
func (m *move) look(r reader) (e ends, err error) {
	if m.from, err = r.directory(m.op, m.parent); err != nil {
		return e, err
	}
	m.to = m.from
	if m.newParent != m.parent {
		if m.to, err = r.directory(m.op, m.newParent); err != nil {
			return e, err
		}
	}
	var ok, taken bool
	if e.src, ok, err = r.lookup(m.parent, m.name); err != nil {
		return e, err
	}
	if e.dst, taken, err = r.lookup(m.newParent, m.newName); err != nil {
		return e, err
	}
	switch {
	case !ok:
		return e, objstore.E(objstore.KindNotFound, m.op, m.name, "")
	case m.parent == objstore.RootInode && m.newParent == objstore.RootInode:
		return e, objstore.E(objstore.KindNotPermitted, m.op, m.name, "a bucket cannot be renamed")
	case m.from.Bucket != m.to.Bucket:
		return e, objstore.E(objstore.KindCrossBucket, m.op, m.name, "")
	case e.src.Type == objstore.TypeDirectory || m.flags == objstore.RenameExchange && e.dst.Type == objstore.TypeDirectory:
		// Versions that are locked stay under their keys: whoever moves the directory
		// copies them.
		b, err := r.settings(m.from.Bucket)
		if err != nil {
			return e, err
		}
		if b.Lock.Enabled {
			return e, objstore.E(objstore.KindCrossBucket, m.op, m.name, "a directory of a bucket with Object Lock stays where it is")
		}
	}
	switch {
	case taken && m.flags&objstore.RenameNoReplace != 0:
		return e, objstore.E(objstore.KindExists, m.op, m.newName, "")
	case !taken && m.flags == objstore.RenameExchange:
		return e, objstore.E(objstore.KindNotFound, m.op, m.newName, "")
	}
	return e, nil
}

func (m *move) run(x *tx, e ends) (err error) {
	if e.src.Inode == e.dst.Inode { // two names of one file: nothing is done (POSIX rename)
		return nil
	}
	if m.moved, err = x.named(m.op, m.name, e.src.Inode); err != nil {
		return err
	}
	if m.b, err = x.settings(m.from.Bucket); err != nil {
		return err
	}
	if err := m.movable(x, m.name, m.moved); err != nil {
		return err
	}
	if e.src.Type == objstore.TypeDirectory {
		if err := m.notBelow(x.reader, e.src.Inode, m.newParent); err != nil {
			return err
		}
	}
	if err := m.carry(x, e.src.Inode, m.moved, m.parent, m.from, m.name); err != nil {
		return err
	}
	if m.flags == objstore.RenameExchange {
		return m.exchange(x, e)
	}
	return m.replace(x, e)
}

// carry gives a directory that is about to leave its name what is kept under that
// beside its own.
func (m *move) carry(x *tx, ino objstore.InodeID, n *record.Inode, parent objstore.InodeID, dir *record.Inode, name string) error {
	if m.b.Versioning == objstore.VersioningOff || n.Type != objstore.TypeDirectory {
		return nil
	}
	in, err := x.histories(m.b, parent, dir)
	if err != nil {
		return err
	}
	return x.takeHistories(in, name, ino, n, false)
}

// replace is rename without RENAME_EXCHANGE.
func (m *move) replace(x *tx, e ends) error {
	isDir := e.src.Type == objstore.TypeDirectory
	if e.dst.Inode != 0 {
		if err := m.clear(x, e, isDir); err != nil {
			return err
		}
	}
	if err := x.removeEntry(m.parent, m.from, m.name, e.src.Type); err != nil {
		return err
	}
	if err := x.addEntry(m.newParent, m.to, m.newName, e.src); err != nil {
		return err
	}
	if err := m.leaveMarker(x, m.moved, m.parent, m.from, m.name, nil); err != nil {
		return err
	}
	if err := m.settle(x, e.src.Inode, m.moved, m.newParent, m.to, m.newName); err != nil {
		return err
	}
	if m.whiteout != 0 {
		if err := m.leaveWhiteout(x, isDir); err != nil {
			return err
		}
	}
	m.touch(x)
	x.entryChanged(m.newParent, m.newName, e.src.Inode, false)
	if m.whiteout != 0 {
		x.entryChanged(m.parent, m.name, m.whiteout, false)
		return nil
	}
	if isDir {
		return x.dirGone(m.parent, m.name, e.src.Inode)
	}
	x.entryChanged(m.parent, m.name, e.src.Inode, true)
	return nil
}

// leaveWhiteout puts a whiteout, a character device with the number 0, at the old name.
func (m *move) leaveWhiteout(x *tx, wasDir bool) error {
	if wasDir {
		if _, hidden, err := x.dirent(m.parent, m.name); err != nil {
			return err
		} else if hidden {
			return objstore.E(objstore.KindExists, m.op, m.name, "an object of the same name is hidden by the directory")
		}
	}
	n := &record.Inode{Type: objstore.TypeCharDev}
	x.adopt(m.from, m.parent, n)
	n.Atime, n.Mtime, n.Ctime, n.Btime = x.now, x.now, x.now, x.now
	x.setInode(m.whiteout, n)
	return x.addEntry(m.parent, m.from, m.name, record.Dirent{Type: n.Type, Inode: m.whiteout})
}

// clear removes what stands at the new name, if what is moved may replace it.
func (m *move) clear(x *tx, e ends, isDir bool) error {
	switch targetDir := e.dst.Type == objstore.TypeDirectory; {
	case targetDir && !isDir:
		return objstore.E(objstore.KindIsDirectory, m.op, m.newName, "")
	case !targetDir && isDir:
		return objstore.E(objstore.KindNotDirectory, m.op, m.newName, "")
	case targetDir:
		if err := x.removeDirectory(m.op, m.newParent, m.to, m.newName, e.dst.Inode); err != nil {
			return err
		}
	default:
		if err := m.displace(x, m.newParent, m.to, m.newName, e); err != nil {
			return err
		}
	}
	x.change(objstore.Change{Inode: e.dst.Inode})
	return x.removeEntry(m.newParent, m.to, m.newName, e.dst.Type)
}

// exchange is rename with RENAME_EXCHANGE.
func (m *move) exchange(x *tx, e ends) (err error) {
	if m.target, err = x.named(m.op, m.newName, e.dst.Inode); err != nil {
		return err
	}
	if err := m.movable(x, m.newName, m.target); err != nil {
		return err
	}
	if e.dst.Type == objstore.TypeDirectory {
		if err := m.notBelow(x.reader, e.dst.Inode, m.parent); err != nil {
			return err
		}
	}
	if err := m.room(x.reader, e); err != nil {
		return err
	}
	if err := m.carry(x, e.dst.Inode, m.target, m.newParent, m.to, m.newName); err != nil {
		return err
	}
	if err := x.removeEntry(m.parent, m.from, m.name, e.src.Type); err != nil {
		return err
	}
	if err := x.removeEntry(m.newParent, m.to, m.newName, e.dst.Type); err != nil {
		return err
	}
	if err := x.addEntry(m.newParent, m.to, m.newName, e.src); err != nil {
		return err
	}
	if err := x.addEntry(m.parent, m.from, m.name, e.dst); err != nil {
		return err
	}
	if err := m.leaveMarker(x, m.moved, m.parent, m.from, m.name, m.target); err != nil {
		return err
	}
	if err := m.leaveMarker(x, m.target, m.newParent, m.to, m.newName, m.moved); err != nil {
		return err
	}
	if err := m.settle(x, e.src.Inode, m.moved, m.newParent, m.to, m.newName); err != nil {
		return err
	}
	if err := m.settle(x, e.dst.Inode, m.target, m.parent, m.from, m.name); err != nil {
		return err
	}
	m.touch(x)
	x.entryChanged(m.newParent, m.newName, e.src.Inode, false)
	x.entryChanged(m.parent, m.name, e.dst.Inode, false)
	return nil
}

// room refuses to exchange a directory that hides an object with a file: both
// the file and the object would need the one entry.
func (m *move) room(r reader, e ends) error {
	if (e.src.Type == objstore.TypeDirectory) == (e.dst.Type == objstore.TypeDirectory) {
		return nil
	}
	dir, name := m.parent, m.name
	if e.dst.Type == objstore.TypeDirectory {
		dir, name = m.newParent, m.newName
	}
	_, hidden, err := r.dirent(dir, name)
	if err == nil && hidden {
		err = objstore.E(objstore.KindExists, m.op, name, "an object of the same name is hidden by the directory")
	}
	return err
}

// notBelow refuses to move a directory to dir when that is the directory
// itself or lies below it. The caller holds renameMu, or parents would change.
func (m *move) notBelow(r reader, moved, dir objstore.InodeID) error {
	for at := dir; ; {
		if at == moved {
			return objstore.E(objstore.KindInvalidArgument, m.op, m.name, "a directory cannot move below itself")
		}
		if at == m.from.Bucket || at == objstore.RootInode {
			return nil
		}
		n, err := r.inode(at)
		if err != nil {
			return err
		}
		if n.Parent == at || n.Parent == 0 {
			return objstore.E(objstore.KindCorrupt, m.op, m.name, "a directory has no parent")
		}
		at = n.Parent
	}
}

// movable refuses to take a locked version from its key: whoever moves the file copies
// it, and leaves the version.
func (m *move) movable(x *tx, name string, n *record.Inode) error {
	if n.Type == objstore.TypeRegular && n.Lock.Holds(x.now, false) {
		return objstore.E(objstore.KindCrossBucket, m.op, name, "the object is locked")
	}
	return nil
}

// displace takes the name from the file that what is moved replaces. Where no file
// comes, a delete marker stays.
func (m *move) displace(x *tx, dir objstore.InodeID, n *record.Inode, name string, e ends) error {
	in, err := x.histories(m.b, dir, n)
	if err != nil {
		return err
	}
	if e.src.Type == objstore.TypeRegular {
		return x.retire(m.b, m.op, in, name, e.dst.Inode)
	}
	return x.vanish(m.b, m.op, in, name, e.dst)
}

// leaveMarker leaves a delete marker at the old name of a file that has older
// versions there, in a directory, unless other, nil for nothing, takes the name and is
// a file too. The current one moves with the file: it is nowhere else.
func (m *move) leaveMarker(x *tx, n *record.Inode, parent objstore.InodeID, dir *record.Inode, name string, other *record.Inode) error {
	if m.b.Versioning == objstore.VersioningOff || n.Type != objstore.TypeRegular {
		return nil
	}
	in, err := x.histories(m.b, parent, dir)
	if err != nil {
		return err
	}
	if err := x.tellNullsApart(in, name, n); err != nil {
		return err
	}
	if other != nil && other.Type == objstore.TypeRegular {
		return nil
	}
	k, err := x.newest(in, name)
	if err != nil || k == nil || k.isMarker() {
		return err
	}
	_, err = x.mark(m.b, in, name)
	return err
}

// settle writes back an inode that has moved into a directory, under a name. A
// directory that the mount moved is explicit; a file is a new version there.
func (m *move) settle(x *tx, ino objstore.InodeID, n *record.Inode, parent objstore.InodeID, dir *record.Inode, name string) error {
	n.Parent = parent
	n.Ctime = x.now
	in, err := x.histories(m.b, parent, dir)
	if err != nil {
		return err
	}
	if n.Type == objstore.TypeRegular && m.b.Versioning != objstore.VersioningOff {
		if m.b.Versioning == objstore.VersioningSuspended {
			if err := x.dropNull(in, name); err != nil {
				return err
			}
		}
		if !n.Lock.Holds(x.now, false) {
			n.Lock = objstore.Lock{} // one that is over
		}
		if err := x.become(m.b, parent, name, n); err != nil {
			return err
		}
	}
	if n.Type == objstore.TypeDirectory && m.b.Versioning != objstore.VersioningOff {
		if err := x.takeHistories(in, name, ino, n, false); err != nil {
			return err
		}
		n.Name = name
	}
	if n.Type == objstore.TypeDirectory && x.fromMount() {
		n.Explicit = true
	}
	x.setInode(ino, n)
	return nil
}

// touch writes the directories back.
func (m *move) touch(x *tx) {
	x.touch(m.parent, m.from)
	if m.newParent != m.parent {
		x.touch(m.newParent, m.to)
	}
}
