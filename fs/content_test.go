package fs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What maps files runs in a process of its own: a page fault stops a thread of
// Go in a place where the collector cannot stop it, so a process that serves
// the page itself would wait for itself.
const childEnv = "COFFER_FS_TEST_CHILD"

// inChild runs the test once more in a child process, which finds the mount
// point in the environment.
func inChild(t *testing.T, dir string, env ...string) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^"+strings.SplitN(t.Name(), "/", 2)[0]+"$", "-test.v", "-test.timeout=5m")
	c.Env = append(os.Environ(), append(env, childEnv+"="+dir)...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestSharedMappingReachesTheStore(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		mapAndWrite(t, dir+"/file")
		return
	}
	eachMode(t, func(t *testing.T, m *mounted) {
		inChild(t, m.dir)
		want := mappedContent()
		wantContent(t, m.path("file"), string(want))
		if got := m.get(t, "file"); !bytes.Equal(got, want) {
			t.Error("the store has something else")
		}
	})
}

const mappedSize = 5*4096 + 100

func mappedContent() []byte {
	want := bytes.Repeat([]byte("mapped!"), mappedSize/7+1)[:mappedSize]
	copy(want[4090:], "written")
	want[0], want[100] = '*', '+'
	return want
}

// mapAndWrite writes mappedContent through a mapping, by and by.
func mapAndWrite(t *testing.T, path string) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0644)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(mappedSize); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, mappedSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	copy(mem, bytes.Repeat([]byte("mapped!"), mappedSize/7+1))
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("written"), 4090); err != nil {
		t.Fatal(err)
	}
	if string(mem[4090:4097]) != "written" {
		t.Error("the mapping does not show what was written")
	}
	mem[0] = '*'
	if err := unix.Msync(mem, unix.MS_SYNC); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	mem[100] = '+' // the mapping outlives the descriptor
	if err := unix.Msync(mem, unix.MS_SYNC); err != nil {
		t.Fatal(err)
	}
	if err := unix.Munmap(mem); err != nil {
		t.Fatal(err)
	}
}

func TestAppendsOfTwoProcessesAllArrive(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		const lines = 300
		var wg sync.WaitGroup
		for _, who := range []string{"a", "b"} {
			wg.Go(func() {
				// Half through one descriptor, half with an open for each line.
				script := fmt.Sprintf(`{ i=0; exec 3>>log; while [ $i -lt %d ]; do echo %s$i >&3; i=$((i+1)); echo %s$i >>log; i=$((i+1)); done; }`, lines, who, who)
				c := shell(m.dir, script)
				if out, err := c.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			})
		}
		wg.Wait()
		got, err := os.ReadFile(m.path("log"))
		if err != nil {
			t.Fatal(err)
		}
		next := map[byte]int{}
		for line := range strings.Lines(string(got)) {
			if line != fmt.Sprintf("%c%d\n", line[0], next[line[0]]) {
				t.Fatalf("line %q, expected number %d", line, next[line[0]])
			}
			next[line[0]]++
		}
		if next['a'] != lines || next['b'] != lines {
			t.Errorf("%d and %d lines of %d", next['a'], next['b'], lines)
		}
	})
}

func TestSparseFiles(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		const far = 3 << 30
		f, err := os.Create(m.path("file"))
		if err != nil {
			t.Fatal(err)
		}
		f.WriteAt([]byte("begin"), 0)
		f.WriteAt([]byte("end"), far)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		st := stat(t, m.path("file"))
		if st.Size != far+3 || st.Blocks*512 > 1<<20 {
			t.Errorf("size %d, %d blocks", st.Size, st.Blocks)
		}
		r, err := os.Open(m.path("file"))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		buf := make([]byte, 10)
		if n, _ := r.ReadAt(buf, far-5); string(buf[:n]) != "\x00\x00\x00\x00\x00end" {
			t.Errorf("around the end: %q", buf[:n])
		}
		if n, _ := r.ReadAt(buf, far/2); !bytes.Equal(buf[:n], make([]byte, 10)) {
			t.Errorf("in the hole: %q", buf[:n])
		}
		data, err := unix.Seek(int(r.Fd()), 1<<20, unix.SEEK_DATA)
		if err != nil || data > far || data < far-4096 && m.m.fs.seeks {
			t.Errorf("SEEK_DATA from the hole: %d, %v", data, err)
		}
		hole, err := unix.Seek(int(r.Fd()), 0, unix.SEEK_HOLE)
		if err != nil || hole < 5 || hole > 4096 && m.m.fs.seeks {
			t.Errorf("SEEK_HOLE from the start: %d, %v", hole, err)
		}
	})
}

