package extent

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	coffercrypto "github.com/cofferfs/coffer/crypto"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data/localdata"
	"github.com/cofferfs/coffer/objstore/record"
)

// The largest extent of two layers is stored as whole packages that a record can
// count, and one byte more is refused.
func TestExtentsOfTwoLayersHaveABound(t *testing.T) {
	d, err := localdata.Open(bg, localdata.Options{Dir: t.TempDir(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s := New(d)
	b := s.NewBatchOf(true)
	defer b.Release()
	plain := bytes.Repeat([]byte("0123456789abcdef"), (MaxPlain(true)+16)/16)
	for _, n := range []int{1, packagePlain - 1, packagePlain, packagePlain + 1, 2 * packagePlain, MaxPlain(true) - 1, MaxPlain(true)} {
		p, err := b.Encrypt(bg, plain[:n])
		if err != nil {
			t.Fatal(n, err)
		}
		if err := d.Sync(bg); err != nil {
			t.Fatal(err)
		}
		x := &record.Extent{PlainLen: p.size, Suite: byte(p.key.suite()), Base: p.base, OuterBase: p.outerBase, Runs: []record.Run{p.run()}}
		if _, err := record.ParseExtent(x.Append(nil)); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		sp := &Span{Len: int64(n), id: p.id, key: p.key, x: x}
		for _, at := range []int{0, n / 3, max(n-packagePlain-5, 0), n - 1} {
			for _, size := range []int{1, min(packagePlain, n-at), n - at} {
				got := make([]byte, size)
				if err := s.ReadPart(bg, sp, int64(at), got); err != nil || !bytes.Equal(got, plain[at:at+size]) {
					t.Errorf("%d bytes at %d of %d: %v", size, at, n, err)
				}
				list, err := s.ReadPieces(bg, sp, int64(at), size, make([]byte, PiecesRoom(size)), nil)
				if err != nil || !bytes.Equal(bytes.Join(list, nil), plain[at:at+size]) {
					t.Errorf("pieces of %d bytes at %d of %d: %v", size, at, n, err)
				}
			}
		}
	}
	if _, err := b.Encrypt(bg, plain[:MaxPlain(true)+1]); !errors.Is(err, coffercrypto.ErrSize) {
		t.Error(err)
	}
}

// What is stored opens under neither layer's keys alone, and the layers' keys are
// not each other's.
func TestLayersAreIndependent(t *testing.T) {
	oek := newKeys(true)
	c := Of(objstore.ContentID{1}, oek)
	plain := bytes.Repeat([]byte("plain"), 1000)
	n, err := SealInline(c, plain)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenInline(nil, c, n); err != nil || !bytes.Equal(got, plain) {
		t.Fatal(err)
	}
	for i, k := range []*Keys{
		{oek.Outer, oek.Inner}, {oek.Inner, oek.Inner}, {oek.Outer, oek.Outer},
		{oek.Inner, secret.Random()}, {secret.Random(), oek.Outer}, One(oek.Inner), One(oek.Outer),
	} {
		if got, err := OpenInline(nil, Of(c.Refs, k), n); err == nil {
			t.Errorf("keys %d open it: %d bytes", i, len(got))
		}
	}
	for i, change := range []func(*record.Inline){
		func(n *record.Inline) { n.Sealed, n.Outer = n.Outer, n.Sealed },
		func(n *record.Inline) { n.Base, n.OuterBase = n.OuterBase, n.Base },
		func(n *record.Inline) { n.Suite = byte(coffercrypto.SuiteDARE20) },
		func(n *record.Inline) { n.Outer = nil },
		func(n *record.Inline) { n.PlainLen-- },
		func(n *record.Inline) { n.OuterBase[3] ^= 1 },
		func(n *record.Inline) { n.Stream = bytes.Clone(n.Stream); n.Stream[100] ^= 1 },
		func(n *record.Inline) { n.Stream = n.Stream[:len(n.Stream)-1] },
	} {
		dup := *n
		change(&dup)
		if _, err := OpenInline(nil, c, &dup); err == nil {
			t.Error(fmt.Sprint("change ", i, " is not noticed"))
		}
	}
	one := Of(objstore.ContentID{2}, newKeys(false))
	if _, err := (&Edit{}).Share(one, 0, c, 0, 1, 1); err == nil {
		t.Error("contents of other layers shared a chunk")
	}
}
