package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const crashBucket = "crash"

// load is what writers do between two kills, in a directory of their own. Each
// writer stops at its first error, which may come only once killed is set.
type load struct {
	t      testing.TB
	mnt    string
	s3     *S3
	dir    string // below the bucket
	killed atomic.Bool
	work   sync.WaitGroup

	history  *history
	appender appender
	replacer replacer
	blocks   blocks
	objects  objects
}

func (l *load) path(name string) string { return filepath.Join(l.mnt, crashBucket, l.dir, name) }

func startLoad(t testing.TB, mnt string, c *S3, dir string, seed int64) *load {
	t.Helper()
	l := &load{t: t, mnt: mnt, s3: c, dir: dir}
	if err := os.MkdirAll(l.path("history"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.history = newHistory(rand.New(rand.NewSource(seed)), l.path("history"), crashBucket, dir+"/history/", c)
	l.appender = appender{r: rand.New(rand.NewSource(seed + 1))}
	l.replacer = replacer{r: rand.New(rand.NewSource(seed + 2)), seed: seed}
	l.blocks = blocks{r: rand.New(rand.NewSource(seed + 3)), seed: seed}
	l.objects = objects{r: rand.New(rand.NewSource(seed + 4)), have: map[string][]byte{}}
	// The directories themselves are part of what has to be there.
	d, err := os.Open(l.path(""))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	l.run("history", func() error { return l.history.do(ctx) })
	l.run("appender", func() error { return l.appender.do(l.path("log")) })
	l.run("replacer", func() error { return l.replacer.do(l.path("")) })
	l.run("blocks", func() error { return l.blocks.do(l.path("blocks")) })
	l.run("objects", func() error { return l.objects.do(ctx, l) })
	return l
}

// run repeats do until the daemon is killed.
func (l *load) run(name string, do func() error) {
	l.work.Add(1)
	go func() {
		defer l.work.Done()
		for {
			err := do()
			if l.killed.Load() {
				return
			}
			if err != nil {
				l.t.Errorf("%s: failed before the daemon was killed: %v", name, err)
				return
			}
		}
	}()
}

// verify checks what a kill left.
func (l *load) verify(t testing.TB, mnt string, c *S3) {
	t.Helper()
	state, err := stateOf(l.path("history"))
	if err != nil {
		t.Fatalf("history: %v", err)
	}
	lost := l.history.check(t, state)
	t.Logf("%s: %d steps, %d acknowledged, %d lost; %d appended, %d replaced, %d blocks, %d objects",
		l.dir, len(l.history.states)-1, l.history.acked, lost, len(l.appender.stream), l.replacer.issued, l.blocks.writes, l.objects.ops)
	l.appender.check(t, l.path("log"))
	l.replacer.check(t, l.path(""))
	l.blocks.check(t, l.path("blocks"))
	l.objects.check(t, l, c)
}

// appender writes records to the end of a log.
type appender struct {
	r      *rand.Rand
	f      *os.File
	stream []byte // all that was written, in order
	acked  int    // bytes known to be durable
	n      int
}

func (a *appender) do(path string) (err error) {
	if a.f == nil || a.r.Intn(20) == 0 {
		a.f.Close()
		if a.f, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return err
		}
	}
	record := make([]byte, 12+a.r.Intn(9000))
	a.r.Read(record)
	a.n++
	binary.BigEndian.PutUint64(record, uint64(a.n))
	a.stream = append(a.stream, record...)
	if _, err := a.f.Write(record); err != nil {
		return err
	}
	if a.r.Intn(12) == 0 {
		if err := a.f.Sync(); err != nil {
			return err
		}
		a.acked = len(a.stream)
	}
	return nil
}

func (a *appender) check(t testing.TB, path string) {
	t.Helper()
	a.f.Close()
	got, err := os.ReadFile(path)
	if err != nil && !(os.IsNotExist(err) && a.acked == 0) {
		t.Errorf("log: %v", err)
		return
	}
	if len(got) < a.acked {
		t.Errorf("log: %d bytes are there, %d were acknowledged", len(got), a.acked)
	}
	if !bytes.HasPrefix(a.stream, got) {
		at := 0
		for at < min(len(got), len(a.stream)) && got[at] == a.stream[at] {
			at++
		}
		t.Errorf("log: %d bytes that are no prefix of the %d written (%d acknowledged): they differ at %d", len(got), len(a.stream), a.acked, at)
	}
}

// replacer writes versions of a file, each into a new one that is then put in
// its place.
type replacer struct {
	r      *rand.Rand
	seed   int64
	issued int
	acked  int
}

func (p *replacer) version(n int) []byte {
	r := rand.New(rand.NewSource(p.seed ^ int64(n)))
	b := make([]byte, 8+r.Intn(200<<10))
	r.Read(b)
	binary.BigEndian.PutUint64(b, uint64(n))
	return b
}

func (p *replacer) do(dir string) error {
	n := p.issued + 1
	tmp := filepath.Join(dir, fmt.Sprintf("tmp%d", n%3))
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(p.version(n)); err != nil {
		return err
	}
	if p.r.Intn(3) == 0 {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	// Half of them rename what is still open.
	if p.r.Intn(2) == 0 {
		if err := f.Close(); err != nil {
			return err
		}
	}
	p.issued = n
	if err := os.Rename(tmp, filepath.Join(dir, "target")); err != nil {
		return err
	}
	if p.r.Intn(4) == 0 {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer d.Close()
		if err := d.Sync(); err != nil {
			return err
		}
		p.acked = n
	}
	return nil
}

func (p *replacer) check(t testing.TB, dir string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, "target"))
	if os.IsNotExist(err) && p.acked == 0 {
		return
	}
	if err != nil || len(got) < 8 {
		t.Errorf("replaced file: %s, %v, after %d versions", brief(got), err, p.issued)
		return
	}
	n := int(binary.BigEndian.Uint64(got))
	if n < p.acked || n > p.issued {
		t.Errorf("replaced file has version %d, acknowledged %d, written %d", n, p.acked, p.issued)
	} else if !bytes.Equal(got, p.version(n)) {
		t.Errorf("replaced file is torn: version %d is %s, want %s", n, brief(got), brief(p.version(n)))
	}
}

