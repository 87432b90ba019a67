package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/checksum"
	"github.com/cofferfs/coffer/objstore/extent"
	"github.com/cofferfs/coffer/objstore/record"
	"golang.org/x/sync/errgroup"
)

const (
	// ingestAhead bounds the full buffers (4 MiB each) of one request that are
	// being hashed or encrypted while the next is read.
	ingestAhead = 2
	// ingestStep is how many extents of one request go into one transaction.
	ingestStep = 64
	// hashIdle is how long the hasher may keep buffers so as to hash them together
	// with later ones: if none comes for this long, they are hashed and given back.
	hashIdle = 200 * time.Millisecond
)

// ingest takes the body of a request: it encrypts it extent by extent and
// hashes it meanwhile. Long bodies are committed in steps, under a garbage mark
// that the last transaction of the request removes. If the request ends without that
// one, the reaper frees what has the mark (gc.go).
type ingest struct {
	s       *Store
	c       extent.Content
	batch   *extent.Batch
	hasher  *checksum.Hasher
	maps    []extent.Mapping
	small   *buffer // holds the whole body, when it is small enough to be kept inline
	inline  []byte  // the record of a small body, in the spare room of its buffer
	size    int64
	marked  bool
	noSmall bool  // never keep it inline
	sparse  bool  // leaves zeros out: the body is a file with holes
	holes   int64 // bytes that were left out

	// Of an append: where the body begins, what of it is not hashed, and what is
	// done in the first transaction before the body's extents are mapped.
	base     int64
	unhashed int64 // no more than extent.MaxInline
	first    func(x *tx) error
}

// newIngest begins an ingest that computes algs and what ETags of that form need.
func (s *Store) newIngest(c extent.Content, etags objstore.ETagForm, algs []checksum.Algorithm) (*ingest, error) {
	if etags == objstore.ETagsMD5 {
		algs = append([]checksum.Algorithm{checksum.MD5}, algs...)
	}
	h, err := checksum.New(algs...)
	if err != nil {
		return nil, objstore.Wrap(objstore.KindInvalidArgument, "put", "", err)
	}
	s.busy.add(c.Refs)
	return &ingest{s: s, c: c, batch: s.extents.NewBatchOf(c.OEK.Two()), hasher: h}, nil
}

// close ends an ingest, committed or not. What an uncommitted one left is freed.
func (in *ingest) close() {
	in.batch.Release()
	if in.small != nil {
		clear(in.small.arena)
		in.small.free()
		in.small, in.inline = nil, nil
	}
	in.s.busy.remove(in.c.Refs)
	if in.marked {
		in.s.wakeReaper()
	}
}

// read takes the whole body. want is its length, or -1.
func (in *ingest) read(ctx context.Context, body io.Reader, want int64) error {
	buf := newBuffer()
	n, eof, err := fill(body, buf, extent.MaxInline+1)
	if err != nil {
		buf.free()
		return err
	}
	if !eof || n > extent.MaxInline || in.noSmall {
		return in.stream(ctx, body, want, buf, eof)
	}
	in.size = int64(n)
	in.hasher.Write(buf.arena[in.unhashed:])
	if err := in.checkLength(want); err != nil || n == 0 {
		buf.free()
		return err
	}
	in.small = buf
	in.inline, err = extent.AppendInline(buf.arena[n:n], in.c, buf.arena)
	return in.s.wrap("put", "", err)
}

