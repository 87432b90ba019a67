package engine

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"pgregory.net/rapid"
)

// loggedModel runs files that are synced again and again, several open at once, beside
// S3's operations on the same names, in buckets with and without versions, with
// crashes and failures.
type loggedModel struct {
	t     *rapid.T
	k     *stack
	kv    *faultKV
	root  objstore.InodeID
	rng   *rand.Rand
	names map[string]*loggedInode
	files []loggedFile
	state objstore.Versioning
	seed  uint64
	// kept is what versions held when they were first seen not to be written to any
	// more: they keep it.
	kept map[string]loggedVersion
	seen loggedCoverage
}

// loggedInode is what a file holds: with what waits, and as committed.
type loggedInode struct {
	live, committed []byte
	touched         bool // live was written to since it was committed, with other bytes or not
	changes         int  // of committed
	etag            objstore.ETag
	tagged          int // changes when etag was seen
}

type loggedFile struct {
	f *File
	n *loggedInode
}

type loggedVersion struct {
	p      []byte
	info   objstore.ObjectInfo
	latest bool
}

// loggedCoverage counts what the histories met: a model that never logs proves nothing.
type loggedCoverage struct{ logged, crashed, failed, versions, copied int }

var loggedNames = []string{"a", "b", "c"}

// faultKV fails some Updates, before they happen or after.
type faultKV struct {
	meta.Store
	pass  atomic.Int64 // that many Updates pass, then
	fail  atomic.Int64 // that many fail
	there atomic.Bool  // although they happened
}

var errFault = errors.New("the disk does not answer")

func (f *faultKV) Update(ctx context.Context, fn func(meta.Txn) error) error {
	fails := f.fail.Load() > 0
	if fails && !f.there.Load() {
		if f.pass.Add(-1) >= 0 {
			return f.Store.Update(ctx, fn)
		}
		f.fail.Add(-1)
		return errFault
	}
	err := f.Store.Update(ctx, fn)
	if fails && err == nil && f.pass.Add(-1) < 0 {
		f.fail.Add(-1)
		return errFault
	}
	return err
}

// set has fail Updates fail once pass have passed.
func (f *faultKV) set(pass, fail int64, there bool) {
	f.pass.Store(pass)
	f.there.Store(there)
	f.fail.Store(fail)
}

func (c *loggedModel) must(what string, err error) {
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

func (c *loggedModel) name() string { return rapid.SampledFrom(loggedNames).Draw(c.t, "name") }

func (c *loggedModel) file() (loggedFile, bool) {
	if len(c.files) == 0 {
		return loggedFile{}, false
	}
	return c.files[rapid.IntRange(0, len(c.files)-1).Draw(c.t, "file")], true
}

// commit notes that all that was written is committed.
func (n *loggedInode) commit() {
	if n.touched {
		n.changes++
	}
	n.committed, n.touched = bytes.Clone(n.live), false
}

func (c *loggedModel) open() {
	if len(c.files) >= 4 {
		return
	}
	name := c.name()
	_, f, err := c.k.s.Create(bg, mountC, c.root, name, 0o644, objstore.OpenFlags{Read: true, Write: true}, false)
	c.must("open", err)
	n := c.names[name]
	if n == nil {
		n = &loggedInode{}
		c.names[name] = n
	}
	c.files = append(c.files, loggedFile{f, n})
	if len(n.live) == 0 {
		c.write(c.files[len(c.files)-1], 0, 60_000)
		c.must("flush", f.Flush(bg))
		n.commit()
	}
}

func (c *loggedModel) closeFile() {
	if len(c.files) == 0 {
		return
	}
	i := rapid.IntRange(0, len(c.files)-1).Draw(c.t, "file")
	f := c.files[i]
	c.must("close", f.f.Close(bg))
	f.n.commit()
	c.files = slices.Delete(c.files, i, i+1)
	c.settleOpen(f.n)
}

// settleOpen notes what became of a file that nobody has open, when its name is gone
// its bytes need not have been committed.
func (c *loggedModel) settleOpen(n *loggedInode) {
	if !slices.ContainsFunc(c.files, func(f loggedFile) bool { return f.n == n }) {
		n.live = bytes.Clone(n.committed)
	}
}

func (c *loggedModel) write(f loggedFile, off, length int) {
	c.seed++
	p := bytesOf(c.seed, length)
	_, err := f.f.WriteAt(bg, p, int64(off))
	c.must("write", err)
	if grown := off + length - len(f.n.live); grown > 0 {
		f.n.live = append(f.n.live, make([]byte, grown)...)
	}
	f.n.live, f.n.touched = bytes.Clone(f.n.live), true
	copy(f.n.live[off:], p)
}

func (c *loggedModel) writeSome() {
	if f, ok := c.file(); ok {
		c.write(f, rapid.IntRange(0, len(f.n.live)+100).Draw(c.t, "off"), rapid.SampledFrom([]int{1, 100, 4096, 4096, 70_000}).Draw(c.t, "length"))
	}
}

// syncs writes and syncs a few times, as databases do.
func (c *loggedModel) syncs() {
	f, ok := c.file()
	if !ok {
		return
	}
	for range rapid.IntRange(1, 6).Draw(c.t, "times") {
		for range rapid.IntRange(1, 3).Draw(c.t, "writes") {
			c.write(f, rapid.IntRange(0, len(f.n.live)+50).Draw(c.t, "off"), rapid.IntRange(1, 5000).Draw(c.t, "length"))
		}
		c.must("sync", f.f.Sync(bg))
		f.n.commit()
		if f.f.n.isLogged() {
			c.seen.logged++
		}
	}
}

// isLogged reports whether there are logged writes over a node's content.
func (n *node) isLogged() bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.stored.content.Logged > 0
}

