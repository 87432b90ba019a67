package lanes

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
)

// closed is the next of a stream that waits for nothing else.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

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
				j := job{h: h}
				j.load()
				if got := [4]uint32{s[0][i], s[1][i], s[2][i], s[3][i]}; got != j.state {
					t.Errorf("%d blocks, lane %d: %x, want %x", n, i, got, j.state)
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
				for p := in; len(p) > 0; {
					n := min(1+r.IntN(5*minPiece), len(p))
					if r.IntN(3) == 0 {
						d.Write(p[:n])
					} else {
						next := make(chan struct{})
						go close(next)
						d.WriteBefore(next, p[:n])
					}
					p = p[n:]
					if want := md5.Sum(in[:len(in)-len(p)]); !bytes.Equal(d.Sum(nil), want[:]) {
						t.Errorf("stream %d: sum of the first %d bytes is %x, want %x", i, len(in)-len(p), d.Sum(nil), want)
					}
				}
			})
		}
		wg.Wait()
		if all.open != 0 || len(all.jobs) != 0 || all.running != 0 || all.leaders != 0 {
			t.Errorf("left behind: %d open, %d jobs, %d running, %d leaders", all.open, len(all.jobs), all.running, all.leaders)
		}
	})
}

// TestStreamWaits is the promise of WriteBefore: a piece waits as long as others may
// come, and for nothing else.
func TestStreamWaits(t *testing.T) {
	if blocks == nil {
		t.Skip("no lanes")
	}
	piece := noise(1, minPiece)
	for name, end := range map[string]func(next chan struct{}, other *Digest){
		"until next is closed":       func(next chan struct{}, _ *Digest) { close(next) },
		"until the other has one":    func(_ chan struct{}, other *Digest) { other.WriteBefore(make(chan struct{}), piece) },
		"until the other has closed": func(_ chan struct{}, other *Digest) { other.Close() },
		"until the other computes":   func(_ chan struct{}, other *Digest) { other.Write(piece) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				other, d := New(), New()
				defer other.Close()
				other.WriteBefore(closed, piece)
				next := make(chan struct{})
				done := false
				go func() {
					d.WriteBefore(next, piece)
					done = true
				}()
				synctest.Wait()
				if done {
					t.Error("the piece did not wait")
				}
				end(next, other)
				synctest.Wait()
				if !done {
					t.Fatal("the piece still waits")
				}
				d.Close()
				if want := md5.Sum(piece); !bytes.Equal(d.Sum(nil), want[:]) {
					t.Error("wrong sum")
				}
			})
		})
	}
}

func TestStreamAloneDoesNotWait(t *testing.T) {
	d := New()
	defer d.Close()
	d.WriteBefore(make(chan struct{}), noise(1, minPiece)) // hangs if it waits
}

// The state that is put into crypto/md5 counts what the lanes have added: the sum
// depends on it, beyond 4 GiB too.
func TestLengthIsKept(t *testing.T) {
	h := md5.New()
	j := job{h: h}
	j.load()
	j.added = 1<<33 + 64
	j.store()
	j.load()
	if n := binary.BigEndian.Uint64(j.saved[savedSize-8:]); n != 1<<33+64 {
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
