package datatest

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/cofferfs/coffer/objstore/data"
	"github.com/cofferfs/coffer/objstore/data/localdata"
)

// CrashFS is a directory in memory that knows what a crash would leave of it:
// what was synced. Clone and CloneLocked give the directory as it would be
// found after a crash at that instant. It is safe for concurrent use, clones
// while writers run included.
//
// It also watches the store that uses it: Violations tells of blocks that were
// written again after they had been synced, and of transfers that O_DIRECT
// would refuse.
type CrashFS struct {
	// freeze is held for reading by whatever changes the directory. Whoever holds
	// it for writing sees one instant, and can share it with other layers.
	freeze *sync.RWMutex

	// mu guards the fields below and all inodes.
	mu         sync.Mutex
	names      map[string]*inode
	synced     map[string]*inode // names as of the last SyncDir
	hook       func(Op) Fault
	capacity   int64
	ops        uint64
	opened     int
	violations []string
}

// inode is a file without its name. Blocks are never changed in place, so that
// clones can share them.
type inode struct {
	size, syncedSize int64
	modified         time.Time
	synced           map[int64][]byte
	dirty            map[int64]dirtyBlock
	unsure           map[int64]bool // synced, by a sync that failed all the same
}

type dirtyBlock struct {
	p    []byte
	lost bool // a sync failed: the bytes can be read but never become durable
}

// Op is one change of a CrashFS. Count numbers them from 1.
type Op struct {
	Kind   string // "create", "write", "preallocate", "truncate", "sync", "syncdir", "remove"
	Name   string // "" for syncdir
	Offset int64
	Length int64
	Count  uint64
}

var _ localdata.FS = (*CrashFS)(nil)

// NewCrashFS returns an empty directory. Every change of it holds freeze for
// reading; nil: a lock of its own. The directory itself counts as durable.
func NewCrashFS(freeze *sync.RWMutex) *CrashFS {
	if freeze == nil {
		freeze = new(sync.RWMutex)
	}
	return &CrashFS{
		freeze:   freeze,
		names:    make(map[string]*inode),
		synced:   make(map[string]*inode),
		capacity: 1 << 62,
	}
}

// SetHook has hook asked before every change, with no lock held, so that it
// can clone. Fault.Effect Part makes a write or a sync of the first half of
// the blocks.
func (c *CrashFS) SetHook(hook func(Op) Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hook = hook
}

// SetCapacity bounds the sum of the files' sizes, in bytes: what would exceed
// it fails with ENOSPC. What is there already stays.
func (c *CrashFS) SetCapacity(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.capacity = n
}

// Violations returns what the user of the directory did against the rules.
func (c *CrashFS) Violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.violations)
}

// Opened returns how many files are open.
func (c *CrashFS) Opened() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened
}

// Ops returns how many changes were made or tried.
func (c *CrashFS) Ops() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ops
}

// Clone stops all changes for a moment and returns what a crash would leave.
// See CloneLocked.
func (c *CrashFS) Clone(rng *rand.Rand) *CrashFS {
	c.freeze.Lock()
	defer c.freeze.Unlock()
	return c.CloneLocked(rng, nil)
}

// CloneLocked returns what a crash at this instant would leave. The caller
// holds for writing the lock that was given to NewCrashFS; freeze is that of
// the clone, as for NewCrashFS.
//
// With a nil rng, all that was not synced is gone. Otherwise rng decides: of
// blocks that were not synced each is there, is not, or is torn at sectors of
// 512 bytes; of sizes and names that were not synced either the old or the new
// one stands.
//
// The clone shares memory with its origin but no state. It has no hook and no
// capacity. Everything in it counts as synced.
func (c *CrashFS) CloneLocked(rng *rand.Rand, freeze *sync.RWMutex) *CrashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	// One clone in a few keeps nearly everything, or nearly nothing.
	keep := 0.0
	if rng != nil {
		keep = rng.Float64()
	}
	chance := func() bool { return rng != nil && rng.Float64() < keep }

	names := maps.Clone(c.synced)
	for _, name := range slices.Sorted(maps.Keys(c.names)) {
		if _, ok := c.synced[name]; !ok && chance() {
			names[name] = c.names[name]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.synced)) {
		if _, ok := c.names[name]; !ok && chance() {
			delete(names, name)
		}
	}
	out := NewCrashFS(freeze)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := names[name].crash(rng, chance)
		out.names[name] = f
		out.synced[name] = f
	}
	return out
}

