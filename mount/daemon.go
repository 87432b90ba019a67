package mount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cofferfs/coffer/objstore/durable"
)

// Region is the region of the S3 door.
const Region = "us-east-1"

const (
	// flushTimeout bounds flushing the mounts and draining S3 when the daemon ends.
	flushTimeout = 60 * time.Second
	// unmountTimeout bounds unmounting one mount after that.
	unmountTimeout = 10 * time.Second
)

// Daemon is a running store with its doors: S3, the mounts, the admin socket.
// Its methods may be called concurrently.
type Daemon struct {
	cfg      Config
	log      *slog.Logger
	store    *store
	certs    *certSource
	listener net.Listener
	plain    net.Listener   // of --http; nil: none
	s3       []*http.Server // on listener, and on plain
	admin    *http.Server
	started  time.Time
	readers  int // of each mount: see tuneRuntime

	keys   keyKeeper
	panics *panicWatch

	// mountsMu guards the fields below; it is held while mounting.
	mountsMu   sync.Mutex
	ephemeral  bool // it ends when its last mount is gone
	served     []*served
	lastOrigin uint32
	guard      *guard // started with the first mount, if the configuration has one

	listed atomic.Pointer[[]MountInfo] // what mountList last was

	stopping atomic.Bool
	stop     chan struct{} // closed by Stop
	stopOnce sync.Once
	hurry    chan struct{} // closed by a second signal
	tasks    sync.WaitGroup
	failed   chan error // a door that ended by itself
}