func (c *loggedModel) flush() {
	if f, ok := c.file(); ok {
		c.must("flush", f.f.Flush(bg))
		f.n.commit()
	}
}

// read compares what a file holds. What waits is committed by it, perhaps.
func (c *loggedModel) read() {
	if f, ok := c.file(); ok && len(f.n.live) > 0 {
		off := rapid.IntRange(0, len(f.n.live)-1).Draw(c.t, "off")
		p := make([]byte, rapid.SampledFrom([]int{1, 5000, 200_000}).Draw(c.t, "length"))
		m, err := f.f.ReadAt(bg, p, int64(off))
		c.must("read", err)
		same(c.t, "read", p[:m], f.n.live[off:min(off+len(p), len(f.n.live))])
		c.look()
	}
}

func (c *loggedModel) truncate() {
	if f, ok := c.file(); ok {
		size := rapid.IntRange(max(len(f.n.live)-30_000, 1), len(f.n.live)+1000).Draw(c.t, "size")
		c.must("truncate", f.f.Truncate(bg, int64(size)))
		if size > len(f.n.live) {
			f.n.live = append(f.n.live, make([]byte, size-len(f.n.live))...)
		}
		f.n.live, f.n.touched = bytes.Clone(f.n.live[:size]), true
		f.n.commit()
	}
}

func (c *loggedModel) punch() {
	if f, ok := c.file(); ok && len(f.n.live) > 0 {
		off := rapid.IntRange(0, len(f.n.live)-1).Draw(c.t, "off")
		n := rapid.IntRange(1, 20_000).Draw(c.t, "length")
		c.must("punch", f.f.Allocate(bg, objstore.AllocatePunchHole|objstore.AllocateKeepSize, int64(off), int64(n)))
		f.n.live, f.n.touched = bytes.Clone(f.n.live), true
		clear(f.n.live[off:min(off+n, len(f.n.live))])
		f.n.commit()
	}
}

func (c *loggedModel) times() {
	if f, ok := c.file(); ok {
		mtime := objstore.Time(rapid.Int64Range(1, 1e18).Draw(c.t, "mtime"))
		_, err := c.k.s.SetAttr(bg, mountC, f.f.Inode(), objstore.SetAttr{Mtime: &mtime})
		c.must("set times", err)
	}
}

func (c *loggedModel) housekeeping() {
	switch rapid.IntRange(0, 2).Draw(c.t, "what") {
	case 0:
		c.must("sync", c.k.s.Sync(bg))
		for _, f := range c.files {
			f.n.commit()
		}
	case 1:
		c.must("collect", c.k.s.collect(bg, newCollector()))
	default:
		c.must("settle", c.k.s.settle(bg))
	}
}

// crash leaves what is committed, which was made durable.
func (c *loggedModel) crash() {
	c.syncs()
	c.must("durable", c.k.s.durable(bg))
	k := c.k.crash(c.rng, 0)
	c.k.close()
	k.wrapKV = c.k.wrapKV
	*c.k = *k
	c.must("open", c.k.open(false))
	c.must("orphans", c.k.s.reapOrphans(bg))
	if c.k.logs(c.t) > 0 {
		c.seen.crashed++
	}
	for _, f := range c.files {
		f.n.live, f.n.touched = bytes.Clone(f.n.committed), false
	}
	for _, n := range c.names {
		n.live, n.touched = bytes.Clone(n.committed), false
	}
	c.files = nil
}

