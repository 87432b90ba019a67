package ring

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// door is a file system of a few files: "open", those that begin with "shut", which are
// not answered before they are opened, and "data", which keeps what is written to it.
type door struct {
	fuse.RawFileSystem
	opened  chan struct{}
	waiting atomic.Int64
	synced  atomic.Int64

	mu   sync.Mutex
	data []byte
	attr map[string][]byte
}

const (
	openNode = 2 + iota
	shutNode
	dataNode
)

func (d *door) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	switch {
	case name == "open":
		out.NodeId = openNode
	case strings.HasPrefix(name, "shut"):
		d.waiting.Add(1)
		<-d.opened
		out.NodeId = shutNode
	case name == "data":
		out.NodeId = dataNode
	default:
		return fuse.ENOENT
	}
	out.Attr = d.file(out.NodeId)
	return fuse.OK
}

// file are the attributes of a file.
func (d *door) file(node uint64) fuse.Attr {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fuse.Attr{Ino: node, Mode: syscall.S_IFREG | 0o644, Nlink: 1, Size: uint64(len(d.data))}
}

func (d *door) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if in.NodeId == fuse.FUSE_ROOT_ID {
		out.Attr = fuse.Attr{Ino: 1, Mode: syscall.S_IFDIR | 0o755, Nlink: 2}
		return fuse.OK
	}
	out.Attr = d.file(in.NodeId)
	return fuse.OK
}

func (d *door) Open(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_DIRECT_IO
	return fuse.OK
}

func (d *door) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if end := int(in.Offset) + len(data); end > len(d.data) {
		d.data = append(d.data, make([]byte, end-len(d.data))...)
	}
	return uint32(copy(d.data[in.Offset:], data)), fuse.OK
}

func (d *door) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if in.Offset >= uint64(len(d.data)) {
		return fuse.ReadResultData(nil), fuse.OK
	}
	n := copy(buf, d.data[in.Offset:])
	if n%2 == 1 { // an answer that is not in the buffer for it
		return fuse.ReadResultData(bytes.Clone(buf[:n])), fuse.OK
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

func (d *door) Fsync(_ <-chan struct{}, _ *fuse.FsyncIn) fuse.Status {
	d.synced.Add(1)
	return fuse.OK
}

// SetXAttr has a name and a value in its payload.
func (d *door) SetXAttr(_ <-chan struct{}, _ *fuse.SetXAttrIn, attr string, data []byte) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attr[attr] = bytes.Clone(data)
	return fuse.OK
}

// GetXAttr writes its answer before it looks at the name for the last time.
func (d *door) GetXAttr(_ <-chan struct{}, _ *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(dest) > 0 {
		clear(dest)
	}
	v, ok := d.attr[attr]
	if !ok {
		return 0, fuse.ENOATTR
	}
	if len(dest) < len(v) {
		return uint32(len(v)), fuse.ERANGE
	}
	return uint32(copy(dest, v)), fuse.OK
}

// mountDoor mounts d with rings until the test ends, or unmount is called.
func mountDoor(t *testing.T) (d *door, dir string, s *Server, unmount func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts as root")
	}
	d = &door{RawFileSystem: fuse.NewDefaultRawFileSystem(), opened: make(chan struct{}), attr: map[string][]byte{}}
	dir, err := os.MkdirTemp("", "coffer-ring-test-")
	if err != nil {
		t.Fatal(err)
	}
	opts := &fuse.MountOptions{
		Name: "coffer-ring-test", MaxWrite: 1 << 20, DisableSplice: true, DirectMountStrict: true,
	}
	server, s, err := Connect(Config{FS: d, Options: opts, Dir: dir, Logger: slog.Default()}, func() (*fuse.Server, error) {
		return fuse.NewServer(d, dir, opts)
	})
	if err != nil {
		os.Remove(dir)
		if _, ok := errors.AsType[*UnavailableError](err); ok {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve()
	}()
	unmount = sync.OnceFunc(func() {
		err := unix.Unmount(dir, 0)
		for deadline := time.Now().Add(10 * time.Second); errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); {
			err = unix.Unmount(dir, 0) // drain looks at it for a moment
		}
		if err != nil {
			t.Errorf("unmount: %v", err)
			unix.Unmount(dir, unix.MNT_DETACH)
		}
		<-served
		s.Wait()
		os.Remove(dir)
	})
	t.Cleanup(unmount)
	// Until the kernel knows that there is no poll(2) here, a file that os opens is asked
	// for it, by a thread that the runtime cannot do without.
	if err := server.WaitMount(); err != nil {
		t.Fatal(err)
	}
	return d, dir, s, unmount
}

