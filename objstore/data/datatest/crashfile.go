package datatest

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/localdata"
)

var (
	_ localdata.File         = (*crashFile)(nil)
	_ localdata.Preallocator = (*crashFile)(nil)
)

// crashFile is an open file of a CrashFS.
type crashFile struct {
	fs     *CrashFS
	name   string
	inode  *inode
	closed bool // guarded by fs.mu
}

// checkLocked reports a transfer that O_DIRECT would refuse.
func (f *crashFile) checkLocked(op string, p []byte, off int64) error {
	if f.closed {
		f.fs.violateLocked("%s of %s after close", op, f.name)
		return fs.ErrClosed
	}
	if addr := uintptr(unsafe.Pointer(unsafe.SliceData(p))); addr%data.Block != 0 || off%data.Block != 0 || len(p)%data.Block != 0 {
		f.fs.violateLocked("%s of %s is not aligned: %d bytes at %d", op, f.name, len(p), off)
		return syscall.EINVAL
	}
	return nil
}

func (f *crashFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.checkLocked("read", p, off); err != nil {
		return 0, err
	}
	n := 0
	for n < len(p) && off < f.inode.size {
		block := f.inode.block(off / data.Block)
		rest := min(int64(len(p)-n), data.Block-off%data.Block, f.inode.size-off)
		dst := p[n : n+int(rest)]
		clear(dst)
		if block != nil {
			copy(dst, block[off%data.Block:])
		}
		n += int(rest)
		off += rest
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *inode) block(n int64) []byte {
	if d, ok := f.dirty[n]; ok {
		return d.p
	}
	return f.synced[n]
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.fs.change(Op{Kind: "write", Name: f.name, Offset: off, Length: int64(len(p))}, func(e Effect) error {
		if err := f.checkLocked("write", p, off); err != nil {
			return err
		}
		q := p
		switch e {
		case Nothing:
			return nil
		case Part:
			q = p[:len(p)/2/data.Block*data.Block]
		}
		if grow := off + int64(len(q)) - f.inode.size; grow > f.fs.roomLocked() {
			return syscall.ENOSPC
		}
		for i := 0; i < len(q); i += data.Block {
			n := (off + int64(i)) / data.Block
			if _, ok := f.inode.synced[n]; ok && !f.inode.unsure[n] {
				f.fs.violateLocked("block %d of %s was written again after it had been synced", n, f.name)
			}
			f.inode.dirty[n] = dirtyBlock{p: bytes.Clone(q[i : i+data.Block])}
		}
		f.inode.size = max(f.inode.size, off+int64(len(q)))
		f.inode.modified = time.Now()
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *crashFile) Preallocate(off, n int64) error {
	return f.fs.change(Op{Kind: "preallocate", Name: f.name, Offset: off, Length: n}, func(e Effect) error {
		if e == Nothing {
			return nil
		}
		if off+n-f.inode.size > f.fs.roomLocked() {
			return syscall.ENOSPC
		}
		f.inode.size = max(f.inode.size, off+n)
		return nil
	})
}

func (f *crashFile) Truncate(size int64) error {
	return f.fs.change(Op{Kind: "truncate", Name: f.name, Offset: size}, func(e Effect) error {
		if e == Nothing {
			return nil
		}
		for n := range f.inode.synced {
			if n*data.Block >= size {
				f.fs.violateLocked("block %d of %s was cut off after it had been synced", n, f.name)
			}
		}
		for n := range f.inode.dirty {
			if n*data.Block >= size {
				f.fs.violateLocked("block %d of %s was cut off after it had been written", n, f.name)
			}
		}
		f.inode.size = size
		return nil
	})
}

func (f *crashFile) Sync() error {
	return f.fs.change(Op{Kind: "sync", Name: f.name}, func(e Effect) error {
		numbers := slices.Sorted(maps.Keys(f.inode.dirty))
		done := len(numbers)
		switch e {
		case Nothing:
			done = 0
		case Part:
			done /= 2
		case All:
			f.inode.syncedSize = f.inode.size
			clear(f.inode.unsure)
		}
		for i, n := range numbers {
			d := f.inode.dirty[n]
			if i >= done {
				// As Linux does: the page counts as clean after a failed sync,
				// so that the next one succeeds without having written it.
				d.lost = true
				f.inode.dirty[n] = d
				continue
			}
			if d.lost {
				continue
			}
			f.inode.synced[n] = d.p
			if e != All {
				f.inode.unsure[n] = true
			}
			f.inode.syncedSize = max(f.inode.syncedSize, min((n+1)*data.Block, f.inode.size))
			delete(f.inode.dirty, n)
		}
		return nil
	})
}

func (f *crashFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.inode.size, nil
}

func (f *crashFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		f.fs.violateLocked("%s was closed twice", f.name)
		return fs.ErrClosed
	}
	f.closed = true
	f.fs.opened--
	return nil
}
