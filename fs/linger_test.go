package fs

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/cofferfs/coffer/objstore"
)

// walker sends requests as a kernel does for one thread.
type walker struct {
	t      *testing.T
	m      *mounted
	thread uint32
}

func (w *walker) header(node uint64) fuse.InHeader {
	h := fuse.InHeader{NodeId: node}
	h.Pid = w.thread
	return h
}

// forTests keeps what is kept for a second walk longer than a slow disk lets a walk be.
func (q *lingering) forTests() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.keepFor = time.Hour
}

// lookup finds what the kernel forgets at once: otherwise what another door replaces
// would be kept for that alone (known.go).
func (w *walker) lookup(name string) uint64 {
	w.t.Helper()
	node := w.find(name)
	w.m.m.fs.Forget(node, 1)
	return node
}

// find is a LOOKUP.
func (w *walker) find(name string) uint64 {
	w.t.Helper()
	h := w.header(fuse.FUSE_ROOT_ID)
	var out fuse.EntryOut
	if st := w.m.m.fs.Lookup(nil, &h, name, &out); st != fuse.OK {
		w.t.Fatalf("lookup of %q: %v", name, st)
	}
	return out.NodeId
}

func (w *walker) read(node uint64) (string, fuse.Status) {
	w.t.Helper()
	var out fuse.OpenOut
	if st := w.m.m.fs.Open(nil, &fuse.OpenIn{InHeader: w.header(node)}, &out); st != fuse.OK {
		return "", st
	}
	defer w.m.m.fs.Release(nil, &fuse.ReleaseIn{Fh: out.Fh})
	b := make([]byte, 100)
	r, st := w.m.m.fs.Read(nil, &fuse.ReadIn{InHeader: w.header(node), Fh: out.Fh, Size: 100}, b)
	if st != fuse.OK {
		w.t.Fatalf("read: %v", st)
	}
	b, _ = r.Bytes(b)
	return string(b), fuse.OK
}

// A kernel tries a second time after ESTALE, and then no more.
func TestSecondWalkFindsWhatIsReplacedAgain(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		replace := map[string]func(content string){
			"put":            func(c string) { m.put(t, "key", c) },
			"delete and put": func(c string) { m.del(t, "key"); m.put(t, "key", c) },
			"rename": func(c string) {
				write(t, m.path("new"), c)
				if err := rename2(m.path("new"), m.path("key"), 0); err != nil {
					t.Error(err)
				}
			},
		}
		m.m.fs.lingering.forTests()
		thread := uint32(1 << 30)
		for name, replace := range replace {
			for _, big := range []int{1, 10000} { // kept beside the inode, and in segments
				thread++
				w := &walker{t, m, thread}
				content := func(i int) string { return string(bytes.Repeat(fmt.Appendf(nil, "%04d", i), 25*big)) }
				m.put(t, "key", content(1))
				first := w.lookup("key")
				replace(content(2))
				if _, st := w.read(first); st.Ok() {
					t.Fatalf("%s: what was replaced can be opened; the test shows nothing", name)
				}
				second := w.lookup("key")
				replace(content(3))
				got, st := w.read(second)
				if st != fuse.OK || got != content(2)[:100] {
					t.Errorf("%s: opened in the second walk: %v, %q", name, st, got)
				}
				var a fuse.AttrOut
				if st := m.m.fs.GetAttr(nil, &fuse.GetAttrIn{InHeader: w.header(second)}, &a); st != fuse.OK || a.Nlink != 0 || a.Size != uint64(100*big) {
					t.Errorf("%s: attributes in the second walk: %v, %d links, %d bytes", name, st, a.Nlink, a.Size)
				}
			}
		}
	})
}

// What is kept for a second walk goes when its time is over, also without anybody's
// asking.
func TestSecondWalksLeaveNothingBehind(t *testing.T) {
	m := mountBucket(t, Options{})
	m.m.fs.lingering.forTests()
	w := &walker{t, m, 1 << 30}
	m.put(t, "key", "one")
	first := w.lookup("key")
	m.put(t, "key", "two")
	w.read(first)
	second := w.lookup("key")
	m.del(t, "key")
	if _, st := w.read(second); st != fuse.OK {
		t.Fatalf("open in the second walk: %v", st)
	}
	m.m.fs.lingering.end()
	if _, err := m.store.GetAttr(t.Context(), objstore.InodeID(second)); !objstore.IsKind(err, objstore.KindStale) {
		t.Errorf("the removed inode: %v", err)
	}
}
