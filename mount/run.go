package mount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// MountResult says what RunMount did.
type MountResult struct {
	Report  StartReport // of the daemon, if this call started it
	Started bool
	Mount   MountInfo
	// Notes are what the user should know and did not ask for.
	Notes []string
}

// RunMount mounts a store: through the daemon that has it open, or by starting
// one, in the background or, with foreground, in this process, which then
// returns when the mount is gone. tell is called once, as soon as the mount is
// usable.
func RunMount(ctx context.Context, cfg Config, r MountRequest, foreground bool, tell func(MountResult)) error {
	m := &mounting{cfg: cfg, r: r, foreground: foreground, tell: tell}
	defer func() { wipeAll(m.r.SSECKeys) }()
	if err := m.prepare(); err != nil {
		return err
	}
	// Another process may be starting or ending a daemon of this store just now.
	deadline := time.Now().Add(startPatience)
	for {
		err := m.ask(ctx)
		if errors.Is(err, errNoDaemon) {
			err = m.start(ctx)
		}
		if err == nil || m.told || CodeOf(err) != CodeInUse && CodeOf(err) != CodeStopping || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// mounting is one RunMount.
type mounting struct {
	cfg        Config
	r          MountRequest // with its SSECKeys from prepare on
	foreground bool
	tell       func(MountResult)
	res        MountResult
	told       bool // the mount is there, and tell was called
}

func (m *mounting) note(s string) { m.res.Notes = append(m.res.Notes, s) }

// tellOnce tells that the mount is usable.
func (m *mounting) tellOnce() {
	m.told = true
	m.tell(m.res)
}

// prepare reads the key files, and refuses what can be refused before a daemon is asked
// or started. It removes what a dead daemon left on the mount point.
func (m *mounting) prepare() error {
	if err := m.cfg.Resolve(); err != nil {
		return err
	}
	if err := m.r.Validate(); err != nil {
		return err
	}
	dir, err := resolveMountpoint(m.r.Mountpoint)
	if err != nil {
		return toMake(err)
	}
	if err := checkPath(dir); err != nil {
		return err
	}
	m.r.Mountpoint = dir
	if m.r.SSECKeys, m.res.Notes, err = readCustomerKeys(m.r.SSECKeyFiles); err != nil {
		return err
	}
	m.r.UID, m.r.GID = requester()
	m.cfg.ReadOnly = m.r.ReadOnly
	if err := checkFUSE(m.r.AllowOther); err != nil {
		return err
	}
	// A store that nobody can open is refused before anything else is looked at.
	state, _, err := inspect(&m.cfg)
	if err != nil {
		return err
	}
	if state != dirStore && m.cfg.ReadOnly {
		return errNoStore(&m.cfg)
	}
	if err := freeHung(m.cfg.Store, m.note); err != nil {
		return err
	}
	return checkMountpoint(dir, m.cfg.Store, m.note)
}

// ask mounts through the daemon that has the store open, and stays with the mount if it
// is to. errNoDaemon: there is none.
func (m *mounting) ask(ctx context.Context) error {
	info, status, err := askToMount(ctx, &m.cfg, m.r)
	if err != nil {
		return err
	}
	m.res.Mount = info
	if m.cfg.ListenGiven && !sameListen(m.cfg.Listen, status.Endpoint) {
		m.note(fmt.Sprintf("the running daemon serves S3 on %s: --listen was not used", status.Endpoint))
	}
	if len(m.r.SSECKeys) > 0 && info.SSECKeys == 0 {
		m.note("the running daemon is of an older version, which takes no SSE-C keys")
	}
	if m.cfg.HTTP != "" && !sameListen(m.cfg.HTTP, status.HTTP) {
		m.note("the running daemon was started without this --http: it was not used")
	}
	m.tellOnce()
	if m.foreground {
		return stayWith(ctx, &m.cfg, m.r.Mountpoint)
	}
	return nil
}

// start starts a daemon with the mount.
func (m *mounting) start(ctx context.Context) error {
	started := func(report StartReport, info MountInfo) {
		m.res.Report, m.res.Mount, m.res.Started = report, info, true
		m.tellOnce()
	}
	if m.foreground {
		// The daemon wipes the keys that it is given; if it ends while it starts, it is
		// tried again.
		once := m.r
		once.SSECKeys = cloneAll(m.r.SSECKeys)
		defer wipeRequest(&once)
		return runForeground(ctx, m.cfg, &once, NewLogger(m.cfg), started)
	}
	report, info, err := startBackground(ctx, m.cfg, m.r)
	if err == nil {
		started(report, info)
	}
	return err
}

// startPatience is how long RunMount waits for a daemon that is starting or
// ending.
const startPatience = 20 * time.Second

// askToMount asks the running daemon. Errors: errNoDaemon, its own.
func askToMount(ctx context.Context, cfg *Config, r MountRequest) (MountInfo, Status, error) {
	c := newClient(cfg.socketPath())
	status, err := c.quickStatus(ctx)
	if err != nil {
		return MountInfo{}, status, err
	}
	var info MountInfo
	err = c.call(ctx, "/v1/mount", r, &info)
	return info, status, err
}

// stayWith returns when the mount is gone, and removes it when ctx ends.
func stayWith(ctx context.Context, cfg *Config, dir string) error {
	c := newClient(cfg.socketPath())
	var reply umountReply
	err := c.call(ctx, "/v1/wait", umountRequest{dir}, &reply)
	if ctx.Err() == nil {
		return err
	}
	return RunUmount(context.WithoutCancel(ctx), dir, func(string) {})
}

// startWithMount starts a daemon with its first mount. Without a mount (nil
// ones are for serve) it would have no reason to live.
func startWithMount(ctx context.Context, cfg Config, r MountRequest, log *slog.Logger) (*Daemon, StartReport, MountInfo, error) {
	d, report, err := StartDaemon(ctx, cfg, log)
	if err != nil {
		return nil, report, MountInfo{}, err
	}
	info, err := d.Mount(ctx, r)
	if err != nil {
		d.Stop("the first mount failed")
		return nil, report, info, errors.Join(err, d.end())
	}
	d.mountsMu.Lock()
	d.ephemeral = true
	d.stopIfUnused()
	d.mountsMu.Unlock()
	return d, report, info, nil
}

// runForeground is a daemon's life in this process; r is nil for serve.
func runForeground(ctx context.Context, cfg Config, r *MountRequest, log *slog.Logger, started func(StartReport, MountInfo)) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	// A log or a terminal that nobody reads any more is no reason to die, as in
	// coffer mount --foreground DIR 2>&1 | head.
	signal.Ignore(syscall.SIGPIPE)
	cfg.LogFile = "" // standard error it is
	var d *Daemon
	var report StartReport
	var info MountInfo
	var err error
	// From here on signals end the daemon in order, ctx does not.
	ctx = context.WithoutCancel(ctx)
	if r != nil {
		d, report, info, err = startWithMount(ctx, cfg, *r, log)
	} else {
		d, report, err = StartDaemon(ctx, cfg, log)
	}
	if err != nil {
		return err
	}
	started(report, info)
	return d.Run(signals)
}

// RunServe opens the S3 door alone and returns when a signal ends it.
func RunServe(ctx context.Context, cfg Config, tell func(StartReport)) error {
	if err := cfg.Resolve(); err != nil {
		return err
	}
	return runForeground(ctx, cfg, nil, NewLogger(cfg), func(r StartReport, _ MountInfo) { tell(r) })
}

// RunInit makes a store.
func RunInit(ctx context.Context, cfg Config) (StartReport, error) {
	if err := cfg.Resolve(); err != nil {
		return StartReport{}, err
	}
	return Init(ctx, cfg, slog.New(slog.DiscardHandler))
}

// RunUmount removes a mount, and returns when everything that was written to it
// is durable and, if that was the last mount of a daemon that `mount` started,
// when the daemon has ended. A dead daemon's mount is removed.
func RunUmount(ctx context.Context, dir string, tell func(string)) error {
	dir, err := resolveMountpoint(dir)
	if err != nil {
		return err
	}
	table, err := mountTable()
	if err != nil {
		return err
	}
	e := findMount(table, dir)
	if e != nil && e.store() != "" {
		if err := freeHung(e.store(), tell); err != nil {
			return err
		}
		if table, err = mountTable(); err != nil {
			return err
		}
		if now := findMount(table, dir); now == nil || now.Device != e.Device {
			return nil // that removed it
		}
	}
	if isDead(dir) {
		return cleanStale(dir, tell)
	}
	if e == nil || !e.isOurs() {
		if _, err := os.Lstat(dir); err != nil {
			return mountpointError(dir, err)
		}
		return fmt.Errorf("no coffer store is mounted on %q", dir)
	}
	c, status, err := findDaemon(ctx, e)
	if err != nil {
		return err
	}
	// Flushing begins here, in another process than the daemon's: whoever is killed
	// while it waits for itself cannot end. A mount of another user does not let
	// us in, not even root, and one of a bucket that was removed does not open; there the
	// daemon does all of it, and where the store has failed it decides.
	if err := flushPath(ctx, dir); err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.ESTALE) {
		if now, serr := c.quickStatus(ctx); serr != nil || now.Failed == "" {
			return notStored(dir, err, hintRoom)
		}
	}
	process, err := watch(status.PID)
	if err != nil {
		return err
	}
	defer process.close()
	var reply umountReply
	if err := c.call(ctx, "/v1/umount", umountRequest{dir}, &reply); err != nil {
		return err
	}
	// Whoever answered, the kernel has the last word.
	if table, err = mountTable(); err != nil {
		return err
	}
	if e := findMount(table, dir); e != nil && e.isOurs() {
		return fmt.Errorf("%q is still mounted", dir)
	}
	if !reply.Ending {
		return nil
	}
	return process.wait(ctx)
}

