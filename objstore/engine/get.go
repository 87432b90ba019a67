package engine

import (
	"context"
	"io"
	"slices"
	"sync"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// GetObject calls fn with one committed object, pinned until fn returns:
// length, ETag and bytes belong together whatever happens to the name. fn's
// error is returned as it is. When a precondition fails, or the range does not
// touch the object, fn is not called; HeadObject tells about the object then.
func (s *Store) GetObject(ctx context.Context, c objstore.Caller, req objstore.GetRequest, fn func(*Object) error) error {
	pinned := &pinned{pin: s.extents.Pin()}
	defer pinned.release()
	var fnErr error
	err := s.view(ctx, "get", req.Key, func(r reader) error {
		root, err := r.bucketRoot(req.Bucket)
		if err != nil {
			return err
		}
		ino, n, b, err := r.findObject(s, "get", root, req.Key, req.Version)
		if err != nil {
			return err
		}
		if err := r.checked(s, ino, n, req.Check); err != nil {
			return err
		}
		o, err := s.openObject(ctx, r, req, ino, n)
		if err != nil {
			return err
		}
		o.Info.Version = s.versionOf(b, n)
		o.pinned = pinned
		defer o.oek.Wipe()
		fnErr = fn(o)
		return nil
	})
	if err != nil {
		return err
	}
	return fnErr
}

// pinned keeps what an object is read from: everything that its snapshot points to,
// and, once it is known what of that will be read, those segments alone.
type pinned struct {
	pin    extent.Pin
	read   extent.Read
	narrow bool
}

// letGo gives the snapshot up, when nothing but the spans is read any more.
func (p *pinned) letGo(r reader, spans []extent.Span) {
	snapshot, ok := r.Reader.(meta.Releaser)
	if !ok || p.narrow {
		return
	}
	p.read, p.narrow = p.pin.Narrow(spans), true
	snapshot.Release()
}

func (p *pinned) release() {
	if p.narrow {
		p.read.Release()
		return
	}
	p.pin.Release()
}

// Object is a pinned object. It is valid, and used by one goroutine, within the
// function that GetObject calls. After WriteTo only its fields may be used.
type Object struct {
	Info objstore.ObjectInfo
	// Offset and Length are the requested part of it in bytes.
	Offset, Length int64
	// Partial: that is the range or the part that was asked for, be it all of it.
	Partial bool
	// PartChecksum is that of the part that PartNumber asked for; nil when none
	// is kept.
	PartChecksum *objstore.Checksum

	s      *Store
	ctx    context.Context
	r      reader
	pinned *pinned
	n      *record.Inode
	oek    *extent.Keys
	over   *buffer // the content's logged writes, while WriteTo runs; nil: none
}

func (s *Store) openObject(ctx context.Context, r reader, req objstore.GetRequest, ino objstore.InodeID, n *record.Inode) (*Object, error) {
	oek, err := s.requestOEK(ctx, "get", req, n)
	if err != nil {
		return nil, err
	}
	o := &Object{s: s, ctx: ctx, r: r, n: n, oek: oek, Length: n.Size}
	told := oek
	if req.NoChecksum {
		told = nil
	}
	o.Info, err = s.info(req.Bucket, req.Key, ino, n, told)
	if err == nil {
		err = checkRead("get", req.Key, req.Precondition, o.Info.ETag, o.Info.LastModified)
	}
	if err == nil {
		err = o.narrow(req)
	}
	if err != nil {
		oek.Wipe()
		return nil, err
	}
	return o, nil
}

// narrow restricts an object to the range or part that was asked for.
func (o *Object) narrow(req objstore.GetRequest) error {
	outside := objstore.E(objstore.KindInvalidRange, "get", req.Key, "")
	switch {
	case req.PartNumber > 0:
		o.Partial = true
		parts, err := o.r.parts(o.n)
		if err != nil {
			return err
		}
		if parts == nil {
			parts = &record.Parts{}
		}
		sizes := parts.Sizes
		if req.PartNumber > max(len(sizes), 1) {
			return objstore.E(objstore.KindInvalidPart, "get", req.Key, "the requested partnumber is not satisfiable")
		}
		for i, size := range sizes {
			if i+1 == req.PartNumber {
				o.Length = size
				break
			}
			o.Offset += size
		}
		sums, err := openPartSums(&o.n.Content, o.oek, parts)
		if err != nil {
			return err
		}
		if sums != nil {
			o.PartChecksum = &sums[req.PartNumber-1]
		}
	case req.Range != nil && req.IfRange.Holds(o.Info.ETag, o.Info.LastModified):
		o.Partial = true
		var ok bool
		if o.Offset, o.Length, ok = req.Range.Resolve(o.n.Size); !ok {
			return outside
		}
	}
	return nil
}

const (
	// readUnit is how many bytes one step of WriteTo reads and decrypts at most:
	// large, since the disk gives more to large reads.
	readUnit = 2 << 20
	// readAhead is how many steps wait to be written; two more are under way.
	readAhead = 3
	// readFirst is how many spans are looked up before the first byte, readBatch how
	// many at a time later: with 4 MiB in each, 1 GiB and 4 GiB. The snapshot is
	// given up when the last ones have been looked up. A span takes some 450 bytes.
	readFirst = 256
	readBatch = 1024
	// smallUnit is what a step reads that needs no more memory than that.
	smallUnit = 128 << 10
)

var (
	units      = sync.Pool{New: func() any { b := make([]byte, extent.PiecesRoom(readUnit)); return &b }}
	smallUnits = sync.Pool{New: func() any { b := make([]byte, extent.PiecesRoom(smallUnit)); return &b }}
)

// WriteTo writes Length bytes from Offset to w, reading ahead and decrypting
// in parallel. The slices given to w are only lent. An error of the store is an
// objstore.Error; nothing that failed authentication is written.
func (o *Object) WriteTo(w io.Writer) (int64, error) {
	if o.Length == 0 {
		return 0, nil
	}
	k := extent.Of(o.n.Content.ID, o.oek)
	switch o.n.Content.Layout {
	case record.LayoutInline:
		buf := smallArenas.Get().(*[]byte)
		defer smallArenas.Put(buf)
		plain, err := o.r.appendInline((*buf)[:0], k)
		if err != nil {
			return 0, o.s.wrap("get", o.Info.Key, err)
		}
		defer clear(plain)
		// A file can have been extended far behind its data.
		have := min(max(int64(len(plain))-o.Offset, 0), o.Length)
		total := int64(0)
		if have > 0 {
			n, err := w.Write(plain[o.Offset : o.Offset+have])
			if total = int64(n); err != nil {
				return total, err
			}
		}
		if have == o.Length {
			return total, nil
		}
		o.pinned.letGo(o.r, nil)
		n, err := o.writeSpans(w, []extent.Span{{Off: o.Offset + have, Len: o.Length - have}})
		return total + n, err
	case record.LayoutEmpty:
		o.pinned.letGo(o.r, nil)
		return o.writeSpans(w, []extent.Span{{Off: o.Offset, Len: o.Length}})
	}
	var err error
	if o.over, err = o.r.loggedWrites(&o.n.Content, o.oek); err != nil {
		return 0, o.s.wrap("get", o.Info.Key, err)
	}
	if o.over != nil {
		defer o.over.free()
	}
	return o.writeChunks(w, k, true)
}

// writeChunks is WriteTo for what stands in extents, without holes if they are not
// wanted.
func (o *Object) writeChunks(w io.Writer, k extent.Content, holes bool) (total int64, err error) {
	batch := readFirst
	for at, end := o.Offset, o.Offset+o.Length; at < end; {
		spans, err := o.s.extents.Spans(o.r, k, at, end-at, batch)
		if err != nil {
			return total, o.s.wrap("get", o.Info.Key, err)
		}
		last := spans[len(spans)-1]
		at, batch = last.Off+last.Len, readBatch
		if !holes {
			spans = slices.DeleteFunc(spans, func(sp extent.Span) bool { return sp.Hole() })
		}
		// A slow client keeps no more than it needs from being given back.
		if at == end {
			o.pinned.letGo(o.r, spans)
		}
		n, err := o.writeSpans(w, spans)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// appendInline is inlineData behind dst.
func (r reader) appendInline(dst []byte, c extent.Content) ([]byte, error) {
	in, err := r.inlineRecord(c)
	if err != nil {
		return nil, err
	}
	return extent.OpenInline(dst, c, in)
}

// unit is a step of WriteTo.
type unit struct {
	size   int
	pool   *sync.Pool
	buf    *[]byte // of pool
	pieces [][]byte
	err    error
	done   chan struct{} // closed when pieces or err is set
}

func newUnit(size int) *unit {
	u := &unit{size: size, pool: &units, done: make(chan struct{})}
	if size <= smallUnit {
		u.pool = &smallUnits
	}
	u.buf = u.pool.Get().(*[]byte)
	return u
}

// writeSpans writes spans in order.
func (o *Object) writeSpans(w io.Writer, spans []extent.Span) (total int64, err error) {
	queue := make(chan *unit, readAhead)
	ctx, cancel := context.WithCancel(o.ctx)
	go func() {
		defer close(queue)
		for i := range spans {
			sp := &spans[i]
			for off := int64(0); off < sp.Len; {
				u := newUnit(sp.Step(off, readUnit))
				at := off
				go func() {
					u.pieces, u.err = o.s.extents.ReadPieces(ctx, sp, at, u.size, *u.buf, nil)
					close(u.done)
				}()
				queue <- u
				if ctx.Err() != nil {
					return
				}
				off += int64(u.size)
			}
		}
	}()
	at := int64(0) // in the object
	if len(spans) > 0 {
		at = spans[0].Off
	}
	// Whatever happens, every step is waited for: they use this snapshot's pin.
	defer cancel()
	for u := range queue {
		<-u.done
		if err == nil && u.err != nil {
			err = o.s.wrap("get", o.Info.Key, u.err)
			cancel()
		}
		for _, p := range u.pieces {
			if err != nil {
				break
			}
			if o.over != nil {
				o.over.overlay(p, at)
			}
			at += int64(len(p))
			var n int
			n, err = w.Write(p)
			total += int64(n)
			if err != nil {
				cancel()
			}
		}
		u.pool.Put(u.buf)
	}
	return total, err
}
