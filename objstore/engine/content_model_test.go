package engine

import (
	"bytes"
	"flag"
	"fmt"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"pgregory.net/rapid"
)

// contentModel runs both doors on a few names of one bucket beside a model in
// memory. Files stay on the inode that they opened, whatever becomes of its name.
type contentModel struct {
	t     *rapid.T
	k     *stack
	root  objstore.InodeID
	names map[string]*sparse
	files []modelFile
	seed  uint64

	ranges   int  // that were shared by copyRange
	versions bool // the bucket keeps versions
}

type modelFile struct {
	f    *File
	m    *sparse
	name string
}

var modelNames = []string{"x", "y", "z"}

// edges are offsets and sizes around which something changes.
var edges = []int64{0, 1, 100, 4096, 16<<10 - 1, 16 << 10, 16<<10 + 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 4<<20 - 1, 4 << 20, 4<<20 + 1,
	64<<20 - 5000, 64<<20 - 1, 64 << 20, 64<<20 + 1, 128<<20 - 1, 5 << 30}

func (c *contentModel) offset() int64 {
	e := rapid.SampledFrom(edges).Draw(c.t, "edge")
	if rapid.Bool().Draw(c.t, "near") {
		e += int64(rapid.IntRange(0, 20_000).Draw(c.t, "more"))
	}
	return e
}

func (c *contentModel) bytes() []byte {
	c.seed++
	n := rapid.SampledFrom([]int{1, 7, 100, 4096, 16<<10 - 1, 16 << 10, 16<<10 + 1, 64 << 10, 70_000, 200_000, 200_000, 5 << 20}).Draw(c.t, "length")
	return bytesOf(c.seed, n)
}

func (c *contentModel) file() (modelFile, bool) {
	if len(c.files) == 0 {
		return modelFile{}, false
	}
	return c.files[rapid.IntRange(0, len(c.files)-1).Draw(c.t, "file")], true
}

