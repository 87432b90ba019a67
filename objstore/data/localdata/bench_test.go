package localdata_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/data/localdata"
)

// The benchmarks stand beside what the disk itself does, in the same run. Set
// COFFER_BENCH_DIR to choose the disk.

const benchTotal = 512 << 20

func benchDir(b *testing.B) string {
	dir := os.Getenv("COFFER_BENCH_DIR")
	if dir == "" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(dir, "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func pageAligned(n int) []byte {
	p := make([]byte, n+4096)
	skip := -int(uintptr(unsafe.Pointer(&p[0]))) & 4095
	p = p[skip : skip+n]
	copy(p, datatest.Bytes(1, n))
	return p
}

func rawFile(b *testing.B, dir string) *os.File {
	f, err := os.OpenFile(filepath.Join(dir, "raw"), os.O_RDWR|os.O_CREATE|syscall.O_DIRECT, 0o600)
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { f.Close(); os.Remove(f.Name()) })
	return f
}

// share runs n times fn in w goroutines.
func share(w, n int, fn func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range w {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				fn(i)
			}
		})
	}
	wg.Wait()
}

// BenchmarkSequentialWrite writes 512 MiB and syncs once.
func BenchmarkSequentialWrite(b *testing.B) {
	for _, bs := range []int{1 << 20, 4 << 20} {
		for _, w := range []int{1, 2} {
			b.Run(fmt.Sprintf("disk-%dMiB-%d", bs>>20, w), func(b *testing.B) {
				dir := benchDir(b)
				p := pageAligned(bs)
				b.SetBytes(benchTotal)
				for b.Loop() {
					f := rawFile(b, dir)
					share(w, benchTotal/bs, func(i int) {
						if _, err := f.WriteAt(p, int64(i)*int64(bs)); err != nil {
							b.Error(err)
						}
					})
					if err := syscall.Fdatasync(int(f.Fd())); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					f.Close()
					os.Remove(f.Name())
					b.StartTimer()
				}
			})
		}
	}
	for _, w := range []int{1, 4} {
		b.Run(fmt.Sprintf("store-%d", w), func(b *testing.B) {
			p := datatest.Bytes(1, 4<<20+2080) // an extent of 4 MiB as DARE packages
			b.SetBytes(benchTotal)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				dir := benchDir(b)
				s, err := localdata.Open(b.Context(), localdata.Options{Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				share(w, benchTotal/len(p), func(int) {
					if _, err := s.Append(b.Context(), p); err != nil {
						b.Error(err)
					}
				})
				if err := s.Sync(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				s.Close()
				os.RemoveAll(dir)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkDurableSmall appends 4 KiB and syncs, one operation after the other
// in each goroutine.
func BenchmarkDurableSmall(b *testing.B) {
	b.Run("disk-1", func(b *testing.B) {
		f := rawFile(b, benchDir(b))
		p := pageAligned(4096)
		off := int64(0)
		for b.Loop() {
			if _, err := f.WriteAt(p, off); err != nil {
				b.Fatal(err)
			}
			if err := syscall.Fdatasync(int(f.Fd())); err != nil {
				b.Fatal(err)
			}
			off += 4096
		}
	})
	for _, w := range []int{1, 8} {
		b.Run(fmt.Sprintf("store-%d", w), func(b *testing.B) {
			s := open(b, localdata.Options{Dir: benchDir(b)})
			p := datatest.Bytes(1, 4096)
			b.ReportAllocs()
			b.ResetTimer()
			share(w, b.N, func(int) {
				if _, err := s.Append(b.Context(), p); err != nil {
					b.Error(err)
				}
				if err := s.Sync(b.Context()); err != nil {
					b.Error(err)
				}
			})
			b.StopTimer()
			st := s.Stats()
			b.ReportMetric(float64(st.Appends)/float64(st.Syncs), "appends/fdatasync")
		})
	}
}

// BenchmarkRead reads what was written once. O_DIRECT knows no warm reads.
func BenchmarkRead(b *testing.B) {
	dir := benchDir(b)
	s := open(b, localdata.Options{Dir: dir})
	const size = 4<<20 + 2080
	var locations []data.Location
	for range benchTotal / size {
		l, err := s.Append(b.Context(), datatest.Bytes(1, size))
		if err != nil {
			b.Fatal(err)
		}
		locations = append(locations, l)
	}
	if err := s.Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
	raw := rawFile(b, benchDir(b))
	p := pageAligned(4 << 20)
	for i := range benchTotal / len(p) {
		if _, err := raw.WriteAt(p, int64(i)*int64(len(p))); err != nil {
			b.Fatal(err)
		}
	}
	for _, w := range []int{1, 2} {
		b.Run(fmt.Sprintf("sequential-disk-4MiB-%d", w), func(b *testing.B) {
			b.SetBytes(4 << 20)
			bufs := sync.Pool{New: func() any { p := pageAligned(4 << 20); return &p }}
			share(w, b.N, func(i int) {
				buf := bufs.Get().(*[]byte)
				p := *buf
				if _, err := raw.ReadAt(p, int64(i%(benchTotal/len(p)))*int64(len(p))); err != nil {
					b.Error(err)
				}
				bufs.Put(buf)
			})
		})
		b.Run(fmt.Sprintf("sequential-store-4MiB-%d", w), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			bufs := sync.Pool{New: func() any { p := make([]byte, size); return &p }}
			share(w, b.N, func(i int) {
				buf := bufs.Get().(*[]byte)
				p := *buf
				if err := s.ReadAt(b.Context(), locations[i%len(locations)], p, 0); err != nil {
					b.Error(err)
				}
				bufs.Put(buf)
			})
		})
	}
	for _, n := range []int{4 << 10, 64<<10 + 32} {
		// To look at bytes that a device has just transferred costs as much as
		// a copy of them, which the store makes; so the disk is measured with
		// one, too.
		for _, copied := range []bool{false, true} {
			b.Run(fmt.Sprintf("random-disk-%dKiB-copied-%v", n>>10, copied), func(b *testing.B) {
				p := pageAligned((n + 4095) / 4096 * 4096)
				q := make([]byte, len(p))
				b.SetBytes(int64(n))
				for b.Loop() {
					if _, err := raw.ReadAt(p, rand.Int64N(benchTotal/4096-32)*4096); err != nil {
						b.Fatal(err)
					}
					if copied {
						copy(q, p)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("random-store-%dKiB", n>>10), func(b *testing.B) {
			p := make([]byte, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				l := locations[rand.IntN(len(locations))]
				if err := s.ReadAt(b.Context(), l, p, rand.Int64N(int64(size-n))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStagedSmall appends 4 KiB without a barrier: what a small file costs
// here before the group's one fdatasync.
func BenchmarkStagedSmall(b *testing.B) {
	for _, w := range []int{1, 4} {
		b.Run(fmt.Sprintf("store-%d", w), func(b *testing.B) {
			s := open(b, localdata.Options{Dir: benchDir(b)})
			p := datatest.Bytes(1, 4096)
			b.SetBytes(4096)
			b.ReportAllocs()
			share(w, b.N, func(int) {
				if _, err := s.Append(b.Context(), p); err != nil {
					b.Error(err)
				}
			})
		})
	}
}
