// Package datatest holds what every driver of package data is tested with: a
// contract suite (Run), a store that fails on demand (Faults), and a directory
// that forgets what was not synced (CrashFS).
package datatest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore/data"
)

// Run checks the promises of data.Store. open returns an empty store, which
// open, or a cleanup that it registers, need not close.
func Run(t *testing.T, open func(t *testing.T) data.Store) {
	for _, c := range []struct {
		name string
		fn   func(t *testing.T, s data.Store)
	}{
		{"AppendedBytesAreReadBackBeforeAndAfterSync", testReadBack},
		{"PartsOfARunAreReadBack", testReadParts},
		{"AppendDoesNotKeepItsArgument", testArgument},
		{"AppendRefusesTooMuch", testTooLarge},
		{"EmptyRunStoresNothing", testEmpty},
		{"ReadsOutsideARunAreRefused", testOutside},
		{"UnknownSegmentIsNotFound", testNotFound},
		{"LocationBeyondASegmentIsCorrupt", testBeyond},
		{"SegmentsListsWhatHoldsRuns", testSegments},
		{"RunsBetweenBarriersFollowEachOther", testLayout},
		{"SyncWithNothingAppendedSucceeds", testIdleSync},
		{"RemoveOfAbsentSegmentIsNoError", testRemoveAbsent},
		{"RemoveOfUnsealedSegmentIsRefused", testRemoveUnsealed},
		{"ConcurrentUseKeepsEveryByte", testConcurrent},
		{"CancelledCallsAreRefusedBeforeTheyBegin", testCancelled},
		{"CloseIsIdempotentAndEndsUse", testClose},
		{"RunThatIsNotMadeIsGivenUp", testGivenUp},
		{"SealedSegmentTakesNoMoreAppends", testSeal},
		{"ConcurrentSealKeepsEveryByte", testConcurrentSeal},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { s.Close() })
			c.fn(t, s)
		})
		t.Run(c.name+"/blocks", func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { s.Close() })
			if b, ok := s.(data.BlockReader); ok {
				c.fn(t, &blocks{s, b, t})
			}
		})
		t.Run(c.name+"/filled", func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { s.Close() })
			if f, ok := s.(data.Filler); ok {
				c.fn(t, &filled{s, f})
			}
		})
	}
}

// blocks is a store that reads with ReadBlocks, into memory of all sorts.
type blocks struct {
	data.Store
	b data.BlockReader
	t *testing.T
}

func (s *blocks) ReadAt(ctx context.Context, l data.Location, p []byte, off int64) error {
	room := [...]int{0, 1, data.Block, 3 * data.Block, 1 << 20}[rand.IntN(5)]
	mem := bytes.Repeat([]byte{0xee}, 64+len(p)+room+64)
	lo := 64 - rand.IntN(64)
	hi := lo + len(p) + room
	got, err := s.b.ReadBlocks(ctx, l, mem[lo:hi], len(p), off)
	for i, c := range mem {
		if (i < lo || i >= hi) && c != 0xee {
			s.t.Errorf("read %v: byte %d beside the memory for it was changed", l, i)
			break
		}
	}
	if err != nil {
		return err
	}
	if len(got) != len(p) {
		s.t.Errorf("read %v: %d bytes of %d", l, len(got), len(p))
	}
	// That got lies in the memory that was lent is seen when that is changed.
	copy(p, got)
	clear(mem)
	if !bytes.Equal(got, make([]byte, len(got))) {
		s.t.Errorf("read %v: into other memory than was lent", l)
	}
	return nil
}

// Bytes returns n bytes that depend on seed alone. None of them is zero, so
// that they cannot be taken for padding.
func Bytes(seed uint64, n int) []byte {
	p := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	for i := 0; i < len(p); i += 8 {
		v := r.Uint64() | 0x0101010101010101
		for j := i; j < min(i+8, len(p)); j++ {
			p[j] = byte(v)
			v >>= 8
		}
	}
	return p
}

// Sizes are lengths around every boundary a driver is likely to have.
var Sizes = []int{
	1, 2, 511, 512, 513,
	data.Block - 1, data.Block, data.Block + 1, 2*data.Block + data.Block/2,
	64<<10 - 1, 64 << 10, 64<<10 + 1,
	1<<20 - data.Block, 1<<20 - 1, 1 << 20, 1<<20 + 1,
	5<<19 + 3, 4 << 20, 4<<20 + 2080,
	data.MaxAppend - 1, data.MaxAppend,
}

func mustAppend(t *testing.T, s data.Store, p []byte) data.Location {
	t.Helper()
	l, err := s.Append(t.Context(), p)
	if err != nil {
		t.Fatalf("append %d bytes: %v", len(p), err)
	}
	if int(l.Length) != len(p) {
		t.Fatalf("location %v for %d bytes", l, len(p))
	}
	return l
}

func mustSync(t *testing.T, s data.Store) {
	t.Helper()
	if err := s.Sync(t.Context()); err != nil {
		t.Fatalf("sync: %v", err)
	}
}

