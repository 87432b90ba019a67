package extent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/localdata"
	"github.com/cofferfs/coffer/objstore/record"
)

// sameInPieces reads a span step by step and compares it with what it holds.
func (m *model) sameInPieces(sp *Span, want []byte) error {
	max := packagePlain + rand.IntN(3*packagePlain)
	for off := int64(0); off < sp.Len; {
		n := sp.Step(off, max)
		if n < 1 || n > max {
			return fmt.Errorf("step of %d at %d, max %d", n, off, max)
		}
		if off > 0 && n > 0 && !sp.Hole() && (int64(sp.off)+off)%packagePlain != 0 {
			return fmt.Errorf("a step begins at %d, within a package", int64(sp.off)+off)
		}
		buf := make([]byte, PiecesRoom(n))
		list, err := m.s.ReadPieces(bg, sp, off, n, buf, [][]byte{nil})
		if err != nil {
			return err
		}
		if got := bytes.Join(list, nil); !bytes.Equal(got, want[off:off+int64(n)]) {
			return fmt.Errorf("%d bytes in %d pieces differ from what they are", len(got), len(list)-1)
		}
		off += int64(n)
	}
	return nil
}

// flipping is a data store that changes one bit of what it reads.
type flipping struct {
	*localdata.Store
	at int // into the bytes read; negative: none
}

func (f *flipping) ReadBlocks(ctx context.Context, l data.Location, buf []byte, n int, off int64) ([]byte, error) {
	got, err := f.Store.ReadBlocks(ctx, l, buf, n, off)
	if err == nil && f.at >= 0 {
		got[f.at] ^= 1
	}
	return got, err
}

func TestPiecesOfAlteredDataHoldNoPlaintext(t *testing.T) {
	for _, two := range []bool{false, true} {
		t.Run(fmt.Sprintf("two layers: %v", two), func(t *testing.T) { testPiecesOfAlteredData(t, two) })
	}
}

func testPiecesOfAlteredData(t *testing.T, two bool) {
	d, err := localdata.Open(bg, localdata.Options{Dir: t.TempDir(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f := &flipping{d, -1}
	s := New(f)
	b := s.NewBatchOf(two)
	defer b.Release()
	plain := bytes.Repeat([]byte("plain"), 60_000)
	p, err := b.Encrypt(bg, plain)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Sync(bg); err != nil {
		t.Fatal(err)
	}
	sp := &Span{Off: 100, Len: int64(len(plain)), id: p.id, key: p.key, x: &record.Extent{
		PlainLen: p.size, Suite: byte(p.key.suite()), Base: p.base, OuterBase: p.outerBase, Runs: []record.Run{p.run()},
	}}
	buf := make([]byte, PiecesRoom(len(plain)))
	for _, at := range []int{-1, 0, 20, packageStored, 3*packageStored + 16, int(crypto.EncryptedSize(crypto.PlainSize(len(plain)))) - 1} {
		f.at = at
		list, err := s.ReadPieces(bg, sp, 0, len(plain), buf, nil)
		if at < 0 {
			if err != nil || !bytes.Equal(bytes.Join(list, nil), plain) {
				t.Fatalf("unaltered: %v", err)
			}
			continue
		}
		if !errors.Is(err, crypto.ErrCorrupt) || list != nil {
			t.Fatalf("byte %d: %d pieces, %v", at, len(list), err)
		}
		if bytes.Contains(buf, []byte("plainplain")) {
			t.Fatalf("byte %d: plaintext is left", at)
		}
	}
	f.at = -1
	for _, c := range []struct {
		off     int64
		n, room int
	}{{-1, 1, 1}, {0, len(plain) + 1, len(plain) + 1}, {int64(len(plain)), 1, 1}, {0, 10, 9 - 2*packageStored}} {
		if _, err := s.ReadPieces(bg, sp, c.off, c.n, make([]byte, PiecesRoom(max(c.room, 0))+min(c.room, 0)), nil); err == nil {
			t.Errorf("%d bytes at %d: no error", c.n, c.off)
		}
	}
	if list, err := s.ReadPieces(bg, sp, 5, 0, buf, nil); err != nil || len(list) != 0 {
		t.Errorf("nothing: %v, %v", list, err)
	}
}