func (c *contentModel) must(what string, err error) {
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

func (c *contentModel) open() {
	if len(c.files) >= 5 {
		return
	}
	name := rapid.SampledFrom(modelNames).Draw(c.t, "name")
	trunc := rapid.IntRange(0, 9).Draw(c.t, "truncate") == 0
	_, f, err := c.k.s.Create(bg, mountC, c.root, name, 0o644, objstore.OpenFlags{Read: true, Write: true, Truncate: trunc}, false)
	c.must("open", err)
	if c.names[name] == nil {
		c.names[name] = newSparse()
	}
	if trunc {
		c.names[name].truncate(0)
	}
	c.files = append(c.files, modelFile{f, c.names[name], name})
}

func (c *contentModel) closeFile() {
	if len(c.files) == 0 {
		return
	}
	i := rapid.IntRange(0, len(c.files)-1).Draw(c.t, "file")
	c.must("close", c.files[i].f.Close(bg))
	c.files = append(c.files[:i:i], c.files[i+1:]...)
}

func (c *contentModel) write() {
	f, ok := c.file()
	if !ok {
		return
	}
	p := c.bytes()
	if rapid.IntRange(0, 4).Draw(c.t, "append") == 0 {
		at, err := f.f.Append(bg, p)
		c.must("append", err)
		if at != f.m.size {
			c.t.Fatalf("appended at %d, want %d", at, f.m.size)
		}
		f.m.put(p, at)
		return
	}
	off := c.offset()
	_, err := f.f.WriteAt(bg, p, off)
	c.must("write", err)
	f.m.put(p, off)
}

// scatter writes many small pieces.
func (c *contentModel) scatter() {
	f, ok := c.file()
	if !ok {
		return
	}
	off, step := c.offset(), int64(rapid.IntRange(1, 9000).Draw(c.t, "step"))
	c.seed++
	p := bytesOf(c.seed, rapid.IntRange(1, 5000).Draw(c.t, "piece"))
	for i := range int64(rapid.IntRange(1, 60).Draw(c.t, "pieces")) {
		_, err := f.f.WriteAt(bg, p, off+i*step)
		c.must("write", err)
		f.m.put(p, off+i*step)
	}
}

// updateEncryption seals the key of an object anew, which may be open.
func (c *contentModel) updateEncryption() {
	err := c.k.s.UpdateEncryption(bg, s3C, objstore.UpdateEncryptionRequest{
		Bucket: "bucket", Key: rapid.SampledFrom(modelNames).Draw(c.t, "name"), Encryption: objstore.Encryption{Mode: objstore.SSEKMS},
	})
	if k := kindOf(err); err != nil && k != objstore.KindNotFound && k != objstore.KindInvalidRequest {
		c.t.Fatalf("update encryption: %v", err)
	}
}

func (c *contentModel) read() {
	f, ok := c.file()
	if !ok {
		return
	}
	off, n := c.offset(), rapid.SampledFrom([]int{1, 4096, 100_000, 2 << 20}).Draw(c.t, "length")
	p := make([]byte, n)
	m, err := f.f.ReadAt(bg, p, off)
	c.must("read", err)
	if want := f.m.read(off, n); !bytes.Equal(p[:m], want) {
		c.t.Fatalf("read at %d gives %d bytes, want %d, or others", off, m, len(want))
	}
}

func (c *contentModel) truncate() {
	f, ok := c.file()
	if !ok {
		return
	}
	size := c.offset()
	if rapid.Bool().Draw(c.t, "empty") {
		size = 0
	}
	c.must("truncate", f.f.Truncate(bg, size))
	f.m.truncate(size)
}

func (c *contentModel) allocate() {
	f, ok := c.file()
	if !ok {
		return
	}
	off, n := c.offset(), max(c.offset(), 1)
	mode := rapid.SampledFrom([]objstore.AllocateMode{
		0, objstore.AllocateKeepSize, objstore.AllocatePunchHole | objstore.AllocateKeepSize,
		objstore.AllocatePunchHole | objstore.AllocateKeepSize, objstore.AllocateZeroRange, objstore.AllocateZeroRange | objstore.AllocateKeepSize,
	}).Draw(c.t, "mode")
	c.must("allocate", f.f.Allocate(bg, mode, off, n))
	if mode&(objstore.AllocatePunchHole|objstore.AllocateZeroRange) != 0 {
		f.m.zero(off, n)
	}
	if mode&objstore.AllocateKeepSize == 0 {
		f.m.size = max(f.m.size, off+n)
	}
}

func (c *contentModel) flush() {
	if f, ok := c.file(); ok {
		if rapid.Bool().Draw(c.t, "sync") {
			c.must("sync", f.f.Sync(bg))
		} else {
			c.must("flush", f.f.Flush(bg))
		}
	}
}

func (c *contentModel) seek() {
	f, ok := c.file()
	if !ok {
		return
	}
	off := c.offset()
	at, err := f.f.SeekData(bg, off)
	switch {
	case objstore.IsKind(err, objstore.KindInvalidRange):
		if off < f.m.size && !f.m.zeroes(off, f.m.size) {
			c.t.Fatalf("no data behind %d", off)
		}
	case err != nil:
		c.must("seek", err)
	case at < off || at >= f.m.size || !f.m.zeroes(off, at):
		c.t.Fatalf("data behind %d begin at %d", off, at)
	}
	at, err = f.f.SeekHole(bg, off)
	switch {
	case objstore.IsKind(err, objstore.KindInvalidRange):
		if off < f.m.size {
			c.t.Fatalf("no hole behind %d, not even the end", off)
		}
	case err != nil:
		c.must("seek", err)
	case at < off || at > f.m.size || at < f.m.size && !f.m.zeroes(at, at+1):
		c.t.Fatalf("a hole behind %d begins at %d of %d", off, at, f.m.size)
	}
}

func (c *contentModel) unlink() {
	name := rapid.SampledFrom(modelNames).Draw(c.t, "name")
	if c.names[name] == nil {
		return
	}
	if rapid.Bool().Draw(c.t, "by S3") {
		_, err := c.k.s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: name})
		c.must("delete", err)
	} else {
		c.must("unlink", c.k.s.Unlink(bg, mountC, c.root, name))
	}
	delete(c.names, name)
}

func (c *contentModel) putObject() {
	name, p := rapid.SampledFrom(modelNames).Draw(c.t, "name"), c.bytes()
	if rapid.IntRange(0, 9).Draw(c.t, "empty") == 0 {
		p = nil
	}
	put(c.t, c.k.s, name, p)
	c.names[name] = newSparse()
	c.names[name].put(p, 0)
}

// commit makes S3 see what the mount wrote to a name.
func (c *contentModel) commit(name string) {
	a, err := c.k.s.Lookup(bg, c.root, name)
	c.must("lookup", err)
	c.must("commit", c.k.s.flushInode(bg, a.Inode))
}

func (c *contentModel) copyObject() {
	from, to := rapid.SampledFrom(modelNames).Draw(c.t, "from"), rapid.SampledFrom(modelNames).Draw(c.t, "to")
	if c.names[from] == nil {
		return
	}
	c.commit(from)
	info, err := c.k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: from, DstBucket: "bucket", DstKey: to})
	c.must("copy", err)
	if info.Size != c.names[from].size {
		c.t.Fatalf("the copy has %d bytes, want %d", info.Size, c.names[from].size)
	}
	c.names[to] = c.names[from].clone()
}

