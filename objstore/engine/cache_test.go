package engine

import (
	"maps"
	"math/rand"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/record"
)

func TestInodeCacheKeepsNothingReadBesideATransaction(t *testing.T) {
	c := newCache()
	old, fresh := &record.Inode{Size: 1}, &record.Inode{Size: 2}

	token := c.quiet()
	running := c.start()
	c.put(token, 5, old) // its snapshot was taken before the transaction ended
	c.end(running, changes{inodes: map[objstore.InodeID]*record.Inode{5: fresh}})
	c.put(token, 5, old)
	if n, ok := c.get(5); !ok || n.Size != 2 {
		t.Fatalf("holds %+v", n)
	}
	running = c.start()
	if c.quiet() != 0 {
		t.Fatal("quiet beside a transaction")
	}
	c.end(running, changes{inodes: map[objstore.InodeID]*record.Inode{5: nil}})
	if _, ok := c.get(5); ok {
		t.Fatal("holds an inode that was removed")
	}
	token = c.quiet()
	c.put(token, 5, old)
	if n, ok := c.get(5); !ok || n.Size != 1 {
		t.Fatal("does not keep what was read in peace")
	}
}

// The ends of two transactions can come in either order: neither's inodes are
// kept then.
func TestInodeCacheKeepsNothingOfTransactionsThatOverlap(t *testing.T) {
	c := newCache()
	first := c.start()
	second := c.start()
	if first == 0 || second != 0 {
		t.Fatalf("alone: %d and %d", first, second)
	}
	c.end(second, changes{inodes: map[objstore.InodeID]*record.Inode{5: {Size: 2}}})
	c.end(first, changes{inodes: map[objstore.InodeID]*record.Inode{5: {Size: 1}}})
	if n, ok := c.get(5); ok {
		t.Fatalf("holds %+v", n)
	}
}

func TestInodeCacheLendsCopies(t *testing.T) {
	c := newCache()
	n := &record.Inode{Size: 1}
	c.put(c.quiet(), 5, n)
	n.Size = 2
	got, _ := c.get(5)
	got.Size = 3
	if again, _ := c.get(5); again.Size != 1 {
		t.Fatalf("size %d", again.Size)
	}
}

func TestInodeCacheIsBounded(t *testing.T) {
	c := newCache()
	for i := range objstore.InodeID(3 * inodeCacheSize) {
		c.put(c.quiet(), i, &record.Inode{})
	}
	if len(c.m) > inodeCacheSize {
		t.Fatalf("%d inodes", len(c.m))
	}
}

