package ring

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// maxEntries bounds the entries of a queue, and so its threads. So many requests of
// one processor can wait at a time; others wait until one has been answered.
const maxEntries = 128

const (
	// growPause is how long nothing more is made after an entry could not be.
	growPause = time.Second
	// firstEntries are made for each queue with the mount: enough for one program.
	firstEntries = 4
	// spareEntries are kept free, so that requests find one while another is made: one
	// that finds none waits longer (see drain).
	spareEntries = 2
)

// Config says what a Server serves. All fields must be set.
type Config struct {
	// FS and Options are those that the mount is made with.
	FS      fuse.RawFileSystem
	Options *fuse.MountOptions
	// Dir is where the mount is made.
	Dir    string
	Logger *slog.Logger
}

// Server answers requests that come through the rings of one mount.
type Server struct {
	protocol    *fuse.ProtocolServer
	log         *slog.Logger
	dir         string
	device      int
	payloadSize int            // of the buffer for a request, in bytes
	allowed     unix.CPUSet    // where the process may run
	entries     sync.WaitGroup // that are served
}

// queue is the kernel's queue of requests that were made on one processor.
type queue struct {
	s       *Server
	id      uint16
	free    atomic.Int32 // entries that wait for a request
	total   atomic.Int32
	growing atomic.Bool
	drains  atomic.Int32 // entries made since nobody drained
}

// serve makes the rings of a mount, for which all other requests wait, and serves them.
// init is what the kernel said in INIT, connection the descriptor, which stays the
// caller's. After an error the caller must unmount: then what is left ends.
func serve(c Config, init *fuse.InitIn, connection int) (*Server, error) {
	s := &Server{
		protocol: fuse.NewProtocolServer(c.FS, c.Options),
		log:      c.Logger,
		dir:      c.Dir,
		// READ and WRITE fill it at most; other answers have a fixed part besides.
		payloadSize: max(c.Options.MaxWrite, 128<<10) + pageSize,
	}
	// ProtocolServer takes from INIT what was agreed on. Its answer is not ours to give.
	request := unsafe.Slice((*byte)(unsafe.Pointer(init)), unsafe.Sizeof(*init))
	if _, status := s.protocol.HandleRequest([][]byte{request}, [][]byte{make([]byte, pageSize)}); !status.Ok() {
		return nil, fmt.Errorf("INIT: %v", status)
	}
	queues, err := possibleCPUs()
	if err != nil {
		return nil, err
	}
	if err := unix.SchedGetaffinity(0, &s.allowed); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	if s.device, err = unix.FcntlInt(uintptr(connection), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("duplicate /dev/fuse: %w", err)
	}
	s.entries.Add(1) // for the device
	registered := make(chan error)
	all := make([]*queue, queues)
	for id := range all {
		all[id] = &queue{s: s, id: uint16(id)}
		all[id].growing.Store(true) // until the first ones are there
		for range firstEntries {
			s.add(all[id], registered)
		}
	}
	var errs []error
	for range queues * firstEntries {
		errs = append(errs, <-registered)
	}
	for _, q := range all {
		q.growing.Store(false)
		q.grow()
	}
	go func() {
		s.entries.Wait()
		unix.Close(s.device)
	}()
	s.entries.Done()
	return s, errors.Join(errs...)
}

// Wait returns when the mount is gone and every request has been answered.
func (s *Server) Wait() { s.entries.Wait() }

// add makes one more entry of a queue and serves it. It tells registered what came of
// registering it; for those that grow asks for registered is nil.
func (s *Server) add(q *queue, registered chan<- error) {
	s.entries.Add(1)
	q.total.Add(1)
	go func() {
		defer s.entries.Done()
		defer q.total.Add(-1)
		// Never unlocked: a thread that is bound to a processor ends with the goroutine.
		runtime.LockOSThread()
		s.bind(q, true)
		e, err := newEntry(q)
		has := false
		if err == nil {
			if has, err = e.register(); err != nil {
				e.close()
			}
		}
		if err == nil {
			q.free.Add(1)
		}
		if registered != nil {
			registered <- err
		} else {
			q.grown(err)
		}
		if err != nil {
			return
		}
		if err := e.serve(has); err != nil {
			// Its memory stays: who knows whether the kernel still writes to it.
			q.free.Add(-1)
			s.log.Error("a request through io_uring was lost", "processor", q.id, "error", err)
			s.replace(q)
			return
		}
		e.close()
	}()
}

// bind makes the calling thread run where the requests of q are made, if it may, or
// wherever the process may run.
func (s *Server) bind(q *queue, bound bool) {
	where := s.allowed
	if bound && where.IsSet(int(q.id)) {
		where.Zero()
		where.Set(int(q.id))
	}
	// A processor that is absent makes no requests.
	_ = unix.SchedSetaffinity(0, &where)
}

// replace makes up for an entry that ended of itself, so that its queue does not stand
// still.
func (s *Server) replace(q *queue) {
	time.Sleep(time.Second) // if it goes on like that
	q.growing.Store(true)
	s.add(q, nil)
}

// take notes that an entry has got a request.
func (q *queue) take() {
	q.free.Add(-1)
	q.grow()
}

// grow makes another entry if few are free.
func (q *queue) grow() {
	if q.total.Load() > 0 && q.free.Load() < spareEntries && q.total.Load() < maxEntries && q.growing.CompareAndSwap(false, true) {
		q.s.add(q, nil)
	}
}

// grown is called when the entry that grow asked for is registered, or with the error.
func (q *queue) grown(err error) {
	if gone(err) {
		return
	}
	if err != nil {
		q.s.log.Warn("no more requests can be handled at the same time", "processor", q.id, "error", err)
		time.Sleep(growPause)
	}
	q.growing.Store(false)
	if err != nil {
		q.grow() // what is there may wait for what is not
		return
	}
	if q.drains.Add(1) == 1 {
		q.s.entries.Go(q.drain)
	}
	q.grow()
}