// Check reads a whole run and compares it.
func Check(ctx context.Context, s data.Store, l data.Location, want []byte) error {
	got := make([]byte, len(want))
	if err := s.ReadAt(ctx, l, got, 0); err != nil {
		return fmt.Errorf("read %v: %w", l, err)
	}
	if !bytes.Equal(got, want) {
		i := 0
		for got[i] == want[i] {
			i++
		}
		return fmt.Errorf("read %v: byte %d of %d is %#x, want %#x", l, i, len(want), got[i], want[i])
	}
	return nil
}

func testReadBack(t *testing.T, s data.Store) {
	type run struct {
		l data.Location
		p []byte
	}
	var runs []run
	for i, n := range Sizes {
		p := Bytes(uint64(i), n)
		r := run{mustAppend(t, s, p), p}
		if err := Check(t.Context(), s, r.l, r.p); err != nil {
			t.Fatal("before sync:", err)
		}
		if i%3 == 0 {
			mustSync(t, s)
		}
		runs = append(runs, r)
	}
	for _, r := range runs {
		if err := Check(t.Context(), s, r.l, r.p); err != nil {
			t.Fatal(err)
		}
	}
	mustSync(t, s)
	for _, r := range runs {
		if err := Check(t.Context(), s, r.l, r.p); err != nil {
			t.Fatal("after sync:", err)
		}
	}
}

func testReadParts(t *testing.T, s data.Store) {
	mustAppend(t, s, Bytes(1, 100))
	p := Bytes(2, 3<<20+77)
	l := mustAppend(t, s, p)
	r := rand.New(rand.NewPCG(1, 2))
	for _, synced := range []bool{false, true} {
		if synced {
			mustSync(t, s)
		}
		for i := range 200 {
			off := r.IntN(len(p) + 1)
			n := min(r.IntN(1<<(i%22+1)), len(p)-off)
			got := make([]byte, n)
			if err := s.ReadAt(t.Context(), l, got, int64(off)); err != nil {
				t.Fatalf("%d bytes at %d: %v", n, off, err)
			}
			if !bytes.Equal(got, p[off:off+n]) {
				t.Fatalf("%d bytes at %d differ (synced: %v)", n, off, synced)
			}
		}
	}
}

func testArgument(t *testing.T, s data.Store) {
	p := Bytes(1, 2<<20)
	want := bytes.Clone(p)
	l := mustAppend(t, s, p)
	if !bytes.Equal(p, want) {
		t.Fatal("Append changed its argument")
	}
	clear(p)
	if err := Check(t.Context(), s, l, want); err != nil {
		t.Fatal(err)
	}
}

