package pebblekv

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cofferfs/coffer/objstore/meta"
)

const benchRecords = 1_000_000

func benchKey(i uint64) []byte {
	b := make([]byte, 0, 40)
	b = append(b, 'i')
	// Spread like the hash of an id, so that lookups are not sequential.
	b = binary.BigEndian.AppendUint64(b, i*0x9E3779B97F4A7C15)
	return binary.BigEndian.AppendUint64(b, i)
}

func benchOptions(b *testing.B) Options {
	o := testOptions(nil, b.TempDir())
	o.CacheBytes, o.MemTableBytes = 0, 0
	return o
}

func fill(b testing.TB, s *Store, n int) {
	b.Helper()
	value := make([]byte, 160)
	for i := 0; i < n; i += 1000 {
		err := s.Update(context.Background(), func(tx meta.Txn) error {
			for j := range 1000 {
				binary.BigEndian.PutUint64(value[8:], rand.Uint64())
				tx.Set(benchKey(uint64(i+j)), value)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Sync(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func benchStore(b *testing.B, n int) *Store {
	o := benchOptions(b)
	s := mustOpen(b, create(o))
	if n > 0 {
		fill(b, s, n)
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		s = mustOpen(b, o)
	}
	b.ReportAllocs()
	return s
}

func BenchmarkLookup(b *testing.B) {
	s := benchStore(b, benchRecords)
	for b.Loop() {
		err := s.View(context.Background(), func(r meta.Reader) error {
			_, err := r.Get(benchKey(uint64(rand.IntN(benchRecords))))
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookupAbsent(b *testing.B) {
	s := benchStore(b, benchRecords)
	for b.Loop() {
		err := s.View(context.Background(), func(r meta.Reader) error {
			_, err := r.Get(benchKey(uint64(benchRecords + rand.IntN(benchRecords))))
			return err
		})
		if err != meta.ErrNotFound {
			b.Fatal(err)
		}
	}
}

func createTxn(s *Store, i uint64, value []byte) error {
	return s.Update(context.Background(), func(tx meta.Txn) error {
		for j := range uint64(3) {
			if _, err := tx.Get(benchKey(i*3 + j)); err != nil && err != meta.ErrNotFound {
				return err
			}
		}
		for j := range uint64(3) {
			tx.Set(benchKey(i*3+j), value)
		}
		return nil
	})
}

func BenchmarkCreateTxn(b *testing.B) {
	s := benchStore(b, 0)
	value := make([]byte, 160)
	var i uint64
	for b.Loop() {
		i++
		if err := createTxn(s, i, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateTxn4K(b *testing.B) {
	s := benchStore(b, 0)
	value := make([]byte, 4096+160)
	var i uint64
	for b.Loop() {
		i++
		err := s.Update(context.Background(), func(tx meta.Txn) error {
			if _, err := tx.Get(benchKey(i * 3)); err != nil && err != meta.ErrNotFound {
				return err
			}
			rnd := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16)})
			rnd.Read(value)
			tx.Set(benchKey(i*3), value)
			tx.Set(benchKey(i*3+1), value[:100])
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	m := s.db.Metrics()
	total := m.Total()
	b.ReportMetric(float64(total.TableBytesFlushed+total.TableBytesCompacted+total.BlobBytesFlushed+total.BlobBytesCompacted)/float64(i*(4096+160+160)), "write-amp")
}

func BenchmarkScan1000(b *testing.B) {
	s := benchStore(b, benchRecords)
	for b.Loop() {
		n := 0
		err := s.View(context.Background(), func(r meta.Reader) error {
			for _, err := range r.Scan(meta.Range{Start: benchKey(uint64(rand.IntN(benchRecords)))}) {
				if err != nil {
					return err
				}
				if n++; n == 1000 {
					break
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func benchDurable(b *testing.B, writers int) {
	s := benchStore(b, 0)
	value := make([]byte, 160)
	var next atomic.Uint64
	b.SetParallelism(writers)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := createTxn(s, next.Add(1), value); err != nil {
				b.Error(err)
			}
			if err := s.Sync(context.Background()); err != nil {
				b.Error(err)
			}
		}
	})
}

// With GOMAXPROCS=1 these are 1 and 8 writers.
func BenchmarkDurableCreate1(b *testing.B) { benchDurable(b, 1) }
func BenchmarkDurableCreate8(b *testing.B) { benchDurable(b, 8) }

// BenchmarkOpenAfterCrash opens copies of a store whose process stopped with full memtables.
func BenchmarkOpenAfterCrash(b *testing.B) {
	o := benchOptions(b)
	s := mustOpen(b, create(o))
	fill(b, s, benchRecords)
	copied := b.TempDir()
	for b.Loop() {
		b.StopTimer()
		os.RemoveAll(copied)
		if err := os.CopyFS(copied, os.DirFS(o.Dir)); err != nil {
			b.Fatal(err)
		}
		syscall.Sync() // the copy's own writes are not to count
		again := o
		again.Dir = copied
		b.StartTimer()
		r := mustOpen(b, again)
		b.StopTimer()
		r.Close()
		b.StartTimer()
	}
}