// appendObject adds to what a name has. Files that are open stay as they are.
func (c *contentModel) appendObject() {
	to := rapid.SampledFrom(modelNames).Draw(c.t, "to")
	now, p := c.names[to], c.bytes()
	if now == nil {
		now = newSparse()
	} else {
		c.commit(to)
	}
	if rapid.IntRange(0, 9).Draw(c.t, "empty") == 0 {
		p = nil
	}
	want := now.clone()
	want.put(p, now.size)
	info, err := c.k.s.AppendObject(bg, s3C, objstore.PutRequest{
		Bucket: "bucket", Key: to, Body: bytes.NewReader(p), Size: rapid.SampledFrom([]int64{-1, int64(len(p))}).Draw(c.t, "size"), Offset: now.size,
	})
	c.must("append", err)
	if info.Size != want.size {
		c.t.Fatalf("appended to %d bytes, want %d", info.Size, want.size)
	}
	c.names[to] = want
}

// upload makes an object of parts: bodies and ranges of others.
func (c *contentModel) upload() {
	to := rapid.SampledFrom(modelNames).Draw(c.t, "to")
	up, err := c.k.s.CreateUpload(bg, s3C, objstore.CreateUploadRequest{Bucket: "bucket", Key: to})
	c.must("create upload", err)
	want := newSparse()
	var parts []objstore.CompletePart
	for number := 1; number <= rapid.IntRange(1, 3).Draw(c.t, "parts"); number++ {
		from := rapid.SampledFrom(modelNames).Draw(c.t, "from")
		var info objstore.PartInfo
		src := c.names[from]
		at := want.size
		if src == nil || src.size < 5<<20 || rapid.IntRange(0, 3).Draw(c.t, "body") == 0 {
			c.seed++
			p := bytesOf(c.seed, 5<<20+rapid.IntRange(0, 3).Draw(c.t, "more"))
			info, _, err = c.k.s.UploadPart(bg, s3C, objstore.UploadPartRequest{
				Bucket: "bucket", Key: to, Upload: up.ID, Number: number, Body: bytes.NewReader(p), Size: int64(len(p)),
			})
			want.put(p, at)
		} else {
			c.commit(from)
			first := min(c.offset(), src.size-5<<20)
			n := min(5<<20+c.offset(), src.size-first, objstore.MaxPartSize)
			info, _, err = c.k.s.CopyPart(bg, s3C, objstore.CopyPartRequest{
				SrcBucket: "bucket", SrcKey: from, SrcRange: &objstore.Range{First: first, Last: first + n - 1},
				Bucket: "bucket", Key: to, Upload: up.ID, Number: number,
			})
			for _, d := range src.data() {
				if lo, hi := max(d[0], first), min(d[1], first+n); lo < hi {
					want.put(src.read(lo, int(hi-lo)), at+lo-first)
				}
			}
			want.size = at + n
		}
		c.must("part", err)
		parts = append(parts, objstore.CompletePart{Number: number, ETag: info.ETag})
	}
	if rapid.IntRange(0, 4).Draw(c.t, "abort") == 0 {
		c.must("abort", c.k.s.AbortUpload(bg, s3C, "bucket", to, up.ID))
		return
	}
	info, err := c.k.s.CompleteUpload(bg, s3C, objstore.CompleteRequest{Bucket: "bucket", Key: to, Upload: up.ID, Parts: parts, Size: -1})
	c.must("complete", err)
	if info.Size != want.size {
		c.t.Fatalf("completed with %d bytes, want %d", info.Size, want.size)
	}
	c.names[to] = want
}

func (c *contentModel) housekeeping() {
	c.must("sync", c.k.s.Sync(bg))
	c.must("reap", c.k.s.reapGarbage(bg))
	if rapid.Bool().Draw(c.t, "collect") {
		g := newCollector()
		for range 3 {
			c.must("collect", c.k.s.collect(bg, g))
		}
	}
	c.must("check", checkStore(c.k.s))
}

