package engine

import (
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// BenchmarkSmallFile is what the mount asks for a file of 4 KiB: an absent name,
// the file, its bytes, their commit.
func BenchmarkSmallFile(b *testing.B) {
	s, root := benchStore(b)
	p := make([]byte, 4096)
	rand.Read(p)
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for i := range b.N {
		name := fmt.Sprintf("file%09d", i)
		if _, err := s.Lookup(bg, root, name); !objstore.IsKind(err, objstore.KindNotFound) {
			b.Fatal(err)
		}
		_, f, err := s.Create(bg, mountC, root, name, 0o644, objstore.OpenFlags{Write: true}, true)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.WriteAt(bg, p, 0); err != nil {
			b.Fatal(err)
		}
		if err := f.Flush(bg); err != nil {
			b.Fatal(err)
		}
		if err := f.Close(bg); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnlink is what the mount asks for when a file is removed: its name, and
// the times that the kernel hands over behind it.
func BenchmarkUnlink(b *testing.B) {
	s, root := benchStore(b)
	inos := make([]objstore.InodeID, b.N)
	for i := range inos {
		a, err := s.Mknod(bg, mountC, root, fmt.Sprintf("file%09d", i), objstore.TypeRegular, 0o644, 0)
		if err != nil {
			b.Fatal(err)
		}
		inos[i] = a.Inode
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i, ino := range inos {
		if err := s.Unlink(bg, mountC, root, fmt.Sprintf("file%09d", i)); err != nil {
			b.Fatal(err)
		}
		if _, _, err := s.TakeTimes(bg, ino, 1, 1); !objstore.IsKind(err, objstore.KindStale) {
			b.Fatal(err)
		}
	}
}
