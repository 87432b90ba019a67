package mount

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cofferfs/coffer/crypto/kms"
)

// RunKey manages the external keys of a store: through the daemon that has it
// open or, if none has, in this process, which then needs the key file or
// passphrase.
func RunKey(ctx context.Context, cfg Config, q KeyRequest) (KeyReply, error) {
	return askOrDo(ctx, cfg, "/v1/key", q, keyDirectly)
}

// askOrDo has the daemon that has a store open do something or, if none has,
// does it directly.
func askOrDo[Q, A any](ctx context.Context, cfg Config, path string, q Q, directly func(context.Context, Config, Q) (A, error)) (A, error) {
	return throughOrDo(ctx, cfg, func(c *client) (a A, err error) {
		err = c.call(ctx, path, q, &a)
		return a, err
	}, func(cfg Config) (A, error) { return directly(ctx, cfg, q) })
}

// throughOrDo does something through the daemon that has a store open or, if none
// has, directly.
func throughOrDo[A any](ctx context.Context, cfg Config, through func(*client) (A, error), directly func(Config) (A, error)) (a A, err error) {
	if err := cfg.Resolve(); err != nil {
		return a, err
	}
	// Another process may be starting or ending a daemon of this store just now.
	deadline := time.Now().Add(startPatience)
	for {
		c := newClient(cfg.socketPath())
		_, err := aliveStatus(ctx, &cfg, c)
		if err == nil {
			if a, err = through(c); !errors.Is(err, errNoDaemon) {
				return a, err
			}
		}
		if !errors.Is(err, errNoDaemon) {
			return a, err
		}
		a, err = directly(cfg)
		if CodeOf(err) != CodeInUse || time.Now().After(deadline) {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// keyDirectly manages the keys of a store that no daemon has open. It opens
// the keystore alone: a rotation is finished when the store is opened next.
func keyDirectly(ctx context.Context, cfg Config, q KeyRequest) (_ KeyReply, err error) {
	state, sb, err := inspect(&cfg)
	if err != nil {
		return KeyReply{}, err
	}
	if state != dirStore {
		return KeyReply{}, errNoStore(&cfg)
	}
	lock, err := lockStore(&cfg)
	if err != nil {
		return KeyReply{}, err
	}
	s := &store{cfg: &cfg, log: slog.New(slog.DiscardHandler), lock: lock}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.unlockStore(ctx, sb); err != nil {
		return KeyReply{}, err
	}
	if q.Action.changes() {
		s.removeOldKeystores()
		// What is changed takes the copy's place: nobody could tell of it later.
		s.mendCopies(quiet(NewLogger(cfg), false))
	}
	return s.keyAdmin().do(ctx, q)
}

// eraseInterval is how often a daemon looks for keys that are due, besides when
// it knows that one is: the clock may be set.
const eraseInterval = time.Minute

// keyKeeper is what a daemon does about its keys.
type keyKeeper struct {
	mu      sync.Mutex // one action at a time; guards the fields below
	admin   *keyAdmin
	locked  func(context.Context, kms.KeyID) error // told of keys that were locked
	closed  bool
	changed chan struct{} // wakes run
	task    sync.WaitGroup
}

// start finishes rotations that were interrupted, and erases keys whose time
// has come, until stop is closed.
func (k *keyKeeper) start(a *keyAdmin, stop <-chan struct{}, locked func(context.Context, kms.KeyID) error) {
	k.admin, k.locked, k.changed = a, locked, make(chan struct{}, 1)
	if a.store.cfg.ReadOnly {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.task.Go(func() {
		<-stop
		cancel()
	})
	k.task.Go(func() { k.run(ctx) })
}

func (k *keyKeeper) run(ctx context.Context) {
	a := k.admin
	k.mu.Lock()
	moved, err := a.rewrap(ctx, "")
	k.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		a.log.Warn("data keys could not be moved to the newest version of their key", "error", err)
	case moved > 0:
		a.log.Info("data keys moved to the newest version of their key", "moved", moved)
	}
	for {
		k.mu.Lock()
		a.eraseDue(ctx)
		k.mu.Unlock()
		wait := eraseInterval
		if at, ok := a.nextDue(ctx); ok {
			wait = min(wait, max(at.Sub(a.now()), time.Second))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-k.changed:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// do carries out what `coffer key` asks of the daemon.
func (k *keyKeeper) do(ctx context.Context, q KeyRequest) (KeyReply, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return KeyReply{}, &Problem{Err: errors.New("the daemon is ending"), Code: CodeStopping}
	}
	r, err := k.admin.do(ctx, q)
	if err != nil {
		return r, err
	}
	if q.Action == KeyDelete {
		select {
		case k.changed <- struct{}{}:
		default:
		}
	}
	if q.Action == KeyDelete || q.Action == KeyDisable {
		err = k.locked(context.WithoutCancel(ctx), kms.KeyID(r.Keys[0].Name))
	}
	return r, err
}

// end returns when nothing is done about keys any more; stop is closed.
func (k *keyKeeper) end() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.task.Wait()
}
