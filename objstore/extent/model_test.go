package extent

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/data/localdata"
	"github.com/cofferfs/coffer/objstore/extent/extenttest"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/meta/metatest"
	"github.com/cofferfs/coffer/objstore/record"
	"pgregory.net/rapid"
)

var (
	bg   = context.Background()
	long = os.Getenv("COFFER_LONG") != ""
)

// checks sets how many random histories a property is tried on.
func checks(t *testing.T, n int) {
	if long {
		return
	}
	f := flag.Lookup("rapid.checks")
	was := f.Value.String()
	if was != f.DefValue {
		return // asked for
	}
	_ = f.Value.Set(fmt.Sprint(n))
	t.Cleanup(func() { _ = f.Value.Set(was) })
}

// model runs edits on a few contents beside plain bytes.
type model struct {
	t     *rapid.T
	two   bool // layers of encryption
	disk  *datatest.CrashFS
	d     *localdata.Store
	kv    *metatest.Model
	s     *Store
	all   []*content
	trash []objstore.ContentID
	seed  uint64
}

func (m *model) must(what string, err error) {
	if err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
}

func (m *model) openData() {
	d, err := localdata.Open(bg, localdata.Options{Dir: "/d", FS: m.disk, SegmentBytes: 1 << 20})
	m.must("open data", err)
	m.d, m.s = d, New(d)
}

func (m *model) fresh() *content {
	c := &content{c: Of(newID(), newKeys(m.two)), bytes: make(map[int64][]byte)}
	m.all = append(m.all, c)
	return c
}

func (m *model) pick() *content {
	var list []*content
	for _, c := range m.all {
		if !c.fixed {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		return m.fresh()
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(m.t, "content")]
}

// edit runs a transaction; some of them fail or run twice, as a driver may have it.
func (m *model) edit(fn func(e *Edit) error) {
	again := rapid.IntRange(0, 4).Draw(m.t, "again") == 0
	if again {
		failed := errors.New("again")
		err := m.kv.Update(bg, func(t meta.Txn) error {
			e := m.s.Edit(t)
			if err := fn(e); err != nil {
				return err
			}
			if err := e.Finish(); err != nil {
				return err
			}
			return failed
		})
		if err != failed {
			m.must("edit that is undone", err)
		}
	}
	m.must("edit", m.kv.Update(bg, func(t meta.Txn) error {
		e := m.s.Edit(t)
		if err := fn(e); err != nil {
			return err
		}
		return e.Finish()
	}))
}

func (m *model) view(fn func(meta.Reader) error) error { return m.kv.View(bg, fn) }

func (m *model) offset() int64 {
	return rapid.SampledFrom([]int64{0, 1, 4096, 64 << 10, 64<<10 + 1, 130_000, 64<<20 - 70_000, 64<<20 - 1, 64 << 20, 64<<20 + 5, 128<<20 - 10, 200 << 20}).Draw(m.t, "offset") +
		int64(rapid.IntRange(0, 3).Draw(m.t, "near"))*int64(rapid.IntRange(0, 40_000).Draw(m.t, "by"))
}

func (m *model) length() int {
	return rapid.SampledFrom([]int{1, 100, 4096, 64 << 10, 64<<10 + 1, 150_000, 300_000}).Draw(m.t, "length")
}

// write maps one or more pieces, in ranges that ascend.
func (m *model) write() { m.writeTo(m.pick()) }

func (m *model) writeTo(c *content) {
	batch := m.s.NewBatchOf(m.two)
	defer batch.Release()
	var maps []Mapping
	off := m.offset()
	for range rapid.IntRange(1, 4).Draw(m.t, "pieces") {
		m.seed++
		p := datatest.Bytes(m.seed, m.length())
		for len(p) > 0 {
			var start, end int64
			m.must("bounds", m.view(func(r meta.Reader) (err error) {
				start, end, err = Bounds(r, c.c, off)
				return err
			}))
			if off < start || off >= end {
				m.t.Fatalf("bounds of %d are %d to %d", off, start, end)
			}
			n := min(int64(len(p)), end-off)
			piece, err := batch.Encrypt(bg, p[:n])
			m.must("encrypt", err)
			// A piece in one mapping, or in two with a gap between them.
			if half := uint32(n / 2); half > 0 && n < end-off-100 && rapid.Bool().Draw(m.t, "split") {
				maps = append(maps, Mapping{Off: off, Len: half, Piece: piece},
					Mapping{Off: off + int64(half) + 50, Len: uint32(n) - half, Piece: piece, PieceOff: half})
				c.write(p[:half], off)
				c.write(p[half:n], off+int64(half)+50)
				off += 50
			} else {
				maps = append(maps, Mapping{Off: off, Len: uint32(n), Piece: piece})
				c.write(p[:n], off)
			}
			p, off = p[n:], off+n
		}
		off += int64(rapid.IntRange(0, 2).Draw(m.t, "gap")) * 5000
	}
	m.edit(func(e *Edit) error { return e.Map(c.c, maps) })
}

func (m *model) cut() {
	c := m.pick()
	off, n := m.offset(), max(m.offset(), 1)
	trash := objstore.ContentID(newID())
	var used bool
	m.edit(func(e *Edit) (err error) {
		used, err = e.Cut(c.c, off, n, trash)
		return err
	})
	if used {
		m.trash = append(m.trash, trash)
	}
	c.zero(off, n)
}

// share copies a range into a new content.
func (m *model) share() {
	src := m.pick()
	if src.size == 0 || len(m.all) > 12 {
		return
	}
	dst := m.fresh()
	m.shareTo(dst, src, int64(rapid.IntRange(0, 1).Draw(m.t, "at"))*m.offset())
}

func (m *model) shareTo(dst, src *content, to int64) int64 {
	off := min(m.offset(), src.size-1) * int64(rapid.IntRange(0, 1).Draw(m.t, "from"))
	n := min(max(m.offset(), 1), src.size-off)
	limit := rapid.IntRange(1, 3).Draw(m.t, "limit")
	for done := int64(0); done < n; {
		var step int64
		m.edit(func(e *Edit) (err error) {
			step, err = e.Share(dst.c, to+done, src.c, off+done, n-done, limit)
			return err
		})
		if step <= 0 {
			m.t.Fatal("share makes no progress")
		}
		done += step
	}
	src.copyTo(dst, to, off, n)
	return n
}

// join makes a content of parts, as Complete does.
func (m *model) join() {
	if len(m.all) > 12 {
		return
	}
	whole := m.fresh()
	whole.fixed = true
	at := int64(0)
	for range rapid.IntRange(1, 3).Draw(m.t, "parts") {
		part := &content{c: Content{Refs: newID(), Bound: whole.c.Bound, OEK: whole.c.OEK}, bytes: make(map[int64][]byte), fixed: true}
		if src := m.pick(); src.size > 0 && rapid.Bool().Draw(m.t, "shared") {
			m.shareTo(part, src, 0)
		} else {
			m.writeTo(part)
		}
		m.edit(func(e *Edit) error { return e.TrimTail(part.c, part.size) })
		m.edit(func(e *Edit) error { return e.Move(whole.c, part.c, at) })
		part.copyTo(whole, at, 0, part.size)
		at += part.size
	}
	whole.fixed = false
}

func (m *model) free() {
	if len(m.all) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.all)-1).Draw(m.t, "content")
	m.trash = append(m.trash, m.all[i].c.Refs)
	m.all = append(m.all[:i:i], m.all[i+1:]...)
	if rapid.Bool().Draw(m.t, "at once") {
		m.empty()
	}
}

