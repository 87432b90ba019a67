package engine

import (
	"context"
	"fmt"
	"io"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
)

// shareStep is how many chunks (64 MiB each) one transaction of a copy shares.
const shareStep = 1024

// share makes one content of another's bytes. Like an ingest, a long one is
// committed in steps under a garbage mark.
type share struct {
	s        *Store
	dst, src extent.Content
	srcOff   int64
	size     int64
	layout   record.Layout // in the end that of the copy
	shared   int64
	marked   bool
	// What cannot be shared, as one of the two has a layer of encryption more than the
	// other (SSEDSSE), is encrypted anew: from, found by get, is read into anew.
	from *record.Content
	get  objstore.GetRequest
	anew *ingest
	part bool // of an upload
}

// done says that the copy was committed.
func (cp *share) done() {
	cp.marked = false
	if cp.anew != nil {
		cp.anew.marked = false
	}
}

func (cp *share) close() {
	if cp.anew != nil {
		cp.anew.close()
	}
	cp.s.busy.remove(cp.dst.Refs)
	if cp.marked {
		cp.s.wakeReaper()
	}
}

// steps shares all but what fits into the last transaction.
func (cp *share) steps(ctx context.Context) error {
	if cp.layout != record.LayoutChunks {
		return nil
	}
	if cp.dst.OEK.Two() != cp.src.OEK.Two() {
		return cp.recrypt(ctx)
	}
	for cp.size-cp.shared > int64(cp.s.shareStep)*record.MaxChunk {
		var n int64
		err := cp.s.update(ctx, objstore.Caller{}, "copy", "", func(x *tx) (err error) {
			x.txn.Set(record.GarbageKey(cp.dst.Refs), []byte{1})
			n, err = cp.step(x, cp.s.shareStep)
			return err
		})
		if err != nil {
			return err
		}
		cp.marked = true
		cp.shared += n
	}
	return nil
}

func (cp *share) step(x *tx, limit int) (int64, error) {
	e := x.s.extents.Edit(x.txn)
	n, err := e.Share(cp.dst, cp.shared, cp.src, cp.srcOff+cp.shared, cp.size-cp.shared, limit)
	if err != nil {
		return 0, err
	}
	return n, e.Finish()
}

// finish shares the rest in the request's last transaction.
func (cp *share) finish(x *tx) (err error) {
	if cp.anew != nil {
		cp.layout, err = cp.anew.finish(x)
		return err
	}
	switch cp.layout {
	case record.LayoutInline:
		plain, err := x.inlineData(cp.src)
		if err != nil {
			return err
		}
		defer clear(plain)
		in, err := extent.SealInline(cp.dst, plain)
		if err != nil {
			return err
		}
		x.txn.Set(record.InlineKey(cp.dst.Refs), in.Append(nil))
		return nil
	case record.LayoutEmpty:
		return nil
	}
	if cp.marked {
		x.txn.Delete(record.GarbageKey(cp.dst.Refs))
	}
	return cp.rest(x)
}

// rest shares what steps left.
func (cp *share) rest(x *tx) error {
	n, err := cp.step(x, maxShareRest)
	if err == nil && n < cp.size-cp.shared {
		err = fmt.Errorf("engine: %d chunks do not hold %d bytes", maxShareRest, cp.size-cp.shared)
	}
	return err
}

// recrypt reads the source and encrypts it anew, a bounded part at a time. The
// copy has as many layers as its keys.
func (cp *share) recrypt(ctx context.Context) error {
	in, err := cp.s.newIngest(cp.dst, objstore.ETagsOpaque, nil) // its ETag and checksum are the source's
	if err != nil {
		return err
	}
	cp.anew, in.noSmall, in.sparse = in, cp.part, true
	body, w := io.Pipe()
	read := make(chan struct{})
	go func() {
		defer close(read)
		err := cp.s.GetObject(ctx, objstore.Caller{}, cp.get, func(o *Object) error {
			if o.n.Content.ID != cp.from.ID || o.n.Content.Gen != cp.from.Gen {
				return errLostRace
			}
			o.Offset, o.Length = cp.srcOff, cp.size
			_, err := o.WriteTo(w)
			return err
		})
		w.CloseWithError(err)
	}()
	err = in.read(ctx, body, cp.size)
	body.Close()
	<-read
	return err
}

// maxShareRest bounds the references in the last transaction: chunks can be
// shorter than 64 MiB where their content was uploaded in parts.
const maxShareRest = 1 << 17
