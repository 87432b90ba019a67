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
	if err := cfg.Resolve(); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	var err error
	if r.Mountpoint, err = resolveMountpoint(r.Mountpoint); err != nil {
		return err
	}
	if err := checkPath(r.Mountpoint); err != nil {
		return err
	}
	keys, notes, err := readCustomerKeys(r.SSECKeyFiles)
	if err != nil {
		return err
	}
	defer wipeAll(keys)
	r.SSECKeys = keys
	r.UID, r.GID = requester()
	cfg.ReadOnly = r.ReadOnly
	if err := checkFUSE(r.AllowOther); err != nil {
		return err
	}
	// A store that nobody can open is refused before anything else is looked at.
	state, _, err := inspect(&cfg)
	if err != nil {
		return err
	}
	if state != dirStore && cfg.ReadOnly {
		return errNoStore(&cfg)
	}
	res := MountResult{Notes: notes}
	note := func(s string) { res.Notes = append(res.Notes, s) }
	if err := freeHung(cfg.Store, note); err != nil {
		return err
	}
	if err := checkMountpoint(r.Mountpoint, cfg.Store, note); err != nil {
		return err
	}
	// Another process may be starting or ending a daemon of this store just now.
	deadline := time.Now().Add(startPatience)
	for {
		info, status, err := askToMount(ctx, &cfg, r)
		if err == nil {
			res.Mount = info
			if cfg.ListenGiven && !sameListen(cfg.Listen, status.Endpoint) {
				note(fmt.Sprintf("the running daemon serves S3 on %s: --listen was not used", status.Endpoint))
			}
			if len(keys) > 0 && info.SSECKeys == 0 {
				note("the running daemon is of an older version, which takes no SSE-C keys")
			}
			if cfg.HTTP != "" && !sameListen(cfg.HTTP, status.HTTP) {
				note("the running daemon was started without this --http: it was not used")
			}
			tell(res)
			if foreground {
				return stayWith(ctx, &cfg, r.Mountpoint)
			}
			return nil
		}
		if errors.Is(err, errNoDaemon) {
			started := func(report StartReport, info MountInfo) {
				res.Report, res.Mount, res.Started = report, info, true
				tell(res)
			}
			if foreground {
				// A daemon that ends while it starts is tried again with the same keys.
				once := r
				once.SSECKeys = cloneAll(keys)
				err = runForeground(ctx, cfg, &once, NewLogger(cfg), started)
				wipeRequest(&once)
			} else if report, info, serr := startBackground(ctx, cfg, r); serr == nil {
				started(report, info)
				return nil
			} else {
				err = serr
			}
		}
		if res.Started || CodeOf(err) != CodeInUse && CodeOf(err) != CodeStopping || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
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
	// Flushing begins here, in another process than the daemon's: who is killed
	// while it waits for itself cannot end. A mount of another user does not let
	// us in, not even root, and one of a bucket that was removed does not open; there the
	// daemon does all of it.
	if err := flushPath(ctx, dir); err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.ESTALE) {
		return notStored(dir, err)
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
func RunEnv(ctx context.Context, cfg Config) (Env, error) {
	if err := cfg.Resolve(); err != nil {
		return Env{}, err
	}
	// The status first: it is what tells a daemon that does not answer.
	c := newClient(cfg.socketPath())
	if _, err := aliveStatus(ctx, &cfg, c); err != nil {
		return Env{}, notRunning(&cfg, err)
	}
	var env Env
	err := c.call(ctx, "/v1/env", nil, &env)
	return env, notRunning(&cfg, err)
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