// What was written through a mapping is data before anything has written it back.
func TestMappedWritesAreNoHole(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		mapIntoHole(t, dir+"/file")
		return
	}
	eachMode(t, func(t *testing.T, m *mounted) { inChild(t, m.dir) })
}

func mapIntoHole(t *testing.T, path string) {
	const size, at = 1 << 20, 500_000
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	mem[at] = 1
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if off, err := unix.Seek(int(r.Fd()), 0, unix.SEEK_DATA); err != nil || off > at {
		t.Errorf("the first data are at %d, %v", off, err)
	}
	if off, err := unix.Seek(int(r.Fd()), at, unix.SEEK_HOLE); err != nil || off == at {
		t.Errorf("there is a hole at %d, %v", off, err)
	}
}

// model does what a file does, on a []byte.
type model struct {
	data []byte
}

func (o *model) grow(n int) {
	if n > len(o.data) {
		o.data = append(o.data, make([]byte, n-len(o.data))...)
	}
}

// TestFileAgainstModel does random operations on a file through two
// descriptors and a shared mapping, and the same on a slice.
func TestFileAgainstModel(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		exercise(t, dir+"/file")
		return
	}
	seed := rand.Uint64()
	if s := os.Getenv("COFFER_SEED"); s != "" {
		fmt.Sscan(s, &seed)
	}
	eachMode(t, func(t *testing.T, m *mounted) {
		model := filepath.Join(t.TempDir(), "model")
		inChild(t, m.dir, fmt.Sprintf("COFFER_SEED=%d", seed), "COFFER_FS_TEST_MODEL="+model)
		want, err := os.ReadFile(model)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.get(t, "file"); !bytes.Equal(got, want) {
			t.Errorf("COFFER_SEED=%d: the store has something else", seed)
		}
	})
}

// exercise is the child's part.
func exercise(t *testing.T, path string) {
	var seed uint64
	fmt.Sscan(os.Getenv("COFFER_SEED"), &seed)
	t.Logf("COFFER_SEED=%d", seed)
	steps := 1500
	if os.Getenv("COFFER_LONG") != "" {
		steps = 100000
	}
	x := &exerciser{t: t, r: rand.New(rand.NewPCG(seed, 1)), path: path}
	x.open()
	for i := range steps {
		x.step()
		if t.Failed() {
			for _, h := range x.history[max(0, len(x.history)-30):] {
				t.Log(h)
			}
			t.Fatalf("at step %d", i)
		}
	}
	x.close()
	if err := os.WriteFile(os.Getenv("COFFER_FS_TEST_MODEL"), x.want.data, 0600); err != nil {
		t.Fatal(err)
	}
}

type exerciser struct {
	t       *testing.T
	r       *rand.Rand
	path    string
	fds     [2]int
	want    model
	history []string
}

const maxModelSize = 300 << 10

func (x *exerciser) open() {
	for i := range x.fds {
		flags := unix.O_RDWR | unix.O_CREAT | unix.O_CLOEXEC
		fd, err := unix.Open(x.path, flags, 0644)
		if err != nil {
			x.t.Fatal(err)
		}
		x.fds[i] = fd
	}
}

func (x *exerciser) close() {
	for i, fd := range x.fds {
		if fd != 0 {
			if err := unix.Close(fd); err != nil {
				x.t.Error(err)
			}
		}
		x.fds[i] = 0
	}
}

func (x *exerciser) note(format string, args ...any) {
	x.history = append(x.history, fmt.Sprintf(format, args...))
}

func (x *exerciser) fail(err error) {
	if err != nil {
		x.t.Errorf("%s: %v", x.history[len(x.history)-1], err)
	}
}

