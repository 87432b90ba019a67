package extent

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// MaxLogged is the largest plaintext that Batch.Log takes, in bytes.
const MaxLogged = 64 << 10

// stream returns a copy of a logged extent's stream.
func stream(r meta.Reader, id record.ExtentID, x *record.Extent) ([]byte, error) {
	v, err := r.Get(record.StreamKey(id))
	if err != nil {
		return nil, missing(err, "logged extent")
	}
	if int64(len(v)) != int64(coffercrypto.EncryptedSize(coffercrypto.PlainSize(stored(x)))) {
		return nil, fmt.Errorf("%w: logged extent has %d bytes", record.ErrCorrupt, len(v))
	}
	return bytes.Clone(v), nil
}

// Settled is a logged extent that was copied to a segment.
type Settled struct {
	id  record.ExtentID
	run record.Run
}

// Settle copies the stream of a logged extent to the active segment, verbatim:
// no key is needed. It returns nil when the extent is gone or settled already.
func (b *Batch) Settle(ctx context.Context, r meta.Reader, id record.ExtentID) (*Settled, error) {
	v, err := r.Get(record.ExtentKey(id))
	if errors.Is(err, meta.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	x, err := record.ParseExtent(v)
	if err != nil || !x.Logged {
		return nil, err
	}
	body, err := stream(r, id, x)
	if err != nil {
		return nil, err
	}
	frame := make([]byte, frameSize, frameSize+len(body))
	frame = append(frame, body...)
	count := packages(stored(x))
	putFrame(frame, len(body), id, 0, count)
	loc, err := b.append(func() (data.Location, error) { return b.s.data.Append(ctx, frame) })
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.moved = append(b.moved, record.SegmentID(loc.Segment))
	b.mu.Unlock()
	return &Settled{id, record.Run{Segment: record.SegmentID(loc.Segment), Offset: loc.Offset + frameSize, Packages: count}}, nil
}

// Settle points a logged extent at where its stream was copied to, and removes
// the stream from the metadata.
func (e *Edit) Settle(m *Settled) error {
	if _, err := e.t.Get(record.ExtentKey(m.id)); errors.Is(err, meta.ErrNotFound) {
		return nil // freed in between
	}
	a, err := e.load(m.id)
	if err != nil || !a.now.Logged {
		return err
	}
	a.now.Runs, a.now.Logged = []record.Run{m.run}, false
	return nil
}
