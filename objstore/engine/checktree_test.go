package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// checkTree walks every record of the tree and returns what contradicts
// another: entries without an inode and inodes without an entry, wrong link
// counts, parents, buckets and types, wrong shadowed bits, markers that their
// directories do not know of, implicit directories that are empty, circles of
// directories, and inodes without a name that nobody has open.
func checkTree(ctx context.Context, s *Store) error {
	var c treeCheck
	err := s.o.Meta.View(ctx, func(r meta.Reader) error {
		if err := c.load(reader{Reader: r}); err != nil {
			return err
		}
		c.entries()
		c.directories()
		c.histories()
		c.links(s)
		c.reach()
		return nil
	})
	return errors.Join(append(c.wrong, err)...)
}

type treeEntry struct {
	dir  objstore.InodeID
	name string // stored
	d    record.Dirent
}

type treeCheck struct {
	inodes  map[objstore.InodeID]*record.Inode
	orphans map[objstore.InodeID]bool
	buckets map[objstore.InodeID]bool
	xattrs  map[objstore.InodeID]bool
	list    []treeEntry
	at      map[objstore.InodeID]map[string]record.Dirent
	named   map[objstore.InodeID]int // entries that point at an inode
	kept    map[objstore.InodeID]int // versions that are an inode
	past    []pastRecord
	wrong   []error
}

// pastRecord is a record of the family v.
type pastRecord struct {
	record.VersionKeyParts
	value []byte
}

func (c *treeCheck) bad(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Errorf(format, args...))
}

func (c *treeCheck) load(r reader) error {
	c.inodes = make(map[objstore.InodeID]*record.Inode)
	c.at = make(map[objstore.InodeID]map[string]record.Dirent)
	c.named = make(map[objstore.InodeID]int)
	c.kept = make(map[objstore.InodeID]int)
	for p, err := range r.Scan(meta.Prefix([]byte{'v'})) {
		if err != nil {
			return err
		}
		k, err := record.ParseVersionKey(p.Key)
		if err != nil {
			return err
		}
		c.past = append(c.past, pastRecord{k, append([]byte(nil), p.Value...)})
	}
	id := func(k []byte) objstore.InodeID { return objstore.InodeID(binary.BigEndian.Uint64(k[1:])) }
	set := func(fam byte) map[objstore.InodeID]bool {
		m := make(map[objstore.InodeID]bool)
		for p, err := range r.Scan(meta.Prefix([]byte{fam})) {
			if err == nil {
				m[id(p.Key)] = true
			}
		}
		return m
	}
	c.orphans, c.buckets, c.xattrs = set('o'), set('B'), set('x')
	for p, err := range r.Scan(meta.Prefix([]byte{'i'})) {
		if err != nil {
			return err
		}
		n, err := record.ParseInode(p.Value)
		if err != nil {
			return err
		}
		c.inodes[id(p.Key)] = n
	}
	for p, err := range r.Scan(meta.Prefix([]byte{'d'})) {
		if err != nil {
			return err
		}
		name, err := record.DirentName(p.Key)
		if err != nil {
			return err
		}
		d, err := record.ParseDirent(p.Value)
		if err != nil {
			return err
		}
		e := treeEntry{id(p.Key), name, d}
		c.list = append(c.list, e)
		if c.at[e.dir] == nil {
			c.at[e.dir] = make(map[string]record.Dirent)
		}
		c.at[e.dir][name] = d
		c.named[d.Inode]++
	}
	return nil
}

func (c *treeCheck) entries() {
	for _, e := range c.list {
		name, isDir := record.SplitStored(e.name)
		n := c.inodes[e.d.Inode]
		dir := c.inodes[e.dir]
		switch {
		case n == nil:
			c.bad("entry %d %q points at nothing", e.dir, e.name)
			continue
		case dir == nil || dir.Type != objstore.TypeDirectory || dir.Nlink == 0:
			c.bad("entry %d %q stands in no directory", e.dir, e.name)
			continue
		case n.Type != e.d.Type, isDir != (n.Type == objstore.TypeDirectory):
			c.bad("entry %d %q has the wrong type", e.dir, e.name)
		}
		_, twin := c.at[e.dir][name+"/"]
		if want := !isDir && name != "" && twin; e.d.Shadowed != want {
			c.bad("entry %d %q: shadowed is %v", e.dir, e.name, e.d.Shadowed)
		}
		if isDir && n.Parent != e.dir {
			c.bad("directory %d has the parent %d, not %d", e.d.Inode, n.Parent, e.dir)
		}
		bucket := dir.Bucket
		if e.dir == objstore.RootInode {
			bucket = e.d.Inode
			if !c.buckets[e.d.Inode] {
				c.bad("bucket %q has no record", name)
			}
		}
		if n.Bucket != bucket {
			c.bad("inode %d is of the bucket %d, not %d", e.d.Inode, n.Bucket, bucket)
		}
		if e.name == "" && n.Type != objstore.TypeRegular {
			c.bad("the marker of %d is no file", e.dir)
		}
	}
	for b := range c.buckets {
		if n := c.inodes[b]; n == nil || n.Parent != objstore.RootInode {
			c.bad("bucket record %d without a bucket", b)
		}
	}
}