func testTooLarge(t *testing.T, s data.Store) {
	_, err := s.Append(t.Context(), make([]byte, data.MaxAppend+1))
	if !errors.Is(err, data.ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
	mustAppend(t, s, []byte("x"))
}

func testEmpty(t *testing.T, s data.Store) {
	if l := mustAppend(t, s, nil); l != (data.Location{}) {
		t.Fatalf("location %v", l)
	}
	if err := s.ReadAt(t.Context(), data.Location{}, nil, 0); err != nil {
		t.Fatal(err)
	}
	mustSync(t, s)
	for info := range s.Segments(t.Context()) {
		t.Fatalf("segment %+v", info)
	}
}

func testOutside(t *testing.T, s data.Store) {
	l := mustAppend(t, s, Bytes(1, 100))
	mustAppend(t, s, Bytes(2, 100))
	for _, c := range []struct {
		off int64
		n   int
	}{{0, 101}, {1, 100}, {100, 1}, {101, 0}, {-1, 1}, {-1, 0}, {1 << 62, 1}} {
		if err := s.ReadAt(t.Context(), l, make([]byte, c.n), c.off); err == nil {
			t.Fatalf("read of %d bytes at %d of a run of 100 succeeded", c.n, c.off)
		}
	}
	if err := s.ReadAt(t.Context(), l, nil, 100); err != nil {
		t.Fatalf("empty read at the end: %v", err)
	}
}

func testNotFound(t *testing.T, s data.Store) {
	l := mustAppend(t, s, Bytes(1, 100))
	l.Segment[3] ^= 1
	if err := s.ReadAt(t.Context(), l, make([]byte, 1), 0); !errors.Is(err, data.ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
}

func testBeyond(t *testing.T, s data.Store) {
	l := mustAppend(t, s, Bytes(1, 100))
	for _, synced := range []bool{false, true} {
		if synced {
			mustSync(t, s)
		}
		for _, bad := range []data.Location{
			{Segment: l.Segment, Offset: l.Offset + 1<<30, Length: 100},
			{Segment: l.Segment, Offset: 1<<63 - 1, Length: 100},
			{Segment: l.Segment, Offset: 1<<64 - 50, Length: 100},
			{Segment: l.Segment, Offset: l.Offset, Length: 1<<32 - 1},
		} {
			off := max(int64(bad.Length)-100, 0)
			if err := s.ReadAt(t.Context(), bad, make([]byte, 100), off); !errors.Is(err, data.ErrCorrupt) {
				t.Fatalf("location %v: got %v, want ErrCorrupt", bad, err)
			}
		}
	}
}

func testSegments(t *testing.T, s data.Store) {
	var locations []data.Location
	for i := range 20 {
		locations = append(locations, mustAppend(t, s, Bytes(uint64(i), 10_000)))
	}
	mustSync(t, s)
	infos := make(map[data.SegmentID]data.SegmentInfo)
	for info, err := range s.Segments(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := infos[info.ID]; twice {
			t.Fatalf("segment %v is listed twice", info.ID)
		}
		infos[info.ID] = info
	}
	for _, l := range locations {
		info, ok := infos[l.Segment]
		if !ok {
			t.Fatalf("segment of %v is not listed", l)
		}
		if l.Offset < info.Start || l.Offset+uint64(l.Length) > info.Size {
			t.Fatalf("%v stands outside of %+v", l, info)
		}
		if info.Modified.IsZero() {
			t.Fatalf("no time in %+v", info)
		}
	}
	for range s.Segments(t.Context()) {
		break // an iteration may be left early
	}
}

func testLayout(t *testing.T, s data.Store) {
	ends := make(map[data.SegmentID]uint64)
	for info := range s.Segments(t.Context()) {
		t.Fatalf("not empty: %+v", info)
	}
	synced := false
	r := rand.New(rand.NewPCG(7, 7))
	for i := range 200 {
		l := mustAppend(t, s, Bytes(uint64(i), 1+r.IntN(20_000)))
		end, known := ends[l.Segment]
		if known && synced {
			end = (end + data.Block - 1) / data.Block * data.Block
		}
		if known && l.Offset != end {
			t.Fatalf("run %d stands at %d, want %d", i, l.Offset, end)
		}
		ends[l.Segment] = l.Offset + uint64(l.Length)
		synced = r.IntN(4) == 0
		if synced {
			mustSync(t, s)
		}
	}
}

func testIdleSync(t *testing.T, s data.Store) {
	mustSync(t, s)
	mustAppend(t, s, []byte("x"))
	mustSync(t, s)
	mustSync(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Sync(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func testRemoveAbsent(t *testing.T, s data.Store) {
	if err := s.Remove(t.Context(), data.SegmentID{1}); err != nil {
		t.Fatal(err)
	}
}

func testRemoveUnsealed(t *testing.T, s data.Store) {
	p := Bytes(1, 100)
	l := mustAppend(t, s, p)
	if err := s.Remove(t.Context(), l.Segment); !errors.Is(err, data.ErrNotSealed) {
		t.Fatalf("got %v, want ErrNotSealed", err)
	}
	if err := Check(t.Context(), s, l, p); err != nil {
		t.Fatal(err)
	}
}

func testConcurrent(t *testing.T, s data.Store) {
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 0))
			var locations []data.Location
			var contents [][]byte
			for i := range 40 {
				n := 1 + r.IntN(1<<(3+r.IntN(19)))
				p := Bytes(uint64(w*1000+i), n)
				l, err := s.Append(t.Context(), p)
				if err != nil {
					t.Error(err)
					return
				}
				locations, contents = append(locations, l), append(contents, p)
				if r.IntN(3) == 0 {
					if err := s.Sync(t.Context()); err != nil {
						t.Error(err)
						return
					}
				}
				k := r.IntN(len(locations))
				if err := Check(t.Context(), s, locations[k], contents[k]); err != nil {
					t.Error(err)
					return
				}
			}
			for k := range locations {
				if err := Check(t.Context(), s, locations[k], contents[k]); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func testCancelled(t *testing.T, s data.Store) {
	l := mustAppend(t, s, []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.ReadAt(ctx, l, make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Fatalf("read: %v", err)
	}
	if _, err := s.Append(ctx, []byte("y")); !errors.Is(err, context.Canceled) {
		t.Fatalf("append: %v", err)
	}
	if err := s.Remove(ctx, l.Segment); !errors.Is(err, context.Canceled) {
		t.Fatalf("remove: %v", err)
	}
	mustSync(t, s)
	if err := Check(t.Context(), s, l, []byte("x")); err != nil {
		t.Fatal(err)
	}
}

func testClose(t *testing.T, s data.Store) {
	l := mustAppend(t, s, []byte("x"))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(t.Context(), []byte("y")); !errors.Is(err, data.ErrClosed) {
		t.Fatalf("append: %v", err)
	}
	if err := s.ReadAt(t.Context(), l, make([]byte, 1), 0); !errors.Is(err, data.ErrClosed) {
		t.Fatalf("read: %v", err)
	}
	if err := s.Sync(t.Context()); !errors.Is(err, data.ErrClosed) {
		t.Fatalf("sync: %v", err)
	}
	if err := s.Remove(t.Context(), l.Segment); !errors.Is(err, data.ErrClosed) {
		t.Fatalf("remove: %v", err)
	}
	var last error
	for _, err := range s.Segments(t.Context()) {
		last = err
	}
	if !errors.Is(last, data.ErrClosed) {
		t.Fatalf("segments: %v", last)
	}
}