// empty frees what was thrown away, without keys: several in one transaction.
func (m *model) empty() {
	for len(m.trash) > 0 {
		steps := rapid.IntRange(1, 4).Draw(m.t, "steps")
		var left []objstore.ContentID
		m.edit(func(e *Edit) error {
			left = m.trash
			for range steps {
				if len(left) == 0 || e.Full() {
					break
				}
				done, err := e.FreeStep(Content{Refs: left[0], Bound: left[0]})
				if err != nil {
					return err
				}
				if done {
					left = left[1:]
				}
			}
			return nil
		})
		m.trash = left
	}
}

// compact moves what is live of a sealed segment, and removes it.
func (m *model) compact() {
	m.must("sync", m.d.Sync(bg))
	var list []data.SegmentInfo
	for info, err := range m.d.Segments(bg) {
		m.must("segments", err)
		if info.Sealed {
			list = append(list, info)
		}
	}
	if len(list) == 0 {
		return
	}
	info := list[rapid.IntRange(0, len(list)-1).Draw(m.t, "segment")]
	m.compactOne(info)
}

func (m *model) compactOne(info data.SegmentInfo) {
	// A crash between the copying and its commit leaves the extents where they were.
	lost := rapid.IntRange(0, 3).Draw(m.t, "lost") == 0
	err := m.s.Walk(bg, info, func(f Frame) error {
		batch := m.s.NewBatch()
		defer batch.Release()
		var moved *Moved
		var live int64
		err := m.view(func(r meta.Reader) (err error) {
			if live, err = m.s.Live(r, f); err != nil {
				return err
			}
			moved, err = batch.Move(bg, r, f)
			return err
		})
		if err != nil || moved == nil || lost {
			if moved == nil && live != 0 {
				m.t.Fatalf("%d live bytes were not moved", live)
			}
			return err
		}
		m.edit(func(e *Edit) error { return e.Relocate(moved) })
		return nil
	})
	m.must("compact", err)
	if lost {
		return
	}
	var refs int64
	m.must("account", m.view(func(r meta.Reader) error {
		v, err := r.Get(record.SegmentKey(record.SegmentID(info.ID)))
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		s, err := record.ParseSegment(v)
		if err == nil {
			refs = s.Refs
		}
		return err
	}))
	if refs != 0 {
		m.t.Fatalf("%d runs are left in a segment that was compacted", refs)
	}
	m.must("remove", m.d.Remove(bg, info.ID))
}

