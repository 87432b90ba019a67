package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent/extenttest"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// checkContents walks every record of contents and returns what contradicts
// another: see extenttest, and contents that are named twice or by nothing.
func checkContents(s *Store) error {
	c := contentCheck{contents: make(map[objstore.ContentID]string)}
	err := s.o.Meta.View(bg, func(r meta.Reader) error {
		if err := c.named(r); err != nil {
			return err
		}
		return errors.Join(c.small(r), c.loggedWrites(r), extenttest.Check(r, func(id objstore.ContentID) bool { return c.contents[id] != "" }))
	})
	return errors.Join(append(c.wrong, err)...)
}

type contentCheck struct {
	contents map[objstore.ContentID]string // what names it
	wrong    []error
}

func (c *contentCheck) bad(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Errorf(format, args...))
}

// named collects the contents that something names.
func (c *contentCheck) named(r meta.Reader) error {
	return errors.Join(
		extenttest.Each(r, 'i', func(key, val []byte) error {
			n, err := record.ParseInode(val)
			if err == nil && n.Type == objstore.TypeRegular {
				c.contents[n.Content.ID] = fmt.Sprintf("inode %x, %d bytes, layout %d", key[1:], n.Size, n.Content.Layout)
			}
			return err
		}),
		extenttest.Each(r, 'p', func(_, val []byte) error {
			p, err := record.ParsePart(val)
			if err == nil {
				c.contents[p.ID] = "part"
			}
			return err
		}),
		extenttest.Each(r, 'g', func(key, _ []byte) error {
			id, err := record.ParseGarbageKey(key)
			if was := c.contents[id]; was != "" {
				c.bad("%x is garbage and %s", id, was)
			}
			c.contents[id] = "garbage"
			return err
		}),
	)
}

// small checks the records that stand beside an inode.
func (c *contentCheck) small(r meta.Reader) error {
	for _, family := range []byte{'D', 'P'} {
		err := extenttest.Each(r, family, func(key, _ []byte) error {
			if id := objstore.ContentID(key[1:17]); c.contents[id] == "" {
				c.bad("%c record of the content %x, which nothing names", family, id)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// loggedWrites checks that there are as many as the inodes say, and that they know
// whose they are.
func (c *contentCheck) loggedWrites(r meta.Reader) error {
	want := make(map[string]objstore.InodeID)
	err := extenttest.Each(r, 'i', func(key, val []byte) error {
		n, err := record.ParseInode(val)
		for i := uint32(1); err == nil && i <= n.Content.Logged; i++ {
			want[string(record.LoggedKey(n.Content.ID, i))] = objstore.InodeID(binary.BigEndian.Uint64(key[1:]))
		}
		return err
	})
	if err != nil {
		return err
	}
	err = extenttest.Each(r, 'n', func(key, val []byte) error {
		w, err := record.ParseLoggedWrite(val)
		switch ino, ok := want[string(key)]; {
		case !ok:
			c.bad("%x is a logged write of nothing", key)
		case err == nil && w.Inode != ino:
			c.bad("%x is a logged write of inode %d, not %d", key, ino, w.Inode)
		}
		delete(want, string(key))
		return err
	})
	if len(want) > 0 {
		c.bad("%d logged writes are missing", len(want))
	}
	return err
}

// checkStore is checkTree and checkContents.
func checkStore(s *Store) error { return errors.Join(checkTree(bg, s), checkContents(s)) }
