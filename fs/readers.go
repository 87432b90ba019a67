package fs

import (
	"runtime"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
)

var readersMu sync.Mutex // one change of GOMAXPROCS at a time

// newServer is fuse.NewServer with Options.Readers, which go-fuse takes from
// GOMAXPROCS at this moment.
func (f *FS) newServer(dir string, opts *fuse.MountOptions) (*fuse.Server, error) {
	if f.o.Readers > 0 {
		readersMu.Lock()
		defer readersMu.Unlock()
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(f.o.Readers))
	}
	return fuse.NewServer(f, dir, opts)
}
