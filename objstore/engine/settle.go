package engine

import (
	"context"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// settleBatch is how many extents one transaction moves to a segment.
const settleBatch = 64

// settle moves the extents that were made durable with the metadata to segments,
// so that the metadata stay small.
func (s *Store) settle(ctx context.Context) error {
	if err := s.mapLeftLogged(ctx); err != nil {
		return err
	}
	var after []byte
	for {
		keys, err := s.keysOf(ctx, record.StreamPrefix(), after, settleBatch)
		if err != nil || len(keys) == 0 {
			return err
		}
		after = keys[len(keys)-1]
		if err := s.settleSome(ctx, keys); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (s *Store) settleSome(ctx context.Context, keys [][]byte) error {
	batch := s.extents.NewBatch()
	defer batch.Release()
	var list []*extent.Settled
	err := s.view(ctx, "settle", "", func(r reader) error {
		list = list[:0]
		for _, k := range keys {
			id, err := record.ParseStreamKey(k)
			if err != nil {
				return err
			}
			m, err := batch.Settle(ctx, r, id)
			if err != nil {
				return err
			}
			if m != nil {
				list = append(list, m)
			}
		}
		return nil
	})
	if err != nil || len(list) == 0 {
		return err
	}
	return s.update(ctx, objstore.Caller{}, "settle", "", func(x *tx) error {
		e := s.extents.Edit(x.txn)
		for _, m := range list {
			if err := e.Settle(m); err != nil {
				return err
			}
		}
		return e.Finish()
	})
}