// blocks overwrites blocks of one file at random.
type blocks struct {
	r             *rand.Rand
	seed          int64
	f             *os.File
	issued, acked [64]int // versions by block
	writes        int
}

const blockSize = 4096

func (b *blocks) block(i, version int) []byte {
	p := make([]byte, blockSize)
	if version > 0 {
		rand.New(rand.NewSource(b.seed ^ int64(i)<<32 ^ int64(version))).Read(p)
	}
	return p
}

func (b *blocks) do(path string) (err error) {
	if b.f == nil {
		if b.f, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644); err != nil {
			return err
		}
		if err := b.f.Truncate(int64(len(b.issued)) * blockSize); err != nil {
			return err
		}
	}
	i := b.r.Intn(len(b.issued))
	b.issued[i]++
	b.writes++
	if _, err := b.f.WriteAt(b.block(i, b.issued[i]), int64(i)*blockSize); err != nil {
		return err
	}
	if b.r.Intn(8) == 0 {
		if err := b.f.Sync(); err != nil {
			return err
		}
		b.acked = b.issued
	}
	return nil
}

func (b *blocks) check(t testing.TB, path string) {
	t.Helper()
	b.f.Close()
	got, err := os.ReadFile(path)
	acked := slices.Max(b.acked[:]) > 0
	if err != nil || len(got) != len(b.issued)*blockSize {
		if acked {
			t.Errorf("blocks: %d bytes, %v", len(got), err)
		}
		return
	}
	for i := range b.issued {
		p := got[i*blockSize : (i+1)*blockSize]
		ok := false
		for v := b.acked[i]; v <= b.issued[i] && !ok; v++ {
			ok = bytes.Equal(p, b.block(i, v))
		}
		if !ok {
			t.Errorf("block %d is none of the versions %d (acknowledged) to %d", i, b.acked[i], b.issued[i])
		}
	}
}

// objects writes through the S3 door alone. What it is told is done is durable.
type objects struct {
	r       *rand.Rand
	have    map[string][]byte // nil value: deleted
	pending string            // key of the request under way, which may have happened
	next    []byte            // its content
	ops     int
}

func (o *objects) do(ctx context.Context, l *load) (err error) {
	bucket := crashBucket
	key := fmt.Sprintf("%s/objects/k%d", l.dir, o.r.Intn(8))
	var next []byte
	body := func(n int) []byte {
		b := make([]byte, n)
		o.r.Read(b)
		return b
	}
	begin := func() { o.pending, o.next = key, next }
	switch n := o.r.Intn(20); {
	case n < 12:
		next = body(o.r.Intn(100 << 10))
		begin()
		err = l.s3.Put(ctx, bucket, key, next)
	case n < 14:
		next = body(o.r.Intn(9 << 20))
		begin()
		err = l.s3.Put(ctx, bucket, key, next)
	case n < 16:
		begin()
		err = l.s3.Delete(ctx, bucket, key)
	case n < 18:
		from := fmt.Sprintf("%s/objects/k%d", l.dir, o.r.Intn(8))
		if o.have[from] == nil || from == key {
			return nil
		}
		next = o.have[from]
		begin()
		source := bucket + "/" + from
		_, err = l.s3.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &bucket, Key: &key, CopySource: &source})
	default:
		parts := [][]byte{body(5 << 20), body(1 + o.r.Intn(1<<20))}
		next = slices.Concat(parts...)
		err = l.s3.multipart(ctx, bucket, key, parts, begin)
	}
	if err != nil {
		return err
	}
	o.have[key] = next
	o.pending, o.next = "", nil
	o.ops++
	return nil
}

