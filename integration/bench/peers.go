package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the contestants, as the table and the targets use them.
const (
	nameCoffer     = "coffer"
	nameNative     = "native"
	nameGocryptfs  = "gocryptfs"
	nameS3fs       = "s3fs"
	nameNull       = "null"        // null FUSE file system with encryption, writeback cache
	nameNullDirect = "null-direct" // the same, FOPEN_DIRECT_IO
	nameDisk       = "disk"        // O_DIRECT
	nameSync       = "append+sync" // one thread, 4 KiB append and fdatasync
	nameTLS        = "empty-tls"   // HTTPS server that does nothing
	nameVersity    = "versitygw"
	nameMinIO      = "minio"

	// Coffer itself, for what it is compared with.
	nameSSES3     = "sse-s3"     // the bucket's default encryption
	nameListStart = "first page" // of a listing
	nameCopySmall = "copy 4 KiB"
)

// peer is a file system to be measured.
type peer struct {
	name string
	dir  string // a directory of the benchmark's in it
	// scale divides sizes and numbers, for what is too slow for the full ones.
	scale int64
	// cold makes everything about the file system cold: unmounted, the kernel's
	// caches dropped, mounted anew. nil: it cannot be made cold.
	cold func(context.Context) error
	// empty: what is read back is not what was written.
	empty bool
	// ready mounts it again if an earlier row has lost it. nil: nothing to do.
	ready func(context.Context) error
}

// stage holds what the benchmark has built up and takes it down again.
type stage struct {
	c     *config
	work  string
	log   func(format string, args ...any)
	downs []down
	pids  map[string]func() int // of the servers, to see that they rest and to end them when they hang

	coffer  *cofferPeer
	tls     *endpoint
	peers   []*peer
	servers map[string]*endpoint // other S3 servers, by name
	filled  bool                 // the keys to be listed are there
}

type down struct {
	what string
	f    func() error
}

// atEnd has f called at the end, in reverse order.
func (s *stage) atEnd(what string, f func() error) { s.downs = append(s.downs, down{what, f}) }

// end takes everything down and returns what could not be.
func (s *stage) end() error {
	var errs []error
	for i := len(s.downs) - 1; i >= 0; i-- {
		if err := s.downs[i].f(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.downs[i].what, err))
		}
	}
	s.downs = nil
	return errors.Join(errs...)
}

// setUp makes the work directory and mounts everything that is there. A peer
// that cannot be had is left out, with a word; coffer and the yardsticks must
// be had.
func setUp(ctx context.Context, c *config, log func(string, ...any)) (*stage, error) {
	s := &stage{c: c, log: log, pids: map[string]func() int{}}
	work, err := os.MkdirTemp(c.dir, "coffer-bench-")
	if err != nil {
		return nil, err
	}
	if s.work, err = filepath.EvalSymlinks(work); err != nil {
		return nil, err
	}
	s.atEnd("remove "+s.work, func() error { return removeWork(s.work) })
	if err := s.mountAll(ctx); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

// abort ends all file systems by force, so that calls into them come back.
func (s *stage) abort() {
	for name, pid := range s.pids {
		if n := pid(); n > 0 {
			s.log("ending %s, process %d", name, n)
			unix.Kill(n, unix.SIGKILL)
		}
	}
}

// removeWork removes the work directory, but never reaches into a mount that
// could not be taken down.
func removeWork(work string) error {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	if strings.Contains(string(b), " "+work+"/") {
		return fmt.Errorf("something is still mounted below it; nothing was removed")
	}
	return os.RemoveAll(work)
}

func (s *stage) mountAll(ctx context.Context) error {
	native := filepath.Join(s.work, "native")
	if err := os.Mkdir(native, 0o700); err != nil {
		return err
	}
	coffer, err := s.startCoffer(ctx)
	if err != nil {
		return fmt.Errorf("coffer: %w", err)
	}
	s.peers = append(s.peers, coffer, &peer{name: nameNative, dir: native, scale: 1, cold: s.dropCaches})
	if p, err := s.startGocryptfs(ctx); err != nil {
		s.log("gocryptfs is left out: %v", err)
	} else {
		s.peers = append(s.peers, p)
	}
	if s.c.s3fs {
		if p, err := s.startS3fs(ctx); err != nil {
			s.log("s3fs is left out: %v", err)
		} else {
			s.peers = append(s.peers, p)
		}
	}
	for _, name := range []string{nameNull, nameNullDirect} {
		p, err := s.startNull(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.peers = append(s.peers, p)
	}
	s.startServers(ctx)
	return s.startTLS()
}

// mkdir makes a directory below the work directory.
func (s *stage) mkdir(name string) (string, error) {
	dir := filepath.Join(s.work, name)
	return dir, os.MkdirAll(dir, 0o700)
}

// cofferPeer is the daemon of the store.
type cofferPeer struct {
	s                 *stage
	store, mountpoint string
	listen            string
	env               []string
	pid               int
	mounted           bool
	s3                *endpoint
	took              map[string]time.Duration // of rows, in the round before
}

func (s *stage) startCoffer(ctx context.Context) (*peer, error) {
	mnt, err := s.mkdir("coffer")
	if err != nil {
		return nil, err
	}
	// A fixed port, since the daemon starts anew for the cold rows.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cofferPeer{
		s: s, store: filepath.Join(s.work, "store"), mountpoint: mnt, listen: l.Addr().String(),
		env: []string{"XDG_CONFIG_HOME=" + s.work + "/config", "XDG_STATE_HOME=" + s.work + "/state", "XDG_DATA_HOME=" + s.work + "/share"},
	}
	l.Close()
	s.coffer = c
	s.atEnd("end coffer", c.unmount)
	if err := c.mount(ctx); err != nil {
		return nil, err
	}
	s.pids[nameCoffer] = func() int { return c.pid }
	if c.s3, err = c.endpoint(ctx); err != nil {
		return nil, err
	}
	dir := filepath.Join(mnt, bucket)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	return &peer{name: nameCoffer, dir: dir, scale: 1, ready: c.ready, cold: func(ctx context.Context) error {
		if err := c.unmount(); err != nil {
			return err
		}
		if err := s.dropCaches(ctx); err != nil {
			return errors.Join(err, c.mount(ctx))
		}
		return c.mount(ctx)
	}}, nil
}

// startTime bounds how long coffer may take to mount, and to end.
const startTime = 30 * time.Second

// bucket is where all files and objects of the benchmark go, but for the objects
// that are put into a bucket of opaque ETags.
const (
	bucket       = "bench"
	bucketOpaque = "bench-opaque"
)

func (c *cofferPeer) mount(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if _, err := command(ctx, c.env, c.s.c.coffer, "mount", "--store", c.store, "--listen", c.listen, c.mountpoint); err != nil {
		return errors.Join(err, c.endHalfStarted())
	}
	c.mounted = true
	out, err := command(ctx, c.env, c.s.c.coffer, "status", "--store", c.store, "--json")
	if err != nil {
		return err
	}
	var st struct{ PID int }
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		return fmt.Errorf("coffer status: %w", err)
	}
	c.pid = st.PID
	return nil
}

