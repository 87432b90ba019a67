package engine

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/meta/pebblekv"
)

// benchStore is treeStore over the embedded metadata store, without a disk.
func benchStore(b *testing.B) (*Store, objstore.InodeID) {
	b.Helper()
	m, err := pebblekv.Open(bg, pebblekv.Options{
		Dir: "meta", FS: vfs.NewMem(), Create: true,
		StoreKeys: map[uint32]*secret.Key{1: secret.Random()}, CurrentKey: 1,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	s := openOver(b, m)
	return s, makeBucket(b, s, "bench")
}

func BenchmarkMknod(b *testing.B) {
	s, root := benchStore(b)
	for i := range b.N {
		if _, err := s.Mknod(bg, mountC, root, fmt.Sprintf("file%09d", i), objstore.TypeRegular, 0644, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func filled(b *testing.B, n int) (*Store, objstore.InodeID) {
	b.Helper()
	s, root := benchStore(b)
	for i := range n {
		if _, err := putKey(s, root, fmt.Sprintf("dir%03d/key%05d", i%100, i)); err != nil {
			b.Fatal(err)
		}
	}
	return s, root
}

func BenchmarkLookup(b *testing.B) {
	s, root := filled(b, 20000)
	dir, err := s.Lookup(bg, root, "dir007")
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for i := range b.N {
		if _, err := s.Lookup(bg, dir.Inode, fmt.Sprintf("key%05d", i%200*100+7)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookupAbsent(b *testing.B) {
	s, root := filled(b, 20000)
	b.ResetTimer()
	for range b.N {
		if _, err := s.Lookup(bg, root, "absent"); err == nil {
			b.Fatal("found")
		}
	}
}

func BenchmarkReadDirPlus1000(b *testing.B) {
	s, root := benchStore(b)
	for i := range 1000 {
		if _, err := putKey(s, root, fmt.Sprintf("key%05d", i)); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for range b.N {
		if ents, _, _, err := s.ReadDir(bg, root, "", 1000, true); err != nil || len(ents) != 1000 {
			b.Fatal(len(ents), err)
		}
	}
}

func benchList(b *testing.B, req objstore.ListRequest, want int) {
	s, _ := filled(b, 20000)
	req.Bucket, req.MaxKeys = "bench", 1000
	b.ResetTimer()
	for range b.N {
		res, err := s.ListObjects(bg, s3C, req)
		if err != nil || len(res.Entries) != want {
			b.Fatal(len(res.Entries), err)
		}
	}
}

func BenchmarkListKeys1000(b *testing.B)    { benchList(b, objstore.ListRequest{After: "dir050"}, 1000) }
func BenchmarkListPrefixes100(b *testing.B) { benchList(b, objstore.ListRequest{Delimiter: "/"}, 100) }
func BenchmarkListOneKey(b *testing.B) {
	benchList(b, objstore.ListRequest{Prefix: "dir050/key00050"}, 1)
}

// Names are new each time: reading a key that was deleted costs the metadata
// store as much as it has versions in memory.
func BenchmarkRenameDirectory(b *testing.B) {
	s, root := filled(b, 20000)
	name := "dir050"
	b.ResetTimer()
	for i := range b.N {
		next := fmt.Sprintf("name%09d", i)
		if err := s.Rename(bg, mountC, root, name, root, next, 0); err != nil {
			b.Fatal(err)
		}
		name = next
	}
}

func BenchmarkPutKey(b *testing.B) {
	s, root := benchStore(b)
	for i := range b.N {
		if _, err := putKey(s, root, fmt.Sprintf("some/way/to/key%09d", i)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDeleteKeysOfOneDirectory deletes in the order in which one lists.
func BenchmarkDeleteKeysOfOneDirectory(b *testing.B) {
	s, root := benchStore(b)
	key := func(i int) string { return fmt.Sprintf("some/way/to/key%09d", i) }
	for i := range b.N {
		if _, err := putKey(s, root, key(i)); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for i := range b.N {
		if _, err := deleteKey(s, root, key(i)); err != nil {
			b.Fatal(err)
		}
	}
}