func (c *treeCheck) directories() {
	for ino, n := range c.inodes {
		if n.Type != objstore.TypeDirectory {
			continue
		}
		if n.Nlink == 0 {
			if len(c.at[ino]) > 0 {
				c.bad("removed directory %d has entries", ino)
			}
			continue
		}
		want := uint32(2)
		for stored := range c.at[ino] {
			if name, isDir := record.SplitStored(stored); isDir && record.Mountable(name) {
				want++
			}
		}
		if n.Nlink != want {
			c.bad("directory %d has %d links, not %d", ino, n.Nlink, want)
		}
		if _, marker := c.at[ino][""]; marker != n.HasMarker || marker && !n.Explicit {
			c.bad("directory %d: marker entry %v, has marker %v, explicit %v", ino, marker, n.HasMarker, n.Explicit)
		}
		if !n.Explicit && len(c.at[ino]) == 0 {
			c.bad("implicit directory %d is empty", ino)
		}
	}
}

func (c *treeCheck) links(s *Store) {
	for ino, n := range c.inodes {
		named := c.named[ino]
		isDir := n.Type == objstore.TypeDirectory
		switch {
		case ino == objstore.RootInode:
		case n.Held:
			if c.kept[ino] != 1 || named != 0 || n.Nlink != 0 || c.orphans[ino] {
				c.bad("version %d is kept %d times, has %d names, %d links, orphan %v", ino, c.kept[ino], named, n.Nlink, c.orphans[ino])
			}
		case c.kept[ino] != 0:
			c.bad("inode %d is kept as a version and is none", ino)
		case n.Nlink == 0:
			if named != 0 || !c.orphans[ino] {
				c.bad("inode %d has no links, %d names, orphan %v", ino, named, c.orphans[ino])
			}
			if s.nodes.get(ino) == nil {
				c.bad("inode %d has no links and is not open", ino)
			}
		case c.orphans[ino]:
			c.bad("inode %d has links and is an orphan", ino)
		case isDir && named != 1, !isDir && uint32(named) != n.Nlink:
			c.bad("inode %d has %d links and %d names", ino, n.Nlink, named)
		}
		if n.TagCount > 0 && !n.HasXattrs {
			c.bad("inode %d: has %d tags and no attributes", ino, n.TagCount)
		}
		if n.HasXattrs != c.xattrs[ino] {
			c.bad("inode %d: has attributes %v, record %v", ino, n.HasXattrs, c.xattrs[ino])
		}
		delete(c.xattrs, ino)
		delete(c.orphans, ino)
	}
	for ino := range c.xattrs {
		c.bad("attributes without the inode %d", ino)
	}
	for ino := range c.orphans {
		c.bad("orphan mark without the inode %d", ino)
	}
}

// reach finds directories that have names but hang in a circle.
func (c *treeCheck) reach() {
	seen := make(map[objstore.InodeID]bool)
	var walk func(dir objstore.InodeID)
	walk = func(dir objstore.InodeID) {
		if seen[dir] {
			return
		}
		seen[dir] = true
		for stored, d := range c.at[dir] {
			if _, isDir := record.SplitStored(stored); isDir {
				walk(d.Inode)
			}
		}
	}
	walk(objstore.RootInode)
	for ino, n := range c.inodes {
		if n.Type == objstore.TypeDirectory && n.Nlink > 0 && !seen[ino] {
			c.bad("directory %d is not in the tree", ino)
		}
	}
}

// histories checks the family v: each history is of a directory that is there, or
// has one entry in that of another and something in it; versions say the same as
// their inodes; the null version of a name is the one that is noted.
func (c *treeCheck) histories() {
	type name struct {
		history objstore.InodeID
		stored  string
	}
	owners := make(map[objstore.InodeID]int) // directories and entries that have a history
	for ino, n := range c.inodes {
		if n.Type == objstore.TypeDirectory && n.Nlink > 0 {
			for _, h := range n.Histories(ino) {
				owners[h]++
			}
		}
	}
	used := make(map[objstore.InodeID]bool)
	nulls, noted := make(map[name]uint64), make(map[name]uint64)
	for _, p := range c.past {
		used[p.History] = true
		at := name{p.History, p.Stored}
		switch {
		case p.Gone != 0:
			owners[p.Gone]++
		case p.Number == 0:
			n, err := record.ParseNullNumber(p.value)
			if err != nil {
				c.bad("%d %q: %v", p.History, p.Stored, err)
			}
			noted[at] = uint64(n)
		default:
			v, err := record.ParseVersion(p.value)
			if err != nil {
				c.bad("%d %q: %v", p.History, p.Stored, err)
			}
			if v.Null {
				if nulls[at] != 0 {
					c.bad("%d %q has two null versions", p.History, p.Stored)
				}
				nulls[at] = p.Number
			}
			if v.Inode == 0 {
				continue
			}
			c.kept[v.Inode]++
			n := c.inodes[v.Inode]
			if n == nil || !n.Held || n.Parent != p.History || n.Name != p.Stored || n.Seq != p.Number || n.Null != v.Null || n.Type != objstore.TypeRegular {
				c.bad("version %d %q %d is not %+v", p.History, p.Stored, p.Number, n)
			}
		}
	}
	for at, n := range nulls {
		if noted[at] != n {
			c.bad("%d %q: the null version is %d, noted %d", at.history, at.stored, n, noted[at])
		}
	}
	for at := range noted {
		if nulls[at] == 0 {
			c.bad("%d %q: a null version is noted and is not there", at.history, at.stored)
		}
	}
	for h := range used {
		if owners[h] != 1 {
			c.bad("history %d has %d owners", h, owners[h])
		}
	}
	for _, p := range c.past {
		if p.Gone != 0 && !used[p.Gone] {
			c.bad("history %d is kept for %q, and empty", p.Gone, p.Stored)
		}
	}
}
