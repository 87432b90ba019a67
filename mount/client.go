package mount

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// client talks to the daemon that has a store open.
type client struct {
	socket string
	http   http.Client
}

// errNoDaemon: nobody listens on the admin socket.
var errNoDaemon = errors.New("no daemon is running")

func newClient(socket string) *client {
	return &client{socket: socket, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, "unix", socket)
			if err != nil {
				return nil, err
			}
			if err := checkDaemon(c.(*net.UnixConn), socket); err != nil {
				c.Close()
				return nil, err
			}
			return c, nil
		},
		DisableKeepAlives: true,
	}}}
}

// stranger is a daemon that is not to be asked.
type stranger struct {
	socket string
	uid    uint32
}

func (s *stranger) Error() string {
	return fmt.Sprintf("%q is the socket of user %d, who is neither you nor the owner of the store", s.socket, s.uid)
}

// checkDaemon makes sure that a store's daemon is its own. A daemon is told keys, and
// tells where S3 is; where others may write to the store's directory, as they may in one
// that they made in /tmp, they can put a socket of theirs there.
func checkDaemon(c *net.UnixConn, socket string) error {
	uid, err := peerUID(c)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Dir(filepath.Dir(socket)), &st); err != nil {
		return err
	}
	if trusted(uid, uint32(os.Geteuid()), st.Uid) {
		return nil
	}
	return &stranger{socket, uid}
}

// trusted reports whether a user asks another one's daemon, which opens a store of
// owner's: everybody root's and his own, and root that of whose store it is.
func trusted(daemon, user, owner uint32) bool {
	return daemon == 0 || daemon == user || user == 0 && daemon == owner
}

// call posts q, or gets if q is nil, and decodes the answer into a.
func (c *client) call(ctx context.Context, path string, q, a any) error {
	body, err := c.ask(ctx, path, q)
	if err != nil {
		return err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxAdminBody))
	if err != nil {
		return c.silent(err)
	}
	return json.Unmarshal(text, a)
}

// silent is what a daemon that broke off is said to have done.
func (c *client) silent(err error) error {
	return fmt.Errorf("the daemon at %q does not answer: %w", c.socket, err)
}

// ask is call for an answer that the caller reads, and closes.
func (c *client) ask(ctx context.Context, path string, q any) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://coffer"+path, nil)
	if err != nil {
		return nil, err
	}
	if q != nil {
		text, err := encodeRequest(q)
		if err != nil {
			return nil, err
		}
		body := &wipedReader{rest: text}
		defer body.Close()
		req.Method, req.Body, req.ContentLength = http.MethodPost, body, int64(len(text))
	}
	resp, err := c.http.Do(req)
	var other *stranger
	switch {
	case errors.As(err, &other):
		return nil, hinted(other, "somebody else may write to the store's directory, which should be yours alone (mode 0700): nothing was sent")
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, errNoDaemon
	case errors.Is(err, fs.ErrPermission):
		return nil, hinted(fmt.Errorf("%q belongs to another user", c.socket), "the store is that user's: ask as that user, or as root")
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed), closedIdle(err):
		// Its last mount was removed while we asked, or it was killed.
		return nil, &Problem{Err: fmt.Errorf("the daemon at %q ended before it answered", c.socket), Code: CodeStopping}
	case err != nil:
		return nil, c.silent(err)
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminBody))
	if err != nil {
		return nil, c.silent(err)
	}
	var e apiError
	if json.Unmarshal(text, &e) != nil || e.Error == "" {
		return nil, fmt.Errorf("the daemon at %q answers %s", c.socket, resp.Status)
	}
	return nil, e.problem()
}

// closedIdle knows the error of net/http for a connection that the server closed
// before the request was written, which it does not export.
func closedIdle(err error) bool {
	return err != nil && strings.HasSuffix(err.Error(), "http: server closed idle connection")
}

func (c *client) status(ctx context.Context) (s Status, err error) {
	err = c.call(ctx, "/v1/status", nil, &s)
	return s, err
}

// answerTimeout is how long a daemon that lives may take to tell its status.
const answerTimeout = 15 * time.Second

// quickStatus does not wait for a daemon that hangs.
func (c *client) quickStatus(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	s, err := c.status(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the daemon at %q does not answer", c.socket)
	}
	return s, err
}

// daemonProcess waits for the end of a daemon that is not our child.
type daemonProcess struct{ fd int }

// watch prepares to wait for the end of a process.
func watch(pid int) (*daemonProcess, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return &daemonProcess{fd: fd}, nil
}

// wait returns when the process has ended.
func (p *daemonProcess) wait(ctx context.Context) error {
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 200)
		if err != nil && err != unix.EINTR {
			return err
		}
		if n > 0 {
			return nil
		}
	}
	return ctx.Err()
}

func (p *daemonProcess) close() { unix.Close(p.fd) }

// listingTime is how long the kernel may show a mount before its daemon lists it.
const listingTime = 2 * time.Second

// findDaemon returns the client and the status of the daemon that serves the
// mount e. The mount's source names its store; where that does not help, every
// daemon of this machine that we may ask is asked.
func findDaemon(ctx context.Context, e *mountEntry) (*client, Status, error) {
	none := fmt.Errorf("no daemon of this user serves %q", e.Mountpoint)
	if dir := e.store(); dir != "" {
		c := newClient((&Config{Store: dir}).socketPath())
		s, err := c.quickStatus(ctx)
		for end := time.Now().Add(listingTime); err == nil && !s.serves(e.Mountpoint) && time.Now().Before(end); {
			time.Sleep(listingTime / 100)
			s, err = c.quickStatus(ctx)
		}
		switch {
		case err == nil && s.serves(e.Mountpoint):
			return c, s, nil
		case err != nil && !errors.Is(err, errNoDaemon):
			none = err
		}
	}
	type answer struct {
		c *client
		s Status
	}
	sockets := listeningSockets("/proc/net/unix")
	answers := make(chan answer, len(sockets))
	for _, socket := range sockets {
		go func() {
			c := newClient(socket)
			s, _ := c.quickStatus(ctx)
			answers <- answer{c, s}
		}()
	}
	for range sockets {
		if a := <-answers; a.s.serves(e.Mountpoint) {
			return a.c, a.s, nil
		}
	}
	return nil, Status{}, none
}

func (s *Status) serves(dir string) bool {
	for _, m := range s.Mounts {
		if m.Mountpoint == dir {
			return true
		}
	}
	return false
}

// listeningSockets are the paths of admin sockets in the kernel's table of unix
// sockets (proc_pid_net(5)).
func listeningSockets(table string) []string {
	f, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer f.Close()
	var found []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if i := strings.IndexByte(s.Text(), '/'); i >= 0 && strings.HasSuffix(s.Text(), "/"+nameRun+"/"+nameSocket) {
			found = append(found, s.Text()[i:])
		}
	}
	return found
}
