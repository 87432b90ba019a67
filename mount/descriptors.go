package mount

import (
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// minDescriptors is how many files a process must be allowed to have open to
// serve a store: what is always open, and what the parts below need at least.
const minDescriptors = 256

// descriptors is how the file descriptors of the process are shared out. Whoever
// may connect to a port could take all of them otherwise, and a store that cannot
// open its next log can write nothing.
type descriptors struct {
	connections int // of all S3 servers together, at a time
	tables      int // of the metadata, that are kept open
	segments    int // that are kept open for reading; one can take two
}

// shareDescriptors shares out what this process may have open.
func shareDescriptors() (descriptors, error) {
	limit, err := descriptorLimit()
	return shareOut(limit), err
}

func shareOut(limit int) descriptors {
	return descriptors{
		connections: min(4096, max(limit/4, limit-1024)),
		tables:      min(512, limit/4),
		segments:    min(128, limit/16),
	}
}

// descriptorLimit is how many files this process may have open. (The runtime has
// raised it as far as it goes.)
func descriptorLimit() (int, error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	return int(min(r.Cur, 1<<30)), nil
}

func checkDescriptors() error {
	limit, err := descriptorLimit()
	if err != nil || limit >= minDescriptors {
		return err
	}
	return hinted(fmt.Errorf("this process may have %d files open at a time, and coffer needs %d", limit, minDescriptors),
		"raise the limit: ulimit -n 1024, or LimitNOFILE= of a systemd unit")
}

// slots bounds the connections of several listeners together. Who finds none free
// waits in the kernel's queue; connections that nothing comes from end by the
// server's time-outs.
type slots chan struct{}

func (s slots) bound(ln *net.TCPListener) net.Listener {
	return &boundListener{TCPListener: ln, slots: s, closed: make(chan struct{})}
}

type boundListener struct {
	*net.TCPListener
	slots  slots
	once   sync.Once
	closed chan struct{}
}

func (l *boundListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.TCPListener.AcceptTCP()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &boundConn{TCPConn: c, slots: l.slots}, nil
}

func (l *boundListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

type boundConn struct {
	*net.TCPConn // with all that it can do
	slots        slots
	once         sync.Once
}

func (c *boundConn) Close() error {
	err := c.TCPConn.Close()
	c.once.Do(func() { <-c.slots })
	return err
}
