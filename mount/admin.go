package mount

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cofferfs/coffer/objstore/durable"
)

// The admin API is JSON over HTTP on the unix socket run/admin.sock. It answers
// to processes of the daemon's own user and of root alone:
//
//	GET  /v1/status        Status
//	GET  /v1/env           Env
//	POST /v1/mount         MountRequest -> MountInfo
//	POST /v1/umount        umountRequest -> umountReply
//	POST /v1/wait          umountRequest -> umountReply, when that mount is gone
//	POST /v1/bucket/etag   bucketETag -> bucketETag
//	POST /v1/user          UserRequest -> UserReply
//	POST /v1/lifecycle     {} -> LifecycleReport
//	POST /v1/fsck          fsckRequest -> fsckEvent, one after another
//	POST /v1/key           KeyRequest -> KeyReply
//	POST /v1/key/lend      LendRequest -> LendReply
//	POST /v1/key/return    LendRequest -> LendReply
//	GET  /debug/pprof/...
//
// An error is an apiError with a status other than 200. Client and daemon need
// not be of one version: unknown fields are ignored.

// maxAdminBody bounds what either side reads of the other, in bytes.
const maxAdminBody = 8 << 20

type apiError struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	Code  Code   `json:"code"`
}

func newAPIError(err error) *apiError {
	return &apiError{Error: err.Error(), Hint: HintOf(err), Code: CodeOf(err)}
}

func (e *apiError) problem() error {
	return &Problem{Err: errors.New(e.Error), Hint: e.Hint, Code: e.Code}
}

type umountRequest struct {
	Mountpoint string `json:"mountpoint"` // absolute
}

type umountReply struct {
	// Ending: the daemon ends now, since that was its last mount.
	Ending bool `json:"ending"`
}

// Env is what an S3 client needs.
type Env struct {
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	Region          string `json:"region"`
	EndpointURL     string `json:"endpoint_url"`
	CABundle        string `json:"ca_bundle"`
}

// Status describes a store and its daemon. Its fields are the promise of
// `status --json`; without a daemon Running is false and PID 0.
type Status struct {
	Running  bool        `json:"running"`
	PID      int         `json:"pid"`
	Store    string      `json:"store"`
	StoreID  string      `json:"store_id"`
	Endpoint string      `json:"endpoint"`
	HTTP     string      `json:"http_endpoint,omitempty"` // the one without TLS
	ReadOnly bool        `json:"read_only"`
	Mounts   []MountInfo `json:"mounts"`
	Started  time.Time   `json:"started,omitzero"`
	LogFile  string      `json:"log_file,omitempty"`
	CABundle string      `json:"ca_bundle,omitempty"`
	// Bytes; of the disk under the store.
	DiskTotal     uint64 `json:"disk_total,omitempty"`
	DiskAvailable uint64 `json:"disk_available,omitempty"`
	// Bytes; what the store's segments take on the disk, and how much of that
	// is in use.
	SegmentBytes int64 `json:"segment_bytes"`
	LiveBytes    int64 `json:"live_bytes"`
	OpenFiles    int   `json:"open_files"`
	// Corruptions counts reads that failed authentication since the start.
	Corruptions uint64 `json:"corruptions"`
	// Full tells that what was accepted waits in memory for room on the disk.
	Full bool `json:"full,omitempty"`
	// Failed is why nothing is written any more until the daemon is started again.
	Failed string `json:"failed,omitempty"`
}

func (d *Daemon) startAdmin() error {
	if err := durable.MkdirAll(d.cfg.runDir(), 0o700); err != nil {
		return err
	}
	if err := os.Chmod(d.cfg.runDir(), 0o700); err != nil {
		return err
	}
	if err := d.writeRunFiles(); err != nil {
		return err
	}
	path := d.cfg.socketPath()
	// We hold the lock: a socket that is there is a dead daemon's.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	// The directory, 0700, guards it until the mode is set.
	ln.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return err
	}
	d.admin = &http.Server{
		Handler:           d.adminHandler(),
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
	d.goServe("admin socket", func() error { return d.admin.Serve(&peerListener{ln, d.log}) })
	return nil
}

// peerListener accepts connections from the same user and from root.
type peerListener struct {
	*net.UnixListener
	log *slog.Logger
}

func (l *peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(c)
		if err == nil && (uid == 0 || int(uid) == os.Geteuid()) {
			return c, nil
		}
		l.log.Warn("refused a connection to the admin socket", "uid", uid, "error", err)
		c.Close()
	}
}

