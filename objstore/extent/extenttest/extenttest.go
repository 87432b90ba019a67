// Package extenttest checks the records of contents against each other.
package extenttest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// Check walks every record of chunks, maps, extents and segments and returns
// what contradicts another: accounts that are not the sums of what points there,
// records that nothing needs, and records that are missing. named tells which
// contents something names, garbage included.
func Check(r meta.Reader, named func(objstore.ContentID) bool) error {
	c := accounts{
		named: named, chunks: make(map[record.ChunkID]*record.Chunk),
		owners: make(map[record.ChunkID]int), users: make(map[record.ChunkID]map[string]bool),
		live: make(map[record.ExtentID]map[record.ChunkID]uint32), extents: make(map[record.ExtentID]*record.Extent),
	}
	for _, step := range []func(meta.Reader) error{c.refs, c.maps, c.extentAccounts, c.segments} {
		if err := step(r); err != nil {
			return errors.Join(append(c.wrong, err)...)
		}
	}
	return errors.Join(c.wrong...)
}

type accounts struct {
	named   func(objstore.ContentID) bool
	chunks  map[record.ChunkID]*record.Chunk
	owners  map[record.ChunkID]int
	users   map[record.ChunkID]map[string]bool // K keys that must be there
	live    map[record.ExtentID]map[record.ChunkID]uint32
	extents map[record.ExtentID]*record.Extent
	wrong   []error
}

func (c *accounts) bad(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Errorf(format, args...))
}

// Each calls fn for every record of a family.
func Each(r meta.Reader, family byte, fn func(key, val []byte) error) error {
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

func (c *accounts) refs(r meta.Reader) error {
	err := Each(r, 'k', func(key, val []byte) error {
		k, err := record.ParseChunk(val)
		c.chunks[record.ChunkID(key[1:17])] = k
		return err
	})
	end := make(map[objstore.ContentID]int64)
	return errors.Join(err, Each(r, 'c', func(key, val []byte) error {
		id, at, err := record.ParseChunkRefKey(key)
		if err != nil {
			return err
		}
		ref, err := record.ParseChunkRef(val)
		if err != nil {
			return err
		}
		if !c.named(id) {
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
		Each(r, 'K', func(key, _ []byte) error {
			if id := record.ChunkID(key[1:17]); !c.users[id][string(key)] {
				c.bad("chunk %x has a user that does not use it", id)
			} else {
				delete(c.users[id], string(key))
			}
			return nil
		}),
		Each(r, 'm', func(key, val []byte) error {
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

func (c *accounts) extentAccounts(r meta.Reader) error {
	for id, keys := range c.users {
		if len(keys) > 0 {
			c.bad("chunk %x lacks %d records of its users", id, len(keys))
		}
	}
	refs := make(map[record.ExtentID]map[record.ChunkID]uint32)
	err := errors.Join(
		Each(r, 'E', func(key, val []byte) error {
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
		Each(r, 'e', func(key, val []byte) error {
			x, err := record.ParseExtent(val)
			c.extents[record.ExtentID(key[1:17])] = x
			return err
		}),
	)
	logged := make(map[record.ExtentID]bool)
	err = errors.Join(err, Each(r, 'J', func(key, _ []byte) error {
		id, err := record.ParseStreamKey(key)
		logged[id] = true
		if x := c.extents[id]; x == nil || !x.Logged {
			c.bad("nothing needs the logged stream of extent %x", id)
		}
		return err
	}))
	for id, x := range c.extents {
		if x.Logged && !logged[id] {
			c.bad("the logged stream of extent %x is missing", id)
		}
	}
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
	err := Each(r, 's', func(key, val []byte) error {
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
