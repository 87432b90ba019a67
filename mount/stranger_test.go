package mount

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhoIsTrustedToBeAStoresDaemon(t *testing.T) {
	const root, me, other = 0, 1000, 1001
	for _, c := range []struct {
		daemon, user, owner uint32
		want                bool
	}{
		{me, me, me, true}, {root, me, me, true}, {root, me, root, true}, {root, root, root, true},
		{me, root, me, true},                                // sudo coffer umount
		{me, me, other, true},                               // a directory that somebody made for me
		{other, me, me, false},                              // a socket put into my store
		{other, me, other, false}, {other, me, root, false}, // or before it in /tmp
		{other, root, root, false}, {other, root, me, false}, // for root to find
	} {
		if got := trusted(c.daemon, c.user, c.owner); got != c.want {
			t.Errorf("daemon of %d, asked by %d, store of %d: %v", c.daemon, c.user, c.owner, got)
		}
	}
}

// listenAs listens on path as another user. The kernel tells clients who called
// listen(2), which is asked for each thread by itself (SO_PEERCRED, unix(7)).
func listenAs(t *testing.T, uid int, path string) net.Listener {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const same = ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, uintptr(uid), same); errno != 0 {
		t.Fatal(errno)
	}
	err = unix.Listen(fd, 8)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, 0, same); errno != 0 {
		panic(errno) // the thread is not to run anything else
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Whoever can put a socket into a store's directory is sent no customer's key, and does
// not say where S3 is.
func TestSocketOfAnotherUserIsSentNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can be two users; who is trusted is tested above
	}
	c := testConfig(t)
	if err := os.MkdirAll(c.runDir(), 0o700); err != nil {
		t.Fatal(err)
	}
	l := listenAs(t, 65534, c.socketPath())
	var asked atomic.Int32
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte(`{"running":true,"endpoint_url":"https://evil.example"}`))
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	defer func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()

	key := filepath.Join(filepath.Dir(c.Store), "sse-c.key")
	if err := os.WriteFile(key, make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	_, envErr := RunEnv(t.Context(), c)
	point := shortDir(t)
	r := MountRequest{Mountpoint: point, SSECKeyFiles: []string{key}}
	mountErr := RunMount(t.Context(), c, r, true, func(MountResult) { t.Error("says that it is mounted") })
	for _, err := range []error{envErr, mountErr} {
		var s *stranger
		if !errors.As(err, &s) || !strings.Contains(err.Error(), "65534") {
			t.Errorf("error: %v", err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the stranger was asked %d times", n)
	}
}