// stream is read of a body that is not kept inline: it is hashed and encrypted while it
// is read. buf, which stream frees, has its beginning; with eof it has all of it.
func (in *ingest) stream(ctx context.Context, body io.Reader, want int64, buf *buffer, eof bool) (err error) {
	defer func() { buf.free() }() // the last one
	limit := int64(objstore.MaxFileSize)
	if want >= 0 {
		limit = want
	}
	gctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(gctx)
	// They have room for every load that has a place, so that sending never blocks.
	toEncrypt, toHash := make(chan *load, ingestAhead+1), make(chan *load, ingestAhead+1)
	places := make(chan struct{}, ingestAhead+1)
	g.Go(func() error { return in.encryptAll(gctx, cancel, toEncrypt, places) })
	g.Go(func() error { in.hashAll(toHash, places); return nil })
	for {
		if !eof {
			if _, eof, err = fill(body, buf, bigArena); err != nil {
				break
			}
		}
		in.size += int64(len(buf.arena))
		if in.size > limit {
			err = in.checkLength(want)
			break
		}
		if len(buf.arena) > 0 {
			select {
			case places <- struct{}{}:
			case <-gctx.Done():
				err = gctx.Err()
			}
			if err != nil {
				break
			}
			b := &load{buffer: buf}
			b.users.Store(2)
			toEncrypt <- b
			toHash <- b
			buf = newBuffer()
		}
		if eof {
			err = in.checkLength(want)
			break
		}
	}
	close(toEncrypt)
	close(toHash)
	if werr := g.Wait(); werr != nil {
		return werr
	}
	return err
}

// sums returns the checksums of the body that was read, if verify, which may be nil, takes
// them for right.
func (in *ingest) sums(verify func(checksum.Sums) error) (checksum.Sums, error) {
	sums := in.hasher.Sums()
	if verify == nil {
		return sums, nil
	}
	return sums, verify(sums)
}

func (in *ingest) checkLength(want int64) error {
	if want >= 0 && in.size != want {
		return objstore.E(objstore.KindMalformed, "put", "", fmt.Sprintf("body has %d bytes, %d were announced", in.size, want))
	}
	if in.size > objstore.MaxFileSize {
		return objstore.E(objstore.KindTooLarge, "put", "", "object would be over 64 TiB")
	}
	return nil
}

// fill reads until the buffer's arena has size bytes or the body ends.
func fill(body io.Reader, b *buffer, size int) (n int, eof bool, err error) {
	for len(b.arena) < size {
		if len(b.arena) == cap(b.arena) {
			big := append(*bigArenas.Get().(*[]byte), b.arena...)
			old := b.arena[:0]
			smallArenas.Put(&old)
			b.arena = big
		}
		m, err := body.Read(b.arena[len(b.arena):min(cap(b.arena), size)])
		b.arena = b.arena[:len(b.arena)+m]
		if err == io.EOF {
			return len(b.arena), true, nil
		}
		if err != nil {
			return len(b.arena), false, err
		}
	}
	return len(b.arena), false, nil
}

// load is a full buffer, or the last one of a body.
type load struct {
	*buffer
	users atomic.Int32 // those of encryptAll and hashAll that are not through
}

// done says that one user is through. The last one makes room for another load.
func (b *load) done(places <-chan struct{}) {
	if b.users.Add(-1) == 0 {
		b.free()
		<-places
	}
}

// hashAll hashes loads in order.
func (in *ingest) hashAll(work <-chan *load, places <-chan struct{}) {
	defer in.hasher.Close()
	skip := in.unhashed
	var idle <-chan time.Time // while a buffer may be kept
	for {
		select {
		case b, ok := <-work:
			if !ok {
				return
			}
			in.hasher.Lend(b.arena[skip:], func() { b.done(places) })
			skip, idle = 0, time.After(hashIdle)
		case <-idle:
			in.hasher.Flush()
			idle = nil
		}
	}
}

// encryptAll encrypts loads in order, and commits them in steps. When it fails it
// stops the reading of the body.
func (in *ingest) encryptAll(ctx context.Context, stop func(), work <-chan *load, places <-chan struct{}) error {
	off := in.base
	var failed error
	for b := range work {
		if failed == nil {
			n := int64(len(b.arena))
			if failed = in.encrypt(ctx, b.buffer, off); failed == nil && len(in.maps) >= in.s.ingestStep {
				failed = in.step(ctx)
			}
			if failed != nil {
				stop()
			}
			off += n
		}
		b.done(places)
	}
	return failed
}