// endHalfStarted ends a daemon that took the store's lock and never became
// ready; the lock file holds its process id.
func (c *cofferPeer) endHalfStarted() error {
	b, err := os.ReadFile(filepath.Join(c.store, "lock"))
	if err != nil {
		return nil // it did not come that far
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return nil
	}
	// Ours, and not another process that got its number since.
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(line), c.store) {
		return nil
	}
	c.s.log("ending the daemon that did not start, process %d", pid)
	c.pid = pid
	return errors.Join(unix.Kill(pid, unix.SIGKILL), c.gone())
}

// ready mounts the store again where a row has failed to.
func (c *cofferPeer) ready(ctx context.Context) error {
	if c.mounted {
		return nil
	}
	return c.mount(ctx)
}

// unmount ends the daemon by a signal, on which it flushes and unmounts. If
// that fails it is killed, so that nothing is left behind, which is an error.
func (c *cofferPeer) unmount() error {
	if !c.mounted {
		return nil
	}
	c.mounted = false
	unix.Kill(c.pid, unix.SIGTERM)
	err := c.gone()
	if err != nil {
		unix.Kill(c.pid, unix.SIGKILL)
		err = errors.Join(err, c.gone())
	}
	if uerr := unix.Unmount(c.mountpoint, unix.MNT_DETACH); uerr == nil {
		err = errors.Join(err, fmt.Errorf("the daemon left %q mounted", c.mountpoint))
	}
	return err
}