// onCPU runs fn bound to one processor, whose requests all come through one queue.
func onCPU(t *testing.T, cpu int, fn func()) {
	runtime.LockOSThread() // for good: the thread ends
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		t.Error(err)
		return
	}
	fn()
}

func TestWaitingRequestsHoldUpNoOthers(t *testing.T) {
	d, dir, _, _ := mountDoor(t)
	open := sync.OnceFunc(func() { close(d.opened) })
	defer open()
	const waiters = 100
	var ended sync.WaitGroup
	for i := range waiters {
		ended.Go(func() {
			onCPU(t, 0, func() {
				// The kernel asks once for all who look for the same name.
				if _, err := os.Stat(filepath.Join(dir, fmt.Sprint("shut", i))); err != nil {
					t.Error(err)
				}
			})
		})
	}
	for deadline := time.Now().Add(30 * time.Second); d.waiting.Load() < waiters; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests wait, want %d", d.waiting.Load(), waiters)
		}
	}
	for range 10 {
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			onCPU(t, 0, func() {
				_, err = os.Stat(filepath.Join(dir, "none"))
			})
		}()
		<-done
		if !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("beside requests that wait: %v", err)
		}
	}
	open()
	ended.Wait()
}

func TestPayloadsArriveWhole(t *testing.T) {
	_, dir, _, _ := mountDoor(t)
	f, err := os.OpenFile(filepath.Join(dir, "data"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1, 2, 4095, 4096, 4097, 65536, 1<<20 - 1, 1 << 20, 3<<20 + 5} {
		want := bytes.Repeat(fmt.Appendf(nil, "%d.", size), size)[:size]
		if n, err := f.WriteAt(want, 0); err != nil || n != size {
			t.Fatalf("write %d: %d, %v", size, n, err)
		}
		got := make([]byte, size)
		if n, err := f.ReadAt(got, 0); err != nil || n != size || !bytes.Equal(got, want) {
			t.Errorf("read %d: %d, %v", size, n, err)
		}
	}
}

func TestAnswerDoesNotOverwriteItsRequest(t *testing.T) {
	_, dir, _, _ := mountDoor(t)
	path := filepath.Join(dir, "data")
	for _, size := range []int{0, 1, 100, 4096, 60000} {
		name := "user." + strings.Repeat("n", 200)
		want := bytes.Repeat([]byte{'v'}, size)
		if err := unix.Setxattr(path, name, want, 0); err != nil {
			t.Fatalf("set %d bytes: %v", size, err)
		}
		got := make([]byte, 65536)
		n, err := unix.Getxattr(path, name, got)
		if err != nil || !bytes.Equal(got[:n], want) {
			t.Errorf("get %d bytes: %d, %v", size, n, err)
		}
	}
	if _, err := unix.Getxattr(path, "user.none", nil); !errors.Is(err, unix.ENODATA) {
		t.Errorf("an attribute that is not there: %v", err)
	}
}

func TestSyncsAreHandledAside(t *testing.T) {
	d, dir, _, _ := mountDoor(t)
	var ended sync.WaitGroup
	const each = 50
	for range 8 {
		ended.Go(func() {
			f, err := os.OpenFile(filepath.Join(dir, "data"), os.O_RDWR, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			for range each {
				if err := f.Sync(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	ended.Wait()
	if n := d.synced.Load(); n != 8*each {
		t.Errorf("%d syncs arrived of %d", n, 8*each)
	}
}

func TestUnmountEndsEverything(t *testing.T) {
	fds := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before, goroutines := fds(), runtime.NumGoroutine()
	for range 3 {
		d, dir, _, unmount := mountDoor(t)
		close(d.opened)
		if _, err := os.Stat(filepath.Join(dir, "open")); err != nil {
			t.Error(err)
		}
		unmount()
	}
	if n := fds(); n > before {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	// A goroutine is gone a moment after others can see that it is done.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
}

func TestAbortEndsEverything(t *testing.T) {
	_, dir, s, unmount := mountDoor(t)
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	control := t.TempDir()
	if err := unix.Mount("fusectl", control, "fusectl", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(control, unix.MNT_DETACH)
	if err := os.WriteFile(fmt.Sprintf("%s/%d/abort", control, unix.Minor(st.Dev)), []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "open")); err == nil {
		t.Error("the connection goes on")
	}
	s.Wait()
	unmount()
}
