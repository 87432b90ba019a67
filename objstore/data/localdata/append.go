package localdata

import (
	"context"
	"errors"
	"fmt"

	"github.com/cofferfs/coffer/objstore/data"
)

// Append implements data.Store.
//
// Places are given out under turn, all of a run at once. The bytes are copied
// outside of mu and of turn, so that appenders copy side by side.
func (s *Store) Append(ctx context.Context, p []byte) (data.Location, error) {
	return s.append(ctx, len(p), false, func(g *segment) (int64, error) { return s.place(g, p) })
}

// AppendSpare implements data.Sparer.
func (s *Store) AppendSpare(ctx context.Context, p []byte) (data.Location, error) {
	return s.append(ctx, len(p), true, func(g *segment) (int64, error) { return s.place(g, p) })
}

// append adds a run of n bytes, with spare where Options.SpareBytes are used up for
// it; place puts them at the end of a segment, says where they stand and gives turn
// back.
func (s *Store) append(ctx context.Context, n int, spare bool, place func(*segment) (int64, error)) (data.Location, error) {
	if err := s.enter(); err != nil {
		return data.Location{}, err
	}
	defer s.life.RUnlock()
	if s.opt.ReadOnly {
		return data.Location{}, data.ErrReadOnly
	}
	if n > data.MaxAppend {
		return data.Location{}, fmt.Errorf("%w: %d bytes", data.ErrTooLarge, n)
	}
	if n == 0 {
		return data.Location{}, ctx.Err()
	}
	g, err := s.takeTurn(ctx, int64(n), spare)
	if err != nil {
		return data.Location{}, err
	}
	// From here on the append runs to its end.
	off, err := place(g)
	if err != nil {
		return data.Location{}, err
	}
	s.stats.appends.Add(1)
	s.stats.appendedBytes.Add(uint64(n))
	return data.Location{Segment: g.id, Offset: uint64(off), Length: uint32(n)}, nil
}

// takeTurn returns the active segment, with room for a run of n bytes, and
// leaves turn with the caller. spare is as in append.
func (s *Store) takeTurn(ctx context.Context, n int64, spare bool) (*segment, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err // select would pick either case
		}
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		g, err := s.roomFor(n, spare)
		if err == nil {
			return g, nil
		}
		<-s.turn
		if err != errTooManyUnsealed {
			return nil, err
		}
		if err := s.sync(ctx); err != nil {
			return nil, err
		}
	}
}

var errTooManyUnsealed = errors.New("too many segments wait for a barrier")

// roomFor makes sure that n bytes fit into the active segment and on the disk.
// The caller holds turn.
func (s *Store) roomFor(n int64, spare bool) (*segment, error) {
	if err := s.failure(); err != nil {
		return nil, err
	}
	if err := s.retryStuck(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	g := s.active
	var end, syncEnd int64
	if g != nil {
		end, syncEnd = g.end, g.syncEnd
	}
	staged := s.stagedLocked()
	unsealed := len(s.unsealed)
	s.mu.Unlock()
	if g != nil && (end+n <= s.opt.SegmentBytes || end == headerBytes) {
		return g, s.grant(g, room{end: end, syncEnd: syncEnd, staged: staged, spare: spare}, n)
	}
	if unsealed >= maxUnsealed {
		return nil, errTooManyUnsealed
	}
	return s.newActive(n, staged, spare)
}

// newActive makes a segment with room for n bytes and makes it the active one.
// staged and spare are as in room. The caller holds turn.
func (s *Store) newActive(n, staged int64, spare bool) (*segment, error) {
	id := newSegmentID()
	f, err := s.fs.Create(id.String())
	if err != nil {
		if isNoSpace(err) {
			return nil, fmt.Errorf("%w: %w", data.ErrNoSpace, err)
		}
		return nil, fmt.Errorf("data: create segment %v: %w", id, err)
	}
	g := &segment{id: id, h: newHandle(id, f, 0), end: headerBytes}
	if err := s.grant(g, room{end: g.end, staged: staged, spare: spare}, n); err != nil {
		g.h.release()
		if rerr := s.fs.Remove(id.String()); rerr != nil {
			s.opt.Logger.Warn("empty segment left behind", "dir", s.opt.Dir, "segment", id, "error", rerr)
		}
		return nil, err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.startWritersLocked()
	if b := s.closeFillingLocked(); b != nil {
		s.work <- b // never blocks: there are no more stages than it holds
	}
	if s.active != nil {
		s.active.rotated = true
	}
	g.end = 0
	s.active = g
	s.unsealed[id] = g
	b, err := s.takeStageLocked(g)
	if err != nil {
		// The segment stays, without a header and without a run.
		g.end = headerBytes
		g.rotated = true
		s.active = nil
		return nil, err
	}
	putHeader(b.mem, id)
	b.n = headerBytes
	g.end = headerBytes
	return g, nil
}

// place copies p to the end of g and returns where it stands. It gives turn back.
func (s *Store) place(g *segment, p []byte) (int64, error) {
	var few [2]piece
	off, pieces, err := s.reserve(g, len(p), few[:0])
	<-s.turn
	if err != nil {
		return 0, err
	}
	for _, part := range pieces {
		p = p[copy(part.mem, p):]
		s.copied(part.stage)
	}
	return off, nil
}

// piece is a part of a stage that one appender fills.
type piece struct {
	stage *stage
	mem   []byte
}

// pieceLocked gives out the next bytes of g, at most n of them. The caller holds
// turn.
func (s *Store) pieceLocked(g *segment, n int) (piece, error) {
	b := s.filling
	if b == nil {
		var err error
		if b, err = s.takeStageLocked(g); err != nil {
			return piece{}, err
		}
	}
	at := b.n
	k := min(n, len(b.mem)-at)
	b.n += k
	b.copying++
	g.end += int64(k)
	g.modified = s.opt.Now().UnixNano()
	s.appended.Add(uint64(k))
	if b.n == len(b.mem) {
		s.filling = nil
		b.complete = true
	}
	return piece{b, b.mem[at : at+k]}, nil
}