// fail lets an Update fail, which happened all the same perhaps, while a file is
// written to: its sync or flush tells, and then it holds all of it or what it held.
func (c *loggedModel) fail() {
	c.open()
	f, ok := c.file()
	if !ok {
		return
	}
	for range rapid.IntRange(0, 2).Draw(c.t, "syncs before") {
		c.write(f, rapid.IntRange(0, len(f.n.live)).Draw(c.t, "off"), 100)
		c.must("sync", f.f.Sync(bg))
		f.n.commit()
	}
	was := f.n.committed
	c.write(f, rapid.IntRange(0, len(f.n.live)).Draw(c.t, "off"), rapid.IntRange(1, 3000).Draw(c.t, "length"))
	pass, fail := rapid.Int64Range(0, 2).Draw(c.t, "passing"), rapid.Int64Range(1, 3).Draw(c.t, "failing")
	c.kv.set(pass, fail, rapid.Bool().Draw(c.t, "but are there"))
	var err error
	if rapid.Bool().Draw(c.t, "sync") {
		err = f.f.Sync(bg)
	} else {
		err = f.f.Flush(bg)
	}
	c.kv.set(0, 0, false)
	if err == nil {
		f.n.commit()
		c.look()
		return
	}
	c.seen.failed++
	now := readAll(c.t, f.f)
	if !bytes.Equal(now, f.n.live) && !bytes.Equal(now, was) {
		c.t.Fatalf("after %v the file is neither what it was nor what it was to be", err)
	}
	f.n.live, f.n.touched = now, true
	for _, g := range c.files { // they are told once
		if g.n == f.n {
			_ = g.f.Sync(bg)
		}
	}
	f.n.commit()
}

// lookAt compares what a name holds for S3: what is committed, or with what waited.
func (c *loggedModel) lookAt(name string) {
	n := c.names[name]
	p, info, err := get(c.k.s, objstore.GetRequest{Key: name})
	if n == nil {
		if !objstore.IsKind(err, objstore.KindNotFound) {
			c.t.Fatalf("%s: %v", name, err)
		}
		return
	}
	c.must("get "+name, err)
	if n.touched && bytes.Equal(p, n.live) {
		n.commit()
	}
	same(c.t, "object "+name, p, n.committed)
	head, err := c.k.s.HeadObject(bg, s3C, objstore.GetRequest{Bucket: "bucket", Key: name})
	c.must("head", err)
	if head.ETag != info.ETag || head.Size != int64(len(p)) || head.LastModified != info.LastModified {
		c.t.Fatalf("%s: HEAD and GET differ: %+v, %+v", name, head, info)
	}
	if n.etag != "" && n.tagged == n.changes && n.etag != info.ETag {
		c.t.Fatalf("%s: the ETag %s became %s", name, n.etag, info.ETag)
	}
	n.etag, n.tagged = info.ETag, n.changes
}

func (c *loggedModel) look() {
	for _, name := range loggedNames {
		c.lookAt(name)
	}
}

func TestLoggedWritesBesideS3(t *testing.T) {
	checks(t, 20)
	var seen loggedCoverage
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		c := &loggedModel{t: t, kv: &faultKV{}, rng: rand.New(rand.NewPCG(1, 2)), names: map[string]*loggedInode{}, kept: map[string]loggedVersion{}}
		c.k, c.root = newStack(t, func(k *stack) {
			k.wrapKV = func(s meta.Store) meta.Store { c.kv.Store = s; return c.kv }
		})
		ops := map[string]func(){
			"open": c.open, "open 2": c.open, "close": c.closeFile, "write": c.writeSome, "syncs": c.syncs, "syncs 2": c.syncs, "syncs 3": c.syncs,
			"flush": c.flush, "read": c.read, "truncate": c.truncate, "punch": c.punch, "times": c.times, "put": c.putObject,
			"delete": c.deleteObject, "copy": c.copyObject, "append": c.appendObject, "rename": c.rename,
			"encrypt": c.encrypt, "housekeeping": c.housekeeping, "crash": c.crash, "fail": c.fail,
		}
		if rapid.Bool().Draw(t, "versions") {
			ops["versioning"], ops["remove"] = c.versioning, c.removeVersion
			c.versioning()
		}
		actions := map[string]func(*rapid.T){"": func(t *rapid.T) {
			c.t, c.k.t = t, t
			c.look()
			c.versions()
			c.must("check", checkStore(c.k.s))
		}}
		for name, op := range ops {
			actions[name] = func(t *rapid.T) { c.t, c.k.t = t, t; op() }
		}
		c.open()
		t.Repeat(actions)
		c.t, c.k.t = t, t
		for len(c.files) > 0 {
			f := c.files[0]
			same(t, "file", readAll(t, f.f), f.n.live)
			c.must("close", f.f.Close(bg))
			f.n.commit()
			c.files = c.files[1:]
		}
		c.look()
		c.versions()
		c.k.reopen()
		c.look()
		c.versions()
		c.must("settle", c.k.s.settle(bg))
		c.look()
		if n := c.k.logs(t); n != 0 {
			t.Fatalf("%d logged writes of closed files", n)
		}
		c.must("check", checkStore(c.k.s))
		runs++
		seen.logged += c.seen.logged
		seen.crashed += c.seen.crashed
		seen.failed += c.seen.failed
		seen.versions += c.seen.versions
		seen.copied += c.seen.copied
	})
	t.Logf("%+v", seen)
	if !t.Failed() && runs >= 20 && (seen.logged == 0 || seen.crashed == 0 || seen.failed == 0 || seen.versions == 0 || seen.copied == 0) {
		t.Errorf("something was never met: %+v", seen)
	}
}
