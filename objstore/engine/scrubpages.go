package engine

import (
	"context"
	"slices"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// pageOf is what is done with some records of a range.
type pageOf[T any] struct {
	list []T
	// parse makes an element of a record; ok is false for one that is of no interest.
	parse func(p meta.Pair) (t T, ok bool, err error)
	// inode is that of an element; nil, if they have none.
	inode func(t T) objstore.InodeID
	// each is called for each element after the snapshot that it was found in. n is its
	// inode, nil where that is missing or damaged.
	each func(t T, n *record.Inode) error
}

// pages goes over a range, a page in each snapshot.
func pages[T any](ctx context.Context, c *scrub, path string, rng meta.Range, p pageOf[T]) error {
	for rng.Start != nil {
		var next []byte
		var inodes []*record.Inode
		err := c.s.view(ctx, "scrub", path, func(r reader) (err error) {
			if next, err = p.fill(r, rng); err == nil && p.inode != nil {
				inos := make([]objstore.InodeID, len(p.list))
				for i, t := range p.list {
					inos[i] = p.inode(t)
				}
				inodes, err = c.s.intact(r, "scrub", inos)
			}
			return err
		})
		if err != nil {
			return c.verdict(ctx, path, err)
		}
		for i, t := range p.list {
			var n *record.Inode
			if p.inode != nil {
				n = inodes[i]
			}
			if err := p.each(t, n); err != nil {
				return err
			}
		}
		rng.Start = next
	}
	return nil
}

// fill reads the list; next is where it goes on, nil at the end.
func (p *pageOf[T]) fill(r reader, rng meta.Range) (next []byte, err error) {
	p.list = nil
	seen := 0
	for pair, err := range r.Scan(rng) {
		if err != nil {
			return nil, err
		}
		if seen++; seen > scrubPage {
			return slices.Clone(pair.Key), nil
		}
		t, ok, err := p.parse(pair)
		if err != nil {
			return nil, err
		}
		if ok {
			p.list = append(p.list, t)
		}
	}
	return nil, nil
}
