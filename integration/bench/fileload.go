package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	block = 1 << 20 // of sequential reading and writing
	page  = 4 << 10 // of random reading and writing
)

// noise is what is written: random, so that nothing can compress it, and
// aligned for O_DIRECT.
var noise = func() []byte {
	b := alignedBlock(16 * block)
	crand.Read(b)
	return b
}()

// alignedBlock makes a buffer that begins on a page.
func alignedBlock(n int) []byte {
	b := make([]byte, n+page)
	skip := page - int(uintptr(unsafe.Pointer(&b[0]))%page)
	return b[skip : skip+n]
}

// noiseAt is the block that a large file has at off, a multiple of block.
func noiseAt(off int64) []byte {
	at := off % int64(len(noise))
	return noise[at : at+block]
}

// noiseOf is the body of a large object.
func noiseOf(size int64) []byte {
	b := make([]byte, size)
	for at := 0; at < len(b); {
		at += copy(b[at:], noise)
	}
	return b
}

// writeLarge writes a file of size bytes and syncs it.
func writeLarge(ctx context.Context, path string, size int64, flags int) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|flags, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for off := int64(0); off < size; off += block {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := f.Write(noiseAt(off)); err != nil {
			return err
		}
	}
	return f.Sync()
}

// readLarge reads a whole file in order. check: it must hold what writeLarge
// wrote; looked at is the beginning of each block.
func readLarge(ctx context.Context, path string, size int64, check bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := alignedBlock(block)
	for off := int64(0); off < size; off += block {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.ReadFull(f, buf); err != nil {
			return fmt.Errorf("at %d: %w", off, err)
		}
		if check && !bytes.Equal(buf[:64], noiseAt(off)[:64]) {
			return fmt.Errorf("wrong bytes at %d", off)
		}
	}
	return nil
}

// readLargeDirect reads past the kernel's cache, with several requests at a
// time: what the disk can do.
func readLargeDirect(path string, size int64) error {
	const streams = 4
	var next atomic.Int64
	return parallel(streams, func(int) error {
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECT, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		buf := alignedBlock(block)
		for {
			off := next.Add(block) - block
			if off >= size {
				return nil
			}
			if _, err := f.ReadAt(buf, off); err != nil {
				return err
			}
		}
	})
}

// parallel runs f n times at once.
func parallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// readRandom reads n pages at random places, of length bytes each.
func readRandom(ctx context.Context, path string, size int64, n, length, flags int, check bool) error {
	f, err := os.OpenFile(path, os.O_RDONLY|flags, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := alignedBlock(length)
	places := rand.New(rand.NewPCG(1, uint64(n)))
	for range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		off := places.Int64N(size/int64(length)) * int64(length)
		if _, err := f.ReadAt(buf, off); err != nil {
			return fmt.Errorf("at %d: %w", off, err)
		}
		if check {
			in := off % block
			if !bytes.Equal(buf[:64], noiseAt(off - in)[in:in+64]) {
				return fmt.Errorf("wrong bytes at %d", off)
			}
		}
	}
	return nil
}

// writeRandom overwrites n pages at random places and syncs at the end.
func writeRandom(ctx context.Context, path string, size int64, n int, seed uint64) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	places := rand.New(rand.NewPCG(2, seed))
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := f.WriteAt(noise[i%1024*page:][:page], places.Int64N(size/page)*page); err != nil {
			return err
		}
	}
	return f.Sync()
}

// writeSynced writes pages to the given files, one job for each, with an
// fdatasync after each page, for a time: at random places of the first size
// bytes, or, if size is 0, at the end. It returns how many.
func writeSynced(ctx context.Context, paths []string, size int64, d time.Duration) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var done atomic.Int64
	err := parallel(len(paths), func(i int) (err error) {
		f, err := os.OpenFile(paths[i], os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		places := rand.New(rand.NewPCG(3, uint64(i)))
		for n := int64(0); ctx.Err() == nil; n++ {
			off := n * page
			if size > 0 {
				off = places.Int64N(size/page) * page
			}
			if _, err := f.WriteAt(noise[n%1024*page:][:page], off); err != nil {
				return err
			}
			if err := unix.Fdatasync(int(f.Fd())); err != nil {
				return err
			}
			done.Add(1)
		}
		return nil
	})
	return int(done.Load()), err
}

// appendSynced appends pages to a new file, each with an fdatasync, for a time.
func appendSynced(ctx context.Context, path string, d time.Duration) (int, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer os.Remove(path)
	defer f.Close()
	n := 0
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; n++ {
		if _, err := f.Write(noise[n%1024*page:][:page]); err != nil {
			return 0, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return n, ctx.Err()
}

// perDir is how many small files a directory gets.
const perDir = 1000

func smallFile(root string, i int) string {
	return filepath.Join(root, "d"+strconv.Itoa(i/perDir), "file-"+strconv.Itoa(i))
}

// createSmall makes n files of one page below root, which it makes too.
func createSmall(ctx context.Context, root string, n int) error {
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := smallFile(root, i)
		if i%perDir == 0 {
			if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
				return err
			}
		}
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return fmt.Errorf("create %q: %w", path, err)
		}
		_, err = unix.Write(fd, noise[i%1024*page:][:page])
		if err = errors.Join(err, unix.Close(fd)); err != nil {
			return fmt.Errorf("write %q: %w", path, err)
		}
	}
	return nil
}

// statSmall looks at what createSmall made.
func statSmall(ctx context.Context, root string, n int) error {
	var st unix.Stat_t
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := unix.Lstat(smallFile(root, i), &st); err != nil {
			return err
		}
		if st.Size != page {
			return fmt.Errorf("%q has %d bytes", smallFile(root, i), st.Size)
		}
	}
	return nil
}

// countTree counts the entries of a tree and brings it into the page cache.
func countTree(ctx context.Context, root string) (int, error) {
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		n++
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(io.Discard, f)
		return err
	})
	return n, err
}