// StartReport says what a daemon has at its start, for people.
type StartReport struct {
	Store     string   `json:"store"`
	StoreID   string   `json:"store_id"`
	Made      bool     `json:"made"` // the store is new
	KeyFile   string   `json:"key_file,omitempty"`
	KeyMade   bool     `json:"key_made"`
	Endpoint  string   `json:"endpoint"`
	HTTP      string   `json:"http_endpoint,omitempty"` // without TLS
	LogFile   string   `json:"log_file,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
	AccessKey string   `json:"access_key"`
}

// lockStore takes the store's lock.
func lockStore(cfg *Config) (*durable.Lock, error) {
	if err := freeHung(cfg.Store, func(string) {}); err != nil {
		return nil, err
	}
	lock, err := durable.LockFile(cfg.path(nameLock))
	var held *durable.LockedError
	if errors.As(err, &held) {
		who := "another process"
		if held.PID != 0 {
			who = "process " + strconv.Itoa(held.PID)
		}
		return nil, &Problem{
			Err:  fmt.Errorf("store %q is in use by %s", cfg.Store, who),
			Hint: "one daemon at a time has a store open: coffer status tells about it, coffer mount gives it one more mount",
			Code: CodeInUse,
		}
	}
	if err != nil {
		return nil, fmt.Errorf("store %q: %w", cfg.Store, err)
	}
	return lock, nil
}

// prepare brings a store to where it can be opened: everything that can be
// refused is refused before anything is changed. The lock is the caller's.
func prepare(cfg *Config, listen func() error) (*durable.Lock, error) {
	state, _, err := inspect(cfg)
	if err != nil {
		return nil, err
	}
	if state != dirStore && cfg.ReadOnly {
		return nil, errNoStore(cfg)
	}
	if state == dirAbsent {
		if err := checkAbove(cfg); err != nil {
			return nil, err
		}
	}
	if err := checkStoreWritable(cfg); err != nil {
		return nil, err
	}
	if err := checkDescriptors(); err != nil {
		return nil, err
	}
	if state == dirAbsent {
		if err := checkNewUnlock(cfg); err != nil {
			return nil, err
		}
		if err := checkRoom(cfg); err != nil {
			return nil, err
		}
		if err := listen(); err != nil {
			return nil, err
		}
		if cfg.made, err = makeDir(cfg); err != nil {
			return nil, err
		}
		return lockStore(cfg)
	}
	// The lock first: that a daemon runs says more than that its port is taken.
	lock, err := lockStore(cfg)
	if err != nil {
		return nil, err
	}
	if err := listen(); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return lock, nil
}

// Init makes a store and serves nothing.
func Init(ctx context.Context, cfg Config, log *slog.Logger) (StartReport, error) {
	state, _, err := inspect(&cfg)
	if err != nil {
		return StartReport{}, err
	}
	if state == dirStore {
		return StartReport{}, hinted(fmt.Errorf("there is a store at %q already", cfg.Store), "coffer status tells about it; nothing was changed")
	}
	lock, err := prepare(&cfg, func() error { return nil })
	if err != nil {
		return StartReport{}, err
	}
	s, err := openStore(ctx, &cfg, lock, log)
	if err != nil {
		return StartReport{}, err
	}
	r := s.report()
	return r, s.close()
}

func (s *store) report() StartReport {
	r := StartReport{
		Store:     s.cfg.Store,
		StoreID:   fmt.Sprintf("%x", s.sb.StoreID),
		Made:      s.made,
		KeyFile:   s.unlock.KeyFile,
		KeyMade:   s.unlock.Made,
		AccessKey: s.creds.keys[0].ID,
	}
	if s.unlock.Warn != "" {
		r.Warnings = append(r.Warnings, s.unlock.Warn)
	}
	return r
}

// StartDaemon opens the store, or makes it, and opens its S3 door and admin
// socket. The caller adds mounts, and then calls Run.
func StartDaemon(ctx context.Context, cfg Config, log *slog.Logger) (_ *Daemon, _ StartReport, err error) {
	d := &Daemon{
		cfg: cfg, log: log, started: time.Now(), readers: tuneRuntime(),
		stop: make(chan struct{}), hurry: make(chan struct{}), failed: make(chan error, 3),
	}
	defer func() {
		if err != nil {
			d.closeEarly()
		}
	}()
	lock, err := prepare(&d.cfg, func() error { return d.listen(ctx) })
	if err != nil {
		return nil, StartReport{}, err
	}
	if d.store, err = openStore(ctx, &d.cfg, lock, log); err != nil {
		return nil, StartReport{}, err
	}
	d.panics = d.store.watchPanics()
	d.store.removeOldKeystores()
	if err := cleanStaleOf(cfg.Store, func(s string) { log.Warn(s) }); err != nil {
		log.Warn("cannot remove the mounts that a dead daemon left", "error", err)
	}
	if d.certs, err = newCertSource(ctx, d.store.engine, namesFor(cfg.listenHost()), time.Now, log); err != nil {
		return nil, StartReport{}, err
	}
	if err := d.startS3(); err != nil {
		return nil, StartReport{}, err
	}
	d.keys.start(d.store.keyAdmin(), d.stop, d.dropKeyPages)
	if err := d.startAdmin(); err != nil {
		return nil, StartReport{}, err
	}
	go watchSlack(d.stop, log)
	r := d.store.report()
	r.Endpoint, r.HTTP = d.Endpoint(), d.HTTPEndpoint()
	if w := plainWarning(d.plain); w != "" {
		r.Warnings = append(r.Warnings, w)
		log.Warn(w)
	}
	// A passphrase took 64 MiB that are garbage now.
	debug.FreeOSMemory()
	log.Info("started", "store", cfg.Store, "store_id", r.StoreID, "endpoint", r.Endpoint, "http", r.HTTP, "pid", os.Getpid(), "read_only", cfg.ReadOnly)
	return d, r, nil
}

// Stop asks the daemon to end; Run does it.
func (d *Daemon) Stop(why string) {
	d.stopOnce.Do(func() {
		d.stopping.Store(true)
		d.log.Info("stopping", "why", why)
		close(d.stop)
	})
}

// Run serves until Stop or the first of signals, ends in order, and returns
// what went wrong. A second signal cuts the waiting short. When it returns
// everything that was acknowledged is durable and the store is released.
func (d *Daemon) Run(signals <-chan os.Signal) error {
	var failure error
	select {
	case <-d.stop:
	case sig := <-signals:
		d.Stop("signal " + sig.String())
	case failure = <-d.failed:
		d.log.Error("a door ended by itself", "error", failure)
		d.Stop("failure")
	}
	ended := make(chan struct{})
	go func() {
		select {
		case sig := <-signals:
			d.log.Warn("stopping at once", "why", "signal "+sig.String())
			close(d.hurry)
		case <-ended:
		}
	}()
	err := d.end()
	close(ended)
	return errors.Join(failure, err)
}

// end takes everything down in order: no new requests, mounts, requests under
// way, store, run files.
func (d *Daemon) end() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-d.hurry:
			cancel()
		case <-ctx.Done():
		}
	}()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		ctx, cancel := context.WithTimeout(ctx, flushTimeout)
		defer cancel()
		d.drainS3(ctx)
	}()
	d.unmountAll(ctx, flushTimeout, unmountTimeout)
	<-drained
	d.certs.Close()
	d.keys.end()
	err := d.store.endAbove()
	if err != nil {
		d.log.Error("closing the store", "error", err)
	}
	// The socket goes before the lock: whoever finds no daemon can start one.
	d.removeRunFiles()
	actx, acancel := context.WithTimeout(context.Background(), time.Second)
	defer acancel()
	if d.admin.Shutdown(actx) != nil {
		d.admin.Close()
	}
	err = errors.Join(err, d.store.close())
	d.mountsMu.Lock()
	lingering := len(d.served)
	d.mountsMu.Unlock()
	if lingering == 0 {
		d.tasks.Wait()
	}
	d.guard.close()
	d.log.Info("stopped", "clean", err == nil)
	return err
}

// closeEarly takes down what StartDaemon had begun.
func (d *Daemon) closeEarly() {
	d.closeListeners()
	if d.admin != nil {
		d.admin.Close()
		d.removeRunFiles()
	}
	if d.certs != nil {
		d.certs.Close()
	}
	if d.store != nil {
		d.stopOnce.Do(func() { close(d.stop) })
		d.keys.end()
		d.store.close()
	}
}

// writeRunFiles makes the run directory's files but the socket.
func (d *Daemon) writeRunFiles() error {
	files := []struct {
		name string
		text []byte
		perm os.FileMode
	}{
		{nameCA, d.certs.CAPEM(), 0o644},
		{namePID, []byte(strconv.Itoa(os.Getpid()) + "\n"), 0o600},
		{nameEndpoint, []byte(d.Endpoint() + "\n"), 0o600},
	}
	for _, f := range files {
		if err := durable.WriteFileAtomic(filepath.Join(d.cfg.runDir(), f.name), f.text, f.perm); err != nil {
			return err
		}
	}
	return nil
}

// removeRunFiles removes them, but for ca.pem.
func (d *Daemon) removeRunFiles() {
	for _, name := range []string{nameSocket, namePID, nameEndpoint} {
		if err := os.Remove(filepath.Join(d.cfg.runDir(), name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			d.log.Warn("run file stays", "error", err)
		}
	}
}