// RunEnv asks the running daemon what an S3 client needs.
func RunEnv(ctx context.Context, cfg Config) (env Env, err error) {
	err = askDaemon(ctx, cfg, "/v1/env", nil, &env)
	return env, err
}

// askDaemon calls the daemon that has a store open: see client.call. Error: a Problem
// with CodeNotRunning if there is none.
func askDaemon(ctx context.Context, cfg Config, path string, q, a any) error {
	if err := cfg.Resolve(); err != nil {
		return err
	}
	c := newClient(cfg.socketPath())
	// The status first, which does not wait for a daemon that hangs.
	_, err := aliveStatus(ctx, &cfg, c)
	if err == nil {
		err = c.call(ctx, path, q, a)
	}
	return notRunning(&cfg, err)
}

// RunStatus describes a store. Without a daemon it returns what can be said
// all the same, and a Problem with CodeNotRunning.
func RunStatus(ctx context.Context, cfg Config) (Status, error) {
	if err := cfg.Resolve(); err != nil {
		return Status{}, err
	}
	status, err := aliveStatus(ctx, &cfg, newClient(cfg.socketPath()))
	if err == nil {
		return status, nil
	}
	status = Status{Store: cfg.Store, Mounts: []MountInfo{}}
	if !errors.Is(err, errNoDaemon) {
		return status, err
	}
	state, sb, ierr := inspect(&cfg)
	if ierr != nil {
		return status, ierr
	}
	if state == dirStore {
		status.StoreID = fmt.Sprintf("%x", sb.StoreID)
	}
	return status, notRunning(&cfg, err)
}

// aliveStatus asks the daemon, unless it is known to be dead: the socket of one
// that was killed and cannot end still takes connections.
func aliveStatus(ctx context.Context, cfg *Config, c *client) (Status, error) {
	if pid := lockHolder(cfg.Store); pid != 0 && isDying(pid) {
		return Status{}, errNoDaemon
	}
	return c.quickStatus(ctx)
}

// notRunning words errNoDaemon for people, and returns every other error as it is.
func notRunning(cfg *Config, err error) error {
	if !errors.Is(err, errNoDaemon) {
		return err
	}
	what, hint := fmt.Errorf("no daemon has the store %q open", cfg.Store), "start one with coffer mount or coffer serve"
	if state, _, ierr := inspect(cfg); ierr == nil && state == dirAbsent {
		what, hint = fmt.Errorf("there is no store at %q", cfg.Store), "coffer mount makes one; --store names another"
	}
	return &Problem{Err: what, Hint: hint, Code: CodeNotRunning}
}

// sameListen reports whether a daemon with that endpoint could have been asked
// to listen on addr.
func sameListen(addr, endpoint string) bool {
	_, at, _ := strings.Cut(endpoint, "://")
	return at == addr || portOf(addr) == "0" && endpoint != ""
}
