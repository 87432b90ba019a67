package fs

import (
	"runtime"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/cofferfs/coffer/fs/ring"
)

// connectMu is held while a mount is made: Options.Readers is a setting of the whole
// process for go-fuse, and ring.Connect wants no other mount beside its own.
var connectMu sync.Mutex

// connect makes the mount and answers the kernel's INIT.
func (f *FS) connect(dir string, opts *fuse.MountOptions, rings bool) (connection *fuse.Server, err error) {
	connectMu.Lock()
	defer connectMu.Unlock()
	mount := func() (*fuse.Server, error) {
		if f.o.Readers > 0 {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(f.o.Readers))
		}
		return fuse.NewServer(f, dir, opts)
	}
	if !rings {
		return mount()
	}
	connection, f.rings, err = ring.Connect(ring.Config{FS: f, Options: opts, Dir: dir, Logger: f.log}, mount)
	return connection, err
}