func peerUID(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if cerr != nil {
		return 0, cerr
	}
	return cred.Uid, nil
}

func (d *Daemon) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", answer(func(ctx context.Context, _ struct{}) (Status, error) {
		return d.Status(ctx), nil
	}))
	mux.HandleFunc("GET /v1/env", answer(func(context.Context, struct{}) (Env, error) {
		return d.Env(), nil
	}))
	// A mount that has begun is not given up because the client went away.
	mux.HandleFunc("POST /v1/mount", answer(func(ctx context.Context, r MountRequest) (MountInfo, error) {
		return d.Mount(context.WithoutCancel(ctx), r)
	}))
	mux.HandleFunc("POST /v1/umount", answer(func(ctx context.Context, r umountRequest) (umountReply, error) {
		err := d.Unmount(context.WithoutCancel(ctx), r.Mountpoint)
		return umountReply{Ending: d.stopping.Load()}, err
	}))
	mux.HandleFunc("POST /v1/wait", answer(func(ctx context.Context, r umountRequest) (umountReply, error) {
		return umountReply{}, d.wait(ctx, r.Mountpoint)
	}))
	mux.HandleFunc("POST /v1/bucket/etag", answer(d.answerBucketETag))
	mux.HandleFunc("POST /v1/user", answer(func(ctx context.Context, q UserRequest) (UserReply, error) {
		return userAdmin(context.WithoutCancel(ctx), d.store.iam, d.log, q)
	}))
	mux.HandleFunc("POST /v1/lifecycle", answer(func(ctx context.Context, _ struct{}) (LifecycleReport, error) {
		return d.Lifecycle(ctx)
	}))
	mux.HandleFunc("POST /v1/fsck", d.answerFsck)
	mux.HandleFunc("POST /v1/key", answer(d.keys.do))
	mux.HandleFunc("POST /v1/key/lend", answer(func(ctx context.Context, r LendRequest) (LendReply, error) {
		return d.Lend(r)
	}))
	mux.HandleFunc("POST /v1/key/return", answer(func(ctx context.Context, r LendRequest) (LendReply, error) {
		return d.Return(context.WithoutCancel(ctx), r)
	}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// answer makes a handler of a function from one JSON document to another.
func answer[Q, A any](fn func(context.Context, Q) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q Q
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			if err := decodeRequest(r.Body, &q); err != nil {
				refuse(w, http.StatusBadRequest, fmt.Errorf("request: %w", err))
				return
			}
			defer wipeRequest(&q)
		}
		a, err := fn(r.Context(), q)
		if err != nil {
			refuse(w, http.StatusConflict, err)
			return
		}
		_ = json.NewEncoder(w).Encode(a)
	}
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(newAPIError(err))
}

// Env is what `coffer env` prints.
func (d *Daemon) Env() Env {
	key := d.store.creds.keys[0]
	return Env{
		AccessKeyID:     key.ID,
		SecretAccessKey: key.Secret,
		Region:          Region,
		EndpointURL:     d.Endpoint(),
		CABundle:        d.cfg.caPath(),
	}
}

// Status describes the daemon.
func (d *Daemon) Status(ctx context.Context) Status {
	s := Status{
		Running: true, PID: os.Getpid(), Store: d.cfg.Store, StoreID: fmt.Sprintf("%x", d.store.sb.StoreID),
		Endpoint: d.Endpoint(), HTTP: d.HTTPEndpoint(), ReadOnly: d.cfg.ReadOnly, Mounts: d.mountList(), Started: d.started.UTC(),
		CABundle: d.cfg.caPath(), LogFile: d.cfg.LogFile,
	}
	if disk, err := d.store.statFS(); err == nil {
		s.DiskTotal, s.DiskAvailable = disk.Total, disk.Available
	}
	if u, err := d.store.engine.Usage(ctx); err == nil {
		s.SegmentBytes, s.LiveBytes, s.OpenFiles, s.Corruptions = u.SegmentBytes, u.LiveBytes, u.OpenFiles, u.Corruptions
		s.ReadOnly = s.ReadOnly || u.ReadOnly
	}
	m := d.store.meta.Stats()
	s.Full = m.Waits
	if err := cmp.Or(m.ReadOnly, d.store.engine.Failure()); err != nil {
		s.Failed = err.Error()
	}
	return s
}

// wait returns when nothing of ours is mounted on dir any more.
func (d *Daemon) wait(ctx context.Context, dir string) error {
	d.mountsMu.Lock()
	p := d.find(dir)
	d.mountsMu.Unlock()
	if p == nil {
		return nil
	}
	select {
	case <-p.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
