package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	fusefs "github.com/cofferfs/coffer/fs"
	"github.com/cofferfs/coffer/objstore"
)

// CacheMode says whether a mount may use the kernel's writeback cache.
type CacheMode string

const (
	// CacheAuto uses it if no other mount of the daemon shows the same files.
	CacheAuto CacheMode = "auto"
	// CacheWriteback insists on it.
	CacheWriteback CacheMode = "writeback"
	// CacheThrough does without: such mounts can overlap.
	CacheThrough CacheMode = "through"
)

// MountRequest asks a daemon for one more mount. Its fields are part of the
// admin API.
type MountRequest struct {
	Mountpoint string    `json:"mountpoint"` // absolute
	Bucket     string    `json:"bucket"`     // empty: all buckets
	ReadOnly   bool      `json:"read_only"`
	AllowOther bool      `json:"allow_other"`
	Cache      CacheMode `json:"cache"`
	// IOURing takes requests from the kernel through io_uring, where that can be used.
	IOURing bool `json:"io_uring,omitempty"`
	// SSECKeys are customers' keys, 32 bytes each, lent to the mount: with some it
	// shares no other mount's kernel caches.
	SSECKeys [][]byte `json:"sse_c_keys,omitempty"`
	// SSECKeyFiles are files with such keys, which RunMount reads.
	SSECKeyFiles []string `json:"-"`
	// UID and GID own a bucket that has to be made.
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// Validate checks what needs no daemon.
func (r *MountRequest) Validate() error {
	if r.Bucket != "" && !objstore.ValidBucketName(r.Bucket) {
		return hinted(fmt.Errorf("%q is not a valid bucket name", r.Bucket),
			"a bucket name has 3 to 63 lower-case letters, digits, dots and hyphens, and begins and ends with a letter or digit")
	}
	switch r.Cache {
	case "":
		r.Cache = CacheAuto
	case CacheAuto, CacheWriteback, CacheThrough:
	default:
		return fmt.Errorf("cache mode %q is none of auto, writeback and through", r.Cache)
	}
	return nil
}

// MountInfo describes a mount. Its fields are a promise of `status --json`.
type MountInfo struct {
	Mountpoint string `json:"mountpoint"`
	Bucket     string `json:"bucket"` // empty: all buckets
	ReadOnly   bool   `json:"read_only"`
	AllowOther bool   `json:"allow_other"`
	// Cache is writeback or through, or "shared" for a mount that shows a part
	// of another one, through the same kernel caches.
	Cache string `json:"cache"`
	// Transport is how requests come from the kernel: TransportIOURing or TransportDevice.
	Transport string `json:"transport"`
	// BucketGone: the bucket was removed, and none was made in its place.
	BucketGone bool `json:"bucket_gone,omitempty"`
	// SSECKeys is how many customers' keys the mount has been lent.
	SSECKeys int `json:"sse_c_keys"`
	// Made names what the request made beside the mount.
	Made []string `json:"made,omitempty"`
}

// Values of MountInfo.Transport.
const (
	TransportIOURing = "io_uring"
	TransportDevice  = "/dev/fuse"
)

// cacheShared is the Cache of a mount that binds another one.
const cacheShared = "shared"

// served is one mounted file system of the kernel. Several mount points can
// show it: the first one and those that bind a part of it.
type served struct {
	fs        *fusefs.Mounted
	root      objstore.InodeID
	bucket    string
	readOnly  bool
	other     bool
	writeback bool
	origin    uint32        // what the engine calls it
	store     string        // directory of the store, as the kernel's tables show it
	points    []*mountPoint // in the order in which they were made
	covered   bool          // by mounts that took its place; see demote.go
	guarded   uint64        // what the guard calls it
	done      chan struct{} // closed when the kernel has let go of it
	err       error         // of the last sync; to be read after done
}

// mountPoint is a directory on which a served file system shows. It has a
// table entry as long as the kernel has it mounted, as far as we know.
type mountPoint struct {
	MountInfo
	of   *served
	gone chan struct{} // closed when it is off the table
	over *served       // what this one covers, or nil
	// rings: MountRequest.IOURing.
	rings bool
	// refused: that it be removed, since the store has failed.
	refused atomic.Bool
}

// shows reports whether s has the files of bucket (empty: of all buckets).
func (s *served) shows(bucket string) bool { return s.bucket == "" || s.bucket == bucket }

// overlaps reports whether a mount of bucket would share files with s.
func (s *served) overlaps(bucket string) bool {
	return s.bucket == "" || bucket == "" || s.bucket == bucket
}

// transport is the MountInfo.Transport of all mount points of s.
func (s *served) transport() string {
	if s.fs.Rings() {
		return TransportIOURing
	}
	return TransportDevice
}

// Mount adds a mount. When it returns the mount is usable.
func (d *Daemon) Mount(ctx context.Context, r MountRequest) (MountInfo, error) {
	defer wipeAll(r.SSECKeys)
	if err := r.Validate(); err != nil {
		return MountInfo{}, err
	}
	if d.cfg.ReadOnly && !r.ReadOnly {
		return MountInfo{}, hinted(fmt.Errorf("the daemon has the store open read-only"), "mount with --read-only, or stop the daemon first")
	}
	d.mountsMu.Lock()
	defer d.mountsMu.Unlock()
	leaving := d.awaitLeaving(ctx, r.Bucket)
	if d.stopping.Load() {
		return MountInfo{}, &Problem{Err: errors.New("the daemon is stopping"), Code: CodeStopping}
	}
	if leaving != nil {
		return MountInfo{}, leaving
	}
	if err := checkFUSE(r.AllowOther); err != nil {
		return MountInfo{}, err
	}
	if err := checkMountpoint(r.Mountpoint, d.cfg.Store, func(s string) { d.log.Warn(s) }); err != nil {
		return MountInfo{}, err
	}
	p := &mountPoint{gone: make(chan struct{}), rings: r.IOURing, MountInfo: MountInfo{
		Mountpoint: r.Mountpoint, Bucket: r.Bucket, ReadOnly: r.ReadOnly, AllowOther: r.AllowOther,
	}}
	d.prune()
	var with []*served
	for _, s := range d.served {
		if !s.covered && s.overlaps(r.Bucket) {
			with = append(with, s)
		}
	}
	root, err := d.bucketRoot(ctx, r, p)
	if err != nil {
		return MountInfo{}, err
	}
	if s, from := d.bindable(with, r); s != nil {
		err = d.bind(s, from, p)
		unix.Close(from)
	} else {
		err = d.serve(with, root, r.Cache, p, r.SSECKeys)
	}
	if err != nil {
		if p.Made != nil {
			d.takeBucketBack(context.WithoutCancel(ctx), r.Bucket)
		}
		return MountInfo{}, err
	}
	d.log.Info("mounted", "mountpoint", p.Mountpoint, "bucket", p.Bucket, "read_only", p.ReadOnly, "cache", p.Cache, "transport", p.Transport, "sse_c_keys", len(r.SSECKeys))
	info := d.describe(p)
	p.Made = nil // that was this request's alone
	d.publish()
	return info, nil
}

// bucketRoot finds the directory that a mount shows, and makes the bucket if
// it is missing.
func (d *Daemon) bucketRoot(ctx context.Context, r MountRequest, p *mountPoint) (objstore.InodeID, error) {
	if r.Bucket == "" {
		return objstore.RootInode, nil
	}
	caller := objstore.Caller{UID: r.UID, GID: r.GID}
	b, err := d.store.engine.HeadBucket(ctx, caller, r.Bucket)
	if objstore.IsKind(err, objstore.KindNoSuchBucket) && !r.ReadOnly {
		b, err = d.store.engine.CreateBucket(ctx, caller, objstore.CreateBucketRequest{Name: r.Bucket})
		p.Made = append(p.Made, "bucket "+r.Bucket)
	}
	if err != nil {
		return 0, err
	}
	return b.Root, nil
}

// takeBucketBack removes the bucket that was made for a mount that then failed, unless
// somebody has put something into it.
func (d *Daemon) takeBucketBack(ctx context.Context, bucket string) {
	err := d.store.engine.DeleteBucket(ctx, objstore.Caller{}, bucket)
	if err != nil && !objstore.IsKind(err, objstore.KindBucketNotEmpty) && !objstore.IsKind(err, objstore.KindNoSuchBucket) {
		d.log.Warn("a bucket that was made for a mount which failed is left", "bucket", bucket, "error", err)
	}
}

// rootOf finds the directory of a bucket that a mount shows.
func (d *Daemon) rootOf(bucket string) (objstore.InodeID, error) {
	b, err := d.store.engine.HeadBucket(context.Background(), objstore.Caller{}, bucket)
	return b.Root, err
}

// serve mounts a file system of its own on p.
func (d *Daemon) serve(with []*served, root objstore.InodeID, cache CacheMode, p *mountPoint, keys [][]byte) error {
	writeback := len(with) == 0 && !p.ReadOnly && cache != CacheThrough
	if cache == CacheWriteback && !writeback {
		return errors.New("the writeback cache is only for a writable mount whose files no other mount shows")
	}
	// The kernel behind a writeback cache owns size and times of its files:
	// nothing that another mount changes could reach it.
	for _, s := range with {
		if s.writeback {
			if err := d.demote(s); err != nil {
				return err
			}
		}
	}
	return d.mountFS(root, fusefs.Options{Writeback: writeback}, p, func(origin uint32) error { return d.lendAll(origin, keys) })
}

// mountFS mounts root on p and serves it, with the keys that lend lends it.
// mountsMu is held.
func (d *Daemon) mountFS(root objstore.InodeID, o fusefs.Options, p *mountPoint, lend func(origin uint32) error) error {
	if d.guard == nil && d.cfg.Guard {
		d.guard = startGuard(d.log)
	}
	d.lastOrigin++
	if err := lend(d.lastOrigin); err != nil {
		d.store.engine.ReturnKeys(d.lastOrigin)
		return err
	}
	var s *served // set before mountsMu is free
	elsewhere := func() (dirs []string) {
		d.mountsMu.Lock()
		defer d.mountsMu.Unlock()
		for _, p := range s.points {
			dirs = append(dirs, p.Mountpoint)
		}
		return dirs
	}
	o.Bucket = p.Bucket
	o.Root, o.Origin, o.ReadOnly, o.AllowOther = root, d.lastOrigin, p.ReadOnly, p.AllowOther
	o.FsName = sourcePrefix + d.cfg.Store
	o.Logger = d.log.With("part", "fs", "mountpoint", p.Mountpoint)
	o.Panicked, o.Elsewhere, o.Readers, o.Rings = d.panics.panicked, elsewhere, d.readers, p.rings
	mounted, err := fusefs.Mount(p.Mountpoint, d.store.engine, o)
	if err != nil {
		d.store.engine.ReturnKeys(d.lastOrigin)
		return fmt.Errorf("mount on %q: %w", p.Mountpoint, err)
	}
	s = &served{
		fs: mounted, root: root, bucket: p.Bucket, readOnly: p.ReadOnly, other: p.AllowOther,
		writeback: o.Writeback, origin: d.lastOrigin, store: d.cfg.Store, points: []*mountPoint{p}, done: make(chan struct{}),
	}
	p.Cache, p.of = string(CacheThrough), s
	if o.Writeback {
		p.Cache = string(CacheWriteback)
	}
	p.Transport = s.transport()
	s.guarded = d.guard.add(p.Mountpoint)
	d.served = append(d.served, s)
	d.tasks.Add(1)
	go func() {
		defer d.tasks.Done()
		mounted.Wait()
		d.ended(s)
	}()
	return nil
}

// ended takes a file system off the table that the kernel has let go of:
// through us, or by umount(8) or fusermount.
func (d *Daemon) ended(s *served) {
	s.err = d.store.engine.Sync(context.Background())
	d.store.engine.ReturnKeys(s.origin)
	d.mountsMu.Lock()
	defer d.mountsMu.Unlock()
	d.log.Info("file system ended", "mountpoint", s.fs.Dir(), "error", s.err)
	d.guard.remove(s.guarded)
	for _, p := range s.points {
		close(p.gone)
		d.uncover(p)
	}
	s.points = nil
	d.served = slices.DeleteFunc(d.served, func(o *served) bool { return o == s })
	d.publish()
	// First the decision to end, so that whoever waits for done knows of it.
	d.stopIfUnused()
	close(s.done)
}

// stopIfUnused ends a daemon that `mount` started when its last mount is gone.
// mountsMu is held.
func (d *Daemon) stopIfUnused() {
	if d.ephemeral && len(d.served) == 0 {
		d.Stop("the last mount is gone")
	}
}

// Unmount makes everything durable and removes a mount. When it returns, no
// process sees the mount any more and everything that was written to it is
// durable. Error: a Problem with CodeBusy when it is in use; then it stays. It stays, too,
// when not all could be stored; where nothing can be any more, asking again removes it.
func (d *Daemon) Unmount(ctx context.Context, dir string) error {
	d.mountsMu.Lock()
	p := d.find(dir)
	d.mountsMu.Unlock()
	if p == nil {
		return fmt.Errorf("%q is not a mount of the store %q", dir, d.cfg.Store)
	}
	err := d.flushMount(ctx, p)
	if err = errors.Join(lostIn(p), err); err == nil {
		return d.removePoint(ctx, p, false)
	}
	switch {
	case d.store.engine.Failure() == nil:
		return notStored(dir, err, hintRoom)
	case !p.refused.Swap(true):
		return notStored(dir, err, hintFailed)
	}
	rerr := d.removePoint(ctx, p, false)
	select {
	case <-p.gone:
	default:
		return rerr
	}
	if CodeOf(rerr) == CodeBusy {
		return rerr // somebody shows it elsewhere
	}
	return fmt.Errorf("%q is not mounted any more, and not everything that was written to it could be stored: %w", dir, err)
}

// notStored is what is told once, as the kernel tells it once.
func notStored(dir string, err error, hint string) error {
	return hinted(fmt.Errorf("not everything that was written to %q could be stored: %w", dir, err), hint)
}

const (
	hintRoom   = "the mount stays; a failed write is reported once: free some room, write again what failed, and repeat this"
	hintFailed = "the mount stays; nothing is written any more until the daemon is started again: copy elsewhere what is needed, and repeat this, which then removes the mount"
)

// maxLost bounds the files that a message names.
const maxLost = 10

// lostIn tells which files of p lost what was written to them, if no program was told.
// The kernel does not know any more: its answer went to whoever asked first, a
// sync(1) as a rule.
func lostIn(p *mountPoint) error {
	lost := p.of.fs.TakeLosses()
	if len(lost) == 0 {
		return nil
	}
	more := ""
	if n := len(lost) - maxLost; n > 0 {
		lost, more = lost[:maxLost], fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("what was written last is lost of %q%s", lost, more)
}

func (d *Daemon) find(dir string) *mountPoint {
	for _, s := range d.served {
		if s.covered {
			continue
		}
		for _, p := range s.points {
			if p.Mountpoint == dir {
				return p
			}
		}
	}
	return nil
}

// flushMount has the kernel write its dirty pages of the mount to us, those of files
// that are open too, and makes all of history durable.
func (d *Daemon) flushMount(ctx context.Context, p *mountPoint) error {
	if err := p.of.fs.Flush(ctx, p.Mountpoint); err != nil {
		return err
	}
	return d.store.engine.Sync(ctx)
}

// removePoint unmounts one mount point; with the last one of its file system it
// waits until that has ended. Unless lazy, everything is durable when it returns.
func (d *Daemon) removePoint(ctx context.Context, p *mountPoint, lazy bool) error {
	d.mountsMu.Lock()
	s, under := p.of, p.over
	err := unmountPoint(p, lazy)
	if i := slices.Index(s.points, p); err == nil && i >= 0 {
		s.points = slices.Delete(s.points, i, i+1)
		close(p.gone)
		d.uncover(p)
		d.publish()
	}
	last := len(s.points) == 0
	if under != nil && d.coversAny(under) {
		under = nil // it stays for the others
	}
	d.mountsMu.Unlock()
	if errors.Is(err, errBusy) {
		what := fmt.Errorf("%q is in use", p.Mountpoint)
		if users := append(mountsBelow(p.Mountpoint), usersOf(p.Mountpoint, 0, maxUsers)...); len(users) > 0 {
			what = fmt.Errorf("%q is in use by %s", p.Mountpoint, strings.Join(users, ", "))
		}
		return &Problem{Err: what, Hint: "everything written so far is safe; end what uses the mount and try again", Code: CodeBusy}
	}
	if err != nil {
		return err
	}
	if lazy {
		d.log.Info("unmounted", "mountpoint", p.Mountpoint, "lazy", true)
		return nil
	}
	if !last {
		d.log.Info("unmounted", "mountpoint", p.Mountpoint)
		return d.store.engine.Sync(ctx)
	}
	for _, o := range []*served{under, s} {
		if o == nil {
			continue
		}
		if err := o.awaitEnd(ctx, p.Mountpoint); err != nil {
			return err
		}
	}
	return s.err
}

// unmountAll removes every mount when the daemon ends: properly where it can,
// from the tree alone where something is in use. All are flushed at the same time, for
// flush at most, and then unmounted, the latest first since it can stand in another one,
// for remove at most each: one that hangs takes no time from the others. ctx cuts it short.
func (d *Daemon) unmountAll(ctx context.Context, flush, remove time.Duration) {
	d.mountsMu.Lock()
	var all []*mountPoint
	for _, s := range d.served {
		if !s.covered {
			all = append(all, s.points...)
		}
	}
	d.mountsMu.Unlock()
	fctx, cancel := context.WithTimeout(ctx, flush)
	defer cancel()
	var flushes sync.WaitGroup
	for _, p := range all {
		flushes.Go(func() {
			err := d.flushMount(fctx, p)
			if err = errors.Join(lostIn(p), err); err != nil {
				d.log.Error("cannot flush a mount", "mountpoint", p.Mountpoint, "error", err)
			}
		})
	}
	flushes.Wait()
	for _, p := range slices.Backward(all) {
		d.unmountLast(ctx, p, remove)
	}
}

func (d *Daemon) unmountLast(ctx context.Context, p *mountPoint, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := d.removePoint(ctx, p, false)
	if CodeOf(err) == CodeBusy {
		d.log.Warn("mount is in use: it is taken out of the tree; what its users still write is lost", "mountpoint", p.Mountpoint, "error", err)
		err = d.removePoint(ctx, p, true)
	}
	if err != nil {
		d.log.Error("cannot unmount", "mountpoint", p.Mountpoint, "error", err)
	}
}

// requester is the user on whose behalf this process asks.
func requester() (uid, gid uint32) { return uint32(os.Getuid()), uint32(os.Getgid()) }