// crash drops what was not synced, which here is nothing that is committed.
func (m *model) crash() {
	m.must("sync", m.d.Sync(bg))
	batch := m.s.NewBatch() // appended and never committed
	_, err := batch.Encrypt(bg, datatest.Bytes(1, 100_000))
	m.must("encrypt", err)
	m.disk = m.disk.Clone(rand.New(rand.NewPCG(m.seed, 0)))
	batch.Release()
	m.d.Close()
	m.openData()
}

func (m *model) check() {
	m.must("accounts", m.view(func(r meta.Reader) error {
		live := m.live()
		return extenttest.Check(r, func(id objstore.ContentID) bool { return live[id] })
	}))
	for i, c := range m.all {
		for _, w := range c.windows() {
			got := make([]byte, w[1])
			m.must("read", m.view(func(r meta.Reader) error {
				spans, err := m.s.Spans(r, c.c, w[0], w[1], 0)
				if err != nil {
					return err
				}
				at := w[0]
				for j := range spans {
					sp := &spans[j]
					if sp.Off != at || sp.Len <= 0 {
						return fmt.Errorf("span %+v begins at %d", sp, at)
					}
					part := got[at-w[0] : at-w[0]+sp.Len]
					if err := m.s.Read(bg, sp, part); err != nil {
						return err
					}
					if err := m.sameInPieces(sp, part); err != nil {
						return err
					}
					at += sp.Len
				}
				if at != w[0]+w[1] {
					return fmt.Errorf("spans end at %d", at)
				}
				return nil
			}))
			if want := c.read(w[0], w[1]); !bytes.Equal(got, want) {
				m.t.Fatalf("content %d at %d differs", i, w[0])
			}
		}
	}
}

// live are the ids of contents that may have records.
func (m *model) live() map[objstore.ContentID]bool {
	ids := make(map[objstore.ContentID]bool)
	for _, c := range m.all {
		ids[c.c.Refs] = true
	}
	for _, id := range m.trash {
		ids[id] = true
	}
	return ids
}

func TestContentsKeepTheirBytesAndExtentsTheirAccounts(t *testing.T) {
	checks(t, 8)
	t.Run("one layer", func(t *testing.T) { testContents(t, false) })
	t.Run("two layers", func(t *testing.T) { testContents(t, true) })
}

func testContents(t *testing.T, two bool) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, two: two, disk: datatest.NewCrashFS(nil), kv: metatest.NewModel()}
		m.openData()
		defer func() { m.d.Close() }()
		m.fresh()
		ops := map[string]func(){
			"write": m.write, "write 2": m.write, "write 3": m.write, "cut": m.cut, "share": m.share, "share 2": m.share,
			"join": m.join, "free": m.free, "empty": m.empty, "compact": m.compact, "compact 2": m.compact, "crash": m.crash,
		}
		actions := make(map[string]func(*rapid.T))
		for name, op := range ops {
			actions[name] = func(t *rapid.T) { m.t = t; op() }
		}
		actions[""] = func(t *rapid.T) { m.t = t; m.check() }
		t.Repeat(actions)
		m.t = t
		// Nothing is left when all is freed.
		for _, c := range m.all {
			m.trash = append(m.trash, c.c.Refs)
		}
		m.all = nil
		m.empty()
		m.must("scan", m.view(func(r meta.Reader) error {
			for p, err := range r.Scan(meta.Range{}) {
				if err != nil {
					return err
				}
				return fmt.Errorf("the record %q is left", p.Key)
			}
			return nil
		}))
		if len(m.s.holds) != 0 || len(m.s.appending) != 0 || len(m.s.pins) != 0 {
			m.t.Fatalf("holds %v, appends %v and pins %v are left", m.s.holds, m.s.appending, m.s.pins)
		}
	})
}