func (x *exerciser) step() {
	fd := x.fds[x.r.IntN(2)]
	off := x.r.IntN(maxModelSize)
	n := x.r.IntN(40<<10) + 1
	if x.r.IntN(3) == 0 {
		n = x.r.IntN(100) + 1
	}
	if x.r.IntN(4) == 0 {
		off, n = off&^4095, (n+4095)&^4095
	}
	switch op := x.r.IntN(100); {
	case op < 30:
		x.note("write %d+%d", off, n)
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(x.r.Uint32())
		}
		_, err := unix.Pwrite(fd, p, int64(off))
		x.fail(err)
		x.want.grow(off + n)
		copy(x.want.data[off:], p)
	case op < 60:
		x.note("read %d+%d", off, n)
		p := make([]byte, n)
		got, err := unix.Pread(fd, p, int64(off))
		x.fail(err)
		var want []byte
		if off < len(x.want.data) {
			want = x.want.data[off:min(off+n, len(x.want.data))]
		}
		x.compare(p[:got], want, off)
	case op < 68:
		x.note("truncate %d", off)
		x.fail(unix.Ftruncate(fd, int64(off)))
		x.want.grow(off)
		x.want.data = x.want.data[:off:off]
	case op < 78:
		x.mapped(fd, off, n)
	case op < 82:
		x.note("punch %d+%d", off, n)
		x.fail(unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(off), int64(n)))
		x.zero(off, n)
	case op < 85:
		x.note("zero %d+%d", off, n)
		x.fail(unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, int64(off), int64(n)))
		x.want.grow(off + n)
		x.zero(off, n)
	case op < 87:
		x.note("allocate %d+%d", off, n)
		x.fail(unix.Fallocate(fd, 0, int64(off), int64(n)))
		x.want.grow(off + n)
	case op < 91:
		x.note("fsync")
		x.fail(unix.Fsync(fd))
	case op < 94:
		x.note("reopen")
		x.close()
		x.open()
	case op < 96:
		x.note("drop pages")
		x.fail(unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED))
	default:
		x.note("size")
		var st unix.Stat_t
		x.fail(unix.Fstat(fd, &st))
		if st.Size != int64(len(x.want.data)) {
			x.t.Errorf("size %d, want %d", st.Size, len(x.want.data))
		}
	}
}

func (x *exerciser) zero(off, n int) {
	if off < len(x.want.data) {
		clear(x.want.data[off:min(off+n, len(x.want.data))])
	}
}

// mapped reads a range through a shared mapping and writes some of it.
func (x *exerciser) mapped(fd, off, n int) {
	if off >= len(x.want.data) {
		return
	}
	n = min(n, len(x.want.data)-off)
	x.note("map %d+%d", off, n)
	base := off &^ 4095
	mem, err := unix.Mmap(fd, int64(base), off-base+n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		x.fail(err)
		return
	}
	defer unix.Munmap(mem)
	p := mem[off-base:]
	x.compare(p, x.want.data[off:off+n], off)
	for i := 0; i < n; i += 1 + x.r.IntN(2000) {
		p[i] = byte(x.r.Uint32())
		x.want.data[off+i] = p[i]
	}
}

func (x *exerciser) compare(got, want []byte, off int) {
	if bytes.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			x.t.Errorf("byte %d is %d, want %d (of %d at %d)", off+i, got[i], want[i], len(want), off)
			return
		}
	}
	x.t.Errorf("%d bytes at %d, want %d", len(got), off, len(want))
}

// TestOpenFileShowsWhatItTakes: programs that copy take a file without blocks for one
// hole (tar --sparse), however long somebody has it open.
func TestOpenFileShowsWhatItTakes(t *testing.T) {
	for _, o := range []Options{{}, {Writeback: true, WritebackInterval: time.Millisecond}} {
		m := mountBucket(t, o)
		f, err := os.Create(m.path("file"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for i := int64(1); i < 4; i++ {
			before := stat(t, m.path("file")).Blocks
			if _, err := f.Write(pattern(byte(i), 100_000)); err != nil {
				t.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(time.Minute)
			for stat(t, m.path("file")).Blocks < before+100_000/512 {
				if time.Now().After(deadline) {
					t.Fatalf("%+v: %d blocks after %d bytes, %d before", o, stat(t, m.path("file")).Blocks, i*100_000, before)
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
}