// Whatever readers and transactions run beside each other, what the cache says
// after a transaction has ended is not older than it.
func TestCachedInodeIsNeverOlderThanAFinishedTransaction(t *testing.T) {
	s, _ := treeStore(t)
	root := makeBucket(t, s, "cache")
	ino, err := putKey(s, root, "k")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, _ = s.GetAttr(bg, ino)
				if rand.Intn(8) == 0 {
					s.cache.mu.Lock()
					clear(s.cache.m)
					s.cache.mu.Unlock()
				}
			}
		})
	}
	for i := range uint32(2000) {
		mode := i & 0o777
		if _, err := s.SetAttr(bg, objstore.Caller{}, ino, objstore.SetAttr{Mode: &mode}); err != nil {
			t.Fatal(err)
		}
		a, err := s.GetAttr(bg, ino)
		if err != nil || a.Mode != mode {
			t.Fatalf("mode %o after it was set to %o, %v", a.Mode, mode, err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestCachedAbsenceEndsWithTheEntry(t *testing.T) {
	c := newCache()
	k := entryKey{1, "a"}
	c.putEntry(c.quiet(), k, cachedEntry{})
	if e, known := c.entry(k); !known || e.ok {
		t.Fatal("does not keep absence")
	}
	token := c.quiet()
	running := c.start()
	c.end(running, changes{entries: map[entryKey]cachedEntry{k: {record.Dirent{Inode: 7}, true}}})
	c.putEntry(token, k, cachedEntry{}) // read before the transaction
	if e, known := c.entry(k); !known || !e.ok || e.d.Inode != 7 {
		t.Fatalf("holds %+v, %v", e, known)
	}
	first, second := c.start(), c.start()
	c.end(second, changes{entries: map[entryKey]cachedEntry{k: {record.Dirent{Inode: 8}, true}}})
	c.end(first, changes{})
	if _, known := c.entry(k); known {
		t.Fatal("keeps what transactions beside each other have set")
	}
}

// forget empties a cache.
func forget(c *cache) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.m)
	clear(c.entries)
	clear(c.buckets)
	c.listings = newCache().listings
}

// What reading a directory leaves in the cache is what the metadata say, of the
// names read and of those that they shadow or that shadow them.
func TestReadDirRemembersNothingThatIsNotSo(t *testing.T) {
	names := []string{"a", "a/x", "a!", "b", "b/x", "ab", "c", "c!", "d/x"}
	rng := rand.New(rand.NewSource(1))
	for range 60 {
		s, _ := treeStore(t)
		root := makeBucket(t, s, "bucket")
		for _, name := range names {
			if rng.Intn(2) == 0 {
				if _, err := putKey(s, root, name); err != nil {
					t.Fatal(err)
				}
			}
		}
		forget(s.cache)
		pages := 1 + rng.Intn(4)
		for pos, end := objstore.DirPos(""), false; !end; {
			var ents []objstore.Dirent
			var err error
			if ents, _, end, err = s.ReadDir(bg, root, pos, pages, rng.Intn(2) == 0); err != nil {
				t.Fatal(err)
			}
			if len(ents) > 0 {
				pos = ents[len(ents)-1].Pos
			}
		}
		s.cache.mu.Lock()
		known := maps.Clone(s.cache.entries)
		s.cache.mu.Unlock()
		forget(s.cache)
		for k, e := range known {
			err := s.view(bg, "test", "", func(r reader) error {
				d, ok, err := r.dirent(k.dir, k.stored)
				if err == nil && (ok != e.ok || ok && d != e.d) {
					t.Errorf("%q is remembered as %+v, is %+v %v", k.stored, e, d, ok)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A view may take from the cache what belongs to its snapshot, and only that.
func TestViewReadsTheCacheWhileNoTransactionBegan(t *testing.T) {
	c := newCache()
	k := entryKey{1, "a"}
	done := changes{
		inodes:  map[objstore.InodeID]*record.Inode{5: {Size: 1}, 6: nil},
		entries: map[entryKey]cachedEntry{k: {record.Dirent{Inode: 5}, true}},
	}
	c.end(c.start(), done)
	token := c.quiet()
	if n, known := c.inodeAt(token, 5); !known || n.Size != 1 {
		t.Fatalf("%+v, %v", n, known)
	}
	if n, known := c.inodeAt(token, 6); !known || n != nil {
		t.Fatalf("removed, but %+v, %v", n, known)
	}
	if _, known := c.inodeAt(token, 7); known {
		t.Fatal("knows what it never saw")
	}
	if e, known := c.entryAt(token, k); !known || e.d.Inode != 5 {
		t.Fatalf("%+v, %v", e, known)
	}
	running := c.start()
	unknown := func(when string, token uint64) {
		t.Helper()
		if _, known := c.inodeAt(token, 5); known {
			t.Fatalf("an inode %s", when)
		}
		if _, known := c.entryAt(token, k); known {
			t.Fatalf("an entry %s", when)
		}
	}
	unknown("beside a transaction", token)
	unknown("without a token", c.quiet())
	c.end(running, changes{})
	unknown("after a transaction", token)
	if _, known := c.inodeAt(c.quiet(), 5); !known {
		t.Fatal("forgets")
	}
}

// What a view reads belongs to its snapshot, although the cache has newer.
func TestViewKeepsItsSnapshot(t *testing.T) {
	k, root := newStack(t, nil)
	ino, err := putKey(k.s, root, "dir/k")
	if err != nil {
		t.Fatal(err)
	}
	mode, newest := uint32(0o640), ino
	err = k.s.view(bg, "test", "", func(r reader) error {
		for range 2 {
			at, n, err := r.findKey(root, "dir/k")
			if err != nil || at != ino || n.Mode&0o777 != 0o644 {
				t.Errorf("inode %d, %+v, %v", at, n, err)
			}
			if _, err := k.s.SetAttr(bg, mountC, newest, objstore.SetAttr{Mode: &mode}); err != nil {
				return err
			}
			if _, err := deleteKey(k.s, root, "dir/k"); err != nil {
				return err
			}
			if newest, err = putKey(k.s, root, "dir/k"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// HeadObject, Lookup and their like see what was committed before them, whether
// the cache has it or not.
func TestLookSeesWhatIsCommitted(t *testing.T) {
	k, root := newStack(t, nil)
	look := func() (ino objstore.InodeID, err error) {
		err = k.s.look(bg, "test", "", func(r reader) error {
			ino, _, err = r.findKey(root, "dir/k")
			return err
		})
		return ino, err
	}
	forget := func() {
		k.s.cache.mu.Lock()
		defer k.s.cache.mu.Unlock()
		clear(k.s.cache.m)
		clear(k.s.cache.entries)
	}
	for i := range 6 {
		ino, err := putKey(k.s, root, "dir/k")
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			forget()
		}
		for range 2 {
			if got, err := look(); err != nil || got != ino {
				t.Fatalf("inode %d in place of %d, %v", got, ino, err)
			}
		}
		if i%3 == 2 {
			if _, err := deleteKey(k.s, root, "dir/k"); err != nil {
				t.Fatal(err)
			}
			if _, err := look(); kindOf(err) != objstore.KindNotFound {
				t.Fatalf("after it was deleted: %v", err)
			}
		}
	}
	if got, err := look(); kindOf(err) != objstore.KindNotFound {
		t.Fatalf("%d, %v", got, err)
	}
	reads := &countingReader{}
	k.s.cache.mu.Lock()
	token := k.s.cache.started + 1
	k.s.cache.mu.Unlock()
	err := k.s.wrap("test", "", func() error {
		_, _, err := reader{Reader: reads, cache: k.s.cache, token: token, fresh: k.s.fresh}.findKey(root, "dir/k")
		return err
	}())
	if kindOf(err) != objstore.KindNotFound || reads.n != 0 {
		t.Errorf("%d reads for what the cache has, %v", reads.n, err)
	}
}

// countingReader counts what is asked of it.
type countingReader struct {
	nothing
	n int
}

func (c *countingReader) Get(key []byte) ([]byte, error) {
	c.n++
	return c.nothing.Get(key)
}

// A transaction that panics ends for the cache as well: it would keep nothing from
// then on.
func TestCacheOutlivesATransactionThatPanics(t *testing.T) {
	s, _ := treeStore(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		_ = s.update(bg, mountC, "test", "", func(*tx) error { panic("test") })
	}()
	if s.cache.quiet() == 0 {
		t.Error("the cache waits for a transaction that is gone")
	}
}
