package mount

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guard is a small process beside a daemon with mounts. A daemon that is killed
// while one of its threads waits in the kernel for the daemon itself (a notice
// waits for a page that a reader has locked, and the reader for the daemon's
// answer) cannot end: that thread keeps the FUSE device open, so the kernel does
// not know that nobody will answer, and whoever uses the mount hangs. Only
// another process can end that. The kernel tells it when the daemon dies, and it
// aborts the daemon's connections. With no guard, or when that is killed too,
// the next mount or umount does it: see hung.go.
//
// Its methods may be called concurrently, and on nil, where they do nothing.
type guard struct {
	log *slog.Logger

	mu     sync.Mutex
	orders *os.File                 // to the process; nil: none runs
	mounts map[uint64]*guardedMount // what it was told
	last   uint64                   // ID
	first  sync.Once
	begun  chan struct{} // closed when the first process has its orders, or there is none
	quit   chan struct{} // closed by close
	ended  chan struct{} // closed when the process is gone for good
}

// guardPause is how long a guard that ended by itself stays away.
const guardPause = time.Second

// startGuard starts a guard for this process. When it returns the guard will
// learn of the end of the daemon, whenever that is.
func startGuard(log *slog.Logger) *guard {
	g := &guard{
		log: log, mounts: map[uint64]*guardedMount{},
		begun: make(chan struct{}), quit: make(chan struct{}), ended: make(chan struct{}),
	}
	go g.run()
	// Before a mount is in use it has a guard; and what go-fuse opens while it
	// mounts is not inherited.
	<-g.begun
	return g
}

// run keeps a process running.
func (g *guard) run() {
	// The kernel takes the end of the thread that started the process for the
	// end of its parent (PR_SET_PDEATHSIG(2const)): it has to live as long as
	// the daemon, and does nothing else that it could hang in.
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// The first thread stays in /proc, dead, as long as any other hangs. While
		// this goroutine has it, the next gets another.
		defer runtime.UnlockOSThread()
		done := make(chan struct{})
		go func() {
			defer close(done)
			g.run()
		}()
		<-done
		return
	}
	defer close(g.ended)
	for {
		err := g.once()
		if g.closed() {
			return
		}
		g.log.Warn("the guard of the mounts has ended; starting another", "error", err)
		select {
		case <-g.quit:
			return
		case <-time.After(guardPause):
		}
	}
}

func (g *guard) closed() bool {
	select {
	case <-g.quit:
		return true
	default:
		return false
	}
}

// once runs one process until it ends.
func (g *guard) once() error {
	defer g.first.Do(func() { close(g.begun) })
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := guardCommand()
	cmd.Stdin = r
	cmd.SysProcAttr.Pdeathsig = guardSignal
	if err := cmd.Start(); err != nil {
		w.Close()
		return err
	}
	g.mu.Lock()
	g.orders = w
	g.tell(guardOrder{Thread: unix.Gettid()})
	for _, m := range g.mounts {
		g.tell(guardOrder{Add: m})
	}
	if g.closed() {
		g.hangUp()
	}
	g.mu.Unlock()
	g.first.Do(func() { close(g.begun) })
	err = cmd.Wait()
	g.mu.Lock()
	g.hangUp()
	g.mu.Unlock()
	return err
}

// guardCommand is a process that runs RunGuard.
func guardCommand() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{os.Args[0], "guard"}
	cmd.Env = append(os.Environ(), guardEnv+"=1", "GOMAXPROCS=1", "GOMEMLIMIT=16MiB")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// tell writes an order; mu is held. A process that takes none is replaced by
// one that is told everything.
func (g *guard) tell(o guardOrder) {
	if g.orders == nil {
		return
	}
	line, err := json.Marshal(o)
	if err == nil {
		_ = g.orders.SetWriteDeadline(time.Now().Add(time.Second)) // it may be stopped
		_, err = g.orders.Write(append(line, '\n'))
	}
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		g.log.Warn("the guard of the mounts cannot be told", "error", err)
	}
}

func (g *guard) hangUp() {
	if g.orders != nil {
		g.orders.Close()
		g.orders = nil
	}
}

// add has the mount on dir guarded, and returns its ID.
func (g *guard) add(dir string) uint64 {
	if g == nil {
		return 0
	}
	fd, at, err := openMount(dir)
	if err != nil {
		g.log.Warn("a mount has no guard", "mountpoint", dir, "error", err)
		return 0
	}
	unix.Close(fd)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last++
	m := &guardedMount{ID: g.last, Mountpoint: dir, Mount: at.mount, Minor: at.minor}
	g.mounts[m.ID] = m
	g.tell(guardOrder{Add: m})
	return m.ID
}

// remove ends the guarding of a mount.
func (g *guard) remove(id uint64) {
	if g == nil || id == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.mounts, id)
	g.tell(guardOrder{Remove: id})
}

// close ends the process and waits for that.
func (g *guard) close() {
	if g == nil {
		return
	}
	g.mu.Lock()
	close(g.quit)
	g.hangUp()
	g.mu.Unlock()
	<-g.ended
}
