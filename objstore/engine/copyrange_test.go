package engine

import (
	"context"
	"fmt"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"pgregory.net/rapid"
)

// copyRange copies a part of a file to the end of another, as cp does, or tries to.
func (c *contentModel) copyRange() {
	to, ok := c.file()
	if !ok {
		return
	}
	from, _ := c.file()
	src, off := c.offset(), to.m.size
	if rapid.Bool().Draw(c.t, "from the start") {
		src = 0
	}
	if rapid.IntRange(0, 9).Draw(c.t, "elsewhere") == 0 {
		off = c.offset()
	}
	c.takeRange(to, off, from, src, rapid.SampledFrom([]int64{1 << 20, 5<<20 + 1, 64 << 20, 70<<20 - 1, 1 << 62}).Draw(c.t, "length"))
}

func (c *contentModel) takeRange(to modelFile, off int64, from modelFile, src, length int64) {
	want := from.m.clone()
	n, err := to.f.CopyRange(bg, off, from.f, src, length)
	if objstore.IsKind(err, objstore.KindNotSupported) {
		return
	}
	c.must("copy range", err)
	if n > min(max(want.size-src, 0), length) || n == 0 && src < want.size {
		c.t.Fatalf("%d bytes taken of %d at %d", n, want.size, src)
	}
	if n == 0 {
		return
	}
	c.ranges++
	for _, d := range want.data() {
		if lo, hi := max(d[0], src), min(d[1], src+n); lo < hi {
			to.m.put(want.read(lo, int(hi-lo)), off+lo-src)
		}
	}
	to.m.size = max(to.m.size, off+n)
}

// copyAll copies a file to another one that is empty, or adds it to what there is.
func (c *contentModel) copyAll() {
	to, ok := c.file()
	from, _ := c.file()
	if !ok || to.m == from.m {
		return
	}
	if rapid.Bool().Draw(c.t, "anew") {
		c.must("truncate", to.f.Truncate(bg, 0))
		to.m.truncate(0)
	}
	if from.m.size < minCopyRange {
		c.seed++
		p := bytesOf(c.seed, minCopyRange+rapid.IntRange(0, 100_000).Draw(c.t, "more"))
		_, err := from.f.WriteAt(bg, p, 0)
		c.must("write", err)
		from.m.put(p, 0)
	}
	src := int64(rapid.SampledFrom([]int{0, 0, 1, 70_000}).Draw(c.t, "from"))
	c.takeRange(to, to.m.size, from, src, from.m.size)
}

// edit changes bytes of a file where it has some, or a little behind its end.
func (c *contentModel) edit() {
	f, ok := c.file()
	if !ok {
		return
	}
	c.seed++
	p := bytesOf(c.seed, rapid.SampledFrom([]int{1, 5000, 300_000}).Draw(c.t, "length"))
	off := rapid.Int64Range(0, f.m.size+10_000).Draw(c.t, "off")
	_, err := f.f.WriteAt(bg, p, off)
	c.must("write", err)
	f.m.put(p, off)
}

// resize cuts a file somewhere, or makes it longer.
func (c *contentModel) resize() {
	if f, ok := c.file(); ok {
		size := rapid.SampledFrom([]int64{f.m.size / 2, f.m.size - 1, f.m.size + 1, f.m.size + 3<<20, min(f.m.size, 64<<20), 64<<20 + 100}).Draw(c.t, "size")
		size = max(size, 0)
		c.must("truncate", f.f.Truncate(bg, size))
		f.m.truncate(size)
	}
}

func TestCopiedRangesAreWhatTheyWereCopiedFrom(t *testing.T) {
	checks(t, 8)
	ranges := 0
	rapid.Check(t, func(t *rapid.T) {
		c := &contentModel{t: t, names: make(map[string]*sparse)}
		segment := rapid.SampledFrom([]int64{1 << 20, 16 << 20}).Draw(t, "segment")
		c.k, c.root = newStack(t, func(k *stack) { k.segment = segment })
		mode := rapid.SampledFrom([]objstore.SSEMode{objstore.SSENone, objstore.SSEKMS, objstore.SSEDSSE}).Draw(t, "encryption")
		c.must("encryption", c.k.s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: mode}))
		if rapid.IntRange(0, 2).Draw(t, "versions") == 0 {
			c.must("versions", c.k.s.SetBucketVersioning(bg, s3C, "bucket", objstore.VersioningEnabled))
			c.versions = true
		}
		ops := map[string]func(){
			"open": c.open, "close": c.closeFile, "edit": c.edit, "edit 2": c.edit, "resize": c.resize, "scatter": c.scatter,
			"range": c.copyRange, "all": c.copyAll, "all 2": c.copyAll, "all 3": c.copyAll, "flush": c.flush, "read": c.read,
			"unlink": c.unlink, "copy": c.copyObject, "append": c.appendObject, "housekeeping": c.housekeeping, "seek": c.seek,
			"check": func() { c.check(true) },
		}
		actions := make(map[string]func(*rapid.T))
		for name, op := range ops {
			actions[name] = func(t *rapid.T) { c.t = t; op() }
		}
		actions[""] = func(t *rapid.T) { c.t = t; c.check(false) }
		c.open()
		c.open()
		t.Repeat(actions)
		c.t = t
		c.finish()
		ranges += c.ranges
	})
	t.Logf("%d ranges were shared", ranges)
}