func (f *inode) crash(rng *rand.Rand, chance func() bool) *inode {
	out := &inode{
		size:     f.syncedSize,
		modified: f.modified,
		synced:   maps.Clone(f.synced),
		dirty:    make(map[int64]dirtyBlock),
		unsure:   make(map[int64]bool),
	}
	if chance() {
		out.size = f.size
	}
	for _, n := range slices.Sorted(maps.Keys(f.dirty)) {
		d := f.dirty[n]
		if d.lost || !chance() {
			continue
		}
		p := d.p
		if rng.IntN(3) == 0 {
			p = tear(rng, f.synced[n], d.p)
		}
		out.synced[n] = p
		out.size = max(out.size, (n+1)*data.Block)
	}
	out.syncedSize = out.size
	return out
}

// tear returns a block whose sectors are those of old or of new.
func tear(rng *rand.Rand, old, new []byte) []byte {
	const sector = 512
	p := make([]byte, len(new))
	copy(p, old)
	for i := 0; i < len(p); i += sector {
		if rng.IntN(2) == 0 {
			copy(p[i:i+sector], new[i:])
		}
	}
	return p
}

// change runs do, which changes the directory, as the hook has it.
func (c *CrashFS) change(op Op, do func(Effect) error) error {
	c.mu.Lock()
	c.ops++
	op.Count = c.ops
	hook := c.hook
	c.mu.Unlock()
	var fault Fault
	if hook != nil {
		fault = hook(op)
	}
	if fault.Wait != nil {
		<-fault.Wait
	}
	c.freeze.RLock()
	defer c.freeze.RUnlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	effect := All
	if fault.Err != nil {
		effect = fault.Effect
	}
	if err := do(effect); err != nil {
		return &fs.PathError{Op: op.Kind, Path: op.Name, Err: err}
	}
	if fault.Err != nil {
		return &fs.PathError{Op: op.Kind, Path: op.Name, Err: fault.Err}
	}
	return nil
}

func (c *CrashFS) violateLocked(format string, args ...any) {
	c.violations = append(c.violations, fmt.Sprintf(format, args...))
}

func (c *CrashFS) roomLocked() int64 {
	used := int64(0)
	for _, f := range c.names {
		used += f.size
	}
	return max(c.capacity-used, 0)
}

// Create implements localdata.FS.
func (c *CrashFS) Create(name string) (localdata.File, error) {
	var out localdata.File
	err := c.change(Op{Kind: "create", Name: name}, func(e Effect) error {
		if e == Nothing {
			return nil
		}
		if _, ok := c.names[name]; ok {
			return syscall.EEXIST
		}
		f := &inode{modified: time.Now(), synced: make(map[int64][]byte), dirty: make(map[int64]dirtyBlock), unsure: make(map[int64]bool)}
		c.names[name] = f
		out = c.openLocked(name, f)
		return nil
	})
	if err != nil {
		if out != nil {
			out.Close()
		}
		return nil, err
	}
	return out, nil
}

func (c *CrashFS) openLocked(name string, f *inode) *crashFile {
	c.opened++
	return &crashFile{fs: c, name: name, inode: f}
}

// OpenRead implements localdata.FS.
func (c *CrashFS) OpenRead(name string) (localdata.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.names[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOENT}
	}
	return c.openLocked(name, f), nil
}

// List implements localdata.FS.
func (c *CrashFS) List() ([]localdata.Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []localdata.Entry
	for _, name := range slices.Sorted(maps.Keys(c.names)) {
		f := c.names[name]
		out = append(out, localdata.Entry{Name: name, Size: f.size, Modified: f.modified, Regular: true})
	}
	return out, nil
}

// Remove implements localdata.FS.
func (c *CrashFS) Remove(name string) error {
	return c.change(Op{Kind: "remove", Name: name}, func(e Effect) error {
		if e == Nothing {
			return nil
		}
		if _, ok := c.names[name]; !ok {
			return syscall.ENOENT
		}
		delete(c.names, name)
		return nil
	})
}

// SyncDir implements localdata.FS.
func (c *CrashFS) SyncDir() error {
	return c.change(Op{Kind: "syncdir"}, func(e Effect) error {
		if e == All {
			c.synced = maps.Clone(c.names)
		}
		return nil
	})
}

// FreeSpace implements localdata.FS.
func (c *CrashFS) FreeSpace() (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return uint64(c.roomLocked()), nil
}
