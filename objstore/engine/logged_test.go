package engine

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
	"pgregory.net/rapid"
)

// logs returns how many logged writes there are.
func (k *stack) logs(t tester) int {
	t.Helper()
	keys, err := k.s.keysOf(bg, record.LoggedPrefix(), nil, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return len(keys)
}

// newLogged makes a file "f" of size bytes in extents, and returns it open with
// what it holds.
func newLogged(t tester, k *stack, root objstore.InodeID, size int) (*File, []byte) {
	t.Helper()
	f := fileAt(t, k.s, root, "f")
	want := bytesOf(1, size)
	mustWrite(t, f, want, 0)
	mustSync(t, f)
	return f, want
}

func mustSync(t tester, f *File) {
	t.Helper()
	if err := f.Sync(bg); err != nil {
		t.Fatalf("sync: %v", err)
	}
}

// changeLogged writes and syncs a few bytes of f, and of want, which it returns.
func changeLogged(t tester, f *File, want []byte, seed uint64, off, n int) []byte {
	t.Helper()
	p := bytesOf(seed, n)
	mustWrite(t, f, p, int64(off))
	mustSync(t, f)
	if grown := off + n - len(want); grown > 0 {
		want = append(want, make([]byte, grown)...)
	}
	copy(want[off:], p)
	return want
}

// What a sync finds is a record until the next commit, and both doors read it.
func TestSyncLogsWhatIsNew(t *testing.T) {
	k, root := newStack(t, nil)
	f, want := newLogged(t, k, root, 300_000)
	defer f.Close(bg)
	ops := k.disk.Ops()
	for i := range 30 {
		want = changeLogged(t, f, want, uint64(i+2), i*9000+i%3, 1+i*90)
		if n := k.logs(t); n != i+1 {
			t.Fatalf("%d logged writes after %d", n, i+1)
		}
		same(t, "object", mustGet(t, k.s, "f"), want)
	}
	want = changeLogged(t, f, want, 99, len(want)+5, 100) // behind the end
	same(t, "object", mustGet(t, k.s, "f"), want)
	p, _, err := get(k.s, objstore.GetRequest{Key: "f", Range: &objstore.Range{First: 89_000, Last: 91_000}})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "range", p, want[89_000:91_001])
	if k.disk.Ops() != ops {
		t.Error("logged writes wrote to a segment")
	}
	_, before, err := get(k.s, objstore.GetRequest{Key: "f"})
	if err != nil {
		t.Fatal(err)
	}
	if n := k.logs(t); n != 31 {
		t.Fatalf("%d logged writes, want 31", n)
	}
	if err := f.Flush(bg); err != nil {
		t.Fatal(err)
	}
	if n := k.logs(t); n != 0 {
		t.Errorf("%d logged writes after a commit", n)
	}
	got, after, err := get(k.s, objstore.GetRequest{Key: "f"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "object", got, want)
	if before.ETag != after.ETag || before.LastModified != after.LastModified {
		t.Errorf("mapping what was logged made %s of %s another object", after.ETag, before.ETag)
	}
	same(t, "file", readAll(t, f), want)
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// A sync with nothing new to it changes nothing; one with new times alone keeps
// the content's ETag.
func TestSyncOfTimesLogsNothing(t *testing.T) {
	k, root := newStack(t, nil)
	f, want := newLogged(t, k, root, 100_000)
	defer f.Close(bg)
	changeLogged(t, f, want, 2, 10, 10)
	_, before, err := get(k.s, objstore.GetRequest{Key: "f"})
	if err != nil {
		t.Fatal(err)
	}
	commits := k.s.commits.Load()
	mustSync(t, f)
	if n := k.s.commits.Load(); n != commits {
		t.Errorf("a sync without changes made %d commits", n-commits)
	}
	mtime := objstore.Time(12345)
	if _, err := k.s.SetAttr(bg, mountC, f.Inode(), objstore.SetAttr{Mtime: &mtime}); err != nil {
		t.Fatal(err)
	}
	mustSync(t, f)
	_, after, err := get(k.s, objstore.GetRequest{Key: "f"})
	if err != nil {
		t.Fatal(err)
	}
	if after.ETag != before.ETag || k.logs(t) != 1 {
		t.Errorf("ETag %s became %s, %d logged writes", before.ETag, after.ETag, k.logs(t))
	}
	if a, err := k.s.GetAttr(bg, f.Inode()); err != nil || a.Mtime != mtime {
		t.Errorf("mtime is %d, %v", a.Mtime, err)
	}
}

// Many, scattered or large writes, and those under a customer's key or in two
// layers, are committed: there is no record that could not be mapped later, and
// none without a bound.
func TestSyncLogsOnlyWhatIsSmall(t *testing.T) {
	for _, c := range []struct {
		name string
		mode objstore.SSEMode
		do   func(t *testing.T, f *File, want []byte) []byte
		want int
	}{
		{"64 KiB", objstore.SSES3, func(t *testing.T, f *File, want []byte) []byte {
			return changeLogged(t, f, want, 2, 5, 64<<10)
		}, 1},
		{"a byte more", objstore.SSES3, func(t *testing.T, f *File, want []byte) []byte {
			return changeLogged(t, f, want, 2, 5, 64<<10+1)
		}, 0},
		{"scattered", objstore.SSES3, func(t *testing.T, f *File, want []byte) []byte {
			for i := range maxLogRanges {
				mustWrite(t, f, []byte{1}, int64(i*3))
				want[i*3] = 1
			}
			return changeLogged(t, f, want, 2, 90_000, 1)
		}, 0},
		{"same place again and again", objstore.SSES3, func(t *testing.T, f *File, want []byte) []byte {
			for i := range record.MaxLoggedWrites + 3 {
				want = changeLogged(t, f, want, uint64(i), 5, 3)
			}
			return want
		}, 2},
		{"SSE-KMS", objstore.SSEKMS, func(t *testing.T, f *File, want []byte) []byte {
			return changeLogged(t, f, want, 2, 5, 10)
		}, 1},
		{"two layers", objstore.SSEDSSE, func(t *testing.T, f *File, want []byte) []byte {
			return changeLogged(t, f, want, 2, 5, 10)
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, root := newStack(t, nil)
			if err := k.s.SetBucketEncryption(bg, s3C, "bucket", objstore.BucketEncryption{Mode: c.mode}); err != nil {
				t.Fatal(err)
			}
			f, want := newLogged(t, k, root, 100_000)
			defer f.Close(bg)
			want = c.do(t, f, want)
			if n := k.logs(t); n != c.want {
				t.Errorf("%d logged writes, want %d", n, c.want)
			}
			same(t, "object", mustGet(t, k.s, "f"), want)
			same(t, "file", readAll(t, f), want)
			if err := checkStore(k.s); err != nil {
				t.Error(err)
			}
		})
	}
}

// A version that S3 put another object over keeps what was logged of it, although
// its file is still open and goes on being written.
func TestVersionKeepsWhatWasLogged(t *testing.T) {
	k, root := newStack(t, nil)
	f, want := newLogged(t, k, root, 100_000)
	want = changeLogged(t, f, want, 2, 10, 1000)
	k.versioning(objstore.VersioningEnabled)
	put(t, k.s, "f", []byte("new"))
	now := changeLogged(t, f, bytes.Clone(want), 3, 20, 2000)
	same(t, "file", readAll(t, f), now)
	old, _, err := get(k.s, objstore.GetRequest{Key: "f", Version: "null"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "null version", old, want)
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
	if err := f.Close(bg); err != nil {
		t.Error(err)
	}
}

// A commit that fails loses what was not synced, and nothing that was.
func TestFailedCommitKeepsWhatWasLogged(t *testing.T) {
	k, root, g := gatedStack(t)
	f, want := newLogged(t, k, root, 100_000)
	want = changeLogged(t, f, want, 2, 10, 1000)
	mustWrite(t, f, bytesOf(3, 500), 300)
	g.failWith(meta.ErrNoSpace)
	if err := f.Flush(bg); err == nil {
		t.Fatal("no failure")
	}
	same(t, "file", readAll(t, f), want)
	same(t, "object", mustGet(t, k.s, "f"), want)
	if err := f.Sync(bg); err == nil {
		t.Error("a sync that cannot map what was logged says nothing")
	}
	g.failWith(nil)
	want = changeLogged(t, f, want, 4, 400, 1000)
	if err := f.Close(bg); err != nil {
		t.Error(err)
	}
	if n := k.logs(t); n != 0 {
		t.Errorf("%d logged writes", n)
	}
	same(t, "object", mustGet(t, k.s, "f"), want)
	k.reopen()
	same(t, "object", mustGet(t, k.s, "f"), want)
	if err := checkStore(k.s); err != nil {
		t.Error(err)
	}
}

// TestLoggedWritesAreWhatWasSynced writes to one file, crashes and goes on: the
// object is always what the last sync or commit made it.
func TestLoggedWritesAreWhatWasSynced(t *testing.T) {
	checks(t, 15)
	rapid.Check(t, func(t *rapid.T) {
		k, root := newStack(t, nil)
		f, now := newLogged(t, k, root, 100_000)
		synced := bytes.Clone(now) // what a crash leaves at least
		rng := rand.New(rand.NewPCG(1, 2))
		reopened := func() {
			a, err := k.s.Lookup(bg, root, "f")
			if err != nil {
				t.Fatal(err)
			}
			if f, err = k.s.Open(bg, mountC, a.Inode, objstore.OpenFlags{Read: true, Write: true}); err != nil {
				t.Fatal(err)
			}
		}
		kept := func() { synced = bytes.Clone(now) }
		write := func(t *rapid.T) {
			off := rapid.IntRange(0, len(now)+100).Draw(t, "off")
			n := rapid.SampledFrom([]int{1, 100, 4096, 4096, 70_000}).Draw(t, "length")
			p := bytesOf(rapid.Uint64().Draw(t, "bytes"), n)
			mustWrite(t, f, p, int64(off))
			if grown := off + n - len(now); grown > 0 {
				now = append(now, make([]byte, grown)...)
			}
			copy(now[off:], p)
		}
		t.Repeat(map[string]func(*rapid.T){
			"write":   write,
			"write 2": write,
			"sync":    func(t *rapid.T) { mustSync(t, f); kept() },
			"write and sync": func(t *rapid.T) {
				for range rapid.IntRange(1, 5).Draw(t, "times") {
					write(t)
					mustSync(t, f)
					kept()
				}
			},
			"read": func(t *rapid.T) {
				off := rapid.IntRange(0, len(now)-1).Draw(t, "off")
				p := make([]byte, min(rapid.IntRange(1, 20_000).Draw(t, "length"), len(now)-off))
				if n, err := f.ReadAt(bg, p, int64(off)); err != nil || n != len(p) {
					t.Fatalf("read %d, %v", n, err)
				}
				same(t, "read", p, now[off:off+len(p)])
			},
			"get": func(t *rapid.T) {
				mustSync(t, f)
				kept()
				same(t, "object", mustGet(t, k.s, "f"), now)
			},
			"flush": func(t *rapid.T) {
				if err := f.Flush(bg); err != nil {
					t.Fatal(err)
				}
				same(t, "object", mustGet(t, k.s, "f"), now)
			},
			"close": func(t *rapid.T) {
				if err := f.Close(bg); err != nil {
					t.Fatal(err)
				}
				reopened()
			},
			"truncate": func(t *rapid.T) {
				size := rapid.IntRange(max(len(now)-50_000, 1), len(now)+1000).Draw(t, "size")
				if err := f.Truncate(bg, int64(size)); err != nil {
					t.Fatal(err)
				}
				if size > len(now) {
					now = append(now, make([]byte, size-len(now))...)
				}
				now = now[:size]
			},
			"copy": func(t *rapid.T) {
				mustSync(t, f)
				kept()
				if _, err := k.s.CopyObject(bg, s3C, objstore.CopyRequest{SrcBucket: "bucket", SrcKey: "f", DstBucket: "bucket", DstKey: "g"}); err != nil {
					t.Fatal(err)
				}
				same(t, "copy", mustGet(t, k.s, "g"), now)
			},
			"collect": func(t *rapid.T) {
				if err := k.s.settle(bg); err != nil {
					t.Fatal(err)
				}
			},
			"crash": func(t *rapid.T) {
				mustSync(t, f)
				kept()
				if rapid.Bool().Draw(t, "unsynced writes") {
					write(t)
				}
				c := k.crash(rng, 0)
				k.close()
				*k = *c
				if err := k.open(false); err != nil {
					t.Fatal(err)
				}
				now = bytes.Clone(synced)
				same(t, "object", mustGet(t, k.s, "f"), now)
				reopened()
			},
		})
		same(t, "file", readAll(t, f), now)
		if err := f.Close(bg); err != nil {
			t.Fatal(err)
		}
		if err := checkStore(k.s); err != nil {
			t.Fatal(err)
		}
	})
}
