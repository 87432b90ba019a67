package lanes

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func noise(seed uint64, n int) []byte {
	p := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(p)
	return p
}

// forAll calls f with each code for the lanes that this machine can run, and with none.
func forAll(t *testing.T, f func(t *testing.T)) {
	best := blocks
	defer func() { blocks = best }()
	for _, k := range kernels() {
		blocks = k.blocks
		t.Run(k.name, f)
	}
}

func TestEachLaneIsItsOwnMD5(t *testing.T) {
	forAll(t, func(t *testing.T) {
		if blocks == nil {
			t.Skip("no lanes")
		}
		for _, n := range []int{1, 2, 33} {
			var s states
			var p [width]*byte
			var in [width][]byte
			for i := range in {
				in[i] = noise(uint64(100*n+i), 64*n)
				p[i] = &in[i][0]
				for k := range s {
					s[k][i] = initial[k]
				}
			}
			blocks(&s, &p, n)
			for i := range in {
				h := md5.New()
				h.Write(in[i])
				want := stream{h: h}
				want.get()
				if got := [4]uint32{s[0][i], s[1][i], s[2][i], s[3][i]}; got != want.state {
					t.Errorf("%d blocks, lane %d: %x, want %x", n, i, got, want.state)
				}
			}
		}
	})
}

// Streams of all lengths, written in pieces of all lengths, in both ways.
func TestStreamsSideBySideHaveTheSumsOfMD5(t *testing.T) {
	forAll(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for i := range 3*width + 1 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 7))
				in := noise(uint64(i), []int{0, 1, 63, 64, minPiece - 1, minPiece, minPiece + 65, 10*step + 5}[i%8]+r.IntN(3)*minPiece)
				d := New()
				defer d.Close()
				var lent atomic.Int32
				for p := in; len(p) > 0; {
					n := min(1+r.IntN(5*minPiece), len(p))
					if r.IntN(3) > 0 {
						n = min((n+63)&^63, len(p))
					}
					if r.IntN(3) == 0 {
						d.Write(p[:n])
					} else {
						lent.Add(1)
						d.Lend(p[:n], func() { lent.Add(-1) })
					}
					p = p[n:]
					if r.IntN(4) > 0 && len(p) > 0 {
						continue
					}
					if want := md5.Sum(in[:len(in)-len(p)]); !bytes.Equal(d.Sum(nil), want[:]) {
						t.Errorf("stream %d: sum of the first %d bytes is %x, want %x", i, len(in)-len(p), d.Sum(nil), want)
					}
					if lent.Load() != 0 {
						t.Errorf("stream %d: %d pieces were not given back", i, lent.Load())
					}
				}
			})
		}
		wg.Wait()
		if all.open != 0 || len(all.streams) != 0 || all.running != 0 || all.leaders != 0 {
			t.Errorf("left behind: %d open, %d streams, %d running, %d leaders", all.open, len(all.streams), all.running, all.leaders)
		}
	})
}

// TestStreamKeepsPiecesForOthers is the promise of Lend: what a stream has kept back is
// computed with what others have, at the latest when it is asked for.
func TestStreamKeepsPiecesForOthers(t *testing.T) {
	if blocks == nil {
		t.Skip("no lanes")
	}
	p := noise(1, minPiece)
	a, b := New(), New()
	defer a.Close()
	defer b.Close()
	lent := map[string]int{}
	lend := func(d *Digest, name string) {
		lent[name]++
		d.Lend(p, func() { lent[name]-- })
	}
	lend(a, "a") // which is alone
	b.Lend(nil, func() {})
	for range keep {
		lend(a, "a")
		lend(b, "b")
	}
	if lent["a"] != keep || lent["b"] != keep {
		t.Errorf("kept back %v, want %d each", lent, keep)
	}
	lend(b, "b")
	if lent["a"] != keep-1 || lent["b"] != keep {
		t.Errorf("with one piece too many %v are kept back, want one of a and two of b", lent)
	}
	b.Flush()
	if lent["a"] != 0 || lent["b"] != 0 {
		t.Errorf("when b was flushed %v are left", lent)
	}
	lend(a, "a")
	b.Close()
	if lent["a"] != 1 {
		t.Errorf("%v are kept back", lent)
	}
	for name, d := range map[string]*Digest{"a": a, "b": b} {
		h := md5.New()
		for range keep + 1 {
			h.Write(p)
		}
		if name == "a" {
			h.Write(p)
		}
		if !bytes.Equal(d.Sum(nil), h.Sum(nil)) {
			t.Errorf("wrong sum of %s", name)
		}
	}
}

// The state that is put into crypto/md5 counts what the lanes have added: the sum
// depends on it, beyond 4 GiB too.
func TestLengthIsKept(t *testing.T) {
	s := stream{h: md5.New()}
	s.get()
	s.added = 1<<33 + 64
	s.put()
	s.get()
	if n := binary.BigEndian.Uint64(s.saved[savedSize-8:]); n != 1<<33+64 {
		t.Errorf("length %d", n)
	}
}

func BenchmarkLanes(b *testing.B) {
	for _, k := range kernels() {
		if k.blocks == nil {
			continue
		}
		b.Run(k.name, func(b *testing.B) {
			var s states
			var p [width]*byte
			for i := range p {
				p[i] = &noise(uint64(i), step)[0]
			}
			b.SetBytes(width * step)
			for b.Loop() {
				k.blocks(&s, &p, step/64)
			}
		})
	}
	for _, n := range []int{1, 2, 4, 8} {
		b.Run(fmt.Sprintf("streams=%d", n), func(b *testing.B) {
			in := noise(1, 4<<20)
			b.SetBytes(int64(n * len(in)))
			for b.Loop() {
				var wg sync.WaitGroup
				for range n {
					wg.Go(func() { New().Write(in) })
				}
				wg.Wait()
			}
		})
	}
	b.Run("crypto-md5", func(b *testing.B) {
		h, in := md5.New(), noise(1, step)
		b.SetBytes(step)
		for b.Loop() {
			h.Write(in)
		}
	})
}
