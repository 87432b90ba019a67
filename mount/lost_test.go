package mount

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	fusefs "github.com/cofferfs/coffer/fs"
)

// TestUnmountSaysWhatWasLostThoughSomebodyElseHeardOfIt: whoever calls syncfs(2), for
// whatever reason, takes the kernel's only answer.
func TestUnmountSaysWhatWasLostThoughSomebodyElseHeardOfIt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: a small file system")
	}
	c := testConfig(t)
	disk := shortDir(t)
	if err := unix.Mount("coffer-test", disk, "tmpfs", 0, "size=300m"); err != nil {
		t.Skipf("no tmpfs here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	c.Store = filepath.Join(disk, "store")
	mustInit(t, c)
	d, _ := startDaemon(t, c)
	dir := t.TempDir()
	if _, err := d.Mount(t.Context(), MountRequest{Mountpoint: dir, Bucket: "bucket"}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.WriteFile(filepath.Join(disk, "filler"), make([]byte, 300<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	for range 20 { // what is kept for deletions is used up first
		if _, err := f.Write(make([]byte, 4<<20)); err != nil {
			break
		}
		_ = unix.Syncfs(int(f.Fd()))
		d.mountsMu.Lock()
		p := d.find(dir)
		d.mountsMu.Unlock()
		_ = d.flushMount(t.Context(), p)
	}
	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
	if err := d.Unmount(t.Context(), dir); err == nil || !strings.Contains(err.Error(), `"bucket/journal"`) {
		t.Errorf("unmount: %v; it is to name what was lost", err)
	}
	if err := d.Unmount(t.Context(), dir); CodeOf(err) != CodeBusy {
		t.Errorf("unmount once more: %v", err)
	}
	_ = f.Close() // it is told, too
	if err := d.Unmount(t.Context(), dir); err != nil {
		t.Error(err)
	}
}

// TestHungMountTakesNoTimeFromOthers: when the daemon ends, a mount that cannot be
// flushed does not keep another one from being.
func TestHungMountTakesNoTimeFromOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount without a helper")
	}
	// A slow disk can use up the time, too, but not however much there is.
	for limit := time.Second; ; limit *= 4 {
		good, hung, said := endBesideHung(t, limit)
		if !strings.Contains(said, `cannot flush a mount" mountpoint=`+hung) {
			t.Fatalf("the hung mount was flushed; the log says\n%s", said)
		}
		if !strings.Contains(said, `cannot flush a mount" mountpoint=`+good) {
			return
		}
		if limit > 10*time.Second {
			t.Fatalf("within %v the good mount was not flushed; the log says\n%s", limit, said)
		}
	}
}

// endBesideHung has a daemon end its two mounts, one of which hangs, and returns what
// it logs. limit is what flushing and removing them may take.
func endBesideHung(t *testing.T, limit time.Duration) (good, hung, log string) {
	t.Helper()
	c := testConfig(t)
	mustInit(t, c)
	var said safeBuffer
	d, stop := startLogged(t, c, slog.New(slog.NewTextHandler(&said, nil)))
	defer stop()
	good, hung = t.TempDir(), t.TempDir()
	if _, err := d.Mount(t.Context(), MountRequest{Mountpoint: good, Bucket: "good"}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(good, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Nobody gets into this one until it is refused.
	p := &mountPoint{gone: make(chan struct{}), MountInfo: MountInfo{Mountpoint: hung, Bucket: "other"}}
	root, err := d.bucketRoot(t.Context(), MountRequest{Bucket: "other"}, p)
	if err != nil {
		t.Fatal(err)
	}
	d.mountsMu.Lock()
	err = d.mountFS(root, fusefs.Options{Gated: true}, p, func(uint32) error { return nil })
	d.mountsMu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	d.unmountAll(t.Context(), limit, limit)
	p.of.fs.Refuse()
	return good, hung, said.String()
}

// safeBuffer is a Buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
