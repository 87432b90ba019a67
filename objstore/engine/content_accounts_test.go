package engine

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// checkContents walks every record of contents and returns what contradicts
// another: accounts of extents and segments that are not the sums of what points
// there, records that nothing needs, and records that are missing.
func checkContents(s *Store) error {
	c := accounts{
		contents: make(map[objstore.ContentID]string), chunks: make(map[record.ChunkID]*record.Chunk),
		owners: make(map[record.ChunkID]int), users: make(map[record.ChunkID]map[string]bool),
		live: make(map[record.ExtentID]map[record.ChunkID]uint32), extents: make(map[record.ExtentID]*record.Extent),
	}
	err := s.o.Meta.View(bg, func(r meta.Reader) error {
		for _, step := range []func(meta.Reader) error{c.named, c.refs, c.maps, c.accounts, c.segments, c.small} {
			if err := step(r); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(append(c.wrong, err)...)
}

type accounts struct {
	contents map[objstore.ContentID]string // what names it
	chunks   map[record.ChunkID]*record.Chunk
	owners   map[record.ChunkID]int
	users    map[record.ChunkID]map[string]bool // K keys that must be there
	live     map[record.ExtentID]map[record.ChunkID]uint32
	extents  map[record.ExtentID]*record.Extent
	wrong    []error
}

func (c *accounts) bad(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Errorf(format, args...))
}

// each calls fn for every record of a family.
func each(r meta.Reader, family byte, fn func(key, val []byte) error) error {
	for p, err := range r.Scan(meta.Prefix([]byte{family})) {
		if err == nil {
			err = fn(bytes.Clone(p.Key), p.Value)
		}
		if err != nil {
			return fmt.Errorf("%c: %w", family, err)
		}
	}
	return nil
}

// named collects the contents that something names.
func (c *accounts) named(r meta.Reader) error {
	return errors.Join(
		each(r, 'i', func(key, val []byte) error {
			n, err := record.ParseInode(val)
			if err == nil && n.Type == objstore.TypeRegular {
				c.contents[n.Content.ID] = fmt.Sprintf("inode %x, %d bytes, layout %d", key[1:], n.Size, n.Content.Layout)
			}
			return err
		}),
		each(r, 'p', func(_, val []byte) error {
			p, err := record.ParsePart(val)
			if err == nil {
				c.contents[p.ID] = "part"
			}
			return err
		}),
		each(r, 'g', func(key, _ []byte) error {
			id, err := record.ParseGarbageKey(key)
			if was := c.contents[id]; was != "" {
				c.bad("%x is garbage and %s", id, was)
			}
			c.contents[id] = "garbage"
			return err
		}),
	)
}

func (c *accounts) refs(r meta.Reader) error {
	err := each(r, 'k', func(key, val []byte) error {
		k, err := record.ParseChunk(val)
		c.chunks[record.ChunkID(key[1:17])] = k
		return err
	})
	end := make(map[objstore.ContentID]int64)
	return errors.Join(err, each(r, 'c', func(key, val []byte) error {
		id, at, err := record.ParseChunkRefKey(key)
		if err != nil {
			return err
		}
		ref, err := record.ParseChunkRef(val)
		if err != nil {
			return err
		}
		if c.contents[id] == "" {
			c.bad("nothing names the content %x, which has chunks", id)
		}
		if at < end[id] {
			c.bad("chunks of %x overlap at %d", id, at)
		}
		end[id] = at + int64(ref.Span)
		k := c.chunks[ref.Chunk]
		switch {
		case k == nil:
			c.bad("chunk %x is missing", ref.Chunk)
		case ref.Borrowed && !k.Shared:
			c.bad("chunk %x is borrowed and not marked shared", ref.Chunk)
		}
		if !ref.Borrowed {
			c.owners[ref.Chunk]++
			return nil
		}
		if c.users[ref.Chunk] == nil {
			c.users[ref.Chunk] = make(map[string]bool)
		}
		c.users[ref.Chunk][string(record.ChunkOfKey(ref.Chunk, id, at))] = true
		return nil
	}))
}

func (c *accounts) maps(r meta.Reader) error {
	for id, k := range c.chunks {
		if n := c.owners[id]; n > 1 || k.Owned != (n == 1) {
			c.bad("chunk %x has %d owners, its record says %v", id, n, k.Owned)
		}
		if !k.Owned && len(c.users[id]) == 0 {
			c.bad("nobody uses the chunk %x", id)
		}
	}
	var chunk record.ChunkID
	var end uint32
	return errors.Join(
		each(r, 'K', func(key, _ []byte) error {
			if id := record.ChunkID(key[1:17]); !c.users[id][string(key)] {
				c.bad("chunk %x has a user that does not use it", id)
			} else {
				delete(c.users[id], string(key))
			}
			return nil
		}),
		each(r, 'm', func(key, val []byte) error {
			if id := record.ChunkID(key[1:17]); id != chunk {
				chunk, end = id, 0
			}
			off, err := record.ParseMapKey(key)
			if err != nil {
				return err
			}
			m, err := record.ParseMapEntry(val)
			if err != nil {
				return err
			}
			if c.chunks[chunk] == nil {
				c.bad("map of the absent chunk %x", chunk)
			}
			if off < end {
				c.bad("map entries of %x overlap at %d", chunk, off)
			}
			end = off + m.Length
			if c.live[m.Extent] == nil {
				c.live[m.Extent] = make(map[record.ChunkID]uint32)
			}
			c.live[m.Extent][chunk] += m.Length
			return nil
		}),
	)
}

func (c *accounts) accounts(r meta.Reader) error {
	for id, keys := range c.users {
		if len(keys) > 0 {
			c.bad("chunk %x lacks %d records of its users", id, len(keys))
		}
	}
	refs := make(map[record.ExtentID]map[record.ChunkID]uint32)
	err := errors.Join(
		each(r, 'E', func(key, val []byte) error {
			e, err := record.ParseExtentRef(val)
			if err != nil {
				return err
			}
			id := record.ExtentID(key[1:17])
			if refs[id] == nil {
				refs[id] = make(map[record.ChunkID]uint32)
			}
			refs[id][record.ChunkID(key[17:33])] = e.Live
			return nil
		}),
		each(r, 'e', func(key, val []byte) error {
			x, err := record.ParseExtent(val)
			c.extents[record.ExtentID(key[1:17])] = x
			return err
		}),
	)
	for id, x := range c.extents {
		have := refs[id]
		if len(have) > 0 && !x.Shared {
			c.bad("extent %x has references and is not marked shared", id)
		}
		if have == nil {
			have = make(map[record.ChunkID]uint32)
		}
		if x.Owner != (record.ChunkID{}) {
			have[x.Owner] = x.Live
		} else if x.Live != 0 {
			c.bad("extent %x has live bytes and no owner", id)
		}
		if len(have) == 0 {
			c.bad("nothing points to the extent %x", id)
		}
		want := c.live[id]
		for chunk, n := range have {
			if n == 0 || want[chunk] != n {
				c.bad("extent %x has %d live bytes in %x, its account says %d", id, want[chunk], chunk, n)
			}
		}
		for chunk := range want {
			if _, ok := have[chunk]; !ok {
				c.bad("extent %x has no account of the chunk %x", id, chunk)
			}
		}
		delete(c.live, id)
		delete(refs, id)
	}
	for id := range c.live {
		c.bad("map entries point to the absent extent %x", id)
	}
	for id := range refs {
		c.bad("references to the absent extent %x", id)
	}
	return err
}

func (c *accounts) segments(r meta.Reader) error {
	want := make(map[record.SegmentID]record.Segment)
	for _, x := range c.extents {
		live, total := int64(x.Live), int64(0)
		if x.Shared {
			live = int64(x.PlainLen)
		}
		for _, run := range x.Runs {
			total += int64(run.Packages)
		}
		for _, run := range x.Runs {
			s := want[run.Segment]
			s.Live += live * int64(run.Packages) / total
			s.Refs++
			want[run.Segment] = s
		}
	}
	err := each(r, 's', func(key, val []byte) error {
		s, err := record.ParseSegment(val)
		if err != nil {
			return err
		}
		id := record.SegmentID(key[1:17])
		if want[id] != *s {
			c.bad("segment %x: %+v, want %+v", id, *s, want[id])
		}
		delete(want, id)
		return nil
	})
	for id := range want {
		c.bad("segment %x has no account", id)
	}
	return err
}

// small checks the records that stand beside an inode.
func (c *accounts) small(r meta.Reader) error {
	for _, family := range []byte{'D', 'P'} {
		err := each(r, family, func(key, _ []byte) error {
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

// checkStore is checkTree and checkContents.
func checkStore(s *Store) error { return errors.Join(checkTree(bg, s), checkContents(s)) }
