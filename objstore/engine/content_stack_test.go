package engine

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cofferfs/coffer/crypto/kms"
	"github.com/cofferfs/coffer/crypto/secret"
	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/datatest"
	"github.com/cofferfs/coffer/objstore/data/localdata"
	"github.com/cofferfs/coffer/objstore/meta"
	"github.com/cofferfs/coffer/objstore/meta/pebblekv"
)

// long tells whether the long forms of tests were asked for.
var long = os.Getenv("COFFER_LONG") != ""

// tester is what tests and properties have in common.
type tester interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// stack is a whole store on two directories in memory, which know what a crash
// would leave of them and can be stopped at one instant.
type stack struct {
	t       tester
	freeze  *sync.RWMutex
	mem     *vfs.MemFS        // metadata
	disk    *datatest.CrashFS // segments
	key     *secret.Key
	root    *secret.Key
	kms     []byte
	options Options // what a test wants to differ
	segment int64
	reserve uint64                 // of room on the disk, for the metadata
	spare   uint64                 // and for compaction
	free    func() (uint64, error) // of the metadata's disk; nil: much
	wrap    func(data.Store) data.Store
	wrapKV  func(meta.Store) meta.Store
	hook    func(op, name string) // before each change of the metadata's directory

	s     *Store
	kv    *pebblekv.Store
	local *localdata.Store
	keys  *kms.Builtin
}

// newStack opens a new store with one bucket, "bucket".
func newStack(t tester, set func(*stack)) (*stack, objstore.InodeID) {
	t.Helper()
	freeze := new(sync.RWMutex)
	k := &stack{
		t: t, freeze: freeze, mem: vfs.NewCrashableMem(), disk: datatest.NewCrashFS(freeze),
		key: secret.Random(), root: secret.Random(),
		options: Options{FlushInterval: -1, CollectInterval: -1, Grace: time.Nanosecond},
	}
	if set != nil {
		set(k)
	}
	keys, err := kms.NewKeystore(kms.KeyFileUnlock(k.root), k.saveKeys)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Create(bg, EKSSES3); err != nil {
		t.Fatal(err)
	}
	keys.Close()
	if err := k.open(true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.close)
	root := makeBucket(t, k.s, "bucket")
	if err := k.s.durable(bg); err != nil {
		t.Fatal(err)
	}
	return k, root
}

// saveKeys is where the keystore is, which is replaced at one instant.
func (k *stack) saveKeys(b []byte) error {
	k.freeze.RLock()
	defer k.freeze.RUnlock()
	k.kms = bytes.Clone(b)
	return nil
}

// rotate gives the key of SSE-S3 a new version and moves all data keys to it.
func (k *stack) rotate() error {
	if err := k.keys.Rotate(bg, EKSSES3); err != nil {
		return err
	}
	_, err := k.s.RewrapKeys(bg, EKSSES3)
	return err
}

func (k *stack) open(create bool) (err error) {
	k.keys, err = kms.OpenKeystore(k.kms, kms.KeyFileUnlock(k.root), k.saveKeys)
	if err != nil {
		return err
	}
	k.local, err = localdata.Open(bg, localdata.Options{Dir: "/data", FS: k.disk, SegmentBytes: k.segment, ReserveBytes: k.reserve, SpareBytes: k.spare})
	if err != nil {
		return err
	}
	k.kv, err = pebblekv.Open(bg, pebblekv.Options{
		Dir: "/meta", FS: &frozenFS{FS: k.mem, k: k}, StoreKeys: map[uint32]*secret.Key{1: k.key}, CurrentKey: 1,
		Create: create, CacheBytes: 1 << 20, MemTableBytes: 1 << 20,
		BeforeDurable: func() error { return k.local.Sync(bg) }, FreeSpace: k.free,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return err
	}
	o := k.options
	o.Meta, o.Data, o.KMS, o.StoreID = k.kv, k.local, k.keys, [16]byte{7}
	if k.wrap != nil {
		o.Data = k.wrap(o.Data)
	}
	if k.wrapKV != nil {
		o.Meta = k.wrapKV(o.Meta)
	}
	if create {
		if err := Initialise(bg, o); err != nil {
			return err
		}
	}
	k.s, err = Open(bg, o)
	return err
}

func (k *stack) close() {
	if k.s != nil {
		_ = k.s.Close()
		_ = k.kv.Close()
		_ = k.local.Close()
		_ = k.keys.Close()
		k.s = nil
	}
}

// reopen stops the store in order and opens it again.
func (k *stack) reopen() {
	k.t.Helper()
	k.close()
	if err := k.open(false); err != nil {
		k.t.Fatalf("reopen: %v", err)
	}
}

// crash returns what a crash at this instant would leave, not yet open. percent
// is how much of what was not synced is kept.
func (k *stack) crash(rng *rand.Rand, percent int) *stack {
	k.freeze.Lock()
	defer k.freeze.Unlock()
	freeze := new(sync.RWMutex)
	cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}
	var disk *rand.Rand
	if percent > 0 {
		disk = rng
	}
	return &stack{
		t: k.t, freeze: freeze, mem: k.mem.CrashClone(cfg), disk: k.disk.CloneLocked(disk, freeze),
		key: k.key, root: k.root, kms: k.kms, options: k.options, segment: k.segment,
	}
}