// gone waits until the daemon has ended and so let go of the store.
func (c *cofferPeer) gone() error {
	for end := time.Now().Add(startTime); time.Now().Before(end); {
		if unix.Kill(c.pid, 0) == unix.ESRCH {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("the daemon, process %d, did not end", c.pid)
}

// mountedProgram is a peer that runs in the foreground and mounts.
type mountedProgram struct {
	start      func() (*process, error)
	mountpoint string
	p          *process
}

// mount starts the program and waits until something is mounted.
func (m *mountedProgram) mount(ctx context.Context) error {
	before, err := device(m.mountpoint)
	if err != nil {
		return err
	}
	if m.p, err = m.start(); err != nil {
		return err
	}
	for range 1000 {
		if now, err := device(m.mountpoint); err == nil && now != before {
			return nil
		}
		select {
		case <-m.p.done:
			return fmt.Errorf("it ended: %w: %s", m.p.err, m.p.log)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), m.unmount())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return errors.Join(fmt.Errorf("nothing was mounted in 10 s: %s", m.p.log), m.unmount())
}

func device(dir string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(dir, &st)
	return uint64(st.Dev), err
}

// unmount unmounts and ends the program.
func (m *mountedProgram) unmount() error {
	if m.p == nil {
		return nil
	}
	err := unmount(m.mountpoint)
	select {
	case <-m.p.done: // it ends by itself once it is unmounted
	case <-time.After(10 * time.Second):
		err = errors.Join(err, m.p.end())
	}
	m.p.hold.Close()
	m.p = nil
	return err
}

// unmount unmounts dir, where need be by the helper.
func unmount(dir string) error {
	var err error
	for range 100 {
		if err = unix.Unmount(dir, unix.UMOUNT_NOFOLLOW); err == nil || err == unix.EINVAL {
			return nil // EINVAL: not mounted
		}
		if err == unix.EPERM {
			if exec.Command("fusermount3", "-u", dir).Run() == nil {
				return nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	unix.Unmount(dir, unix.MNT_DETACH)
	return fmt.Errorf("unmount %q: %w", dir, err)
}

// peerOf mounts a program and makes a peer of it.
func (s *stage) peerOf(ctx context.Context, name string, m *mountedProgram) (*peer, error) {
	s.atEnd("end "+name, m.unmount)
	if err := m.mount(ctx); err != nil {
		return nil, err
	}
	s.pids[name] = func() int {
		if m.p == nil {
			return 0
		}
		return m.p.pid()
	}
	return &peer{name: name, dir: m.mountpoint, scale: 1, cold: func(ctx context.Context) error {
		if err := m.unmount(); err != nil {
			return err
		}
		if err := s.dropCaches(ctx); err != nil {
			return errors.Join(err, m.mount(ctx))
		}
		return m.mount(ctx)
	}}, nil
}

func (s *stage) startGocryptfs(ctx context.Context) (*peer, error) {
	program, err := exec.LookPath("gocryptfs")
	if err != nil {
		return nil, err
	}
	cipher, err := s.mkdir("gocryptfs-cipher")
	if err != nil {
		return nil, err
	}
	plain, err := s.mkdir("gocryptfs")
	if err != nil {
		return nil, err
	}
	pass := filepath.Join(s.work, "gocryptfs-pass")
	if err := os.WriteFile(pass, []byte("only for the benchmark\n"), 0o600); err != nil {
		return nil, err
	}
	if _, err := command(ctx, nil, program, "-init", "-q", "-scryptn", "10", "-passfile", pass, cipher); err != nil {
		return nil, err
	}
	return s.peerOf(ctx, nameGocryptfs, &mountedProgram{mountpoint: plain, start: func() (*process, error) {
		return start(nil, program, "-fg", "-q", "-passfile", pass, cipher, plain)
	}})
}

// s3fsScale: s3fs needs several requests for each small file.
const s3fsScale = 32

func (s *stage) startS3fs(ctx context.Context) (*peer, error) {
	program, err := exec.LookPath("s3fs")
	if err != nil {
		return nil, err
	}
	mnt, err := s.mkdir("s3fs")
	if err != nil {
		return nil, err
	}
	e := s.coffer.s3
	pass := filepath.Join(s.work, "s3fs-pass")
	if err := os.WriteFile(pass, []byte(e.accessKey+":"+e.secretKey+"\n"), 0o600); err != nil {
		return nil, err
	}
	const s3fsBucket = "bench-s3fs"
	if err := os.Mkdir(filepath.Join(s.coffer.mountpoint, s3fsBucket), 0o755); err != nil {
		return nil, err
	}
	p, err := s.peerOf(ctx, nameS3fs, &mountedProgram{mountpoint: mnt, start: func() (*process, error) {
		return start([]string{"CURL_CA_BUNDLE=" + e.caFile}, program, s3fsBucket, mnt, "-f",
			"-o", "passwd_file="+pass, "-o", "url="+e.url, "-o", "use_path_request_style",
			"-o", "endpoint="+e.region, "-o", "tmpdir="+s.work, "-o", "retries=2", "-o", "connect_timeout=10")
	}})
	if err != nil {
		return nil, err
	}
	p.scale = s3fsScale
	p.cold = nil // coffer below it would have to be cold too
	return p, nil
}

func (s *stage) startNull(name string) (*peer, error) {
	mnt, err := s.mkdir(name)
	if err != nil {
		return nil, err
	}
	mode := "writeback"
	if name == nameNullDirect {
		mode = "direct"
	}
	var ready bool
	p, err := startHelper(&ready, "null", mnt, mode)
	if err != nil {
		return nil, err
	}
	s.atEnd("end "+name, func() error { return errors.Join(unmount(mnt), p.end()) })
	// It has nothing to forget but the pages that the kernel keeps for it.
	return &peer{name: name, dir: mnt, scale: 1, empty: true, cold: s.dropCaches}, nil
}