// check compares sizes always, and bytes when deep.
func (c *contentModel) check(deep bool) {
	for _, f := range c.files {
		a, err := c.k.s.GetAttr(bg, f.f.Inode())
		c.must("stat", err)
		if a.Size != f.m.size {
			c.t.Fatalf("%s: size is %d, want %d", f.name, a.Size, f.m.size)
		}
		if deep {
			c.must("open "+f.name, f.m.diff(a.Size, func(off int64, n int) ([]byte, error) {
				p := make([]byte, n)
				n, err := f.f.ReadAt(bg, p, off)
				return p[:n], err
			}))
		}
	}
	if !deep {
		return
	}
	c.must("sync", c.k.s.Sync(bg))
	for _, name := range modelNames {
		m := c.names[name]
		info, err := c.k.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: name})
		if m == nil {
			if !objstore.IsKind(err, objstore.KindNotFound) {
				c.t.Fatalf("%s: %v", name, err)
			}
			continue
		}
		c.must("head "+name, err)
		c.must("object "+name, m.diff(info.Size, func(off int64, n int) ([]byte, error) {
			if off >= info.Size {
				return nil, nil
			}
			p, _, err := get(c.k.s, objstore.GetRequest{Key: name, Range: &objstore.Range{First: off, Last: min(off+int64(n), info.Size) - 1}})
			return p, err
		}))
	}
}

// finish closes and removes everything: nothing may be left.
func (c *contentModel) finish() {
	c.check(true)
	for _, f := range c.files {
		c.must("close", f.f.Close(bg))
	}
	c.files = nil
	if n := c.k.s.buffered.Load(); n != 0 {
		c.t.Fatalf("%d bytes are still accounted for", n)
	}
	c.check(true)
	c.k.reopen()
	c.check(true)
	c.must("reap", c.k.s.reapGarbage(bg))
	c.must("check", checkStore(c.k.s))
	if c.versions {
		return
	}
	for name := range c.names {
		c.must("unlink", c.k.s.Unlink(bg, mountC, c.root, name))
	}
	c.must("reap", c.k.s.reapGarbage(bg))
	c.must("check", checkStore(c.k.s))
	countRecords(c.t, c.k.s, map[byte]int{'e': 0, 'E': 0, 'k': 0, 'K': 0, 'c': 0, 'm': 0, 'D': 0, 'P': 0, 'p': 0, 'u': 0, 's': 0, 'o': 0, 'g': 0})
	fillSegment(c.t, c.k)
	g := newCollector()
	for range 2 {
		c.must("collect", c.k.s.collect(bg, g))
	}
	sealed := 0
	for info, err := range c.k.local.Segments(bg) {
		c.must("segments", err)
		if info.Sealed && !c.k.s.extents.Held([16]byte(info.ID), c.k.s.extents.Mark()) {
			sealed++
		}
	}
	if sealed > 0 {
		c.t.Fatalf("%d sealed segments are left that nothing points to", sealed)
	}
}

// checks sets how many random histories a property is tried on, unless -rapid.checks
// does: ten times as many in the long form.
func checks(t *testing.T, n int) {
	if raceDetector {
		n = (n + 3) / 4
	}
	if long {
		n *= 10
	}
	f := flag.Lookup("rapid.checks")
	if was := f.Value.String(); was == f.DefValue {
		_ = f.Value.Set(fmt.Sprint(n))
		t.Cleanup(func() { _ = f.Value.Set(was) })
	}
}

func TestContentsAreWhatWasWritten(t *testing.T) {
	checks(t, 8)
	rapid.Check(t, func(t *rapid.T) {
		c := &contentModel{t: t, names: make(map[string]*sparse)}
		buffer := rapid.SampledFrom([]int64{0, 50_000, 3 << 20}).Draw(t, "write buffer")
		segment := rapid.SampledFrom([]int64{1 << 20, 16 << 20}).Draw(t, "segment")
		c.k, c.root = newStack(t, func(k *stack) { k.options.WriteBufferBytes, k.segment = buffer, segment })
		mode := rapid.SampledFrom([]objstore.SSEMode{objstore.SSENone, objstore.SSEKMS, objstore.SSEDSSE}).Draw(t, "encryption")
		c.must("encryption", c.k.s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: mode}))
		ops := map[string]func(){
			"open": c.open, "open 2": c.open, "close": c.closeFile, "write": c.write, "write 2": c.write, "write 3": c.write,
			"scatter": c.scatter, "read": c.read, "truncate": c.truncate, "allocate": c.allocate, "flush": c.flush, "seek": c.seek,
			"copy range": c.copyRange,
			"unlink":     c.unlink, "put": c.putObject, "copy": c.copyObject, "copy 2": c.copyObject, "upload": c.upload, "append": c.appendObject, "append 2": c.appendObject, "housekeeping": c.housekeeping, "encrypt": c.updateEncryption,
			"check": func() { c.check(true) },
		}
		actions := make(map[string]func(*rapid.T))
		for name, op := range ops {
			actions[name] = func(t *rapid.T) { c.t = t; op() }
		}
		actions[""] = func(t *rapid.T) { c.t = t; c.check(false) }
		c.open()
		t.Repeat(actions)
		c.t = t
		c.finish()
	})
}
