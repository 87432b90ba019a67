package mount

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cofferfs/coffer/objstore"
)

// When a mount that is in use was flushed, the store has all that was written to it,
// also to files that are open still.
func TestFlushWaitsForTheKernel(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount without a helper")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip(err)
	}
	c := testConfig(t)
	mustInit(t, c)
	d, _ := startDaemon(t, c)
	dir := t.TempDir()
	if _, err := d.Mount(t.Context(), MountRequest{Mountpoint: dir, Bucket: "bucket"}); err != nil {
		t.Fatal(err)
	}
	bucket, err := d.store.engine.Lookup(t.Context(), objstore.RootInode, "bucket")
	if err != nil {
		t.Fatal(err)
	}
	d.mountsMu.Lock()
	p := d.find(dir)
	d.mountsMu.Unlock()
	text := bytes.Repeat([]byte("dirty"), 200_000)
	for i := range 60 {
		name := fmt.Sprint("f", i)
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := d.flushMount(t.Context(), p); err != nil {
			t.Error(err)
		}
		a, err := d.store.engine.Lookup(t.Context(), bucket.Inode, name)
		if err != nil {
			t.Error(err)
		}
		if a.Size != int64(len(text)) {
			t.Errorf("file %d: the store has %d bytes of %d", i, a.Size, len(text))
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			break
		}
	}
}