func (o *objects) check(t testing.TB, l *load, c *S3) {
	t.Helper()
	for i := range 8 {
		key := fmt.Sprintf("%s/objects/k%d", l.dir, i)
		got, err := c.Get(context.Background(), crashBucket, key)
		if err != nil && errorCode(err) != "NoSuchKey" {
			t.Errorf("%s: %v", key, err)
			continue
		}
		if err == nil && got == nil {
			got = []byte{}
		}
		same := func(want []byte) bool { return (got == nil) == (want == nil) && bytes.Equal(got, want) }
		if !same(o.have[key]) && !(o.pending == key && same(o.next)) {
			t.Errorf("%s: %s, acknowledged %s", key, brief(got), brief(o.have[key]))
		}
		file, ferr := os.ReadFile(filepath.Join(l.mnt, crashBucket, key))
		if os.IsNotExist(ferr) != (got == nil) || !bytes.Equal(file, got) {
			t.Errorf("%s: the mount has %s (%v), S3 has %s", key, brief(file), ferr, brief(got))
		}
	}
}

func TestKilledDaemonLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	h := NewHouse(t)
	base := seed(t)
	r := rand.New(rand.NewSource(base))
	kills := 32
	if long() {
		kills = 400
	}
	h.Mount()
	c := h.NewS3()
	if _, err := c.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: ptr(crashBucket)}); err != nil {
		t.Fatal(err)
	}
	h.Signal(syscall.SIGKILL)
	states := map[string]string{}
	var slowest time.Duration
	open := func(cache string) string {
		start := time.Now()
		mnt := h.Mount("--cache=" + cache)
		slowest = max(slowest, time.Since(start))
		return mnt
	}
	for kill := range kills {
		mnt := open([]string{"writeback", "through"}[kill%2])
		c := h.NewS3()
		pid := h.Status().PID
		l := startLoad(t, mnt, c, fmt.Sprintf("cycle%d", kill), base+int64(kill)*100)
		time.Sleep(time.Duration(r.Intn(900)) * time.Millisecond) // the random moment
		l.killed.Store(true)
		h.end(pid, syscall.SIGKILL)
		l.work.Wait()
		c.http.CloseIdleConnections()
		if kill%5 == 4 { // the recovery can be killed too
			open("auto")
			h.Signal(syscall.SIGKILL)
		}
		mnt = open("auto")
		c = h.NewS3()
		l.verify(t, mnt, c)
		if n := h.Status().Corruptions; n != 0 {
			t.Errorf("%d reads failed authentication", n)
		}
		if t.Failed() {
			t.Fatalf("at kill %d", kill+1)
		}
		state, err := stateOf(l.path(""))
		if err != nil {
			t.Fatal(err)
		}
		states[l.dir] = state
		// Every other time what was found is left to the next kill.
		if kill%2 == 0 {
			h.Umount()
		} else {
			if err := syncAll(mnt); err != nil {
				t.Fatal(err)
			}
			h.Signal(syscall.SIGKILL)
		}
		c.http.CloseIdleConnections()
	}
	mnt := open("auto")
	for dir, want := range states {
		got, err := stateOf(filepath.Join(mnt, crashBucket, dir))
		if err != nil || got != want {
			t.Errorf("%s has changed by later kills: %v\n%v", dir, err, difference(want, got))
		}
	}
	h.Umount()
	t.Logf("%d kills; the slowest start of a daemon and mount took %v", kills, slowest)
}

// People kill and mount again in one line, while the kernel still takes the
// dead process apart.
func TestMountRightAfterKill(t *testing.T) {
	h := NewHouse(t)
	for range 20 {
		h.Mount()
		if err := syscall.Kill(h.Status().PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	h.Mount()
	h.Umount()
}

// syncAll makes durable what was written to the mount.
func syncAll(mnt string) error {
	d, err := os.Open(mnt)
	if err != nil {
		return err
	}
	defer d.Close()
	return syncfs(d)
}

func ptr[T any](v T) *T { return &v }