// rangeOf makes a file of n bytes and opens it.
func rangeOf(t *testing.T, k *stack, root objstore.InodeID, name string, seed uint64, n int) (*File, *sparse) {
	t.Helper()
	f, m := fileAt(t, k.s, root, name), newSparse()
	t.Cleanup(func() { f.Close(bg) })
	if n > 0 {
		p := bytesOf(seed, n)
		mustWrite(t, f, p, 0)
		m.put(p, 0)
	}
	return f, m
}

// has fails the test unless a file holds what the model does.
func (m *sparse) has(t *testing.T, f *File) {
	t.Helper()
	a, err := f.n.s.GetAttr(bg, f.Inode())
	if err == nil {
		err = m.diff(a.Size, func(off int64, n int) ([]byte, error) {
			p := make([]byte, n)
			n, err := f.ReadAt(bg, p, off)
			return p[:n], err
		})
	}
	if err != nil {
		t.Error(err)
	}
}

func TestCopyRangeSharesChunks(t *testing.T) {
	k, root := newStack(t, nil)
	from, m := rangeOf(t, k, root, "from", 1, 9<<20)
	to, _ := rangeOf(t, k, root, "to", 0, 0)
	const off, n = 70_001, 8 << 20
	want := newSparse()
	want.put(m.read(off, n), 0)
	if got, err := to.CopyRange(bg, 0, from, off, n); err != nil || got != n {
		t.Fatal(got, err)
	}
	want.has(t, to)
	countRecords(t, k.s, map[byte]int{'k': 1})
	// The end of one follows that of another, and each goes its own way.
	want.put(m.read(0, 9<<20), n)
	if got, err := to.CopyRange(bg, n, from, 0, 1<<40); err != nil || got != 9<<20 {
		t.Fatal(got, err)
	}
	for i, f := range []*File{from, to} {
		p := bytesOf(uint64(7+i), 1000)
		mustWrite(t, f, p, 5<<20)
		[]*sparse{m, want}[i].put(p, 5<<20)
	}
	m.has(t, from)
	want.has(t, to)
	if got, err := to.CopyRange(bg, want.size, from, m.size, 1<<20); err != nil || got != 0 {
		t.Errorf("behind the end: %d, %v", got, err)
	}
	if err := k.s.Sync(bg); err != nil {
		t.Error(err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// TestCopyRangeLeavesToOthersWhatItCannotShare: and nothing is changed then.
func TestCopyRangeLeavesToOthersWhatItCannotShare(t *testing.T) {
	k, root := newStack(t, nil)
	from, m := rangeOf(t, k, root, "from", 1, 3<<20)
	full, was := rangeOf(t, k, root, "full", 2, 3<<20)
	small, tiny := rangeOf(t, k, root, "small", 3, 100)
	pieces, _ := rangeOf(t, k, root, "pieces", 4, 0)
	for i := range int64(200) {
		mustWrite(t, pieces, []byte("piece"), i*10_000)
	}
	for what, try := range map[string]func() (int64, error){
		"the same file":    func() (int64, error) { return from.CopyRange(bg, 3<<20, from, 0, 2<<20) },
		"before the end":   func() (int64, error) { return full.CopyRange(bg, 1<<20, from, 0, 2<<20) },
		"behind the end":   func() (int64, error) { return full.CopyRange(bg, 4<<20, from, 0, 2<<20) },
		"little":           func() (int64, error) { return full.CopyRange(bg, 3<<20, from, 0, 1000) },
		"little is left":   func() (int64, error) { return full.CopyRange(bg, 3<<20, from, 3<<20-1000, 2<<20) },
		"of a small file":  func() (int64, error) { return full.CopyRange(bg, 3<<20, small, 0, 2<<20) },
		"to a small file":  func() (int64, error) { return small.CopyRange(bg, 100, from, 0, 2<<20) },
		"of a lot of bits": func() (int64, error) { return full.CopyRange(bg, 3<<20, pieces, 0, 2<<20) },
	} {
		if n, err := try(); n != 0 || !objstore.IsKind(err, objstore.KindNotSupported) {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
	if _, err := full.CopyRange(bg, -1, from, 0, 2<<20); !objstore.IsKind(err, objstore.KindInvalidArgument) {
		t.Errorf("at -1: %v", err)
	}
	m.has(t, from)
	was.has(t, full)
	tiny.has(t, small)
	if err := k.s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: objstore.SSEDSSE}); err != nil {
		t.Fatal(err)
	}
	two, none := rangeOf(t, k, root, "two layers", 0, 0)
	if n, err := two.CopyRange(bg, 0, from, 0, 2<<20); n != 0 || !objstore.IsKind(err, objstore.KindNotSupported) {
		t.Errorf("two layers: %d, %v", n, err)
	}
	none.put(bytesOf(9, 100), 0)
	mustWrite(t, two, bytesOf(9, 100), 0)
	if err := two.Sync(bg); err != nil {
		t.Error(err)
	}
	none.has(t, two)
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// TestCopyRangeOverWhatWasCutOff: a chunk that begins where the file was cut is left
// with nothing in it.
func TestCopyRangeOverWhatWasCutOff(t *testing.T) {
	k, root := newStack(t, nil)
	from, m := rangeOf(t, k, root, "from", 1, 3<<20)
	to, want := rangeOf(t, k, root, "to", 2, 2<<20)
	mustWrite(t, to, bytesOf(3, 5000), 64<<20)
	for _, size := range []int64{64 << 20, 1 << 20} {
		if err := to.Flush(bg); err != nil {
			t.Fatal(err)
		}
		if err := to.Truncate(bg, size); err != nil {
			t.Fatal(err)
		}
		want.truncate(size)
		want.put(m.read(0, 3<<20), size)
		if n, err := to.CopyRange(bg, size, from, 0, 3<<20); err != nil || n != 3<<20 {
			t.Fatal(n, err)
		}
		want.has(t, to)
		if err := k.s.reapGarbage(bg); err != nil {
			t.Error(err)
		}
		if err := checkStore(k.s); err != nil {
			t.Error(err)
		}
	}
}

// TestCopyRangeKeepsVersions: what is added to belongs to a version, as with a write;
// and a file that lost its name can still be copied from.
func TestCopyRangeKeepsVersions(t *testing.T) {
	k, root := newStack(t, nil)
	old := bytesOf(1, 2<<20)
	put(t, k.s, "to", old)
	if err := k.s.SetBucketVersioning(bg, s3C, "bucket", objstore.VersioningEnabled); err != nil {
		t.Fatal(err)
	}
	from, m := rangeOf(t, k, root, "from", 2, 3<<20)
	if err := from.Flush(bg); err != nil {
		t.Fatal(err)
	}
	if err := k.s.Unlink(bg, mountC, root, "from"); err != nil {
		t.Fatal(err)
	}
	to, want := rangeOf(t, k, root, "to", 0, 0)
	want.put(old, 0)
	want.put(m.read(0, 3<<20), 2<<20)
	if n, err := to.CopyRange(bg, 2<<20, from, 0, 3<<20); err != nil || n != 3<<20 {
		t.Fatal(n, err)
	}
	want.has(t, to)
	if err := to.Flush(bg); err != nil {
		t.Error(err)
	}
	got, _, err := get(k.s, objstore.GetRequest{Key: "to", Version: objstore.NullVersion})
	if err != nil || string(got) != string(old) {
		t.Errorf("the version from before has %d bytes, %v", len(got), err)
	}
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// addRange adds a part of a file that does not change meanwhile to the end of
// another, which is open.
func (c *shareClient) addRange(name string, to *File) error {
	s := c.r.k.s
	from := shareBases[c.rnd.IntN(len(shareBases))]
	src := c.r.had(from)[0]
	if own := c.names[c.rnd.IntN(len(c.names))]; own != name && c.now[own] != nil && c.rnd.IntN(2) == 0 {
		from, src = own, c.now[own]
	}
	was := c.now[name]
	off := min(c.offset(), src.size)
	if was.size > 300<<20 || src.size-off < minCopyRange {
		return nil
	}
	_, f, err := s.Create(bg, mountC, c.r.root, from, 0o644, objstore.OpenFlags{Read: true}, false)
	if err != nil {
		if allowed(err) {
			return nil
		}
		return err
	}
	defer f.Close(bg)
	want := was.clone()
	for _, d := range src.data() {
		if lo := max(d[0], off); lo < d[1] {
			want.put(src.read(lo, int(d[1]-lo)), was.size+lo-off)
		}
	}
	want.size = was.size + src.size - off
	return c.change("range", name, want, func(ctx context.Context) error {
		n, err := to.CopyRange(ctx, was.size, f, off, src.size)
		if objstore.IsKind(err, objstore.KindNotSupported) {
			return errFault // nothing has happened
		}
		if err == nil && n != src.size-off {
			return fmt.Errorf("%d bytes of %d taken", n, src.size-off)
		}
		return err
	})
}
