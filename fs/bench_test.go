package fs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func eachModeB(b *testing.B, fn func(b *testing.B, m *mounted)) {
	for _, c := range []struct {
		name string
		o    Options
	}{{"writethrough", Options{}}, {"writeback", Options{Writeback: true}}} {
		b.Run(c.name, func(b *testing.B) {
			m := mountBucket(b, c.o)
			fn(b, m)
		})
	}
}

func createFiles(b *testing.B, m *mounted, n int) {
	p := make([]byte, 4096)
	for i := range n {
		fd, err := unix.Open(m.path(fmt.Sprintf("file-%07d", i)), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0644)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := unix.Write(fd, p); err != nil {
			b.Fatal(err)
		}
		if err := unix.Close(fd); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreate4KiB(b *testing.B) {
	eachModeB(b, func(b *testing.B, m *mounted) {
		b.ResetTimer()
		createFiles(b, m, b.N)
	})
}

func BenchmarkRemove(b *testing.B) {
	eachModeB(b, func(b *testing.B, m *mounted) {
		createFiles(b, m, b.N)
		b.ResetTimer()
		if err := os.RemoveAll(m.dir + "/"); err != nil {
			_ = err // the mount point itself stays
		}
		b.StopTimer()
	})
}

func BenchmarkStatWarm(b *testing.B) {
	eachModeB(b, func(b *testing.B, m *mounted) {
		createFiles(b, m, 1000)
		var st unix.Stat_t
		i := 0
		for b.Loop() {
			if err := unix.Stat(m.path(fmt.Sprintf("file-%07d", i%1000)), &st); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	m := mountBucket(b, Options{CacheTime: 1}) // a nanosecond: nothing is kept
	createFiles(b, m, 1000)
	var st unix.Stat_t
	i := 0
	for b.Loop() {
		if err := unix.Stat(m.path(fmt.Sprintf("file-%07d", i%1000)), &st); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// sequential is the size of the file that sequential benchmarks use.
const sequential = 1 << 30

func BenchmarkSequentialWrite(b *testing.B) {
	eachModeB(b, func(b *testing.B, m *mounted) {
		b.SetBytes(sequential)
		for b.Loop() {
			writeSequential(b, m, "big")
			b.StopTimer()
			os.Remove(m.path("big"))
			b.StartTimer()
		}
	})
}

func writeSequential(b *testing.B, m *mounted, name string) {
	p := make([]byte, 1<<20)
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
	f, err := os.Create(m.path(name))
	if err != nil {
		b.Fatal(err)
	}
	for range sequential / len(p) {
		if _, err := f.Write(p); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

func readSequential(b *testing.B, m *mounted, name string, drop bool) {
	f, err := os.Open(m.path(name))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if drop {
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			b.Fatal(err)
		}
	}
	p := make([]byte, 1<<20)
	total := 0
	for {
		n, err := f.Read(p)
		total += n
		if err != nil || n == 0 {
			break
		}
	}
	if total != sequential {
		b.Fatalf("%d bytes", total)
	}
}

// The page cache of the mount is dropped, that of the store's disk may be warm.
func BenchmarkSequentialReadThroughDaemon(b *testing.B) {
	m := mountBucket(b, Options{Writeback: true})
	writeSequential(b, m, "big")
	b.SetBytes(sequential)
	for b.Loop() {
		readSequential(b, m, "big", true)
	}
}

func BenchmarkSequentialReadWarm(b *testing.B) {
	eachModeB(b, func(b *testing.B, m *mounted) {
		writeSequential(b, m, "big")
		readSequential(b, m, "big", false)
		b.SetBytes(sequential)
		for b.Loop() {
			readSequential(b, m, "big", false)
		}
	})
}

func BenchmarkRandomWrite4KiB(b *testing.B) {
	eachModeB(b, func(b *testing.B, m *mounted) {
		const size = 256 << 20
		f, err := os.Create(m.path("file"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		if err := f.Truncate(size); err != nil {
			b.Fatal(err)
		}
		p := make([]byte, 4096)
		b.SetBytes(4096)
		b.ResetTimer()
		for range b.N {
			if _, err := f.WriteAt(p, rand.Int64N(size/4096)*4096); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkWriteFdatasync4KiB(b *testing.B) {
	m := mountBucket(b, Options{Writeback: true})
	f, err := os.Create(m.path("file"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 4096)
	i := int64(0)
	for b.Loop() {
		if _, err := f.WriteAt(p, i*4096); err != nil {
			b.Fatal(err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
