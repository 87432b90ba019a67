package engine

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestBufferHoldsTheNewestBytes compares a buffer with a map of bytes.
func TestBufferHoldsTheNewestBytes(t *testing.T) {
	checks(t, 20)
	rapid.Check(t, func(t *rapid.T) {
		b := newBuffer()
		defer func() { b.free() }()
		model := make([]int16, 3000+3*smallArena+3*100) // 0: nothing, otherwise byte + 1
		held := int64(0)
		store := func(at int64, p []byte, over bool) {
			for i, c := range p {
				m := &model[at+int64(i)]
				if *m == 0 {
					held++
				}
				if *m == 0 || over {
					*m = int16(c) + 1
				}
			}
		}
		next := byte(0)
		fill := func(n int) []byte {
			p := make([]byte, n)
			for i := range p {
				next++
				p[i] = next
			}
			return p
		}
		// Few places, so that ranges meet; sometimes enough bytes to grow.
		off := func() int64 {
			return int64(rapid.IntRange(0, 60).Draw(t, "off")) + 1000*int64(rapid.IntRange(0, 2).Draw(t, "far"))
		}
		length := func() int {
			return rapid.SampledFrom([]int{0, 1, 2, 5, 10, 25, 25, smallArena, 3 * smallArena}).Draw(t, "length")
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(*rapid.T) {
				at, p := off(), fill(length())
				if len(p) > b.room() {
					return
				}
				b.put(p, at)
				store(at, p, true)
			},
			"put next": func(*rapid.T) { // as sequential writes do
				at, p := int64(0), fill(length()%100)
				if n := len(b.ents); n > 0 {
					at = b.ents[n-1].end()
				}
				if len(p) > b.room() || at+100 > int64(len(model)) {
					return
				}
				b.put(p, at)
				store(at, p, true)
			},
			"put under": func(*rapid.T) {
				at, p := off(), fill(length())
				if len(p) > b.room() {
					return
				}
				b.putUnder(p, at)
				store(at, p, false)
			},
			"compact": func(*rapid.T) { b.compact() },
			"": func(*rapid.T) {
				last, live := int64(-1), int64(0)
				for _, d := range b.ents {
					if d.len <= 0 || d.off < last || int(d.pos+d.len) > len(b.arena) {
						t.Fatalf("range %+v behind %d", d, last)
					}
					last = d.end()
					live += int64(d.len)
					for i, c := range b.bytes(d) {
						if model[d.off+int64(i)] != int16(c)+1 {
							t.Fatalf("byte %d is %d, want %d", d.off+int64(i), c, model[d.off+int64(i)]-1)
						}
					}
				}
				if live != held || live != b.live() {
					t.Fatalf("%d live bytes, want %d", b.live(), held)
				}
				at, n := off(), int64(rapid.IntRange(1, 80).Draw(t, "window"))
				got, want := bytes.Repeat([]byte{0xee}, int(n)), bytes.Repeat([]byte{0xee}, int(n))
				some := false
				for i := range want {
					if c := model[at+int64(i)]; c != 0 {
						want[i], some = byte(c-1), true
					}
				}
				b.overlay(got, at)
				if !bytes.Equal(got, want) || b.overlaps(at, n) != some {
					t.Fatalf("at %d: %v, want %v; overlaps %v, want %v", at, got, want, b.overlaps(at, n), some)
				}
			},
		})
	})
}
