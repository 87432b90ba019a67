package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// pageOf is what is done with some records of a range.
type pageOf[T any] struct {
	parse func(p meta.Pair) (t T, ok bool, err error) // see readPage
	// inode is that of an element; nil, if they have none.
	inode func(t T) objstore.InodeID
	// each is called for each element after the snapshot that it was found in. n is its
	// inode, nil where that is missing or damaged.
	each func(t T, n *record.Inode) error
}

// pages goes over a range, a page in each snapshot.
func pages[T any](ctx context.Context, c *scrub, path string, rng meta.Range, p pageOf[T]) error {
	for rng.Start != nil {
		var list []T
		var next []byte
		var inodes []*record.Inode
		err := c.s.view(ctx, "scrub", path, func(r reader) (err error) {
			if list, next, err = readPage(r, rng, scrubPage, p.parse); err == nil && p.inode != nil {
				inos := make([]objstore.InodeID, len(list))
				for i, t := range list {
					inos[i] = p.inode(t)
				}
				inodes, err = c.s.intact(r, "scrub", inos)
			}
			return err
		})
		if err != nil {
			return c.verdict(ctx, path, err)
		}
		for i, t := range list {
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
