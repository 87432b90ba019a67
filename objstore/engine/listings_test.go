package engine

import (
	"fmt"
	"math/rand"
	"slices"
	"sync"
	"testing"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/record"
)

// scanned returns what the metadata have in a directory.
func scanned(t *testing.T, s *Store, dir objstore.InodeID) (list []listed) {
	t.Helper()
	err := s.o.Meta.View(bg, func(r meta.Reader) error {
		for p, err := range r.Scan(meta.Prefix(record.DirentPrefix(dir))) {
			if err != nil {
				return err
			}
			stored, _ := record.DirentName(p.Key)
			d, err := record.ParseDirent(p.Value)
			if err != nil {
				return err
			}
			list = append(list, listed{stored, d})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// checkListings compares all listings with the metadata, and the sum with its parts.
func checkListings(t *testing.T, s *Store) {
	t.Helper()
	s.cache.mu.Lock()
	known := make(map[objstore.InodeID][]listed)
	size := 0
	for dir, list := range s.cache.listings.m {
		known[dir] = slices.Clone(list)
		size += len(list) + listingCost
	}
	if size != s.cache.listings.size {
		t.Errorf("%d entries are counted as %d", size, s.cache.listings.size)
	}
	s.cache.mu.Unlock()
	for dir, list := range known {
		if want := scanned(t, s, dir); !slices.Equal(list, want) {
			t.Errorf("directory %d is remembered as %+v, is %+v", dir, list, want)
		}
	}
}

// TestListingIsWhatTheDirectoryHolds whatever either door does to it.
func TestListingIsWhatTheDirectoryHolds(t *testing.T) {
	s, _ := treeStore(t)
	root := makeBucket(t, s, "bucket")
	rng := rand.New(rand.NewSource(1))
	names := []string{"a", "a!", "b", "c"}
	hits := 0
	for range 3000 {
		dir, name := root, names[rng.Intn(len(names))]
		if sub, err := s.Lookup(bg, root, names[rng.Intn(len(names))]); err == nil && sub.Type == objstore.TypeDirectory && rng.Intn(2) == 0 {
			dir = sub.Inode
		}
		switch rng.Intn(8) {
		case 0:
			_, _ = s.Mkdir(bg, mountC, dir, name, 0o755)
		case 1:
			_, _ = s.Mknod(bg, mountC, dir, name, objstore.TypeRegular, 0o644, 0)
		case 2:
			_ = s.Unlink(bg, mountC, dir, name)
		case 3:
			_ = s.Rmdir(bg, mountC, dir, name)
		case 4:
			_ = s.Rename(bg, mountC, dir, name, root, names[rng.Intn(len(names))], 0)
		case 5:
			_, _ = putKey(s, root, name+"/"+names[rng.Intn(len(names))])
		case 6:
			_, _ = s.DeleteObject(bg, s3C, objstore.DeleteRequest{Bucket: "bucket", Key: name + "/" + names[rng.Intn(len(names))]})
		default:
			if _, _, _, err := s.ReadDir(bg, dir, "", 100, rng.Intn(2) == 0); err != nil {
				t.Fatal(err)
			}
		}
		if _, known := (reader{cache: s.cache, token: s.cache.quiet()}).listing(dir, ""); known {
			hits++
		}
		checkListings(t, s)
		if t.Failed() {
			return
		}
	}
	if hits == 0 {
		t.Error("nothing was remembered")
	}
}

// TestReadDirFromTheCacheIsThatFromTheStore page by page.
func TestReadDirFromTheCacheIsThatFromTheStore(t *testing.T) {
	s, _ := treeStore(t)
	root := makeBucket(t, s, "bucket")
	for _, key := range []string{"a", "a/x", "a!", "b//c", "c", "c/d", "e"} { // a and c are hidden, "" too
		if _, err := putKey(s, root, key); err != nil {
			t.Fatal(err)
		}
	}
	read := func(max int) (all []objstore.Dirent) {
		for pos := objstore.DirPos(""); ; {
			ents, _, end, err := s.ReadDir(bg, root, pos, max, true)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, ents...)
			if end {
				return all
			}
			if len(ents) == 0 {
				t.Fatal("no entries, and no end")
			}
			pos = ents[len(ents)-1].Pos
		}
	}
	forget(s.cache) // of the bucket that was just made
	want := read(1) // leaves no listing
	if read(100); len(s.cache.listings.m) != 1 {
		t.Fatal("a reading of the whole directory is not remembered")
	}
	for max := 1; max < 8; max++ {
		if got := read(max); !slices.Equal(got, want) {
			t.Errorf("%d at a time: %v, want %v", max, got, want)
		}
	}
}

// TestListingsBesideEachOther: readers and writers of one directory.
func TestListingsBesideEachOther(t *testing.T) {
	s, _ := treeStore(t)
	root := makeBucket(t, s, "bucket")
	var readers, writers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, _, _, err := s.ReadDir(bg, root, "", 100, true); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for w := range 3 {
		writers.Go(func() {
			for i := range 500 {
				name := fmt.Sprint(w, i%5)
				if _, err := s.Mknod(bg, mountC, root, name, objstore.TypeRegular, 0o644, 0); err != nil {
					_ = s.Unlink(bg, mountC, root, name)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	checkListings(t, s)
	ents, _, _, err := s.ReadDir(bg, root, "", 100, false)
	if want := scanned(t, s, root); err != nil || len(ents) != len(want) {
		t.Errorf("%d entries are read, %d are there, %v", len(ents), len(want), err)
	}
}

// TestListingsAreBounded: over all, and each.
func TestListingsAreBounded(t *testing.T) {
	l := newCache().listings
	many := func(n int) (list []listed) {
		for i := range n {
			list = append(list, listed{fmt.Sprintf("%05d", i), record.Dirent{Inode: 1}})
		}
		return list
	}
	l.put(1, many(listingMax+1))
	if len(l.m) != 0 {
		t.Error("keeps a directory that is too large")
	}
	for dir := range objstore.InodeID(2 * listingsSize / listingMax) {
		l.put(dir, many(listingMax))
	}
	if l.size > listingsSize || l.size < listingsSize/2 {
		t.Errorf("holds %d entries", l.size)
	}
	for dir := range l.m {
		l.note(entryKey{dir, "x"}, cachedEntry{record.Dirent{Inode: 2}, true})
	}
	if l.size != 0 || len(l.m) != 0 {
		t.Errorf("holds %d entries of %d directories that have grown too large", l.size, len(l.m))
	}
	for dir := range objstore.InodeID(2 * listingsSize) {
		l.put(dir, nil)
	}
	if len(l.m) > listingsSize {
		t.Errorf("holds %d empty directories", len(l.m))
	}
}

// TestNewDirectoryIsListedWithoutReadingIt: it was empty, and what was put into it
// since is known.
func TestNewDirectoryIsListedWithoutReadingIt(t *testing.T) {
	s, _ := treeStore(t)
	root := makeBucket(t, s, "bucket")
	a, err := s.Mkdir(bg, mountC, root, "dir", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mknod(bg, mountC, a.Inode, "b", objstore.TypeRegular, 0o644, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := putKey(s, root, "new/dir/key"); err != nil { // makes directories and fills them
		t.Fatal(err)
	}
	s.cache.mu.Lock()
	if n := len(s.cache.listings.m); n != 4 {
		t.Errorf("%d directories are listed, want 4", n)
	}
	s.cache.mu.Unlock()
	checkListings(t, s)
}