// frozenFS makes every change of the metadata's directory under the stack's
// freeze lock.
type frozenFS struct {
	vfs.FS
	k *stack
}

func (f *frozenFS) change(op, name string) func() {
	if f.k.hook != nil {
		f.k.hook(op, name)
	}
	f.k.freeze.RLock()
	return f.k.freeze.RUnlock
}

func (f *frozenFS) file(file vfs.File, err error, name string) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &frozenFile{file, f, name}, nil
}

func (f *frozenFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	defer f.change("create", name)()
	file, err := f.FS.Create(name, c)
	return f.file(file, err, name)
}

func (f *frozenFS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.Open(name, o...)
	return f.file(file, err, name)
}

func (f *frozenFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	return f.file(file, err, name)
}

func (f *frozenFS) Remove(name string) error {
	defer f.change("remove", name)()
	return f.FS.Remove(name)
}

func (f *frozenFS) Rename(a, b string) error {
	defer f.change("rename", b)()
	return f.FS.Rename(a, b)
}

type frozenFile struct {
	vfs.File
	f    *frozenFS
	name string
}

func (f *frozenFile) Write(p []byte) (int, error) {
	defer f.f.change("write", f.name)()
	return f.File.Write(p)
}

func (f *frozenFile) WriteAt(p []byte, off int64) (int, error) {
	defer f.f.change("write", f.name)()
	return f.File.WriteAt(p, off)
}

func (f *frozenFile) Sync() error {
	defer f.f.change("sync", f.name)()
	return f.File.Sync()
}

func (f *frozenFile) SyncData() error { return f.Sync() }

// fileAt makes and opens a file.
func fileAt(t tester, s *Store, dir objstore.InodeID, name string) *File {
	t.Helper()
	_, f, err := s.Create(bg, mountC, dir, name, 0o644, objstore.OpenFlags{Read: true, Write: true}, false)
	if err != nil {
		t.Fatalf("create %q: %v", name, err)
	}
	return f
}

// bytesOf are n bytes that differ with seed and place.
func bytesOf(seed uint64, n int) []byte {
	p := make([]byte, n)
	var key [32]byte
	copy(key[:], fmt.Sprint(seed))
	rand.NewChaCha8(key).Read(p)
	return p
}

// readAll reads a file to its end.
func readAll(t tester, f *File) []byte {
	t.Helper()
	var out []byte
	p := make([]byte, 1<<20)
	for {
		n, err := f.ReadAt(bg, p, int64(len(out)))
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		if n == 0 {
			return out
		}
		out = append(out, p[:n]...)
	}
}

func mustWrite(t tester, f *File, p []byte, off int64) {
	t.Helper()
	if _, err := f.WriteAt(bg, p, off); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func put(t tester, s *Store, key string, p []byte) objstore.ObjectInfo {
	t.Helper()
	info, err := s.PutObject(bg, s3C, objstore.PutRequest{Bucket: "bucket", Key: key, Body: bytes.NewReader(p), Size: int64(len(p))})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return info
}

// get returns an object's bytes.
func get(s *Store, req objstore.GetRequest) (p []byte, info objstore.ObjectInfo, err error) {
	req.Bucket = "bucket"
	err = s.GetObject(bg, s3C, req, func(o *Object) error {
		var b bytes.Buffer
		info = o.Info
		n, err := o.WriteTo(&b)
		p = b.Bytes()
		if err == nil && (n != o.Length || n != int64(len(p))) {
			err = fmt.Errorf("%d of %d bytes", n, o.Length)
		}
		return err
	})
	return p, info, err
}

func mustGet(t tester, s *Store, key string) []byte {
	t.Helper()
	p, _, err := get(s, objstore.GetRequest{Key: key})
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	return p
}

func same(t tester, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	t.Fatalf("%s: %d bytes, want %d; they differ from %d on", what, len(got), len(want), at)
}