// encrypt makes extents of a buffer, which may cross the end of a chunk: new
// contents have their chunks on the grid.
func (in *ingest) encrypt(ctx context.Context, b *buffer, off int64) error {
	for p := b.arena; len(p) > 0; {
		n := min(int64(len(p)), record.MaxChunk-off%record.MaxChunk, int64(in.batch.MaxPlain()))
		if in.sparse && allZero(p[:n]) {
			in.holes += n
			p, off = p[n:], off+n
			continue
		}
		piece, err := in.batch.Encrypt(ctx, p[:n])
		if err != nil {
			return in.s.wrap("put", "", err)
		}
		in.maps = append(in.maps, extent.Mapping{Off: off, Len: uint32(n), Piece: piece})
		p, off = p[n:], off+n
	}
	return nil
}

func allZero(p []byte) bool { return p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1]) }

// step commits what was encrypted so far, marked as garbage until the request
// ends well.
func (in *ingest) step(ctx context.Context) error {
	err := in.s.update(ctx, objstore.Caller{}, "put", "", func(x *tx) error {
		x.txn.Set(record.GarbageKey(in.c.Refs), []byte{1})
		if in.first != nil {
			if err := in.first(x); err != nil {
				return err
			}
		}
		return in.putMaps(x)
	})
	if err != nil {
		return err
	}
	in.marked, in.first = true, nil
	in.batch.Release()
	in.maps = in.maps[:0]
	return nil
}

func (in *ingest) putMaps(x *tx) error {
	e := x.s.extents.Edit(x.txn)
	if err := e.Map(in.c, in.maps); err != nil {
		return err
	}
	return e.Finish()
}

// finish puts the rest of the body into the request's last transaction, and
// tells the layout that came of it.
func (in *ingest) finish(x *tx) (record.Layout, error) {
	if in.first != nil {
		if err := in.first(x); err != nil {
			return 0, err
		}
	}
	switch {
	case in.size == 0 && len(in.maps) == 0:
		return record.LayoutEmpty, nil
	case in.small != nil:
		x.txn.Set(record.InlineKey(in.c.Refs), in.inline)
		return record.LayoutInline, nil
	}
	if in.marked {
		x.txn.Delete(record.GarbageKey(in.c.Refs))
	}
	return record.LayoutChunks, in.putMaps(x)
}

// newContent makes a content with an object key of its own, for a request.
func (s *Store) newContent(ctx context.Context, root objstore.InodeID, e objstore.Encryption) (record.Content, *extent.Keys, error) {
	c := record.Content{ID: newContentID(), Gen: 1}
	oek, err := s.newOEK(ctx, root, e, &c)
	return c, oek, err
}

// sealChecksum keeps a checksum with a content, sealed: a checksum of plaintext
// tells about it.
func sealChecksum(c *record.Content, oek *extent.Keys, sum objstore.Checksum) {
	c.ChecksumKey = nil
	sealChecksumUnder(c, oek.Inner, sum)
}

func sealChecksumUnder(c *record.Content, key *secret.Key, sum objstore.Checksum) {
	c.ChecksumAlgo, c.ChecksumType = sum.Algorithm, sum.Type
	c.Checksum = coffercrypto.SealBytes(key, checksumBinding(c), []byte(sum.Value))
}

// openChecksum returns a content's checksum, nil when it has none.
func openChecksum(c *record.Content, oek *extent.Keys) (*objstore.Checksum, error) {
	if len(c.Checksum) == 0 || oek == nil {
		return nil, nil
	}
	key, err := checksumKey(c, oek)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	v, err := coffercrypto.OpenBytes(key, checksumBinding(c), c.Checksum)
	if err != nil {
		return nil, fmt.Errorf("checksum: %w", err)
	}
	return &objstore.Checksum{Algorithm: c.ChecksumAlgo, Type: c.ChecksumType, Value: string(v)}, nil
}

func checksumBinding(c *record.Content) coffercrypto.Binding {
	return coffercrypto.Bind(coffercrypto.DomainChecksum, c.ID[:], []byte(c.ChecksumAlgo), []byte(c.ChecksumType))
}

// errLostRace ends a transaction that found other than what was prepared for.
var errLostRace = errors.New("engine: the source changed meanwhile")
